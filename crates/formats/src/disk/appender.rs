//! A log that grows line by line, such as `metrics.jsonl`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::sync_parent;
use crate::error::{FormatError, Result};

const TAIL_BYTES: u64 = 64 * 1024;

/// A file open for appending whole lines.
#[derive(Debug)]
pub struct Appender {
    file: File,
    path: PathBuf,
}

impl Appender {
    /// Opens a log, made if missing. A last line without its end, as a crash leaves it, is cut off, so
    /// that every line of the file stays a whole one.
    ///
    /// # Errors
    /// When it cannot be opened, read or cut.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let is_new = !path.exists();
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = file.map_err(|e| FormatError::io(path, "open for appending", e))?;
        if is_new {
            sync_parent(path)?;
        }
        cut_torn_line(&mut file).map_err(|e| FormatError::io(path, "cut the torn last line", e))?;
        Ok(Self { file, path: path.to_path_buf() })
    }

    /// Appends one line; the line's end is added. What is written survives the end of this process; see
    /// [`sync`](Self::sync) for a loss of power.
    ///
    /// # Errors
    /// When the line holds a line break, which would make it two, or the disk refuses.
    pub fn append(&mut self, line: &str) -> Result<()> {
        if line.contains('\n') {
            return Err(
                FormatError::malformed("line to append", "must not hold a line break").in_file(&self.path)
            );
        }
        let whole = [line.as_bytes(), b"\n"].concat();
        self.file.write_all(&whole).map_err(|e| FormatError::io(&self.path, "append", e))
    }

    /// Waits until all lines are on the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|e| FormatError::io(&self.path, "sync", e))
    }
}

/// Cuts the file after its last line break, looking backwards in pieces.
fn cut_torn_line(file: &mut File) -> std::io::Result<()> {
    let len = file.metadata()?.len();
    let mut end = len;
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        piece.clear();
        (&*file).take(end - start).read_to_end(&mut piece)?;
        if let Some(at) = piece.iter().rposition(|&byte| byte == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end < len { file.set_len(end) } else { Ok(()) }
}
