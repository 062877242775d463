//! Residual blocks, recognised by what the nodes compute.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::graph::{Graph, Kind, NodeId};
use crate::op::Op;

/// A residual block: the addition of a branch to a shortcut (He et al. 2015, §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Name of the module, such as `layer1.0`.
    pub name: String,
    /// The addition.
    pub add: NodeId,
    /// Which operand of the addition is the branch.
    pub branch: usize,
    /// Whether the shortcut is the identity; where it is not, the block changes the shape or the shortcut is
    /// one of the ablations (projections everywhere, gates, scales, dropout).
    pub is_identity: bool,
    /// For each operand of the addition the nodes that it alone depends on, in order.
    pub ways: [Vec<NodeId>; 2],
}

impl Block {
    /// Which operand of the addition is the shortcut.
    pub const fn shortcut(&self) -> usize {
        1 - self.branch
    }
}

impl Graph {
    /// The residual blocks, in order: additions whose operands have an ancestor in common. The operand with
    /// more convolutions of its own is the branch, or with larger ones where both have as many.
    pub fn residual_blocks(&self) -> Vec<Block> {
        let additions = self.ids().filter(|id| self.node(*id).op == Op::Add);
        additions.filter_map(|add| self.residual_block(add)).collect()
    }

    fn residual_block(&self, add: NodeId) -> Option<Block> {
        let node = self.node(add);
        let ways = self.ways(node.inputs[0], node.inputs[1]);
        let branch = match self.convolved(&ways[0]).cmp(&self.convolved(&ways[1])) {
            Ordering::Less => 1,
            Ordering::Equal => return None,
            Ordering::Greater => 0,
        };
        let is_identity = ways[1 - branch].is_empty();
        let name = module(&node.name).unwrap_or(&node.name).to_owned();
        Some(Block { name, add, branch, is_identity, ways })
    }

    /// Number of convolutions among nodes, and of their taps; a projection has fewer than a branch.
    pub(crate) fn convolved(&self, way: &[NodeId]) -> [usize; 2] {
        way.iter().fold([0, 0], |[count, taps], &id| match self.node(id).op {
            Op::Conv2d(conv) => [count + 1, taps + conv.kernel[0] * conv.kernel[1]],
            _ => [count, taps],
        })
    }

    /// What each of two nodes depends on, itself included, and the other does not, in order. A walk back that
    /// ends where all that is left to look at belongs to both.
    pub(crate) fn ways(&self, one: NodeId, other: NodeId) -> [Vec<NodeId>; 2] {
        const BOTH: u8 = 3;
        let mut ways = [Vec::new(), Vec::new()];
        let mut open = BTreeMap::new();
        for (id, side) in [(one, 1), (other, 2)] {
            *open.entry(id).or_insert(0) |= side;
        }
        while open.values().any(|&sides| sides != BOTH) {
            let Some((id, sides)) = open.pop_last() else { break };
            if sides != BOTH {
                ways[usize::from(sides) - 1].push(id);
            }
            for &input in &self.node(id).inputs {
                *open.entry(input).or_insert(0) |= sides;
            }
        }
        ways.each_mut().map(|way| {
            way.reverse();
            std::mem::take(way)
        })
    }

    /// Whether a way's nodes make a map of another shape of what they read.
    pub(crate) fn changes_shape(&self, way: &[NodeId]) -> bool {
        way.iter().any(|&id| {
            let node = self.node(id);
            let read = node.inputs.first().map(|&input| self.node(input).kind);
            let strides = match node.op {
                Op::Conv2d(conv) => conv.stride != [1, 1],
                Op::MaxPool(pool) => pool.stride != [1, 1],
                Op::AvgPool(pool) => pool.window.stride != [1, 1],
                Op::Blur(blur) => blur.stride != 1,
                Op::Subsample { stride } => stride != 1,
                _ => false,
            };
            strides || matches!(node.kind, Kind::Map { .. }) && read.is_some_and(|kind| kind != node.kind)
        })
    }
}

/// The module that holds a node: its name without the last part.
pub(crate) fn module(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(module, _)| module)
}
