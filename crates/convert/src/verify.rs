//! Whether what was written answers as its source does.

use std::path::Path;

use residuum_classify::{Head, LoadOptions, Loaded, load_model};
use residuum_data::{Preprocess, RgbImage};
use residuum_engine::{Engine, InputShape};
use residuum_graph::{Graph, Weights};
use residuum_models::formula;
use residuum_tensor::Tensor;

use crate::error::Result;
use crate::load::Source;

/// How many random images are compared.
const IMAGES: usize = 4;

/// How far a written file's answers are from its source's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verification {
    /// Images compared.
    pub images: usize,
    /// Images for which both answer with the same class.
    pub agreeing: usize,
    /// Largest difference of two logits; not a number where one of them is.
    pub max_difference: f64,
    /// Largest magnitude of a logit of the source.
    pub largest_logit: f64,
}

impl Verification {
    /// The largest difference as a share of the largest logit.
    pub fn relative(&self) -> f64 {
        if self.max_difference == 0.0 { 0.0 } else { self.max_difference / self.largest_logit }
    }

    /// True where no logit is off by more than `tolerance` of the largest, and every class is the same.
    pub fn holds(&self, tolerance: f64) -> bool {
        self.relative() <= tolerance && self.agreeing == self.images
    }
}

/// Reads a file that was written from a source, and compares the answers of both on a batch of random images,
/// prepared as the network wants them.
///
/// # Errors
/// When the file cannot be read or one of the two cannot be compiled.
pub fn verify(engine: &Engine, source: &Source, path: impl AsRef<Path>) -> Result<Verification> {
    let name = source.loaded.model.name.as_str();
    let written: Loaded = load_model(path, &LoadOptions { model: Some(name), head: Head::Keep })?;
    let images = images(&source.loaded.info.preprocess);
    let expected = logits(engine, &source.graph, &source.weights, &images)?;
    let found = logits(engine, &written.model.graph, &written.weights, &images)?;
    Ok(compare(&expected, &found))
}

/// Random pictures after their preparation: every colour of every pixel drawn from all that a byte may
/// become.
fn images(preprocess: &Preprocess) -> Tensor {
    let side = preprocess.crop;
    let [black, white] =
        [0, 255].map(|byte| preprocess.apply(&RgbImage::from_fn(side, side, |_, _| [byte; 3])));
    let mut images = formula::input("convert", &[IMAGES, 3, side, side]);
    let values = images.data_mut().iter_mut();
    for (x, (black, white)) in values.zip(black.iter().zip(&white).cycle()) {
        // The formula's numbers lie in [−2, 2).
        *x = black + (*x + 2.0) / 4.0 * (white - black);
    }
    images
}

fn logits(engine: &Engine, graph: &Graph, weights: &Weights, images: &Tensor) -> Result<Vec<Vec<f32>>> {
    let shape = InputShape { n: images.shape()[0], h: images.shape()[2], w: images.shape()[3] };
    let mut program = engine.inference(graph, weights, shape, &[])?;
    let classes = program.classes();
    Ok(program.run(images.data()).chunks_exact(classes).map(<[f32]>::to_vec).collect())
}

fn compare(expected: &[Vec<f32>], found: &[Vec<f32>]) -> Verification {
    let differences = expected.iter().flatten().zip(found.iter().flatten());
    // `f64::max` would pass over what is not a number.
    let larger = |largest: f64, x: f64| if x > largest || x.is_nan() { x } else { largest };
    Verification {
        images: expected.len(),
        agreeing: expected.iter().zip(found).filter(|(a, b)| best(a) == best(b)).count(),
        max_difference: differences.map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).fold(0.0, larger),
        largest_logit: expected.iter().flatten().map(|&x| f64::from(x).abs()).fold(0.0, larger),
    }
}

/// The class of the largest logit, the first of equal ones.
fn best(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_classes_are_both_compared() {
        let a = vec![vec![1.0, -4.0], vec![0.5, 0.25]];
        assert!(compare(&a, &a).holds(0.0));
        let near = compare(&a, &[vec![1.0, -4.0], vec![0.5, 0.625]]);
        assert_eq!((near.agreeing, near.max_difference, near.largest_logit), (1, 0.375, 4.0));
        assert!(!near.holds(1.0), "the second image has another class");
        let not_a_number = compare(&a, &[vec![f32::NAN, -4.0], vec![0.5, 0.25]]);
        assert!(!not_a_number.holds(1.0));
    }
}
