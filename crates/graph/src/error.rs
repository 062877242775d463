//! What can be wrong with a network's description.

/// An operation that does not fit its inputs: which node, what it expects, what it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{node}: expected {expected}, found {found}")]
pub struct GraphError {
    /// Name of the node (or parameter) at fault.
    pub node: String,
    /// What would have been right.
    pub expected: String,
    /// What was there.
    pub found: String,
}

impl GraphError {
    pub(crate) fn new(node: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { node: node.to_owned(), expected: expected.into(), found: found.into() }
    }
}
