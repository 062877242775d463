//! How far a unit sees: in theory, and in effect.

use residuum_engine::SensitivityOptions;
use residuum_graph::{Graph, NodeId, Op};
use residuum_tensor::Tensor;

use crate::error::{ExplainError, Result};
use crate::subject::Subject;

/// The pixels that a unit of a layer can depend on, along one side: unit `u` sees the inputs
/// `centre + u · step ± (size − 1) / 2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReceptiveField {
    /// Pixels seen.
    pub size: f64,
    /// Pixels between the fields of neighbouring units.
    pub step: f64,
    /// Middle of the field of unit 0.
    pub centre: f64,
}

impl ReceptiveField {
    /// First and last pixel, clipped to an image of `side` pixels.
    pub fn pixels(&self, unit: usize, side: usize) -> std::ops::Range<usize> {
        let middle = self.centre + unit as f64 * self.step;
        let half = (self.size - 1.0) / 2.0;
        let first = (middle - half).floor().max(0.0) as usize;
        let end = ((middle + half).ceil() + 1.0).clamp(0.0, side as f64) as usize;
        first.min(end)..end
    }
}

/// The receptive field of a layer's units, the widest of all paths to it.
///
/// # Errors
/// When the layer does not exist or sees everything at once.
pub fn receptive_field(graph: &Graph, layer: &str) -> Result<ReceptiveField> {
    let unfit = |found: &str| ExplainError::unfit(format!("layer {layer}"), "a module with a map", found);
    let id = graph.find(layer).ok_or_else(|| unfit("no such module"))?;
    let mut fields: Vec<Option<ReceptiveField>> = Vec::with_capacity(id.index() + 1);
    for node in graph.ids().take(id.index() + 1) {
        let field = field_of(graph, node, &fields);
        fields.push(field);
    }
    fields.pop().flatten().ok_or_else(|| unfit("a layer that sees the whole image"))
}

fn field_of(graph: &Graph, id: NodeId, fields: &[Option<ReceptiveField>]) -> Option<ReceptiveField> {
    let node = graph.node(id);
    let paths = node.inputs.iter().filter_map(|input| fields[input.index()]);
    let widest = paths.max_by(|a, b| a.size.total_cmp(&b.size));
    let window = |kernel: usize, stride: usize, padding: usize, dilation: usize| {
        let field = widest?;
        let reach = ((kernel - 1) * dilation) as f64;
        Some(ReceptiveField {
            size: field.size + reach * field.step,
            centre: field.centre + (reach / 2.0 - padding as f64) * field.step,
            step: field.step * stride as f64,
        })
    };
    match node.op {
        Op::Input => Some(ReceptiveField { size: 1.0, step: 1.0, centre: 0.0 }),
        Op::Conv2d(c) => window(c.kernel[0], c.stride[0], c.padding[0], c.dilation[0]),
        Op::MaxPool(pool) => window(pool.kernel[0], pool.stride[0], pool.padding[0], 1),
        Op::AvgPool(pool) => window(pool.window.kernel[0], pool.window.stride[0], pool.window.padding[0], 1),
        Op::Blur(blur) => window(blur.size, blur.stride, blur.padding(), 1),
        Op::Subsample { stride } => window(1, stride, 0, 1),
        Op::GlobalAvgPool | Op::Linear(_) | Op::Flatten => None,
        // A gate from pooled values sees everything, its map does not.
        _ => widest,
    }
}

/// Effective receptive field of the unit (`y`, `x`) of a layer (Luo et al. 2016): magnitude of the gradient
/// of its values, summed over channels, with respect to the image; mean over images and colours: `[h, w]`.
///
/// # Errors
/// When the layer is no map, the unit lies outside or the network does not admit the images.
pub fn effective_receptive_field(
    subject: &Subject<'_>,
    images: &Tensor,
    layer: &str,
    (y, x): (usize, usize),
) -> Result<Tensor> {
    subject.map_layer(layer)?;
    let options = SensitivityOptions {
        of: Some(layer.to_owned()),
        to: vec!["input".into()],
        ..SensitivityOptions::default()
    };
    let mut program = subject.sensitivity(images, &options)?;
    program.forward(images.data());
    let shape = program.value().shape().to_vec();
    let &[_, _, rows, columns] = &shape[..] else {
        return Err(ExplainError::unfit(format!("layer {layer}"), "a map", format!("{shape:?}")));
    };
    if y >= rows || x >= columns {
        let expected = format!("inside {rows}×{columns}");
        return Err(ExplainError::unfit("unit", expected, format!("({y}, {x})")));
    }
    let mut seed = vec![0.0; shape.iter().product()];
    seed.chunks_mut(rows * columns).for_each(|plane| plane[y * columns + x] = 1.0);
    program.backward(&seed);
    let gradient = program.gradient("input").unwrap_or_else(|| Tensor::filled([1, 1, 1, 1], 0.0));
    let [_, _, h, w] = images.shape()[..] else { return Ok(Tensor::filled([0, 0], 0.0)) };
    let mut sums = vec![0.0f64; h * w];
    let planes = (gradient.len() / (h * w)) as f64;
    for plane in gradient.data().chunks(h * w) {
        sums.iter_mut().zip(plane).for_each(|(sum, &g)| *sum += f64::from(g.abs()) / planes);
    }
    Ok(Tensor::from_fn([h, w], |index| sums[index] as f32))
}
