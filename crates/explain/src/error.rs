//! What can keep a question from being answered.

use residuum_engine::EngineError;
use residuum_graph::GraphError;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The network cannot be compiled.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The network does not admit the size.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Whoever was told how far the work is said to stop.
    #[error("stopped before it was done")]
    Stopped,
    /// What was asked for does not exist or does not fit.
    #[error("{what}: expected {expected}, found {found}")]
    Unfit {
        /// A layer, a class, an array.
        what: String,
        /// What would have been right.
        expected: String,
        /// What was there.
        found: String,
    },
}

impl ExplainError {
    pub(crate) fn unfit(
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Unfit { what: what.into(), expected: expected.into(), found: found.into() }
    }
}

/// What this crate's functions give.
pub type Result<T> = std::result::Result<T, ExplainError>;
