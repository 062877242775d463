//! A network with all that is told about it.

use residuum::graph::{Counts, Graph, GraphError, NodeCounts, Op, Outline, ReceptiveField};
use residuum::models;

/// Bytes of a number.
const F32_BYTES: u64 = 4;

/// A network, counted for a size of image.
pub(super) struct View {
    pub(super) name: String,
    pub(super) graph: Graph,
    pub(super) size: [usize; 2],
    pub(super) batch_size: usize,
    pub(super) counts: Counts,
    /// Number of layers as its paper counts them, where it has a registered name.
    pub(super) depth: Option<usize>,
    /// Of every node, for one image.
    pub(super) nodes: Vec<NodeCounts>,
    pub(super) fields: Vec<Option<ReceptiveField>>,
    pub(super) outline: Outline,
    /// Additions of two values.
    pub(super) additions: usize,
}

impl View {
    pub(super) fn new(
        name: String,
        graph: Graph,
        size: [usize; 2],
        batch_size: usize,
    ) -> Result<Self, GraphError> {
        let [h, w] = size;
        Ok(Self {
            counts: graph.count(h, w)?,
            depth: models::find(&name).ok().map(|entry| entry.depth),
            nodes: graph.node_counts(h, w)?,
            fields: graph.receptive_fields(),
            outline: graph.outline(),
            additions: graph.nodes().iter().filter(|node| node.op == Op::Add).count(),
            name,
            graph,
            size,
            batch_size,
        })
    }

    /// The image in words, such as `3×224×224`.
    pub(super) fn image(&self) -> String {
        let [h, w] = self.size;
        format!("{}×{h}×{w}", self.graph.input_channels())
    }

    /// Depth in words: as the paper counts it, and otherwise.
    pub(super) fn depth_text(&self) -> String {
        let path = self.counts.depth;
        match self.depth {
            Some(depth) if depth != path => format!("{depth} ({path} layers on the longest path)"),
            _ => path.to_string(),
        }
    }

    /// Memory of outputs for the batch: numbers of one image as `f32`.
    pub(super) fn bytes(&self, outputs: u64) -> u64 {
        outputs * F32_BYTES * self.batch_size as u64
    }
}
