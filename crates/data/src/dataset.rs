//! A data set: pictures, one label each, the names of the classes, and a digest that tells it from others.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use residuum_formats::disk;
use sha2::{Digest as _, Sha256};

use crate::decode::{Limits, MAX_FILE_BYTES, decode};
use crate::error::{DataError, Result};
use crate::image::RgbImage;
use crate::random::{Purpose, Stream};

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What is learnt from.
    Train,
    /// What is never learnt from.
    Test,
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// Pictures with labels. Cheap to clone; the pictures are shared.
#[derive(Clone)]
pub struct Dataset {
    content: Arc<Content>,
    /// Which of the pictures, in which order; all where absent.
    selection: Option<Arc<[usize]>>,
    digest: String,
}

struct Content {
    name: String,
    classes: Vec<String>,
    labels: Vec<u32>,
    pictures: Pictures,
}

/// Where the pictures are.
pub(crate) enum Pictures {
    /// Decoded, all of one size, one after the other.
    Pixels { width: usize, height: usize, bytes: Vec<u8> },
    /// Files of pictures in memory; `origin` is the file they came from.
    Encoded { origin: PathBuf, files: Vec<Vec<u8>>, limits: Limits },
    /// Files below a folder, read when they are asked for.
    Files { root: PathBuf, paths: Vec<PathBuf>, limits: Limits },
}

impl Dataset {
    /// A data set of decoded pictures of one size, which lie one after the other (HWC).
    ///
    /// # Errors
    /// When there are no pictures, a label is no class, or there are not
    /// `3 x width x height x labels` bytes.
    pub fn from_pixels(
        name: impl Into<String>,
        classes: Vec<String>,
        labels: Vec<u32>,
        (width, height): (usize, usize),
        bytes: Vec<u8>,
    ) -> Result<Self> {
        let name = name.into();
        let expected = [3, width, height].iter().try_fold(labels.len(), |n, &side| n.checked_mul(side));
        if expected != Some(bytes.len()) || width * height == 0 {
            return Err(DataError::Settings(format!(
                "data set {name}: expected {} pictures of 3 x {width} x {height} bytes, found {} bytes",
                labels.len(),
                bytes.len()
            )));
        }
        let digest = Sha256::new_with_prefix(&bytes);
        Self::new(name, classes, labels, Pictures::Pixels { width, height, bytes }, digest)
    }

    /// `digest` has taken in the pictures; names and labels are added here.
    pub(crate) fn new(
        name: String,
        classes: Vec<String>,
        labels: Vec<u32>,
        pictures: Pictures,
        mut digest: Sha256,
    ) -> Result<Self> {
        if labels.is_empty() {
            return Err(DataError::Settings(format!("data set {name}: expected pictures, found none")));
        }
        if let Some((i, label)) =
            labels.iter().enumerate().find(|(_, label)| **label as usize >= classes.len())
        {
            let count = classes.len();
            return Err(DataError::Settings(format!(
                "data set {name}: expected labels below {count}, found {label} at picture {i}"
            )));
        }
        for label in &labels {
            digest.update(label.to_le_bytes());
        }
        for class in &classes {
            digest.update((class.len() as u64).to_le_bytes());
            digest.update(class);
        }
        let content = Content { name, classes, labels, pictures };
        Ok(Self { content: Arc::new(content), selection: None, digest: hex(digest) })
    }

    /// What it is called, such as `cifar10` or the folder's name.
    pub fn name(&self) -> &str {
        &self.content.name
    }

    /// Names of the classes, by label.
    pub fn classes(&self) -> &[String] {
        &self.content.classes
    }

    /// How many pictures.
    pub fn len(&self) -> usize {
        self.selection.as_ref().map_or(self.content.labels.len(), |chosen| chosen.len())
    }

    /// True where there is no picture, which only a [`Dataset::subset`] can be.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Class of picture `i`.
    ///
    /// # Panics
    /// When there is no such picture.
    pub fn label(&self, i: usize) -> u32 {
        self.content.labels[self.place(i)]
    }

    /// Picture `i`, decoded.
    ///
    /// # Errors
    /// When its file cannot be read or decoded.
    ///
    /// # Panics
    /// When there is no such picture.
    pub fn image(&self, i: usize) -> Result<RgbImage> {
        let place = self.place(i);
        let decoded = match &self.content.pictures {
            Pictures::Pixels { width, height, bytes } => {
                let size = width * height * 3;
                RgbImage::new(*width, *height, bytes[place * size..][..size].to_vec())
            }
            Pictures::Encoded { files, limits, .. } => decode(&files[place], limits),
            Pictures::Files { root, paths, limits } => {
                decode(&disk::read(root.join(&paths[place]), MAX_FILE_BYTES)?, limits)
            }
        };
        decoded.map_err(|e| e.named(|| self.describe(i)))
    }

    /// Where picture `i` comes from: its file, or its place in one.
    ///
    /// # Panics
    /// When there is no such picture.
    pub fn describe(&self, i: usize) -> String {
        let place = self.place(i);
        match &self.content.pictures {
            Pictures::Pixels { .. } => format!("{}, picture {place}", self.name()),
            Pictures::Encoded { origin, .. } => format!("{}, record {place}", origin.display()),
            Pictures::Files { root, paths, .. } => root.join(&paths[place]).display().to_string(),
        }
    }

    /// SHA-256 in hexadecimal: of pixels or encoded bytes where they are in memory, else of the files'
    /// names and lengths; and of labels, class names and, for a subset, the selection.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The pictures at `indices`, in that order.
    ///
    /// # Panics
    /// When there is no such picture.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let chosen: Arc<[usize]> = indices.iter().map(|&i| self.place(i)).collect();
        let mut digest = Sha256::new_with_prefix(&self.digest);
        for &i in indices {
            digest.update((i as u64).to_le_bytes());
        }
        Self { content: Arc::clone(&self.content), selection: Some(chosen), digest: hex(digest) }
    }

    /// `count` pictures drawn at random by the seed, or all where there are no more, in their order.
    #[must_use]
    pub fn draw(&self, count: usize, seed: u64) -> Self {
        match self.hold_out(count, seed) {
            Ok((_, drawn)) => drawn,
            Err(_) => self.clone(),
        }
    }

    /// Parts the pictures in two: those to learn from, and `count` that are held out, drawn at random by the
    /// seed; both in their order.
    ///
    /// # Errors
    /// When nothing would be held out, or nothing be left.
    pub fn hold_out(&self, count: usize, seed: u64) -> Result<(Self, Self)> {
        if count == 0 || count >= self.len() {
            return Err(DataError::Settings(format!(
                "data set {}: expected to hold out 1 to {} of its {} pictures, found {count}",
                self.name(),
                self.len().saturating_sub(1),
                self.len()
            )));
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        Stream::new(seed, Purpose::HoldOut, 0, 0).shuffle(&mut order);
        let (held, kept) = order.split_at_mut(count);
        held.sort_unstable();
        kept.sort_unstable();
        Ok((self.subset(kept), self.subset(held)))
    }

    /// Tries to decode every picture; what comes back are the indices of the bad ones, with the reason.
    pub fn check(&self) -> Vec<(usize, DataError)> {
        (0..self.len()).into_par_iter().filter_map(|i| self.image(i).err().map(|e| (i, e))).collect()
    }

    fn place(&self, i: usize) -> usize {
        self.selection.as_ref().map_or(i, |chosen| chosen[i])
    }
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dataset({}, {} pictures, {} classes)", self.name(), self.len(), self.classes().len())
    }
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny(first_byte: u8, labels: Vec<u32>) -> Result<Dataset> {
        let mut bytes = vec![0; 3 * 12];
        bytes[0] = first_byte;
        Dataset::from_pixels("tiny", vec!["a".into(), "b".into()], labels, (2, 2), bytes)
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        assert!(tiny(0, vec![0, 1, 0]).is_ok());
        for labels in [vec![0, 1], vec![0, 1, 2]] {
            assert!(tiny(0, labels).is_err());
        }
        assert!(Dataset::from_pixels("none", vec!["a".into()], vec![], (2, 2), vec![]).is_err());
    }

    #[test]
    fn the_digest_knows_pixels_labels_and_selection() {
        let base = tiny(0, vec![0, 1, 0]).unwrap();
        assert_eq!(base.digest(), tiny(0, vec![0, 1, 0]).unwrap().digest());
        assert_ne!(base.digest(), tiny(1, vec![0, 1, 0]).unwrap().digest());
        assert_ne!(base.digest(), tiny(0, vec![1, 1, 0]).unwrap().digest());
        assert_ne!(base.digest(), base.subset(&[0, 1, 2]).digest());
    }

    #[test]
    fn what_is_held_out_is_not_learnt_from() {
        let labels = (0..100).map(|i| i % 7).collect();
        let classes = (0..7).map(|class| class.to_string()).collect();
        let bytes = (0..100u8).flat_map(|i| [i, 0, 0]).collect();
        let data = Dataset::from_pixels("dots", classes, labels, (1, 1), bytes).unwrap();
        let ids = |part: &Dataset| -> Vec<u8> {
            (0..part.len()).map(|i| part.image(i).unwrap().pixels()[0]).collect()
        };
        let (kept, held) = data.hold_out(30, 5).unwrap();
        assert_eq!((kept.len(), held.len()), (70, 30));
        let mut all = [ids(&kept), ids(&held)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<u8>>());
        assert!(ids(&held).is_sorted() && ids(&held) != (0..30).collect::<Vec<u8>>());
        assert_eq!(data.hold_out(30, 5).unwrap().1.digest(), held.digest());
        assert_ne!(data.hold_out(30, 6).unwrap().1.digest(), held.digest());
        for count in [0, 100, 101] {
            assert!(data.hold_out(count, 5).is_err());
        }
    }

    #[test]
    fn a_subset_of_a_subset_points_at_the_original() {
        let data = tiny(9, vec![0, 1, 0]).unwrap().subset(&[2, 1, 0]).subset(&[2, 1]);
        assert_eq!((data.len(), data.label(0), data.label(1)), (2, 0, 1));
        assert_eq!(data.image(0).unwrap().pixels()[0], 9);
    }
}
