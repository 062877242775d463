//! Prepared pictures to measure networks with.

use residuum_tensor::Tensor;

use crate::dataset::Dataset;
use crate::error::Result;
use crate::loader::{Loader, LoaderOptions};
use crate::preprocess::Preprocess;

/// The first `count` pictures of a data set, or all, as `[n, 3, h, w]`.
///
/// # Errors
/// When a picture cannot be read.
pub fn sample(data: &Dataset, preprocess: &Preprocess, count: usize) -> Result<Tensor> {
    let options = LoaderOptions::evaluation(count.clamp(1, data.len().max(1)));
    let mut batches = Loader::new(data, preprocess, options)?;
    let none = || Tensor::filled([0, 3, preprocess.crop, preprocess.crop], 0.0);
    Ok(batches.next().transpose()?.map_or_else(none, |batch| batch.images))
}
