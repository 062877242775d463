//! Writing a network down, one line a layer. Shapes are inferred as the graph grows, so that a mistake is
//! reported at the node that makes it.

use crate::error::GraphError;
use crate::graph::{Graph, Kind, Node, NodeId, ParamId};
use crate::op::{AvgPool, BatchNorm, Conv2d, Linear, MaxPool, Op};
use crate::param::{Fan, Init, Param, Role};

/// A convolution as the papers write it: "3×3, 64, /2".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvSpec {
    /// Channels made.
    pub channels: usize,
    /// Side of the filters.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Zeros around the map.
    pub padding: usize,
    /// Distance of neighbouring taps.
    pub dilation: usize,
    /// Independent groups of channels.
    pub groups: usize,
    /// Whether a bias is learned; batch norm makes it superfluous.
    pub bias: bool,
    /// How the filters start.
    pub init: Init,
}

impl ConvSpec {
    /// A `kernel`×`kernel` convolution that keeps the size (up to the stride): padding `(kernel - 1) / 2`,
    /// no bias, He initialisation by inputs.
    pub const fn new(channels: usize, kernel: usize, stride: usize) -> Self {
        Self {
            channels,
            kernel,
            stride,
            padding: kernel.saturating_sub(1) / 2,
            dilation: 1,
            groups: 1,
            bias: false,
            init: Init::HeNormal(Fan::In),
        }
    }
}

/// Makes a [`Graph`] node by node.
#[derive(Debug)]
pub struct Builder {
    name: String,
    nodes: Vec<Node>,
    params: Vec<Param>,
}

impl Builder {
    /// An empty network.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), nodes: Vec::new(), params: Vec::new() }
    }

    /// The images: `[n, channels, h, w]`.
    pub fn input(&mut self, channels: usize) -> NodeId {
        self.push("input", Op::Input, &[], Kind::Map { channels })
    }

    /// A convolution with the parameters `name.weight` and, if asked, `name.bias`.
    ///
    /// # Errors
    /// When `x` is no map, or its channels or the spec's do not divide by the groups, or a size is 0.
    pub fn conv(&mut self, name: &str, x: NodeId, spec: ConvSpec) -> Result<NodeId, GraphError> {
        let c_in = self.channels(name, x)?;
        let ConvSpec { channels, kernel, stride, padding, dilation, groups, bias, init } = spec;
        if [channels, kernel, stride, dilation, groups].contains(&0) {
            return Err(GraphError::new(
                name,
                "positive channels, kernel, stride, dilation, groups",
                "a zero",
            ));
        }
        if c_in % groups != 0 || channels % groups != 0 {
            let found = format!("{c_in} channels in and {channels} out");
            return Err(GraphError::new(name, format!("channels divisible by {groups} groups"), found));
        }
        let shape = vec![channels, c_in / groups, kernel, kernel];
        let conv = Conv2d {
            weight: self.param(format!("{name}.weight"), shape, Role::ConvWeight, init),
            bias: bias
                .then(|| self.param(format!("{name}.bias"), vec![channels], Role::Bias, Init::Constant(0.0))),
            c_in,
            c_out: channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [dilation; 2],
            groups,
        };
        Ok(self.push(name, Op::Conv2d(conv), &[x], Kind::Map { channels }))
    }

    /// Batch norm with the parameters `name.weight`, `.bias`, `.running_mean`, `.running_var`; eps 1e-5.
    ///
    /// # Errors
    /// When `x` is no map.
    pub fn batch_norm(&mut self, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
        let channels = self.channels(name, x)?;
        let mut param = |local: &str, role, start| {
            self.param(format!("{name}.{local}"), vec![channels], role, Init::Constant(start))
        };
        let norm = BatchNorm {
            weight: param("weight", Role::NormWeight, 1.0),
            bias: param("bias", Role::NormBias, 0.0),
            running_mean: param("running_mean", Role::RunningMean, 0.0),
            running_var: param("running_var", Role::RunningVar, 1.0),
            eps: 1e-5,
            channels,
        };
        Ok(self.push(name, Op::BatchNorm(norm), &[x], Kind::Map { channels }))
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, name: &str, x: NodeId) -> NodeId {
        let kind = self.kind(x);
        self.push(name, Op::Relu, &[x], kind)
    }

    /// `a + b`.
    ///
    /// # Errors
    /// When the two are not of one kind.
    pub fn add(&mut self, name: &str, a: NodeId, b: NodeId) -> Result<NodeId, GraphError> {
        let (kind, other) = (self.kind(a), self.kind(b));
        if kind != other {
            return Err(GraphError::new(name, format!("a second input that is {kind}"), other.to_string()));
        }
        Ok(self.push(name, Op::Add, &[a, b], kind))
    }

    /// Maximum over windows.
    ///
    /// # Errors
    /// When `x` is no map, a window has no side, or the padding exceeds half a window.
    pub fn max_pool(&mut self, name: &str, x: NodeId, pool: MaxPool) -> Result<NodeId, GraphError> {
        let channels = self.channels(name, x)?;
        check_window(name, &pool)?;
        Ok(self.push(name, Op::MaxPool(pool), &[x], Kind::Map { channels }))
    }

    /// Mean over windows.
    ///
    /// # Errors
    /// As [`Builder::max_pool`].
    pub fn avg_pool(&mut self, name: &str, x: NodeId, pool: AvgPool) -> Result<NodeId, GraphError> {
        let channels = self.channels(name, x)?;
        check_window(name, &pool.window)?;
        Ok(self.push(name, Op::AvgPool(pool), &[x], Kind::Map { channels }))
    }

    /// Mean over all positions; the result is a vector.
    ///
    /// # Errors
    /// When `x` is no map.
    pub fn global_avg_pool(&mut self, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
        let features = self.channels(name, x)?;
        Ok(self.push(name, Op::GlobalAvgPool, &[x], Kind::Vector { features }))
    }

    /// Every `stride`-th row and column.
    ///
    /// # Errors
    /// When `x` is no map or the stride is 0.
    pub fn subsample(&mut self, name: &str, x: NodeId, stride: usize) -> Result<NodeId, GraphError> {
        let channels = self.channels(name, x)?;
        if stride == 0 {
            return Err(GraphError::new(name, "a positive stride", "0"));
        }
        Ok(self.push(name, Op::Subsample { stride }, &[x], Kind::Map { channels }))
    }

    /// Channels of zeros before and after those of `x`.
    ///
    /// # Errors
    /// When `x` is no map.
    pub fn pad_channels(
        &mut self,
        name: &str,
        x: NodeId,
        before: usize,
        after: usize,
    ) -> Result<NodeId, GraphError> {
        let channels = before + self.channels(name, x)? + after;
        Ok(self.push(name, Op::PadChannels { before, after }, &[x], Kind::Map { channels }))
    }

    /// A linear layer with the parameters `name.weight` and `name.bias`; weights start uniform on
    /// ±1/√inputs, the bias at 0.
    ///
    /// # Errors
    /// When `x` is no vector, or there are no outputs.
    pub fn linear(&mut self, name: &str, x: NodeId, outputs: usize) -> Result<NodeId, GraphError> {
        let Kind::Vector { features: inputs } = self.kind(x) else {
            return Err(GraphError::new(name, "a vector", self.kind(x).to_string()));
        };
        if outputs == 0 {
            return Err(GraphError::new(name, "at least one output", "0"));
        }
        let init = Init::Uniform { bound: 1.0 / (inputs as f32).sqrt() };
        let linear = Linear {
            weight: self.param(format!("{name}.weight"), vec![outputs, inputs], Role::LinearWeight, init),
            bias: Some(self.param(format!("{name}.bias"), vec![outputs], Role::Bias, Init::Constant(0.0))),
            inputs,
            outputs,
        };
        Ok(self.push(name, Op::Linear(linear), &[x], Kind::Vector { features: outputs }))
    }

    /// Channels of a map.
    ///
    /// # Errors
    /// When `x` is no map; the error names the node `name` that wanted one.
    pub fn channels(&self, name: &str, x: NodeId) -> Result<usize, GraphError> {
        match self.kind(x) {
            Kind::Map { channels } => Ok(channels),
            other => Err(GraphError::new(name, "a map", other.to_string())),
        }
    }

    /// Ends the network at the node that answers.
    ///
    /// # Errors
    /// When [`Graph::verify`] finds something wrong, such as a name that two nodes share.
    pub fn finish(self, output: NodeId) -> Result<Graph, GraphError> {
        let graph = Graph { name: self.name, nodes: self.nodes, params: self.params, output };
        graph.verify()?;
        Ok(graph)
    }

    fn kind(&self, x: NodeId) -> Kind {
        self.nodes[x.index()].kind
    }

    fn param(&mut self, name: String, shape: Vec<usize>, role: Role, init: Init) -> ParamId {
        self.params.push(Param { name, shape, role, init });
        ParamId(self.params.len() as u32 - 1)
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[NodeId], kind: Kind) -> NodeId {
        self.nodes.push(Node { name: name.to_owned(), op, inputs: inputs.to_vec(), kind });
        NodeId(self.nodes.len() as u32 - 1)
    }
}

pub(crate) fn check_window(name: &str, pool: &MaxPool) -> Result<(), GraphError> {
    let sides = [pool.kernel, pool.stride].concat();
    if sides.contains(&0) {
        return Err(GraphError::new(name, "a positive kernel and stride", format!("{sides:?}")));
    }
    if (0..2).any(|i| 2 * pool.padding[i] > pool.kernel[i]) {
        let found = format!("padding {:?} for kernel {:?}", pool.padding, pool.kernel);
        return Err(GraphError::new(name, "padding of at most half the kernel", found));
    }
    Ok(())
}
