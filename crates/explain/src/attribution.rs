//! Which pixels matter: gradients of a class's score with respect to the image.

use residuum_engine::{ReluRule, SensitivityOptions};
use residuum_tensor::Tensor;

use crate::error::Result;
use crate::subject::{Subject, image_len, one_hot};

/// Images in a batch of copies; bounds the memory of methods that average over many.
const MOST_COPIES: usize = 16;

/// Gradient of each image's score for its class with respect to the image, `[n, 3, h, w]`: with the
/// derivative (Simonyan et al. 2013), by deconvolution (Zeiler & Fergus 2013) or guided (Springenberg et
/// al. 2014).
///
/// # Errors
/// When a class does not exist or the network does not admit the images.
pub fn input_gradient(
    subject: &Subject<'_>,
    images: &Tensor,
    classes: &[usize],
    rule: ReluRule,
) -> Result<Tensor> {
    classes.iter().try_for_each(|&class| subject.check_class(class))?;
    let options = SensitivityOptions { to: vec!["input".into()], rule, ..SensitivityOptions::default() };
    let mut program = subject.sensitivity(images, &options)?;
    program.forward(images.data());
    program.backward(&one_hot(classes, subject.classes()));
    Ok(program.gradient("input").unwrap_or_else(|| Tensor::filled(images.shape().to_vec(), 0.0)))
}

/// Largest magnitude over the colours at each pixel of a gradient `[n, 3, h, w]`: `[n, h, w]`.
pub fn saliency(gradient: &Tensor) -> Tensor {
    let [n, c, h, w] = gradient.shape()[..] else { return Tensor::filled([0], 0.0) };
    Tensor::from_fn([n, h, w], |index| {
        let (image, pixel) = (index / (h * w), index % (h * w));
        let values = (0..c).map(|channel| gradient.data()[(image * c + channel) * h * w + pixel].abs());
        values.fold(0.0, f32::max)
    })
}

/// Element by element, gradient times image.
pub fn times_input(gradient: &Tensor, image: &Tensor) -> Tensor {
    Tensor::from_fn(gradient.shape().to_vec(), |index| gradient.data()[index] * image.data()[index])
}

/// `SmoothGrad` (Smilkov et al. 2017): the mean gradient at `image + spread · (max − min) · noise_i`, for
/// noise of mean 0 and variance 1, `[samples, 3, h, w]` (see [`gaussian`](crate::gaussian)).
///
/// # Errors
/// As [`input_gradient`].
pub fn smooth_grad(
    subject: &Subject<'_>,
    image: &Tensor,
    class: usize,
    spread: f32,
    noise: &Tensor,
) -> Result<Tensor> {
    let range = image.data().iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x))
        - image.data().iter().fold(f32::INFINITY, |min, &x| min.min(x));
    let sigma = spread * range;
    let len = image_len(image);
    let samples: Vec<Vec<f32>> = noise
        .data()
        .chunks(len)
        .map(|noise| image.data().iter().zip(noise).map(|(x, n)| x + sigma * n).collect())
        .collect();
    mean_gradient(subject, image, class, &samples)
}

/// What [`integrated_gradients`] finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Integrated {
    /// Share of every number of the image in the difference of the scores, `[1, 3, h, w]`.
    pub attribution: Tensor,
    /// Sum of the attribution.
    pub sum: f64,
    /// Score of the image less that of the baseline; for many steps equal to the sum (completeness).
    pub gap: f64,
}

/// Integrated gradients (Sundararajan, Taly & Yan 2017) along the straight line from a baseline, by the
/// midpoints of `steps` pieces.
///
/// # Errors
/// As [`input_gradient`].
pub fn integrated_gradients(
    subject: &Subject<'_>,
    image: &Tensor,
    baseline: &Tensor,
    class: usize,
    steps: usize,
) -> Result<Integrated> {
    let between = |alpha: f32| {
        image.data().iter().zip(baseline.data()).map(|(x, b)| b + alpha * (x - b)).collect::<Vec<f32>>()
    };
    let samples: Vec<Vec<f32>> = (0..steps).map(|step| between((step as f32 + 0.5) / steps as f32)).collect();
    let mean = mean_gradient(subject, image, class, &samples)?;
    let attribution = Tensor::from_fn(image.shape().to_vec(), |index| {
        (image.data()[index] - baseline.data()[index]) * mean.data()[index]
    });
    let score = |image: &Tensor| subject.logits(image).map(|logits| f64::from(logits.data()[class]));
    let sum = attribution.data().iter().map(|&a| f64::from(a)).sum();
    Ok(Integrated { sum, gap: score(image)? - score(baseline)?, attribution })
}

/// Mean over all samples of the gradient of the class's score.
fn mean_gradient(subject: &Subject<'_>, like: &Tensor, class: usize, samples: &[Vec<f32>]) -> Result<Tensor> {
    let mut sums = vec![0.0f64; image_len(like)];
    for chunk in samples.chunks(MOST_COPIES) {
        let mut shape = like.shape().to_vec();
        shape[0] = chunk.len();
        let flat = chunk.concat();
        let batch = Tensor::from_fn(shape, |index| flat[index]);
        let gradient = input_gradient(subject, &batch, &vec![class; chunk.len()], ReluRule::Derivative)?;
        for image in gradient.data().chunks(sums.len()) {
            sums.iter_mut().zip(image).for_each(|(sum, &g)| *sum += f64::from(g));
        }
    }
    Ok(Tensor::from_fn(like.shape().to_vec(), |index| (sums[index] / samples.len() as f64) as f32))
}
