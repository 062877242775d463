//! Residual units as plain layers.
//!
//! A walk from the input to the output. Its state is the *signal*: how the value that the walk has reached is
//! read from the channels of the newest node of the plain net. Inside a residual unit a second value is
//! *carried* along: the unit's input, copied by every layer into channels of its own, until the last layer
//! applies the shortcut's map to it. What comes out of a ReLU passes further ReLUs unchanged; a value of both
//! signs is carried as the pair `relu(x)`, `relu(-x)`.

use super::assembler::Assembler;
use super::element::{Element, Rewritten};
use super::error::RewriteError;
use super::layer::{Carry, Layer};
use super::matrix::Matrix;
use super::shortcut::{Shortcut, Unit, read_by};
use super::source::{Affine, Source, refusal};
use crate::graph::{Graph, Kind, Node, NodeId};
use crate::op::{Conv2d, Linear, Op};
use crate::param::Weights;

/// Rewrites every residual unit as plain layers; batch norm is folded on the way. The result holds
/// convolutions with biases, ReLUs, the pools and linear layers of the original, and no addition.
///
/// Units are: a value that is read twice, by a branch (convolutions, norms, ReLUs, in any order that has
/// at most one convolution between two ReLUs) and by a shortcut (identity, subsampling, channels of zeros,
/// 1×1 convolutions, norms, an average pool of 2×2), which meet in an addition. What follows the addition
/// may be a norm, a ReLU, or the next unit.
///
/// # Errors
/// Names the node that has no plain form: gates, values that are read more than twice, shortcuts that are not
/// linear, layers that cannot copy a shortcut. When weights are missing or do not fit.
pub fn fold_residual(graph: &Graph, weights: &Weights) -> Result<Rewritten, RewriteError> {
    fold_residual_as(graph, weights)
}

/// [`fold_residual`] with the precision of the result chosen.
///
/// # Errors
/// As [`fold_residual`].
pub fn fold_residual_as<T: Element>(graph: &Graph, weights: &Weights) -> Result<Rewritten<T>, RewriteError> {
    let source = Source::new(graph, weights)?;
    let mut walk = Walk::<T>::begin(&source)?;
    let mut at = walk.input;
    loop {
        at = match *source.users(at) {
            [] => break,
            [next] => {
                walk.step(next)?;
                next
            }
            [a, b] => walk.unit(at, [a, b])?,
            ref users => return Err(RewriteError::new(&source.node(at).name, read_by(&source, users))),
        };
    }
    walk.finish(at)
}

/// How a value is made from the channels of the newest node.
#[derive(Clone)]
enum Signal {
    /// Sums of its channels.
    Read { matrix: Matrix, is_nonnegative: bool },
    /// A convolution that is not written yet.
    Pending(Layer),
}

/// The input of the unit that is being walked through.
struct Carried {
    signal: Signal,
    /// How a strided layer hands it on.
    carry: Carry,
    /// Steps that layers have taken since the fork.
    stride: [usize; 2],
}

struct Walk<'a, T> {
    source: &'a Source<'a>,
    out: Assembler<T>,
    input: NodeId,
    /// The newest node of the plain net.
    top: NodeId,
    signal: Signal,
    carried: Option<Carried>,
}

impl<'a, T: Element> Walk<'a, T> {
    fn begin(source: &'a Source<'a>) -> Result<Self, RewriteError> {
        let graph = source.graph;
        let Some(input) = graph.ids().find(|&id| graph.node(id).op == Op::Input) else {
            return Err(RewriteError::new(graph.name(), "has no input"));
        };
        let mut out = Assembler::new(graph.name());
        let top = out.copy(source, source.node(input), &[]);
        let signal = Signal::Read { matrix: Matrix::identity(out.channels(top)), is_nonnegative: false };
        Ok(Self { source, out, input, top, signal, carried: None })
    }

    /// Walks over a node that reads nothing but the signal.
    fn step(&mut self, id: NodeId) -> Result<(), RewriteError> {
        let node = self.source.node(id);
        let name = &node.name;
        if let Some(affine) = self.source.affine(node)? {
            return self.affine(node, &affine);
        }
        match &node.op {
            Op::Conv2d(conv) => self.convolve(name, conv),
            Op::Relu => self.relu(name),
            op if self.carried.is_some() => {
                Err(RewriteError::new(name, format!("in a unit, {}", refusal(op))))
            }
            Op::MaxPool(_) | Op::AvgPool(_) | Op::GlobalAvgPool | Op::Subsample { .. } => self.pool(id),
            Op::PadChannels { before, after } => {
                let (matrix, is_nonnegative) = self.read()?;
                self.signal = Signal::Read { matrix: matrix.padded(*before, *after), is_nonnegative };
                Ok(())
            }
            Op::Linear(linear) => self.linear(name, linear),
            op => Err(RewriteError::new(name, refusal(op))),
        }
    }

    fn affine(&mut self, node: &Node, affine: &Affine) -> Result<(), RewriteError> {
        if affine.is_identity() {
            return Ok(());
        }
        match &mut self.signal {
            Signal::Pending(layer) => layer.scale(&affine.scale, &affine.shift),
            Signal::Read { .. } if !matches!(node.kind, Kind::Map { .. }) => {
                let reason = format!("{} of what is no map", node.op.name());
                return Err(RewriteError::new(&node.name, reason));
            }
            Signal::Read { matrix, .. } => {
                let matrix = matrix.scaled(&affine.scale);
                let layer = Layer::pointwise(&node.name, &matrix, affine.shift.clone());
                self.signal = Signal::Pending(layer);
            }
        }
        Ok(())
    }

    fn convolve(&mut self, name: &str, conv: &Conv2d) -> Result<(), RewriteError> {
        let (matrix, _) = self.read()?;
        self.signal = Signal::Pending(self.source.layer(name, conv).reading(&matrix));
        Ok(())
    }

    fn relu(&mut self, name: &str) -> Result<(), RewriteError> {
        let layer = match &self.signal {
            Signal::Pending(layer) => layer.clone(),
            Signal::Read { is_nonnegative: true, .. } => return Ok(()),
            Signal::Read { matrix, .. } if matrix.is_identity() && self.carried.is_none() => {
                self.top = self.out.same(name, Op::Relu, self.top);
                self.signal = Signal::Read { matrix: matrix.clone(), is_nonnegative: true };
                return Ok(());
            }
            // No convolution of the source stands here; the layer is named after its ReLU.
            Signal::Read { matrix, .. } => {
                Layer::pointwise(&format!("{name}.conv"), matrix, vec![0.0; matrix.height()])
            }
        };
        let count = layer.outputs();
        let layer = self.carry_through(layer)?;
        let convolution = self.out.layer(&layer, self.top);
        self.top = self.out.same(name, Op::Relu, convolution);
        let matrix = Matrix::selecting(0, count, layer.outputs());
        self.signal = Signal::Read { matrix, is_nonnegative: true };
        Ok(())
    }

    /// Adds to a layer before a ReLU the outputs that hand the carried signal on, if there is one.
    fn carry_through(&mut self, mut layer: Layer) -> Result<Layer, RewriteError> {
        let Some(carried) = &mut self.carried else { return Ok(layer) };
        let count = layer.outputs();
        match &carried.signal {
            Signal::Read { matrix, is_nonnegative } => {
                let (channels, is_nonnegative) = (matrix.height(), *is_nonnegative);
                let carry = if layer.stride == [1, 1] { Carry::Centre } else { carried.carry };
                layer.append(matrix, &vec![0.0; channels], carry)?;
                if !is_nonnegative {
                    layer.append(&matrix.negated(), &vec![0.0; channels], carry)?;
                }
                carried.signal = carried_in(count, channels, layer.outputs(), is_nonnegative);
                carried.stride = [0, 1].map(|i| carried.stride[i] * layer.stride[i]);
            }
            // The fork is this very layer, before what the branch does to it; without anything done, its
            // outputs serve both.
            Signal::Pending(fork) => {
                let channels = fork.outputs();
                let is_same = fork.weight == layer.weight && fork.bias == layer.bias;
                let first = if is_same { 0 } else { count };
                if !is_same {
                    layer.append_layer(fork, 1.0);
                }
                layer.append_layer(fork, -1.0);
                let all = layer.outputs();
                let negative = Matrix::selecting(all - channels, channels, all).negated();
                let matrix = Matrix::selecting(first, channels, all).plus(&negative);
                carried.signal = Signal::Read { matrix, is_nonnegative: false };
            }
        }
        Ok(layer)
    }

    /// The signal as read from the newest node; a pending convolution is written for it, without a ReLU.
    fn read(&mut self) -> Result<(Matrix, bool), RewriteError> {
        if let Signal::Pending(layer) = &self.signal {
            if let Some(carried) = &mut self.carried {
                if !matches!(&carried.signal, Signal::Pending(fork) if fork == layer) {
                    let reason = "two convolutions of a unit without a ReLU between them";
                    return Err(RewriteError::new(&layer.name, reason));
                }
                let matrix = Matrix::identity(layer.outputs());
                carried.signal = Signal::Read { matrix, is_nonnegative: false };
            }
            self.top = self.out.layer(layer, self.top);
            let matrix = Matrix::identity(layer.outputs());
            self.signal = Signal::Read { matrix, is_nonnegative: false };
        }
        match &self.signal {
            Signal::Read { matrix, is_nonnegative } => Ok((matrix.clone(), *is_nonnegative)),
            Signal::Pending(layer) => Err(RewriteError::new(&layer.name, "is not written")),
        }
    }

    /// Walks over an operation that treats every channel by itself.
    fn pool(&mut self, id: NodeId) -> Result<(), RewriteError> {
        let node = self.source.node(id);
        let (matrix, is_nonnegative) = self.read()?;
        if matches!(node.op, Op::MaxPool(_)) && !matrix.is_selection() {
            return Err(RewriteError::new(&node.name, "max pool of a sum that the plain net holds in parts"));
        }
        let count = self.out.channels(self.top);
        let kind = match node.kind {
            Kind::Vector { .. } => Kind::Vector { features: count },
            _ => Kind::Map { channels: count },
        };
        self.top = self.out.push(&node.name, node.op, &[self.top], kind);
        self.signal = Signal::Read { matrix, is_nonnegative };
        Ok(())
    }

    fn linear(&mut self, name: &str, linear: &Linear) -> Result<(), RewriteError> {
        let (matrix, _) = self.read()?;
        let weights = Matrix::dense(&self.source.values(linear.weight), linear.inputs).of(&matrix);
        let mut dense = vec![0.0; linear.outputs * matrix.columns];
        for (values, row) in dense.chunks_exact_mut(matrix.columns).zip(&weights.rows) {
            for &(column, value) in row {
                values[column] = value;
            }
        }
        let bias = linear.bias.map(|bias| self.source.values(bias));
        let init = self.source.graph.param(linear.weight).init;
        self.top = self.out.linear(name, self.top, &dense, bias.as_deref(), init);
        let matrix = Matrix::identity(linear.outputs);
        self.signal = Signal::Read { matrix, is_nonnegative: false };
        Ok(())
    }

    /// Walks through a residual unit; returns its addition.
    fn unit(&mut self, fork: NodeId, users: [NodeId; 2]) -> Result<NodeId, RewriteError> {
        let unit = Unit::find(self.source, fork, users)?;
        let name = &self.source.node(unit.add).name;
        let channels = match self.source.node(fork).kind {
            Kind::Map { channels } => channels,
            kind => return Err(RewriteError::new(name, format!("adds to {kind}, expected a map"))),
        };
        let shortcut = Shortcut::of(self.source, &unit.shortcut, channels)?;
        let signal = self.signal.clone();
        self.carried = Some(Carried { signal, carry: shortcut.carry, stride: [1; 2] });
        let ends_in_relu = unit.branch.last().filter(|&&last| self.source.node(last).op == Op::Relu);
        for &id in &unit.branch {
            if Some(&id) == ends_in_relu {
                self.relu_before_add(id, &shortcut)?;
            } else {
                self.step(id)?;
            }
        }
        if ends_in_relu.is_none() {
            self.add(name, &shortcut)?;
        }
        self.carried = None;
        Ok(unit.add)
    }

    /// The end of a unit: the pending convolution of the branch reads the carried signal too.
    fn add(&mut self, name: &str, shortcut: &Shortcut) -> Result<(), RewriteError> {
        let Some(carried) = self.carried.take() else { return Ok(()) };
        let (Signal::Pending(layer), Signal::Read { matrix, .. }) = (&mut self.signal, &carried.signal)
        else {
            return Err(RewriteError::new(name, "adds a branch without a convolution"));
        };
        let left = left_to_stride(name, shortcut, carried.stride, layer.stride)?;
        let carry = if left { shortcut.carry } else { Carry::Centre };
        layer.add(&shortcut.matrix.of(matrix), &shortcut.bias, carry)
    }

    /// The end of a unit whose branch ends in a ReLU: its last layer makes branch and shortcut side by side,
    /// and whatever reads the sum reads both.
    fn relu_before_add(&mut self, relu: NodeId, shortcut: &Shortcut) -> Result<(), RewriteError> {
        let name = &self.source.node(relu).name;
        let parts = (&mut self.signal, self.carried.take());
        let (
            Signal::Pending(layer),
            Some(Carried { signal: Signal::Read { matrix, is_nonnegative }, stride, .. }),
        ) = parts
        else {
            return Err(RewriteError::new(name, "ends a branch without a convolution before it"));
        };
        let left = left_to_stride(name, shortcut, stride, layer.stride)?;
        let carry = if left { shortcut.carry } else { Carry::Centre };
        let matrix = shortcut.matrix.of(&matrix);
        let is_nonnegative = is_nonnegative
            && shortcut.matrix.is_nonnegative()
            && shortcut.bias.iter().all(|&bias| bias >= 0.0);
        let count = layer.outputs();
        layer.append(&matrix, &shortcut.bias, carry)?;
        if !is_nonnegative {
            let negated: Vec<f64> = shortcut.bias.iter().map(|bias| -bias).collect();
            layer.append(&matrix.negated(), &negated, carry)?;
        }
        let all = layer.outputs();
        self.relu(name)?;
        if let Signal::Read { matrix, .. } = carried_in(count, count, all, is_nonnegative) {
            let matrix = Matrix::selecting(0, count, all).plus(&matrix);
            self.signal = Signal::Read { matrix, is_nonnegative };
        }
        Ok(())
    }

    fn finish(mut self, at: NodeId) -> Result<Rewritten<T>, RewriteError> {
        let (matrix, _) = self.read()?;
        if !matrix.is_identity() {
            let node = self.source.node(at);
            if matches!(node.kind, Kind::Vector { .. }) {
                return Err(RewriteError::new(
                    &node.name,
                    "answers with a sum that the plain net holds in parts",
                ));
            }
            let layer = Layer::pointwise(&node.name, &matrix, vec![0.0; matrix.height()]);
            self.top = self.out.layer(&layer, self.top);
        }
        self.out.finish(self.top)
    }
}

/// A carried signal of `channels` channels that stands from channel `first` of `all` on, alone or as a pair.
fn carried_in(first: usize, channels: usize, all: usize, is_nonnegative: bool) -> Signal {
    let positive = Matrix::selecting(first, channels, all);
    let matrix = if is_nonnegative {
        positive
    } else {
        positive.plus(&Matrix::selecting(first + channels, channels, all).negated())
    };
    Signal::Read { matrix, is_nonnegative }
}

/// True where the last layer still takes the shortcut's stride.
///
/// # Errors
/// When branch and shortcut stride differently.
fn left_to_stride(
    name: &str,
    shortcut: &Shortcut,
    taken: [usize; 2],
    last: [usize; 2],
) -> Result<bool, RewriteError> {
    let branch = [taken[0] * last[0], taken[1] * last[1]];
    let strided = taken != [1, 1] && last != [1, 1];
    if branch != shortcut.stride || shortcut.carry == Carry::Mean && strided {
        let stride = shortcut.stride;
        let reason = format!("the branch takes a stride of {branch:?}, the shortcut one of {stride:?}");
        return Err(RewriteError::new(name, reason));
    }
    Ok(last != [1, 1])
}
