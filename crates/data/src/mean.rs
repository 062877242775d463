//! What is subtracted from the colours of a picture: a number for each colour, or for each pixel and colour.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::loader::{Loader, LoaderOptions};
use crate::preprocess::Preprocess;

/// What is subtracted from colours in 0..1. In JSON and TOML: `[red, green, blue]`; rows of pixels of such
/// triples, so that the whole has the shape `[h, w, 3]`; or `"per-pixel"`.
#[derive(Clone, Debug, PartialEq)]
pub enum Mean {
    /// The same for every pixel: red, green, blue.
    Colours([f32; 3]),
    /// A number for every pixel of the crop and every colour.
    Image(MeanImage),
    /// The mean image of the training pictures, which is still to be taken: what a recipe asks for (He et al.
    /// 2015, §4.2). Nothing can be prepared with it; [`Preprocess::settled`] puts the image in its place.
    PerPixel,
}

impl Mean {
    /// The mean of each colour; none where the image is still to be taken.
    pub fn colours(&self) -> Option<[f32; 3]> {
        match self {
            Self::Colours(colours) => Some(*colours),
            Self::Image(image) => Some(image.colours),
            Self::PerPixel => None,
        }
    }

    /// The mean colour in bytes; black where it is not known.
    pub(crate) fn bytes(&self) -> [u8; 3] {
        self.colours().map_or([0; 3], |mean| mean.map(|mean| (255.0 * mean).round() as u8))
    }

    /// An error where a number is not finite, the image has not the size of the crop, or there is none yet.
    pub(crate) fn check(&self, crop: usize) -> Result<()> {
        let refuse =
            |problem: String| Err(DataError::Settings(format!("preprocessing: mean: expected {problem}")));
        match self {
            Self::Colours(colours) if !colours.iter().all(|m| m.is_finite()) => {
                refuse(format!("finite numbers, found {colours:?}"))
            }
            Self::Image(image) if image.side != crop => {
                refuse(format!("an image of the crop's {crop} x {crop} pixels, found {0} x {0}", image.side))
            }
            Self::PerPixel => {
                refuse("the numbers, found `per-pixel`, which a recipe alone may ask for".into())
            }
            Self::Colours(_) | Self::Image(_) => Ok(()),
        }
    }
}

impl From<[f32; 3]> for Mean {
    fn from(colours: [f32; 3]) -> Self {
        Self::Colours(colours)
    }
}

impl std::fmt::Display for Mean {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Colours(colours) => write!(f, "{colours:?}"),
            Self::Image(image) => {
                let [r, g, b] = image.colours;
                write!(f, "an image of {0}x{0}, on average [{r:.4}, {g:.4}, {b:.4}]", image.side)
            }
            Self::PerPixel => f.write_str("per pixel"),
        }
    }
}

/// The mean of pictures of one size, pixel by pixel. Cheap to clone; the numbers are shared.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanImage {
    side: usize,
    pixels: Arc<[[f32; 3]]>,
    colours: [f32; 3],
}

/// Pictures whose sums are taken together.
const PORTION: usize = 256;
const LARGEST: f64 = 255.0;

impl MeanImage {
    /// An image of `side` x `side` pixels by rows, red, green, blue in 0..1.
    ///
    /// # Errors
    /// When there are no `side²` pixels, or a number is not finite.
    pub fn new(side: usize, pixels: Vec<[f32; 3]>) -> Result<Self> {
        let refuse =
            |problem: String| Err(DataError::Settings(format!("preprocessing: mean image: {problem}")));
        if side == 0 || side.checked_mul(side) != Some(pixels.len()) {
            return refuse(format!("expected {side} x {side} pixels, found {}", pixels.len()));
        }
        if let Some(i) = pixels.iter().position(|pixel| !pixel.iter().all(|value| value.is_finite())) {
            let (x, y) = (i % side, i / side);
            return refuse(format!("expected finite numbers, found {:?} at column {x}, row {y}", pixels[i]));
        }
        let sum = |colour: usize| pixels.iter().map(|pixel| f64::from(pixel[colour])).sum::<f64>();
        let colours = [0, 1, 2].map(|colour| (sum(colour) / pixels.len() as f64) as f32);
        Ok(Self { side, pixels: pixels.into(), colours })
    }

    /// The mean over a data set of what [`Preprocess::view`] shows of each picture; nothing where `tell`, which
    /// hears after every few pictures how many are done, says to stop.
    ///
    /// Bytes are added as integers: the same bits for any number of threads. Memory does not grow with the
    /// data.
    ///
    /// # Errors
    /// When a picture cannot be read, or there is none.
    pub fn of(
        data: &Dataset,
        preprocess: &Preprocess,
        threads: usize,
        mut tell: impl FnMut(usize) -> bool,
    ) -> Result<Option<Self>> {
        let options = LoaderOptions { threads, ..LoaderOptions::evaluation(PORTION) };
        let (mut sums, mut count) = (vec![0u64; preprocess.len()], 0);
        for batch in Loader::sums(data, preprocess, options)? {
            let batch = batch?;
            sums.iter_mut().zip(&batch.images).for_each(|(sum, part)| *sum += u64::from(*part));
            count += batch.labels.len();
            if !tell(count) {
                return Ok(None);
            }
        }
        let mean = |sum: u64| (sum as f64 / (LARGEST * count as f64)) as f32;
        let pixels = sums.chunks_exact(3).map(|pixel| [mean(pixel[0]), mean(pixel[1]), mean(pixel[2])]);
        Self::new(preprocess.crop, pixels.collect()).map(Some)
    }

    /// Rows and columns.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Red, green, blue of each pixel, by rows.
    pub fn pixels(&self) -> &[[f32; 3]] {
        &self.pixels
    }

    /// The mean of each colour.
    pub fn colours(&self) -> [f32; 3] {
        self.colours
    }

    /// What stands for this image at another size: the mean of each colour, as the authors of residual networks
    /// have it with their published models.
    pub fn at(&self, side: usize) -> Mean {
        if side == self.side { Mean::Image(self.clone()) } else { Mean::Colours(self.colours) }
    }
}

/// The forms that a mean is written in.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a mean of three numbers, rows of pixels of three numbers each, or \"per-pixel\""
)]
enum Written {
    Colours([f32; 3]),
    Image(Vec<Vec<[f32; 3]>>),
    Asked(Asked),
}

#[derive(Serialize, Deserialize)]
enum Asked {
    #[serde(rename = "per-pixel")]
    PerPixel,
}

impl Serialize for Mean {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let written = match self {
            Self::Colours(colours) => Written::Colours(*colours),
            Self::Image(image) => {
                Written::Image(image.pixels.chunks(image.side).map(<[[f32; 3]]>::to_vec).collect())
            }
            Self::PerPixel => Written::Asked(Asked::PerPixel),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mean {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let rows = match Written::deserialize(deserializer)? {
            Written::Colours(colours) => return Ok(Self::Colours(colours)),
            Written::Asked(Asked::PerPixel) => return Ok(Self::PerPixel),
            Written::Image(rows) => rows,
        };
        let side = rows.len();
        if let Some(row) = rows.iter().find(|row| row.len() != side) {
            return Err(serde::de::Error::custom(format!(
                "expected a mean image of {side} x {side} pixels, found a row of {}",
                row.len()
            )));
        }
        MeanImage::new(side, rows.concat()).map(Self::Image).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
