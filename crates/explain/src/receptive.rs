//! How far a unit sees: in theory, and in effect.

use residuum_engine::SensitivityOptions;
use residuum_graph::{Graph, ReceptiveField};
use residuum_tensor::Tensor;

use crate::error::{ExplainError, Result};
use crate::subject::{Compiled, Subject, batches, part};

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
/// `tell` hears after every batch how many images are done, and stops the work by returning false: the mean is
/// of those then.
///
/// # Errors
/// When the layer is no map, the unit lies outside or the network does not admit the images.
pub fn effective_receptive_field(
    subject: &Subject<'_>,
    images: &Tensor,
    layer: &str,
    unit: (usize, usize),
    mut tell: impl FnMut(usize) -> bool,
) -> Result<Tensor> {
    subject.map_layer(layer)?;
    let options = SensitivityOptions {
        of: Some(layer.to_owned()),
        to: vec!["input".into()],
        ..SensitivityOptions::default()
    };
    let (mut sums, mut planes) = (Vec::new(), 0);
    let mut compiled = Compiled::default();
    for range in batches(images) {
        let part = part(images, &range);
        let program = compiled.of(range.len(), || subject.sensitivity(&part, &options))?;
        program.forward(part.data());
        program.backward(&seed_at(program.value().shape(), layer, unit)?);
        let Some(gradient) = program.gradient("input") else { break };
        let area = gradient.shape()[2..].iter().product();
        sums.resize(area, 0.0f64);
        for plane in gradient.data().chunks(area) {
            sums.iter_mut().zip(plane).for_each(|(sum, &g)| *sum += f64::from(g.abs()));
            planes += 1;
        }
        if !tell(range.end) {
            break;
        }
    }
    let side = |axis: usize| if sums.is_empty() { 0 } else { images.shape()[axis] };
    Ok(Tensor::from_fn([side(2), side(3)], |index| (sums[index] / f64::from(planes)) as f32))
}

/// A seed that asks for the sum over channels of one unit of every image.
fn seed_at(shape: &[usize], layer: &str, (y, x): (usize, usize)) -> Result<Vec<f32>> {
    let &[_, _, rows, columns] = shape else {
        return Err(ExplainError::unfit(format!("layer {layer}"), "a map", format!("{shape:?}")));
    };
    if y >= rows || x >= columns {
        let expected = format!("inside {rows}×{columns}");
        return Err(ExplainError::unfit("unit", expected, format!("({y}, {x})")));
    }
    let mut seed = vec![0.0; shape.iter().product()];
    seed.chunks_mut(rows * columns).for_each(|plane| plane[y * columns + x] = 1.0);
    Ok(seed)
}

/// Share of the largest influence that counts: what lies within two deviations of a Gaussian.
const COUNTS: f64 = 1.0 - 0.9545;

/// Side of a square of as many pixels as have more than 4.55 % of the largest influence (Luo et al. 2016, §3).
pub fn effective_side(field: &Tensor) -> f64 {
    let largest = field.data().iter().copied().fold(0.0f32, f32::max);
    let counts = field.data().iter().filter(|&&x| f64::from(x) > COUNTS * f64::from(largest)).count();
    (counts as f64).sqrt()
}
