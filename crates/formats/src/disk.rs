//! The one door to the disk of the whole project.
//!
//! Reading is bounded or mapped. Writing replaces whole files: a temporary beside the target, written,
//! synced, renamed over it, and the folder synced, so that after a crash, a full disk or a failed writer
//! the old file or the new one is there, complete. A failed sync is an error and is never retried on the
//! same file. Every error names the path and what was being done to it.

mod appender;
mod folder;
mod lock;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

pub use appender::Appender;
pub use folder::{Entry, create_dir, create_dir_all, exists, list, remove_dir, remove_file, rename_dir};
pub use lock::{Lock, is_locked};

use crate::error::{FormatError, Result};

const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// Reads a whole file of at most `max_bytes`.
///
/// # Errors
/// When it is no regular file, is longer than `max_bytes`, or cannot be read.
pub fn read(path: impl AsRef<Path>, max_bytes: usize) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let (file, len) = open_regular(path)?;
    let too_long =
        || FormatError::limit("", format!("longer than the {max_bytes} bytes allowed here")).in_file(path);
    if len > max_bytes as u64 {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len as usize)
        .map_err(|_| FormatError::out_of_memory("", len as usize).in_file(path))?;
    // The file may grow while it is read: the limit holds for what is read, not for what was announced.
    let limit = max_bytes as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|e| FormatError::io(path, "read", e))?;
    if bytes.len() > max_bytes { Err(too_long()) } else { Ok(bytes) }
}

/// Reads a whole text file of at most `max_bytes`.
///
/// # Errors
/// As [`read`], and when the bytes are not UTF-8.
pub fn read_text(path: impl AsRef<Path>, max_bytes: usize) -> Result<String> {
    let path = path.as_ref();
    String::from_utf8(read(path, max_bytes)?).map_err(|e| {
        let place = format!("byte {}", e.utf8_error().valid_up_to());
        FormatError::malformed(place, "expected UTF-8 text").in_file(path)
    })
}

/// Reads at most `max_bytes` of a file from `offset` on; less where the file ends before, nothing where it
/// ends before `offset`.
///
/// # Errors
/// When it is no regular file or cannot be read.
pub fn read_from(path: impl AsRef<Path>, offset: u64, max_bytes: usize) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let (mut file, _) = open_regular(path)?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.take(max_bytes as u64).read_to_end(&mut bytes))
        .map_err(|e| FormatError::io(path, "read", e))?;
    Ok(bytes)
}

/// A file mapped into memory, read only.
///
/// The operating system reads pages when they are first touched. Files that this project writes are
/// replaced and never changed in place, so a map of one stays whole; cutting a mapped file short from
/// outside makes the system end the process.
#[derive(Debug)]
pub struct Mapped {
    map: memmap2::Mmap,
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// Maps a whole file.
///
/// # Errors
/// When it is no regular file or cannot be mapped.
pub fn map(path: impl AsRef<Path>) -> Result<Mapped> {
    let path = path.as_ref();
    let (file, _) = open_regular(path)?;
    // SAFETY: the map is read only and private to `Mapped`, which hands out nothing but `&[u8]`. That the
    // bytes stay what they are is the duty of whoever owns the file: this project replaces files by rename
    // and never writes into one that exists, and the documentation of `Mapped` says it to the user.
    #[allow(unsafe_code)]
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| FormatError::io(path, "map", e))?;
    Ok(Mapped { map })
}

/// Length of a regular file in bytes.
///
/// # Errors
/// When it is no regular file or cannot be looked at.
pub fn file_len(path: impl AsRef<Path>) -> Result<u64> {
    let path = path.as_ref();
    let metadata = fs::metadata(path).map_err(|e| FormatError::io(path, "open", e))?;
    if metadata.is_file() { Ok(metadata.len()) } else { Err(not_regular(path)) }
}

/// Length in bytes and time of the last change of a regular file.
///
/// # Errors
/// When it is no regular file or cannot be looked at.
pub fn file_stamp(path: impl AsRef<Path>) -> Result<(u64, SystemTime)> {
    let path = path.as_ref();
    let len = file_len(path)?;
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    Ok((len, modified.map_err(|e| FormatError::io(path, "look at", e))?))
}

fn not_regular(path: &Path) -> FormatError {
    FormatError::unsupported("", "expected a regular file").in_file(path)
}

/// Opens a file to read. Looks before opening, since opening a pipe waits for its other end.
fn open_regular(path: &Path) -> Result<(File, u64)> {
    file_len(path)?;
    let file = File::open(path).map_err(|e| FormatError::io(path, "open", e))?;
    let metadata = file.metadata().map_err(|e| FormatError::io(path, "open", e))?;
    if metadata.is_file() { Ok((file, metadata.len())) } else { Err(not_regular(path)) }
}

/// What a new file can do: be written, from front to back as a rule, and back over what was written.
pub trait WriteSeek: Write + Seek {}

impl<T: Write + Seek> WriteSeek for T {}

/// Writes a file so that `path` holds either what it held before or all that `write` wrote.
///
/// # Errors
/// When `write` fails, or any step of the disk's; the temporary is then gone and the old file untouched.
/// After a failed sync of the folder, which is the last step, the new file is in place but may not survive
/// a loss of power.
pub fn write_atomic(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn WriteSeek) -> io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let (mut temporary, file) = Temporary::create_beside(path)?;
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
    write(&mut writer).map_err(|e| FormatError::io(path, "write", e))?;
    let file = writer.into_inner().map_err(|e| FormatError::io(path, "write", e.into_error()))?;
    file.sync_all().map_err(|e| FormatError::io(path, "sync", e))?;
    drop(file);
    fs::rename(&temporary.path, path).map_err(|e| FormatError::io(path, "replace", e))?;
    temporary.is_renamed = true;
    sync_parent(path)
}

/// [`write_atomic`] of bytes that are there already.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    write_atomic(path, |writer| writer.write_all(bytes))
}

/// A file being written, removed when dropped unless it has become the target.
struct Temporary {
    path: PathBuf,
    is_renamed: bool,
}

impl Temporary {
    fn create_beside(target: &Path) -> Result<(Self, File)> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = target.file_name().ok_or_else(|| {
            FormatError::new(crate::ErrorKind::Io, "", "expected the path of a file").in_file(target)
        })?;
        let mut temporary_name = std::ffi::OsString::from(".");
        temporary_name.push(name);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        temporary_name.push(format!(".tmp-{}-{count}", std::process::id()));
        let path = target.with_file_name(temporary_name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|e| FormatError::io(target, "create a temporary file beside it", e))?;
        Ok((Self { path, is_renamed: false }, file))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_renamed {
            // The error that led here is the one to report; a temporary that stays is harmless.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a name in a folder durable by syncing the folder that holds it.
fn sync_parent(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    sync_folder(parent).map_err(|e| FormatError::io(parent, "sync the folder", e))
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened to be synced; the system orders its own journal.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
