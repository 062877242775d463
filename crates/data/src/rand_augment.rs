//! `RandAugment` (Cubuk et al. 2019, arXiv 1909.13719) with timm's "increasing" operations, as "ResNet strikes back"
//! trains with it (`rand-m7-mstd0.5-inc1`): so many operations of 15, each as likely as another and applied half the
//! time, their magnitude m of 10 normal about the one asked for.
//!
//! ```text
//! shear x, y                                  ± 0.3 m/10
//! translate x, y                              ± 0.45 m/10 of the side
//! rotate                                      ± 30 m/10 degrees
//! brightness, colour, contrast, sharpness     factor 1 ± 0.9 m/10, at least 0.1
//! posterise                                   4 − ⌊4 m/10⌋ bits
//! solarise                                    from 256 − ⌊256 m/10⌋
//! solarise by adding                          ⌊110 m/10⌋ to values below 128
//! invert, auto-contrast, equalise             no magnitude
//! ```
//! Geometry takes the weighted mean of two or of four pixels along each axis, drawn anew each time; what comes from
//! outside has the mean colour.

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::image::RgbImage;
use crate::operation::{Canvas, Filter, Operation};
use crate::random::Stream;

const LARGEST: f64 = 10.0;
const OPERATIONS: u32 = 15;

/// How many operations, and how strong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandAugment {
    /// Operations on a picture, one after the other.
    #[serde(default = "two")]
    pub operations: u32,
    /// Their magnitude, 0 to 10.
    pub magnitude: f32,
    /// Standard deviation of the magnitude, which stays within 0 to 10.
    #[serde(default)]
    pub deviation: f32,
}

const fn two() -> u32 {
    2
}

impl RandAugment {
    pub(crate) fn check(&self) -> Result<()> {
        const MOST: u32 = 16;
        let refuse = |key: &str, expected: &str, found: String| {
            Err(DataError::Settings(format!("rand_augment.{key}: expected {expected}, found {found}")))
        };
        if !(1..=MOST).contains(&self.operations) {
            return refuse("operations", "1 to 16", self.operations.to_string());
        }
        for (key, value) in [("magnitude", self.magnitude), ("deviation", self.deviation)] {
            if !(0.0..=10.0).contains(&value) {
                return refuse(key, "0 to 10", value.to_string());
            }
        }
        Ok(())
    }

    /// Changes a picture; what comes from outside of it has the colour `outside`.
    pub(crate) fn apply(&self, mut image: RgbImage, outside: [u8; 3], random: &mut Stream) -> RgbImage {
        for _ in 0..self.operations {
            let (operation, canvas) = self.draw((image.width(), image.height()), outside, random);
            if let Some(operation) = operation {
                image = operation.apply_on(&image, canvas);
            }
        }
        image
    }

    /// An operation, half the time none, and what it draws on.
    fn draw(
        &self,
        size: (usize, usize),
        outside: [u8; 3],
        random: &mut Stream,
    ) -> (Option<Operation>, Canvas) {
        let (operation, is_applied) = (random.below(OPERATIONS), random.coin());
        let magnitude = f64::from(self.magnitude + self.deviation * random.normal()).clamp(0.0, LARGEST);
        let operation = choose(operation, magnitude / LARGEST, random.coin(), size);
        let filter = if random.coin() { Filter::Bilinear } else { Filter::Bicubic };
        (is_applied.then_some(operation), Canvas { filter, outside })
    }
}

/// An operation at a share of the largest magnitude.
fn choose(operation: u32, share: f64, is_reversed: bool, (width, height): (usize, usize)) -> Operation {
    let signed = |largest: f64| if is_reversed { -largest * share } else { largest * share };
    let factor = || (1.0 + signed(0.9)).max(0.1) as f32;
    match operation {
        0 => Operation::AutoContrast,
        1 => Operation::Equalise,
        2 => Operation::Invert,
        3 => Operation::Rotate(signed(30.0)),
        4 => Operation::Posterise(4 - (4.0 * share) as u32),
        5 => Operation::Solarise(256.0 - (256.0 * share).floor()),
        6 => Operation::SolariseAdd((110.0 * share) as u8),
        7 => Operation::Colour(factor()),
        8 => Operation::Contrast(factor()),
        9 => Operation::Brightness(factor()),
        10 => Operation::Sharpness(factor()),
        11 => Operation::ShearX(signed(0.3)),
        12 => Operation::ShearY(signed(0.3)),
        13 => Operation::TranslateX(signed(0.45) * width as f64),
        _ => Operation::TranslateY(signed(0.45) * height as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    const SIZE: (usize, usize) = (200, 100);

    #[test]
    fn operations_at_magnitudes_are_those_of_the_definition() {
        let at = |operation, magnitude: f64| choose(operation, magnitude / LARGEST, false, SIZE);
        let back = |operation, magnitude: f64| choose(operation, magnitude / LARGEST, true, SIZE);
        assert_eq!(at(3, 10.0), Operation::Rotate(30.0));
        assert_eq!(back(3, 5.0), Operation::Rotate(-15.0));
        assert_eq!([0.0, 2.4, 2.5, 7.0, 10.0].map(|m| at(4, m)), [4, 4, 3, 2, 0].map(Operation::Posterise));
        assert_eq!([0.0, 7.0, 10.0].map(|m| at(5, m)), [256.0, 77.0, 0.0].map(Operation::Solarise));
        assert_eq!([0.0, 7.5, 10.0].map(|m| at(6, m)), [0, 82, 110].map(Operation::SolariseAdd));
        let factors: [fn(f32) -> Operation; 4] =
            [Operation::Colour, Operation::Contrast, Operation::Brightness, Operation::Sharpness];
        for (operation, factor) in (7..).zip(factors) {
            assert_eq!([at(operation, 10.0), back(operation, 10.0)], [1.9, 0.1].map(factor));
            assert_eq!(at(operation, 0.0), factor(1.0));
        }
        assert_eq!(at(11, 10.0), Operation::ShearX(0.3));
        assert_eq!(back(12, 10.0), Operation::ShearY(-0.3));
        assert_eq!(at(13, 10.0), Operation::TranslateX(90.0));
        assert_eq!(back(14, 10.0), Operation::TranslateY(-45.0));
    }

    /// All bytes in one number.
    fn digest(image: &RgbImage) -> u32 {
        image.pixels().iter().fold(0, |sum: u32, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
    }

    /// Digests of what timm makes of a picture by each operation: magnitude 7, then 3.4; forwards, then backwards;
    /// bilinear, then bicubic.
    #[rustfmt::skip]
    const TIMMS: [[u32; 8]; OPERATIONS as usize] = [
        [0xa458_41f2, 0xa458_41f2, 0xa458_41f2, 0xa458_41f2, 0xa458_41f2, 0xa458_41f2, 0xa458_41f2, 0xa458_41f2], // AutoContrast
        [0xdee6_ff20, 0xdee6_ff20, 0xdee6_ff20, 0xdee6_ff20, 0xdee6_ff20, 0xdee6_ff20, 0xdee6_ff20, 0xdee6_ff20], // Equalize
        [0xbd44_f048, 0xbd44_f048, 0xbd44_f048, 0xbd44_f048, 0xbd44_f048, 0xbd44_f048, 0xbd44_f048, 0xbd44_f048], // Invert
        [0x0436_3f22, 0x14d9_f647, 0x0dad_85f7, 0x2b62_fd05, 0x8966_abea, 0x58ef_d5e6, 0x15b5_c9b1, 0xc9ce_5a64], // Rotate
        [0xb0e6_8700, 0xb0e6_8700, 0xb0e6_8700, 0xb0e6_8700, 0x3a4c_46c0, 0x3a4c_46c0, 0x3a4c_46c0, 0x3a4c_46c0], // PosterizeIncreasing
        [0x0ce1_10c8, 0x0ce1_10c8, 0x0ce1_10c8, 0x0ce1_10c8, 0xd54b_7ce8, 0xd54b_7ce8, 0xd54b_7ce8, 0xd54b_7ce8], // SolarizeIncreasing
        [0x9523_0d75, 0x9523_0d75, 0x9523_0d75, 0x9523_0d75, 0x81e4_0dcd, 0x81e4_0dcd, 0x81e4_0dcd, 0x81e4_0dcd], // SolarizeAdd
        [0xe950_43e9, 0xe950_43e9, 0x3282_806c, 0x3282_806c, 0xb8c8_abbf, 0xb8c8_abbf, 0xf657_0774, 0xf657_0774], // ColorIncreasing
        [0x8f14_df42, 0x8f14_df42, 0xbaf4_9e2e, 0xbaf4_9e2e, 0xcdbd_631d, 0xcdbd_631d, 0xfb52_ab36, 0xfb52_ab36], // ContrastIncreasing
        [0x90bc_619f, 0x90bc_619f, 0xc55f_105c, 0xc55f_105c, 0x28b4_d764, 0x28b4_d764, 0x5ef4_5a97, 0x5ef4_5a97], // BrightnessIncreasing
        [0x3c80_9bfb, 0x3c80_9bfb, 0xeb05_7579, 0xeb05_7579, 0x277a_6f6f, 0x277a_6f6f, 0xfdf3_b072, 0xfdf3_b072], // SharpnessIncreasing
        [0x91db_5da5, 0xf8e0_2ee9, 0x7d7f_abfc, 0x634b_37b4, 0xa0ad_3f92, 0x2b30_7e99, 0x4856_4f06, 0x7ffd_a639], // ShearX
        [0xf775_35fc, 0x022c_763b, 0xd805_59c2, 0xa9e5_e42e, 0x62ff_27c7, 0xe3b0_b6cb, 0x9ec6_ddcc, 0xb447_587e], // ShearY
        [0x40aa_e2c6, 0x42bb_4778, 0x8d24_9e8b, 0xfbf5_eb27, 0x0542_31c0, 0x8cfd_5d2f, 0x3c1a_f974, 0x576e_d7dd], // TranslateXRel
        [0xfb53_fcc2, 0x69ab_1027, 0x81ad_a9be, 0x8d41_32f1, 0x60e3_8553, 0x31f2_ef46, 0xb83e_45c8, 0x00c8_0cf8], // TranslateYRel
    ];

    #[test]
    fn each_operation_makes_what_timm_makes() {
        let image = RgbImage::from_fn(24, 16, |x, y| {
            let green = (x * x * 3 + y * 11) % 256;
            [(40 + x * 7 + y * 5) % 200 + 20, green, 255 - (x * 9 + y * y) % 256].map(|value| value as u8)
        });
        let each = [7.0, 3.4].into_iter().flat_map(|magnitude| {
            let ways = [false, true].into_iter().flat_map(|is_reversed| {
                [Filter::Bilinear, Filter::Bicubic].map(|filter| (is_reversed, filter))
            });
            ways.map(move |(is_reversed, filter)| (magnitude, is_reversed, filter))
        });
        let each: Vec<(f64, bool, Filter)> = each.collect();
        for (operation, expected) in (0..).zip(TIMMS) {
            // timm translates to the left and upwards by positive numbers.
            let is_translation = operation >= 13;
            let found = each.iter().map(|&(magnitude, is_reversed, filter)| {
                let size = (image.width(), image.height());
                let change = choose(operation, magnitude / LARGEST, is_reversed != is_translation, size);
                digest(&change.apply_on(&image, Canvas { filter, outside: [124, 116, 104] }))
            });
            assert_eq!(found.collect::<Vec<_>>(), expected, "operation {operation}");
        }
    }

    #[test]
    fn draws_have_the_odds_and_the_spread_asked_for() {
        let policy = RandAugment { operations: 2, magnitude: 7.0, deviation: 0.5 };
        let (mut counts, mut bicubic, mut angles) = (std::collections::HashMap::new(), 0, Vec::new());
        for sample in 0..15_000 {
            let (operation, canvas) =
                policy.draw(SIZE, [1, 2, 3], &mut Stream::new(1, Purpose::Augment, 0, sample));
            assert_eq!(canvas.outside, [1, 2, 3]);
            bicubic += u32::from(canvas.filter == Filter::Bicubic);
            if let Some(Operation::Rotate(angle)) = operation {
                angles.push(angle);
            }
            *counts.entry(operation.map(|operation| std::mem::discriminant(&operation))).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 16);
        // Five standard errors of draws of probability 1/2 and 1/30.
        assert!((7194..=7806).contains(&counts[&None]) && (7194..=7806).contains(&bicubic), "{counts:?}");
        assert!(counts.iter().all(|(key, count)| key.is_none() || (390..=610).contains(count)), "{counts:?}");
        let (below, above): (Vec<f64>, Vec<f64>) = angles.iter().partition(|angle| **angle < 0.0);
        assert!(below.len().abs_diff(above.len()) < 120);
        let count = angles.len() as f64;
        let mean = angles.iter().map(|angle| angle.abs()).sum::<f64>() / count;
        let variance = angles.iter().map(|angle| (angle.abs() - mean).powi(2)).sum::<f64>() / count;
        assert!((mean - 21.0).abs() < 0.4 && (variance.sqrt() - 1.5).abs() < 0.3, "{mean} {variance}");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let good = RandAugment { operations: 2, magnitude: 7.0, deviation: 0.5 };
        good.check().unwrap();
        for bad in [
            RandAugment { operations: 0, ..good },
            RandAugment { magnitude: 10.5, ..good },
            RandAugment { deviation: f32::NAN, ..good },
        ] {
            assert!(bad.check().unwrap_err().to_string().contains("rand_augment."));
        }
    }
}
