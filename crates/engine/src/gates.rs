//! Stochastic depth: which branches a step of training drops, and which steps that saves.
//!
//! By the paper's rule (Huang et al. 2016, §3) a dropped branch is not computed. What that means for each
//! node is found on the graph of the training step: when a gate is closed, its own value is zero, and so
//! are the gradients that come from it; and what only such nodes read need not be computed.

use std::collections::HashSet;

use residuum_graph::{DropPath, DropRule, Graph, Node, NodeId, Op};
use residuum_kernels::Draws;

/// What training multiplies each of `n` images of a branch by. `is_open` decides for the whole batch in
/// place of the draw.
pub(crate) fn gate_factors(path: &DropPath, draws: Draws, is_open: Option<bool>, n: usize) -> Vec<f32> {
    let survivor = match path.rule {
        DropRule::Paper => 1.0,
        DropRule::Batch | DropRule::Sample => 1.0 / path.survival,
    };
    let survives = |image: usize| {
        let image = if path.rule == DropRule::Sample { image } else { 0 };
        is_open.unwrap_or_else(|| draws.happens(path.stream, image, path.survival))
    };
    (0..n).map(|image| if survives(image) { survivor } else { 0.0 }).collect()
}

/// The gates of a graph of training, in the order of its nodes.
pub(crate) fn gates(graph: &Graph) -> Vec<DropPath> {
    let mut seen = HashSet::new();
    let gate = |node: &Node| match node.op {
        Op::Gate(path) if seen.insert(path.stream) => Some(path),
        _ => None,
    };
    graph.nodes().iter().filter_map(gate).collect()
}

/// Place of a gate among [`gates`].
pub(crate) fn gate_index(graph: &Graph, path: &DropPath) -> usize {
    gates(graph).iter().take_while(|gate| gate.stream != path.stream).count()
}

/// For each node, the gate whose closing makes its value zero or useless.
pub(crate) struct Idle {
    by_node: Vec<Option<usize>>,
    /// Gates of the paper's rule that nodes can be left out for; the others multiply.
    pub(crate) skipping: HashSet<u32>,
}

impl Idle {
    /// Finds what the gates of a training graph make idle.
    pub(crate) fn new(graph: &Graph) -> Self {
        let users = graph.users();
        let mut idle = Self { by_node: vec![None; graph.nodes().len()], skipping: HashSet::new() };
        for (index, gate) in gates(graph).iter().enumerate() {
            if gate.rule != DropRule::Paper {
                continue;
            }
            let nodes = idle_nodes(graph, &users, gate.stream);
            // A node that waits for two gates would have to know both, and only sums can do without a part.
            let is_missed = |id: &NodeId| {
                users[id.index()].iter().any(|user| graph.node(*user).op != Op::Add && !nodes.contains(user))
            };
            if nodes.iter().any(is_missed) {
                continue;
            }
            if nodes.iter().all(|id| idle.by_node[id.index()].is_none()) {
                for id in &nodes {
                    idle.by_node[id.index()] = Some(index);
                }
                idle.skipping.insert(gate.stream);
            }
        }
        idle
    }

    /// Where nothing is gated.
    pub(crate) fn none(graph: &Graph) -> Self {
        Self { by_node: vec![None; graph.nodes().len()], skipping: HashSet::new() }
    }

    /// The gate whose closing makes the node idle.
    pub(crate) fn gate_of(&self, id: NodeId) -> Option<usize> {
        self.by_node[id.index()]
    }
}

/// The nodes whose values are zero, or of use to no other node, when the gate of `stream` is closed.
fn idle_nodes(graph: &Graph, users: &[Vec<NodeId>], stream: u32) -> HashSet<NodeId> {
    let mut idle = vec![false; graph.nodes().len()];
    for id in graph.ids() {
        let node = graph.node(id);
        let zero = |input: usize| node.inputs.get(input).is_some_and(|x| idle[x.index()]);
        idle[id.index()] = match node.op {
            Op::Gate(path) => path.stream == stream || zero(0),
            Op::Add => zero(0) && zero(1),
            Op::ConvBackwardWeights(_) | Op::LinearBackwardWeights(_) => zero(1),
            Op::ConvBackwardData { .. }
            | Op::BiasBackward { .. }
            | Op::LinearBackwardData(_)
            | Op::NormalizeBackwardSums(_)
            | Op::NormalizeBackward(_)
            | Op::BatchNormBackward(_)
            | Op::ReluBackward
            | Op::MaxPoolBackward(_)
            | Op::AvgPoolBackward { .. }
            | Op::GlobalAvgPoolBackward { .. }
            | Op::SubsampleBackward { .. }
            | Op::PadChannelsBackward { .. }
            | Op::MulBackward { .. }
            | Op::SigmoidBackward
            | Op::SliceChannels { .. }
            | Op::BlurBackward { .. }
            | Op::Mask(_)
            | Op::Mul
            | Op::Scale { offset: 0.0, .. } => zero(0),
            _ => false,
        };
    }
    for id in graph.ids().rev() {
        let readers = &users[id.index()];
        let is_useless = !readers.is_empty() && readers.iter().all(|user| idle[user.index()]);
        idle[id.index()] |= is_useless && id != graph.output();
    }
    graph.ids().filter(|id| idle[id.index()]).collect()
}
