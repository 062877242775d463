//! CIFAR-10 and CIFAR-100 as their author publishes them (Krizhevsky 2009), in the binary form; `python` reads the other.
//!
//! ```text
//! cifar-10-batches-bin/   data_batch_1.bin … data_batch_5.bin, test_batch.bin, batches.meta.txt
//!                         record: label, then 3 planes (red, green, blue) of 32 rows of 32 bytes
//! cifar-100-binary/       train.bin, test.bin, fine_label_names.txt
//!                         record: coarse label, fine label, then the planes
//! ```

mod names;
mod python;

use std::path::{Path, PathBuf};

use residuum_formats::disk;

use crate::dataset::{Dataset, Split};
use crate::error::{DataError, Result};
pub(crate) use names::CIFAR10;
use names::CIFAR100;

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// Far above the 154 MB of the longest official file.
const MAX_FILE_BYTES: usize = 1 << 30;

/// Which of the published forms a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Binary10,
    Binary100,
    Python10,
    Python100,
}

/// Labels and pixels (HWC) of a split.
#[derive(Default)]
struct Records {
    labels: Vec<u32>,
    pixels: Vec<u8>,
}

impl Form {
    /// Folder that the published archive unpacks to, and two files, either of which tells the form.
    const fn marks(self) -> (&'static str, [&'static str; 2]) {
        match self {
            Self::Binary10 => ("cifar-10-batches-bin", ["data_batch_1.bin", "test_batch.bin"]),
            Self::Binary100 => ("cifar-100-binary", ["train.bin", "test.bin"]),
            Self::Python10 => ("cifar-10-batches-py", ["data_batch_1", "test_batch"]),
            Self::Python100 => ("cifar-100-python", ["train", "test"]),
        }
    }

    const fn classes(self) -> usize {
        match self {
            Self::Binary10 | Self::Python10 => 10,
            Self::Binary100 | Self::Python100 => 100,
        }
    }
}

/// Finds the form of a folder or of the one that its archive would have unpacked into it.
pub(crate) fn recognise(folder: &Path) -> Option<(PathBuf, Form)> {
    let forms = [Form::Binary10, Form::Binary100, Form::Python10, Form::Python100];
    let places =
        forms.iter().flat_map(|&form| [(folder.to_path_buf(), form), (folder.join(form.marks().0), form)]);
    places.into_iter().find(|(folder, form)| {
        let (_, files) = form.marks();
        let is_ours = *form != Form::Python100 || folder.join("meta").is_file();
        is_ours && files.iter().any(|file| folder.join(file).is_file())
    })
}

/// Reads one split.
///
/// # Errors
/// When a file is missing, its length is no multiple of the record's, or a label is no class.
pub(crate) fn open(folder: &Path, form: Form, split: Split) -> Result<Dataset> {
    let mut records = Records::default();
    for file in files(folder, form, split)? {
        match form {
            Form::Binary10 => records.read_binary(&file, 1, 10)?,
            Form::Binary100 => records.read_binary(&file, 2, 100)?,
            Form::Python10 | Form::Python100 => python::read(&file, form, &mut records)?,
        }
    }
    let name = if form.classes() == 10 { "cifar10" } else { "cifar100" };
    Dataset::from_pixels(name, class_names(folder, form)?, records.labels, (SIDE, SIDE), records.pixels)
}

/// The files of a split: one, or `data_batch_1` and those that follow without a gap.
fn files(folder: &Path, form: Form, split: Split) -> Result<Vec<PathBuf>> {
    let ending = if matches!(form, Form::Binary10 | Form::Binary100) { ".bin" } else { "" };
    if let (Form::Binary10 | Form::Python10, Split::Train) = (form, split) {
        let all: Vec<PathBuf> = (1..=5).map(|i| folder.join(format!("data_batch_{i}{ending}"))).collect();
        let last = all.iter().rposition(|file| file.is_file()).unwrap_or(0);
        return all[..=last].iter().map(|file| existing(file.clone())).collect();
    }
    let [_, test] = form.marks().1;
    let name = if split == Split::Test { test.to_owned() } else { format!("train{ending}") };
    Ok(vec![existing(folder.join(name))?])
}

fn existing(file: PathBuf) -> Result<PathBuf> {
    if file.is_file() {
        Ok(file)
    } else {
        Err(DataError::source(&file, "expected this file of CIFAR, found none; unpack the archive again"))
    }
}

fn class_names(folder: &Path, form: Form) -> Result<Vec<String>> {
    let (file, built_in): (&str, &[&str]) = match form {
        Form::Binary10 => ("batches.meta.txt", &CIFAR10),
        Form::Binary100 => ("fine_label_names.txt", &CIFAR100),
        Form::Python10 => ("batches.meta", &CIFAR10),
        Form::Python100 => ("meta", &CIFAR100),
    };
    let path = folder.join(file);
    if !path.is_file() {
        return Ok(built_in.iter().map(|&name| name.to_owned()).collect());
    }
    let names = match form {
        Form::Binary10 | Form::Binary100 => {
            let text = disk::read_text(&path, 1 << 20)?;
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
        }
        Form::Python10 | Form::Python100 => python::class_names(&path, form)?,
    };
    if names.len() == form.classes() {
        Ok(names)
    } else {
        let (expected, found) = (form.classes(), names.len());
        Err(DataError::source(&path, format!("expected the names of {expected} classes, found {found}")))
    }
}

impl Records {
    /// Records of `labels` label bytes, the last of which counts, and a picture.
    fn read_binary(&mut self, path: &Path, labels: usize, classes: u32) -> Result<()> {
        let size = labels + 3 * PIXELS;
        let bytes = disk::read(path, MAX_FILE_BYTES)?;
        if bytes.is_empty() || bytes.len() % size != 0 {
            let (whole, rest) = (bytes.len() / size, bytes.len() % size);
            return Err(DataError::record(path, whole, format!("expected {size} bytes, found {rest}")));
        }
        for (i, record) in bytes.chunks_exact(size).enumerate() {
            let label = u32::from(record[labels - 1]);
            if label >= classes {
                return Err(DataError::record(
                    path,
                    i,
                    format!("expected a label below {classes}, found {label}"),
                ));
            }
            self.labels.push(label);
            self.push_planes(&record[labels..]);
        }
        Ok(())
    }

    /// Appends a picture given as planes.
    fn push_planes(&mut self, planes: &[u8]) {
        let (red, rest) = planes.split_at(PIXELS);
        let (green, blue) = rest.split_at(PIXELS);
        let pixels = red.iter().zip(green).zip(blue);
        self.pixels.extend(pixels.flat_map(|((&r, &g), &b)| [r, g, b]));
    }
}

#[cfg(test)]
mod tests;
