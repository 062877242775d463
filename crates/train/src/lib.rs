//! Training: recipes, schedules, the loop, checkpoints, run folders.
//!
//! The path through the crate: a [`Recipe`] says what is trained and how, [`Data`] on what;
//! [`Trainer::begin`] makes a [`RunFolder`], [`Trainer::run`] fills it and tells an [`Observer`] what
//! happens; [`Saved::open`] and [`Trainer::resume`] go on with a run that was cut short, to the same bits.
//! [`report`] reads a run's folder back, also while it grows, and shows it as one page.
//!
//! Every step takes a whole batch. The pictures of an epoch that do not fill the last one are left out, as
//! in the paper's iterations; the next epoch is shuffled anew.
#![forbid(unsafe_code)]

mod average;
mod checkpoint;
mod curves;
mod data;
mod error;
mod evaluate;
mod findings;
mod hex;
mod observer;
mod progress;
mod recipe;
pub mod report;
mod run_folder;
mod saved;
mod schedule;
mod start;
mod state;
mod trainer;

pub use average::Average;
pub use data::Data;
pub use error::{Result, TrainError};
pub use findings::{ClassRecord, EvaluationRecord, Mistake, ResponseRecord};
pub use observer::{Observer, Plan, Step};
pub use progress::EpochRecord;
pub use recipe::{
    Augmentation, Decayed, Figure, Loss, Method, Optimiser, PaddingValue, Paper, Published, Recipe,
    SplitSizes,
};
pub use run_folder::RunFolder;
pub use saved::Saved;
pub use schedule::{Schedule, WarmUp, learning_rate};
pub use state::{PlanRecord, RunState, RunStatus};
pub use trainer::{Outcome, Trainer};

use hex::hex;
