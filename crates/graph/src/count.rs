//! Parameters, multiply-adds, depth and activations, counted as the papers count them.

use crate::error::GraphError;
use crate::graph::{Graph, Kind};
use crate::op::Op;

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

impl Graph {
    /// Counts the network for one image of `h` × `w`.
    ///
    /// # Errors
    /// When the network does not admit that size ([`Graph::extents`]).
    pub fn count(&self, h: usize, w: usize) -> Result<Counts, GraphError> {
        let extents = self.extents(h, w)?;
        let mut depths = vec![0; self.nodes.len()];
        let (mut multiply_adds, mut activations) = (0, 0);
        for id in self.ids() {
            let node = self.node(id);
            // A gate's layers are no layers of the path that it weighs.
            let path = if node.op == Op::Mul { &node.inputs[..1] } else { &node.inputs };
            let before = path.iter().map(|x| depths[x.index()]).max().unwrap_or(0);
            let weighted = matches!(node.op, Op::Conv2d(_) | Op::Linear(_));
            depths[id.index()] = before + usize::from(weighted);
            multiply_adds += self.multiply_adds(id.index(), extents[id.index()]);
            if let (Op::Conv2d(_), Kind::Map { channels }) = (node.op, node.kind) {
                activations += extents[id.index()].iter().product::<usize>() as u64 * channels as u64;
            }
        }
        Ok(Counts {
            parameters: self.parameter_count(),
            multiply_adds,
            depth: depths[self.output.index()],
            activations,
        })
    }

    /// Learned numbers, batch norm's scale and shift included, running statistics not.
    pub fn parameter_count(&self) -> u64 {
        self.params.iter().filter(|p| p.role.is_learned()).map(|p| p.len() as u64).sum()
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
