//! Layers become nodes of a graph; layers that belong together become one [`Unit`] with parameters.

use std::collections::HashSet;

use residuum_formats::caffe::{
    Convolution, Definition, Eltwise, EltwiseOperation, InnerProduct, Layer, Operation, Pool, Pooling, Scale,
};
use residuum_graph::{AvgPool, Builder, ConvSpec, MaxPool, NodeId};

use super::Network;
use super::flow::{Flow, Origin};
use super::name::torchvision;
use crate::error::{ConvertError, Result};

/// Colours of an image.
const COLOURS: usize = 3;

/// A node with parameters, and the layers whose blobs they come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Unit {
    /// A convolution. The factors of a `Scale` behind it, if any, are multiplied into the filters.
    Conv {
        name: String,
        layer: String,
        has_bias: bool,
        keeps_bias: bool,
        swaps_colours: bool,
        scale: Option<ScaleBlobs>,
    },
    /// A batch norm, from `BatchNorm` and the `Scale` behind it. `shift` names the convolution in front of it
    /// whose bias moves into the running mean.
    Norm { name: String, layer: String, eps: f64, shift: Option<String>, scale: Option<ScaleBlobs> },
    /// A linear layer.
    Linear { name: String, layer: String, has_bias: bool, transposed: bool },
}

/// A `Scale` by its layer, and whether it shifts too.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ScaleBlobs {
    pub(super) layer: String,
    pub(super) has_bias: bool,
}

/// A value of the network: its node, and its rows and columns where it is a map.
#[derive(Clone, Copy)]
struct Value {
    node: NodeId,
    sides: Option<[usize; 2]>,
}

pub(super) fn network(definition: &Definition) -> Result<Network> {
    let flow = Flow::new(definition)?;
    let [channels, h, w] = flow.images;
    let name = if definition.name.is_empty() { "caffe" } else { &definition.name };
    let mut g = Builder::new(name);
    let images = Value { node: g.input(channels), sides: Some([h, w]) };
    let mut maker = Maker {
        users: flow.users(),
        has_published_names: has_published_names(&flow),
        flow: &flow,
        g,
        images,
        values: Vec::new(),
        units: Vec::new(),
    };
    for index in 0..flow.steps.len() {
        let value = maker.step(index)?;
        maker.values.push(value);
    }
    let Origin::Layer(output) = flow.output else {
        return Err(ConvertError::layer(name, "expected layers that compute, found none"));
    };
    let output = maker.values[output].node;
    let Maker { g, units, .. } = maker;
    let graph = g.finish(output)?;
    let mut notes = flow.notes;
    if channels == COLOURS {
        notes.push("the first convolution's colours are swapped: the network reads red, green, blue".into());
    }
    Ok(Network { graph, input: [h, w], notes, units })
}

/// Whether every layer with parameters is called as in the published models, no two alike.
fn has_published_names(flow: &Flow<'_>) -> bool {
    let is_named = |layer: &&Layer| {
        matches!(
            layer.operation,
            Operation::Convolution(_) | Operation::BatchNorm { .. } | Operation::InnerProduct(_)
        )
    };
    let mut seen = HashSet::new();
    let mut layers = flow.steps.iter().map(|step| step.layer).filter(is_named);
    layers.all(|layer| torchvision(&layer.name).is_some_and(|name| seen.insert(name)))
}

struct Maker<'a> {
    flow: &'a Flow<'a>,
    users: Vec<usize>,
    has_published_names: bool,
    g: Builder,
    images: Value,
    /// Of every step so far; of one that became part of another, that one's.
    values: Vec<Value>,
    units: Vec<Unit>,
}

impl<'a> Maker<'a> {
    fn step(&mut self, index: usize) -> Result<Value> {
        let step = &self.flow.steps[index];
        let (layer, first) = (step.layer, step.inputs[0]);
        let x = self.value(first);
        let refuse = |problem: &str| Err(ConvertError::layer(&layer.name, problem));
        if first == Origin::Images && self.flow.images[0] == COLOURS && !is_plain_convolution(layer) {
            return refuse(
                "expected a convolution of one group to read the images, so that its colours can be swapped",
            );
        }
        match &layer.operation {
            Operation::Convolution(conv) => self.convolution(index, conv, x),
            Operation::BatchNorm { eps, uses_stored: true } => self.norm(index, *eps, x),
            Operation::BatchNorm { .. } => {
                refuse("normalises by the batch while testing; set `use_global_stats: true`")
            }
            Operation::Scale(scale) => self.scale(index, scale, x),
            Operation::Relu { negative_slope } if *negative_slope == 0.0 => {
                Ok(Value { node: self.g.relu(&layer.name, x.node), ..x })
            }
            Operation::Relu { .. } => refuse("a slope below 0 is not converted"),
            Operation::Pooling(pooling) => self.pooling(index, pooling, x),
            Operation::Eltwise(eltwise) => self.sum(index, eltwise),
            Operation::InnerProduct(product) => self.linear(layer, product, x),
            Operation::Concat { .. } => refuse("concatenation is not converted"),
            Operation::Softmax | Operation::Dropout | Operation::Split => Ok(x),
            Operation::Other(kind) => refuse(&format!("layers of the type `{kind}` are not converted")),
            other => refuse(&format!("{other:?} is not converted")),
        }
    }

    fn value(&self, origin: Origin) -> Value {
        match origin {
            Origin::Images => self.images,
            Origin::Layer(index) => self.values[index],
        }
    }

    /// The module's name for a layer with parameters.
    fn module(&self, layer: &Layer) -> String {
        let published = self.has_published_names.then(|| torchvision(&layer.name)).flatten();
        published.unwrap_or_else(|| layer.name.clone())
    }

    /// The one step that reads a step's value.
    fn sole_reader(&self, index: usize) -> Option<&'a Layer> {
        let reads = |step: &&super::flow::Step<'a>| step.inputs.contains(&Origin::Layer(index));
        (self.users[index] == 1)
            .then(|| self.flow.steps[index + 1..].iter().find(reads))?
            .map(|step| step.layer)
    }

    /// The `Scale` that alone reads a step's value.
    fn scale_behind(&self, index: usize) -> Option<(&'a Scale, ScaleBlobs)> {
        let layer = self.sole_reader(index)?;
        match &layer.operation {
            Operation::Scale(scale) => {
                Some((scale, ScaleBlobs { layer: layer.name.clone(), has_bias: scale.bias }))
            }
            _ => None,
        }
    }

    fn convolution(&mut self, index: usize, conv: &Convolution, x: Value) -> Result<Value> {
        let step = &self.flow.steps[index];
        let layer = step.layer;
        let scale = self.scale_behind(index);
        let moves_bias = self
            .sole_reader(index)
            .is_some_and(|layer| matches!(layer.operation, Operation::BatchNorm { .. }));
        let keeps_bias = conv.bias && !moves_bias || scale.as_ref().is_some_and(|(scale, _)| scale.bias);
        let square = |what, pair| square(layer, what, pair);
        let spec = ConvSpec {
            stride: square("stride", conv.stride)?,
            padding: square("pad", conv.pad)?,
            dilation: square("dilation", conv.dilation)?,
            groups: conv.group,
            bias: keeps_bias.then_some(0.0),
            ..ConvSpec::new(conv.outputs, square("kernel", conv.kernel)?, 1)
        };
        let name = self.module(layer);
        let node = self.g.conv(&name, x.node, spec)?;
        let reach = spec.dilation * (spec.kernel - 1) + 1;
        let windows =
            |side: usize| (side + 2 * spec.padding).checked_sub(reach).map(|room| room / spec.stride + 1);
        let sides =
            each(layer, x.sides, |_, side| windows(side).ok_or("its window does not fit into the map"))?;
        self.units.push(Unit::Conv {
            name,
            layer: layer.name.clone(),
            has_bias: conv.bias,
            keeps_bias,
            swaps_colours: step.inputs[0] == Origin::Images && self.flow.images[0] == COLOURS,
            scale: scale.map(|(_, blobs)| blobs),
        });
        Ok(Value { node, sides })
    }

    fn norm(&mut self, index: usize, eps: f64, x: Value) -> Result<Value> {
        let step = &self.flow.steps[index];
        let name = self.module(step.layer);
        let shift = match step.inputs[0] {
            Origin::Layer(before) if self.users[before] == 1 => {
                match &self.flow.steps[before].layer.operation {
                    Operation::Convolution(conv) if conv.bias => {
                        Some(self.flow.steps[before].layer.name.clone())
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        let node = self.g.batch_norm(&name, x.node)?;
        let scale = self.scale_behind(index).map(|(_, blobs)| blobs);
        self.units.push(Unit::Norm { name, layer: step.layer.name.clone(), eps, shift, scale });
        Ok(Value { node, ..x })
    }

    /// A `Scale` is part of the batch norm or the convolution in front of it.
    fn scale(&self, index: usize, scale: &Scale, x: Value) -> Result<Value> {
        let step = &self.flow.steps[index];
        let before = match step.inputs[0] {
            Origin::Layer(before) if self.users[before] == 1 => {
                Some(&self.flow.steps[before].layer.operation)
            }
            _ => None,
        };
        if (scale.axis, scale.axes) != (1, Some(1)) {
            return Err(ConvertError::layer(&step.layer.name, "expected a factor for each channel (axis 1)"));
        }
        if matches!(before, Some(Operation::BatchNorm { .. } | Operation::Convolution(_))) {
            return Ok(x);
        }
        let problem = "expected a batch norm or a convolution in front of it that nothing else reads";
        Err(ConvertError::layer(&step.layer.name, problem))
    }

    fn pooling(&mut self, index: usize, pooling: &Pooling, x: Value) -> Result<Value> {
        let layer = self.flow.steps[index].layer;
        let Some(map) = x.sides else {
            return Err(ConvertError::layer(&layer.name, "expected a map to pool, found a vector"));
        };
        let kernel = pooling.kernel.unwrap_or(map);
        let is_whole = kernel == map && pooling.pad == [0; 2];
        let becomes_vector = self
            .sole_reader(index)
            .map_or(self.users[index] == 0, |reader| matches!(reader.operation, Operation::InnerProduct(_)));
        if pooling.pool == Pool::Average && is_whole && becomes_vector {
            let node = self.g.global_avg_pool(&layer.name, x.node)?;
            return Ok(Value { node, sides: None });
        }
        let window = MaxPool { kernel, stride: pooling.stride, padding: pooling.pad, ceil: pooling.ceil };
        let node = match pooling.pool {
            Pool::Max => self.g.max_pool(&layer.name, x.node, window)?,
            Pool::Average => {
                self.g.avg_pool(&layer.name, x.node, AvgPool { window, count_include_pad: true })?
            }
        };
        let sides = each(layer, x.sides, |i, side| pooled(side, i, &window))?;
        Ok(Value { node, sides })
    }

    fn sum(&mut self, index: usize, eltwise: &Eltwise) -> Result<Value> {
        let step = &self.flow.steps[index];
        let is_plain = eltwise.coefficients.iter().all(|coefficient| coefficient.total_cmp(&1.0).is_eq());
        if eltwise.operation != EltwiseOperation::Sum || !is_plain {
            let problem = "of the ways to join inputs only the sum with coefficients 1 is converted";
            return Err(ConvertError::layer(&step.layer.name, problem));
        }
        let mut sum = self.value(step.inputs[0]);
        for (i, &input) in step.inputs.iter().enumerate().skip(1) {
            let other = self.value(input);
            if other.sides != sum.sides {
                let problem =
                    format!("expected maps of one size, found {:?} and {:?}", sum.sides, other.sides);
                return Err(ConvertError::layer(&step.layer.name, problem));
            }
            let is_last = i + 1 == step.inputs.len();
            let name = if is_last { step.layer.name.clone() } else { format!("{}.{i}", step.layer.name) };
            sum.node = self.g.add(&name, sum.node, other.node)?;
        }
        Ok(sum)
    }

    fn linear(&mut self, layer: &Layer, product: &InnerProduct, x: Value) -> Result<Value> {
        if product.axis != 1 {
            return Err(ConvertError::layer(
                &layer.name,
                "expected a sum over everything but the images (axis 1)",
            ));
        }
        let vector = match x.sides {
            None => x.node,
            // The mean over one position is the position.
            Some([1, 1]) => self.g.global_avg_pool(&format!("{}.flatten", layer.name), x.node)?,
            Some([h, w]) => {
                let problem = format!("expected a map of 1×1 to multiply, found {h}×{w}; pool it first");
                return Err(ConvertError::layer(&layer.name, problem));
            }
        };
        let name = self.module(layer);
        let node = self.g.linear(&name, vector, product.outputs)?;
        let (has_bias, transposed) = (product.bias, product.transposed);
        self.units.push(Unit::Linear { name, layer: layer.name.clone(), has_bias, transposed });
        Ok(Value { node, sides: None })
    }
}

fn is_plain_convolution(layer: &Layer) -> bool {
    matches!(&layer.operation, Operation::Convolution(conv) if conv.group == 1)
}

fn square(layer: &Layer, what: &str, [h, w]: [usize; 2]) -> Result<usize> {
    if h == w {
        return Ok(h);
    }
    Err(ConvertError::layer(&layer.name, format!("expected a square {what}, found {h}×{w}")))
}

/// Rows and columns after a layer.
fn each(
    layer: &Layer,
    sides: Option<[usize; 2]>,
    after: impl Fn(usize, usize) -> std::result::Result<usize, &'static str>,
) -> Result<Option<[usize; 2]>> {
    let Some([h, w]) = sides else { return Ok(None) };
    let problem = |problem: &str| ConvertError::layer(&layer.name, format!("{problem}, which is {h}×{w}"));
    Ok(Some([after(0, h).map_err(problem)?, after(1, w).map_err(problem)?]))
}

/// Number of windows by Caffe's rule: rounded up as a rule; with padding, none begins beyond the map.
fn pooled(side: usize, i: usize, window: &MaxPool) -> std::result::Result<usize, &'static str> {
    let (kernel, stride, pad) = (window.kernel[i], window.stride[i], window.padding[i]);
    let room = (side + 2 * pad).checked_sub(kernel).ok_or("its window does not fit into the map")?;
    let count = if window.ceil { room.div_ceil(stride) } else { room / stride } + 1;
    let begins_beyond = (count - 1) * stride >= side + pad;
    match (begins_beyond, pad) {
        (false, _) => Ok(count),
        // Caffe would take the maximum of nothing.
        (true, 0) => Err("its last window would begin outside of the map"),
        (true, _) => Ok(count - 1),
    }
}
