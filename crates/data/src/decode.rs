//! Files of pictures → [`RgbImage`], with limits that are checked before anything is decoded.
//!
//! The result is what Pillow's `convert("RGB")` gives, as far as the decoders agree: grey becomes three
//! equal colours, a palette its colours, alpha is dropped, of 16 bits the upper 8 are kept (where Pillow
//! clips 16-bit grey to white), CMYK is converted by the decoder, of an animation the first picture is taken. Turning by EXIF orientation is
//! *not* applied, as neither Pillow's `convert` nor torchvision's loader applies it; colour profiles are
//! ignored by all three.

mod jpeg;

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use crate::error::{DataError, Result};
use crate::image::RgbImage;

/// Longest file that is taken for a single picture.
pub(crate) const MAX_FILE_BYTES: usize = 512 << 20;

const KINDS: &str = "JPEG, PNG, WebP, BMP, TIFF or GIF";

/// What a picture may claim before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest row.
    pub max_width: usize,
    /// Longest column.
    pub max_height: usize,
    /// Most pixels.
    pub max_pixels: u64,
    /// Most bytes of the decoded picture, in the depth and channels of the file.
    pub max_alloc_bytes: u64,
}

impl Default for Limits {
    /// Sides of 65,535, 10⁸ pixels, 512 MiB.
    fn default() -> Self {
        Self { max_width: 65_535, max_height: 65_535, max_pixels: 100_000_000, max_alloc_bytes: 512 << 20 }
    }
}

impl Limits {
    fn check(&self, width: u32, height: u32, bytes: u64) -> Result<()> {
        let pixels = u64::from(width) * u64::from(height);
        let refuse = |limit: String| {
            Err(DataError::image(format!("{width} x {height} pixels, {bytes} bytes decoded: over {limit}")))
        };
        if width as usize > self.max_width {
            refuse(format!("the limit of {} pixels in width", self.max_width))
        } else if height as usize > self.max_height {
            refuse(format!("the limit of {} pixels in height", self.max_height))
        } else if pixels > self.max_pixels {
            refuse(format!("the limit of {} pixels", self.max_pixels))
        } else if bytes > self.max_alloc_bytes {
            refuse(format!("the limit of {} bytes", self.max_alloc_bytes))
        } else {
            Ok(())
        }
    }

    fn for_decoder(&self) -> image::Limits {
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(u32::try_from(self.max_width).unwrap_or(u32::MAX));
        limits.max_image_height = Some(u32::try_from(self.max_height).unwrap_or(u32::MAX));
        limits.max_alloc = Some(self.max_alloc_bytes);
        limits
    }
}

/// Decodes a JPEG, PNG, WebP, BMP, TIFF or GIF file, told apart by its first bytes.
///
/// # Errors
/// When it is none of these, is damaged or cut short, holds floating-point samples, or is over `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage> {
    let format = recognise(bytes)?;
    if format == ImageFormat::Jpeg && !jpeg::is_complete(bytes) {
        return Err(DataError::image("JPEG cut short: its end marker is missing; fetch the file again"));
    }
    let failed = |error: &ImageError| DataError::image(format!("{}: {error}", name(format)));
    let (width, height) = dimensions(bytes, format).map_err(|e| failed(&e))?;
    limits.check(width, height, 3 * u64::from(width) * u64::from(height))?;
    if format == ImageFormat::Jpeg
        && let Some(image) = jpeg::decode(bytes, limits)?
    {
        return Ok(image);
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.for_decoder());
    let decoder = reader.into_decoder().map_err(|e| failed(&e))?;
    limits.check(width, height, decoder.total_bytes())?;
    into_rgb(DynamicImage::from_decoder(decoder).map_err(|e| failed(&e))?)
}

/// Sides as the header tells them, read without limits so that the refusal can name them.
fn dimensions(bytes: &[u8], format: ImageFormat) -> std::result::Result<(u32, u32), ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.no_limits();
    reader.into_dimensions()
}

fn recognise(bytes: &[u8]) -> Result<ImageFormat> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    match image::guess_format(bytes) {
        Ok(format @ (Jpeg | Png | WebP | Bmp | Tiff | Gif)) => Ok(format),
        Ok(other) => Err(DataError::image(format!("expected {KINDS}, found {}", name(other)))),
        Err(_) if bytes.is_empty() => Err(DataError::image(format!("expected {KINDS}, found an empty file"))),
        Err(_) => {
            let start = bytes[..bytes.len().min(12)].escape_ascii();
            Err(DataError::image(format!("expected {KINDS}, found a file that starts with \"{start}\"")))
        }
    }
}

fn name(format: ImageFormat) -> String {
    format
        .extensions_str()
        .first()
        .map_or_else(|| format!("{format:?}"), |e| e.to_uppercase())
        .replace("JPG", "JPEG")
}

fn into_rgb(image: DynamicImage) -> Result<RgbImage> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let high = |sample: u16| (sample >> 8) as u8;
    let pixels = match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageLuma8(image) => image.iter().flat_map(|&v| [v; 3]).collect(),
        DynamicImage::ImageLumaA8(image) => image.pixels().flat_map(|p| [p.0[0]; 3]).collect(),
        DynamicImage::ImageRgba8(image) => image.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]]).collect(),
        DynamicImage::ImageLuma16(image) => image.iter().flat_map(|&v| [high(v); 3]).collect(),
        DynamicImage::ImageLumaA16(image) => image.pixels().flat_map(|p| [high(p.0[0]); 3]).collect(),
        DynamicImage::ImageRgb16(image) => image.iter().map(|&v| high(v)).collect(),
        DynamicImage::ImageRgba16(image) => {
            image.pixels().flat_map(|p| [high(p.0[0]), high(p.0[1]), high(p.0[2])]).collect()
        }
        other => {
            let found = other.color();
            return Err(DataError::image(format!("expected samples of 8 or 16 bits, found {found:?}")));
        }
    };
    RgbImage::new(width, height, pixels)
}

#[cfg(test)]
mod tests;
