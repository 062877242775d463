//! Folders: make, look into, rename, remove, each made durable by syncing the folder above.

use std::fs;
use std::path::{Path, PathBuf};

use super::sync_parent;
use crate::error::{FormatError, Result};

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without the folder. Bytes that are no UTF-8 are replaced: open `path`, print `name`.
    pub name: String,
    /// The folder's path with the name.
    pub path: PathBuf,
    /// True for a folder, or a link that leads to one.
    pub is_dir: bool,
}

/// Makes a new folder.
///
/// # Errors
/// When something of that name exists, the folder above does not, or the disk refuses.
pub fn create_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    fs::create_dir(path).map_err(|e| FormatError::io(path, "create the folder", e))?;
    sync_parent(path)
}

/// Makes a folder and those above it, where they are missing.
///
/// # Errors
/// When a file is in the way or the disk refuses.
pub fn create_dir_all(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_dir_all(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        // Another process may have made it in the meantime.
        Err(_) if path.is_dir() => Ok(()),
        Err(e) => Err(FormatError::io(path, "create the folder", e)),
    }
}

/// True where there is a file or folder of that name; a link counts if it leads somewhere.
pub fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().exists()
}

/// What a folder holds, sorted by name, byte by byte, so that it is the same on every machine.
///
/// # Errors
/// When it is no folder or cannot be read.
pub fn list(path: impl AsRef<Path>) -> Result<Vec<Entry>> {
    let path = path.as_ref();
    let failed = |e| FormatError::io(path, "list the folder", e);
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let is_dir = match entry.file_type() {
            Ok(kind) if kind.is_symlink() => path.is_dir(),
            Ok(kind) => kind.is_dir(),
            Err(e) => return Err(failed(e)),
        };
        entries.push(Entry { name, path, is_dir });
    }
    entries.sort();
    Ok(entries)
}

/// Renames a folder to a name in the same file system that is not taken, or is an empty folder.
///
/// # Errors
/// When the new name is taken or the disk refuses.
pub fn rename_dir(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    fs::rename(from, to).map_err(|e| FormatError::io(from, &format!("rename to {}", to.display()), e))?;
    sync_parent(to)?;
    if from.parent() == to.parent() { Ok(()) } else { sync_parent(from) }
}

/// Removes a folder and everything in it. Links inside are removed, not followed.
///
/// # Errors
/// When there is no such folder or the disk refuses.
pub fn remove_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    fs::remove_dir_all(path).map_err(|e| FormatError::io(path, "remove the folder", e))?;
    sync_parent(path)
}

/// Removes a file.
///
/// # Errors
/// When there is no such file or the disk refuses.
pub fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    fs::remove_file(path).map_err(|e| FormatError::io(path, "remove", e))?;
    sync_parent(path)
}
