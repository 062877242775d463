//! A plain net as a list, and the names that its units get.

use super::super::assembler::Assembler;
use super::super::element::Element;
use super::super::error::RewriteError;
use super::super::shortcut::read_by;
use super::super::source::Source;
use crate::graph::{Node, NodeId};
use crate::op::{Conv2d, Op};

/// The nodes of a plain net from the input on, each the only reader of the one before.
///
/// # Errors
/// Names the node that is read twice, or reads two values.
pub(crate) fn chain<'a>(source: &Source<'a>) -> Result<Vec<&'a Node>, RewriteError> {
    let graph = source.graph;
    let input = graph.ids().find(|&id| graph.node(id).op == Op::Input);
    let mut at = input.ok_or_else(|| RewriteError::new(graph.name(), "has no input"))?;
    let mut nodes = vec![graph.node(at)];
    loop {
        at = match *source.users(at) {
            [] => return Ok(nodes),
            [next] if graph.node(next).inputs.len() == 1 => next,
            [next] => {
                let reason = format!("{} in a net that should be plain", graph.node(next).op.name());
                return Err(RewriteError::new(&graph.node(next).name, reason));
            }
            ref users => {
                let reason = format!("{}; expected a plain net", read_by(source, users));
                return Err(RewriteError::new(&graph.node(at).name, reason));
            }
        };
        nodes.push(graph.node(at));
    }
}

/// The convolution at `place`, if there is one.
pub(crate) fn conv_at<'a>(nodes: &[&'a Node], place: usize) -> Option<(&'a Node, &'a Conv2d)> {
    match nodes.get(place).map(|node| (*node, &node.op)) {
        Some((node, Op::Conv2d(conv))) => Some((node, conv)),
        _ => None,
    }
}

/// The convolution at `place` if a ReLU follows it.
pub(crate) fn layer_at<'a>(nodes: &[&'a Node], place: usize) -> Option<(&'a Node, &'a Conv2d)> {
    conv_at(nodes, place).filter(|_| nodes.get(place + 1).is_some_and(|node| node.op == Op::Relu))
}

/// True where what the node at `place` reads comes out of a ReLU, pooled or not.
pub(crate) fn reads_nonnegative(nodes: &[&Node], place: usize) -> bool {
    let pools = |node: &&&Node| matches!(node.op, Op::MaxPool(_) | Op::AvgPool(_));
    nodes[..place].iter().rev().find(|node| !pools(node)).is_some_and(|node| node.op == Op::Relu)
}

/// Name of the module that a layer stands in, such as `layer1.0` of `layer1.0.conv1`; empty at the top.
pub(crate) fn module(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(module, _)| module)
}

/// Where the nodes that a unit needs beside its layers are named.
pub(crate) fn unit_name(first: &str) -> &str {
    match module(first) {
        "" => first,
        module => module,
    }
}

/// Writes option A's shortcut or the identity: every `stride`-th position, zeros around the channels.
pub(crate) fn pad_shortcut<T: Element>(
    out: &mut Assembler<T>,
    unit: &str,
    x: NodeId,
    stride: usize,
    [before, after]: [usize; 2],
) -> NodeId {
    let mut s = x;
    if stride != 1 {
        s = out.subsample(&format!("{unit}.downsample.subsample"), s, stride);
    }
    if before + after > 0 {
        s = out.pad_channels(&format!("{unit}.downsample.pad"), s, before, after);
    }
    s
}
