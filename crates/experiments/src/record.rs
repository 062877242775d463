//! What was found in one run, kept beside its folder so that a run that is done is recognised.

use std::path::Path;

use residuum_formats::disk;
use residuum_train::{Data, Recipe, RunFolder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{ExperimentError, Result};
use crate::experiment::Start;

const MAX_RECORD_BYTES: usize = 64 << 20;
const MAX_METRICS_BYTES: usize = 1 << 30;
/// Points of a training curve: each the mean of as many steps.
const POINTS: u64 = 60;
/// The last of so many parts of a run gives its final training error.
const FINAL_PART: u64 = 10;

/// What tells a run from all others: to the bit the same result follows from the same identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// SHA-256 of recipe and start, but for paths.
    pub(crate) recipe: String,
    /// Digest of what is learnt from.
    pub(crate) train: String,
    /// Digest of what is tested with.
    pub(crate) test: String,
}

impl Identity {
    pub(crate) fn of(recipe: &Recipe, start: &Start, data: &Data) -> Result<Self> {
        let text = format!("{}\n{start:?}", without_paths(recipe).to_toml()?);
        let recipe =
            Sha256::digest(text).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        Ok(Self { recipe, train: data.train.digest().into(), test: data.test.digest().into() })
    }
}

/// The recipe but for where its data and its start lie.
pub(crate) fn without_paths(recipe: &Recipe) -> Recipe {
    Recipe { data: String::new(), from: None, ..recipe.clone() }
}

/// What was found in one run. Errors in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub(crate) identity: Identity,
    /// Weighted layers on the longest path.
    pub depth: usize,
    /// Learned numbers.
    pub parameters: u64,
    /// Steps done.
    pub steps: u64,
    /// Training pictures in the last tenth of the run, which the final error is a mean over.
    pub final_images: u64,
    /// Error on them, each as it was when its batch was learnt.
    pub train_error: f64,
    /// Loss on them.
    pub train_loss: f64,
    /// Error on the test pictures at the end; where pictures were held out, of the epoch that was best on them.
    pub test_error: Option<f64>,
    /// Step and mean error of the steps before it.
    pub train_errors: Vec<(f64, f64)>,
    /// Step and mean loss of the steps before it.
    pub train_losses: Vec<(f64, f64)>,
    /// Step and error on the test pictures, or on those held out.
    pub test_errors: Vec<(f64, f64)>,
    /// Why the run ended early.
    pub diverged: Option<String>,
    /// Seconds of training.
    pub seconds: f64,
    /// Median time of a step in milliseconds, which pauses do not change.
    pub step_ms: f64,
}

/// What a line of `metrics.jsonl` says, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    step: u64,
    phase: String,
    loss: f64,
    top1: f64,
    images_per_second: f64,
    wall_s: f64,
}

impl Record {
    /// Reads the metrics of a run that ended.
    pub(crate) fn of(
        folder: &RunFolder,
        identity: Identity,
        (depth, parameters): (usize, u64),
        batch_size: usize,
        diverged: Option<String>,
    ) -> Result<Self> {
        let path = folder.metrics();
        let text = disk::read_text(&path, MAX_METRICS_BYTES)?;
        let lines: std::result::Result<Vec<Line>, _> = text.lines().map(serde_json::from_str).collect();
        let lines =
            lines.map_err(|e| ExperimentError::Record { path: path.clone(), problem: e.to_string() })?;
        let (train, test): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|line| line.phase == "train");
        let steps = train.len() as u64;
        let last = (steps / FINAL_PART).max(1).min(steps) as usize;
        let end = &train[train.len() - last..];
        let test_errors: Vec<(f64, f64)> = test.iter().map(|l| (l.step as f64, 100.0 - l.top1)).collect();
        Ok(Self {
            identity,
            depth,
            parameters,
            steps,
            final_images: (last * batch_size) as u64,
            train_error: 100.0 - mean(end.iter().map(|line| line.top1)),
            train_loss: mean(end.iter().map(|line| line.loss)),
            test_error: test_errors.last().map(|point| point.1).filter(|_| diverged.is_none()),
            train_errors: thin(&train, |line| 100.0 - line.top1),
            train_losses: thin(&train, |line| line.loss),
            test_errors,
            diverged,
            seconds: lines.last().map_or(0.0, |line| line.wall_s),
            step_ms: median(train.iter().map(|line| 1000.0 * batch_size as f64 / line.images_per_second)),
        })
    }

    /// The record in a file, if it is there and of this run.
    pub(crate) fn read(path: &Path, identity: &Identity) -> Result<Option<Self>> {
        if !disk::exists(path) {
            return Ok(None);
        }
        let text = disk::read_text(path, MAX_RECORD_BYTES)?;
        let record: Self = serde_json::from_str(&text)
            .map_err(|e| ExperimentError::Record { path: path.into(), problem: e.to_string() })?;
        Ok(Some(record).filter(|record| record.identity == *identity))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(self)
            .map_err(|e| ExperimentError::Record { path: path.into(), problem: e.to_string() })?;
        Ok(disk::write_bytes(path, text.as_bytes())?)
    }

    /// Two standard errors of the final training error, as if every picture were drawn by itself.
    pub fn uncertainty(&self) -> f64 {
        let share = (self.train_error / 100.0).clamp(0.0, 1.0);
        200.0 * (share * (1.0 - share) / self.final_images.max(1) as f64).sqrt()
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Means over equal parts of a run, each at its last step.
fn thin(lines: &[&Line], value: impl Fn(&Line) -> f64) -> Vec<(f64, f64)> {
    let part = (lines.len() as u64).div_ceil(POINTS).max(1) as usize;
    let point =
        |part: &[&Line]| (part[part.len() - 1].step as f64, mean(part.iter().map(|line| value(line))));
    lines.chunks(part).map(point).collect()
}
