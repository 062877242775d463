//! Any plain net in residual form: the branch takes away what the shortcut adds.

use super::super::assembler::Assembler;
use super::super::element::{Element, Rewritten};
use super::super::error::RewriteError;
use super::super::layer::{Carry, copy_taps};
use super::super::matrix::Matrix;
use super::super::source::Source;
use super::chain::{chain, conv_at, layer_at, module, pad_shortcut, reads_nonnegative, unit_name};
use crate::graph::{Graph, NodeId};
use crate::op::{Conv2d, Op};
use crate::param::Weights;

/// Every convolution that can be as a unit of one.
pub(crate) fn one_convolution<T: Element>(
    graph: &Graph,
    weights: &Weights,
) -> Result<Rewritten<T>, RewriteError> {
    let source = Source::new(graph, weights)?;
    let nodes = chain(&source)?;
    let mut out = Assembler::new(graph.name());
    let mut x = out.copy(&source, nodes[0], &[]);
    let mut units = 0;
    for (place, node) in nodes.iter().enumerate().skip(1) {
        let Some((_, conv)) = conv_at(&nodes, place).filter(|(_, conv)| carries_identity(conv)) else {
            x = out.copy(&source, node, &[x]);
            continue;
        };
        let mut layer = source.layer(&node.name, conv);
        let extra = conv.c_out - conv.c_in;
        let placed = Matrix::identity(conv.c_in).padded(0, extra).negated();
        layer.add(&placed, &vec![0.0; conv.c_out], Carry::Centre)?;
        let y = if conv.bias.is_some() { out.layer(&layer, x) } else { out.layer_without_bias(&layer, x) };
        let s = pad_shortcut(&mut out, &node.name, x, conv.stride[0], [0, extra]);
        x = out.add(&format!("{}.add", node.name), y, s);
        units += 1;
    }
    finish(graph, out, x, units, "no convolution keeps its number of channels or adds to it")
}

/// Every two layers of one module whose output has their input's shape as a unit.
pub(crate) fn two_convolutions<T: Element>(
    graph: &Graph,
    weights: &Weights,
) -> Result<Rewritten<T>, RewriteError> {
    let source = Source::new(graph, weights)?;
    let nodes = chain(&source)?;
    let mut out = Assembler::new(graph.name());
    let mut x = out.copy(&source, nodes[0], &[]);
    let (mut place, mut units) = (1, 0);
    while place < nodes.len() {
        if let (Some((first, a)), Some((second, b))) = (layer_at(&nodes, place), layer_at(&nodes, place + 2))
            && module(&first.name) == module(&second.name)
            && reads_nonnegative(&nodes, place)
            && [a, b].into_iter().all(keeps_size)
            && a.c_in == b.c_out
        {
            let c = a.c_in;
            let none = vec![0.0; c];
            let mut layer = source.layer(&first.name, a);
            layer.append(&Matrix::identity(c), &none, Carry::Centre)?;
            let y = out.layer(&layer, x);
            let y = out.same(&nodes[place + 1].name, Op::Relu, y);
            let inner = layer.outputs();
            let mut layer = source.layer(&second.name, b).reading(&Matrix::selecting(0, a.c_out, inner));
            layer.add(&Matrix::selecting(a.c_out, c, inner).negated(), &none, Carry::Centre)?;
            let y = out.layer(&layer, y);
            x = out.add(&format!("{}.add", unit_name(&first.name)), y, x);
            x = out.same(&nodes[place + 3].name, Op::Relu, x);
            (place, units) = (place + 4, units + 1);
        } else {
            x = out.copy(&source, nodes[place], &[x]);
            place += 1;
        }
    }
    finish(graph, out, x, units, "no two layers of a module keep the shape of their input")
}

fn finish<T: Element>(
    graph: &Graph,
    out: Assembler<T>,
    output: NodeId,
    units: usize,
    nothing: &str,
) -> Result<Rewritten<T>, RewriteError> {
    if units == 0 {
        return Err(RewriteError::new(graph.name(), nothing));
    }
    out.finish(output)
}

fn has_centre(conv: &Conv2d) -> bool {
    copy_taps(Carry::Centre, conv.kernel, conv.padding, conv.dilation).is_some()
}

fn carries_identity(conv: &Conv2d) -> bool {
    has_centre(conv) && conv.stride[0] == conv.stride[1] && conv.c_out >= conv.c_in
}

fn keeps_size(conv: &Conv2d) -> bool {
    has_centre(conv) && conv.stride == [1, 1]
}
