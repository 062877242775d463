//! Cross-entropy of a softmax, with PyTorch's label smoothing.
//!
//! The target of an image is `1 - smoothing + smoothing / classes` for its class and `smoothing / classes`
//! for every other one.

use super::Real;
use crate::check;

/// Mean over the batch of `-Σ target · ln softmax(logits)`; `logits` is `[n, classes]`, `labels` is `[n]`.
pub fn softmax_cross_entropy<T: Real>(logits: &[T], labels: &[u32], classes: usize, smoothing: T) -> T {
    check::length("logits", logits.len(), labels.len() * classes);
    let loss = |(row, &label): (&[T], &u32)| {
        let normaliser = log_sum_exp(row);
        let own = normaliser - row[label as usize];
        if smoothing == T::ZERO {
            return own;
        }
        let all = row.iter().map(|&logit| normaliser - logit).sum::<T>() / count(classes);
        (T::ONE - smoothing) * own + smoothing * all
    };
    let total: T = logits.chunks_exact(classes).zip(labels).map(loss).sum();
    total / count(labels.len())
}

/// Gradient of [`softmax_cross_entropy`]: `dlogits = (softmax(logits) - target) / n`.
pub fn softmax_cross_entropy_backward<T: Real>(
    logits: &[T],
    labels: &[u32],
    classes: usize,
    smoothing: T,
    dlogits: &mut [T],
) {
    check::length("logits", logits.len(), labels.len() * classes);
    check::length("dlogits", dlogits.len(), logits.len());
    let rows = dlogits.chunks_exact_mut(classes).zip(logits.chunks_exact(classes));
    for ((drow, row), &label) in rows.zip(labels) {
        let normaliser = log_sum_exp(row);
        for (class, (d, &logit)) in drow.iter_mut().zip(row).enumerate() {
            let own = if class == label as usize { T::ONE - smoothing } else { T::ZERO };
            let target = own + smoothing / count(classes);
            *d = ((logit - normaliser).exp() - target) / count(labels.len());
        }
    }
}

/// `ln Σ exp(row)`, taken relative to the largest logit so that nothing overflows.
fn log_sum_exp<T: Real>(row: &[T]) -> T {
    let largest = row.iter().copied().fold(T::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a });
    largest + row.iter().map(|&logit| (logit - largest).exp()).sum::<T>().ln()
}

fn count<T: Real>(count: usize) -> T {
    T::from_f64(count as f64)
}
