//! Why a network cannot be rewritten.

use crate::error::GraphError;

/// The node that stands in the way, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{node}: {reason}")]
pub struct RewriteError {
    /// Name of the node or parameter.
    pub node: String,
    /// What is wrong with it.
    pub reason: String,
}

impl RewriteError {
    pub(crate) fn new(node: &str, reason: impl Into<String>) -> Self {
        Self { node: node.to_owned(), reason: reason.into() }
    }
}

impl From<GraphError> for RewriteError {
    fn from(error: GraphError) -> Self {
        let GraphError { node, expected, found } = error;
        Self { node, reason: format!("expected {expected}, found {found}") }
    }
}
