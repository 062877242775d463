//! A part's nodes as boxes on a path, and arcs around them.

use std::collections::HashSet;

use super::Part;
use crate::graph::{Graph, NodeId};
use crate::op::Op;

/// What a step looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepKind {
    /// The image.
    Image,
    /// A convolution or linear layer.
    Layer,
    /// A pool or another operation without weights that changes the shape.
    Pool,
    /// A gate.
    Gate,
    /// A sum.
    Add,
    /// Maps behind each other.
    Concat,
    /// Norms and activations that go with no layer.
    Activation,
}

/// A box on the main path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it looks like.
    pub kind: StepKind,
    /// The nodes that it stands for.
    pub nodes: Vec<NodeId>,
    /// Norms and activations before the layer, such as `BN`, `ReLU`.
    pub before: Vec<String>,
    /// The layer in the papers' words, such as `3×3 conv, 64, /2`; empty for activations alone.
    pub label: String,
    /// Norms and activations after it.
    pub after: Vec<String>,
}

/// What leads around steps to a sum or a concatenation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arc {
    /// The step after which it begins; none where it begins before the part's first step.
    pub from: Option<usize>,
    /// The step that it leads to.
    pub to: usize,
    /// Whether it makes a map of another shape; drawn dotted, as in the paper.
    pub changes_shape: bool,
    /// Whether there is a layer with weights on it.
    pub has_weights: bool,
    /// What is done on it; nothing for the identity.
    pub labels: Vec<String>,
}

/// A way around: what it begins behind, its nodes, where it ends.
struct Side {
    fork: Option<NodeId>,
    nodes: Vec<NodeId>,
    joint: NodeId,
}

impl Graph {
    /// Draws the nodes of a block, or of layers that belong to none.
    pub(super) fn part(&self, block: Option<String>, nodes: Vec<NodeId>) -> Part {
        let own: HashSet<NodeId> = nodes.iter().copied().collect();
        let path = |end: NodeId, stop: &HashSet<NodeId>| {
            let mut path = Vec::new();
            let mut at = Some(end);
            while let Some(id) = at.filter(|id| own.contains(id) && !stop.contains(id)) {
                path.push(id);
                at = self.main_input(id);
            }
            path.reverse();
            (path, at)
        };
        let (main, entry) = nodes.last().map_or_else(Default::default, |&end| path(end, &HashSet::new()));
        let on_main: HashSet<NodeId> = main.iter().copied().collect();
        let mut sides = Vec::new();
        for &joint in main.iter().filter(|&&id| matches!(self.node(id).op, Op::Add | Op::Concat)) {
            let others = self.node(joint).inputs.iter().filter(|&&id| Some(id) != self.main_input(joint));
            for &other in others {
                let (nodes, fork) = path(other, &on_main);
                sides.push(Side { fork, nodes, joint });
            }
        }
        let forks: HashSet<NodeId> = sides.iter().filter_map(|side| side.fork).collect();
        let steps = self.steps(&main, &forks);
        let arcs = sides.iter().filter_map(|side| self.arc(side, &steps, entry)).collect();
        Part { block, nodes, steps, arcs }
    }

    /// The operand that the main path comes by: the branch of a residual block, what a dense layer adds, what
    /// a gate weighs.
    fn main_input(&self, id: NodeId) -> Option<NodeId> {
        let inputs = &self.node(id).inputs;
        match (self.node(id).op, &inputs[..]) {
            (Op::Add | Op::Concat, &[one, other]) => {
                let ways = self.ways(one, other).map(|way| self.convolved(&way));
                Some(if ways[1] > ways[0] { other } else { one })
            }
            (Op::Concat, _) => inputs.last().copied(),
            _ => inputs.first().copied(),
        }
    }

    fn steps(&self, main: &[NodeId], forks: &HashSet<NodeId>) -> Vec<Step> {
        let is_light = |id: NodeId| activation(&self.node(id).op).is_some();
        let is_preactivated = self.is_preactivated(main);
        let mut steps: Vec<Step> = Vec::new();
        let mut waiting: Vec<NodeId> = Vec::new();
        // Nothing joins a step behind which an arc begins.
        let mut is_closed = true;
        for &id in main {
            let kind = self.kind_of_step(id);
            if is_light(id) {
                match steps.last_mut() {
                    Some(step) if !is_preactivated && !is_closed => self.append(step, id),
                    _ => waiting.push(id),
                }
            } else {
                if matches!(kind, StepKind::Add | StepKind::Concat) {
                    self.settle(&mut steps, &mut waiting, is_closed);
                }
                let mut nodes = std::mem::take(&mut waiting);
                let before = self.activations(&nodes);
                nodes.push(id);
                steps.push(Step { kind, nodes, before, label: self.label(id), after: Vec::new() });
                is_closed = false;
            }
            if forks.contains(&id) {
                self.settle(&mut steps, &mut waiting, true);
                is_closed = true;
            }
        }
        self.settle(&mut steps, &mut waiting, is_closed);
        steps
    }

    /// Whether norms and activations belong to the layer behind them (He et al. 2016, §4.1): where they come
    /// first, or a layer is added as it is and so is its sum.
    fn is_preactivated(&self, main: &[NodeId]) -> bool {
        let is_light = |id: &NodeId| activation(&self.node(*id).op).is_some();
        let joint = main.iter().position(|&id| matches!(self.node(id).op, Op::Add | Op::Concat));
        let is_bare = |joint: usize| {
            joint > 0 && !is_light(&main[joint - 1]) && !main.get(joint + 1).is_some_and(is_light)
        };
        main.first().is_some_and(is_light) || joint.is_some_and(is_bare)
    }

    /// Lets waiting norms and activations join the newest step, or be one of their own.
    fn settle(&self, steps: &mut Vec<Step>, waiting: &mut Vec<NodeId>, is_closed: bool) {
        let nodes = std::mem::take(waiting);
        match steps.last_mut() {
            _ if nodes.is_empty() => {}
            Some(step) if !is_closed => nodes.into_iter().for_each(|id| self.append(step, id)),
            _ => steps.push(Step {
                kind: StepKind::Activation,
                after: self.activations(&nodes),
                nodes,
                before: Vec::new(),
                label: String::new(),
            }),
        }
    }

    fn append(&self, step: &mut Step, id: NodeId) {
        step.after.extend(activation(&self.node(id).op));
        step.nodes.push(id);
    }

    fn activations(&self, nodes: &[NodeId]) -> Vec<String> {
        nodes.iter().filter_map(|&id| activation(&self.node(id).op)).collect()
    }

    fn kind_of_step(&self, id: NodeId) -> StepKind {
        match self.node(id).op {
            Op::Input => StepKind::Image,
            Op::Conv2d(_) | Op::Linear(_) => StepKind::Layer,
            Op::Add => StepKind::Add,
            Op::Concat => StepKind::Concat,
            Op::Mul => StepKind::Gate,
            _ => StepKind::Pool,
        }
    }

    fn label(&self, id: NodeId) -> String {
        match self.node(id).op {
            Op::Input => "image".into(),
            Op::Mul => format!("× gate ({})", self.gate(id)),
            op => op.describe(),
        }
    }

    /// The layers that make a gate, and nothing else: a pool and the widths behind it, or one convolution.
    fn gate(&self, mul: NodeId) -> String {
        let [_, gate] = match self.node(mul).inputs[..] {
            [weighed, gate] => self.ways(weighed, gate),
            _ => Default::default(),
        };
        let part = |&id: &NodeId| match self.node(id).op {
            Op::GlobalAvgPool => Some("pool".to_owned()),
            Op::Conv2d(conv) if conv.kernel == [1, 1] => Some(conv.c_out.to_string()),
            op if activation(&op).is_some_and(|name| !name.starts_with('1')) => None,
            op => Some(activation(&op).unwrap_or_else(|| op.describe())),
        };
        gate.iter().filter_map(part).collect::<Vec<_>>().join(", ")
    }

    fn arc(&self, side: &Side, steps: &[Step], entry: Option<NodeId>) -> Option<Arc> {
        let place = |id: NodeId| steps.iter().position(|step| step.nodes.contains(&id));
        let from = side.fork.and_then(place);
        let mut labels: Vec<String> = Vec::new();
        if let Some(fork) = side.fork.filter(|fork| from.is_none() && Some(*fork) != entry) {
            labels.push(format!("from {}", self.node(fork).name));
        }
        labels.extend(self.side_labels(&side.nodes));
        Some(Arc {
            from,
            to: place(side.joint)?,
            changes_shape: self.changes_shape(&side.nodes),
            has_weights: side.nodes.iter().any(|&id| matches!(self.node(id).op, Op::Conv2d(_))),
            labels,
        })
    }

    /// A line for each layer, one for what comes between layers.
    fn side_labels(&self, nodes: &[NodeId]) -> Vec<String> {
        let mut lines: Vec<(bool, String)> = Vec::new();
        for &id in nodes {
            let op = &self.node(id).op;
            let is_layer = matches!(op, Op::Conv2d(_) | Op::AvgPool(_) | Op::MaxPool(_) | Op::Blur(_));
            let text = match op {
                Op::Subsample { stride } => format!("/{stride}"),
                Op::PadChannels { before, after } => format!("+{} zeros", before + after),
                _ => activation(op).unwrap_or_else(|| self.label(id)),
            };
            match lines.last_mut() {
                Some((false, line)) if !is_layer => {
                    line.push_str(", ");
                    line.push_str(&text);
                }
                _ => lines.push((is_layer, text)),
            }
        }
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

/// Short name of what goes with a layer: norms, activations, what is drawn or scaled at random.
fn activation(op: &Op) -> Option<String> {
    Some(match op {
        Op::BatchNorm(_) | Op::Normalize(_) => "BN".into(),
        Op::Relu => "ReLU".into(),
        Op::Sigmoid => "sigmoid".into(),
        Op::Dropout(dropout) => format!("dropout {}", dropout.rate),
        Op::DropPath(path) => format!("survival {:.2}", path.survival),
        Op::Scale { factor, offset: 0.0 } => format!("× {factor}"),
        Op::Scale { factor: -1.0, offset: 1.0 } => "1 − x".into(),
        Op::Flatten => "flatten".into(),
        _ => return None,
    })
}
