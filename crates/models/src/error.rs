//! Why a name makes no network.

use residuum_graph::GraphError;

/// A model that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The name is not registered and follows no rule.
    #[error("unknown model `{name}`{}; `residuum models` lists all names", did_you_mean(.nearest.as_deref()))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The registered name that is spelt most like it.
        nearest: Option<String>,
    },
    /// A number in the name that its form does not admit, such as a CIFAR depth that is not 6n+2.
    #[error("model `{name}`: expected {expected}, found {found}; try `{nearest}`")]
    Number {
        /// What was asked for.
        name: String,
        /// What the form admits.
        expected: String,
        /// The number in the name.
        found: usize,
        /// The name with the nearest numbers that are admitted.
        nearest: String,
    },
    /// The network's description is at fault, such as a classifier without classes.
    #[error("model `{name}`: {error}")]
    Graph {
        /// What was asked for.
        name: String,
        /// Which node, what it expects, what it was given.
        error: GraphError,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}
