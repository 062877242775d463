//! Pillow's resize of 8-bit pictures, bit for bit.
//!
//! ```text
//! horizontal pass, then vertical, the intermediate rounded to u8; a pass is skipped where the size stays
//! per output pixel i:  centre  = (i + 0.5) scale,   scale = input size / output size
//!                      stretch = max(scale, 1),     reach = support x stretch
//!                      taps    = trunc(centre - reach + 0.5) .. trunc(centre + reach + 0.5), clipped
//!                      weight  = filter((tap - centre + 0.5) / stretch), in f64, divided by their sum,
//!                                then an integer with 22 fraction bits, rounded half away from zero
//!                      value   = clip((2^21 + Σ weight x input) >> 22)
//! ```
//! Both passes know the window of the output that is wanted and compute nothing else, so that a centre
//! crop of a very long picture costs no more than its crop.

use serde::{Deserialize, Serialize};

use crate::image::RgbImage;

const FRACTION_BITS: u32 = 22;

/// The filter of a resize, with Pillow's parameters; widened when shrinking (antialiased).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Triangle, support 1.
    #[default]
    Bilinear,
    /// Keys' cubic with a = -0.5, support 2.
    Bicubic,
}

impl Interpolation {
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

/// A rectangle of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// Resizes to `width` x `height`; equal to Pillow's `Image.resize` byte for byte.
///
/// # Panics
/// When a side is 0.
pub fn resize(image: &RgbImage, width: usize, height: usize, filter: Interpolation) -> RgbImage {
    resize_window(image, width, height, Window { left: 0, top: 0, width, height }, filter)
}

/// The `window` of what [`resize`] would give, computed without the rest.
///
/// # Panics
/// When the window is empty or reaches over `width` x `height`.
pub fn resize_window(
    image: &RgbImage,
    width: usize,
    height: usize,
    window: Window,
    filter: Interpolation,
) -> RgbImage {
    let Window { left, top, width: columns, height: rows } = window;
    assert!(columns > 0 && rows > 0 && left + columns <= width && top + rows <= height, "{window:?}");
    let vertical = Taps::new(image.height(), height, top..top + rows, filter);
    let is_height_kept = height == image.height();
    let (first, end) = if is_height_kept { (top, top + rows) } else { (vertical.first(), vertical.end()) };
    let strip = if width == image.width() {
        image.crop(left, first, columns, end - first)
    } else {
        let taps = Taps::new(image.width(), width, left..left + columns, filter);
        let pixels = (first..end).flat_map(|y| taps.across(image.row(y))).collect();
        rebuilt(columns, end - first, pixels)
    };
    if is_height_kept {
        return strip;
    }
    let mut pixels = vec![0; columns * rows * 3];
    let mut sums = vec![0; columns * 3];
    for (i, row) in pixels.chunks_exact_mut(columns * 3).enumerate() {
        vertical.down(i, |y| strip.row(y - first), &mut sums, row);
    }
    rebuilt(columns, rows, pixels)
}

fn rebuilt(width: usize, height: usize, pixels: Vec<u8>) -> RgbImage {
    RgbImage::new(width, height, pixels).expect("the passes fill the window exactly")
}

/// Which inputs make each output of one axis, and with what integer weights.
struct Taps {
    starts: Vec<usize>,
    /// Where the weights of each output begin; one more than there are outputs.
    bounds: Vec<usize>,
    weights: Vec<i32>,
}

impl Taps {
    fn new(input: usize, output: usize, wanted: std::ops::Range<usize>, filter: Interpolation) -> Self {
        let scale = input as f64 / output as f64;
        let stretch = scale.max(1.0);
        let (reach, shrink) = (filter.support() * stretch, 1.0 / stretch);
        let mut taps = Self { starts: Vec::new(), bounds: vec![0], weights: Vec::new() };
        let mut exact = Vec::new();
        for i in wanted {
            let centre = (i as f64 + 0.5) * scale;
            // A cast from f64 truncates, and takes what is below 0 for 0.
            let start = (centre - reach + 0.5) as usize;
            let end = ((centre + reach + 0.5) as usize).min(input);
            exact.clear();
            exact.extend((start..end).map(|tap| filter.at((tap as f64 - centre + 0.5) * shrink)));
            let sum: f64 = exact.iter().sum();
            let unit = f64::from(1u32 << FRACTION_BITS);
            taps.weights.extend(exact.iter().map(|w| (w / sum * unit).round() as i32));
            taps.starts.push(start);
            taps.bounds.push(taps.weights.len());
        }
        taps
    }

    fn weights(&self, i: usize) -> &[i32] {
        &self.weights[self.bounds[i]..self.bounds[i + 1]]
    }

    /// The first input that any output reads.
    fn first(&self) -> usize {
        self.starts[0]
    }

    /// One past the last input that any output reads.
    fn end(&self) -> usize {
        let last = self.starts.len() - 1;
        self.starts[last] + self.weights(last).len()
    }

    /// Horizontal pass over one row of RGB pixels.
    fn across<'a>(&'a self, row: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
        self.starts.iter().enumerate().flat_map(move |(i, &start)| {
            let mut sums = [1 << (FRACTION_BITS - 1); 3];
            for (pixel, &weight) in row[start * 3..].as_chunks::<3>().0.iter().zip(self.weights(i)) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += weight * i32::from(value);
                }
            }
            sums.map(clipped)
        })
    }

    /// Vertical pass: output row `i` from the input rows that `row` hands out.
    fn down<'a>(&self, i: usize, row: impl Fn(usize) -> &'a [u8], sums: &mut [i32], output: &mut [u8]) {
        sums.fill(1 << (FRACTION_BITS - 1));
        for (y, &weight) in (self.starts[i]..).zip(self.weights(i)) {
            for (sum, &value) in sums.iter_mut().zip(row(y)) {
                *sum += weight * i32::from(value);
            }
        }
        output.iter_mut().zip(sums).for_each(|(value, sum)| *value = clipped(*sum));
    }
}

fn clipped(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

/// Sides of a picture whose shorter side becomes `to`, the longer one truncated, as torchvision's `Resize`.
///
/// # Panics
/// When a side is 0.
pub fn short_side(width: usize, height: usize, to: usize) -> (usize, usize) {
    let longer = |long: usize, short: usize| (to as u128 * long as u128 / short as u128) as usize;
    if width <= height { (to, longer(height, width)) } else { (longer(width, height), to) }
}

/// The central `to` x `to` window of a `width` x `height` picture, as torchvision's `CenterCrop`: half a
/// pixel goes to the even side (Python's `round`).
///
/// # Panics
/// When the picture is smaller.
pub fn centre_crop(width: usize, height: usize, to: usize) -> Window {
    Window { left: centre(width, to), top: centre(height, to), width: to, height: to }
}

/// Where the central `to` of `size` pixels begin.
pub(crate) fn centre(size: usize, to: usize) -> usize {
    let excess = size.checked_sub(to).expect("the picture is at least as large as its crop");
    let half = excess / 2;
    half + (excess % 2) * (half % 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_and_centres_round_as_torchvision_does() {
        assert_eq!(short_side(500, 375, 256), (341, 256));
        assert_eq!(short_side(375, 500, 256), (256, 341));
        assert_eq!(short_side(64, 64, 32), (32, 32));
        for (size, start) in
            [(224, 0), (225, 0), (226, 1), (227, 2), (229, 2), (231, 4), (341, 58), (343, 60)]
        {
            assert_eq!(centre_crop(size, 224, 224).left, start, "{size}");
        }
    }

    #[test]
    fn a_window_is_cut_from_the_whole() {
        let image = RgbImage::from_fn(37, 23, |x, y| [(x * 7 + y) as u8, (x * y) as u8, ((x ^ y) * 5) as u8]);
        for filter in [Interpolation::Bilinear, Interpolation::Bicubic] {
            for (width, height) in [(37, 40), (20, 23), (37, 23), (11, 9), (90, 70)] {
                let window = Window { left: 3, top: 2, width: 8, height: 6 };
                let whole = resize(&image, width, height, filter);
                assert_eq!(resize_window(&image, width, height, window, filter), whole.crop(3, 2, 8, 6));
            }
        }
    }

    #[test]
    fn a_flat_picture_stays_flat_and_an_equal_size_untouched() {
        let flat = RgbImage::from_fn(13, 29, |_, _| [0, 128, 255]);
        let out = resize(&flat, 40, 7, Interpolation::Bicubic);
        assert!(out.pixels().chunks_exact(3).all(|p| p == [0, 128, 255]));
        let image = RgbImage::from_fn(9, 5, |x, y| [(x * 31) as u8, (y * 57) as u8, 3]);
        assert_eq!(resize(&image, 9, 5, Interpolation::Bilinear), image);
    }
}
