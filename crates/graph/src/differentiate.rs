//! From a network to the graph of one training step, by reverse-mode differentiation.
//!
//! The result is a graph like any other: the forward nodes keep their names (each batch norm becomes its
//! moments and the normalisation by them), then follow the loss and, walking back over the forward nodes,
//! the gradients. A value that several nodes read collects one contribution from each, added in the order
//! in which the walk meets them. Nothing is computed for values that no learned parameter lies behind.

use std::collections::HashMap;

use crate::error::GraphError;
use crate::graph::{Graph, Kind, Node, NodeId, ParamId};
use crate::op::{BatchNorm, Conv2d, Linear, Op};

/// What to differentiate with respect to.
#[derive(Clone, Debug, Default)]
pub struct Differentiation {
    /// Parameters that stay as they are. A batch norm whose scale is frozen uses its running statistics
    /// and leaves them alone: a constant affine map.
    pub frozen: Vec<ParamId>,
    /// Computes normalised activations a second time for the backward pass, so that only the input of the
    /// normalisation has to be kept (Pleiss et al. 2017, "Memory-efficient implementation of `DenseNets`").
    /// The values are the same to the bit.
    pub recomputes: bool,
}

/// Where a parameter's gradient is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamGradient {
    /// The parameter.
    pub param: ParamId,
    /// The node that makes its gradient.
    pub node: NodeId,
    /// The row of the node's value that holds it, where the node makes several.
    pub row: Option<usize>,
}

/// The graph of one training step. Labels are given beside the images.
#[derive(Clone, Debug)]
pub struct TrainingGraph {
    /// Forward nodes, loss and gradients; its output is the loss.
    pub graph: Graph,
    /// The node that answers in training mode.
    pub logits: NodeId,
    /// Gradient of every learned parameter, in the order of the parameters.
    pub gradients: Vec<ParamGradient>,
    /// For each node, the node that makes the loss's gradient with respect to it, where there is one.
    pub node_gradients: Vec<Option<NodeId>>,
}

impl Graph {
    /// Differentiates the mean cross-entropy of the network's output against labels.
    ///
    /// # Errors
    /// When the output is no vector, or the graph already holds operations of training.
    pub fn differentiate(&self, wanted: &Differentiation) -> Result<TrainingGraph, GraphError> {
        let output = self.node(self.output);
        if !matches!(output.kind, Kind::Vector { .. }) {
            return Err(GraphError::new(&output.name, "an output that is a vector", output.kind.to_string()));
        }
        let mut walk = Walk::new(self, wanted);
        walk.forward(self)?;
        walk.backward()?;
        walk.finish()
    }
}

/// What a ReLU does to the gradient that comes back (Springenberg et al. 2014, "Striving for simplicity", §3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReluRule {
    /// The derivative: passes where the ReLU's output is positive.
    #[default]
    Derivative,
    /// Passes what is positive itself, wherever (Zeiler & Fergus 2013, deconvolution).
    Deconvolution,
    /// Both: passes what is positive, where the ReLU's output is (guided backpropagation).
    Guided,
}

/// Which gradients of which value are wanted.
#[derive(Clone, Debug)]
pub struct Sensitivities {
    /// The node that is looked at.
    pub of: NodeId,
    /// Nodes with respect to whose values the gradients are taken.
    pub to: Vec<NodeId>,
    /// What ReLUs do on the way back.
    pub rule: ReluRule,
    /// Operands of additions, by node and place, that no gradient goes on to.
    pub cut: Vec<(NodeId, usize)>,
}

/// The graph of a sensitivity: a forward pass in evaluation mode, and the gradients of one node's value,
/// weighed by a seed, with respect to others.
#[derive(Clone, Debug)]
pub struct SensitivityGraph {
    /// Forward nodes, the seed, gradients.
    pub graph: Graph,
    /// The node that stands for the gradient of the value that is looked at; it is fed like the images.
    pub seed: NodeId,
    /// The gradient with respect to each node asked for, or `None` where it has no influence.
    pub gradients: Vec<Option<NodeId>>,
}

impl Graph {
    /// The gradient of `Σ seed · value(of)` with respect to other values, with running statistics.
    ///
    /// # Errors
    /// When the graph already holds operations of training.
    pub fn sensitivity(&self, wanted: &Sensitivities) -> Result<SensitivityGraph, GraphError> {
        let Sensitivities { of, to, rule, cut } = wanted;
        let of = *of;
        let mut walk =
            Walk::new(self, &Differentiation { frozen: self.param_ids().collect(), recomputes: false });
        walk.rule = *rule;
        walk.graph.nodes.clone_from(&self.nodes);
        for id in self.ids() {
            let behind = self.node(id).inputs.iter().any(|input| walk.needed[input.index()]);
            walk.needed.push(behind || to.contains(&id));
        }
        walk.cut.clone_from(cut);
        walk.contributions = vec![Vec::new(); self.nodes.len()];
        let seed = walk.push("seed".into(), Op::Seed { like: of }, &[], self.node(of).kind);
        walk.give(of, seed);
        for index in (0..=of.index()).rev() {
            let id = NodeId(index as u32);
            if let Some(gradient) = walk.collect(id) {
                walk.node_backward(id, gradient)?;
            }
        }
        let gradients = to.iter().map(|id| walk.contributions[id.index()].first().copied()).collect();
        walk.graph.verify()?;
        Ok(SensitivityGraph { graph: walk.graph, seed, gradients })
    }
}

struct Walk {
    graph: Graph,
    rule: ReluRule,
    cut: Vec<(NodeId, usize)>,
    /// Whether a parameter is learned.
    learned: Vec<bool>,
    /// Whether a learned parameter, or a node that is asked for, lies behind a forward node.
    needed: Vec<bool>,
    /// Gradient contributions that a node has collected.
    contributions: Vec<Vec<NodeId>>,
    /// Whether normalised activations are computed again.
    recomputes: bool,
    /// Second computations so far, by the node that they repeat.
    again: HashMap<NodeId, NodeId>,
    gradients: Vec<ParamGradient>,
    logits: NodeId,
}

impl Walk {
    fn new(source: &Graph, wanted: &Differentiation) -> Self {
        let mut learned: Vec<bool> = source.params.iter().map(|p| p.role.is_learned()).collect();
        for param in &wanted.frozen {
            learned[param.index()] = false;
        }
        let graph = Graph { nodes: Vec::new(), ..source.clone() };
        let logits = source.output;
        Self {
            graph,
            rule: ReluRule::Derivative,
            cut: Vec::new(),
            learned,
            needed: Vec::new(),
            contributions: Vec::new(),
            recomputes: wanted.recomputes,
            again: HashMap::new(),
            gradients: Vec::new(),
            logits,
        }
    }

    fn push(&mut self, name: String, op: Op, inputs: &[NodeId], kind: Kind) -> NodeId {
        self.graph.nodes.push(Node { name, op, inputs: inputs.to_vec(), kind });
        NodeId(self.graph.nodes.len() as u32 - 1)
    }

    fn is_learned(&self, param: ParamId) -> bool {
        self.learned[param.index()]
    }

    fn op_is_learned(&self, op: &Op) -> bool {
        match op {
            Op::Conv2d(c) => self.is_learned(c.weight) || c.bias.is_some_and(|b| self.is_learned(b)),
            Op::Linear(l) => self.is_learned(l.weight) || l.bias.is_some_and(|b| self.is_learned(b)),
            Op::Normalize(b) => self.is_learned(b.weight) || self.is_learned(b.bias),
            _ => false,
        }
    }

    /// Copies the network, batch norms taken apart.
    fn forward(&mut self, source: &Graph) -> Result<(), GraphError> {
        let mut place: Vec<NodeId> = Vec::with_capacity(source.nodes.len());
        for node in &source.nodes {
            let inputs: Vec<NodeId> = node.inputs.iter().map(|id| place[id.index()]).collect();
            let id = match node.op {
                Op::BatchNorm(norm) if self.is_learned(norm.weight) => {
                    let kind = Kind::Statistics { channels: norm.channels };
                    let moments =
                        self.push(format!("{}.moments", node.name), Op::Moments(norm), &inputs, kind);
                    self.push(node.name.clone(), Op::Normalize(norm), &[inputs[0], moments], node.kind)
                }
                Op::Dropout(dropout) => self.push(node.name.clone(), Op::Mask(dropout), &inputs, node.kind),
                Op::DropPath(path) => self.push(node.name.clone(), Op::Gate(path), &inputs, node.kind),
                op => self.push(node.name.clone(), op, &inputs, node.kind),
            };
            place.push(id);
        }
        self.logits = place[source.output.index()];
        for id in self.graph.ids() {
            let node = self.graph.node(id);
            let behind = node.inputs.iter().any(|input| self.needed[input.index()]);
            self.needed.push(behind || self.op_is_learned(&node.op));
        }
        if self.needed[self.logits.index()] {
            return Ok(());
        }
        Err(GraphError::new(&source.name, "a parameter to learn", "every parameter frozen"))
    }

    fn backward(&mut self) -> Result<(), GraphError> {
        let forward = self.graph.nodes.len();
        let kind = self.graph.node(self.logits).kind;
        self.contributions = vec![Vec::new(); forward];
        self.graph.output = self.push("loss".into(), Op::CrossEntropy, &[self.logits], Kind::Scalar);
        let start = self.push("loss.backward".into(), Op::CrossEntropyBackward, &[self.logits], kind);
        self.contributions[self.logits.index()].push(start);
        for index in (0..forward).rev() {
            let id = NodeId(index as u32);
            if let Some(gradient) = self.collect(id) {
                self.node_backward(id, gradient)?;
            }
        }
        Ok(())
    }

    /// The gradient of a node: its contributions, added up.
    fn collect(&mut self, id: NodeId) -> Option<NodeId> {
        let contributions = std::mem::take(&mut self.contributions[id.index()]);
        let kind = self.graph.node(id).kind;
        let mut sum = *contributions.first()?;
        for (count, &next) in contributions.iter().enumerate().skip(1) {
            let suffix = if count == 1 { String::new() } else { format!("{count}") };
            let name = format!("{}.grad{suffix}", self.graph.node(id).name);
            sum = self.push(name, Op::Add, &[sum, next], kind);
        }
        self.contributions[id.index()].push(sum);
        Some(sum)
    }

    /// Hands the gradient `dy` of a node on to its inputs and parameters.
    fn node_backward(&mut self, id: NodeId, dy: NodeId) -> Result<(), GraphError> {
        let Node { name, op, inputs, .. } = self.graph.node(id).clone();
        let x = inputs.first().copied();
        match op {
            Op::Input | Op::Moments(_) => {}
            // In evaluation these are the identity and a constant factor.
            Op::Dropout(_) => self.give(inputs[0], dy),
            Op::DropPath(path) => {
                let op = Op::Scale { factor: path.evaluation_factor(), offset: 0.0 };
                self.simple(&name, op, x, &[dy]);
            }
            Op::Conv2d(conv) => self.conv_backward(&name, conv, inputs[0], dy),
            Op::Linear(linear) => self.linear_backward(&name, linear, inputs[0], dy),
            Op::Normalize(norm) => self.normalize_backward(&name, norm, &inputs, dy),
            Op::Add => {
                for (operand, &x) in inputs.iter().enumerate() {
                    if !self.cut.contains(&(id, operand)) {
                        self.give(x, dy);
                    }
                }
            }
            Op::Mul => {
                self.simple(&name, Op::Mul, x, &[dy, inputs[1]]);
                let (op, kept) = (Op::MulBackward { like: inputs[1] }, self.kept(inputs[0]));
                self.simple(&format!("{name}.gate"), op, inputs.get(1).copied(), &[dy, kept]);
            }
            Op::Concat => self.concat_backward(&name, &inputs, dy),
            Op::Scale { factor, .. } => {
                self.simple(&name, Op::Scale { factor, offset: 0.0 }, x, &[dy]);
            }
            Op::Sigmoid => self.simple(&name, Op::SigmoidBackward, x, &[dy, id]),
            Op::Flatten | Op::Mask(_) | Op::Gate(_) => self.simple(&name, op, x, &[dy]),
            Op::Blur(blur) => self.simple(&name, Op::BlurBackward { blur, like: inputs[0] }, x, &[dy]),
            Op::BatchNorm(norm) => self.simple(&name, Op::BatchNormBackward(norm), x, &[dy]),
            Op::Relu => self.relu_backward(&name, id, inputs[0], dy),
            Op::MaxPool(pool) => {
                let kept = self.kept(inputs[0]);
                self.simple(&name, Op::MaxPoolBackward(pool), x, &[dy, kept]);
            }
            Op::AvgPool(pool) => {
                self.simple(&name, Op::AvgPoolBackward { pool, like: inputs[0] }, x, &[dy]);
            }
            Op::GlobalAvgPool => {
                self.simple(&name, Op::GlobalAvgPoolBackward { like: inputs[0] }, x, &[dy]);
            }
            Op::Subsample { stride } => {
                self.simple(&name, Op::SubsampleBackward { stride, like: inputs[0] }, x, &[dy]);
            }
            Op::PadChannels { before, after } => {
                self.simple(&name, Op::PadChannelsBackward { before, after }, x, &[dy]);
            }
            Op::Seed { .. }
            | Op::MulBackward { .. }
            | Op::SigmoidBackward
            | Op::SliceChannels { .. }
            | Op::BlurBackward { .. }
            | Op::CrossEntropy
            | Op::CrossEntropyBackward
            | Op::ConvBackwardData { .. }
            | Op::ConvBackwardWeights(_)
            | Op::BiasBackward { .. }
            | Op::LinearBackwardData(_)
            | Op::LinearBackwardWeights(_)
            | Op::NormalizeBackwardSums(_)
            | Op::NormalizeBackward(_)
            | Op::BatchNormBackward(_)
            | Op::ReluBackward
            | Op::MaxPoolBackward(_)
            | Op::AvgPoolBackward { .. }
            | Op::GlobalAvgPoolBackward { .. }
            | Op::SubsampleBackward { .. }
            | Op::PadChannelsBackward { .. } => {
                return Err(GraphError::new(&name, "an operation of a network", op.name()));
            }
        }
        Ok(())
    }

    /// An operation with one input that needs a gradient and no parameters to learn.
    fn simple(&mut self, name: &str, op: Op, x: Option<NodeId>, inputs: &[NodeId]) {
        let Some(x) = x.filter(|x| self.needed[x.index()]) else { return };
        let kind = self.graph.node(x).kind;
        let gradient = self.push(format!("{name}.backward"), op, inputs, kind);
        self.give(x, gradient);
    }

    /// The node by whose value the backward pass knows a forward node's: itself, or, where memory is to be
    /// saved, a second computation of a normalised activation from the input of the normalisation.
    fn kept(&mut self, id: NodeId) -> NodeId {
        if let Some(&again) = self.again.get(&id) {
            return again;
        }
        let node = self.graph.node(id).clone();
        let repeats = self.recomputes
            && match node.op {
                Op::Normalize(_) => true,
                Op::Relu => matches!(self.graph.node(node.inputs[0]).op, Op::Normalize(_)),
                _ => false,
            };
        if !repeats {
            return id;
        }
        let mut inputs = node.inputs.clone();
        if node.op == Op::Relu {
            inputs[0] = self.kept(inputs[0]);
        }
        let again = self.push(format!("{}.again", node.name), node.op, &inputs, node.kind);
        self.again.insert(id, again);
        again
    }

    /// Every input of a concatenation gets its channels of the gradient.
    fn concat_backward(&mut self, name: &str, inputs: &[NodeId], dy: NodeId) {
        let mut start = 0;
        for (index, &x) in inputs.iter().enumerate() {
            self.simple(&format!("{name}.{index}"), Op::SliceChannels { start }, Some(x), &[dy]);
            if let Kind::Map { channels } = self.graph.node(x).kind {
                start += channels;
            }
        }
    }

    fn give(&mut self, x: NodeId, gradient: NodeId) {
        if self.needed[x.index()] {
            self.contributions[x.index()].push(gradient);
        }
    }

    fn relu_backward(&mut self, name: &str, y: NodeId, x: NodeId, dy: NodeId) {
        if !self.needed[x.index()] {
            return;
        }
        let kind = self.graph.node(x).kind;
        let mut gradient = dy;
        if self.rule != ReluRule::Deconvolution {
            let y = self.kept(y);
            gradient = self.push(format!("{name}.backward"), Op::ReluBackward, &[gradient, y], kind);
        }
        if self.rule != ReluRule::Derivative {
            gradient = self.push(format!("{name}.backward.positive"), Op::Relu, &[gradient], kind);
        }
        self.give(x, gradient);
    }

    fn learn(&mut self, param: ParamId, op: Op, inputs: &[NodeId]) {
        if self.is_learned(param) {
            let name = format!("{}.grad", self.graph.param(param).name);
            let node = self.push(name, op, inputs, Kind::Gradient(param));
            self.gradients.push(ParamGradient { param, node, row: None });
        }
    }

    fn conv_backward(&mut self, name: &str, conv: Conv2d, x: NodeId, dy: NodeId) {
        if self.is_learned(conv.weight) {
            let kept = self.kept(x);
            self.learn(conv.weight, Op::ConvBackwardWeights(conv), &[kept, dy]);
        }
        if let Some(bias) = conv.bias {
            self.learn(bias, Op::BiasBackward { bias }, &[dy]);
        }
        self.simple(name, Op::ConvBackwardData { conv, like: x }, Some(x), &[dy]);
    }

    fn linear_backward(&mut self, name: &str, linear: Linear, x: NodeId, dy: NodeId) {
        if self.is_learned(linear.weight) {
            let kept = self.kept(x);
            self.learn(linear.weight, Op::LinearBackwardWeights(linear), &[kept, dy]);
        }
        if let Some(bias) = linear.bias {
            self.learn(bias, Op::BiasBackward { bias }, &[dy]);
        }
        self.simple(name, Op::LinearBackwardData(linear), Some(x), &[dy]);
    }

    fn normalize_backward(&mut self, name: &str, norm: BatchNorm, inputs: &[NodeId], dy: NodeId) {
        let (x, moments) = (inputs[0], inputs[1]);
        let kind = Kind::Statistics { channels: norm.channels };
        let sums = self.push(
            format!("{name}.backward.sums"),
            Op::NormalizeBackwardSums(norm),
            &[dy, x, moments],
            kind,
        );
        for (param, row) in [(norm.bias, 0), (norm.weight, 1)] {
            if self.is_learned(param) {
                self.gradients.push(ParamGradient { param, node: sums, row: Some(row) });
            }
        }
        self.simple(name, Op::NormalizeBackward(norm), Some(x), &[dy, x, moments, sums]);
    }

    fn finish(mut self) -> Result<TrainingGraph, GraphError> {
        self.gradients.sort_by_key(|gradient| gradient.param);
        let mut node_gradients: Vec<Option<NodeId>> =
            self.contributions.iter().map(|sums| sums.first().copied()).collect();
        node_gradients.resize(self.graph.nodes.len(), None);
        self.graph.verify()?;
        Ok(TrainingGraph {
            graph: self.graph,
            logits: self.logits,
            gradients: self.gradients,
            node_gradients,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, ConvSpec};

    fn block() -> Graph {
        let mut g = Builder::new("block");
        let x = g.input(4);
        let y = g.conv("conv", x, ConvSpec::new(4, 3, 1)).unwrap();
        let y = g.batch_norm("bn", y).unwrap();
        let a = g.relu("relu", y);
        let z = g.conv("conv2", a, ConvSpec::new(4, 3, 1)).unwrap();
        let sum = g.add("add", z, a).unwrap();
        let pooled = g.global_avg_pool("pool", sum).unwrap();
        let out = g.linear("fc", pooled, 3).unwrap();
        g.finish(out).unwrap()
    }

    #[test]
    fn every_learned_parameter_gets_a_gradient_and_the_images_none() {
        let graph = block();
        let training = graph.differentiate(&Differentiation::default()).unwrap();
        let learned = graph.params().iter().filter(|p| p.role.is_learned()).count();
        assert_eq!(training.gradients.len(), learned);
        assert!(training.graph.find("conv.backward").is_none(), "nothing to learn lies behind conv's input");
        assert!(training.graph.find("conv2.backward").is_some());
    }

    #[test]
    fn a_shared_value_adds_its_contributions() {
        let training = block().differentiate(&Differentiation::default()).unwrap();
        let sum = training.graph.find("relu.grad").expect("relu is read twice");
        assert_eq!(training.graph.node(sum).op, Op::Add);
    }

    #[test]
    fn relu_rules_differ_in_what_relus_do_and_in_nothing_else() {
        let graph = block();
        let [of, input] = ["fc", "input"].map(|name| graph.find(name).unwrap());
        let count = |rule, counts: fn(&Op) -> bool| {
            let wanted = Sensitivities { of, to: vec![input], rule, cut: Vec::new() };
            let sensitivity = graph.sensitivity(&wanted).unwrap();
            let after = &sensitivity.graph.nodes()[sensitivity.seed.index()..];
            after.iter().filter(|node| counts(&node.op)).count()
        };
        let masks = |op: &Op| *op == Op::ReluBackward;
        let positive = |op: &Op| *op == Op::Relu;
        assert_eq!((count(ReluRule::Derivative, masks), count(ReluRule::Derivative, positive)), (1, 0));
        assert_eq!((count(ReluRule::Guided, masks), count(ReluRule::Guided, positive)), (1, 1));
        assert_eq!((count(ReluRule::Deconvolution, masks), count(ReluRule::Deconvolution, positive)), (0, 1));
        let weights = |op: &Op| matches!(op, Op::ConvBackwardWeights(_));
        assert_eq!(count(ReluRule::Derivative, weights), 0, "no parameter is learned");
    }

    #[test]
    fn frozen_norms_stay_constant_and_frozen_stems_cost_nothing() {
        let graph = block();
        let names = ["conv.weight", "bn.weight", "bn.bias"];
        let frozen = names.iter().map(|name| graph.find_param(name).unwrap()).collect();
        let training =
            graph.differentiate(&Differentiation { frozen, ..Differentiation::default() }).unwrap();
        assert!(training.graph.nodes().iter().any(|node| matches!(node.op, Op::BatchNorm(_))));
        assert!(!training.graph.nodes().iter().any(|node| matches!(node.op, Op::Moments(_))));
        assert!(training.graph.find("conv2.backward").is_none());
        let all = graph.params().iter().map(|p| graph.find_param(&p.name).unwrap()).collect();
        assert!(graph.differentiate(&Differentiation { frozen: all, ..Differentiation::default() }).is_err());
    }
}
