//! Pictures in memory: eight bits, three colours, rows from the top.

use crate::error::{DataError, Result};

/// A picture of 8-bit RGB pixels; never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl RgbImage {
    /// Puts sizes around pixels, which lie row by row, three bytes each (HWC).
    ///
    /// # Errors
    /// When a side is 0 or there are not `3 x width x height` bytes.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self> {
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(3));
        if width == 0 || height == 0 {
            Err(DataError::image(format!(
                "expected a picture of at least one pixel, found {width} x {height}"
            )))
        } else if expected == Some(pixels.len()) {
            Ok(Self { width, height, pixels })
        } else {
            let found = pixels.len();
            Err(DataError::image(format!("expected 3 x {width} x {height} bytes of pixels, found {found}")))
        }
    }

    /// A picture whose pixel in column `x` of row `y` is `value(x, y)`.
    ///
    /// # Panics
    /// When a side is 0.
    pub fn from_fn(width: usize, height: usize, mut value: impl FnMut(usize, usize) -> [u8; 3]) -> Self {
        assert!(width > 0 && height > 0, "a picture has at least one pixel");
        let pixels = (0..width * height).flat_map(|i| value(i % width, i / width)).collect();
        Self { width, height, pixels }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All pixels, HWC.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// All pixels, HWC, without the sizes.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The bytes of row `y`, three per pixel.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.pixels[y * self.width * 3..][..self.width * 3]
    }

    /// The part that starts at (`left`, `top`).
    ///
    /// # Panics
    /// When the part is empty or does not lie inside.
    #[must_use]
    pub fn crop(&self, left: usize, top: usize, width: usize, height: usize) -> Self {
        assert!(width > 0 && height > 0 && left + width <= self.width && top + height <= self.height);
        let mut pixels = Vec::with_capacity(width * height * 3);
        for y in top..top + height {
            pixels.extend_from_slice(&self.row(y)[left * 3..][..width * 3]);
        }
        Self { width, height, pixels }
    }

    /// The picture in a mirror: left and right exchanged.
    #[must_use]
    pub fn flip(&self) -> Self {
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..self.height {
            self.row(y).chunks_exact(3).rev().for_each(|pixel| pixels.extend_from_slice(pixel));
        }
        Self { pixels, ..*self }
    }
}

impl std::fmt::Debug for RgbImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RgbImage({} x {})", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_pixels_must_agree() {
        assert!(RgbImage::new(2, 3, vec![0; 18]).is_ok());
        for (width, height, bytes) in [(2, 3, 17), (0, 3, 0), (2, 0, 0), (usize::MAX, 2, 6)] {
            assert!(RgbImage::new(width, height, vec![0; bytes]).is_err());
        }
    }

    #[test]
    fn parts_and_mirror_hold_the_right_pixels() {
        let image = RgbImage::from_fn(5, 4, |x, y| [x as u8, y as u8, 9]);
        assert_eq!(image.crop(2, 1, 3, 2), RgbImage::from_fn(3, 2, |x, y| [x as u8 + 2, y as u8 + 1, 9]));
        assert_eq!(image.flip(), RgbImage::from_fn(5, 4, |x, y| [4 - x as u8, y as u8, 9]));
    }
}
