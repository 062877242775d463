//! Which places matter, tried out: a patch hides one place after another (Zeiler & Fergus 2013, §4.2).

use residuum_tensor::Tensor;

use crate::batches::scores;
use crate::error::{ExplainError, Result};
use crate::subject::Subject;

/// The patch that hides a part of the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patch {
    /// Its side in pixels.
    pub size: usize,
    /// Pixels between its places.
    pub stride: usize,
    /// What it is filled with, after normalisation; 0 is the mean colour.
    pub fill: f32,
}

/// Score of the image less that of the image with the patch at each place, `[rows, columns]` of places.
/// `tell` hears after every batch how many of how many places are done, and stops the work by returning
/// false.
///
/// # Errors
/// When the patch is larger than the image or does not move, the class does not exist, or it was stopped.
pub fn occlusion(
    subject: &Subject<'_>,
    image: &Tensor,
    class: usize,
    patch: Patch,
    mut tell: impl FnMut(usize, usize) -> bool,
) -> Result<Tensor> {
    subject.check_class(class)?;
    let [_, _, h, w] = image.shape()[..] else {
        return Err(ExplainError::unfit("image", "[1, 3, h, w]", format!("{:?}", image.shape())));
    };
    let Patch { size, stride, fill } = patch;
    if size > h.min(w) || stride == 0 {
        let expected = format!("a size of at most {} and a stride of at least 1", h.min(w));
        return Err(ExplainError::unfit("patch", expected, format!("size {size}, stride {stride}")));
    }
    let places = |side: usize| (side - size) / stride + 1;
    let (rows, columns) = (places(h), places(w));
    let score = f64::from(subject.logits(image)?.data()[class]);
    let occluded = |place: usize| {
        let (top, left) = (place / columns * stride, place % columns * stride);
        let mut copy = image.data().to_vec();
        for row in copy.chunks_mut(w).enumerate().filter(|(y, _)| (top..top + size).contains(&(y % h))) {
            row.1[left..left + size].fill(fill);
        }
        copy
    };
    let scores = scores(subject, image, class, rows * columns, occluded, &mut tell)?;
    Ok(Tensor::from_fn([rows, columns], |place| (score - scores[place]) as f32))
}
