//! Pictures in parquet files as Hugging Face's data sets lay them out.
//!
//! ```text
//! root/[data|plain_text|…/]train-00000-of-00001.parquet, test-… or validation-…
//! columns   img or image: struct {bytes, path}, or the bytes themselves;  label or fine_label: integer
//! metadata  key `huggingface`: JSON, info.features.LABEL.names lists the classes
//! ```
//! Small pictures of one size are decoded at once, all others kept as they are until they are asked for;
//! either way all of the split is in memory.

mod rows;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use residuum_formats::disk;
use sha2::{Digest as _, Sha256};

use crate::cifar::CIFAR10;
use crate::dataset::{Dataset, Pictures, Split};
use crate::decode::{Limits, decode};
use crate::error::{DataError, Result};
use rows::Rows;

/// Pictures of up to this side are decoded when the set is opened.
const SMALL_SIDE: usize = 64;
/// Largest label where no names are given.
const MAX_LABEL: u32 = 65_535;

/// True for a parquet file, or a folder that holds some, or whose sub-folder does.
pub(crate) fn looks_like(path: &Path) -> bool {
    if path.is_dir() { folder_of(path).is_some() } else { path.extension().is_some_and(|e| e == "parquet") }
}

/// The rows of one split; a single file serves both.
///
/// # Errors
/// When no file of the split is there, one is damaged, or a column, a picture or a label is missing or
/// wrong.
pub(crate) fn open(path: &Path, split: Split, limits: &Limits) -> Result<Dataset> {
    let files = if path.is_dir() { files_of(path, split)? } else { vec![path.to_path_buf()] };
    let mut rows = Rows::default();
    for file in &files {
        rows.read(file)?;
    }
    let origin = files.into_iter().next().unwrap_or_else(|| path.into());
    if rows.pictures.is_empty() {
        return Err(DataError::source(&origin, "expected rows with a picture and a label, found none"));
    }
    let name = name_of(path);
    let decoded = decode_small(&rows.pictures, limits);
    let is_cifar10 = rows.names.is_none()
        && name.contains("cifar10")
        && rows.labels.iter().all(|&label| label < 10)
        && decoded.as_ref().is_some_and(|&(size, _)| size == (32, 32));
    let classes = match rows.names {
        Some(names) => names,
        None if is_cifar10 => CIFAR10.map(str::to_owned).to_vec(),
        None => numbered(&origin, &rows.labels)?,
    };
    if let Some(i) = rows.labels.iter().position(|&label| label as usize >= classes.len()) {
        let (expected, found) = (classes.len(), rows.labels[i]);
        return Err(DataError::record(
            &origin,
            i,
            format!("expected a label below {expected}, found {found}"),
        ));
    }
    if let Some((size, pixels)) = decoded {
        return Dataset::from_pixels(name, classes, rows.labels, size, pixels);
    }
    let mut digest = Sha256::new();
    rows.pictures.iter().for_each(|picture| digest.update(picture));
    let pictures = Pictures::Encoded { origin, files: rows.pictures, limits: *limits };
    Dataset::new(name, classes, rows.labels, pictures, digest)
}

/// All pixels, where all pictures are small, of one size and sound. A bad picture is left to whoever asks
/// for it, so that the loader's policy decides.
fn decode_small(pictures: &[Vec<u8>], limits: &Limits) -> Option<((usize, usize), Vec<u8>)> {
    let first = decode(&pictures[0], limits).ok()?;
    let size = (first.width(), first.height());
    if size.0.max(size.1) > SMALL_SIDE {
        return None;
    }
    let mut pixels = vec![0; first.pixels().len() * pictures.len()];
    let places = pixels.par_chunks_exact_mut(first.pixels().len());
    let all = places.zip(pictures).try_for_each(|(place, picture)| {
        let image = decode(picture, limits).ok().filter(|image| (image.width(), image.height()) == size)?;
        place.copy_from_slice(image.pixels());
        Some(())
    });
    all.map(|()| (size, pixels))
}

fn numbered(origin: &Path, labels: &[u32]) -> Result<Vec<String>> {
    let (row, &largest) = labels.iter().enumerate().max_by_key(|&(_, label)| label).unwrap_or((0, &0));
    if largest > MAX_LABEL {
        return Err(DataError::record(
            origin,
            row,
            format!("expected a label of at most {MAX_LABEL}, found {largest}"),
        ));
    }
    Ok((0..=largest).map(|label| label.to_string()).collect())
}

/// The last part of the path that says more than how the data is laid out.
fn name_of(path: &Path) -> String {
    let real = path.canonicalize().unwrap_or_else(|_| path.into());
    let says_more =
        |part: &String| !["data", "plain_text"].contains(&part.as_str()) && !part.ends_with(".parquet");
    let name = real.iter().rev().map(|part| part.to_string_lossy().into_owned()).find(says_more);
    name.unwrap_or_else(|| "parquet".into())
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let entries = disk::list(folder).unwrap_or_default().into_iter();
    entries.filter(|e| !e.is_dir && e.name.ends_with(".parquet")).map(|e| e.path).collect()
}

/// The folder itself or the first sub-folder with parquet files.
fn folder_of(root: &Path) -> Option<PathBuf> {
    if !parquet_files(root).is_empty() {
        return Some(root.into());
    }
    let inner = disk::list(root).ok()?.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.path);
    inner.into_iter().find(|folder| !parquet_files(folder).is_empty())
}

fn files_of(root: &Path, split: Split) -> Result<Vec<PathBuf>> {
    let names: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &["validation", "val", "test"],
    };
    let files = folder_of(root).map(|folder| parquet_files(&folder)).unwrap_or_default();
    let belongs = |file: &Path, name: &str| {
        let stem = file.file_stem().and_then(|stem| stem.to_str());
        stem.and_then(|stem| stem.strip_prefix(name))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '_']))
    };
    for name in names {
        let chosen: Vec<PathBuf> = files.iter().filter(|file| belongs(file, name)).cloned().collect();
        if !chosen.is_empty() {
            return Ok(chosen);
        }
    }
    let found: Vec<_> = files.iter().filter_map(|file| Some(file.file_name()?.to_string_lossy())).collect();
    let (wanted, found) = (names.join("-*.parquet or "), found.join(", "));
    Err(DataError::source(root, format!("expected {wanted}-*.parquet for the {split} split, found {found}")))
}

#[cfg(test)]
mod tests;
