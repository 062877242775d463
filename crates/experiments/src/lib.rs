//! The papers' experiments end to end: runs, measurements, pictures, and a table with the published figures
//! beside ours.
//!
//! The path through the crate: [`experiments`] lists what there is, each an [`Experiment`] of runs and a
//! function from their results to [`Findings`]; [`Reproduction::open`] takes one with [`Options`] (scale,
//! data, folder), [`Reproduction::run`] trains what is not trained yet and writes the folder:
//!
//! ```text
//! README.md           what was asked, the protocol, what was scaled down, what came out
//! curves.svg, .png    the figure; its points in curves.csv
//! table.md, .csv      ours beside the published figures
//! commands.sh         the command of each run
//! result.json         all of it for programs; its presence says that everything is done
//! runs/NAME/          run folders of `train`, runs/NAME.json what was found in each
//! starts/NAME…        weights that a run begins with, where an experiment makes them
//! ```
//!
//! A reproduction that was cut goes on where it stopped, to the same bits: runs that are done are recognised,
//! the one that was cut goes on from its checkpoint. Runs of a reproduction beside it that are the same to
//! the last setting are taken from there.
//!
//! A [`Study`] trains nothing: it looks into a network that is given. An [`Examination`] does it.
#![forbid(unsafe_code)]

mod charts;
mod error;
mod experiment;
mod observer;
mod papers;
mod record;
mod report;
mod reproduction;
mod setting;
mod study;
mod table;

pub use error::{ExperimentError, Result};
pub use experiment::{Entry, Experiment, Findings, Picture, Run, Start, experiments, find, studies};
pub use observer::{Observer, RunNote, RunState};
pub use record::Record;
pub use report::Report;
pub use reproduction::{Options, Outcome, Reproduction, Results, RunResult};
pub use setting::{Scale, Setting};
pub use study::{Channels, Examination, Shown, Study, StudyOptions, StudyReport};
pub use table::Table;
