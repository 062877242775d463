//! Normalisation over the batch and its gradients, channel by channel.
//!
//! Maps are `[n, c, hw]`, everything per channel is `[c]`. The normalised value of the paper is
//! `x̂ = (x - mean) / √(var + eps)`.

use super::Real;
use crate::check;

/// Mean and biased variance of every channel over the batch and the plane, in two passes.
pub fn moments<T: Real>(x: &[T], n: usize, c: usize, hw: usize, mean: &mut [T], var: &mut [T]) {
    check::length("x", x.len(), n * c * hw);
    check::length("mean", mean.len(), c);
    check::length("var", var.len(), c);
    let count = T::from_f64((n * hw) as f64);
    for channel in 0..c {
        mean[channel] = elements(x, n, c, hw, channel).sum::<T>() / count;
        let square = |x: T| (x - mean[channel]) * (x - mean[channel]);
        var[channel] = elements(x, n, c, hw, channel).map(square).sum::<T>() / count;
    }
}

/// `out = gamma · x̂ + beta` with the given statistics.
pub fn normalize<T: Real>(
    x: &[T],
    n: usize,
    c: usize,
    hw: usize,
    mean: &[T],
    var: &[T],
    eps: T,
    gamma: &[T],
    beta: &[T],
    out: &mut [T],
) {
    check::length("x", x.len(), n * c * hw);
    check::length("out", out.len(), n * c * hw);
    for (what, slice) in [("mean", mean), ("var", var), ("gamma", gamma), ("beta", beta)] {
        check::length(what, slice.len(), c);
    }
    for (index, (out, x)) in out.chunks_mut(hw.max(1)).zip(x.chunks(hw.max(1))).enumerate() {
        let channel = index % c;
        let inv_std = T::ONE / (var[channel] + eps).sqrt();
        for (out, &x) in out.iter_mut().zip(x) {
            *out = gamma[channel] * ((x - mean[channel]) * inv_std) + beta[channel];
        }
    }
}

/// The two sums per channel that the gradients of [`normalize`] with the batch's own statistics need:
/// `Σ dy` (beta's gradient) and `Σ dy · x̂` (gamma's gradient).
pub fn normalize_backward_sums<T: Real>(
    dy: &[T],
    x: &[T],
    n: usize,
    c: usize,
    hw: usize,
    mean: &[T],
    var: &[T],
    eps: T,
) -> (Vec<T>, Vec<T>) {
    check::length("x", x.len(), n * c * hw);
    check::length("mean", mean.len(), c);
    check::length("var", var.len(), c);
    let mut sum_dy = vec![T::ZERO; c];
    channel_sums(dy, n, c, hw, &mut sum_dy);
    let weighted = |channel: usize| {
        let inv_std = T::ONE / (var[channel] + eps).sqrt();
        let pairs = elements(dy, n, c, hw, channel).zip(elements(x, n, c, hw, channel));
        pairs.map(|(dy, x)| dy * ((x - mean[channel]) * inv_std)).sum()
    };
    (sum_dy, (0..c).map(weighted).collect())
}

/// Gradient of batch normalisation in training, where mean and variance depend on `x` too, with the sums of
/// [`normalize_backward_sums`]:
/// `dx = gamma / √(var + eps) · (dy - Σ dy / m - x̂ · Σ (dy · x̂) / m)`, `m = n · hw`.
pub fn normalize_backward<T: Real>(
    dy: &[T],
    x: &[T],
    n: usize,
    c: usize,
    hw: usize,
    mean: &[T],
    var: &[T],
    eps: T,
    gamma: &[T],
    sums: (&[T], &[T]),
    dx: &mut [T],
) {
    for (what, slice) in [("dy", dy), ("x", x), ("dx", dx)] {
        check::length(what, slice.len(), n * c * hw);
    }
    for (what, slice) in [("mean", mean), ("var", var), ("gamma", gamma), ("sum of dy", sums.0)] {
        check::length(what, slice.len(), c);
    }
    check::length("sum of dy times the normalised value", sums.1.len(), c);
    let count = T::from_f64((n * hw) as f64);
    for (index, dx) in dx.chunks_mut(hw.max(1)).enumerate() {
        let channel = index % c;
        let inv_std = T::ONE / (var[channel] + eps).sqrt();
        let (mean_dy, mean_dy_xhat) = (sums.0[channel] / count, sums.1[channel] / count);
        let pairs = dy[index * hw..].iter().zip(&x[index * hw..]);
        for (dx, (&dy, &x)) in dx.iter_mut().zip(pairs) {
            let xhat = (x - mean[channel]) * inv_std;
            *dx = gamma[channel] * inv_std * (dy - mean_dy - xhat * mean_dy_xhat);
        }
    }
}

/// `out = scale · x + shift` per channel: normalisation by fixed statistics, with
/// `scale = gamma / √(var + eps)` and `shift = beta - mean · scale`.
pub fn affine_norm<T: Real>(x: &[T], n: usize, c: usize, hw: usize, scale: &[T], shift: &[T], out: &mut [T]) {
    check::length("x", x.len(), n * c * hw);
    check::length("out", out.len(), n * c * hw);
    check::length("scale", scale.len(), c);
    check::length("shift", shift.len(), c);
    for (index, (out, x)) in out.chunks_mut(hw.max(1)).zip(x.chunks(hw.max(1))).enumerate() {
        let (scale, shift) = (scale[index % c], shift[index % c]);
        out.iter_mut().zip(x).for_each(|(out, &x)| *out = scale * x + shift);
    }
}

/// Gradient of [`affine_norm`] (and of [`normalize`] with statistics that do not depend on `x`):
/// `dx = scale · dy`.
pub fn affine_norm_backward<T: Real>(dy: &[T], n: usize, c: usize, hw: usize, scale: &[T], dx: &mut [T]) {
    affine_norm(dy, n, c, hw, scale, &vec![T::ZERO; c], dx);
}

/// Sum of every channel over the batch and the plane: the gradient of a bias that is added to `[n, c, hw]`.
pub fn channel_sums<T: Real>(dy: &[T], n: usize, c: usize, hw: usize, sums: &mut [T]) {
    check::length("dy", dy.len(), n * c * hw);
    check::length("sums", sums.len(), c);
    for (channel, sum) in sums.iter_mut().enumerate() {
        *sum = elements(dy, n, c, hw, channel).sum();
    }
}

/// The elements of one channel, image by image.
fn elements<T: Real>(x: &[T], n: usize, c: usize, hw: usize, channel: usize) -> impl Iterator<Item = T> {
    (0..n).flat_map(move |n| x[(n * c + channel) * hw..][..hw].iter().copied())
}
