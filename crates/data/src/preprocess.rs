//! From a picture to the numbers a network reads; travels with the weights as JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::image::RgbImage;
use crate::mean::{Mean, MeanImage};
use crate::resize::Interpolation;
use crate::views::Frame;

const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Order of the colour planes that a network reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first; what PyTorch's networks read.
    #[default]
    Rgb,
    /// Blue first; what Caffe's networks read.
    Bgr,
}

/// How a picture is prepared for evaluation: resize, centre crop, normalise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// The shorter side is brought to this many pixels before the crop. Without it a picture of the crop's
    /// size is taken as it is, and any other is brought to the crop's size.
    pub resize: Option<usize>,
    /// Side of the central square that is kept, in pixels.
    pub crop: usize,
    /// Filter of the resize.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// Order of the planes in the output.
    #[serde(default)]
    pub channels: ChannelOrder,
    /// Subtracted from colours in 0..1; red, green, blue, whatever `channels` is. An image has the crop's size;
    /// from pictures of other sizes the mean of each of its colours is subtracted.
    pub mean: Mean,
    /// What the difference is divided by; red, green, blue.
    pub std: [f32; 3],
}

impl Preprocess {
    /// Shorter side 256, crop 224, ImageNet's mean and deviation: torchvision's evaluation.
    pub fn imagenet() -> Self {
        Self {
            resize: Some(256),
            crop: 224,
            mean: IMAGENET_MEAN.into(),
            std: IMAGENET_STD,
            ..Self::cifar10()
        }
    }

    /// Mean blue, green and red, 0 to 255, of the mean image that comes with the authors' Caffe models.
    pub const CAFFE_MEAN: [f64; 3] = [103.0626, 115.9029, 123.1516];

    /// Caffe's preparation for a network that reads red, green, blue and images of `side` x `side`: the
    /// shorter side brought to 8/7 of it (256 for 224), the centre cropped, the colours from 0 to 255 minus
    /// `mean`, which lists blue, green, red as Caffe does. The authors subtract a mean image after the crop, whose
    /// mean for each colour is their own substitute for it at other sizes.
    pub fn caffe(side: usize, mean: [f64; 3]) -> Self {
        const LARGEST: f64 = 255.0;
        let [b, g, r] = mean.map(|mean| (mean / LARGEST) as f32);
        let std = [(1.0 / LARGEST) as f32; 3];
        Self { resize: Some(side + side / 7), crop: side, mean: [r, g, b].into(), std, ..Self::imagenet() }
    }

    /// 32 x 32 as it is, with CIFAR-10's own mean and deviation.
    pub fn cifar10() -> Self {
        Self {
            resize: None,
            crop: 32,
            interpolation: Interpolation::Bilinear,
            channels: ChannelOrder::Rgb,
            mean: [0.4914, 0.4822, 0.4465].into(),
            std: [0.2470, 0.2435, 0.2616],
        }
    }

    /// 32 x 32 as it is, with ImageNet's mean and deviation: akamaster's CIFAR networks.
    pub fn cifar_imagenet_stats() -> Self {
        Self { mean: IMAGENET_MEAN.into(), std: IMAGENET_STD, ..Self::cifar10() }
    }

    /// One line of JSON, which [`Preprocess::from_json`] reads back to the bit.
    #[allow(
        clippy::missing_panics_doc,
        reason = "the types of the fields have a JSON form, whatever they hold"
    )]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and names have a JSON form")
    }

    /// Reads what [`Preprocess::to_json`] wrote.
    ///
    /// # Errors
    /// When it is not JSON, a key is unknown or missing, or [`Preprocess::check`] refuses it.
    pub fn from_json(text: &str) -> Result<Self> {
        let read: Self =
            serde_json::from_str(text).map_err(|e| DataError::Settings(format!("preprocessing: {e}")))?;
        read.check()?;
        Ok(read)
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// When a size is 0 or over 65,535, the crop larger than the resize, a mean not finite, an image not of the
    /// crop's size or still to be taken, or a deviation not above 0.
    pub fn check(&self) -> Result<()> {
        let size = 1..=65_535;
        let problem = if !size.contains(&self.crop) || self.resize.is_some_and(|side| !size.contains(&side)) {
            format!(
                "expected sizes of 1 to 65,535 pixels, found resize {:?} and crop {}",
                self.resize, self.crop
            )
        } else if self.resize.is_some_and(|side| side < self.crop) {
            format!("expected a crop of at most the resize {:?}, found {}", self.resize, self.crop)
        } else if !self.std.iter().all(|s| s.is_finite() && *s > 0.0) {
            format!("expected deviations above 0, found {:?}", self.std)
        } else {
            return self.mean.check(self.crop);
        };
        Err(DataError::Settings(format!("preprocessing: {problem}")))
    }

    /// The same with `image` as its mean, where that is still to be taken.
    #[must_use]
    pub fn settled(&self, image: Option<&MeanImage>) -> Self {
        let mut settled = self.clone();
        if let (Mean::PerPixel, Some(image)) = (&self.mean, image) {
            settled.mean = image.at(self.crop);
        }
        settled
    }

    /// The same for pictures of another size.
    #[must_use]
    pub fn with_crop(&self, crop: usize) -> Self {
        let mean = if let Mean::Image(image) = &self.mean { image.at(crop) } else { self.mean.clone() };
        Self { crop, mean, ..self.clone() }
    }

    /// Floats of one prepared picture: `3 x crop x crop`.
    pub fn len(&self) -> usize {
        3 * self.crop * self.crop
    }

    /// True where the crop holds nothing, which [`Preprocess::check`] refuses.
    pub fn is_empty(&self) -> bool {
        self.crop == 0
    }

    /// The square that the network sees, before it is normalised; bit-equal to Pillow and torchvision.
    pub fn view<'a>(&self, image: &'a RgbImage) -> Cow<'a, RgbImage> {
        if self.resize.is_none() && (image.width(), image.height()) == (self.crop, self.crop) {
            return Cow::Borrowed(image);
        }
        let frame = Frame::centre(self, image.width(), image.height());
        Cow::Owned(frame.cut(image, self.interpolation))
    }

    /// The picture that prepared values stand for, rounded to whole colours: what the network sees.
    ///
    /// # Panics
    /// When there are not [`Preprocess::len`] values.
    pub fn restore(&self, values: &[f32]) -> RgbImage {
        assert_eq!(values.len(), self.len(), "values of one picture");
        let area = self.crop * self.crop;
        let subtracted = self.subtracted(self.crop, self.crop);
        RgbImage::from_fn(self.crop, self.crop, |x, y| {
            let at = y * self.crop + x;
            [0, 1, 2].map(|colour| {
                let value = values[self.colour_of(colour) * area + at];
                let mean = subtracted.at(Some(at))[colour];
                (255.0 * (value * self.std[colour] + mean)).round().clamp(0.0, 255.0) as u8
            })
        })
    }

    /// Prepares a picture: `(value / 255 - mean) / std` of its [`Preprocess::view`], as planes (CHW).
    ///
    /// # Panics
    /// When `out` does not hold [`Preprocess::len`] floats.
    pub fn apply_into(&self, image: &RgbImage, out: &mut [f32]) {
        self.normalise(&self.view(image), out);
    }

    /// [`Preprocess::apply_into`] into memory of its own.
    pub fn apply(&self, image: &RgbImage) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        self.apply_into(image, &mut out);
        out
    }

    /// Normalises a picture of any size, without resizing or cropping it.
    ///
    /// # Panics
    /// When `out` does not hold `3 x width x height` floats, or the mean image is still to be taken.
    pub fn normalise(&self, image: &RgbImage, out: &mut [f32]) {
        self.normalise_moved(image, Some, out);
    }

    /// Normalises a picture that was moved after its mean image was laid on it: `from` tells for each of its
    /// pixels which pixel of the picture it was before, none for one that was outside.
    pub(crate) fn normalise_moved(
        &self,
        image: &RgbImage,
        from: impl Fn(usize) -> Option<usize>,
        out: &mut [f32],
    ) {
        assert_eq!(out.len(), image.pixels().len(), "the output holds three planes of the picture's size");
        let values = self.values(image.width(), image.height());
        for (plane, out) in out.chunks_exact_mut(image.width() * image.height()).enumerate() {
            let colour = self.colour_of(plane);
            let bytes = image.pixels()[colour..].iter().step_by(3);
            for (at, (out, &byte)) in out.iter_mut().zip(bytes).enumerate() {
                *out = values.of(colour, byte, || from(at));
            }
        }
    }

    /// Which colour (red 0, green 1, blue 2) output plane `plane` holds; the other way round as well.
    pub(crate) fn colour_of(&self, plane: usize) -> usize {
        match self.channels {
            ChannelOrder::Rgb => plane,
            ChannelOrder::Bgr => 2 - plane,
        }
    }

    /// What the bytes of a `width` x `height` picture become.
    ///
    /// # Panics
    /// When the mean image is still to be taken.
    pub(crate) fn values(&self, width: usize, height: usize) -> Values<'_> {
        let subtracted = self.subtracted(width, height);
        let outside = std::array::from_fn(|colour| {
            std::array::from_fn(|byte| (byte as f32 / 255.0 - subtracted.colours[colour]) / self.std[colour])
        });
        Values { subtracted, std: self.std, outside }
    }

    fn subtracted(&self, width: usize, height: usize) -> Subtracted<'_> {
        let colours = self.mean.colours().expect("a preparation with its mean");
        let pixels = match &self.mean {
            Mean::Image(image) if (width, height) == (image.side(), image.side()) => Some(image.pixels()),
            _ => None,
        };
        Subtracted { pixels, colours }
    }
}

/// What is subtracted from the pixels of a picture.
struct Subtracted<'a> {
    pixels: Option<&'a [[f32; 3]]>,
    /// Where there is no image, and outside of it.
    colours: [f32; 3],
}

impl Subtracted<'_> {
    fn at(&self, at: Option<usize>) -> [f32; 3] {
        self.pixels.zip(at).map_or(self.colours, |(pixels, at)| pixels[at])
    }
}

/// What the bytes of a picture become; the operations and their order are those of torchvision's `ToTensor` and
/// `Normalize`.
pub(crate) struct Values<'a> {
    subtracted: Subtracted<'a>,
    std: [f32; 3],
    /// Of every byte, per colour, where there is no mean image.
    outside: [[f32; 256]; 3],
}

impl Values<'_> {
    /// The value of a byte at the pixel `at` of the picture; outside of it where there is none.
    pub(crate) fn of(&self, colour: usize, byte: u8, at: impl FnOnce() -> Option<usize>) -> f32 {
        match self.subtracted.pixels.and_then(|pixels| Some(pixels[at()?][colour])) {
            Some(mean) => (f32::from(byte) / 255.0 - mean) / self.std[colour],
            None => self.outside[colour][usize::from(byte)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_to_the_bit_and_nonsense_is_refused() {
        for preset in [Preprocess::imagenet(), Preprocess::cifar10(), Preprocess::cifar_imagenet_stats()] {
            assert_eq!(Preprocess::from_json(&preset.to_json()).unwrap(), preset);
        }
        let json = Preprocess::imagenet().to_json();
        for (from, to) in [
            ("\"crop\":224", "\"crop\":0"),
            ("\"crop\":224", "\"crop\":300"),
            ("\"crop\":224", "\"crap\":224"),
            ("0.229", "0.0"),
            ("bilinear", "nearest"),
        ] {
            assert!(json.contains(from));
            let error = Preprocess::from_json(&json.replace(from, to)).unwrap_err().to_string();
            assert!(error.starts_with("preprocessing:"), "{error}");
        }
    }

    #[test]
    fn planes_are_normalised_in_the_order_asked_for() {
        let image = RgbImage::from_fn(32, 32, |x, y| [x as u8, y as u8, 255]);
        let mut preprocess = Preprocess::cifar10();
        let rgb = preprocess.apply(&image);
        assert_eq!(rgb[33].to_bits(), f32::to_bits((1.0 / 255.0 - 0.4914) / 0.2470));
        assert_eq!(rgb[2048].to_bits(), f32::to_bits((1.0 - 0.4465) / 0.2616));
        preprocess.channels = ChannelOrder::Bgr;
        let bgr = preprocess.apply(&image);
        assert_eq!(
            (&bgr[..1024], &bgr[1024..2048], &bgr[2048..]),
            (&rgb[2048..], &rgb[1024..2048], &rgb[..1024])
        );
    }

    #[test]
    fn any_picture_is_brought_to_the_crop() {
        for (width, height) in [(1, 1), (1, 3000), (500, 375), (224, 224), (17, 224)] {
            let image = RgbImage::from_fn(width, height, |x, y| [x as u8, y as u8, 7]);
            for preprocess in [Preprocess::imagenet(), Preprocess::cifar10()] {
                assert_eq!(preprocess.apply(&image).len(), preprocess.len());
            }
        }
    }
}
