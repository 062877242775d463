//! The network that is being rewritten, with its numbers at hand.

use residuum_tensor::Tensor;

use super::error::RewriteError;
use super::layer::Layer;
use crate::graph::{Graph, Kind, Node, NodeId, ParamId};
use crate::op::{BatchNorm, Conv2d, Op};
use crate::param::Weights;

/// `y = scale · x + shift`, for each channel.
pub(crate) struct Affine {
    pub(crate) scale: Vec<f64>,
    pub(crate) shift: Vec<f64>,
}

impl Affine {
    pub(crate) fn is_identity(&self) -> bool {
        let is_one = |scale: &f64| scale.to_bits() == 1f64.to_bits();
        self.scale.iter().all(is_one) && self.shift.iter().all(|&shift| shift == 0.0)
    }
}

/// A graph, its weights, and who reads each node on the way to the output.
pub(crate) struct Source<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) weights: &'a Weights,
    users: Vec<Vec<NodeId>>,
}

impl<'a> Source<'a> {
    /// # Errors
    /// When a weight is missing or has another shape than its parameter.
    pub(crate) fn new(graph: &'a Graph, weights: &'a Weights) -> Result<Self, RewriteError> {
        for param in graph.params() {
            let found = weights.get(&param.name).map(Tensor::shape);
            if found != Some(&param.shape[..]) {
                let found = found.map_or("no weights".into(), |shape| format!("{shape:?}"));
                let reason = format!("expected weights of shape {:?}, found {found}", param.shape);
                return Err(RewriteError::new(&param.name, reason));
            }
        }
        let mut is_live = vec![false; graph.nodes().len()];
        is_live[graph.output().index()] = true;
        for id in graph.ids().rev().filter(|id| *id <= graph.output()) {
            if is_live[id.index()] {
                for input in &graph.node(id).inputs {
                    is_live[input.index()] = true;
                }
            }
        }
        let mut users = graph.users();
        for readers in &mut users {
            readers.retain(|user| is_live[user.index()]);
        }
        Ok(Self { graph, weights, users })
    }

    pub(crate) fn node(&self, id: NodeId) -> &'a Node {
        self.graph.node(id)
    }

    /// The nodes that read `id`, on the way to the output.
    pub(crate) fn users(&self, id: NodeId) -> &[NodeId] {
        &self.users[id.index()]
    }

    /// The tensor of a parameter, whose presence and shape were checked.
    pub(crate) fn tensor(&self, id: ParamId) -> &'a Tensor {
        &self.weights[&self.graph.param(id).name]
    }

    pub(crate) fn values(&self, id: ParamId) -> Vec<f64> {
        self.tensor(id).data().iter().copied().map(f64::from).collect()
    }

    pub(crate) fn layer(&self, name: &str, conv: &Conv2d) -> Layer {
        Layer::new(name, conv, &self.values(conv.weight), conv.bias.map(|bias| self.values(bias)))
    }

    /// What a batch norm does in evaluation mode: `a = gamma / sqrt(var + eps)`, `beta - a · mu`.
    ///
    /// # Errors
    /// When that is no finite number.
    pub(crate) fn norm(&self, name: &str, norm: &BatchNorm) -> Result<Affine, RewriteError> {
        let [gamma, beta, mean, var] =
            [norm.weight, norm.bias, norm.running_mean, norm.running_var].map(|id| self.values(id));
        let eps = f64::from(norm.eps);
        let scale: Vec<f64> = gamma.iter().zip(&var).map(|(gamma, var)| gamma / (var + eps).sqrt()).collect();
        let shift: Vec<f64> =
            beta.iter().zip(&mean).zip(&scale).map(|((beta, mean), a)| beta - a * mean).collect();
        if let Some(channel) = (0..norm.channels).find(|&c| !(scale[c].is_finite() && shift[c].is_finite())) {
            let (gamma, var) = (gamma[channel], var[channel]);
            let reason = format!(
                "channel {channel} has no finite scale: weight {gamma}, running variance {var}, eps {eps}"
            );
            return Err(RewriteError::new(name, reason));
        }
        Ok(Affine { scale, shift })
    }

    /// What a node does to each channel by itself, where that is all it does.
    ///
    /// # Errors
    /// As [`Source::norm`].
    pub(crate) fn affine(&self, node: &Node) -> Result<Option<Affine>, RewriteError> {
        let channels = match node.kind {
            Kind::Map { channels } | Kind::Vector { features: channels } => channels,
            _ => 0,
        };
        let alike = |scale: f32, shift: f32| {
            let repeated = |value: f32| vec![f64::from(value); channels];
            Ok(Some(Affine { scale: repeated(scale), shift: repeated(shift) }))
        };
        match &node.op {
            Op::BatchNorm(norm) => self.norm(&node.name, norm).map(Some),
            Op::Scale { factor, offset } => alike(*factor, *offset),
            Op::DropPath(path) => alike(path.evaluation_factor(), 0.0),
            Op::Dropout(_) => alike(1.0, 0.0),
            _ => Ok(None),
        }
    }
}

/// Why an operation has no plain form.
pub(crate) fn refusal(op: &Op) -> String {
    let why = match op {
        Op::Moments(_) | Op::Normalize(_) => "normalises by the batch's own statistics",
        Op::MaxPool(_) => "is not linear",
        Op::Add => "adds values that do not branch from one node",
        _ => "has no plain form",
    };
    format!("{} {why}", op.name())
}
