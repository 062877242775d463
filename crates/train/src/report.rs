//! A run as one page: what its folder holds, read back, also while it grows.
//!
//! [`RunReader`] follows a folder and needs no more memory for a long run than for a short one; [`document`] is
//! the page, one HTML file without any other, which shows either the data put into it or what a server tells
//! it. Training writes it as `report.html` when a run ends; the crate `watch` serves it while runs go on.

mod metrics;
mod page;
mod reader;

pub use metrics::{EpochPoint, Steps};
pub use page::document;
pub use reader::{Responses, RunReader, RunReport, RunSummary};

use residuum_formats::disk;
use serde::Serialize;

use crate::error::Result;
use crate::findings::EvaluationRecord;
use crate::run_folder::RunFolder;

/// What the page of a single run is made from.
#[derive(Serialize)]
struct Embedded {
    run: RunReport,
    evaluation: Option<EvaluationRecord>,
}

/// Writes `report.html` of a run's folder.
pub(crate) fn write(folder: &RunFolder) -> Result<()> {
    let mut reader = RunReader::open(folder.clone());
    let embedded = Embedded { run: reader.report(), evaluation: reader.evaluation() };
    let data = serde_json::to_string(&embedded).unwrap_or_default();
    Ok(disk::write_bytes(folder.report(), document(Some(&data)).as_bytes())?)
}
