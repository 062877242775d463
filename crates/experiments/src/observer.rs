//! What a reproduction tells while it goes on.

use residuum_train::{EpochRecord, Step};

/// Listens to a reproduction. Every method may be left out.
pub trait Observer {
    /// A run comes up.
    fn on_run(&mut self, run: &RunNote) {
        let _ = run;
    }

    /// Something the user should know.
    fn on_note(&mut self, note: &str) {
        let _ = note;
    }

    /// So much of something that is no run is done.
    fn on_progress(&mut self, what: &str, done: u64, all: u64) {
        let _ = (what, done, all);
    }

    /// A step of a run is done.
    fn on_step(&mut self, run: &RunNote, step: &Step) {
        let _ = (run, step);
    }

    /// An epoch of a run is evaluated.
    fn on_epoch(&mut self, run: &RunNote, record: &EpochRecord) {
        let _ = (run, record);
    }
}

/// Listens to nothing.
impl Observer for () {}

/// How a run comes to its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It begins.
    Begins,
    /// It goes on from its checkpoint.
    GoesOn,
    /// It was done before.
    IsDone,
    /// The same run was done in another reproduction, whose folder is named.
    IsBorrowed(String),
}

/// Which run of how many, and how much of all there is to do it is.
#[derive(Clone, Debug, PartialEq)]
pub struct RunNote {
    /// Number of the run, from 1.
    pub number: usize,
    /// All runs.
    pub runs: usize,
    /// Its name.
    pub name: String,
    /// How it comes to its result.
    pub state: RunState,
    /// Steps of the whole run.
    pub steps: u64,
    /// Arithmetic of all runs before it, as a share of that of all.
    pub share_before: f64,
    /// Its own arithmetic, as a share of that of all runs.
    pub share: f64,
}

impl RunNote {
    /// How much of the arithmetic of all runs is done after a step of this one.
    pub fn share_done(&self, step: u64) -> f64 {
        self.share_before + self.share * step as f64 / self.steps.max(1) as f64
    }
}
