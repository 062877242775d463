//! A mean image, of which our preparation keeps the mean of each colour.

use residuum_formats::RawTensor;

/// The mean of each colour of a mean image, `[1, 3, h, w]` or `[3, h, w]`, and how far the image is from it
/// at most; `None` for what is no such image, or holds values that are not finite.
///
/// # Errors
/// When the memory is not to be had.
pub fn channel_means(blob: &RawTensor) -> residuum_formats::Result<Option<([f64; 3], f64)>> {
    let is_image = matches!(blob.shape(), [1, 3, _, _] | [3, _, _]);
    if !is_image || blob.is_empty() {
        return Ok(None);
    }
    let values = blob.to_f64()?;
    let planes = values.data().chunks_exact(values.len() / 3);
    let (mut means, mut farthest) = ([0.0; 3], 0.0f64);
    for (mean, plane) in means.iter_mut().zip(planes) {
        *mean = plane.iter().sum::<f64>() / plane.len() as f64;
        farthest = plane.iter().map(|value| (value - *mean).abs()).fold(farthest, f64::max);
    }
    Ok(means.iter().all(|mean| mean.is_finite()).then_some((means, farthest)))
}
