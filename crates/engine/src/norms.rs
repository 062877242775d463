//! What convolutions do for the norms around them, while pixels are in the cache anyway.
//!
//! ```text
//! forward     norm, ReLU, convolution                      normalises each block of pixels that it reads
//! backward    gradient of those weights                    the same
//!             gradient of the input, ReLU, norm            masks what it writes, and takes the sums of the norm's gradient
//! ```
//!
//! What is normalised where it is read does not exist as a value; the gradient of the ReLU is masked by the norm's input.

use std::collections::{HashMap, HashSet};

use residuum_graph::{Graph, NodeId, Op};

use crate::fuse::{Fusion, Group, NormBefore, users};
use crate::gates::Idle;
use crate::seats::slice_of;

impl Fusion {
    /// Hands the work of norms over to convolutions. `kept` are nodes whose values must exist; `can_normalize` says of a
    /// convolution, and of the gradient of its weights, whether its algorithm can.
    pub(crate) fn hand_over_norms(
        &mut self,
        graph: &Graph,
        stands_for: &[NodeId],
        kept: &HashSet<NodeId>,
        idle: &Idle,
        can_normalize: impl Fn(NodeId) -> bool,
    ) {
        self.hand_over_sums(graph, idle);
        let (users, makers) = (users(graph, stands_for), self.makers());
        let is_concat = |id: &NodeId| graph.node(*id).op == Op::Concat;
        let is_in_concat = |id: NodeId| is_concat(&id) || users[id.index()].iter().any(is_concat);
        let readers_normalize = |group: &&Group| {
            let readers = &users[group.last.index()];
            let norm = graph.node(group.root);
            let can = |reader: &NodeId| {
                let maker = makers.get(reader).map(|&index| &self.groups[index]);
                // What is appended to a map goes into it; the step would read what it writes to.
                let appends = || {
                    maker.is_some_and(|maker| is_in_concat(maker.last))
                        && is_in_concat(slice_of(graph, norm.inputs[0]))
                };
                idle.gate_of(*reader) == idle.gate_of(group.last)
                    && does_without(graph, *reader, maker, group.last, &can_normalize)
                    && !appends()
            };
            matches!(norm.op, Op::BatchNorm(_) | Op::Normalize(_))
                && group.is_bare()
                && !kept.contains(&group.last)
                && !readers.is_empty()
                && readers.iter().all(can)
        };
        let found = self.groups.iter().filter(readers_normalize).map(|group| (group.last, group.clone()));
        self.normalized = found.collect();
        self.groups.retain(|group| !self.normalized.contains_key(&group.last));
    }

    /// The sums of a norm's gradient, which stay in the working memory until a step wants it for itself: where the gradient
    /// comes from the last convolution before.
    fn hand_over_sums(&mut self, graph: &Graph, idle: &Idle) {
        let makers = self.makers();
        for index in 1..self.groups.len() {
            let sums = &self.groups[index];
            let node = graph.node(sums.root);
            if !matches!(node.op, Op::NormalizeBackwardSums(_)) {
                continue;
            }
            let before =
                self.groups[..index].iter().rposition(|group| works_in_memory(&graph.node(group.root).op));
            let makes = |&before: &usize| {
                let conv = &self.groups[before];
                let is_gradient = matches!(graph.node(conv.root).op, Op::ConvBackwardData { .. });
                is_gradient
                    && conv.last == node.inputs[0]
                    && conv.before.is_none()
                    && run_together(idle, conv, sums)
            };
            let Some(before) = before.filter(makes) else { continue };
            let [x, moments] = [1, 2].map(|input| node.inputs[input]);
            let rectifies = |group: &Group| {
                let norm = graph.node(group.root);
                let is_same = matches!(norm.op, Op::Normalize(_)) && norm.inputs == [x, moments];
                is_same && group.is_bare() && group.relu
            };
            let maker = self.groups[before].mask.and_then(|y| makers.get(&y));
            let relu = maker.is_some_and(|&maker| rectifies(&self.groups[maker]));
            let conv = &mut self.groups[before];
            conv.mask = conv.mask.filter(|_| !relu);
            conv.before = Some(NormBefore { x, moments, relu });
        }
    }

    /// The group that makes the value of each node.
    fn makers(&self) -> HashMap<NodeId, usize> {
        self.groups.iter().enumerate().map(|(index, group)| (group.last, index)).collect()
    }

    /// The node whose value is read by who reads `id`.
    pub(crate) fn read(&self, graph: &Graph, id: NodeId) -> NodeId {
        self.normalized.get(&id).map_or(id, |norm| graph.node(norm.root).inputs[0])
    }
}

/// Whether a step needs the working memory.
fn works_in_memory(op: &Op) -> bool {
    matches!(
        op,
        Op::Conv2d(_)
            | Op::Linear(_)
            | Op::ConvBackwardData { .. }
            | Op::ConvBackwardWeights(_)
            | Op::LinearBackwardData(_)
            | Op::LinearBackwardWeights(_)
    )
}

/// Whether two steps run always, or wait for the same gate.
fn run_together(idle: &Idle, conv: &Group, sums: &Group) -> bool {
    let gate = idle.gate_of(sums.last);
    let parts = [Some(conv.root), conv.residual];
    let is_whole = || parts.into_iter().flatten().all(|part| idle.gate_of(part).is_none());
    idle.gate_of(conv.last) == gate && (gate.is_some() || is_whole())
}

/// Whether a node, which `maker` makes, does without the value of `norm`.
fn does_without(
    graph: &Graph,
    reader: NodeId,
    maker: Option<&Group>,
    norm: NodeId,
    can_normalize: impl Fn(NodeId) -> bool,
) -> bool {
    let node = graph.node(reader);
    let only =
        |input: usize| node.inputs.iter().enumerate().all(|(index, &id)| (id == norm) == (index == input));
    match node.op {
        Op::Conv2d(_) | Op::ConvBackwardWeights(_) => only(0) && can_normalize(reader),
        Op::ReluBackward => only(1) && maker.and_then(|group| group.before).is_some_and(|norm| norm.relu),
        _ => false,
    }
}
