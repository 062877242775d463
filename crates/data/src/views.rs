//! What of a picture a network is shown when it is tested: the centre, ten crops, or the whole in several
//! sizes.
//!
//! ```text
//! One      the centre of the resized picture: the preparation as it is
//! Ten      four corners and the centre, each followed by its mirror image  (Krizhevsky et al. 2012, §4.1)
//! Scales   the whole picture, its shorter side brought to each scale       (He et al. 2015, §3.4)
//! ```
//! The mirror image is that of the crop, as the papers say. (A program that crops the mirrored picture
//! instead sees a centre one column away where the excess is odd.)

use crate::error::{DataError, Result};
use crate::image::RgbImage;
use crate::preprocess::Preprocess;
use crate::resize::{Interpolation, Window, centre, centre_crop, resize_window, short_side};

/// Which parts of a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Crops {
    /// The centre, as the preparation says.
    #[default]
    One,
    /// The four corners and the centre of the resized picture, with their mirror images.
    Ten,
    /// The whole picture with its shorter side brought to each of these, in pixels. Of a picture whose
    /// longer side is over [`Views::LONGEST`] times its shorter, the central part of that shape.
    Scales(Vec<usize>),
}

/// The views of a picture, over which a network's answers are averaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Views {
    /// Which parts.
    pub crops: Crops,
    /// Whether each part is shown in a mirror as well. Ten crops are so anyway.
    pub flip: bool,
}

/// A part of a resized picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Columns and rows that the picture is resized to.
    pub resized: (usize, usize),
    /// What is kept of it.
    pub window: Window,
}

/// Prepared views of one size, those of the first picture, then those of the second, and so on.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// Rows of a view.
    pub h: usize,
    /// Columns of a view.
    pub w: usize,
    /// Views of each picture.
    pub views: usize,
    /// All views as planes: `[pictures x views, 3, h, w]`.
    pub pixels: Vec<f32>,
}

impl Views {
    /// The scales of the paper (He et al. 2015, §3.4, "Testing").
    pub const SCALES: [usize; 5] = [224, 256, 384, 480, 640];
    /// Longest side of a whole picture, in shorter sides. It bounds the memory that a picture can ask for.
    pub const LONGEST: usize = 8;
    const LARGEST_SCALE: usize = 4096;

    /// Whether a preparation has these views.
    ///
    /// # Errors
    /// When ten crops or scales are asked of a preparation without a resize, all whose crops are one; ten
    /// crops are to be mirrored once more; or there is no scale, or one over 4096.
    pub fn check(&self, preprocess: &Preprocess) -> Result<()> {
        let crop = preprocess.crop;
        let problem = match &self.crops {
            Crops::Ten if self.flip => "ten crops hold their mirror images already; leave out flip".into(),
            Crops::Ten | Crops::Scales(_) if preprocess.resize.is_none() => format!(
                "the network is shown whole pictures of {crop}x{crop} without a resize (as for CIFAR), of \
                 which all crops are one; ask for a single crop, with flip if wanted"
            ),
            Crops::One | Crops::Ten => return Ok(()),
            Crops::Scales(scales) if scales.is_empty() => "expected at least one scale, found none".into(),
            Crops::Scales(scales) => {
                let allowed = 1..=Self::LARGEST_SCALE;
                match scales.iter().find(|scale| !allowed.contains(scale)) {
                    Some(scale) => {
                        format!("expected scales from 1 to {} pixels, found {scale}", Self::LARGEST_SCALE)
                    }
                    None => return Ok(()),
                }
            }
        };
        Err(DataError::Settings(format!("crops: {problem}")))
    }

    /// Views of one picture.
    pub fn count(&self) -> usize {
        let parts = match &self.crops {
            Crops::One => 1,
            Crops::Ten => 5,
            Crops::Scales(scales) => scales.len(),
        };
        parts * self.images_of_a_part()
    }

    /// True where the views of all pictures have the network's own size.
    pub fn are_of_one_size(&self) -> bool {
        !matches!(self.crops, Crops::Scales(_))
    }

    /// The parts of a `width` x `height` picture, without their mirror images: corners from the top left by
    /// rows, then the centre; or one for each scale.
    pub fn frames(&self, preprocess: &Preprocess, width: usize, height: usize) -> Vec<Frame> {
        match &self.crops {
            Crops::One => vec![Frame::centre(preprocess, width, height)],
            Crops::Ten => {
                let middle = Frame::centre(preprocess, width, height);
                let (right, bottom) =
                    (middle.resized.0 - preprocess.crop, middle.resized.1 - preprocess.crop);
                let corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)];
                let corner = |(left, top)| Frame { window: Window { left, top, ..middle.window }, ..middle };
                corners.map(corner).into_iter().chain([middle]).collect()
            }
            Crops::Scales(scales) => scales.iter().map(|&scale| Frame::whole(width, height, scale)).collect(),
        }
    }

    /// Prepares the views of a picture behind those of the pictures before it, `pictures` being expected in
    /// all: one stack for all parts where they are of one size, else one for each part.
    pub(crate) fn add(
        &self,
        image: &RgbImage,
        preprocess: &Preprocess,
        pictures: usize,
        stacks: &mut Vec<Stack>,
    ) {
        let frames = self.frames(preprocess, image.width(), image.height());
        let together = if self.are_of_one_size() { frames.len() } else { 1 };
        for (i, frames) in frames.chunks(together).enumerate() {
            let Window { width: w, height: h, .. } = frames[0].window;
            if stacks.len() == i {
                let views = frames.len() * self.images_of_a_part();
                let pixels = Vec::with_capacity(pictures * views * 3 * h * w);
                stacks.push(Stack { h, w, views, pixels });
            }
            let pixels = &mut stacks[i].pixels;
            for frame in frames {
                let start = pixels.len();
                pixels.resize(start + 3 * h * w, 0.0);
                preprocess.normalise(&frame.cut(image, preprocess.interpolation), &mut pixels[start..]);
                if self.is_mirrored() {
                    pixels.extend_from_within(start..);
                    pixels[start + 3 * h * w..].chunks_exact_mut(w).for_each(<[f32]>::reverse);
                }
            }
        }
    }

    fn is_mirrored(&self) -> bool {
        self.flip || self.crops == Crops::Ten
    }

    fn images_of_a_part(&self) -> usize {
        1 + usize::from(self.is_mirrored())
    }
}

impl Frame {
    /// The centre that a preparation keeps.
    pub(crate) fn centre(preprocess: &Preprocess, width: usize, height: usize) -> Self {
        let resized = short_side(width, height, preprocess.resize.unwrap_or(preprocess.crop));
        Self { resized, window: centre_crop(resized.0, resized.1, preprocess.crop) }
    }

    fn whole(width: usize, height: usize, scale: usize) -> Self {
        let resized = short_side(width, height, scale);
        let (width, height) = (resized.0.min(Views::LONGEST * scale), resized.1.min(Views::LONGEST * scale));
        let (left, top) = (centre(resized.0, width), centre(resized.1, height));
        Self { resized, window: Window { left, top, width, height } }
    }

    /// This part of a picture.
    pub(crate) fn cut(&self, image: &RgbImage, filter: Interpolation) -> RgbImage {
        resize_window(image, self.resized.0, self.resized.1, self.window, filter)
    }
}

#[cfg(test)]
mod tests;
