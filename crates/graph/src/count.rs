//! Parameters, multiply-adds, depth and activations, counted as the papers count them.

use crate::error::GraphError;
use crate::graph::{Graph, Kind, NodeId, ParamId};
use crate::op::Op;
use crate::param::Param;

/// The size of a network, for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Learned numbers, batch norm's scale and shift included, running statistics not.
    pub parameters: u64,
    /// Multiply-adds of convolutions and linear layers.
    pub multiply_adds: u64,
    /// Convolutions and linear layers on the longest path; projections of shortcuts lie on shorter ones.
    pub depth: usize,
    /// Numbers that convolutions make.
    pub activations: u64,
}

/// The size of one node, for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeCounts {
    /// Height and width of its map; `[1, 1]` for what is no map.
    pub extent: [usize; 2],
    /// Learned numbers.
    pub parameters: u64,
    /// Multiply-adds, of convolutions and linear layers.
    pub multiply_adds: u64,
    /// Numbers that it makes.
    pub outputs: u64,
}

impl Graph {
    /// Counts every node for one image of `h` × `w`.
    ///
    /// # Errors
    /// When the network does not admit that size ([`Graph::extents`]).
    pub fn node_counts(&self, h: usize, w: usize) -> Result<Vec<NodeCounts>, GraphError> {
        let extents = self.extents(h, w)?;
        let counts = self.ids().zip(extents).map(|(id, extent)| NodeCounts {
            extent,
            parameters: self.node_parameters(id),
            multiply_adds: self.multiply_adds(id.index(), extent),
            outputs: self.outputs(id, extent),
        });
        Ok(counts.collect())
    }

    /// Counts the network for one image of `h` × `w`.
    ///
    /// # Errors
    /// When the network does not admit that size ([`Graph::extents`]).
    pub fn count(&self, h: usize, w: usize) -> Result<Counts, GraphError> {
        let counts = self.node_counts(h, w)?;
        let mut depths = vec![0; self.nodes.len()];
        for id in self.ids() {
            let node = self.node(id);
            // A gate's layers are no layers of the path that it weighs.
            let path = if node.op == Op::Mul { &node.inputs[..1] } else { &node.inputs };
            let before = path.iter().map(|x| depths[x.index()]).max().unwrap_or(0);
            let weighted = matches!(node.op, Op::Conv2d(_) | Op::Linear(_));
            depths[id.index()] = before + usize::from(weighted);
        }
        let convolutions =
            self.nodes.iter().zip(&counts).filter(|(node, _)| matches!(node.op, Op::Conv2d(_)));
        Ok(Counts {
            parameters: self.parameter_count(),
            multiply_adds: counts.iter().map(|node| node.multiply_adds).sum(),
            depth: depths[self.output.index()],
            activations: convolutions.map(|(_, counts)| counts.outputs).sum(),
        })
    }

    /// Learned numbers, batch norm's scale and shift included, running statistics not.
    pub fn parameter_count(&self) -> u64 {
        self.params.iter().filter(|p| p.role.is_learned()).map(|p| p.len() as u64).sum()
    }

    /// Learned numbers of one node.
    fn node_parameters(&self, id: NodeId) -> u64 {
        let of = |ids: &[Option<ParamId>]| {
            ids.iter()
                .flatten()
                .map(|&id| self.param(id))
                .filter(|p| p.role.is_learned())
                .map(Param::len)
                .sum()
        };
        let count: usize = match self.node(id).op {
            Op::Conv2d(conv) => of(&[Some(conv.weight), conv.bias]),
            Op::Linear(linear) => of(&[Some(linear.weight), linear.bias]),
            Op::BatchNorm(norm) | Op::Normalize(norm) => of(&[Some(norm.weight), Some(norm.bias)]),
            _ => 0,
        };
        count as u64
    }

    /// Numbers that a node makes of one image, its map being `extent`.
    fn outputs(&self, id: NodeId, extent: [usize; 2]) -> u64 {
        let count = match self.node(id).kind {
            Kind::Map { channels } => channels * extent[0] * extent[1],
            Kind::Vector { features } => features,
            Kind::Statistics { channels } => 2 * channels,
            Kind::Gradient(param) => self.param(param).len(),
            Kind::Scalar => 1,
        };
        count as u64
    }

    /// Multiply-adds of the node at `index` for one image, its map being `extent`.
    fn multiply_adds(&self, index: usize, extent: [usize; 2]) -> u64 {
        match self.nodes[index].op {
            Op::Conv2d(c) => {
                let taps = c.kernel[0] * c.kernel[1] * (c.c_in / c.groups);
                (extent[0] * extent[1]) as u64 * c.c_out as u64 * taps as u64
            }
            Op::Linear(l) => l.inputs as u64 * l.outputs as u64,
            _ => 0,
        }
    }
}
