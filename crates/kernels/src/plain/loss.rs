//! Cross-entropy of a softmax, with PyTorch's label smoothing.
//!
//! The target of an image is `1 - smoothing + smoothing / classes` for its class and `smoothing / classes`
//! for every other one; of an image that was mixed of two, the mean of both targets, weighted by their shares.

use super::Real;
use crate::check;
use crate::loss::Targets;

/// Mean over the batch of `-Σ target · ln softmax(logits)`; `logits` is `[n, classes]`.
pub fn softmax_cross_entropy<'a, T: Real>(
    logits: &[T],
    targets: impl Into<Targets<'a>>,
    classes: usize,
    smoothing: T,
) -> T {
    let targets = targets.into();
    let n = targets.labels.len();
    targets.check(n);
    check::length("logits", logits.len(), n * classes);
    let loss = |(i, row): (usize, &[T])| {
        let normaliser = log_sum_exp(row);
        let ([first, second], share) = targets.of(i);
        let share = T::from_f64(share);
        let of = |label: usize| normaliser - row[label];
        let own = share * of(first) + (T::ONE - share) * of(second);
        if smoothing == T::ZERO {
            return own;
        }
        let all = row.iter().map(|&logit| normaliser - logit).sum::<T>() / count(classes);
        (T::ONE - smoothing) * own + smoothing * all
    };
    let total: T = logits.chunks_exact(classes).enumerate().map(loss).sum();
    total / count(n)
}

/// Gradient of [`softmax_cross_entropy`]: `dlogits = (softmax(logits) - target) / n`.
pub fn softmax_cross_entropy_backward<'a, T: Real>(
    logits: &[T],
    targets: impl Into<Targets<'a>>,
    classes: usize,
    smoothing: T,
    dlogits: &mut [T],
) {
    let targets = targets.into();
    let n = targets.labels.len();
    targets.check(n);
    check::length("logits", logits.len(), n * classes);
    check::length("dlogits", dlogits.len(), logits.len());
    let rows = dlogits.chunks_exact_mut(classes).zip(logits.chunks_exact(classes));
    for (i, (drow, row)) in rows.enumerate() {
        let normaliser = log_sum_exp(row);
        let (labels, share) = targets.of(i);
        let shares = [T::from_f64(share), T::ONE - T::from_f64(share)];
        for (class, (d, &logit)) in drow.iter_mut().zip(row).enumerate() {
            let own = |i: usize| if labels[i] == class { shares[i] } else { T::ZERO };
            let target = (own(0) + own(1)) * (T::ONE - smoothing) + smoothing / count(classes);
            *d = ((logit - normaliser).exp() - target) / count(n);
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
