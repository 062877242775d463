//! Random changes of training pictures, as the residual networks' papers make them.

use crate::distortion::Distortion;
use crate::error::{DataError, Result};
use crate::image::RgbImage;
use crate::preprocess::Preprocess;
use crate::random::Stream;
use crate::resize::{Window, resize, resize_window, short_side};

/// What surrounds a padded picture. The papers do not say; their re-implementations differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Zero after normalising: the mean colour, or a mean image continued.
    #[default]
    Mean,
    /// Zero before normalising: black; outside of a mean image the mean of each colour is subtracted.
    Black,
    /// The picture in a mirror at its edge, which is not repeated (Zagoruyko and Komodakis's CIFAR runs).
    Reflect,
}

/// The random change of one training picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Augment {
    /// None: the picture is prepared as for evaluation.
    #[default]
    None,
    /// Pad on each side, cut out the original size at a random place, mirror every second picture:
    /// the CIFAR augmentation (He et al. 2015, §4.2, with 4 pixels).
    Crop {
        /// Pixels added on each side.
        pad: usize,
        /// What they hold.
        padding: Padding,
    },
    /// Shorter side to a random integer in `min..=max`, the crop at a random place, mirror every second
    /// picture: the ImageNet augmentation (He et al. 2015, §3.4, with 256 to 480).
    Scale {
        /// Smallest shorter side in pixels; at least the crop.
        min: usize,
        /// Largest shorter side in pixels.
        max: usize,
    },
    /// A part of random area and aspect brought to the crop's size, mirror every second picture: area uniform
    /// up to the whole picture, aspect log-uniform in 3/4 to 4/3, ten tries, else the largest part in the
    /// middle (Szegedy et al. 2015, §6; fb.resnet.torch and torchvision with at least 0.08).
    Area {
        /// Smallest share of the picture's area.
        min: f64,
    },
}

/// Aspects of parts of a picture, width to height.
const ASPECTS: (f64, f64) = (0.75, 4.0 / 3.0);
const TRIES: usize = 10;

impl Augment {
    /// The CIFAR augmentation of the paper with the mean colour around.
    pub const CIFAR: Self = Self::Crop { pad: 4, padding: Padding::Mean };
    /// The ImageNet augmentation of the paper, without its colour shift.
    pub const IMAGENET: Self = Self::Scale { min: 256, max: 480 };

    /// Whether the numbers fit the preparation.
    ///
    /// # Errors
    /// When the range of sides is empty or goes below the crop, a number is over 65,535, a picture is too
    /// small for its mirror, or a share of the area not above 0 and at most 1.
    pub fn check(&self, preprocess: &Preprocess) -> Result<()> {
        let crop = preprocess.crop;
        match *self {
            Self::Scale { min, max } if min > max || min < crop || max > 65_535 => {
                Err(DataError::Settings(format!(
                    "augmentation: expected shorter sides from at least the crop {crop} to at most 65,535, found {min} to {max}"
                )))
            }
            Self::Crop { pad, .. } if pad > 65_535 => Err(DataError::Settings(format!(
                "augmentation: expected padding of at most 65,535, found {pad}"
            ))),
            Self::Crop { pad, padding: Padding::Reflect } if pad >= crop => {
                Err(DataError::Settings(format!(
                    "augmentation: expected padding by reflection of less than the crop {crop}, found {pad}"
                )))
            }
            Self::Area { min } if !(min > 0.0 && min <= 1.0) => Err(DataError::Settings(format!(
                "augmentation: expected a smallest area above 0, at most 1, found {min}"
            ))),
            _ => Ok(()),
        }
    }

    /// Prepares a picture with this change and what distorts it, drawn from `random`, as planes into `out`.
    pub(crate) fn apply_into(
        self,
        distortion: &Distortion,
        image: &RgbImage,
        preprocess: &Preprocess,
        random: &mut Stream,
        out: &mut [f32],
    ) {
        match self {
            // What surrounds the picture here may be no 8-bit colour.
            Self::Crop { pad, padding } if padding != Padding::Reflect && !distortion.is_of_bytes() => {
                Shift::draw(pad, padding, random).write(&preprocess.view(image), preprocess, out);
            }
            _ => {
                let (view, shift) = self.picture(image, preprocess, random);
                let (width, height) = (view.width(), view.height());
                let from = |at: usize| shift.from(at % width, at / width, width, height);
                preprocess.normalise_moved(&distortion.bytes(view, &preprocess.mean, random), from, out);
            }
        }
        distortion.planes(preprocess, random, out);
    }

    /// The part of a picture that is shown, before it is normalised, and how it was moved within the crop.
    fn picture(self, image: &RgbImage, preprocess: &Preprocess, random: &mut Stream) -> (RgbImage, Shift) {
        let crop = preprocess.crop;
        match self {
            Self::None => (preprocess.view(image).into_owned(), Shift::default()),
            Self::Crop { pad, padding } => {
                let shift = Shift::draw(pad, padding, random);
                (shift.picture(&preprocess.view(image), preprocess), shift)
            }
            Self::Scale { min, max } => {
                let to = min + random.below((max - min) as u32 + 1) as usize;
                let (width, height) = short_side(image.width(), image.height(), to);
                let mut draw =
                    |side: usize| random.below(u32::try_from(side - crop + 1).unwrap_or(u32::MAX)) as usize;
                let window = Window { left: draw(width), top: draw(height), width: crop, height: crop };
                Shift::turned(resize_window(image, width, height, window, preprocess.interpolation), random)
            }
            Self::Area { min } => {
                let Window { left, top, width, height } = part(image, min, random);
                let part = image.crop(left, top, width, height);
                Shift::turned(resize(&part, crop, crop, preprocess.interpolation), random)
            }
        }
    }
}

/// A part of random area and aspect.
fn part(image: &RgbImage, min: f64, random: &mut Stream) -> Window {
    let (columns, rows) = (image.width(), image.height());
    let area = columns as f64 * rows as f64;
    for _ in 0..TRIES {
        let (share, aspect) = (random.within((min, 1.0)), random.log_within(ASPECTS));
        let side = |square: f64| square.sqrt().round_ties_even() as usize;
        let (width, height) = (side(share * area * aspect), side(share * area / aspect));
        if (1..=columns).contains(&width) && (1..=rows).contains(&height) {
            let mut draw = |room: usize| random.below(u32::try_from(room + 1).unwrap_or(u32::MAX)) as usize;
            return Window { left: draw(columns - width), top: draw(rows - height), width, height };
        }
    }
    let within = |side: f64, whole: usize| (side.round_ties_even() as usize).clamp(1, whole);
    let width = within(rows as f64 * ASPECTS.1, columns);
    let height = within(columns as f64 / ASPECTS.0, rows);
    Window { left: (columns - width) / 2, top: (rows - height) / 2, width, height }
}

/// A crop of a padded picture: output (x, y) is input (x + right, y + down), then mirrored.
#[derive(Default)]
struct Shift {
    right: isize,
    down: isize,
    is_mirrored: bool,
    padding: Padding,
}

impl Shift {
    fn draw(pad: usize, padding: Padding, random: &mut Stream) -> Self {
        let mut draw = || random.below(2 * pad as u32 + 1) as isize - pad as isize;
        Self { right: draw(), down: draw(), is_mirrored: random.coin(), padding }
    }

    /// A picture, half the time in a mirror.
    fn turned(view: RgbImage, random: &mut Stream) -> (RgbImage, Self) {
        let is_mirrored = random.coin();
        (if is_mirrored { view.flip() } else { view }, Self { is_mirrored, ..Self::default() })
    }

    /// The pixel, counted by rows, that output (x, y) of a picture of this size is; none outside of it.
    fn from(&self, x: usize, y: usize, width: usize, height: usize) -> Option<usize> {
        let place = |at: usize, shift: isize, size: usize| {
            let at = at as isize + shift;
            let at = if self.padding == Padding::Reflect { reflected(at, size as isize) } else { at };
            usize::try_from(at).ok().filter(|at| *at < size)
        };
        let x = if self.is_mirrored { width - 1 - x } else { x };
        Some(place(x, self.right, width)? + place(y, self.down, height)? * width)
    }

    fn write(&self, view: &RgbImage, preprocess: &Preprocess, out: &mut [f32]) {
        let (width, height) = (view.width(), view.height());
        let values = preprocess.values(width, height);
        // Columns x for which x + right lies inside the picture.
        let begin = (-self.right).clamp(0, width as isize) as usize;
        let end = (width as isize - self.right).clamp(begin as isize, width as isize) as usize;
        for (i, row) in out.chunks_exact_mut(width).enumerate() {
            let (plane, y) = (i / height, i % height);
            let colour = preprocess.colour_of(plane);
            row.fill(if self.padding == Padding::Black { values.of(colour, 0, || None) } else { 0.0 });
            let from = y as isize + self.down;
            if (0..height as isize).contains(&from) && begin < end {
                let first = (begin as isize + self.right) as usize;
                let bytes = view.row(from as usize)[first * 3 + colour..].iter().step_by(3);
                let places = from as usize * width + first..;
                for ((out, &byte), place) in row[begin..end].iter_mut().zip(bytes).zip(places) {
                    *out = values.of(colour, byte, || Some(place));
                }
            }
            if self.is_mirrored {
                row.reverse();
            }
        }
    }

    /// The same in bytes; the mean colour is rounded.
    fn picture(&self, view: &RgbImage, preprocess: &Preprocess) -> RgbImage {
        let (width, height) = (view.width(), view.height());
        let around = if self.padding == Padding::Mean { preprocess.mean.bytes() } else { [0; 3] };
        RgbImage::from_fn(width, height, |x, y| {
            self.from(x, y, width, height).map_or(around, |at| {
                let pixel = &view.pixels()[3 * at..];
                [pixel[0], pixel[1], pixel[2]]
            })
        })
    }
}

/// The place inside that a place less than `size` outside is the mirror image of: -1 is 1, `size` is
/// `size - 2`.
fn reflected(at: isize, size: isize) -> isize {
    let at = at.abs();
    if at < size { at } else { 2 * (size - 1) - at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mean::{Mean, MeanImage};
    use crate::random::Purpose;

    fn picture() -> RgbImage {
        RgbImage::from_fn(32, 32, |x, y| [x as u8 + 1, y as u8 + 1, 200])
    }

    /// Every result must be one of the (2 pad + 1)² x 2 that the definition allows, and all must occur.
    #[test]
    fn crops_are_shifts_of_the_padded_picture() {
        let paddings = [Padding::Mean, Padding::Black, Padding::Reflect];
        for (padding, preprocess) in
            paddings.into_iter().flat_map(|padding| [(padding, Preprocess::cifar10()), (padding, uneven())])
        {
            let augment = Augment::Crop { pad: 1, padding };
            let mut seen = std::collections::HashSet::new();
            for sample in 0..300 {
                let mut out = vec![f32::NAN; preprocess.len()];
                augment.apply_into(
                    &Distortion::default(),
                    &picture(),
                    &preprocess,
                    &mut Stream::new(1, Purpose::Augment, 0, sample),
                    &mut out,
                );
                let found = (-1..=1)
                    .flat_map(|down| (-1..=1).map(move |right| (right, down)))
                    .flat_map(|(right, down)| [(right, down, false), (right, down, true)])
                    .find(|&shift| out == by_definition(shift, padding, &preprocess));
                seen.insert(found.expect("a shift of the padded picture"));
            }
            assert_eq!(seen.len(), 18);
        }
    }

    /// With a mean image.
    fn uneven() -> Preprocess {
        let pixel = |i: usize| [i as f32 / 2048.0, 0.3, (i % 32) as f32 / 100.0];
        let image = MeanImage::new(32, (0..1024).map(pixel).collect()).unwrap();
        Preprocess { mean: image.at(32), ..Preprocess::cifar10() }
    }

    fn by_definition(
        (right, down, mirrored): (i32, i32, bool),
        padding: Padding,
        preprocess: &Preprocess,
    ) -> Vec<f32> {
        let value = |i: usize| {
            let (plane, y, x) = (i / 1024, (i / 32 % 32) as i32, (i % 32) as i32);
            let x = if mirrored { 31 - x } else { x };
            let (x, y) = (x + right, y + down);
            let mirror = |at: i32| {
                if at < 0 {
                    -at
                } else if at > 31 {
                    62 - at
                } else {
                    at
                }
            };
            let (x, y) = if padding == Padding::Reflect { (mirror(x), mirror(y)) } else { (x, y) };
            let inside = (0..32).contains(&x) && (0..32).contains(&y);
            let byte = [x + 1, y + 1, 200][plane];
            match padding {
                Padding::Mean if !inside => 0.0,
                _ => {
                    let mean = match &preprocess.mean {
                        Mean::Image(image) if inside => image.pixels()[(32 * y + x) as usize],
                        mean => mean.colours().unwrap(),
                    };
                    (if inside { byte as f32 } else { 0.0 } / 255.0 - mean[plane]) / preprocess.std[plane]
                }
            }
        };
        (0..3072).map(value).collect()
    }

    #[test]
    fn scaled_crops_have_the_right_size_and_differ() {
        let preprocess = Preprocess::cifar10();
        let augment = Augment::Scale { min: 32, max: 60 };
        augment.check(&preprocess).unwrap();
        let image = RgbImage::from_fn(100, 70, |x, y| [(x * 2) as u8, (y * 3) as u8, 0]);
        let draw = |sample| {
            let mut out = vec![f32::NAN; preprocess.len()];
            augment.apply_into(
                &Distortion::default(),
                &image,
                &preprocess,
                &mut Stream::new(1, Purpose::Augment, 0, sample),
                &mut out,
            );
            assert!(out.iter().all(|v| v.is_finite()));
            out
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(Augment::Scale { min: 31, max: 60 }.check(&preprocess).is_err());
        assert!(Augment::Scale { min: 50, max: 40 }.check(&preprocess).is_err());
    }

    /// The two ways to write a shifted picture agree.
    #[test]
    fn bytes_and_numbers_of_a_shift_agree() {
        let preprocess = Preprocess::cifar10();
        for padding in [Padding::Mean, Padding::Black] {
            for (right, down, is_mirrored) in [(0, 0, false), (-3, 2, true), (4, -1, false), (40, 0, true)] {
                let shift = Shift { right, down, is_mirrored, padding };
                let (mut direct, mut by_bytes) = (vec![0.0; preprocess.len()], vec![0.0; preprocess.len()]);
                shift.write(&picture(), &preprocess, &mut direct);
                preprocess.normalise(&shift.picture(&picture(), &preprocess), &mut by_bytes);
                // A rounded mean colour is off by half of 1/255 at most.
                let allowed = if padding == Padding::Mean { 0.5 / 255.0 / 0.24 } else { 0.0 };
                assert!(direct.iter().zip(&by_bytes).all(|(a, b)| (a - b).abs() <= allowed));
            }
        }
        let reflect = |pad| Augment::Crop { pad, padding: Padding::Reflect }.check(&preprocess);
        assert!(reflect(31).is_ok() && reflect(32).is_err());
    }

    #[test]
    fn parts_have_the_area_and_aspect_asked_for() {
        let wide = RgbImage::from_fn(400, 300, |x, y| [x as u8, y as u8, 0]);
        let mut areas = [0; 4];
        for sample in 0..400 {
            let mut random = Stream::new(1, Purpose::Augment, 0, sample);
            let Window { left, top, width, height } = part(&wide, 0.08, &mut random);
            assert!(left + width <= 400 && top + height <= 300);
            let (share, aspect) = ((width * height) as f64 / 120_000.0, width as f64 / height as f64);
            assert!((0.079..=1.0).contains(&share) && (0.74..1.35).contains(&aspect), "{share} {aspect}");
            areas[(4.0 * share).min(3.0) as usize] += 1;
        }
        assert!(areas.iter().all(|count| *count > 20), "{areas:?}");
        // No part of a strip has such an aspect: the largest in its middle.
        let strip = RgbImage::from_fn(1000, 30, |_, _| [0; 3]);
        let found = part(&strip, 1.0, &mut Stream::new(1, Purpose::Augment, 0, 0));
        assert_eq!(found, Window { left: 480, top: 0, width: 40, height: 30 });
        let preprocess = Preprocess::cifar10();
        assert!(Augment::Area { min: 0.08 }.check(&preprocess).is_ok());
        for min in [0.0, 1.1, f64::NAN] {
            assert!(Augment::Area { min }.check(&preprocess).is_err());
        }
    }
}
