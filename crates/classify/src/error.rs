//! What can keep a network from answering.

use std::path::{Path, PathBuf};

use residuum_data::DataError;
use residuum_engine::EngineError;
use residuum_formats::FormatError;
use residuum_graph::GraphError;
use residuum_models::{MatchError, ModelError};

/// Result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, ClassifyError>;

/// Why a model could not be loaded, saved or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// A file could not be read or written, or breaks its format's rules.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The name makes no network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A picture or a data set was refused.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network could not be written down, or its description is at fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The network could not be compiled.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The tensors of a file are not those of the network.
    #[error("{}: {error}", path.display())]
    Match {
        /// The file.
        path: PathBuf,
        /// What differs.
        error: MatchError,
    },
    /// A path that is no model, or whose contents contradict themselves.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Expected, found, what to do.
        problem: String,
    },
    /// The classes of model and data cannot be brought together.
    #[error("classes: {0}")]
    Classes(String),
    /// No picture was left to answer for.
    #[error("none of the {images} images could be read; the first: {first}")]
    NothingRead {
        /// How many there were.
        images: usize,
        /// Why the first was refused.
        first: String,
    },
    /// The network's answer is not a number.
    #[error(
        "{image}: the network answers with values that are not finite; its weights are damaged or diverged"
    )]
    NotFinite {
        /// Which picture.
        image: String,
    },
}

impl ClassifyError {
    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.into(), problem: problem.into() }
    }
}
