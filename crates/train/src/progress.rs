//! How far a run has come.

use serde::{Deserialize, Serialize};

/// One epoch's results. Accuracies in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u64,
    /// Steps done since the run began.
    pub step: u64,
    /// Mean loss over the training pictures, each as it was when its batch was learnt.
    pub train_loss: f64,
    /// Share of them whose class came first.
    pub train_top1: f64,
    /// Mean loss over the test pictures.
    pub eval_loss: f64,
    /// Share of them whose class came first.
    pub eval_top1: f64,
    /// Share of them whose class was among the first five.
    pub eval_top5: f64,
    /// Learning rate of the last step.
    pub lr: f64,
}

/// Sums over the part of an epoch that is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sums {
    pub(crate) loss: f64,
    pub(crate) correct: u64,
    pub(crate) images: u64,
}

impl Sums {
    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }

    pub(crate) fn top1(&self) -> f64 {
        100.0 * self.correct as f64 / self.images.max(1) as f64
    }
}

/// Where a run stands: between two steps, or between the last step of an epoch and its evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Epoch that is being gone through, counted from 0.
    pub(crate) epoch: u64,
    /// Its next batch.
    pub(crate) batch: u64,
    /// Steps done.
    pub(crate) iteration: u64,
    /// Of this epoch so far.
    pub(crate) sums: Sums,
    /// Of the epochs that are done.
    pub(crate) history: Vec<EpochRecord>,
    /// Seconds of training so far.
    pub(crate) wall_s: f64,
    /// Lines of `metrics.jsonl` so far.
    pub(crate) metrics_lines: u64,
}

impl Progress {
    /// The epoch with the highest accuracy on the test pictures; the first of equals.
    pub(crate) fn best(&self) -> Option<&EpochRecord> {
        self.history
            .iter()
            .reduce(|best, record| if record.eval_top1 > best.eval_top1 { record } else { best })
    }
}
