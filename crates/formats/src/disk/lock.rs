//! A lock that ends with the process that holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{FormatError, Result};

/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// An exclusive lock on a file, given back when dropped. The system gives it back when the process ends,
/// however it ends, so that neither a kill, nor a restart of the machine, nor a number of a process that is
/// used again can make a dead holder look alive.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a file, made if missing; nothing where another holds it and does not give it back
    /// within `patience`, which covers those who only look ([`is_locked`]).
    ///
    /// Where the file system knows no locks, everybody gets one.
    ///
    /// # Errors
    /// When the file cannot be opened or made.
    pub fn acquire(path: impl AsRef<Path>, patience: Duration) -> Result<Option<Self>> {
        let path = path.as_ref();
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(|e| FormatError::io(path, "open to lock it", e))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Some(Self { _file: file })),
                Err(TryLockError::WouldBlock) if begun.elapsed() >= patience => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// Whether a process holds the lock of a file: `None` where that cannot be known, as there are no locks on
/// this file system or the file cannot be opened.
pub fn is_locked(path: impl AsRef<Path>) -> Option<bool> {
    let file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}
