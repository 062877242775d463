//! The carry found and cut out.

use super::super::assembler::Assembler;
use super::super::element::{Element, Rewritten};
use super::super::error::RewriteError;
use super::super::layer::{Carry, Layer, copy_taps};
use super::super::matrix::Matrix;
use super::super::source::Source;
use super::chain::{chain, layer_at, pad_shortcut, reads_nonnegative, unit_name};
use crate::graph::{Graph, Node, NodeId};
use crate::op::Op;
use crate::param::Weights;

/// Cuts out every carry that is found.
pub(crate) fn unfold<T: Element>(graph: &Graph, weights: &Weights) -> Result<Rewritten<T>, RewriteError> {
    let source = Source::new(graph, weights)?;
    let nodes = chain(&source)?;
    let mut out = Assembler::new(graph.name());
    let mut x = out.copy(&source, nodes[0], &[]);
    let (mut place, mut units) = (1, 0);
    let mut first_failure = None;
    while place < nodes.len() {
        match unit_at(&source, &nodes, place) {
            Found::Unit(unit) => {
                x = unit.write(&mut out, &nodes, place, x);
                (place, units) = (place + 2 * unit.layers.len(), units + 1);
            }
            Found::Broken(error) => return Err(error),
            Found::Nothing(failure) => {
                first_failure = first_failure.or(failure);
                x = out.copy(&source, nodes[place], &[x]);
                place += 1;
            }
        }
    }
    if units > 0 {
        return out.finish(x);
    }
    let reason = "holds no carried shortcut; choose a form of one or two convolutions";
    Err(first_failure.unwrap_or_else(|| RewriteError::new(graph.name(), reason)))
}

/// A unit without its carry.
struct Unit {
    layers: Vec<Layer>,
    /// The shortcut: the last layer's centre taps of the carried channels.
    matrix: Matrix,
    stride: usize,
    carry: Carry,
}

enum Found {
    Unit(Unit),
    /// The first layer carries nothing; why, where it might have.
    Nothing(Option<RewriteError>),
    /// The first layer carries its input and a later one breaks the pattern.
    Broken(RewriteError),
}

/// Looks for a unit whose first layer stands at `place`.
fn unit_at(source: &Source<'_>, nodes: &[&Node], place: usize) -> Found {
    let Some((first, conv)) = layer_at(nodes, place).filter(|_| reads_nonnegative(nodes, place)) else {
        return Found::Nothing(None);
    };
    let c = conv.c_in;
    if conv.c_out <= c || conv.stride[0] != conv.stride[1] || conv.groups != 1 {
        return Found::Nothing(None);
    }
    let layer = source.layer(&first.name, conv);
    let mut way = match Way::START.then(&layer, c, 0) {
        Ok(way) => way,
        Err(failure) => return Found::Nothing(Some(failure)),
    };
    let mut layers = vec![way.cut(&layer, c, c)];
    loop {
        let inner = layers[layers.len() - 1].outputs();
        let Some((node, conv)) = layer_at(nodes, place + 2 * layers.len()) else {
            return Found::Broken(RewriteError::new(&first.name, "carries its input, and no layer adds it"));
        };
        let layer = source.layer(&node.name, conv);
        if conv.c_in != inner + c || conv.stride[0] != conv.stride[1] {
            return Found::Broken(RewriteError::new(&node.name, "does not read what is carried"));
        }
        if layer.outputs() > c
            && let Ok(further) = way.then(&layer, c, inner)
        {
            layers.push(further.cut(&layer, c, inner));
            way = further;
            continue;
        }
        if way.carry == Carry::Mean && layer.stride != [1; 2] {
            return Found::Broken(RewriteError::new(&node.name, "strides after a mean was carried"));
        }
        return match last_columns(&layer, c) {
            Ok(matrix) => {
                layers.push(cut(&layer, layer.outputs(), inner));
                let stride = way.stride * layer.stride[0];
                Found::Unit(Unit { layers, matrix, stride, carry: way.carry })
            }
            Err(error) => Found::Broken(error),
        };
    }
}

/// What the layers so far make of a carried signal.
#[derive(Clone, Copy)]
struct Way {
    stride: usize,
    carry: Carry,
    /// Whether the last layer took the mean.
    averages: bool,
}

impl Way {
    const START: Self = Self { stride: 1, carry: Carry::Centre, averages: false };

    /// After a layer whose last `c` outputs hand the signal on; `own` inputs come before the carried ones.
    ///
    /// # Errors
    /// When they do not, or not after what was before.
    fn then(self, layer: &Layer, c: usize, own: usize) -> Result<Self, RewriteError> {
        let stride = self.stride * layer.stride[0];
        let copies = carried_rows(layer, c, own, Carry::Centre);
        let averages = copies.is_err()
            && (self.stride, layer.stride) == (1, [2; 2])
            && carried_rows(layer, c, own, Carry::Mean).is_ok();
        if averages {
            return Ok(Self { stride, carry: Carry::Mean, averages });
        }
        copies?;
        if self.carry == Carry::Mean && layer.stride != [1; 2] {
            return Err(RewriteError::new(&layer.name, "strides after a mean was carried"));
        }
        Ok(Self { stride, carry: self.carry, averages })
    }

    /// The layer without its last `c` outputs, reading the first `inputs` inputs. A 1×1 kernel that was embedded in
    /// a larger one to make room for the mean is taken out again.
    fn cut(self, layer: &Layer, c: usize, inputs: usize) -> Layer {
        let own = cut(layer, layer.outputs() - c, inputs);
        if self.averages { own.narrowed() } else { own }
    }
}

/// Tests that the last `c` outputs of a layer copy its last `c` inputs and nothing else, without a bias, and
/// that no other output reads these where `own` inputs, more than none, come before them.
fn carried_rows(layer: &Layer, c: usize, own: usize, carry: Carry) -> Result<(), RewriteError> {
    let refuse = |row: usize, what: &str| {
        Err(RewriteError::new(&layer.name, format!("output {row} {what}: no carried channel")))
    };
    let Some(copies) = copy_taps(carry, layer.kernel, layer.padding, layer.dilation) else {
        return refuse(layer.outputs() - c, "has a kernel that cannot copy");
    };
    let first = layer.outputs() - c;
    let taps = layer.taps();
    for (row, filter) in layer.weight.chunks_exact(layer.inputs * taps).enumerate() {
        if row < first {
            let reads = own > 0 && filter[own * taps..].iter().any(|&w| w != 0.0);
            if reads {
                return refuse(row, "reads what is carried");
            }
            continue;
        }
        let mut expected = vec![0.0; filter.len()];
        for &(tap, part) in &copies {
            expected[(own + row - first) * taps + tap] = part;
        }
        if filter != expected {
            return refuse(row, "is not a copy of its input");
        }
        if layer.bias[row] != 0.0 {
            return refuse(row, "has a bias");
        }
    }
    Ok(())
}

/// The centre taps of a layer's last `c` inputs, all of whose other taps must be 0.
fn last_columns(layer: &Layer, c: usize) -> Result<Matrix, RewriteError> {
    let taps = layer.taps();
    let first = layer.inputs - c;
    let centre = copy_taps(Carry::Centre, layer.kernel, layer.padding, layer.dilation)
        .and_then(|taps| taps.first().map(|&(tap, _)| tap));
    let Some(centre) = centre else {
        return Err(RewriteError::new(&layer.name, "has a kernel without a centre"));
    };
    let mut matrix = Vec::with_capacity(layer.outputs() * c);
    for (row, filter) in layer.weight.chunks_exact(layer.inputs * taps).enumerate() {
        for (column, kernel) in filter.chunks_exact(taps).enumerate().skip(first) {
            if kernel.iter().enumerate().any(|(tap, &w)| tap != centre && w != 0.0) {
                let reason = format!(
                    "output {row} reads carried channel {} beside the centre of its window",
                    column - first
                );
                return Err(RewriteError::new(&layer.name, reason));
            }
            matrix.push(kernel[centre]);
        }
    }
    Ok(Matrix::dense(&matrix, c))
}

/// The layer's first outputs and inputs.
fn cut(layer: &Layer, outputs: usize, inputs: usize) -> Layer {
    let taps = layer.taps();
    let filters = layer.weight.chunks_exact(layer.inputs * taps).take(outputs);
    Layer {
        weight: filters.flat_map(|filter| &filter[..inputs * taps]).copied().collect(),
        bias: layer.bias[..outputs].to_vec(),
        inputs,
        ..layer.clone()
    }
}

impl Unit {
    /// Writes the unit whose first layer stood at `place`.
    fn write<T: Element>(&self, out: &mut Assembler<T>, nodes: &[&Node], place: usize, x: NodeId) -> NodeId {
        let mut y = x;
        for (i, layer) in self.layers.iter().enumerate() {
            y = out.layer(layer, y);
            if i + 1 < self.layers.len() {
                y = out.same(&nodes[place + 2 * i + 1].name, Op::Relu, y);
            }
        }
        let unit = unit_name(&self.layers[0].name);
        let s = self.shortcut(out, unit, x);
        let sum = out.add(&format!("{unit}.add"), y, s);
        out.same(&nodes[place + 2 * self.layers.len() - 1].name, Op::Relu, sum)
    }

    fn shortcut<T: Element>(&self, out: &mut Assembler<T>, unit: &str, x: NodeId) -> NodeId {
        let (x, part, stride) = match self.carry {
            Carry::Centre => (x, 0, self.stride),
            Carry::Mean => (out.halve(&format!("{unit}.downsample.0"), x), 1, 1),
        };
        if let Some(before) = self.matrix.placement() {
            let after = self.matrix.height() - self.matrix.columns - before;
            return pad_shortcut(out, unit, x, stride, [before, after]);
        }
        let bias = vec![0.0; self.matrix.height()];
        let mut layer = Layer::pointwise(&format!("{unit}.downsample.{part}"), &self.matrix, bias);
        layer.stride = [stride; 2];
        out.layer_without_bias(&layer, x)
    }
}
