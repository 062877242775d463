//! Images made from inside: what excites a value most, and what gives the same features.

use residuum_engine::{Sensitivity, SensitivityOptions};
use residuum_tensor::Tensor;

use crate::error::Result;
use crate::subject::{Subject, one_hot};

/// How an image is made that a class's score is high for (Simonyan et al. 2013, §2; Yosinski et al. 2015).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Maximisation {
    /// Steps of ascent.
    pub steps: usize,
    /// Length of a step: the gradient is normalised.
    pub rate: f32,
    /// Share of the image that is lost in each step.
    pub decay: f32,
    /// Largest random shift in pixels before a step, undone after it.
    pub jitter: usize,
    /// Seed of the shifts.
    pub seed: u64,
}

/// An image that was made, and how the objective went.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthesised {
    /// `[1, 3, h, w]`, normalised.
    pub image: Tensor,
    /// Score before each step and after the last, or objective of an inversion.
    pub scores: Vec<f64>,
}

/// Ascends a class's score: `x ← (1 − decay) x + rate · g / ‖g‖`.
///
/// # Errors
/// When the class does not exist or the network does not admit the image.
pub fn maximise(
    subject: &Subject<'_>,
    start: &Tensor,
    class: usize,
    options: &Maximisation,
) -> Result<Synthesised> {
    subject.check_class(class)?;
    let asks = SensitivityOptions { to: vec!["input".into()], ..SensitivityOptions::default() };
    let mut program = subject.sensitivity(start, &asks)?;
    let seed = one_hot(&[class], subject.classes());
    let draws = residuum_engine::Draws::new(options.seed, 0);
    let [_, _, h, w] = start.shape()[..] else {
        return Ok(Synthesised { image: start.clone(), scores: vec![] });
    };
    let mut image = start.data().to_vec();
    let mut scores = Vec::with_capacity(options.steps + 1);
    for step in 0..options.steps {
        let shift = |stream: u32| {
            let reach = 2 * options.jitter + 1;
            (draws.uniform(stream, step) * reach as f64) as isize - options.jitter as isize
        };
        let (down, right) = (shift(0), shift(1));
        let moved = roll(&image, h, w, down, right);
        program.forward(&moved);
        scores.push(f64::from(program.value().data()[class]));
        program.backward(&seed);
        let gradient = program.gradient("input").map_or_else(Vec::new, Tensor::into_data);
        let gradient = roll(&gradient, h, w, -down, -right);
        let norm = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt().max(1e-30);
        for (x, g) in image.iter_mut().zip(&gradient) {
            *x = (1.0 - options.decay) * *x + options.rate * (f64::from(*g) / norm) as f32;
        }
    }
    program.forward(&image);
    scores.push(f64::from(program.value().data()[class]));
    Ok(Synthesised { image: Tensor::from_fn(start.shape().to_vec(), |index| image[index]), scores })
}

/// The planes shifted down and to the right, what leaves on one side coming in on the other.
fn roll(planes: &[f32], h: usize, w: usize, down: isize, right: isize) -> Vec<f32> {
    let source = |at: usize, by: isize, side: usize| (at as isize - by).rem_euclid(side as isize) as usize;
    (0..planes.len())
        .map(|index| {
            let (plane, y, x) = (index / (h * w), index / w % h, index % w);
            planes[(plane * h + source(y, down, h)) * w + source(x, right, w)]
        })
        .collect()
}

/// How an image is made from its features (Mahendran & Vedaldi 2015): descends
/// `‖F(x) − F₀‖² / ‖F₀‖² + bound · Σ |x|⁶ + variation · TV(x)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inversion {
    /// Steps of descent.
    pub steps: usize,
    /// Learning rate at the start; it falls linearly to zero.
    pub rate: f32,
    /// Weight of `Σ |x|⁶`, which keeps values in range.
    pub bound: f64,
    /// Weight of the total variation, which keeps the image smooth.
    pub variation: f64,
}

/// The parts of an inversion's objective at one image, and the gradient of the whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// `‖F(x) − F₀‖² / ‖F₀‖²`
    pub data: f64,
    /// `Σ |x|⁶`, not weighed.
    pub bound: f64,
    /// Sum of squared differences of neighbours, not weighed.
    pub variation: f64,
    /// The weighed sum.
    pub whole: f64,
    /// Gradient of the whole with respect to the image.
    pub gradient: Vec<f64>,
}

/// Momentum of the descent (Mahendran & Vedaldi 2015, §3.3).
const MOMENTUM: f32 = 0.9;

/// Makes an image whose features at `layer` are those given.
///
/// # Errors
/// When the layer does not exist or the network does not admit the image.
pub fn invert(
    subject: &Subject<'_>,
    start: &Tensor,
    layer: &str,
    features: &Tensor,
    options: &Inversion,
) -> Result<Synthesised> {
    let mut program = inversion_program(subject, start, layer)?;
    let mut image = start.clone();
    let mut velocity = vec![0.0f32; image.len()];
    let mut scores = Vec::with_capacity(options.steps);
    for step in 0..options.steps {
        let objective = objective(&mut program, &image, features, options);
        scores.push(objective.whole);
        let rate = options.rate * (1.0 - step as f32 / options.steps as f32);
        for ((x, v), g) in image.data_mut().iter_mut().zip(&mut velocity).zip(&objective.gradient) {
            *v = MOMENTUM * *v - rate * *g as f32;
            *x += *v;
        }
    }
    Ok(Synthesised { image, scores })
}

/// The objective of an inversion at one image.
///
/// # Errors
/// As [`invert`].
pub fn inversion_objective(
    subject: &Subject<'_>,
    image: &Tensor,
    layer: &str,
    features: &Tensor,
    options: &Inversion,
) -> Result<Objective> {
    let mut program = inversion_program(subject, image, layer)?;
    Ok(objective(&mut program, image, features, options))
}

fn inversion_program(subject: &Subject<'_>, image: &Tensor, layer: &str) -> Result<Sensitivity> {
    let options = SensitivityOptions {
        of: Some(layer.to_owned()),
        to: vec!["input".into()],
        ..SensitivityOptions::default()
    };
    subject.sensitivity(image, &options)
}

fn objective(program: &mut Sensitivity, image: &Tensor, features: &Tensor, options: &Inversion) -> Objective {
    program.forward(image.data());
    let value = program.value();
    let norm: f64 = features.data().iter().map(|&f| f64::from(f) * f64::from(f)).sum();
    let differences: Vec<f64> =
        value.data().iter().zip(features.data()).map(|(&a, &b)| f64::from(a) - f64::from(b)).collect();
    let data = differences.iter().map(|d| d * d).sum::<f64>() / norm;
    let seed: Vec<f32> = differences.iter().map(|d| (2.0 * d / norm) as f32).collect();
    program.backward(&seed);
    let gradient = program.gradient("input").map_or_else(Vec::new, Tensor::into_data);
    let mut gradient: Vec<f64> = gradient.iter().map(|&g| f64::from(g)).collect();
    let bound = image.data().iter().map(|&x| f64::from(x).powi(6)).sum();
    for (g, &x) in gradient.iter_mut().zip(image.data()) {
        *g += options.bound * 6.0 * f64::from(x).powi(5);
    }
    let variation = add_variation(image, options.variation, &mut gradient);
    let whole = data + options.bound * bound + options.variation * variation;
    Objective { data, bound, variation, whole, gradient }
}

/// Sum over the pixels that have a neighbour below and to the right of both squared differences; its
/// gradient, weighed, is added.
fn add_variation(image: &Tensor, weight: f64, gradient: &mut [f64]) -> f64 {
    let [_, _, h, w] = image.shape()[..] else { return 0.0 };
    let x = |at: usize| f64::from(image.data()[at]);
    let mut total = 0.0;
    for plane in 0..image.len() / (h * w) {
        for (row, column) in (0..h - 1).flat_map(|row| (0..w - 1).map(move |column| (row, column))) {
            let at = (plane * h + row) * w + column;
            for neighbour in [at + w, at + 1] {
                let difference = x(neighbour) - x(at);
                total += difference * difference;
                gradient[neighbour] += 2.0 * weight * difference;
                gradient[at] -= 2.0 * weight * difference;
            }
        }
    }
    total
}
