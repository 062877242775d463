//! The residual blocks of a network in stages, within which a channel stays what it is: the shortcut hands it
//! on from block to block.

use residuum_graph::{Block, Graph, Kind, NodeId, ReceptiveField};

use crate::error::{ExplainError, Result};
use crate::receptive::receptive_field;

/// Consecutive residual blocks whose outputs have one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// What the names of its blocks begin with, such as `layer1`; no two stages share it.
    pub name: String,
    /// Channels of each block's output.
    pub channels: usize,
    /// Rows of each block's output.
    pub rows: usize,
    /// Columns of each block's output.
    pub columns: usize,
    /// The blocks in order.
    pub blocks: Vec<StageBlock>,
}

/// A residual block as part of a stage. Layers are named as the graph names its nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct StageBlock {
    /// Name of the module, such as `layer1.0`.
    pub name: String,
    /// What the block makes: the sum and, where the module activates it, what follows the sum.
    pub output: String,
    /// What its branch adds.
    pub branch: String,
    /// What the branch is added to.
    pub shortcut: String,
    /// What a unit of the output sees.
    pub field: ReceptiveField,
}

/// The stages of a network for images of `h` × `w`.
///
/// # Errors
/// When the network has no residual blocks, or does not admit the size.
pub fn stages(graph: &Graph, h: usize, w: usize) -> Result<Vec<Stage>> {
    let extents = graph.extents(h, w)?;
    let mut stages: Vec<Stage> = Vec::new();
    for block in graph.residual_blocks() {
        let output = output_of(graph, &block);
        let Kind::Map { channels } = graph.node(output).kind else { continue };
        let [rows, columns] = extents[output.index()];
        let name = |id: NodeId| graph.node(id).name.clone();
        let operands = &graph.node(block.add).inputs;
        let part = StageBlock {
            output: name(output),
            branch: name(operands[block.branch]),
            shortcut: name(operands[block.shortcut()]),
            field: receptive_field(graph, &graph.node(output).name)?,
            name: block.name,
        };
        match stages.last_mut() {
            Some(stage) if (stage.channels, stage.rows, stage.columns) == (channels, rows, columns) => {
                stage.blocks.push(part);
            }
            _ => {
                let name = name_of(&part.name, &stages);
                stages.push(Stage { name, channels, rows, columns, blocks: vec![part] });
            }
        }
    }
    if stages.is_empty() {
        return Err(ExplainError::unfit(graph.name(), "a network of residual blocks", "none"));
    }
    Ok(stages)
}

/// The last node of the block's module, where that follows the addition.
fn output_of(graph: &Graph, block: &Block) -> NodeId {
    graph.find(&block.name).filter(|last| *last > block.add).unwrap_or(block.add)
}

/// The module around a stage's first block, or the block itself where another stage has that already.
fn name_of(block: &str, stages: &[Stage]) -> String {
    let around = block.rsplit_once('.').map_or(block, |(around, _)| around);
    let is_taken = stages.iter().any(|stage| stage.name == around);
    if is_taken { block.to_owned() } else { around.to_owned() }
}
