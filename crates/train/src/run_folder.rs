//! The folder in which a run leaves what it found out.
//!
//! ```text
//! recipe.toml         the recipe in force, to be used again
//! metrics.jsonl       one line for each step and evaluation
//! summary.csv         one line for each epoch
//! curves.svg          loss and error over the epochs
//! evaluation.json     what the last evaluation found: confusions, the most confident mistakes
//! responses.jsonl     one line for each epoch: the spread of each layer's response
//! report.html         all of this as one page, written when the run ends
//! state.json          whether the run goes on, and how it ended
//! lock                held by the process that trains
//! best.safetensors    model of the epoch with the highest accuracy
//! last.safetensors    model of the last epoch
//! checkpoint/         all that going on needs
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use residuum_formats::disk::{self, Appender, Lock};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Checkpoint};
use crate::curves;
use crate::error::{Result, TrainError};
use crate::findings::ResponseRecord;
use crate::progress::EpochRecord;
use crate::state::{self, RunStatus};

const MAX_METRICS_BYTES: usize = 1 << 30;

/// Path of a run's folder and of what lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

/// One line of `metrics.jsonl`.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct MetricsLine {
    pub(crate) step: u64,
    pub(crate) epoch: u64,
    pub(crate) phase: Phase,
    pub(crate) loss: f64,
    pub(crate) top1: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) top5: Option<f64>,
    pub(crate) lr: f64,
    pub(crate) images_per_second: f64,
    pub(crate) wall_s: f64,
}

/// What a line of `metrics.jsonl` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// A step.
    Train,
    /// An evaluation.
    Eval,
}

impl RunFolder {
    /// The folder of a path, which need not exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// `runs/<yyyymmdd-hhmmss>-<model>-<data>`, by the local clock; a number is added where that is taken.
    pub fn dated(model: &str, data: &str) -> Self {
        let plain = |name: &str| -> String {
            name.chars().map(|c| if c.is_alphanumeric() || "._".contains(c) { c } else { '_' }).collect()
        };
        let now = jiff::ZonedDateTime::now().strftime("%Y%m%d-%H%M%S");
        let name = format!("{now}-{}-{}", plain(model), plain(data));
        let numbered = (2..).map(|i| Path::new("runs").join(format!("{name}-{i}")));
        let mut paths = std::iter::once(Path::new("runs").join(&name)).chain(numbered);
        Self { path: paths.find(|path| !disk::exists(path)).unwrap_or_default() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Model of the epoch with the highest accuracy.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// Model of the last epoch.
    pub fn last(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }

    /// Results of every step.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Results of every epoch.
    pub fn summary(&self) -> PathBuf {
        self.path.join("summary.csv")
    }

    /// Picture of the results.
    pub fn curves(&self) -> PathBuf {
        self.path.join("curves.svg")
    }

    /// Confusions and mistakes of the last evaluation, see [`EvaluationRecord`](crate::EvaluationRecord).
    pub fn evaluation(&self) -> PathBuf {
        self.path.join("evaluation.json")
    }

    /// Responses of the layers after every epoch, see [`ResponseRecord`](crate::ResponseRecord).
    pub fn responses(&self) -> PathBuf {
        self.path.join("responses.jsonl")
    }

    /// The run as one page.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// What the process that trains said last.
    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// What that process holds the lock of.
    pub(crate) fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// Whether there is a run in this folder.
    pub fn is_run(&self) -> bool {
        disk::exists(self.recipe()) && (disk::exists(self.checkpoint()) || disk::exists(self.metrics()))
    }

    /// Whether the run goes on, and how it ended. A run whose process was killed is told from one that goes
    /// on.
    pub fn status(&self) -> RunStatus {
        state::status(self)
    }

    /// The recipe in force.
    pub fn recipe(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    /// What a resumed run begins with.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(checkpoint::FOLDER)
    }

    /// Whether a new run may begin here.
    ///
    /// # Errors
    /// When something of that name exists.
    pub fn check_new(&self) -> Result<()> {
        if disk::exists(&self.path) { Err(TrainError::Exists { path: self.path.clone() }) } else { Ok(()) }
    }

    /// Makes the folder with recipe and first checkpoint: beside its place, then renamed, so that every run
    /// folder that there is can be resumed. The lock is this process's before anybody sees the folder.
    pub(crate) fn create(&self, first: &Checkpoint) -> Result<Lock> {
        self.check_new()?;
        let name = self.path.file_name().ok_or_else(|| {
            TrainError::Recipe(format!("{}: expected the name of a new folder", self.path.display()))
        })?;
        let parent = self.path.parent().unwrap_or(Path::new(""));
        disk::create_dir_all(parent)?;
        let unfinished = parent.join(format!(".{}.new-{}", name.to_string_lossy(), std::process::id()));
        if disk::exists(&unfinished) {
            disk::remove_dir(&unfinished)?;
        }
        disk::create_dir(&unfinished)?;
        let recipe = first.identity.recipe.to_toml()?;
        disk::write_bytes(Self::at(&unfinished).recipe(), recipe.as_bytes())?;
        first.save(&unfinished)?;
        let lock = Self::at(&unfinished).acquire()?;
        disk::rename_dir(&unfinished, &self.path)?;
        Ok(lock)
    }

    /// Makes this process the only one that trains here.
    pub(crate) fn acquire(&self) -> Result<Lock> {
        let lock = Lock::acquire(self.lock(), state::PATIENCE)?;
        lock.ok_or_else(|| TrainError::Busy { path: self.path.clone() })
    }

    /// Opens `metrics.jsonl` to go on after its first `lines` lines; later ones, which were written after
    /// the checkpoint, are dropped.
    pub(crate) fn open_metrics(&self, lines: u64) -> Result<Appender> {
        let path = self.metrics();
        let mut left = lines;
        keep_lines(&path, |_| {
            let is_kept = left > 0;
            left = left.saturating_sub(1);
            is_kept
        })?;
        Ok(Appender::open(path)?)
    }

    /// Drops what `responses.jsonl` says of epochs after the first `epochs`, which will be gone through again.
    pub(crate) fn cut_responses(&self, epochs: u64) -> Result<()> {
        keep_lines(&self.responses(), |line| {
            serde_json::from_str(line).is_ok_and(|record: ResponseRecord| record.epoch <= epochs)
        })
    }

    /// Writes `summary.csv` and `curves.svg`.
    pub(crate) fn write_summary(&self, title: &str, history: &[EpochRecord]) -> Result<()> {
        let mut csv = String::from("epoch,train_loss,train_top1,eval_loss,eval_top1,eval_top5,lr\n");
        for record in history {
            let EpochRecord { epoch, train_loss, train_top1, eval_loss, eval_top1, eval_top5, lr, .. } =
                record;
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                csv,
                "{epoch},{train_loss:.6},{train_top1:.4},{eval_loss:.6},{eval_top1:.4},{eval_top5:.4},{lr:.8}"
            );
        }
        disk::write_bytes(self.summary(), csv.as_bytes())?;
        Ok(disk::write_bytes(self.curves(), curves::svg(title, history).as_bytes())?)
    }
}

/// Drops a log from the first line on that is not to be kept.
fn keep_lines(path: &Path, mut is_kept: impl FnMut(&str) -> bool) -> Result<()> {
    if !disk::exists(path) {
        return Ok(());
    }
    let text = disk::read_text(path, MAX_METRICS_BYTES)?;
    let kept: usize = text.split_inclusive('\n').take_while(|line| is_kept(line)).map(str::len).sum();
    if kept < text.len() {
        disk::write_bytes(path, &text.as_bytes()[..kept])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_after_the_checkpoint_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::at(folder.path());
        std::fs::write(run.metrics(), "1\n2\n3\n4 torn").unwrap();
        let mut metrics = run.open_metrics(2).unwrap();
        metrics.append("3 again").unwrap();
        assert_eq!(std::fs::read_to_string(run.metrics()).unwrap(), "1\n2\n3 again\n");
        drop(run.open_metrics(9).unwrap());
        assert_eq!(std::fs::read_to_string(run.metrics()).unwrap(), "1\n2\n3 again\n");
    }

    #[test]
    fn responses_of_epochs_to_be_repeated_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::at(folder.path());
        run.cut_responses(3).unwrap();
        let line = |epoch| format!("{{\"epoch\":{epoch},\"layers\":[\"a\"],\"std\":[null]}}\n");
        let text = |epochs: &[u64]| epochs.iter().map(|&epoch| line(epoch)).collect::<String>();
        std::fs::write(run.responses(), text(&[1, 2, 3]) + "{torn").unwrap();
        run.cut_responses(2).unwrap();
        assert_eq!(std::fs::read_to_string(run.responses()).unwrap(), text(&[1, 2]));
        run.cut_responses(9).unwrap();
        assert_eq!(std::fs::read_to_string(run.responses()).unwrap(), text(&[1, 2]));
    }

    #[test]
    fn a_dated_folder_names_model_and_data_and_no_other_folder() {
        let run = RunFolder::dated("resnet20", "../some data/");
        let name = run.path().file_name().unwrap().to_str().unwrap();
        assert!(run.path().starts_with("runs") && name.ends_with("-resnet20-.._some_data_"), "{name}");
        assert_eq!(name.find('-'), Some(8), "{name}");
    }
}
