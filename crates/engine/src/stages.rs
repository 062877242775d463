//! Which steps run for some of the images at a time, one group of images after the other.
//!
//! The values of early layers are large: those of a whole batch leave the caches between the step that makes them and
//! the step that reads them. A stage is a run of steps that all see one group of images before the next group comes.
//! Values that stay within a stage are as large as a group; what passes from stage to stage holds the whole batch, and
//! each group has its part of it.
//!
//! The answers have the same bits for any size of the groups: no sum runs over images, and algorithms are chosen for the
//! whole batch.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use residuum_graph::{Graph, NodeId, Op};

use crate::fuse::{Fusion, Group};
use crate::seats::{Seats, slice_of};

/// Floats, for each thread, that the values of a step should take at most: they stay in the third-level cache then.
/// With less, threads wait for each other more often than for memory.
const CACHED_FLOATS: usize = 3 << 20;
/// Most floats of filters that are worth reading again for every group of images.
const SMALL_FILTERS: usize = 640 << 10;

/// Consecutive steps that run for `images` at a time, `groups` times.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) steps: Range<usize>,
    pub(crate) images: usize,
    pub(crate) groups: usize,
}

/// How many images each group of nodes is computed for at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    images: Vec<usize>,
    /// Nodes whose maps hold the whole batch.
    whole: HashSet<NodeId>,
}

impl Schedule {
    /// Everything for the whole batch.
    pub(crate) fn whole_batch(fusion: &Fusion, n: usize) -> Self {
        Self { images: vec![n; fusion.groups.len()], whole: HashSet::new() }
    }

    /// As many images as the caches hold, never fewer than in the step before; `floats` says what the value of a node takes
    /// for one image.
    pub(crate) fn new(
        graph: &Graph,
        fusion: &Fusion,
        seats: &Seats,
        kept: &HashSet<NodeId>,
        n: usize,
        threads: usize,
        floats: impl Fn(NodeId) -> usize,
    ) -> Self {
        let cached = threads * CACHED_FLOATS;
        let maps = |group: &Group| {
            let inputs = graph.node(group.root).inputs.iter().copied();
            let read = inputs.chain(group.residual).chain([group.last]);
            read.map(|id| seats.root(slice_of(graph, fusion.read(graph, id))).0).collect::<HashSet<NodeId>>()
        };
        let mut images = vec![n; fusion.groups.len()];
        let mut most = n;
        for (images, group) in images.iter_mut().zip(&fusion.groups).rev() {
            let each: usize = maps(group).into_iter().map(&floats).sum();
            if filters(graph, group) <= SMALL_FILTERS {
                most = most.min((cached / each.max(1)).max(1));
            }
            *images = (1..=most).rev().find(|count| n.is_multiple_of(*count)).unwrap_or(1);
        }
        let mut seen_by: HashMap<NodeId, usize> = HashMap::new();
        let mut whole: HashSet<NodeId> = kept.iter().map(|&id| seats.root(slice_of(graph, id)).0).collect();
        for (&images, group) in images.iter().zip(&fusion.groups) {
            for map in maps(group) {
                if *seen_by.entry(map).or_insert(images) != images {
                    whole.insert(map);
                }
            }
        }
        Self { images, whole }
    }

    /// Images that the group of nodes of this index is computed for at a time.
    pub(crate) fn images(&self, index: usize) -> usize {
        self.images[index]
    }

    /// Whether the map of a node, which is no part of another's, holds the whole batch.
    pub(crate) fn is_whole(&self, map: NodeId) -> bool {
        self.whole.contains(&map)
    }
}

/// Floats of a group's filters.
fn filters(graph: &Graph, group: &Group) -> usize {
    match graph.node(group.root).op {
        Op::Conv2d(conv) => conv.kernel[0] * conv.kernel[1] * conv.c_in / conv.groups * conv.c_out,
        Op::Linear(linear) => linear.inputs * linear.outputs,
        _ => 0,
    }
}
