//! Why an experiment could not begin, go on or end well.

use std::path::PathBuf;

use residuum_classify::ClassifyError;
use residuum_data::DataError;
use residuum_engine::EngineError;
use residuum_explain::ExplainError;
use residuum_formats::FormatError;
use residuum_graph::GraphError;
use residuum_graph::rewrite::RewriteError;
use residuum_models::ModelError;
use residuum_plot::PlotError;
use residuum_train::TrainError;

/// Result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, ExperimentError>;

/// What went wrong, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// There is no experiment of that name.
    #[error("`{name}`: there is no such experiment; expected one of {}", known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// The folder holds something else.
    #[error("{}: {problem}; name another folder with --output", path.display())]
    Mixed {
        /// The folder.
        path: PathBuf,
        /// What it holds, and what was expected.
        problem: String,
    },
    /// A file that an earlier part of the reproduction wrote cannot be read.
    #[error("{}: {problem}; remove the file, it is made anew", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The trained networks do not have what is to be measured.
    #[error("{what}: {problem}")]
    Measure {
        /// Which run or network.
        what: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// A run failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A trained network cannot be loaded or evaluated.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// A trained network cannot be looked into.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// The engine refuses the network, the size or the machine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no such network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A trained network cannot be made deeper.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    /// The network does not take pictures of this size.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Data that cannot be read or does not fit.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A figure cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A file could not be read or written.
    #[error(transparent)]
    Disk(#[from] FormatError),
}
