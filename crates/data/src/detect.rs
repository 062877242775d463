//! From what a user types to a data set, by looking at what is there.

use std::path::Path;

use residuum_formats::disk;

use crate::cifar;
use crate::dataset::{Dataset, Split};
use crate::decode::Limits;
use crate::error::{DataError, Result};
use crate::{folder, parquet};

/// How a data set is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Limits of every picture.
    pub limits: Limits,
    /// Seed of the embedded set.
    pub shapes_seed: u64,
}

/// A kind of data set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cifar,
    Parquet,
    Folder,
}

/// Every kind by the name that forces it, in the order in which they are tried.
const KINDS: [(&str, Kind); 3] =
    [("cifar", Kind::Cifar), ("parquet", Kind::Parquet), ("folder", Kind::Folder)];

const RECOGNISED: &str = "`shapes` (embedded); a folder with CIFAR-10 or CIFAR-100 in binary or Python batches; \
    parquet files as Hugging Face's (train-*.parquet, test-*.parquet); a folder of pictures, one folder per class, \
    with or without train/ and val/; `cifar:`, `parquet:` or `folder:` before a path forces a kind";

/// Opens one split of `data`: `shapes`, a path, or `KIND:PATH`.
///
/// What a path holds is found by looking. A folder of classes without splits and a single parquet file
/// serve both splits.
///
/// # Errors
/// When there is nothing of that name, nothing known in it (the error lists what is known and what was
/// found), or what was recognised is damaged or lacks the split.
pub fn open(data: &str, split: Split, options: &OpenOptions) -> Result<Dataset> {
    if data == "shapes" {
        return Ok(crate::shapes(options.shapes_seed, split));
    }
    let forced = data.split_once(':').and_then(|(kind, path)| {
        KINDS.iter().find(|(name, _)| *name == kind).map(|&(_, kind)| (kind, Path::new(path)))
    });
    let (kind, path) = match forced {
        Some((kind, path)) if disk::exists(path) => (kind, path),
        Some((_, path)) => return Err(not_there(path)),
        None if disk::exists(data) => (recognise(Path::new(data))?, Path::new(data)),
        None => return Err(not_there(Path::new(data))),
    };
    match kind {
        Kind::Parquet => parquet::open(path, split, &options.limits),
        Kind::Folder => folder::open(path, split, &options.limits),
        Kind::Cifar => match cifar::recognise(path) {
            Some((folder, form)) => cifar::open(&folder, form, split),
            None => Err(unknown(
                path,
                "CIFAR: data_batch_1.bin, test_batch.bin, train.bin, test.bin or the Python batches",
            )),
        },
    }
}

fn recognise(path: &Path) -> Result<Kind> {
    let is = |kind| match kind {
        Kind::Cifar => cifar::recognise(path).is_some(),
        Kind::Parquet => parquet::looks_like(path),
        Kind::Folder => folder::looks_like(path),
    };
    let found = KINDS.iter().map(|&(_, kind)| kind).find(|&kind| is(kind));
    found.ok_or_else(|| unknown(path, RECOGNISED))
}

fn not_there(path: &Path) -> DataError {
    DataError::source(path, format!("there is no such file or folder; data may be {RECOGNISED}"))
}

fn unknown(path: &Path, expected: &str) -> DataError {
    const SHOWN: usize = 8;
    let found = match disk::list(path) {
        Err(_) => "a file of another kind".into(),
        Ok(entries) if entries.is_empty() => "an empty folder".into(),
        Ok(entries) => {
            let names: Vec<String> = entries
                .iter()
                .take(SHOWN)
                .map(|e| if e.is_dir { format!("{}/", e.name) } else { e.name.clone() })
                .collect();
            let rest = entries.len().saturating_sub(SHOWN);
            if rest == 0 { names.join(", ") } else { format!("{} and {rest} more", names.join(", ")) }
        }
    };
    DataError::source(path, format!("expected {expected}; found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_answered_with_what_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let error = |data: &str| open(data, Split::Train, &OpenOptions::default()).unwrap_err().to_string();
        assert!(error(path).contains("an empty folder"));
        std::fs::write(folder.path().join("notes.txt"), "text").unwrap();
        for part in ["notes.txt", "shapes", "CIFAR-10", "parquet", "one folder per class"] {
            assert!(error(path).contains(part), "{part}: {}", error(path));
        }
        assert!(error("/no/such/folder").contains("no such file or folder"));
        assert!(error("folder:/no/such/folder").contains("no such file or folder"));
        assert!(error(&format!("cifar:{path}")).contains("test_batch.bin"));
        assert!(error(&format!("{path}/notes.txt")).contains("a file of another kind"));
    }

    #[test]
    fn the_embedded_set_needs_no_file() {
        let data = open("shapes", Split::Test, &OpenOptions::default()).unwrap();
        assert_eq!((data.name(), data.len()), ("shapes", 2000));
    }
}
