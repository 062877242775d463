//! Which places matter, tried out: a patch hides one place after another (Zeiler & Fergus 2013, §4.2).

use residuum_tensor::Tensor;

use crate::error::{ExplainError, Result};
use crate::subject::Subject;

/// Occluded images that are answered at once.
const BATCH: usize = 32;

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
/// false, whereupon what is not done stays not-a-number.
///
/// # Errors
/// When the patch is larger than the image or does not move, or the class does not exist.
pub fn occlusion(
    subject: &Subject<'_>,
    image: &Tensor,
    class: usize,
    patch: Patch,
    mut tell: impl FnMut(usize, usize) -> bool,
) -> Result<Tensor> {
    subject.check_class(class)?;
    let [_, colours, h, w] = image.shape()[..] else {
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
    let mut map = vec![f32::NAN; rows * columns];
    let all: Vec<usize> = (0..rows * columns).collect();
    for chunk in all.chunks(BATCH) {
        let mut batch = image.data().repeat(chunk.len());
        for (copy, &place) in batch.chunks_mut(colours * h * w).zip(chunk) {
            let (top, left) = (place / columns * stride, place % columns * stride);
            for row in copy.chunks_mut(w).enumerate().filter(|(y, _)| (top..top + size).contains(&(y % h))) {
                row.1[left..left + size].fill(fill);
            }
        }
        let batch = Tensor::from_fn([chunk.len(), colours, h, w], |index| batch[index]);
        let logits = subject.logits(&batch)?;
        for (&place, row) in chunk.iter().zip(logits.data().chunks(subject.classes())) {
            map[place] = (score - f64::from(row[class])) as f32;
        }
        if !tell(chunk[chunk.len() - 1] + 1, rows * columns) {
            break;
        }
    }
    Ok(Tensor::from_fn([rows, columns], |index| map[index]))
}
