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
    /// A CIFAR net of a depth that is not 6n+2 (§4.2), or too deep to be meant.
    #[error("model `{name}`: expected a depth of 6n+2 from 8 to {deepest}, found {depth}; try `{nearest}`")]
    Depth {
        /// What was asked for.
        name: String,
        /// Its depth.
        depth: usize,
        /// The deepest net that is built.
        deepest: usize,
        /// The name with the nearest depth that exists.
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
