//! Images made from inside: what excites a value most, and what gives the same features.

use residuum_engine::{Sensitivity, SensitivityOptions};
use residuum_tensor::Tensor;

use crate::error::{ExplainError, Result};
use crate::subject::{Subject, one_hot};

/// What an image is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// A high score for a class.
    Class(usize),
    /// A high mean of one channel of a layer.
    Channel {
        /// A module that makes a map.
        layer: String,
        /// Which of its channels.
        channel: usize,
    },
}

/// How an image is made that excites something (Simonyan et al. 2013, §2; Yosinski et al. 2015, §3).
#[derive(Clone, Debug, PartialEq)]
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
    /// Steps from one blur to the next; 0 for none.
    pub blur_every: usize,
    /// Standard deviation of the blur, in pixels.
    pub blur: f32,
    /// Least values of an image after a step, and greatest: an image of each.
    pub range: Option<[Vec<f32>; 2]>,
}

impl Default for Maximisation {
    /// Steps of length 1, nothing else.
    fn default() -> Self {
        Self { steps: 10, rate: 1.0, decay: 0.0, jitter: 0, seed: 0, blur_every: 0, blur: 0.0, range: None }
    }
}

/// An image that was made, and how the objective went.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthesised {
    /// `[1, 3, h, w]`, normalised.
    pub image: Tensor,
    /// Score before each step and after the last, or objective of an inversion.
    pub scores: Vec<f64>,
}

/// Ascends the goal's score: `x ← (1 − decay) x + rate · g / ‖g‖`. `tell` hears after every step how many of
/// how many are done, and stops the work by returning false.
///
/// # Errors
/// When there is no such class, layer or channel, the network does not admit the image, or it was stopped.
pub fn maximise(
    subject: &Subject<'_>,
    start: &Tensor,
    goal: &Goal,
    options: &Maximisation,
    mut tell: impl FnMut(usize, usize) -> bool,
) -> Result<Synthesised> {
    let [_, _, h, w] = start.shape()[..] else {
        return Err(ExplainError::unfit("image", "[1, 3, h, w]", format!("{:?}", start.shape())));
    };
    let (mut program, seed) = ascent(subject, start, goal)?;
    let score = |program: &Sensitivity| -> f64 {
        program.value().data().iter().zip(&seed).map(|(&value, &weight)| f64::from(value * weight)).sum()
    };
    let draws = residuum_engine::Draws::new(options.seed, 0);
    let mut image = start.data().to_vec();
    let mut scores = Vec::with_capacity(options.steps + 1);
    for step in 0..options.steps {
        let shift = |stream: u32| {
            let reach = 2 * options.jitter + 1;
            (draws.uniform(stream, step) * reach as f64) as isize - options.jitter as isize
        };
        let (down, right) = (shift(0), shift(1));
        program.forward(&roll(&image, h, w, down, right));
        scores.push(score(&program));
        program.backward(&seed);
        let gradient = program.gradient("input").map_or_else(Vec::new, Tensor::into_data);
        let gradient = roll(&gradient, h, w, -down, -right);
        let norm = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt().max(1e-30);
        for (x, g) in image.iter_mut().zip(&gradient) {
            *x = (1.0 - options.decay) * *x + options.rate * (f64::from(*g) / norm) as f32;
        }
        regularise(&mut image, [h, w], step + 1, options);
        if !tell(step + 1, options.steps) {
            return Err(ExplainError::Stopped);
        }
    }
    program.forward(&image);
    scores.push(score(&program));
    Ok(Synthesised { image: Tensor::from_fn(start.shape().to_vec(), |index| image[index]), scores })
}

/// A program that follows the goal's score, and the weights of the values that it is the sum of.
fn ascent(subject: &Subject<'_>, start: &Tensor, goal: &Goal) -> Result<(Sensitivity, Vec<f32>)> {
    let asks = |of| SensitivityOptions { of, to: vec!["input".into()], ..SensitivityOptions::default() };
    match goal {
        Goal::Class(class) => {
            subject.check_class(*class)?;
            Ok((subject.sensitivity(start, &asks(None))?, one_hot(&[*class], subject.classes())))
        }
        Goal::Channel { layer, channel } => {
            subject.check_channel(layer, *channel)?;
            let program = subject.sensitivity(start, &asks(Some(layer.clone())))?;
            let value = program.value();
            let area: usize = value.shape().iter().skip(2).product();
            let mut seed = vec![0.0; value.len()];
            seed[channel * area..][..area].fill(1.0 / area as f32);
            Ok((program, seed))
        }
    }
}

/// Keeps the image smooth and its colours possible, as far as that is asked for.
fn regularise(image: &mut [f32], [h, w]: [usize; 2], step: usize, options: &Maximisation) {
    if options.blur_every > 0 && step.is_multiple_of(options.blur_every) && options.blur > 0.0 {
        image.chunks_mut(h * w).for_each(|plane| blur(plane, [h, w], options.blur));
    }
    if let Some([least, greatest]) = &options.range {
        for (x, (&least, &greatest)) in image.iter_mut().zip(least.iter().zip(greatest)) {
            *x = x.clamp(least, greatest);
        }
    }
}

/// Gaussian blur of one plane, the border repeated.
fn blur(plane: &mut [f32], [h, w]: [usize; 2], deviation: f32) {
    let reach = (3.0 * deviation).ceil() as isize;
    let weight = |at: isize| (-0.5 * (at as f32 / deviation).powi(2)).exp();
    let total: f32 = (-reach..=reach).map(weight).sum();
    let mut along = |stride: usize, side: usize| {
        let before = plane.to_vec();
        for (index, out) in plane.iter_mut().enumerate() {
            let at = index / stride % side;
            let start = index - at * stride;
            let value = |by: isize| {
                let place = (at as isize + by).clamp(0, side as isize - 1) as usize;
                before[start + place * stride] * weight(by)
            };
            *out = (-reach..=reach).map(value).sum::<f32>() / total;
        }
    };
    along(1, w);
    along(w, h);
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

/// Makes an image whose features at `layer` are those given. `tell` as for [`maximise`].
///
/// # Errors
/// When the layer does not exist, its values are no such features, the network does not admit the image, or
/// it was stopped.
pub fn invert(
    subject: &Subject<'_>,
    start: &Tensor,
    layer: &str,
    features: &Tensor,
    options: &Inversion,
    mut tell: impl FnMut(usize, usize) -> bool,
) -> Result<Synthesised> {
    let mut program = inversion_program(subject, start, layer, features)?;
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
        if !tell(step + 1, options.steps) {
            return Err(ExplainError::Stopped);
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
    let mut program = inversion_program(subject, image, layer, features)?;
    Ok(objective(&mut program, image, features, options))
}

fn inversion_program(
    subject: &Subject<'_>,
    image: &Tensor,
    layer: &str,
    features: &Tensor,
) -> Result<Sensitivity> {
    let options = SensitivityOptions {
        of: Some(layer.to_owned()),
        to: vec!["input".into()],
        ..SensitivityOptions::default()
    };
    let program = subject.sensitivity(image, &options)?;
    let value = program.value();
    if value.shape() != features.shape() {
        let (expected, found) = (format!("{:?}", value.shape()), format!("{:?}", features.shape()));
        return Err(ExplainError::unfit(format!("features of layer {layer}"), expected, found));
    }
    Ok(program)
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
