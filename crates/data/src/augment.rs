//! Random changes of training pictures, as the residual networks' papers make them.

use crate::error::{DataError, Result};
use crate::image::RgbImage;
use crate::preprocess::Preprocess;
use crate::random::Stream;
use crate::resize::{Window, resize_window, short_side};

/// What surrounds a padded picture. The papers do not say; their re-implementations differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Zero after normalising: the mean colour.
    #[default]
    Mean,
    /// Zero before normalising: black.
    Black,
}

/// The random change of one training picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
}

impl Augment {
    /// The CIFAR augmentation of the paper with the mean colour around.
    pub const CIFAR: Self = Self::Crop { pad: 4, padding: Padding::Mean };
    /// The ImageNet augmentation of the paper, without its colour shift.
    pub const IMAGENET: Self = Self::Scale { min: 256, max: 480 };

    /// Whether the numbers fit the preparation.
    ///
    /// # Errors
    /// When the range of sides is empty or goes below the crop, or a number is over 65,535.
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
            _ => Ok(()),
        }
    }

    /// Prepares a picture with this change, drawn from `random`, as planes into `out`.
    pub(crate) fn apply_into(
        self,
        image: &RgbImage,
        preprocess: &Preprocess,
        random: &mut Stream,
        out: &mut [f32],
    ) {
        match self {
            Self::None => preprocess.apply_into(image, out),
            Self::Crop { pad, padding } => {
                let view = preprocess.view(image);
                let mut draw = || random.below(2 * pad as u32 + 1) as isize - pad as isize;
                let shift = Shift { right: draw(), down: draw(), is_mirrored: random.coin(), padding };
                shift.write(&view, preprocess, out);
            }
            Self::Scale { min, max } => {
                let to = min + random.below((max - min) as u32 + 1) as usize;
                let (width, height) = short_side(image.width(), image.height(), to);
                let crop = preprocess.crop;
                let mut draw =
                    |side: usize| random.below(u32::try_from(side - crop + 1).unwrap_or(u32::MAX)) as usize;
                let window = Window { left: draw(width), top: draw(height), width: crop, height: crop };
                let view = resize_window(image, width, height, window, preprocess.interpolation);
                let view = if random.coin() { view.flip() } else { view };
                preprocess.normalise(&view, out);
            }
        }
    }
}

/// A crop of a padded picture: output (x, y) is input (x + right, y + down), then mirrored.
struct Shift {
    right: isize,
    down: isize,
    is_mirrored: bool,
    padding: Padding,
}

impl Shift {
    fn write(&self, view: &RgbImage, preprocess: &Preprocess, out: &mut [f32]) {
        let (width, height) = (view.width(), view.height());
        let table = preprocess.table();
        // Columns x for which x + right lies inside the picture.
        let begin = (-self.right).clamp(0, width as isize) as usize;
        let end = (width as isize - self.right).clamp(begin as isize, width as isize) as usize;
        for (i, row) in out.chunks_exact_mut(width).enumerate() {
            let (plane, y) = (i / height, i % height);
            let colour = preprocess.colour_of(plane);
            row.fill(match self.padding {
                Padding::Mean => 0.0,
                Padding::Black => table[colour][0],
            });
            let from = y as isize + self.down;
            if (0..height as isize).contains(&from) && begin < end {
                let first = (begin as isize + self.right) as usize;
                let values = view.row(from as usize)[first * 3 + colour..].iter().step_by(3);
                let inside = row[begin..end].iter_mut().zip(values);
                inside.for_each(|(out, &value)| *out = table[colour][usize::from(value)]);
            }
            if self.is_mirrored {
                row.reverse();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    fn picture() -> RgbImage {
        RgbImage::from_fn(32, 32, |x, y| [x as u8 + 1, y as u8 + 1, 200])
    }

    /// Every result must be one of the (2 pad + 1)² x 2 that the definition allows, and all must occur.
    #[test]
    fn crops_are_shifts_of_the_padded_picture() {
        let preprocess = Preprocess::cifar10();
        for padding in [Padding::Mean, Padding::Black] {
            let augment = Augment::Crop { pad: 1, padding };
            let mut seen = std::collections::HashSet::new();
            for sample in 0..300 {
                let mut out = vec![f32::NAN; preprocess.len()];
                augment.apply_into(
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

    fn by_definition(
        (right, down, mirrored): (i32, i32, bool),
        padding: Padding,
        preprocess: &Preprocess,
    ) -> Vec<f32> {
        let value = |i: usize| {
            let (plane, y, x) = (i / 1024, (i / 32 % 32) as i32, (i % 32) as i32);
            let x = if mirrored { 31 - x } else { x };
            let (x, y) = (x + right, y + down);
            let inside = (0..32).contains(&x) && (0..32).contains(&y);
            let byte = [x + 1, y + 1, 200][plane];
            match padding {
                Padding::Mean if !inside => 0.0,
                _ => {
                    (if inside { byte as f32 } else { 0.0 } / 255.0 - preprocess.mean[plane])
                        / preprocess.std[plane]
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
}
