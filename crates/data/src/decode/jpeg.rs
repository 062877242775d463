//! JPEG: grey and colour by the decoder that comes closest to libjpeg-turbo, which Pillow uses; and whether
//! a file is all there.
//!
//! Decoders fill what is missing with grey and call it a success. A walk over the markers tells: segments
//! are stepped over by their length, so that the end marker of an embedded thumbnail is not taken for the
//! file's own, and compressed data is searched for the next marker.

use jpeg_decoder::{Decoder, PixelFormat};

use super::Limits;
use crate::error::{DataError, Result};
use crate::image::RgbImage;

/// Decodes a grey or colour file; nothing for what is neither (CMYK, more than 8 bits).
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Option<RgbImage>> {
    let failed = |error: jpeg_decoder::Error| DataError::image(format!("JPEG: {error}"));
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(usize::try_from(limits.max_alloc_bytes).unwrap_or(usize::MAX));
    decoder.read_info().map_err(failed)?;
    let Some(info) = decoder.info() else { return Ok(None) };
    if !matches!(info.pixel_format, PixelFormat::L8 | PixelFormat::RGB24) {
        return Ok(None);
    }
    let pixels = decoder.decode().map_err(failed)?;
    let pixels = match info.pixel_format {
        PixelFormat::L8 => pixels.iter().flat_map(|&v| [v; 3]).collect(),
        _ => pixels,
    };
    RgbImage::new(info.width.into(), info.height.into(), pixels).map(Some)
}

const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// True where the markers lead from the start of the file to an end-of-image marker.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some((marker, after)) = next_marker(bytes, at) {
        let is_alone = matches!(marker, 0x01 | 0xd0..=0xd8);
        if marker == END_OF_IMAGE {
            return true;
        } else if is_alone {
            at = after;
            continue;
        }
        let Some(&[high, low]) = bytes.get(after..after + 2) else { return false };
        at = after + usize::from(u16::from_be_bytes([high, low])).max(2);
        if marker == START_OF_SCAN {
            let Some(end) = end_of_scan(bytes, at) else { return false };
            at = end;
        }
    }
    false
}

/// The first marker at or after `at`, and the place behind it.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        let found = bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        at += found + 1;
        match *bytes.get(at)? {
            0xff => {}
            0x00 => at += 1,
            marker => return Some((marker, at + 1)),
        }
    }
}

/// Where compressed data ends: at a 0xff that starts neither a stuffed byte nor a restart marker.
fn end_of_scan(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        match *bytes.get(at + 1)? {
            0x00 | 0xd0..=0xd7 => at += 2,
            _ => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end() {
        // SOI, APP1 with an EOI inside, SOS of length 2, data with a stuffed byte and a restart, EOI.
        let file = [
            0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd9, 1, 2, 0xff, 0xda, 0, 2, 7, 0xff, 0, 8, 0xff, 0xd0, 9,
            0xff, 0xd9,
        ];
        assert!(is_complete(&file));
        assert!(is_complete(&[&file[..], b"trailing junk"].concat()));
        (0..file.len()).for_each(|len| assert!(!is_complete(&file[..len]), "{len}"));
    }
}
