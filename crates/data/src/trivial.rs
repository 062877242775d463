//! `TrivialAugment` (Müller and Hutter 2021, arXiv 2103.10158, §3) in its wide space: one operation of 14,
//! each as likely as another, its strength one of 31 as likely ones, half of those with a direction reversed.
//!
//! ```text
//! shear x, y                                  0 .. 0.99
//! translate x, y                              0 .. 32 whole pixels
//! rotate                                      0 .. 135 degrees
//! brightness, colour, contrast, sharpness     factor 1 ± (0 .. 0.99)
//! posterise                                   8 .. 2 bits
//! solarise                                    from 255 .. 0
//! identity, auto-contrast, equalise           no strength
//! ```

use crate::image::RgbImage;
use crate::operation::Operation;
use crate::random::Stream;

const STRENGTHS: u32 = 31;
const OPERATIONS: u32 = 14;

/// Changes a picture by one operation.
pub(crate) fn apply(image: &RgbImage, random: &mut Stream) -> RgbImage {
    draw(random).apply(image)
}

fn draw(random: &mut Stream) -> Operation {
    let (operation, bin, is_reversed) = (random.below(OPERATIONS), random.below(STRENGTHS), random.coin());
    choose(operation, bin, is_reversed)
}

fn choose(operation: u32, bin: u32, is_reversed: bool) -> Operation {
    let last = STRENGTHS - 1;
    let share = f64::from(bin) / f64::from(last);
    let signed = |largest: f64| if is_reversed { -largest * share } else { largest * share };
    let factor = || 1.0 + signed(0.99) as f32;
    match operation {
        0 => Operation::Identity,
        1 => Operation::ShearX(signed(0.99)),
        2 => Operation::ShearY(signed(0.99)),
        3 => Operation::TranslateX(signed(32.0).trunc()),
        4 => Operation::TranslateY(signed(32.0).trunc()),
        5 => Operation::Rotate(signed(135.0)),
        6 => Operation::Brightness(factor()),
        7 => Operation::Colour(factor()),
        8 => Operation::Contrast(factor()),
        9 => Operation::Sharpness(factor()),
        10 => Operation::Posterise(8 - (f64::from(bin) / 5.0).round_ties_even() as u32),
        11 => Operation::Solarise(255.0 * (1.0 - share)),
        12 => Operation::AutoContrast,
        _ => Operation::Equalise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn the_ends_of_every_range_are_those_of_the_definition() {
        let ends = |operation| {
            [choose(operation, 0, false), choose(operation, 30, false), choose(operation, 30, true)]
        };
        assert_eq!(ends(1), [0.0, 0.99, -0.99].map(Operation::ShearX));
        assert_eq!(ends(2), [0.0, 0.99, -0.99].map(Operation::ShearY));
        assert_eq!(ends(3), [0.0, 32.0, -32.0].map(Operation::TranslateX));
        assert_eq!(ends(4), [0.0, 32.0, -32.0].map(Operation::TranslateY));
        assert_eq!(ends(5), [0.0, 135.0, -135.0].map(Operation::Rotate));
        let factors: [fn(f32) -> Operation; 4] =
            [Operation::Brightness, Operation::Colour, Operation::Contrast, Operation::Sharpness];
        for (operation, factor) in (6..).zip(factors) {
            assert_eq!(ends(operation), [1.0, 1.0 + 0.99, 1.0 - 0.99].map(factor));
        }
        assert_eq!(ends(10), [8, 2, 2].map(Operation::Posterise));
        assert_eq!(ends(11), [255.0, 0.0, 0.0].map(Operation::Solarise));
        assert_eq!(choose(5, 20, false), Operation::Rotate(90.0));
        let bits: Vec<Operation> = [2, 3, 7, 8, 15].map(|bin| choose(10, bin, false)).into();
        assert_eq!(bits, [8, 7, 7, 6, 5].map(Operation::Posterise));
    }

    #[test]
    fn every_operation_and_strength_is_as_likely_as_another() {
        let mut counts = std::collections::HashMap::new();
        let (mut left, mut right) = (0, 0);
        for sample in 0..14_000 {
            let operation = draw(&mut Stream::new(1, Purpose::Augment, 0, sample));
            *counts.entry(std::mem::discriminant(&operation)).or_insert(0) += 1;
            if let Operation::TranslateX(pixels) = operation {
                left += u32::from(pixels < 0.0);
                right += u32::from(pixels > 0.0);
            }
        }
        assert_eq!(counts.len(), 14);
        // Five standard errors of 14,000 draws of probability 1/14.
        assert!(counts.values().all(|count| (848..=1152).contains(count)), "{counts:?}");
        assert!(left.abs_diff(right) < 160 && left > 300, "{left} {right}");
    }
}
