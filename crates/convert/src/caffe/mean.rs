//! A mean image: as it is where it has the size of the network's pictures, else the mean of each colour.

use residuum_data::MeanImage;
use residuum_formats::RawTensor;

/// The mean of each colour of a mean image, `[1, 3, h, w]` or `[3, h, w]`, and how far the image is from it
/// at most; `None` for what is no such image, or holds values that are not finite.
///
/// # Errors
/// When the memory is not to be had.
pub fn channel_means(blob: &RawTensor) -> residuum_formats::Result<Option<([f64; 3], f64)>> {
    if planes(blob).is_none() {
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

/// A mean image of `side` x `side`, whose planes are blue, green, red from 0 to 255; `None` for what is no such
/// image, has another size, or holds values that are not finite.
///
/// # Errors
/// When the memory is not to be had.
pub fn mean_image(blob: &RawTensor, side: usize) -> residuum_formats::Result<Option<MeanImage>> {
    const LARGEST: f64 = 255.0;
    if planes(blob) != Some([side, side]) {
        return Ok(None);
    }
    let values = blob.to_f64()?;
    let area = side * side;
    let pixel = |at: usize| [2, 1, 0].map(|plane| (values.data()[plane * area + at] / LARGEST) as f32);
    Ok(MeanImage::new(side, (0..area).map(pixel).collect()).ok())
}

/// Rows and columns of an image of three planes.
fn planes(blob: &RawTensor) -> Option<[usize; 2]> {
    match *blob.shape() {
        [1, 3, h, w] | [3, h, w] if !blob.is_empty() => Some([h, w]),
        _ => None,
    }
}
