//! Runs of training as a page, while they go on and after: an HTTP server for this machine's own browser.
//!
//! ```text
//! GET /                              the page
//! GET /api/runs                      all runs in short, the newest name first
//! GET /api/runs/{run}                one run with its curves over steps and epochs and its layers' responses
//! GET /api/runs/{run}/evaluation     its last evaluation: classes, confusions, the most confident mistakes
//! ```
//! `{run}` is the `id` that the list gives, percent-encoded. Answers are JSON objects with `schema` and
//! `version`; an error is `{"error": "…"}` with the status that fits. Nothing can be changed.
//!
//! No path is made from a request: an id is looked up among the runs that were found. A request must name
//! an address, `localhost` or the host that the server was told to listen on, so that a foreign page whose name
//! leads here (DNS rebinding) learns nothing. Requests have no body; headers, connections and their lives are
//! bounded; files are read on threads of their own, so that a slow client or a long file delays nobody else.
#![forbid(unsafe_code)]

mod api;
mod connection;
mod error;
mod guard;
mod runs;
mod server;

pub use error::{Result, WatchError};
pub use server::{Door, Server};
