//! Many variants of one image, a batch at a time, through programs that are compiled once.

use residuum_engine::SensitivityOptions;
use residuum_tensor::Tensor;

use crate::error::{ExplainError, Result};
use crate::subject::{Compiled, Subject, batch_size, one_hot};

/// A gradient keeps every value of the forward pass, and takes about so many times the memory.
const GRADIENT_SHARE: usize = 4;

/// `count` variants of an image, as `make` gives them, through `run` in batches of at most `most`. `tell`
/// hears after every batch how many of how many are done; where it says no, the work ends.
fn in_batches(
    like: &Tensor,
    (count, most): (usize, usize),
    mut make: impl FnMut(usize) -> Vec<f32>,
    mut run: impl FnMut(Tensor) -> Result<()>,
    tell: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<()> {
    let mut done = 0;
    while done < count {
        let n = most.min(count - done);
        let mut shape = like.shape().to_vec();
        shape[0] = n;
        let values: Vec<f32> = (done..done + n).flat_map(&mut make).collect();
        run(Tensor::from_fn(shape, |index| values[index]))?;
        done += n;
        if !tell(done, count) {
            return Err(ExplainError::Stopped);
        }
    }
    Ok(())
}

/// Variants of an image that go through the network together.
fn most_images(like: &Tensor) -> usize {
    match *like.shape() {
        [_, _, h, w] => batch_size(h, w),
        _ => 1,
    }
}

/// The class's score of each variant of an image.
pub(crate) fn scores(
    subject: &Subject<'_>,
    like: &Tensor,
    class: usize,
    count: usize,
    make: impl FnMut(usize) -> Vec<f32>,
    tell: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Vec<f64>> {
    subject.check_class(class)?;
    let mut compiled = Compiled::default();
    let mut scores = Vec::with_capacity(count);
    let run = |batch: Tensor| {
        let program = compiled.of(batch.shape()[0], || subject.inference(&batch, &[]))?;
        let rows = program.run(batch.data()).chunks(subject.classes());
        scores.extend(rows.map(|row| f64::from(row[class])));
        Ok(())
    };
    in_batches(like, (count, most_images(like)), make, run, tell)?;
    Ok(scores)
}

/// The mean over all variants of the gradient of the class's score.
pub(crate) fn mean_gradient(
    subject: &Subject<'_>,
    like: &Tensor,
    class: usize,
    count: usize,
    make: impl FnMut(usize) -> Vec<f32>,
    tell: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Tensor> {
    subject.check_class(class)?;
    let asks = SensitivityOptions { to: vec!["input".into()], ..SensitivityOptions::default() };
    let mut compiled = Compiled::default();
    let mut sums = vec![0.0f64; like.len()];
    let run = |batch: Tensor| {
        let n = batch.shape()[0];
        let program = compiled.of(n, || subject.sensitivity(&batch, &asks))?;
        program.forward(batch.data());
        program.backward(&one_hot(&vec![class; n], subject.classes()));
        if let Some(gradient) = program.gradient("input") {
            for image in gradient.data().chunks(sums.len()) {
                sums.iter_mut().zip(image).for_each(|(sum, &g)| *sum += f64::from(g));
            }
        }
        Ok(())
    };
    let most = most_images(like).div_ceil(GRADIENT_SHARE);
    in_batches(like, (count, most), make, run, tell)?;
    Ok(Tensor::from_fn(like.shape().to_vec(), |index| (sums[index] / count as f64) as f32))
}
