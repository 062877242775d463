//! The changes of a picture that augmentation policies choose from, as Pillow's `Image`, `ImageOps` and
//! `ImageEnhance` define them, on 8-bit pixels. Geometry draws on a [`Canvas`].

use crate::image::RgbImage;

/// A change with its strength.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operation {
    Identity,
    /// Pixel (x, y) shows (x + strength · y, y).
    ShearX(f64),
    /// Pixel (x, y) shows (x, y + strength · x).
    ShearY(f64),
    /// To the right by so many pixels.
    TranslateX(f64),
    /// Downwards by so many pixels.
    TranslateY(f64),
    /// Against the clock about the centre, in degrees.
    Rotate(f64),
    /// Blended with black; the factor 1 is the picture.
    Brightness(f32),
    /// Blended with its grey form.
    Colour(f32),
    /// Blended with its mean grey.
    Contrast(f32),
    /// Blended with a smoothed form.
    Sharpness(f32),
    /// So many bits are kept of each value.
    Posterise(u32),
    /// Values from this one on are inverted.
    Solarise(f64),
    /// So much is added to values of the lower half.
    SolariseAdd(u8),
    /// All values are inverted.
    Invert,
    /// Each colour stretched to the whole range.
    AutoContrast,
    /// Each colour's histogram made flat.
    Equalise,
}

/// How geometry makes pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Canvas {
    /// Which pixels count.
    pub(crate) filter: Filter,
    /// The colour of what comes from outside.
    pub(crate) outside: [u8; 3],
}

/// Which pixels count at a place between them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Filter {
    /// The nearest.
    #[default]
    Nearest,
    /// Two along each axis.
    Bilinear,
    /// Four along each axis (cubic convolution with a = -1).
    Bicubic,
}

impl Operation {
    /// With the nearest pixels, black outside.
    pub(crate) fn apply(self, image: &RgbImage) -> RgbImage {
        self.apply_on(image, Canvas::default())
    }

    pub(crate) fn apply_on(self, image: &RgbImage, canvas: Canvas) -> RgbImage {
        match self {
            Self::Identity => image.clone(),
            Self::ShearX(level) => affine(image, canvas, [1.0, level, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY(level) => affine(image, canvas, [1.0, 0.0, 0.0, level, 1.0, 0.0]),
            Self::TranslateX(pixels) => affine(image, canvas, [1.0, 0.0, -pixels, 0.0, 1.0, 0.0]),
            Self::TranslateY(pixels) => affine(image, canvas, [1.0, 0.0, 0.0, 0.0, 1.0, -pixels]),
            Self::Rotate(degrees) => rotate(image, canvas, degrees),
            Self::Brightness(factor) => blend(image, factor, |_, _| [0; 3]),
            Self::Colour(factor) => blend(image, factor, |x, y| [grey(image, x, y); 3]),
            Self::Contrast(factor) => {
                let mean = mean_grey(image);
                blend(image, factor, |_, _| [mean; 3])
            }
            Self::Sharpness(factor) => blend(image, factor, |x, y| smooth(image, x, y)),
            Self::Posterise(bits) => by_value(image, |value| value & !((1u16 << (8 - bits)) - 1) as u8),
            Self::Solarise(threshold) => {
                by_value(image, |value| if f64::from(value) < threshold { value } else { 255 - value })
            }
            Self::SolariseAdd(added) => {
                by_value(image, |value| if value < 128 { value.saturating_add(added) } else { value })
            }
            Self::Invert => by_value(image, |value| 255 - value),
            Self::AutoContrast => by_colour(image, stretched),
            Self::Equalise => by_colour(image, equalised),
        }
    }
}

fn pixel(image: &RgbImage, x: usize, y: usize) -> [u8; 3] {
    let row = &image.row(y)[3 * x..];
    [row[0], row[1], row[2]]
}

/// Pixel (x, y) of the result is the input's at `(a x + b y + c, d x + e y + f)`, all taken at the pixels' centres.
fn affine(image: &RgbImage, canvas: Canvas, matrix: [f64; 6]) -> RgbImage {
    let [a, b, c, d, e, f] = matrix;
    let between: fn(&RgbImage, f64, f64) -> [u8; 3] = match canvas.filter {
        Filter::Nearest => return nearest(image, canvas.outside, matrix),
        Filter::Bilinear => bilinear,
        Filter::Bicubic => bicubic,
    };
    let (width, height) = (image.width() as f64, image.height() as f64);
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (x, y) = (x as f64 + 0.5, y as f64 + 0.5);
        let (from_x, from_y) = (a * x + b * y + c, d * x + e * y + f);
        if (0.0..width).contains(&from_x) && (0.0..height).contains(&from_y) {
            between(image, from_x - 0.5, from_y - 0.5)
        } else {
            canvas.outside
        }
    })
}

/// The pixel nearest to (x, y), the edge repeated.
fn clamped(image: &RgbImage, x: f64, y: f64) -> [f64; 3] {
    let within = |at: f64, size: usize| at.clamp(0.0, (size - 1) as f64) as usize;
    pixel(image, within(x, image.width()), within(y, image.height())).map(f64::from)
}

fn bilinear(image: &RgbImage, x: f64, y: f64) -> [u8; 3] {
    let (left, top) = (x.floor(), y.floor());
    let row = |y: f64| {
        let (a, b) = (clamped(image, left, y), clamped(image, left + 1.0, y));
        [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * (x - left))
    };
    let (a, b) = (row(top), row(top + 1.0));
    [0, 1, 2].map(|i| (a[i] + (b[i] - a[i]) * (y - top)) as u8)
}

fn bicubic(image: &RgbImage, x: f64, y: f64) -> [u8; 3] {
    let (left, top) = (x.floor(), y.floor());
    let row = |y: f64| {
        let pixels = [-1.0, 0.0, 1.0, 2.0].map(|shift| clamped(image, left + shift, y));
        [0, 1, 2].map(|i| cubic(pixels.map(|pixel| pixel[i]), x - left))
    };
    let rows = [-1.0, 0.0, 1.0, 2.0].map(|shift| row(top + shift));
    [0, 1, 2].map(|i| cubic(rows.map(|row| row[i]), y - top).clamp(0.0, 255.0) as u8)
}

/// The cubic through four equidistant values, at a share of the way from the second to the third.
fn cubic([a, b, c, d]: [f64; 4], share: f64) -> f64 {
    let (p2, p3, p4) = (c - a, 2.0 * (a - b) + c - d, b - a + d - c);
    b + share * (p2 + share * (p3 + share * p4))
}

/// The nearest pixels, in fixed point of 16 bits as Pillow does it.
fn nearest(image: &RgbImage, outside: [u8; 3], [a, b, c, d, e, f]: [f64; 6]) -> RgbImage {
    const BITS: u32 = 16;
    let fixed = |value: f64| (value * f64::from(1 << BITS) + 0.5).floor() as i64;
    let inside = |at: i64, size: usize| usize::try_from(at >> BITS).ok().filter(|at| *at < size);
    let steps = [a, b, d, e].map(fixed);
    let starts = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (column, row) = (x as i64, y as i64);
        let from_x = inside(starts[0] + steps[0] * column + steps[1] * row, image.width());
        let from_y = inside(starts[1] + steps[2] * column + steps[3] * row, image.height());
        from_x.zip(from_y).map_or(outside, |(x, y)| pixel(image, x, y))
    })
}

fn rotate(image: &RgbImage, canvas: Canvas, degrees: f64) -> RgbImage {
    // Fifteen decimals, so that right angles are exact.
    let rounded = |value: f64| (value * 1e15).round_ties_even() / 1e15;
    let angle = -degrees.to_radians();
    let (sin, cos) = (rounded(libm::sin(angle)), rounded(libm::cos(angle)));
    let (x, y) = (image.width() as f64 / 2.0, image.height() as f64 / 2.0);
    affine(image, canvas, [cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y])
}

/// `other + factor · (picture − other)`, clipped and without its fraction.
fn blend(image: &RgbImage, factor: f32, other: impl Fn(usize, usize) -> [u8; 3]) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (own, other) = (pixel(image, x, y), other(x, y));
        std::array::from_fn(|i| {
            let difference = i16::from(own[i]) - i16::from(other[i]);
            (f32::from(other[i]) + factor * f32::from(difference)).clamp(0.0, 255.0) as u8
        })
    })
}

/// Luma of ITU-R 601-2 in fixed point of 16 bits.
fn grey(image: &RgbImage, x: usize, y: usize) -> u8 {
    let [r, g, b] = pixel(image, x, y).map(u32::from);
    ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
}

/// The mean of the luma, rounded.
fn mean_grey(image: &RgbImage) -> u8 {
    let (width, height) = (image.width(), image.height());
    let sum: u64 = (0..width * height).map(|i| u64::from(grey(image, i % width, i / width))).sum();
    let count = (width * height) as u64;
    ((2 * sum + count) / (2 * count)) as u8
}

/// The mean of 3 x 3 pixels, in which the middle one counts five times, rounded; the edge stays.
fn smooth(image: &RgbImage, x: usize, y: usize) -> [u8; 3] {
    let own = pixel(image, x, y);
    if x == 0 || y == 0 || x + 1 == image.width() || y + 1 == image.height() {
        return own;
    }
    std::array::from_fn(|colour| {
        let around = (y - 1..=y + 1).flat_map(|y| (x - 1..=x + 1).map(move |x| (x, y)));
        let sum: u32 = around.map(|(x, y)| u32::from(pixel(image, x, y)[colour])).sum();
        ((2 * (sum + 4 * u32::from(own[colour])) + 13) / 26) as u8
    })
}

fn by_value(image: &RgbImage, change: impl Fn(u8) -> u8) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| pixel(image, x, y).map(&change))
}

/// Each colour by the table that its histogram gives.
fn by_colour(image: &RgbImage, table: impl Fn(&[usize; 256]) -> [u8; 256]) -> RgbImage {
    let tables: [[u8; 256]; 3] = std::array::from_fn(|colour| {
        let mut histogram = [0; 256];
        for value in image.pixels()[colour..].iter().step_by(3) {
            histogram[usize::from(*value)] += 1;
        }
        table(&histogram)
    });
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let own = pixel(image, x, y);
        std::array::from_fn(|colour| tables[colour][usize::from(own[colour])])
    })
}

/// The lowest value that occurs goes to 0, the highest to 255, those between in a straight line.
fn stretched(histogram: &[usize; 256]) -> [u8; 256] {
    let lowest = histogram.iter().position(|count| *count > 0).unwrap_or(0);
    let highest = histogram.iter().rposition(|count| *count > 0).unwrap_or(0);
    if highest <= lowest {
        return std::array::from_fn(|value| value as u8);
    }
    let scale = 255.0 / (highest - lowest) as f64;
    let offset = -(lowest as f64) * scale;
    std::array::from_fn(|value| (value as f64 * scale + offset).clamp(0.0, 255.0) as u8)
}

/// A value goes to how many pixels are below it, half a step more, in steps of a 255th of all but those of
/// the highest value.
fn equalised(histogram: &[usize; 256]) -> [u8; 256] {
    let occurring: Vec<usize> = histogram.iter().copied().filter(|count| *count > 0).collect();
    let highest = occurring.last().copied().unwrap_or(0);
    let step = (occurring.iter().sum::<usize>() - highest) / 255;
    if occurring.len() <= 1 || step == 0 {
        return std::array::from_fn(|value| value as u8);
    }
    let mut below = step / 2;
    std::array::from_fn(|value| {
        let level = below / step;
        below += histogram[value];
        level.min(255) as u8
    })
}

#[cfg(test)]
mod tests;
