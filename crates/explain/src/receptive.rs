//! How far a unit sees: in theory, and in effect.

use residuum_engine::SensitivityOptions;
use residuum_graph::{Graph, ReceptiveField};
use residuum_tensor::Tensor;

use crate::error::{ExplainError, Result};
use crate::subject::Subject;

/// The receptive field of a layer's units, the widest of all paths to it.
///
/// # Errors
/// When the layer does not exist or sees everything at once.
pub fn receptive_field(graph: &Graph, layer: &str) -> Result<ReceptiveField> {
    let unfit = |found: &str| ExplainError::unfit(format!("layer {layer}"), "a module with a map", found);
    let id = graph.find(layer).ok_or_else(|| unfit("no such module"))?;
    graph.receptive_fields()[id.index()].ok_or_else(|| unfit("a layer that sees the whole image"))
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
