//! The Python batches: a pickled map each, read as data by the machine that reads weights.
//!
//! ```text
//! cifar-10-batches-py/   data_batch_1 … data_batch_5, test_batch: data [n, 3072] u8, labels;  batches.meta: label_names
//! cifar-100-python/      train, test: data, fine_labels, coarse_labels;  meta: fine_label_names
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use residuum_formats::disk;
use residuum_formats::pth::plain::{Plain, read_map};

use super::{Form, MAX_FILE_BYTES, PIXELS, Records};
use crate::error::{DataError, Result};

/// Appends the records of one batch.
///
/// # Errors
/// When it is no such batch, or a label is no class.
pub(super) fn read(path: &Path, form: Form, records: &mut Records) -> Result<()> {
    let map = open(path)?;
    let key = if form.classes() == 10 { "labels" } else { "fine_labels" };
    let (Some(Plain::Array(data)), Some(Plain::Ints(labels))) = (map.get("data"), map.get(key)) else {
        return Err(missing(path, &map, &format!("an array `data` and a list of integers `{key}`")));
    };
    let expected = [labels.len(), 3 * PIXELS];
    if data.shape() != expected {
        let found = data.shape();
        return Err(DataError::source(
            path,
            format!("expected `data` of shape {expected:?}, found {found:?}"),
        ));
    }
    for (i, (&label, planes)) in labels.iter().zip(data.to_u8()?.data().chunks_exact(3 * PIXELS)).enumerate()
    {
        let classes = form.classes();
        let label =
            u32::try_from(label).ok().filter(|&label| (label as usize) < classes).ok_or_else(|| {
                DataError::record(path, i, format!("expected a label below {classes}, found {label}"))
            })?;
        records.labels.push(label);
        records.push_planes(planes);
    }
    Ok(())
}

/// Names of the classes from the file beside the batches.
///
/// # Errors
/// When it is no such file.
pub(super) fn class_names(path: &Path, form: Form) -> Result<Vec<String>> {
    let mut map = open(path)?;
    let key = if form.classes() == 10 { "label_names" } else { "fine_label_names" };
    match map.remove(key) {
        Some(Plain::Texts(names)) => Ok(names),
        _ => Err(missing(path, &map, &format!("a list of texts `{key}`"))),
    }
}

fn open(path: &Path) -> Result<BTreeMap<String, Plain>> {
    let bytes = disk::read(path, MAX_FILE_BYTES)?;
    read_map(&bytes.into()).map_err(|e| DataError::source(path, e.to_string()))
}

fn missing(path: &Path, map: &BTreeMap<String, Plain>, expected: &str) -> DataError {
    let keys: Vec<&str> = map.keys().map(String::as_str).collect();
    DataError::source(path, format!("expected {expected}, found the keys {}", keys.join(", ")))
}
