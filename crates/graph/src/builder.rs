//! Writing a network down, one line a layer. Shapes are inferred as the graph grows, so that a mistake is
//! reported at the node that makes it.

use crate::error::GraphError;
use crate::graph::{Graph, Kind, Node, NodeId, ParamId};
use crate::op::{AvgPool, BatchNorm, Blur, Conv2d, DropPath, DropRule, Dropout, Linear, MaxPool, Op};
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
    /// Start value of a bias, where one is learned; batch norm makes it superfluous.
    pub bias: Option<f32>,
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
            bias: None,
            init: Init::HeNormal(Fan::In),
        }
    }
}

/// What may differ between batch norms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormSpec {
    /// How the scales start.
    pub scale: Init,
    /// Added to the variance.
    pub eps: f32,
}

impl Default for NormSpec {
    /// PyTorch's: scales of 1, eps 1e-5.
    fn default() -> Self {
        Self { scale: Init::Constant(1.0), eps: 1e-5 }
    }
}

/// Makes a [`Graph`] node by node.
#[derive(Debug)]
pub struct Builder {
    name: String,
    nodes: Vec<Node>,
    params: Vec<Param>,
    /// Nodes so far that draw random numbers in training.
    streams: u32,
}

impl Builder {
    /// An empty network.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), nodes: Vec::new(), params: Vec::new(), streams: 0 }
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
            bias: bias.map(|start| {
                self.param(format!("{name}.bias"), vec![channels], Role::Bias, Init::Constant(start))
            }),
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

    /// Batch norm with the parameters `name.weight`, `.bias`, `.running_mean`, `.running_var`; eps 1e-5,
    /// scales that start at 1.
    ///
    /// # Errors
    /// When `x` is no map.
    pub fn batch_norm(&mut self, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
        self.norm(name, x, NormSpec::default())
    }

    /// Batch norm, told how it differs from the usual one.
    ///
    /// # Errors
    /// When `x` is no map.
    pub fn norm(&mut self, name: &str, x: NodeId, spec: NormSpec) -> Result<NodeId, GraphError> {
        let channels = self.channels(name, x)?;
        let mut param =
            |local: &str, role, init| self.param(format!("{name}.{local}"), vec![channels], role, init);
        let norm = BatchNorm {
            weight: param("weight", Role::NormWeight, spec.scale),
            bias: param("bias", Role::NormBias, Init::Constant(0.0)),
            running_mean: param("running_mean", Role::RunningMean, Init::Constant(0.0)),
            running_var: param("running_var", Role::RunningVar, Init::Constant(1.0)),
            eps: spec.eps,
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

    /// Mean over all positions as a map of one pixel, for layers that go on with convolutions.
    ///
    /// # Errors
    /// When `x` is no map.
    pub fn global_avg_pool_map(&mut self, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
        let channels = self.channels(name, x)?;
        Ok(self.push(name, Op::GlobalAvgPool, &[x], Kind::Map { channels }))
    }

    /// A map of one pixel as a vector.
    ///
    /// # Errors
    /// When `x` is no map.
    pub fn flatten(&mut self, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
        let features = self.channels(name, x)?;
        Ok(self.push(name, Op::Flatten, &[x], Kind::Vector { features }))
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

    /// `factor · x + offset`.
    pub fn scale(&mut self, name: &str, x: NodeId, factor: f32, offset: f32) -> NodeId {
        let kind = self.kind(x);
        self.push(name, Op::Scale { factor, offset }, &[x], kind)
    }

    /// `1 / (1 + exp(-x))`.
    pub fn sigmoid(&mut self, name: &str, x: NodeId) -> NodeId {
        let kind = self.kind(x);
        self.push(name, Op::Sigmoid, &[x], kind)
    }

    /// `x` weighed by a gate of the same channels, one value for each position or, where the gate has one
    /// pixel, for each channel.
    ///
    /// # Errors
    /// When the two are not maps of the same channels.
    pub fn mul(&mut self, name: &str, x: NodeId, gate: NodeId) -> Result<NodeId, GraphError> {
        let channels = self.channels(name, x)?;
        if self.channels(name, gate)? != channels {
            let found = self.kind(gate).to_string();
            return Err(GraphError::new(name, format!("a gate of {channels} channels"), found));
        }
        Ok(self.push(name, Op::Mul, &[x, gate], Kind::Map { channels }))
    }

    /// The channels of all maps, one map after the other.
    ///
    /// # Errors
    /// When there is no map, or one input is none.
    pub fn concat(&mut self, name: &str, maps: &[NodeId]) -> Result<NodeId, GraphError> {
        let channels = maps.iter().map(|&x| self.channels(name, x)).sum::<Result<usize, _>>()?;
        if maps.is_empty() {
            return Err(GraphError::new(name, "at least one map", "none"));
        }
        Ok(self.push(name, Op::Concat, maps, Kind::Map { channels }))
    }

    /// Dropout of single elements; nothing is added where the rate is 0.
    ///
    /// # Errors
    /// When the rate is not in `[0, 1)`.
    pub fn dropout(&mut self, name: &str, x: NodeId, rate: f32) -> Result<NodeId, GraphError> {
        if !(0.0..1.0).contains(&rate) {
            return Err(GraphError::new(name, "a rate of at least 0 and below 1", rate.to_string()));
        }
        if rate == 0.0 {
            return Ok(x);
        }
        let (kind, stream) = (self.kind(x), self.next_stream());
        Ok(self.push(name, Op::Dropout(Dropout { rate, stream }), &[x], kind))
    }

    /// Stochastic depth of the branch that ends in `x`; nothing is added where it always survives.
    ///
    /// # Errors
    /// When the probability is not in `(0, 1]`.
    pub fn drop_path(
        &mut self,
        name: &str,
        x: NodeId,
        survival: f32,
        rule: DropRule,
    ) -> Result<NodeId, GraphError> {
        if !(survival > 0.0 && survival <= 1.0) {
            let found = survival.to_string();
            return Err(GraphError::new(name, "a probability of survival above 0 and at most 1", found));
        }
        if survival >= 1.0 {
            return Ok(x);
        }
        let (kind, stream) = (self.kind(x), self.next_stream());
        Ok(self.push(name, Op::DropPath(DropPath { survival, rule, stream }), &[x], kind))
    }

    /// Low-pass filter and subsampling.
    ///
    /// # Errors
    /// When `x` is no map, or a size is 0.
    pub fn blur(&mut self, name: &str, x: NodeId, blur: Blur) -> Result<NodeId, GraphError> {
        let channels = self.channels(name, x)?;
        if blur.size == 0 || blur.stride == 0 {
            return Err(GraphError::new(name, "a positive filter and stride", format!("{blur:?}")));
        }
        Ok(self.push(name, Op::Blur(blur), &[x], Kind::Map { channels }))
    }

    fn next_stream(&mut self) -> u32 {
        self.streams += 1;
        self.streams - 1
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
        let bound = 1.0 / (inputs as f32).sqrt();
        let init = Init::Uniform { low: -bound, high: bound };
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
