//! Cross-entropy of a softmax, with PyTorch's label smoothing: the target of an image is
//! `1 - smoothing + smoothing / classes` for its class and `smoothing / classes` for every other one.

use rayon::prelude::*;

use crate::check;

/// Mean loss over the batch, taken in `f64`, and the number of images whose largest logit (the first among
/// equal ones) is their label's. `logits` is `[n, classes]`, `labels` is `[n]`; `dlogits` becomes the
/// gradient of the mean loss. Stable for logits of any finite size. Panics where a label is no class.
pub fn softmax_cross_entropy(
    logits: &[f32],
    labels: &[u32],
    classes: usize,
    smoothing: f32,
    dlogits: Option<&mut [f32]>,
) -> (f64, usize) {
    check::length("logits", logits.len(), labels.len() * classes);
    if labels.is_empty() {
        return (0.0, 0);
    }
    let smoothing = f64::from(smoothing);
    let rows = logits.par_chunks_exact(classes).zip(labels);
    let results: Vec<(f64, bool)> = if let Some(dlogits) = dlogits {
        check::length("dlogits", dlogits.len(), logits.len());
        let scale = 1.0 / labels.len() as f64;
        let rows = rows.zip(dlogits.par_chunks_exact_mut(classes));
        rows.map(|((row, &label), d)| {
            let row = Row::new(row, label);
            row.gradient(smoothing, scale, d);
            (row.loss(smoothing), row.is_correct())
        })
        .collect()
    } else {
        let result = |row: Row<'_>| (row.loss(smoothing), row.is_correct());
        rows.map(|(row, &label)| result(Row::new(row, label))).collect()
    };
    let total: f64 = results.iter().map(|&(loss, _)| loss).sum();
    (total / labels.len() as f64, results.iter().filter(|&&(_, correct)| correct).count())
}

/// The logits of one image.
struct Row<'a> {
    logits: &'a [f32],
    label: usize,
    /// `ln Σ exp(logits)`
    normaliser: f64,
}

impl<'a> Row<'a> {
    fn new(logits: &'a [f32], label: u32) -> Self {
        let (label, classes) = (label as usize, logits.len());
        assert!(label < classes, "label {label} is no class; expected less than {classes}");
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
        Self { logits, label, normaliser: largest + sum.ln() }
    }

    fn loss(&self, smoothing: f64) -> f64 {
        let own = self.normaliser - f64::from(self.logits[self.label]);
        if smoothing == 0.0 {
            return own;
        }
        let all: f64 = self.logits.iter().map(|&logit| self.normaliser - f64::from(logit)).sum();
        (1.0 - smoothing) * own + smoothing * all / self.logits.len() as f64
    }

    fn is_correct(&self) -> bool {
        let own = self.logits[self.label];
        let (before, after) = (&self.logits[..self.label], &self.logits[self.label + 1..]);
        before.iter().all(|&logit| own > logit) && after.iter().all(|&logit| own >= logit) && !own.is_nan()
    }

    fn gradient(&self, smoothing: f64, scale: f64, out: &mut [f32]) {
        let other = smoothing / self.logits.len() as f64;
        for (class, (out, &logit)) in out.iter_mut().zip(self.logits).enumerate() {
            let target = if class == self.label { 1.0 - smoothing + other } else { other };
            *out = (((f64::from(logit) - self.normaliser).exp() - target) * scale) as f32;
        }
    }
}
