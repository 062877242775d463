//! What can keep a network from running.

use residuum_graph::GraphError;

/// Why a network could not be compiled or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The network does not admit the size, or its description is wrong.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A parameter has no value.
    #[error("no values for parameter {name} of shape {shape:?}")]
    MissingWeight {
        /// Name of the parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A parameter's values have another shape.
    #[error("parameter {name}: expected shape {expected:?}, found {found:?}")]
    WeightShape {
        /// Name of the parameter.
        name: String,
        /// The network's shape.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
    },
    /// No node has the name asked for.
    #[error("no layer is called {name}; the network's modules are {known}")]
    UnknownTap {
        /// The name asked for.
        name: String,
        /// Some names that there are.
        known: String,
    },
    /// A batch norm would normalise a single value per channel, whose variance is nothing.
    #[error(
        "{node}: batch norm in training needs more than one value per channel; \
         use a larger batch or larger images"
    )]
    OneValuePerChannel {
        /// The batch norm.
        node: String,
    },
    /// The plan does not fit into memory.
    #[error("{what} needs {mib} MiB, which is not to be had; use a smaller batch")]
    OutOfMemory {
        /// What was to be allocated.
        what: &'static str,
        /// Its size.
        mib: usize,
    },
    /// Threads could not be started.
    #[error("cannot start {count} threads: {reason}")]
    Threads {
        /// How many were asked for.
        count: usize,
        /// The system's word.
        reason: String,
    },
    /// `RESIDUUM_ISA` names an instruction set that is not to be had.
    #[error(transparent)]
    Isa(#[from] residuum_kernels::isa::IsaError),
    /// `RESIDUUM_CONV` names an algorithm that there is not.
    #[error(transparent)]
    Conv(#[from] residuum_kernels::conv::UnknownAlgorithm),
}
