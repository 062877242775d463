//! Where the elements lie: both forms of the file keep each storage in one piece, under a key.

use std::collections::HashMap;

use super::value::{Node, StorageRef, Tree};
use crate::bytes::Bytes;
use crate::error::{FormatError, Result};

/// The storages of a file, by key.
pub(super) type Storages = HashMap<String, Bytes>;

/// Every storage that a tree speaks of.
///
/// # Errors
/// When the tree says two things of one storage: elements of one type cannot be those of another.
pub(super) fn described<'a>(tree: &Tree<'a>) -> Result<HashMap<&'a str, StorageRef<'a>>> {
    let mut by_key: HashMap<&str, StorageRef<'_>> = HashMap::new();
    for node in &tree.nodes {
        let Node::Storage(storage) = node else { continue };
        let first = by_key.entry(storage.key).or_insert_with(|| (**storage).clone());
        if *first != **storage {
            let message = format!(
                "{} elements of {} in one place, {} of {} in another",
                first.len, first.dtype, storage.len, storage.dtype
            );
            return Err(FormatError::malformed(place(storage.key), message));
        }
    }
    Ok(by_key)
}

/// A storage's name in a message.
pub(super) fn place(key: &str) -> String {
    format!("storage {key:?}")
}

/// Compares the length of a storage with what the pickle says of it.
pub(super) fn check_len(storage: &StorageRef<'_>, found: usize) -> Result<()> {
    if storage.len as u128 * storage.dtype.size_bytes() as u128 == found as u128 {
        return Ok(());
    }
    let message =
        format!("the pickle says {} elements of {}; found {found} bytes", storage.len, storage.dtype);
    Err(FormatError::malformed(place(storage.key), message))
}
