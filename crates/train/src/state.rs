//! Whether a run goes on, and how it ended.
//!
//! ```text
//! lock         held by the process that trains, and by the system's word free once that is gone
//! state.json   what that process said last
//! ```
//! A run that says it goes on while nobody holds its lock was killed. Neither the number of a process nor the
//! age of a file is asked, as the one is used again and the other is long where steps are.

use std::time::{Duration, SystemTime};

use residuum_formats::disk;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::observer::Plan;
use crate::run_folder::RunFolder;

/// How long a new owner waits for those who only look whether there is one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// Where the file system knows no locks, a run that wrote no step for so long counts as stopped.
const SILENCE: Duration = Duration::from_mins(10);
const MAX_STATE_BYTES: usize = 64 << 10;
const VERSION: u32 = 1;

/// What a run is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// A process trains.
    Running,
    /// All epochs are done.
    Finished,
    /// Not done, and nobody trains: it was stopped, failed, or its process is gone.
    Stopped,
    /// A loss, a gradient or an answer was no number.
    Diverged,
}

/// What is known about a run as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunStatus {
    /// What it is at.
    pub state: RunState,
    /// Why it is at that, for a reader.
    pub reason: Option<String>,
    /// When the process that trains or trained last began, by RFC 3339.
    pub begun: Option<String>,
    /// What was planned, where a process said so.
    pub plan: Option<PlanRecord>,
}

/// How long a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Steps of a whole epoch.
    pub epoch_steps: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Training pictures.
    pub train_images: usize,
    /// Test pictures.
    pub test_images: usize,
}

impl From<&Plan> for PlanRecord {
    fn from(plan: &Plan) -> Self {
        let Plan { epochs, epoch_steps, steps, train_images, test_images, .. } = *plan;
        Self { epochs, epoch_steps, steps, train_images, test_images }
    }
}

/// What `state.json` holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StateFile {
    version: u32,
    state: RunState,
    reason: Option<String>,
    /// Tells a person which process to look for; nothing depends on it.
    process: u32,
    begun: String,
    plan: PlanRecord,
}

impl StateFile {
    /// Of this process, from now on.
    pub(crate) fn begun(plan: &Plan) -> Self {
        Self {
            version: VERSION,
            state: RunState::Running,
            reason: None,
            process: std::process::id(),
            begun: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            plan: plan.into(),
        }
    }

    /// Puts how the run ended in the place of what it was at.
    pub(crate) fn end(&mut self, state: RunState, reason: Option<String>) {
        (self.state, self.reason) = (state, reason);
    }

    pub(crate) fn write(&self, folder: &RunFolder) -> Result<()> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        Ok(disk::write_bytes(folder.state(), text.as_bytes())?)
    }
}

/// What a run is at. A folder without `state.json` holds a run that never began its first step, or one of an
/// older version: it counts as stopped.
pub(crate) fn status(folder: &RunFolder) -> RunStatus {
    let text = disk::read_text(folder.state(), MAX_STATE_BYTES);
    let said: Option<StateFile> = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    let is_held = match disk::is_locked(folder.lock()) {
        Some(is_held) => is_held,
        None => disk::file_stamp(folder.metrics()).is_ok_and(|(_, modified)| is_recent(modified)),
    };
    let stopped = |reason: &str| (RunState::Stopped, Some(reason.to_owned()));
    let Some(StateFile { state, reason, begun, plan, .. }) = said else {
        let (state, reason) =
            if is_held { (RunState::Running, None) } else { stopped("nothing is known of how it ended") };
        return RunStatus { state, reason, begun: None, plan: None };
    };
    let (state, reason) = match state {
        RunState::Running if !is_held => stopped("its process ended without a word"),
        state => (state, reason),
    };
    RunStatus { state, reason, begun: Some(begun), plan: Some(plan) }
}

fn is_recent(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age < SILENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            epochs: 2,
            epoch_steps: 3,
            steps: 6,
            steps_done: 0,
            train_images: 9,
            test_images: 4,
            peak_bytes: 1,
        }
    }

    #[test]
    fn who_says_it_goes_on_must_hold_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::at(folder.path());
        assert_eq!(status(&run).state, RunState::Stopped);
        let lock = disk::Lock::acquire(run.lock(), PATIENCE).unwrap().unwrap();
        assert_eq!(status(&run).state, RunState::Running, "before it has said anything");
        let mut file = StateFile::begun(&plan());
        file.write(&run).unwrap();
        let found = status(&run);
        assert_eq!((found.state, found.plan.unwrap().steps), (RunState::Running, 6));
        drop(lock);
        let found = status(&run);
        assert_eq!(found.state, RunState::Stopped);
        assert!(found.reason.unwrap().contains("without a word"));
        for (state, reason) in [(RunState::Finished, None), (RunState::Diverged, Some("the loss is NaN"))] {
            file.end(state, reason.map(str::to_owned));
            file.write(&run).unwrap();
            let found = status(&run);
            assert_eq!((found.state, found.reason.as_deref()), (state, reason));
        }
        std::fs::write(run.state(), "{ torn").unwrap();
        assert_eq!(status(&run).state, RunState::Stopped);
    }

    #[test]
    fn without_locks_the_last_step_decides() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::at(folder.path());
        StateFile::begun(&plan()).write(&run).unwrap();
        assert_eq!(status(&run).state, RunState::Stopped, "no lock file, no step");
        std::fs::write(run.metrics(), "{}\n").unwrap();
        assert_eq!(status(&run).state, RunState::Running, "no lock file, a step just now");
        let old = std::fs::File::options().append(true).open(run.metrics()).unwrap();
        old.set_modified(SystemTime::now() - 2 * SILENCE).unwrap();
        assert_eq!(status(&run).state, RunState::Stopped, "no lock file, a step long ago");
    }
}
