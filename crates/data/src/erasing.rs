//! Random erasing (Zhong et al. 2017, arXiv 1708.04896, §3.2, with torchvision's limits).
//!
//! ```text
//! with probability p, up to ten times:
//!     area   uniform in 0.02 .. 1/3 of the picture, aspect log-uniform in 0.3 .. 3.3
//!     height = round(√(area · aspect)), width = round(√(area / aspect))
//!     where both are less than the picture's: erased at a uniform place, done
//! ```
//! The prepared picture is erased, after it was normalised.

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::random::Stream;

/// What an erased place holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Erased {
    /// Zero: the mean colour.
    #[default]
    Zero,
    /// One normal number for each colour.
    Colour,
    /// A normal number for each colour of each pixel.
    Noise,
}

/// Random erasing of training pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasing {
    /// Share of the pictures.
    pub probability: f32,
    /// What the place holds.
    #[serde(default)]
    pub value: Erased,
}

const AREA: (f64, f64) = (0.02, 1.0 / 3.0);
const ASPECT: (f64, f64) = (0.3, 3.3);
const TRIES: usize = 10;

impl Erasing {
    /// Whether the probability is one.
    ///
    /// # Errors
    /// When it is not in 0 to 1.
    pub fn check(&self) -> Result<()> {
        if (0.0..=1.0).contains(&self.probability) {
            return Ok(());
        }
        Err(DataError::Settings(format!("erasing.probability: expected 0 to 1, found {}", self.probability)))
    }

    /// Erases a part of a picture of three planes, `side` x `side` each.
    pub(crate) fn apply(self, picture: &mut [f32], side: usize, random: &mut Stream) {
        if random.unit() >= self.probability {
            return;
        }
        for _ in 0..TRIES {
            let area = (side * side) as f64 * random.within(AREA);
            let aspect = random.log_within(ASPECT);
            let [height, width] =
                [area * aspect, area / aspect].map(|square| square.sqrt().round_ties_even() as usize);
            if height < side && width < side {
                let top = random.below((side - height + 1) as u32) as usize;
                let left = random.below((side - width + 1) as u32) as usize;
                for plane in picture.chunks_exact_mut(side * side) {
                    let colour = if self.value == Erased::Colour { random.normal() } else { 0.0 };
                    for row in plane.chunks_exact_mut(side).skip(top).take(height) {
                        row[left..left + width].fill_with(|| match self.value {
                            Erased::Noise => random.normal(),
                            Erased::Zero | Erased::Colour => colour,
                        });
                    }
                }
                return;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "what is not erased stays to the bit")]
mod tests {
    use super::*;
    use crate::random::Purpose;

    const SIDE: usize = 32;

    fn erase(erasing: Erasing, sample: u64) -> Vec<f32> {
        let mut picture = vec![7.0; 3 * SIDE * SIDE];
        erasing.apply(&mut picture, SIDE, &mut Stream::new(2, Purpose::Augment, 0, sample));
        picture
    }

    /// Height and width of the erased place, if it is one rectangle, the same in every plane.
    fn rectangle(picture: &[f32]) -> Option<(usize, usize)> {
        let is_erased: Vec<bool> = picture.iter().map(|x| (*x - 7.0).abs() > 0.0).collect();
        let plane = &is_erased[..SIDE * SIDE];
        assert!(is_erased.chunks_exact(SIDE * SIDE).all(|other| other == plane));
        let rows = plane.chunks_exact(SIDE).filter(|row| row.contains(&true)).count();
        let columns = (0..SIDE).filter(|x| plane.iter().skip(*x).step_by(SIDE).any(|is| *is)).count();
        assert_eq!(plane.iter().filter(|is| **is).count(), rows * columns);
        (rows > 0).then_some((rows, columns))
    }

    #[test]
    fn a_rectangle_within_the_limits_is_erased_with_the_probability() {
        let erasing = Erasing { probability: 0.25, value: Erased::Zero };
        let found: Vec<(usize, usize)> =
            (0..2000).filter_map(|sample| rectangle(&erase(erasing, sample))).collect();
        // Five standard errors of 2000 draws of probability 1/4.
        assert!((found.len() as f64 - 500.0).abs() < 97.0, "{}", found.len());
        for &(height, width) in &found {
            // A rounded side is off by half a pixel at most.
            let (h, w) = (height as f64, width as f64);
            let area = (SIDE * SIDE) as f64;
            assert!((h + 0.5) * (w + 0.5) >= 0.02 * area && (h - 0.5) * (w - 0.5) <= area / 3.0, "{h} x {w}");
            assert!((h + 0.5) / (w - 0.5) >= 0.3 && (h - 0.5) / (w + 0.5) <= 3.3, "{h} x {w}");
        }
        // Log-uniform: as many are taller as are wider.
        let taller = found.iter().filter(|(h, w)| h > w).count() as f64;
        let wider = found.iter().filter(|(h, w)| h < w).count() as f64;
        assert!((taller / (taller + wider) - 0.5).abs() < 0.12, "{taller} {wider}");
        assert_eq!(rectangle(&erase(Erasing { probability: 0.0, ..erasing }, 1)), None);
    }

    #[test]
    fn the_place_holds_what_was_asked_for() {
        let sample = |value| erase(Erasing { probability: 1.0, value }, 4);
        let erased = |picture: &[f32]| -> Vec<f32> {
            picture.iter().copied().filter(|x| (*x - 7.0).abs() > 0.0).collect()
        };
        assert!(erased(&sample(Erased::Zero)).iter().all(|x| *x == 0.0));
        let colours = erased(&sample(Erased::Colour));
        let mut distinct = colours.clone();
        distinct.dedup();
        assert_eq!(distinct.len(), 3);
        let noise = erased(&sample(Erased::Noise));
        let mean = noise.iter().sum::<f32>() / noise.len() as f32;
        let square = noise.iter().map(|x| x * x).sum::<f32>() / noise.len() as f32;
        assert!(noise.len() > 60 && mean.abs() < 0.5 && (square - 1.0).abs() < 0.7, "{mean} {square}");
        for bad in [-0.1, 1.1, f32::NAN] {
            assert!(Erasing { probability: bad, value: Erased::Zero }.check().is_err());
        }
    }
}
