//! Which pixels matter: gradients of a class's score with respect to the image.

use residuum_engine::{ReluRule, Sensitivity, SensitivityOptions};
use residuum_tensor::Tensor;

use crate::batches::mean_gradient;
use crate::error::{ExplainError, Result};
use crate::subject::{Subject, image_len, one_hot};

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

/// A layer's single units, followed back to the image.
#[derive(Debug)]
pub struct UnitGradient {
    program: Sensitivity,
    layer: String,
}

impl UnitGradient {
    /// For the units of a layer that is a map, and batches like `images`, `[n, 3, h, w]`.
    ///
    /// # Errors
    /// When the layer is no map or the network does not admit the images.
    pub fn new(subject: &Subject<'_>, images: &Tensor, layer: &str, rule: ReluRule) -> Result<Self> {
        subject.map_layer(layer)?;
        let options = SensitivityOptions {
            of: Some(layer.to_owned()),
            to: vec!["input".into()],
            rule,
            ..SensitivityOptions::default()
        };
        Ok(Self { program: subject.sensitivity(images, &options)?, layer: layer.to_owned() })
    }

    /// Gradient of one unit of each image, given by channel, row and column, with respect to the image:
    /// `[n, 3, h, w]`.
    ///
    /// # Errors
    /// When the batch is of another size, or there is no such unit.
    pub fn of(&mut self, images: &Tensor, units: &[[usize; 3]]) -> Result<Tensor> {
        let shape = self.program.shape();
        let found = format!("{:?} with {} units", images.shape(), units.len());
        let [n, _, h, w] = images.shape()[..] else {
            return Err(ExplainError::unfit("images", "[n, 3, h, w]", found));
        };
        if (n, h, w, units.len()) != (shape.n, shape.h, shape.w, n) {
            let expected = format!("{0} of {1}×{2} with {0} units", shape.n, shape.h, shape.w);
            return Err(ExplainError::unfit("images", expected, found));
        }
        self.program.forward(images.data());
        let value = self.program.value();
        let [_, channels, rows, columns] = match *value.shape() {
            [n, c, h, w] => [n, c, h, w],
            ref other => [other[0], other[1], 1, 1],
        };
        let mut seed = vec![0.0; value.len()];
        for (image, &[channel, row, column]) in units.iter().enumerate() {
            if channel >= channels || row >= rows || column >= columns {
                let what = format!("unit of layer {}", self.layer);
                let expected = format!("inside {channels} channels of {rows}×{columns}");
                return Err(ExplainError::unfit(what, expected, format!("({channel}, {row}, {column})")));
            }
            seed[((image * channels + channel) * rows + row) * columns + column] = 1.0;
        }
        self.program.backward(&seed);
        let nothing = || Tensor::filled(images.shape().to_vec(), 0.0);
        Ok(self.program.gradient("input").unwrap_or_else(nothing))
    }
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
/// noise of mean 0 and variance 1, `[samples, 3, h, w]` (see [`gaussian`](crate::gaussian)). `tell` hears how
/// many of how many samples are done, and stops the work by returning false.
///
/// # Errors
/// As [`input_gradient`], and when it was stopped.
pub fn smooth_grad(
    subject: &Subject<'_>,
    image: &Tensor,
    class: usize,
    spread: f32,
    noise: &Tensor,
    mut tell: impl FnMut(usize, usize) -> bool,
) -> Result<Tensor> {
    let range = image.data().iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x))
        - image.data().iter().fold(f32::INFINITY, |min, &x| min.min(x));
    let sigma = spread * range;
    let len = image_len(image);
    let sample = |index: usize| {
        let noise = &noise.data()[index * len..][..len];
        image.data().iter().zip(noise).map(|(x, n)| x + sigma * n).collect()
    };
    mean_gradient(subject, image, class, noise.len() / len.max(1), sample, &mut tell)
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
/// midpoints of `steps` pieces. `tell` as for [`smooth_grad`].
///
/// # Errors
/// As [`smooth_grad`].
pub fn integrated_gradients(
    subject: &Subject<'_>,
    image: &Tensor,
    baseline: &Tensor,
    class: usize,
    steps: usize,
    mut tell: impl FnMut(usize, usize) -> bool,
) -> Result<Integrated> {
    let between = |step: usize| {
        let alpha = (step as f32 + 0.5) / steps as f32;
        image.data().iter().zip(baseline.data()).map(|(x, b)| b + alpha * (x - b)).collect()
    };
    let mean = mean_gradient(subject, image, class, steps, between, &mut tell)?;
    let attribution = Tensor::from_fn(image.shape().to_vec(), |index| {
        (image.data()[index] - baseline.data()[index]) * mean.data()[index]
    });
    let score = |image: &Tensor| subject.logits(image).map(|logits| f64::from(logits.data()[class]));
    let sum = attribution.data().iter().map(|&a| f64::from(a)).sum();
    Ok(Integrated { sum, gap: score(image)? - score(baseline)?, attribution })
}
