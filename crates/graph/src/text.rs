//! A network as JSON, to be stored beside its weights.
//!
//! ```text
//! {"version": 1, "name": "net", "output": "fc",
//!  "params": [{"name": "conv1.weight", "shape": [16, 3, 3, 3], "role": "conv_weight",
//!              "init": {"he_normal": "in"}}, …],
//!  "nodes":  [{"name": "input", "op": {"type": "input", "channels": 3}, "inputs": []},
//!             {"name": "conv1", "op": {"type": "conv", "weight": "conv1.weight", "bias": null,
//!              "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}, "inputs": ["input"]}, …]}
//! ```
//! Nodes stand in topological order and name their inputs and parameters. Channels and kernels are those of
//! the parameters' shapes, so that nothing is said twice. A change of this form raises the version.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::builder::check_window;
use crate::error::GraphError;
use crate::graph::{Graph, Kind, Node, NodeId, ParamId};
use crate::op::{AvgPool, BatchNorm, Blur, Conv2d, DropPath, Dropout, Linear, MaxPool, Op};
use crate::param::{Init, Param, Role};

const VERSION: u32 = 1;
/// Longest text that is taken for a network.
const MAX_BYTES: usize = 32 << 20;
/// Largest number of nodes, channels and the like.
const MAX_SIDE: usize = 1 << 20;
/// Largest side, step and padding of a window.
const MAX_WINDOW: usize = 1 << 12;
/// Largest number of elements of a parameter.
const MAX_ELEMENTS: usize = 1 << 40;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    name: String,
    output: String,
    params: Vec<ParamText>,
    nodes: Vec<NodeText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ParamText {
    name: String,
    shape: Vec<usize>,
    role: Role,
    init: Init,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeText {
    name: String,
    op: OpText,
    inputs: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum OpText {
    Input {
        channels: usize,
    },
    Conv {
        weight: String,
        bias: Option<String>,
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
    },
    BatchNorm {
        weight: String,
        bias: String,
        running_mean: String,
        running_var: String,
        eps: f32,
    },
    Relu,
    Add,
    MaxPool(MaxPool),
    AvgPool {
        window: MaxPool,
        count_include_pad: bool,
    },
    GlobalAvgPool {
        /// Whether the result is a map of one pixel.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keeps_map: bool,
    },
    Subsample {
        stride: usize,
    },
    Scale {
        factor: f32,
        offset: f32,
    },
    Mul,
    Sigmoid,
    Concat,
    Flatten,
    Dropout(Dropout),
    DropPath(DropPath),
    Blur(Blur),
    PadChannels {
        before: usize,
        after: usize,
    },
    Linear {
        weight: String,
        bias: Option<String>,
    },
}

impl Graph {
    /// The network as JSON, for [`Graph::from_json`].
    ///
    /// # Errors
    /// When it holds an operation that only training programs have.
    pub fn to_json(&self) -> Result<String, GraphError> {
        let nodes = self.nodes.iter().map(|node| {
            Ok(NodeText {
                name: node.name.clone(),
                op: self.op_text(node)?,
                inputs: node.inputs.iter().map(|&id| self.node(id).name.clone()).collect(),
            })
        });
        let params = self.params.iter().map(|Param { name, shape, role, init }| ParamText {
            name: name.clone(),
            shape: shape.clone(),
            role: *role,
            init: *init,
        });
        let document = Document {
            version: VERSION,
            name: self.name.clone(),
            output: self.node(self.output).name.clone(),
            params: params.collect(),
            nodes: nodes.collect::<Result<_, GraphError>>()?,
        };
        serde_json::to_string(&document)
            .map_err(|error| GraphError::new(&self.name, "a network that JSON can hold", error.to_string()))
    }

    fn op_text(&self, node: &Node) -> Result<OpText, GraphError> {
        let name = |id: ParamId| self.param(id).name.clone();
        Ok(match node.op {
            Op::Input => OpText::Input { channels: self.input_channels() },
            Op::Conv2d(c) => OpText::Conv {
                weight: name(c.weight),
                bias: c.bias.map(name),
                stride: c.stride,
                padding: c.padding,
                dilation: c.dilation,
                groups: c.groups,
            },
            Op::BatchNorm(b) => OpText::BatchNorm {
                weight: name(b.weight),
                bias: name(b.bias),
                running_mean: name(b.running_mean),
                running_var: name(b.running_var),
                eps: b.eps,
            },
            Op::Relu => OpText::Relu,
            Op::Add => OpText::Add,
            Op::MaxPool(pool) => OpText::MaxPool(pool),
            Op::AvgPool(AvgPool { window, count_include_pad }) => {
                OpText::AvgPool { window, count_include_pad }
            }
            Op::GlobalAvgPool => OpText::GlobalAvgPool { keeps_map: matches!(node.kind, Kind::Map { .. }) },
            Op::Scale { factor, offset } => OpText::Scale { factor, offset },
            Op::Mul => OpText::Mul,
            Op::Sigmoid => OpText::Sigmoid,
            Op::Concat => OpText::Concat,
            Op::Flatten => OpText::Flatten,
            Op::Dropout(dropout) => OpText::Dropout(dropout),
            Op::DropPath(path) => OpText::DropPath(path),
            Op::Blur(blur) => OpText::Blur(blur),
            Op::Subsample { stride } => OpText::Subsample { stride },
            Op::PadChannels { before, after } => OpText::PadChannels { before, after },
            Op::Linear(l) => OpText::Linear { weight: name(l.weight), bias: l.bias.map(name) },
            op => return Err(GraphError::new(&node.name, "an operation that can be stored", op.name())),
        })
    }

    /// Reads what [`Graph::to_json`] wrote. Nothing in the text is trusted: names, kinds and shapes are
    /// checked as [`Graph::verify`] does, and no size may be absurd.
    ///
    /// # Errors
    /// Says which node or parameter is wrong, or where the text is no such JSON.
    pub fn from_json(text: &str) -> Result<Self, GraphError> {
        if text.len() > MAX_BYTES {
            let found = format!("{} bytes", text.len());
            return Err(GraphError::new("graph", format!("at most {MAX_BYTES} bytes"), found));
        }
        let document: Document = serde_json::from_str(text)
            .map_err(|error| GraphError::new("graph", "a network as JSON", error.to_string()))?;
        if document.version != VERSION {
            let found = format!("version {}; a newer residuum may read it", document.version);
            return Err(GraphError::new("graph", format!("version {VERSION}"), found));
        }
        Reader::read(document)
    }

    /// The same network by another name.
    #[must_use]
    pub fn renamed(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

/// The network as far as it has been read.
#[derive(Default)]
struct Reader {
    nodes: Vec<Node>,
    params: Vec<Param>,
    node_ids: HashMap<String, NodeId>,
    param_ids: HashMap<String, ParamId>,
}

impl Reader {
    fn read(document: Document) -> Result<Graph, GraphError> {
        let mut reader = Self::default();
        let counts = [document.nodes.len(), document.params.len()];
        sides("graph", &counts)?;
        for param in document.params {
            reader.param(param)?;
        }
        for node in document.nodes {
            reader.node(node)?;
        }
        let output = reader.node_ids.get(&document.output).copied();
        let output = output.ok_or_else(|| GraphError::new(&document.output, "a node", "none"))?;
        let graph = Graph { name: document.name, nodes: reader.nodes, params: reader.params, output };
        graph.verify()?;
        Ok(graph)
    }

    fn param(&mut self, param: ParamText) -> Result<(), GraphError> {
        let ParamText { name, shape, role, init } = param;
        let count = residuum_tensor::element_count(&shape).filter(|&count| count <= MAX_ELEMENTS);
        if shape.is_empty() || shape.contains(&0) || count.is_none() {
            let expected = format!("a shape of 1 to {MAX_ELEMENTS} elements");
            return Err(GraphError::new(&name, expected, format!("{shape:?}")));
        }
        if self.param_ids.insert(name.clone(), ParamId(self.params.len() as u32)).is_some() {
            return Err(GraphError::new(&name, "a name of its own", "another parameter with this name"));
        }
        self.params.push(Param { name, shape, role, init });
        Ok(())
    }

    fn node(&mut self, node: NodeText) -> Result<(), GraphError> {
        let NodeText { name, op, inputs } = node;
        let find = |input: &String| {
            let found = self.node_ids.get(input).copied();
            found.ok_or_else(|| GraphError::new(&name, "inputs that come before it", format!("`{input}`")))
        };
        let inputs = inputs.iter().map(find).collect::<Result<Vec<NodeId>, _>>()?;
        let kinds: Vec<Kind> = inputs.iter().map(|id| self.nodes[id.index()].kind).collect();
        let (op, kind) = self.op(&name, op, &kinds)?;
        if self.node_ids.insert(name.clone(), NodeId(self.nodes.len() as u32)).is_some() {
            return Err(GraphError::new(&name, "a name of its own", "another node with this name"));
        }
        self.nodes.push(Node { name, op, inputs, kind });
        Ok(())
    }

    /// The operation and what it makes of inputs of these kinds.
    fn op(&self, name: &str, op: OpText, kinds: &[Kind]) -> Result<(Op, Kind), GraphError> {
        let first = kinds.first().copied().unwrap_or(Kind::Scalar);
        Ok(match op {
            OpText::Input { channels } => {
                sides(name, &[channels])?;
                (Op::Input, Kind::Map { channels })
            }
            OpText::Conv { .. } => self.conv(name, op)?,
            OpText::BatchNorm { weight, bias, running_mean, running_var, eps } => {
                let (weight, shape) = self.find(name, &weight)?;
                let [channels] = sized(name, shape)?;
                let find = |local: &str| Ok(self.find(name, local)?.0);
                let (bias, mean, var) = (find(&bias)?, find(&running_mean)?, find(&running_var)?);
                if !(eps.is_finite() && eps >= 0.0) {
                    return Err(GraphError::new(name, "an eps from 0 on", eps.to_string()));
                }
                let norm = BatchNorm { weight, bias, running_mean: mean, running_var: var, eps, channels };
                (Op::BatchNorm(norm), Kind::Map { channels })
            }
            OpText::Relu => (Op::Relu, first),
            OpText::Add => (Op::Add, first),
            OpText::MaxPool(pool) => (Op::MaxPool(window(name, pool)?), first),
            OpText::AvgPool { window: pool, count_include_pad } => {
                (Op::AvgPool(AvgPool { window: window(name, pool)?, count_include_pad }), first)
            }
            OpText::GlobalAvgPool { keeps_map: true } => (Op::GlobalAvgPool, first),
            OpText::GlobalAvgPool { keeps_map: false } => {
                (Op::GlobalAvgPool, Kind::Vector { features: channels(name, first)? })
            }
            OpText::Scale { factor, offset } => {
                (Op::Scale { factor: finite(name, factor)?, offset: finite(name, offset)? }, first)
            }
            OpText::Mul => (Op::Mul, first),
            OpText::Sigmoid => (Op::Sigmoid, first),
            OpText::Concat => {
                let all = kinds.iter().map(|&kind| channels(name, kind));
                let channels = all.sum::<Result<usize, _>>()?;
                sides(name, &[channels])?;
                (Op::Concat, Kind::Map { channels })
            }
            OpText::Flatten => (Op::Flatten, Kind::Vector { features: channels(name, first)? }),
            OpText::Dropout(dropout) => {
                share(name, dropout.rate, 0.0..1.0)?;
                (Op::Dropout(dropout), first)
            }
            OpText::DropPath(path) => {
                share(name, 1.0 - path.survival, 0.0..1.0)?;
                (Op::DropPath(path), first)
            }
            OpText::Blur(blur) => {
                windows(name, &[blur.size, blur.stride], [0; 2])?;
                (Op::Blur(blur), first)
            }
            OpText::Subsample { stride } => {
                windows(name, &[stride], [0; 2])?;
                (Op::Subsample { stride }, first)
            }
            OpText::PadChannels { before, after } => {
                let channels = channels(name, first)?.saturating_add(before).saturating_add(after);
                sides(name, &[channels])?;
                (Op::PadChannels { before, after }, Kind::Map { channels })
            }
            OpText::Linear { weight, bias } => {
                let (weight, shape) = self.find(name, &weight)?;
                let [outputs, inputs] = sized(name, shape)?;
                let bias = bias.map(|bias| Ok(self.find(name, &bias)?.0)).transpose()?;
                (Op::Linear(Linear { weight, bias, inputs, outputs }), Kind::Vector { features: outputs })
            }
        })
    }

    fn conv(&self, name: &str, op: OpText) -> Result<(Op, Kind), GraphError> {
        let OpText::Conv { weight, bias, stride, padding, dilation, groups } = op else {
            return Err(GraphError::new(name, "a convolution", "another operation"));
        };
        let (weight, shape) = self.find(name, &weight)?;
        let [c_out, per_group, rows, columns] = sized(name, shape)?;
        sides(name, &[groups, per_group.saturating_mul(groups)])?;
        windows(name, &[&[rows, columns][..], &stride, &dilation].concat(), padding)?;
        if c_out % groups != 0 {
            let expected = format!("outputs divisible by {groups} groups");
            return Err(GraphError::new(name, expected, c_out.to_string()));
        }
        let bias = bias.map(|bias| Ok(self.find(name, &bias)?.0)).transpose()?;
        let (c_in, kernel) = (per_group * groups, [rows, columns]);
        let conv = Conv2d { weight, bias, c_in, c_out, kernel, stride, padding, dilation, groups };
        Ok((Op::Conv2d(conv), Kind::Map { channels: c_out }))
    }

    fn find(&self, node: &str, name: &str) -> Result<(ParamId, &[usize]), GraphError> {
        let id = self.param_ids.get(name).copied();
        let id = id.ok_or_else(|| {
            GraphError::new(node, "parameters of this network", format!("`{name}`, which it has not"))
        })?;
        Ok((id, &self.params[id.index()].shape))
    }
}

/// A shape of so many sides, none absurd.
fn sized<const N: usize>(name: &str, shape: &[usize]) -> Result<[usize; N], GraphError> {
    sides(name, shape)?;
    let found = format!("{shape:?}");
    shape.try_into().map_err(|_| GraphError::new(name, format!("a parameter of {N} sides"), found))
}

fn sides(name: &str, sides: &[usize]) -> Result<(), GraphError> {
    within(name, sides, 1, MAX_SIDE)
}

fn windows(name: &str, sides: &[usize], padding: [usize; 2]) -> Result<(), GraphError> {
    within(name, sides, 1, MAX_WINDOW)?;
    within(name, &padding, 0, MAX_WINDOW)
}

fn within(name: &str, sizes: &[usize], least: usize, most: usize) -> Result<(), GraphError> {
    if sizes.iter().all(|size| (least..=most).contains(size)) {
        return Ok(());
    }
    Err(GraphError::new(name, format!("sizes from {least} to {most}"), format!("{sizes:?}")))
}

fn finite(name: &str, value: f32) -> Result<f32, GraphError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(GraphError::new(name, "a finite number", value.to_string()))
}

fn share(name: &str, value: f32, allowed: std::ops::Range<f32>) -> Result<(), GraphError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let expected = format!("a probability from {} to below {}", allowed.start, allowed.end);
    Err(GraphError::new(name, expected, value.to_string()))
}

fn window(name: &str, pool: MaxPool) -> Result<MaxPool, GraphError> {
    windows(name, &[pool.kernel, pool.stride].concat(), pool.padding)?;
    check_window(name, &pool)?;
    Ok(pool)
}

fn channels(name: &str, kind: Kind) -> Result<usize, GraphError> {
    match kind {
        Kind::Map { channels } => Ok(channels),
        other => Err(GraphError::new(name, "a map", other.to_string())),
    }
}

#[cfg(test)]
mod tests;
