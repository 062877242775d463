//! Operations that look at one element at a time, and those that only move elements.

use super::Real;
use crate::check;

/// `out = max(x, 0)`; a value that is not a number stays one.
pub fn relu<T: Real>(x: &[T], out: &mut [T]) {
    check::length("out", out.len(), x.len());
    for (out, &x) in out.iter_mut().zip(x) {
        *out = if x > T::ZERO || x.is_nan() { x } else { T::ZERO };
    }
}

/// Gradient of [`relu`], from its output `y`: `dx = dy` where `y > 0`, else 0.
pub fn relu_backward<T: Real>(dy: &[T], y: &[T], dx: &mut [T]) {
    check::length("y", y.len(), dy.len());
    check::length("dx", dx.len(), dy.len());
    for (dx, (&dy, &y)) in dx.iter_mut().zip(dy.iter().zip(y)) {
        *dx = if y > T::ZERO { dy } else { T::ZERO };
    }
}

/// `out = a + b`.
pub fn add<T: Real>(a: &[T], b: &[T], out: &mut [T]) {
    check::length("b", b.len(), a.len());
    check::length("out", out.len(), a.len());
    for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = a + b;
    }
}

/// Every `stride`-th row and column of `planes` planes of `h` by `w`, the first ones included: `out` becomes
/// `[planes, ⌈h / stride⌉, ⌈w / stride⌉]`.
pub fn subsample<T: Real>(x: &[T], planes: usize, h: usize, w: usize, stride: usize, out: &mut [T]) {
    check::length("x", x.len(), planes * h * w);
    check::length("out", out.len(), planes * h.div_ceil(stride) * w.div_ceil(stride));
    let kept = kept(planes, h, w, stride);
    out.iter_mut().zip(kept).for_each(|(out, at)| *out = x[at]);
}

/// Gradient of [`subsample`]: `dy` where it was taken from, 0 elsewhere.
pub fn subsample_backward<T: Real>(dy: &[T], planes: usize, h: usize, w: usize, stride: usize, dx: &mut [T]) {
    check::length("dx", dx.len(), planes * h * w);
    check::length("dy", dy.len(), planes * h.div_ceil(stride) * w.div_ceil(stride));
    dx.fill(T::ZERO);
    dy.iter().zip(kept(planes, h, w, stride)).for_each(|(&dy, at)| dx[at] = dy);
}

/// Offsets of the elements that [`subsample`] keeps.
fn kept(planes: usize, h: usize, w: usize, stride: usize) -> impl Iterator<Item = usize> {
    let row = move |row| (0..w).step_by(stride).map(move |x| row * w + x);
    let plane = move |plane| (0..h).step_by(stride).flat_map(move |y| row(plane * h + y));
    (0..planes).flat_map(plane)
}

/// `x` (`[n, c, hw]`) with `before` channels of zeros in front and `after` behind: `out` becomes
/// `[n, before + c + after, hw]`.
pub fn pad_channels<T: Real>(
    x: &[T],
    n: usize,
    c: usize,
    hw: usize,
    before: usize,
    after: usize,
    out: &mut [T],
) {
    let (image, padded) = (c * hw, (before + c + after) * hw);
    check::length("x", x.len(), n * image);
    check::length("out", out.len(), n * padded);
    out.fill(T::ZERO);
    for n in 0..n {
        out[n * padded + before * hw..][..image].copy_from_slice(&x[n * image..][..image]);
    }
}

/// Gradient of [`pad_channels`]: the middle channels of `dy`.
pub fn pad_channels_backward<T: Real>(
    dy: &[T],
    n: usize,
    c: usize,
    hw: usize,
    before: usize,
    after: usize,
    dx: &mut [T],
) {
    let (image, padded) = (c * hw, (before + c + after) * hw);
    check::length("dx", dx.len(), n * image);
    check::length("dy", dy.len(), n * padded);
    for n in 0..n {
        dx[n * image..][..image].copy_from_slice(&dy[n * padded + before * hw..][..image]);
    }
}
