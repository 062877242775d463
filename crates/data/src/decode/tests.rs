use std::io::Write as _;

use ::image::{DynamicImage, ImageFormat, Rgb};
use proptest::prelude::*;

use super::*;

fn encoded(format: ImageFormat) -> Vec<u8> {
    let image =
        ::image::RgbImage::from_fn(24, 16, |x, y| Rgb([(x * 10) as u8, (y * 15) as u8, ((x ^ y) * 7) as u8]));
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut file, format).unwrap();
    file.into_inner()
}

const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
    ImageFormat::Gif,
];

/// A PNG with this header and a handful of compressed zeros.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    for (kind, data) in
        [(b"IHDR", &header[..]), (b"IDAT", b"\x78\x9c\x63\x00\x00\x00\x01\x00\x01"), (b"IEND", b"")]
    {
        let checked = [kind, data].concat();
        file.write_all(&(data.len() as u32).to_be_bytes()).unwrap();
        file.write_all(&checked).unwrap();
        file.write_all(&crc(&checked).to_be_bytes()).unwrap();
    }
    file
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    })
}

fn problem(bytes: &[u8], limits: &Limits) -> String {
    let error = decode(bytes, limits).unwrap_err().to_string();
    assert!(!error.contains('\n') && error.len() < 300, "one line: {error}");
    error
}

#[test]
fn a_giant_claimed_by_a_header_is_refused_before_it_is_allocated() {
    let error = problem(&png_of(60_000, 60_000), &Limits::default());
    assert!(error.contains("60000 x 60000") && error.contains("100000000 pixels"), "{error}");
    let error = problem(&png_of(70_000, 10), &Limits::default());
    assert!(error.contains("65535 pixels in width"), "{error}");
    let error = problem(&png_of(10, 70_000), &Limits::default());
    assert!(error.contains("65535 pixels in height"), "{error}");
    let few = Limits { max_alloc_bytes: 100, ..Limits::default() };
    assert!(problem(&encoded(ImageFormat::Png), &few).contains("100 bytes"));
    problem(&png_of(0, 5), &Limits::default());
}

#[test]
fn what_is_no_picture_is_told_from_its_first_bytes() {
    for (bytes, found) in [
        (&b"<html><body>"[..], "starts with \"<html><body>\""),
        (b"<svg xmlns=", "starts with"),
        (b"", "an empty file"),
        (b"\x00\x01", "starts with \"\\x00\\x01\""),
        (b"P6 1 1 255\n\0\0\0", "found PBM"),
    ] {
        let error = problem(bytes, &Limits::default());
        assert!(error.contains("expected JPEG, PNG") && error.contains(found), "{error}");
    }
}

/// Cut anywhere, a file is an error or, where only its last marker is gone, still the whole picture.
#[test]
fn a_file_cut_short_never_gives_another_picture() {
    for format in FORMATS {
        let file = encoded(format);
        let whole = decode(&file, &Limits::default()).unwrap();
        let mut refused = 0;
        for len in 0..file.len() {
            match decode(&file[..len], &Limits::default()) {
                Ok(image) => assert!(image == whole, "{format:?} cut at {len} of {}", file.len()),
                Err(_) => refused += 1,
            }
        }
        assert!(refused * 10 > file.len() * 9, "{format:?}: only {refused} of {} cuts refused", file.len());
    }
}

#[test]
fn trailing_junk_does_no_harm() {
    for format in FORMATS {
        let file = encoded(format);
        let whole = decode(&file, &Limits::default()).unwrap();
        let longer = [&file[..], &[0xff, 0xd8, 1, 2, 3]].concat();
        assert!(decode(&longer, &Limits::default()).unwrap() == whole, "{format:?}");
    }
}

#[test]
fn floating_point_samples_are_refused_by_name() {
    let image = ::image::Rgb32FImage::from_pixel(2, 2, Rgb([0.5, 0.5, 0.5]));
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut file, ImageFormat::Tiff).unwrap();
    assert!(problem(&file.into_inner(), &Limits::default()).contains("8 or 16 bits, found Rgb32F"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Damage may give any picture or an error, but no panic and nothing over the limits.
    #[test]
    fn damage_is_survived(format in 0..FORMATS.len(), hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut file = encoded(FORMATS[format]);
        for (place, byte) in hits {
            let place = place.index(file.len());
            file[place] = byte;
        }
        let limits = Limits { max_pixels: 1 << 20, max_alloc_bytes: 8 << 20, ..Limits::default() };
        if let Ok(image) = decode(&file, &limits) {
            prop_assert!(image.width() * image.height() <= 1 << 20);
        }
    }

    #[test]
    fn noise_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &Limits::default());
    }
}
