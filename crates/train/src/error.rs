//! Why a run could not begin, go on or end well.

use std::path::PathBuf;

use residuum_classify::ClassifyError;
use residuum_data::DataError;
use residuum_engine::EngineError;
use residuum_explain::ExplainError;
use residuum_formats::FormatError;
use residuum_models::ModelError;

/// Result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, TrainError>;

/// What went wrong, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A recipe that cannot be read or asks for what cannot be.
    #[error("{0}")]
    Recipe(String),
    /// The folder of a new run is there already.
    #[error("{}: exists already, and runs are never mixed; name another folder, or go on with --resume", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Another process trains in this folder.
    #[error("{}: a process trains here already; wait for it or stop it first (`residuum watch` shows how far it is)", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that holds no run that could go on.
    #[error("{}: no run can be resumed here: {problem}", path.display())]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// A run was to go on with another recipe or other data.
    #[error(
        "{}: a resumed run must go on as it began, but these differ:\n  {}\nleave them as they are, or begin a new run",
        path.display(),
        differences.join("\n  ")
    )]
    Differs {
        /// The folder.
        path: PathBuf,
        /// What differs, with both values.
        differences: Vec<String>,
    },
    /// A loss or a gradient is no longer a number.
    #[error(
        "diverged at step {step} (epoch {epoch}): {what}; the last good checkpoint is {}; \
         try a lower --lr or a longer warm-up",
        checkpoint.display()
    )]
    Diverged {
        /// Steps done, the bad one included.
        step: u64,
        /// Epoch, counted from 1.
        epoch: u64,
        /// Which quantity, and its value.
        what: String,
        /// Where the run was last in order.
        checkpoint: PathBuf,
    },
    /// Data that cannot be read or does not fit.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The engine refuses the network, the size or the machine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no such network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model to begin with cannot be loaded, or the trained one not be evaluated or saved.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// The network could not be looked into.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// A file could not be read or written.
    #[error(transparent)]
    Disk(#[from] FormatError),
}
