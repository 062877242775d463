//! Concatenation without copying: every input is computed at its channels of one wide map.
//!
//! A dense block that appends to its input, layer by layer, thus lies in a single map, of which each
//! layer's input is a view (Pleiss et al. 2017). An input can be seated in one concatenation only, and not
//! where the step that makes it reads other channels of the same map; what cannot be seated is copied.

use std::collections::{HashMap, HashSet};

use residuum_graph::{Graph, Kind, Node, NodeId, Op};

use crate::fuse::{Fusion, Group};

/// Which node's value is some of the channels of which concatenation's.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    seat: HashMap<NodeId, (NodeId, usize)>,
}

impl Seats {
    /// Seats as many inputs of concatenations as possible.
    pub(crate) fn new(graph: &Graph, fusion: &Fusion) -> Self {
        let mut seats = Self::default();
        let made: HashSet<NodeId> = fusion.groups.iter().map(|group| group.last).collect();
        for group in &fusion.groups {
            let node = graph.node(group.root);
            if node.op != Op::Concat {
                continue;
            }
            let mut channel = 0;
            for &input in &node.inputs {
                let single = node.inputs.iter().filter(|&&other| other == input).count() == 1;
                if single && made.contains(&input) && can_be_seated(graph.node(input)) {
                    seats.seat.entry(input).or_insert((group.last, channel));
                }
                channel += channels(graph.node(input));
            }
        }
        // Taking a seat away frees no one else, but may leave another without a conflict.
        while let Some(id) = fusion.groups.iter().find_map(|group| seats.conflict(graph, fusion, group)) {
            seats.seat.remove(&id);
        }
        seats
    }

    /// The widest map that holds the node's value, and its first channel there.
    pub(crate) fn root(&self, id: NodeId) -> (NodeId, usize) {
        let (mut root, mut channel) = (id, 0);
        while let Some(&(concat, first)) = self.seat.get(&root) {
            (root, channel) = (concat, channel + first);
        }
        (root, channel)
    }

    /// True where the input lies in the map of this concatenation already.
    pub(crate) fn is_seated(&self, input: NodeId, concat: NodeId) -> bool {
        self.seat.get(&input).is_some_and(|&(seat, _)| seat == concat)
    }

    /// The input of `concat` in whose map `id` lies, where that is seated in it.
    fn seat_below(&self, mut id: NodeId, concat: NodeId) -> Option<NodeId> {
        loop {
            let &(seat, _) = self.seat.get(&id)?;
            if seat == concat {
                return Some(id);
            }
            id = seat;
        }
    }

    /// A seated node whose step reads from the map that it would write to.
    fn conflict(&self, graph: &Graph, fusion: &Fusion, group: &Group) -> Option<NodeId> {
        let root = graph.node(group.root);
        if root.op == Op::Concat {
            let mut copied = root.inputs.iter().filter(|&&input| !self.is_seated(input, group.last));
            return copied.find_map(|&input| self.seat_below(slice_of(graph, input), group.last));
        }
        if !self.seat.contains_key(&group.last) {
            return None;
        }
        let wide = self.root(group.last).0;
        let masked = root.inputs.iter().filter_map(|input| fusion.masked.get(input));
        let reads = root.inputs.iter().copied().chain(group.residual).chain(group.mask);
        let reads = reads.chain(masked.flat_map(|&(dy, y)| [dy, y]));
        let source = |id| self.root(slice_of(graph, id)).0;
        reads.map(|id| source(fusion.read(graph, id))).any(|read| read == wide).then_some(group.last)
    }
}

/// The node whose memory a slice of channels looks into.
pub(crate) fn slice_of(graph: &Graph, mut id: NodeId) -> NodeId {
    while matches!(graph.node(id).op, Op::SliceChannels { .. } | Op::Flatten) {
        id = graph.node(id).inputs[0];
    }
    id
}

/// Slices look into another map.
fn can_be_seated(node: &Node) -> bool {
    matches!(node.kind, Kind::Map { .. }) && !matches!(node.op, Op::SliceChannels { .. } | Op::Flatten)
}

fn channels(node: &Node) -> usize {
    match node.kind {
        Kind::Map { channels } => channels,
        _ => 0,
    }
}
