//! Decoding and resizing against what Pillow 13 made of the same small files, stored beside them.

use std::path::{Path, PathBuf};

use residuum_data::{Interpolation, Limits, RgbImage, decode, resize};

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder)
}

fn picture(path: &Path) -> RgbImage {
    decode(&std::fs::read(path).unwrap(), &Limits::default())
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Largest difference of a byte allowed: lossy decoders round differently, CMYK is converted differently.
const DECODED: [(&str, u8); 17] = [
    ("rgb.jpg", 4),
    ("progressive.jpg", 8),
    ("grey.jpg", 2),
    ("cmyk.jpg", 4),
    ("turned.jpg", 4),
    ("rgba.png", 0),
    ("grey_alpha.png", 0),
    ("grey16.png", 0),
    ("palette.png", 0),
    ("one_bit.png", 0),
    ("palette.gif", 0),
    ("animated.gif", 0),
    ("rgb.bmp", 0),
    ("rgb.tif", 0),
    ("lzw.tif", 0),
    ("lossless.webp", 0),
    ("lossy.webp", 4),
];

#[test]
fn every_kind_of_file_is_decoded_as_pillow_does() {
    let folder = fixtures("decode");
    let mut wrong = Vec::new();
    for (name, allowed) in DECODED {
        let found = picture(&folder.join(name));
        let expected = picture(&folder.join(format!("{name}.expected.png")));
        assert_eq!((found.width(), found.height()), (expected.width(), expected.height()), "{name}");
        let largest = found.pixels().iter().zip(expected.pixels()).map(|(a, b)| a.abs_diff(*b)).max();
        if largest.is_none_or(|largest| largest > allowed) {
            wrong.push(format!("{name}: {largest:?}, {allowed} allowed"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn resized_pictures_equal_pillow_s_byte_for_byte() {
    let cases = [
        ("0_ramp_check", 17, 13, Interpolation::Bilinear, "bilinear"),
        ("0_ramp_check", 42, 32, Interpolation::Bicubic, "bicubic"),
        ("0_ramp_check", 60, 45, Interpolation::Bilinear, "bilinear"),
        ("2_lines", 17, 13, Interpolation::Bicubic, "bicubic"),
        ("2_lines", 177, 40, Interpolation::Bilinear, "bilinear"),
        ("2_lines", 78, 60, Interpolation::Bicubic, "bicubic"),
    ];
    let folder = fixtures("resize");
    for (name, width, height, filter, filter_name) in cases {
        let image = picture(&folder.join(format!("{name}.png")));
        let expected = picture(&folder.join(format!("{name}_{width}x{height}_{filter_name}.png")));
        assert!(resize(&image, width, height, filter) == expected, "{name} {width}x{height} {filter_name}");
    }
}
