//! Stochastic depth for a network that was not drawn with it.

use crate::error::GraphError;
use crate::graph::{Graph, Node, NodeId};
use crate::op::{DropPath, DropRule, Op};
use crate::residual::Block;

impl Graph {
    /// The same network, whose residual branches are dropped in training, for each image anew: the first never, the
    /// last with probability `rate`, those between in a straight line (timm's `drop_path_rate`). Parameters stay, and
    /// so does what it answers.
    ///
    /// # Errors
    /// When the rate is not in `[0, 1)`, there is no residual branch, or branches are dropped already.
    pub fn with_drop_path(&self, rate: f64) -> Result<Self, GraphError> {
        let refuse = |expected, found: &str| Err(GraphError::new(&self.name, expected, found));
        let blocks = self.residual_blocks();
        if !(0.0..1.0).contains(&rate) {
            return refuse("a rate of dropped branches from 0 to below 1", &rate.to_string());
        }
        if self.nodes.iter().any(|node| matches!(node.op, Op::DropPath(_))) {
            return refuse("a network that drops no branches yet", "one that does");
        }
        if blocks.is_empty() {
            return refuse("residual branches to drop", "none");
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(self.nodes.len() + blocks.len());
        let mut moved: Vec<NodeId> = Vec::with_capacity(self.nodes.len());
        for id in self.ids() {
            let mut node = self.node(id).clone();
            node.inputs.iter_mut().for_each(|input| *input = moved[input.index()]);
            if let Some((branch, name, path)) = self.path_before(id, &blocks, rate) {
                let dropped = NodeId(nodes.len() as u32);
                let input = std::mem::replace(&mut node.inputs[branch], dropped);
                nodes.push(Node { name, op: Op::DropPath(path), inputs: vec![input], kind: node.kind });
            }
            moved.push(NodeId(nodes.len() as u32));
            nodes.push(node);
        }
        let graph = Self { nodes, output: moved[self.output.index()], ..self.clone() };
        graph.verify()?;
        Ok(graph)
    }

    /// Which operand of an addition is a branch to drop, and what drops it, with its name.
    fn path_before(&self, id: NodeId, blocks: &[Block], rate: f64) -> Option<(usize, String, DropPath)> {
        let (number, block) = blocks.iter().enumerate().find(|(_, block)| block.add == id)?;
        let dropped = rate * number as f64 / (blocks.len() - 1).max(1) as f64;
        let (survival, stream) = ((1.0 - dropped) as f32, self.free_stream() + number as u32);
        let path = DropPath { survival, rule: DropRule::Sample, stream };
        (survival < 1.0).then(|| (block.branch, format!("{}.drop_path", block.name), path))
    }

    /// The first number of a stream that no node draws from.
    fn free_stream(&self) -> u32 {
        let drawn = self.nodes.iter().filter_map(|node| match node.op {
            Op::Dropout(dropout) => Some(dropout.stream + 1),
            _ => None,
        });
        drawn.max().unwrap_or(0)
    }
}
