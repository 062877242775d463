//! Prepared pictures to measure trained networks with.

use residuum_data::{Dataset, Loader, LoaderOptions, Preprocess};
use residuum_tensor::Tensor;

use crate::error::Result;

/// The first `count` pictures of a data set, or all, as `[n, 3, h, w]`.
///
/// # Errors
/// When a picture cannot be read.
pub(crate) fn sample(data: &Dataset, preprocess: &Preprocess, count: usize) -> Result<Tensor> {
    let options = LoaderOptions::evaluation(count.clamp(1, data.len()));
    let mut batches = Loader::new(data, preprocess, options)?;
    let first = batches.next().transpose()?;
    Ok(first
        .map_or_else(|| Tensor::filled([0, 3, preprocess.crop, preprocess.crop], 0.0), |batch| batch.images))
}
