//! Writes the rewritten network down, node by node, with its weights.

use std::collections::BTreeMap;

use residuum_tensor::Tensor;

use super::element::{Element, Rewritten};
use super::error::RewriteError;
use super::layer::Layer;
use super::source::Source;
use crate::graph::{Graph, Kind, Node, NodeId, ParamId};
use crate::op::{BatchNorm, Conv2d, Linear, MaxPool, Op};
use crate::param::{Fan, Init, Param, Role};

/// A graph and its weights as far as they are written.
pub(crate) struct Assembler<T> {
    name: String,
    nodes: Vec<Node>,
    params: Vec<Param>,
    weights: BTreeMap<String, Tensor<T>>,
}

impl<T: Element> Assembler<T> {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), nodes: Vec::new(), params: Vec::new(), weights: BTreeMap::new() }
    }

    pub(crate) fn push(&mut self, name: &str, op: Op, inputs: &[NodeId], kind: Kind) -> NodeId {
        self.nodes.push(Node { name: name.to_owned(), op, inputs: inputs.to_vec(), kind });
        NodeId(self.nodes.len() as u32 - 1)
    }

    pub(crate) fn channels(&self, id: NodeId) -> usize {
        match self.nodes[id.index()].kind {
            Kind::Map { channels: count } | Kind::Vector { features: count } => count,
            _ => 0,
        }
    }

    /// A node that keeps its input's kind.
    pub(crate) fn same(&mut self, name: &str, op: Op, x: NodeId) -> NodeId {
        let kind = self.nodes[x.index()].kind;
        self.push(name, op, &[x], kind)
    }

    pub(crate) fn add(&mut self, name: &str, a: NodeId, b: NodeId) -> NodeId {
        let kind = self.nodes[a.index()].kind;
        self.push(name, Op::Add, &[a, b], kind)
    }

    /// A parameter with its values; one that several nodes share is written once.
    pub(crate) fn param(&mut self, param: Param, tensor: Tensor<T>) -> ParamId {
        if let Some(index) = self.params.iter().position(|known| known.name == param.name) {
            return ParamId(index as u32);
        }
        self.weights.insert(param.name.clone(), tensor);
        self.params.push(param);
        ParamId(self.params.len() as u32 - 1)
    }

    fn rounded(
        &mut self,
        name: String,
        shape: Vec<usize>,
        role: Role,
        init: Init,
        values: &[f64],
    ) -> ParamId {
        let tensor = Tensor::from_fn(shape.clone(), |i| T::round(values[i]));
        self.param(Param { name, shape, role, init }, tensor)
    }

    /// A convolution with a bias.
    pub(crate) fn layer(&mut self, layer: &Layer, x: NodeId) -> NodeId {
        self.convolution(layer, Some(&layer.bias), x)
    }

    /// A convolution without a bias.
    pub(crate) fn layer_without_bias(&mut self, layer: &Layer, x: NodeId) -> NodeId {
        self.convolution(layer, None, x)
    }

    fn convolution(&mut self, layer: &Layer, bias: Option<&[f64]>, x: NodeId) -> NodeId {
        let (c_in, c_out, groups) = (layer.inputs, layer.outputs(), layer.groups);
        let shape = vec![c_out, c_in / groups, layer.kernel[0], layer.kernel[1]];
        let init = Init::HeNormal(Fan::In);
        let weight =
            self.rounded(format!("{}.weight", layer.name), shape, Role::ConvWeight, init, &layer.filters());
        let bias = bias.map(|values| {
            let name = format!("{}.bias", layer.name);
            self.rounded(name, vec![c_out], Role::Bias, Init::Constant(0.0), values)
        });
        let (kernel, stride, padding, dilation) = (layer.kernel, layer.stride, layer.padding, layer.dilation);
        let conv = Conv2d { weight, bias, c_in, c_out, kernel, stride, padding, dilation, groups };
        self.push(&layer.name, Op::Conv2d(conv), &[x], Kind::Map { channels: c_out })
    }

    /// A linear layer; `values` is its matrix, `[outputs, features of x]`, `init` how that starts.
    pub(crate) fn linear(
        &mut self,
        name: &str,
        x: NodeId,
        values: &[f64],
        bias: Option<&[f64]>,
        init: Init,
    ) -> NodeId {
        let inputs = self.channels(x);
        let outputs = values.len() / inputs.max(1);
        let weight =
            self.rounded(format!("{name}.weight"), vec![outputs, inputs], Role::LinearWeight, init, values);
        let bias = bias.map(|bias| {
            self.rounded(format!("{name}.bias"), vec![outputs], Role::Bias, Init::Constant(0.0), bias)
        });
        let linear = Linear { weight, bias, inputs, outputs };
        self.push(name, Op::Linear(linear), &[x], Kind::Vector { features: outputs })
    }

    /// A node of the source as it is, its parameters with it, reading other inputs.
    pub(crate) fn copy(&mut self, source: &Source<'_>, node: &Node, inputs: &[NodeId]) -> NodeId {
        let mut copy = |id: ParamId| {
            let tensor = source.tensor(id);
            let exact = Tensor::from_fn(tensor.shape(), |i| T::exactly(tensor.data()[i]));
            self.param(source.graph.param(id).clone(), exact)
        };
        let op = match node.op {
            Op::Conv2d(conv) => {
                Op::Conv2d(Conv2d { weight: copy(conv.weight), bias: conv.bias.map(copy), ..conv })
            }
            Op::BatchNorm(norm) => Op::BatchNorm(BatchNorm {
                weight: copy(norm.weight),
                bias: copy(norm.bias),
                running_mean: copy(norm.running_mean),
                running_var: copy(norm.running_var),
                ..norm
            }),
            Op::Linear(linear) => {
                Op::Linear(Linear { weight: copy(linear.weight), bias: linear.bias.map(copy), ..linear })
            }
            other => other,
        };
        self.push(&node.name, op, inputs, node.kind)
    }

    pub(crate) fn subsample(&mut self, name: &str, x: NodeId, stride: usize) -> NodeId {
        self.same(name, Op::Subsample { stride }, x)
    }

    pub(crate) fn pad_channels(&mut self, name: &str, x: NodeId, before: usize, after: usize) -> NodeId {
        let channels = before + self.channels(x) + after;
        self.push(name, Op::PadChannels { before, after }, &[x], Kind::Map { channels })
    }

    /// The mean over windows of 2×2, without overlap.
    pub(crate) fn halve(&mut self, name: &str, x: NodeId) -> NodeId {
        let window = MaxPool { kernel: [2; 2], stride: [2; 2], padding: [0; 2], ceil: false };
        self.same(name, Op::AvgPool(crate::op::AvgPool { window, count_include_pad: true }), x)
    }

    pub(crate) fn finish(self, output: NodeId) -> Result<Rewritten<T>, RewriteError> {
        let graph = Graph { name: self.name, nodes: self.nodes, params: self.params, output };
        graph.verify()?;
        Ok((graph, self.weights))
    }
}
