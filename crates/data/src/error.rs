//! What can go wrong between a path and a batch, said so that its reader can act.

use std::path::{Path, PathBuf};

/// Result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, DataError>;

/// Why a picture, a record, a folder or a setting was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read, or is not what its format says.
    #[error(transparent)]
    Disk(#[from] residuum_formats::FormatError),
    /// A picture that cannot be decoded or is over a limit.
    #[error("{name}: {problem}")]
    Image {
        /// File name, or record of a file, or `image` where neither is known.
        name: String,
        /// Expected and found.
        problem: String,
    },
    /// A record of a file that holds many.
    #[error("{}, record {record}: {problem}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Counted from 0.
        record: usize,
        /// Expected and found.
        problem: String,
    },
    /// A file or folder that is no data set, or not a whole one.
    #[error("{}: {problem}", path.display())]
    Source {
        /// The file or folder.
        path: PathBuf,
        /// Expected, found, what to do.
        problem: String,
    },
    /// Settings that contradict each other or the data.
    #[error("{0}")]
    Settings(String),
}

impl DataError {
    pub(crate) fn image(problem: impl Into<String>) -> Self {
        Self::Image { name: "image".into(), problem: problem.into() }
    }

    pub(crate) fn record(path: &Path, record: usize, problem: impl Into<String>) -> Self {
        Self::Record { path: path.into(), record, problem: problem.into() }
    }

    pub(crate) fn source(path: &Path, problem: impl Into<String>) -> Self {
        Self::Source { path: path.into(), problem: problem.into() }
    }

    /// Puts the name of the picture in the place of the unknown one.
    pub(crate) fn named(self, place: impl FnOnce() -> String) -> Self {
        match self {
            Self::Image { problem, .. } => Self::Image { name: place(), problem },
            other => other,
        }
    }
}
