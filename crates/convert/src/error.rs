//! Why something was not converted.

use std::path::{Path, PathBuf};

use residuum_classify::ClassifyError;
use residuum_engine::EngineError;
use residuum_formats::FormatError;
use residuum_graph::GraphError;
use residuum_models::ModelError;

/// Result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, ConvertError>;

/// Why something was not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A file could not be read or written, or breaks its format's rules.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A model could not be loaded or saved.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// The network could not be compiled to be verified.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The name makes no network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The layers make no graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A layer that asks for something that is not done here, or whose weights are not what it needs.
    #[error("layer `{layer}`: {problem}")]
    Layer {
        /// Name of the layer.
        layer: String,
        /// Expected, found, what to do.
        problem: String,
    },
    /// A file that cannot be converted, or not to what was asked for.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Expected, found, what to do.
        problem: String,
    },
    /// Another error, with the file that it is about.
    #[error("{}: {error}", path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: Box<ConvertError>,
    },
}

impl ConvertError {
    pub(crate) fn layer(layer: &str, problem: impl Into<String>) -> Self {
        Self::Layer { layer: layer.into(), problem: problem.into() }
    }

    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.into(), problem: problem.into() }
    }

    /// Names the file of an error about a layer or a graph.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            error @ (Self::Layer { .. } | Self::Graph(_)) => {
                Self::In { path: path.into(), error: Box::new(error) }
            }
            other => other,
        }
    }
}
