//! Batch norm into the convolution before it.

use super::assembler::Assembler;
use super::element::{Element, Rewritten};
use super::error::RewriteError;
use super::source::Source;
use crate::graph::{Graph, NodeId};
use crate::op::Op;
use crate::param::Weights;

/// Folds every batch norm that reads a convolution, and is its only reader, into that convolution, which gets
/// a bias: `W' = a W`, `b' = beta + a (b - mu)`, `a = gamma / sqrt(var + eps)`, in `f64`, rounded once. Other
/// norms stay, such as those of pre-activation units, which come after an addition.
///
/// # Errors
/// When weights are missing or do not fit, or a norm has no finite scale.
pub fn fold_norm(graph: &Graph, weights: &Weights) -> Result<Rewritten, RewriteError> {
    fold_norm_as(graph, weights)
}

/// [`fold_norm`] with the precision of the result chosen.
///
/// # Errors
/// As [`fold_norm`].
pub fn fold_norm_as<T: Element>(graph: &Graph, weights: &Weights) -> Result<Rewritten<T>, RewriteError> {
    let source = Source::new(graph, weights)?;
    let mut out = Assembler::new(graph.name());
    let mut written: Vec<Option<NodeId>> = vec![None; graph.nodes().len()];
    for id in graph.ids() {
        if written[id.index()].is_some() {
            continue;
        }
        let node = source.node(id);
        let inputs: Vec<NodeId> = node.inputs.iter().filter_map(|x| written[x.index()]).collect();
        let Op::Conv2d(conv) = &node.op else {
            written[id.index()] = Some(out.copy(&source, node, &inputs));
            continue;
        };
        let mut layer = source.layer(&node.name, conv);
        let mut chain = vec![id];
        while let [next] = *source.users(chain[chain.len() - 1])
            && let Some(affine) = source.affine(source.node(next))?
        {
            layer.scale(&affine.scale, &affine.shift);
            chain.push(next);
        }
        let new = match (&chain[..], inputs.first()) {
            ([_, _, ..], Some(&x)) => out.layer(&layer, x),
            _ => out.copy(&source, node, &inputs),
        };
        for old in &chain {
            written[old.index()] = Some(new);
        }
    }
    let output = written[graph.output().index()].unwrap_or(graph.output());
    out.finish(output)
}
