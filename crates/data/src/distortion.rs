//! What else changes a training picture, after its place was drawn.
//!
//! ```text
//! bytes    TrivialAugment; RandAugment; then brightness, contrast and saturation by a factor 1 ± jitter each, in
//!          random order
//! planes   AlexNet's colour shift; then random erasing
//! ```

use serde::{Deserialize, Serialize};

use crate::erasing::Erasing;
use crate::error::{DataError, Result};
use crate::image::RgbImage;
use crate::mean::Mean;
use crate::operation::Operation;
use crate::preprocess::Preprocess;
use crate::rand_augment::RandAugment;
use crate::random::Stream;
use crate::trivial;

/// Random changes of colour and content; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distortion {
    /// Whether one operation of `TrivialAugment`'s wide space is applied (Müller and Hutter 2021).
    pub trivial_augment: bool,
    /// `RandAugment` with timm's "increasing" operations (Cubuk et al. 2019).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
    /// Largest change of brightness, contrast and saturation, each by a factor of its own that is uniform in
    /// `1 ± jitter` (fb.resnet.torch: 0.4); 0 is none.
    pub jitter: f32,
    /// Standard deviation of the shares of the colours' principal components that are added to a picture
    /// (Krizhevsky et al. 2012, §4.1: 0.1); 0 is none.
    pub colour_shift: f32,
    /// Random erasing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasing: Option<Erasing>,
}

/// Eigenvalues of the covariance of ImageNet's colours in 0..1, and the eigenvectors, one row per colour
/// (fb.resnet.torch).
const COLOUR_DEVIATIONS: [f32; 3] = [0.2175, 0.0188, 0.0045];
const COLOUR_AXES: [[f32; 3]; 3] =
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]];

impl Distortion {
    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("jitter", self.jitter), ("colour_shift", self.colour_shift)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(DataError::Settings(format!("{name}: expected 0 to 1, found {value}")));
            }
        }
        self.rand_augment.map_or(Ok(()), |policy| policy.check())?;
        self.erasing.map_or(Ok(()), |erasing| erasing.check())
    }

    /// Whether [`bytes`](Self::bytes) does anything.
    pub(crate) fn is_of_bytes(&self) -> bool {
        self.trivial_augment || self.rand_augment.is_some() || self.jitter > 0.0
    }

    /// Changes a picture before it is normalised. What comes from outside of it has the mean colour, where that
    /// is known, or is black, by the definition of each change.
    pub(crate) fn bytes(&self, mut image: RgbImage, mean: &Mean, random: &mut Stream) -> RgbImage {
        if self.trivial_augment {
            image = trivial::apply(&image, random);
        }
        if let Some(policy) = &self.rand_augment {
            image = policy.apply(image, mean.bytes(), random);
        }
        if self.jitter > 0.0 {
            let mut order: [fn(f32) -> Operation; 3] =
                [Operation::Brightness, Operation::Contrast, Operation::Colour];
            random.shuffle(&mut order);
            for operation in order {
                let factor = random.between(1.0 - self.jitter, 1.0 + self.jitter);
                image = operation(factor).apply(&image);
            }
        }
        image
    }

    /// Changes a normalised picture.
    pub(crate) fn planes(&self, preprocess: &Preprocess, random: &mut Stream, out: &mut [f32]) {
        let side = preprocess.crop;
        if self.colour_shift > 0.0 {
            let shares: [f32; 3] = std::array::from_fn(|_| self.colour_shift * random.normal());
            for (plane, out) in out.chunks_exact_mut(side * side).enumerate() {
                let colour = preprocess.colour_of(plane);
                let shift = shift(shares)[colour] / preprocess.std[colour];
                for value in out {
                    *value += shift;
                }
            }
        }
        if let Some(erasing) = &self.erasing {
            erasing.apply(out, side, random);
        }
    }
}

/// `Σ share · eigenvalue · eigenvector`, for colours in 0..1.
fn shift(shares: [f32; 3]) -> [f32; 3] {
    COLOUR_AXES.map(|row| (0..3).map(|k| shares[k] * COLOUR_DEVIATIONS[k] * row[k]).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{Augment, Padding};
    use crate::erasing::Erased;
    use crate::random::Purpose;

    fn prepare(distortion: &Distortion, augment: Augment, sample: u64) -> Vec<f32> {
        let image = RgbImage::from_fn(32, 32, |x, y| [8 * x as u8, 8 * y as u8, 100]);
        let preprocess = Preprocess::cifar10();
        let mut out = vec![f32::NAN; preprocess.len()];
        let mut random = Stream::new(1, Purpose::Augment, 0, sample);
        augment.apply_into(distortion, &image, &preprocess, &mut random, &mut out);
        assert!(out.iter().all(|value| value.is_finite()));
        out
    }

    /// Of shares (1, 0, 0): the first eigenvalue times the first column.
    #[test]
    fn the_colour_shift_adds_one_colour_to_every_pixel() {
        let expected = [-0.2175 * 0.5675, -0.2175 * 0.5808, -0.2175 * 0.5836];
        assert!(shift([1.0, 0.0, 0.0]).iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-7));
        let distortion = Distortion { colour_shift: 0.1, ..Distortion::default() };
        let plain = prepare(&Distortion::default(), Augment::None, 0);
        let mut first = Vec::new();
        for sample in 0..500 {
            let shifted = prepare(&distortion, Augment::None, sample);
            for (plane, std) in Preprocess::cifar10().std.iter().enumerate() {
                let differences: Vec<f32> =
                    (plane * 1024..(plane + 1) * 1024).map(|i| (shifted[i] - plain[i]) * std).collect();
                assert!(differences.iter().all(|d| (d - differences[0]).abs() < 1e-5));
                if plane == 0 {
                    first.push(differences[0]);
                }
            }
        }
        // Variance of red: 0.01 Σ (λ_k p_k)².
        let want: f32 = (0..3).map(|k| (0.1 * COLOUR_DEVIATIONS[k] * COLOUR_AXES[0][k]).powi(2)).sum();
        let found = first.iter().map(|x| x * x).sum::<f32>() / first.len() as f32;
        assert!((found / want - 1.0).abs() < 0.35, "{found} {want}");
    }

    #[test]
    fn everything_together_depends_on_the_stream_alone() {
        let all = Distortion {
            trivial_augment: true,
            rand_augment: Some(RandAugment { operations: 2, magnitude: 7.0, deviation: 0.5 }),
            jitter: 0.4,
            colour_shift: 0.1,
            erasing: Some(Erasing { probability: 0.5, value: Erased::Noise }),
        };
        all.check().unwrap();
        for augment in [
            Augment::None,
            Augment::CIFAR,
            Augment::Crop { pad: 4, padding: Padding::Reflect },
            Augment::Scale { min: 32, max: 40 },
            Augment::Area { min: 0.08 },
        ] {
            assert_eq!(prepare(&all, augment, 3), prepare(&all, augment, 3));
            assert_ne!(prepare(&all, augment, 3), prepare(&all, augment, 4));
        }
        for bad in [
            Distortion { jitter: 1.5, ..all },
            Distortion { colour_shift: f32::NAN, ..all },
            Distortion {
                rand_augment: all.rand_augment.map(|p| RandAugment { magnitude: 11.0, ..p }),
                ..all
            },
            Distortion { erasing: Some(Erasing { probability: 2.0, value: Erased::Zero }), ..all },
        ] {
            assert!(bad.check().is_err());
        }
    }
}
