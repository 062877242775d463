//! Identity layers in a trained network.

mod places;

use std::collections::BTreeMap;

use residuum_tensor::Tensor;

use self::places::{Place, Style, places};
use super::assembler::Assembler;
use super::element::Rewritten;
use super::error::RewriteError;
use super::layer::{Carry, copy_taps};
use super::source::Source;
use crate::graph::{Graph, Node, NodeId, ParamId};
use crate::op::{BatchNorm, Conv2d, Op};
use crate::param::{Param, Role, Weights};

/// Mean and variance of each channel of a map, over images and positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Mean of each channel.
    pub mean: Vec<f64>,
    /// Variance of each channel, over all values, not of a sample.
    pub variance: Vec<f64>,
}

/// Names of the nodes whose moments [`deepen`] can use: the ends of the stages, where blocks are appended.
///
/// # Errors
/// As [`deepen`].
pub fn stage_ends(graph: &Graph, weights: &Weights) -> Result<Vec<String>, RewriteError> {
    let source = Source::new(graph, weights)?;
    Ok(places(&source)?.iter().map(|place| source.node(place.after).name.clone()).collect())
}

/// Appends `blocks` blocks to every stage that leave the function as it is and can be trained on. A stage is
/// a run of blocks whose maps have one shape; a new block has the form of the last one of its stage and the
/// next number (`layer1.3` after `layer1.2`), so that a deepened registered network is the registered network
/// of the larger depth.
///
/// - Residual nets: units with an identity shortcut whose branch ends in a batch norm with weight and bias 0,
///   or, without a norm there, in a convolution of zeros. `x + 0 = x` to the bit, in training as well, and
///   everything else in the unit starts afresh, as `start` says for the parameters of the new graph. A norm
///   after the addition starts as the identity, which holds in evaluation.
/// - Plain nets: after a ReLU, convolutions that copy every channel, norms that are the identity in
///   evaluation, and ReLUs. Without `moments` the norms have mean 0 and variance `1 - eps`, which with eps makes 1
///   in `f32`: the identity to the bit in evaluation, another function in training. With the moments of what the
///   [`stage_ends`] hand on, they have these as statistics and scale and shift back by them: the identity up
///   to rounding, and close to it in training, so that the network can be trained on.
///
/// # Errors
/// When the network has no stage that can be deepened, holds gates or values that are read more than twice, or
/// when weights are missing or do not fit.
pub fn deepen(
    graph: &Graph,
    weights: &Weights,
    blocks: usize,
    moments: &BTreeMap<String, Moments>,
    start: impl FnOnce(&Graph) -> Weights,
) -> Result<Rewritten, RewriteError> {
    let source = Source::new(graph, weights)?;
    let places = places(&source)?;
    let mut out = Deepened { source: &source, moments, out: Assembler::new(graph.name()), fresh: Vec::new() };
    let mut written: Vec<NodeId> = Vec::with_capacity(graph.nodes().len());
    for id in graph.ids() {
        let node = source.node(id);
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| written[input.index()]).collect();
        let mut new = out.out.copy(&source, node, &inputs);
        for place in places.iter().filter(|place| place.after == id) {
            for number in 0..blocks {
                new = out.block(place, number, new)?;
            }
        }
        written.push(new);
    }
    let fresh = out.fresh;
    let (deeper, mut values) = out.out.finish(written[graph.output().index()])?;
    let mut started = start(&deeper);
    for name in fresh {
        let value = started.remove(&name);
        let Some(value) = value.filter(|value| value.shape() == values[&name].shape()) else {
            return Err(RewriteError::new(&name, "has no start values of its shape"));
        };
        values.insert(name, value);
    }
    Ok((deeper, values))
}

/// The deeper network as far as it is written.
struct Deepened<'a> {
    source: &'a Source<'a>,
    moments: &'a BTreeMap<String, Moments>,
    out: Assembler<f32>,
    /// Parameters that get start values.
    fresh: Vec<String>,
}

/// What a new node's parameters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Start,
    /// 0, so that the branch is 0.
    Zero,
    Identity,
}

impl Deepened<'_> {
    /// Writes one more block that reads `x`; returns its output.
    fn block(&mut self, place: &Place, number: usize, x: NodeId) -> Result<NodeId, RewriteError> {
        let last = match place.style {
            Style::Residual { .. } => place.layers.iter().rev().find(|&&id| has_values(self.source.node(id))),
            Style::Plain => None,
        };
        let mut y = x;
        for &id in &place.layers {
            let values = match (place.style, last == Some(&id)) {
                (Style::Plain, _) => Values::Identity,
                (_, true) => Values::Zero,
                _ => Values::Start,
            };
            y = self.node(place, number, id, y, values)?;
        }
        if let Style::Residual { add } = place.style {
            y = self.out.add(&place.name(&self.source.node(add).name, number), y, x);
        }
        for &id in &place.tail {
            y = self.node(place, number, id, y, Values::Identity)?;
        }
        Ok(y)
    }

    fn node(
        &mut self,
        place: &Place,
        number: usize,
        id: NodeId,
        x: NodeId,
        values: Values,
    ) -> Result<NodeId, RewriteError> {
        let node = self.source.node(id);
        let name = place.name(&node.name, number);
        match &node.op {
            Op::Conv2d(conv) => self.conv(node, &name, conv, x, values),
            Op::BatchNorm(norm) => {
                let moments = self.moments.get(&self.source.node(place.after).name);
                let moments = moments.filter(|_| values == Values::Identity);
                Ok(self.norm(node, &name, norm, x, values, moments))
            }
            op => Ok(self.out.same(&name, *op, x)),
        }
    }

    fn conv(
        &mut self,
        node: &Node,
        name: &str,
        old: &Conv2d,
        x: NodeId,
        values: Values,
    ) -> Result<NodeId, RewriteError> {
        let c_in = self.out.channels(x);
        if !c_in.is_multiple_of(old.groups) {
            let reason = format!("its {} groups do not divide {c_in} channels", old.groups);
            return Err(RewriteError::new(&node.name, reason));
        }
        let shape = vec![old.c_out, c_in / old.groups, old.kernel[0], old.kernel[1]];
        let weight = if values == Values::Identity {
            identity(old, &shape).ok_or_else(|| {
                RewriteError::new(&node.name, "a layer of its form cannot copy every channel")
            })?
        } else {
            Tensor::filled(shape, 0.0)
        };
        let is_fresh = values == Values::Start;
        let weight = self.param(node, name, old.weight, weight, is_fresh);
        let bias =
            old.bias.map(|bias| self.param(node, name, bias, Tensor::filled([old.c_out], 0.0), is_fresh));
        let conv = Conv2d { weight, bias, c_in, stride: [1; 2], ..*old };
        Ok(self.out.push(name, Op::Conv2d(conv), &[x], node.kind))
    }

    fn norm(
        &mut self,
        node: &Node,
        name: &str,
        old: &BatchNorm,
        x: NodeId,
        values: Values,
        moments: Option<&Moments>,
    ) -> NodeId {
        let of = |values: &[f64], c: usize| values.get(c).copied().unwrap_or_default();
        let mut param = |id: ParamId| {
            let role = self.source.graph.param(id).role;
            let tensor = Tensor::from_fn([old.channels], |c| match (role, values, moments) {
                (Role::NormWeight, _, Some(m)) => (of(&m.variance, c) + f64::from(old.eps)).sqrt() as f32,
                (Role::RunningVar, _, Some(m)) => of(&m.variance, c) as f32,
                (_, _, Some(m)) => of(&m.mean, c) as f32,
                (Role::RunningVar, Values::Identity, None) => 1.0 - old.eps,
                (Role::NormWeight, Values::Identity, None) | (Role::RunningVar, _, None) => 1.0,
                _ => 0.0,
            });
            self.param(node, name, id, tensor, values == Values::Start)
        };
        let [weight, bias] = [old.weight, old.bias].map(&mut param);
        let [running_mean, running_var] = [old.running_mean, old.running_var].map(&mut param);
        let norm = BatchNorm { weight, bias, running_mean, running_var, ..*old };
        self.out.push(name, Op::BatchNorm(norm), &[x], node.kind)
    }

    /// A parameter like the one that `old` is to `node`, for the node called `name`.
    fn param(&mut self, node: &Node, name: &str, old: ParamId, tensor: Tensor, is_fresh: bool) -> ParamId {
        let old = self.source.graph.param(old);
        let local = old.name.strip_prefix(&node.name).unwrap_or(&old.name);
        let name = format!("{name}.{}", local.trim_start_matches('.'));
        if is_fresh {
            self.fresh.push(name.clone());
        }
        let shape = tensor.shape().to_vec();
        self.out.param(Param { name, shape, ..old.clone() }, tensor)
    }
}

fn has_values(node: &Node) -> bool {
    matches!(node.op, Op::Conv2d(_) | Op::BatchNorm(_))
}

/// The filters that copy every channel, where a layer of this form can.
fn identity(conv: &Conv2d, shape: &[usize]) -> Option<Tensor> {
    let (tap, _) = *copy_taps(Carry::Centre, conv.kernel, conv.padding, conv.dilation)?.first()?;
    let (inputs, taps) = (shape[1], conv.kernel[0] * conv.kernel[1]);
    (shape[0] == inputs * conv.groups).then(|| {
        let mut weight = Tensor::filled(shape, 0.0);
        for o in 0..shape[0] {
            weight.data_mut()[(o * inputs + o % inputs) * taps + tap] = 1.0;
        }
        weight
    })
}
