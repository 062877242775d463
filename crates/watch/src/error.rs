//! Why runs cannot be shown.

use std::io;
use std::path::PathBuf;

use residuum_formats::FormatError;

/// Result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, WatchError>;

/// What went wrong, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// A path that holds no runs and never will.
    #[error("{}: expected a run folder or a folder of runs, as `residuum train` makes them; found {found}", path.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// A folder could not be looked into.
    #[error(transparent)]
    Disk(#[from] FormatError),
    /// A host that is no address and no name of one.
    #[error("--host {host}: expected an address of this machine, such as 127.0.0.1 or 0.0.0.0; {problem}")]
    Host {
        /// What was asked for.
        host: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The address cannot be listened on.
    #[error("{address}: cannot listen there; choose another port, or --port 0 for a free one")]
    Listen {
        /// Host and port.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The server could not be started.
    #[error("the server could not be started")]
    Start(#[source] io::Error),
}
