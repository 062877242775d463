//! Numbers as bytes: the grid of 256 points that stands for an interval.

/// A grid of 256 points: byte `q` stands for `scale * (q - zero_point)` (Jacob et al. 2018, "Quantization and
/// training of neural networks for efficient integer-arithmetic-only inference", §2.1). Zero is always on the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantizer {
    /// Distance of neighbouring points; finite and positive.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero_point: u8,
}

impl Quantizer {
    /// The grid that covers `least ..= greatest` and zero; of an interval without a width, any grid.
    pub fn covering(least: f32, greatest: f32) -> Self {
        let (least, greatest) = (f64::from(least.min(0.0)), f64::from(greatest.max(0.0)));
        let scale = ((greatest - least) / 255.0) as f32;
        if !(scale.is_normal() && scale.is_finite()) {
            return Self { scale: 1.0, zero_point: 0 };
        }
        Self { scale, zero_point: (-least / f64::from(scale)).round_ties_even().clamp(0.0, 255.0) as u8 }
    }

    /// Whether the grid can be worked with: the scale is a positive number that has a reciprocal.
    pub fn is_valid(&self) -> bool {
        self.scale > 0.0 && self.scale.is_normal() && self.scale.recip().is_normal()
    }

    /// The number that a byte stands for.
    pub fn number(&self, byte: u8) -> f32 {
        self.scale * (f32::from(byte) - f32::from(self.zero_point))
    }

    /// The byte of the nearest point; of ties the even byte, of what is not a number 0.
    pub fn byte(&self, number: f32) -> u8 {
        let place = number * self.scale.recip() + f32::from(self.zero_point);
        // A conversion saturates, and makes 0 of not-a-number.
        place.round_ties_even() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_the_ends_of_the_interval_are_on_the_grid() {
        for (least, greatest) in [(0.0, 6.0), (-1.0, 1.0), (-3.5, 0.25), (2.0, 5.0), (-7.0, -2.0)] {
            let grid = Quantizer::covering(least, greatest);
            assert!(grid.number(grid.byte(0.0)) == 0.0, "{grid:?}");
            for end in [least.min(0.0), greatest.max(0.0)] {
                assert!((grid.number(grid.byte(end)) - end).abs() <= 0.51 * grid.scale, "{grid:?} {end}");
            }
        }
    }

    #[test]
    fn a_byte_comes_back_and_what_lies_outside_stays_at_the_end() {
        let grid = Quantizer { scale: 0.037, zero_point: 100 };
        for byte in 0..=255 {
            assert_eq!(grid.byte(grid.number(byte)), byte);
        }
        assert_eq!([-1e9, 1e9, f32::NAN].map(|x| grid.byte(x)), [0, 255, 0]);
    }

    #[test]
    fn an_interval_without_width_has_a_grid_too() {
        for grid in [Quantizer::covering(0.0, 0.0), Quantizer::covering(0.0, 1e-44)] {
            assert!(grid.is_valid(), "{grid:?}");
        }
        assert!(!Quantizer { scale: f32::NAN, zero_point: 0 }.is_valid());
        assert!(!Quantizer { scale: -1.0, zero_point: 0 }.is_valid());
    }
}
