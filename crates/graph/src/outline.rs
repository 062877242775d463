//! A network as the papers draw it: a column of layers in stages and blocks, with shortcuts beside it.
//!
//! Which nodes are a block is told by additions and concatenations, and by the module names that PyTorch's
//! users give; where a network has neither addition nor concatenation (plain nets, folded ones), by the names
//! alone. Inside a block the *main path* is the branch, as in He et al. 2015, Fig. 3; norms and activations go
//! with the layer that they follow, or precede in pre-activation nets.

mod steps;

use std::collections::HashSet;

use crate::graph::{Graph, NodeId};
use crate::op::Op;
use crate::residual::module;

pub use steps::{Arc, Step, StepKind};

/// All nodes in stages, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// From the image to the answer.
    pub stages: Vec<Stage>,
}

/// What a stage is to its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageRole {
    /// Comes before the first block.
    Stem,
    /// Is made of blocks.
    Blocks,
    /// Stands between two stages of blocks, such as a transition.
    Between,
    /// Comes after the last block.
    Head,
}

/// Blocks of one module and one resolution, or layers that belong to no block.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Such as `layer1`, `stem`.
    pub name: String,
    /// What it is to the network.
    pub role: StageRole,
    /// Its blocks, or all its layers as one part.
    pub parts: Vec<Part>,
}

/// A block, or layers that belong to none.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Name of the block.
    pub block: Option<String>,
    /// Its nodes, in order.
    pub nodes: Vec<NodeId>,
    /// What is drawn for them, from top to bottom.
    pub steps: Vec<Step>,
    /// What leads around steps.
    pub arcs: Vec<Arc>,
}

impl Part {
    /// Whether two parts are drawn alike.
    pub fn looks_like(&self, other: &Self) -> bool {
        let alike = |(a, b): (&Step, &Step)| {
            (a.kind, &a.before, &a.label, &a.after) == (b.kind, &b.before, &b.label, &b.after)
        };
        self.arcs == other.arcs
            && self.steps.len() == other.steps.len()
            && self.steps.iter().zip(&other.steps).all(alike)
    }
}

impl Stage {
    /// The node that makes the stage's output.
    pub fn output(&self) -> Option<NodeId> {
        self.parts.last().and_then(|part| part.nodes.last()).copied()
    }
}

impl Outline {
    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.stages.iter().flat_map(|stage| &stage.parts).filter(|part| part.block.is_some()).count()
    }
}

impl Graph {
    /// The network in stages and blocks.
    pub fn outline(&self) -> Outline {
        let mut runs: Vec<(Option<String>, Vec<NodeId>)> = Vec::new();
        for (id, block) in self.ids().zip(self.blocks_of_nodes()) {
            match runs.last_mut() {
                Some((name, nodes)) if *name == block => nodes.push(id),
                _ => runs.push((block, vec![id])),
            }
        }
        let mut stages: Vec<Stage> = Vec::new();
        let steps = self.receptive_fields().into_iter().map(|field| field.map(|field| field.step));
        let steps: Vec<Option<f64>> = steps.collect();
        let mut newest = None;
        for (block, nodes) in runs {
            let key = block.as_deref().map(|name| {
                (module(name).unwrap_or_default().to_owned(), nodes.last().and_then(|id| steps[id.index()]))
            });
            let part = self.part(block, nodes);
            match (stages.last_mut(), &key) {
                (Some(stage), Some(_)) if key == newest => stage.parts.push(part),
                _ => stages.push(self.stage(part, key.as_ref().map(|(parent, _)| parent.as_str()))),
            }
            newest = key;
        }
        let first = stages.iter().position(|stage| stage.role == StageRole::Blocks).unwrap_or(stages.len());
        let last = stages.iter().rposition(|stage| stage.role == StageRole::Blocks).unwrap_or(0);
        for (index, stage) in stages.iter_mut().enumerate().filter(|(_, s)| s.role != StageRole::Blocks) {
            if index < first {
                (stage.role, stage.name) = (StageRole::Stem, "stem".into());
            } else if index > last {
                (stage.role, stage.name) = (StageRole::Head, "head".into());
            }
        }
        Outline { stages }
    }

    fn stage(&self, part: Part, parent: Option<&str>) -> Stage {
        let name = if let Some(parent) = parent {
            if parent.is_empty() { "blocks" } else { parent }
        } else {
            part.nodes.iter().find_map(|&id| module(&self.node(id).name)).unwrap_or("between")
        };
        let name = name.to_owned();
        let role = if parent.is_some() { StageRole::Blocks } else { StageRole::Between };
        Stage { name, role, parts: vec![part] }
    }

    /// For every node the name of the block that it belongs to.
    fn blocks_of_nodes(&self) -> Vec<Option<String>> {
        let blocks = self.residual_blocks();
        let is_concat = |id: &NodeId| self.node(*id).op == Op::Concat;
        let joints = blocks.iter().map(|block| block.add).chain(self.ids().filter(is_concat));
        let named: Vec<Option<&str>> = joints.map(|id| module(&self.node(id).name)).collect();
        let modules: HashSet<&str> = if named.is_empty() {
            let layers = self.nodes.iter().filter(|node| matches!(node.op, Op::Conv2d(_)));
            // A block is a member of a stage, so its name has at least two parts.
            layers.filter_map(|node| module(&node.name)).filter(|name| name.contains('.')).collect()
        } else {
            named.into_iter().flatten().collect()
        };
        let mut of: Vec<Option<String>> =
            self.nodes.iter().map(|node| outermost(&node.name, &modules).map(str::to_owned)).collect();
        for block in blocks.iter().filter(|block| module(&self.node(block.add).name).is_none()) {
            for id in block.ways.iter().flatten().chain([&block.add]) {
                of[id.index()].get_or_insert_with(|| block.name.clone());
            }
        }
        of
    }
}

/// The shortest of `modules` that a name lies in.
fn outermost<'a>(name: &'a str, modules: &HashSet<&str>) -> Option<&'a str> {
    name.match_indices('.').map(|(dot, _)| &name[..dot]).find(|prefix| modules.contains(prefix))
}
