//! What pictures tell: how the numbers of a network's values are distributed, and what bytes do to them.

use residuum_classify::ClassifyError;
use residuum_data::{Dataset, Loader, LoaderOptions, Preprocess};
use residuum_engine::{Inference, InputShape};
use residuum_tensor::{Quantizer, Tensor};

use super::histogram::{Histogram, Range};
use super::{Method, PARTS};
use crate::error::{ConvertError, Result};

/// Largest side of pictures of which many go through the network together.
const SMALL_SIDE: usize = 64;

/// How pictures are prepared, and who hears of them.
pub(super) struct Pictures<'a> {
    pub(super) preprocess: &'a Preprocess,
    pub(super) threads: usize,
    /// Hears how many pictures were done since the last time.
    pub(super) tell: &'a mut dyn FnMut(usize),
}

impl Pictures<'_> {
    /// Shows all pictures, some at a time, with the shape of what is shown.
    fn each(&mut self, data: &Dataset, mut see: impl FnMut(&[f32], InputShape) -> Result<()>) -> Result<()> {
        let side = self.preprocess.crop;
        let size = if side <= SMALL_SIDE { 50 } else { 4 };
        let options =
            LoaderOptions { threads: self.threads, ..LoaderOptions::evaluation(size.min(data.len().max(1))) };
        for batch in Loader::new(data, self.preprocess, options).map_err(ClassifyError::from)? {
            let batch = batch.map_err(ClassifyError::from)?;
            let n = batch.labels.len();
            see(batch.images.data(), InputShape { n, h: side, w: side })?;
            (self.tell)(n);
        }
        Ok(())
    }
}

type Compile<'a> = dyn Fn(InputShape, &[String]) -> Result<Inference> + 'a;

/// The values of some nodes of a network, compiled anew only where the size of a batch changes.
pub(super) struct Values<'a> {
    compile: &'a Compile<'a>,
    names: &'a [String],
    program: Option<Inference>,
}

impl<'a> Values<'a> {
    pub(super) fn new(compile: &'a Compile<'a>, names: &'a [String]) -> Self {
        Self { compile, names, program: None }
    }

    fn of(&mut self, images: &[f32], shape: InputShape) -> Result<Vec<Vec<f32>>> {
        let program = match self.program.take().filter(|program| program.shape() == shape) {
            Some(program) => program,
            None => (self.compile)(shape, self.names)?,
        };
        let program = self.program.insert(program);
        program.run(images);
        let value = |name: &String| program.tap(name).expect("every node is tapped");
        Ok(self.names.iter().map(value).map(Tensor::into_data).collect())
    }
}

/// A grid for each value.
///
/// # Errors
/// When a picture cannot be read, the network cannot be compiled, or a value is not finite, which `fail` makes an
/// error of.
pub(super) fn grids(
    pictures: &mut Pictures<'_>,
    data: &Dataset,
    mut values: Values<'_>,
    method: Method,
    fail: impl Fn(String) -> ConvertError,
) -> Result<Vec<Quantizer>> {
    let mut ranges = vec![Range::default(); values.names.len()];
    pictures.each(data, |images, shape| {
        let values = values.of(images, shape)?;
        ranges.iter_mut().zip(&values).for_each(|(range, values)| range.see(values));
        Ok(())
    })?;
    if let Some((name, _)) = values.names.iter().zip(&ranges).find(|(_, range)| !range.is_finite()) {
        return Err(fail(format!("{name}: its values are not finite; the weights are damaged or diverged")));
    }
    if method == Method::MinMax {
        return Ok(ranges.into_iter().map(Range::grid).collect());
    }
    let mut histograms: Vec<Histogram> = ranges.into_iter().map(Histogram::new).collect();
    pictures.each(data, |images, shape| {
        let values = values.of(images, shape)?;
        histograms.iter_mut().zip(&values).for_each(|(histogram, values)| histogram.see(values));
        Ok(())
    })?;
    let grid = |histogram: &Histogram| match method {
        Method::Percentile(percent) => histogram.percentile(percent),
        _ => histogram.least_error(PARTS),
    };
    Ok(histograms.iter().map(grid).collect())
}

/// The energy of each value over that of its error, in decibels.
///
/// # Errors
/// When a picture cannot be read, or a network cannot be compiled.
pub(super) fn signal_to_noise(
    pictures: &mut Pictures<'_>,
    data: &Dataset,
    mut floats: Values<'_>,
    mut bytes: Values<'_>,
) -> Result<Vec<f64>> {
    let mut sums = vec![(0.0f64, 0.0f64); floats.names.len()];
    pictures.each(data, |images, shape| {
        let (exact, found) = (floats.of(images, shape)?, bytes.of(images, shape)?);
        for ((signal, noise), (exact, found)) in sums.iter_mut().zip(exact.iter().zip(&found)) {
            for (&x, &y) in exact.iter().zip(found) {
                *signal += f64::from(x) * f64::from(x);
                *noise += (f64::from(x) - f64::from(y)).powi(2);
            }
        }
        Ok(())
    })?;
    let ratio = |(signal, noise): (f64, f64)| signal.max(f64::MIN_POSITIVE) / noise.max(f64::MIN_POSITIVE);
    Ok(sums.into_iter().map(|sums| 10.0 * ratio(sums).log10()).collect())
}
