use super::*;

/// A picture whose red values are given, row by row; green is half, blue 10.
fn picture(rows: &[&[u8]]) -> RgbImage {
    RgbImage::from_fn(rows[0].len(), rows.len(), |x, y| [rows[y][x], rows[y][x] / 2, 10])
}

fn red(image: &RgbImage) -> Vec<Vec<u8>> {
    (0..image.height()).map(|y| image.row(y).iter().step_by(3).copied().collect()).collect()
}

fn square() -> RgbImage {
    picture(&[&[1, 2, 3, 4], &[5, 6, 7, 8], &[9, 10, 11, 12], &[13, 14, 15, 16]])
}

#[test]
fn geometry_moves_pixels_and_leaves_black() {
    let cases: [(Operation, [[u8; 4]; 4]); 9] = [
        (Operation::Identity, [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]),
        (Operation::TranslateX(1.0), [[0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11], [0, 13, 14, 15]]),
        (Operation::TranslateX(-2.0), [[3, 4, 0, 0], [7, 8, 0, 0], [11, 12, 0, 0], [15, 16, 0, 0]]),
        (Operation::TranslateY(1.0), [[0, 0, 0, 0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]),
        (Operation::TranslateY(-3.0), [[13, 14, 15, 16], [0; 4], [0; 4], [0; 4]]),
        // Row y is taken from floor(x + 0.5 + 0.5 (y + 0.5)): a quarter, three quarters, 1.25, 1.75 further.
        (Operation::ShearX(0.5), [[1, 2, 3, 4], [6, 7, 8, 0], [10, 11, 12, 0], [15, 16, 0, 0]]),
        (Operation::ShearY(-0.5), [[1, 0, 0, 0], [5, 2, 3, 0], [9, 6, 7, 4], [13, 10, 11, 8]]),
        (Operation::Rotate(90.0), [[4, 8, 12, 16], [3, 7, 11, 15], [2, 6, 10, 14], [1, 5, 9, 13]]),
        (Operation::Rotate(-90.0), [[13, 9, 5, 1], [14, 10, 6, 2], [15, 11, 7, 3], [16, 12, 8, 4]]),
    ];
    for (operation, expected) in cases {
        assert_eq!(red(&operation.apply(&square())), expected, "{operation:?}");
    }
    let black = Operation::TranslateX(4.0).apply(&square());
    assert!(black.pixels().iter().all(|value| *value == 0));
}

/// Against the definition with real numbers, where these are not at the edge of a pixel.
#[test]
fn a_rotation_shows_the_pixel_that_was_turned_there() {
    let image = RgbImage::from_fn(20, 14, |x, y| [x as u8 + 1, y as u8 + 1, 0]);
    for degrees in [4.5f64, -31.5, 67.5, 135.0] {
        let turned = Operation::Rotate(degrees).apply(&image);
        let (sin, cos) = degrees.to_radians().sin_cos();
        for (i, found) in turned.pixels().chunks_exact(3).enumerate() {
            let (x, y) = ((i % 20) as f64 + 0.5 - 10.0, (i / 20) as f64 + 0.5 - 7.0);
            // Rows count downwards, so that this turns against the clock.
            let (from_x, from_y) = (cos * x - sin * y + 10.0, sin * x + cos * y + 7.0);
            let is_near_edge = |at: f64| (at - at.round()).abs() < 1e-3;
            if is_near_edge(from_x) || is_near_edge(from_y) {
                continue;
            }
            let is_inside = (0.0..20.0).contains(&from_x) && (0.0..14.0).contains(&from_y);
            let expected =
                if is_inside { [from_x.floor() as u8 + 1, from_y.floor() as u8 + 1, 0] } else { [0; 3] };
            assert_eq!(found, expected, "{degrees} degrees, pixel {i}");
        }
    }
}

#[test]
fn enhancements_blend_with_black_grey_mean_and_smooth() {
    // Luma of (100, 50, 10): (100 · 19595 + 50 · 38470 + 10 · 7471 + 32768) / 65536 = 60.89.
    let image = picture(&[&[100, 200]]);
    let apply = |operation: Operation| operation.apply(&image).pixels().to_vec();
    assert_eq!(apply(Operation::Brightness(0.5)), [50, 25, 5, 100, 50, 5]);
    assert_eq!(apply(Operation::Brightness(1.99)), [199, 99, 19, 255, 199, 19]);
    assert_eq!(apply(Operation::Brightness(1.0)), image.pixels());
    // Grey 60 and 120 (of 200, 100, 10: 120.14); 60 + 0.5 · 40, 60 − 0.5 · 10, 60 − 0.5 · 50.
    assert_eq!(apply(Operation::Colour(0.5)), [80, 55, 35, 160, 110, 65]);
    assert_eq!(apply(Operation::Colour(0.0)), [60, 60, 60, 120, 120, 120]);
    // Mean grey (60 + 120) / 2 = 90; 90 + 1.5 · 10, 90 − 1.5 · 40, 90 − 1.5 · 80 below black.
    assert_eq!(apply(Operation::Contrast(1.5)), [105, 30, 0, 255, 105, 0]);
    assert_eq!(apply(Operation::Contrast(0.0)), [90; 6]);

    // Eight neighbours of 10 and five times 140: (80 + 700) / 13 = 60; the edge stays.
    let dot = RgbImage::from_fn(3, 3, |x, y| [if (x, y) == (1, 1) { 140 } else { 10 }; 3]);
    let sharpened = |factor| red(&Operation::Sharpness(factor).apply(&dot));
    assert_eq!(sharpened(0.0), [[10, 10, 10], [10, 60, 10], [10, 10, 10]]);
    assert_eq!(sharpened(0.25), [[10, 10, 10], [10, 80, 10], [10, 10, 10]]);
    assert_eq!(sharpened(1.5), [[10, 10, 10], [10, 180, 10], [10, 10, 10]]);
}

#[test]
fn values_go_through_tables() {
    let image = picture(&[&[0, 100, 129, 255]]);
    let apply = |operation: Operation| red(&operation.apply(&image)).remove(0);
    assert_eq!(apply(Operation::Posterise(8)), [0, 100, 129, 255]);
    assert_eq!(apply(Operation::Posterise(2)), [0, 64, 128, 192]);
    assert_eq!(apply(Operation::Posterise(4)), [0, 96, 128, 240]);
    assert_eq!(apply(Operation::Solarise(255.0)), [0, 100, 129, 0]);
    assert_eq!(apply(Operation::Solarise(128.5)), [0, 100, 126, 0]);
    assert_eq!(apply(Operation::Solarise(0.0)), [255, 155, 126, 0]);

    // Red 20 to 120: (value − 20) · 2.55; blue has one value and stays.
    let narrow = Operation::AutoContrast.apply(&picture(&[&[20, 120, 70, 21]]));
    assert_eq!(red(&narrow), [[0, 255, 127, 2]]);
    assert_eq!(narrow.pixels()[2], 10);

    // 512 pixels: 256 of 5, 254 of 6, 2 of 9. Step (512 − 2) / 255 = 2, half 1: 1/2, 257/2, 511/2.
    let counted = RgbImage::from_fn(512, 1, |x, _| {
        [if x < 256 {
            5
        } else if x < 510 {
            6
        } else {
            9
        }; 3]
    });
    let flat = &red(&Operation::Equalise.apply(&counted))[0];
    assert_eq!((flat[0], flat[300], flat[511]), (0, 128, 255));
    // Too few pixels for a step: as it is.
    assert_eq!(Operation::Equalise.apply(&image), image);
}

/// Red values and the sums of green and blue.
type Drawn = (Filter, Operation, [[u8; 7]; 5], [u32; 2]);

/// As Pillow 13 computes it.
#[test]
fn geometry_between_pixels_is_pillows() {
    let image = RgbImage::from_fn(7, 5, |x, y| {
        [x * 37 + y * 91, x * x * 11 + y * 17, 255 - (x * 50 + y * 3) % 256].map(|value| value as u8)
    });
    let (shear, shift, turn) = (Operation::ShearX(0.3), Operation::TranslateY(-1.6), Operation::Rotate(21.0));
    let cases: [Drawn; 6] = [
        (
            Filter::Bilinear,
            shear,
            [
                [5, 42, 79, 116, 153, 190, 222],
                [107, 144, 181, 218, 140, 36, 57],
                [209, 54, 27, 64, 101, 138, 1],
                [55, 92, 129, 166, 203, 239, 1],
                [157, 194, 142, 12, 49, 74, 1],
            ],
            [3574, 4757],
        ),
        (
            Filter::Bilinear,
            shift,
            [
                [145, 182, 65, 102, 140, 74, 111],
                [82, 119, 54, 91, 128, 165, 202],
                [71, 108, 145, 182, 66, 103, 140],
                [1; 7],
                [1; 7],
            ],
            [2419, 3512],
        ),
        (
            Filter::Bilinear,
            turn,
            [
                [1, 1, 102, 149, 134, 66, 1],
                [20, 86, 154, 204, 136, 99, 160],
                [91, 149, 61, 37, 104, 171, 219],
                [169, 174, 73, 108, 132, 76, 53],
                [1, 46, 113, 180, 171, 1, 1],
            ],
            [3064, 4388],
        ),
        (
            Filter::Bicubic,
            shear,
            [
                [4, 45, 82, 119, 156, 194, 226],
                [103, 145, 182, 248, 141, 6, 62],
                [240, 51, 12, 61, 98, 140, 1],
                [57, 94, 131, 168, 205, 240, 1],
                [160, 217, 144, 0, 55, 79, 1],
            ],
            [3593, 4726],
        ),
        (
            Filter::Bicubic,
            shift,
            [
                [178, 215, 61, 98, 135, 45, 82],
                [78, 115, 25, 62, 136, 198, 235],
                [55, 92, 154, 191, 74, 111, 148],
                [1; 7],
                [1; 7],
            ],
            [2412, 3507],
        ),
        (
            Filter::Bicubic,
            turn,
            [
                [1, 1, 87, 154, 132, 35, 1],
                [14, 89, 184, 232, 132, 77, 177],
                [83, 172, 45, 37, 87, 196, 226],
                [183, 210, 47, 96, 144, 63, 57],
                [1, 21, 106, 198, 179, 1, 1],
            ],
            [3033, 4364],
        ),
    ];
    for (filter, operation, expected, sums) in cases {
        let found = operation.apply_on(&image, Canvas { filter, outside: [1, 2, 3] });
        assert_eq!(red(&found), expected, "{filter:?} {operation:?}");
        let sum =
            |colour: usize| found.pixels()[colour..].iter().step_by(3).map(|&v| u32::from(v)).sum::<u32>();
        assert_eq!([1, 2].map(sum), sums, "{filter:?} {operation:?}");
    }
}

#[test]
fn values_are_inverted_and_brightened_below_the_middle() {
    let image = picture(&[&[0, 100, 127, 128, 255]]);
    assert_eq!(red(&Operation::Invert.apply(&image)), [[255, 155, 128, 127, 0]]);
    assert_eq!(red(&Operation::SolariseAdd(110).apply(&image)), [[110, 210, 237, 128, 255]]);
    assert_eq!(red(&Operation::SolariseAdd(0).apply(&image)), red(&image));
}
