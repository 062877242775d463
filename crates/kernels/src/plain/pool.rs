//! Pooling and its gradients: maps are `[n, c, h, w]`, results `[n, c, out_h, out_w]`.

use super::Real;
use crate::check;
use crate::pool::{BlurShape, PoolShape};

/// Maximum of every window. Not-a-number wins over everything, as in PyTorch.
pub fn max_pool<T: Real>(x: &[T], shape: &PoolShape, out: &mut [T]) {
    for_each_window(shape, x.len(), out.len(), |window| out[window.out] = x[window.winner(x, shape)]);
}

/// Gradient of [`max_pool`]: each `dy` goes to the winner of its window, the first in reading order among
/// equal ones (the last one that is not a number, if there is any).
pub fn max_pool_backward<T: Real>(dy: &[T], x: &[T], shape: &PoolShape, dx: &mut [T]) {
    check::length("dx", dx.len(), x.len());
    dx.fill(T::ZERO);
    for_each_window(shape, x.len(), dy.len(), |window| dx[window.winner(x, shape)] += dy[window.out]);
}

/// Mean of every window, the zeros of the padding counted where `count_padding`.
pub fn avg_pool<T: Real>(x: &[T], shape: &PoolShape, count_padding: bool, out: &mut [T]) {
    for_each_window(shape, x.len(), out.len(), |window| {
        let sum: T = window.elements(shape).map(|at| x[at]).sum();
        out[window.out] = sum / window.divisor(shape, count_padding);
    });
}

/// Gradient of [`avg_pool`].
pub fn avg_pool_backward<T: Real>(dy: &[T], shape: &PoolShape, count_padding: bool, dx: &mut [T]) {
    dx.fill(T::ZERO);
    for_each_window(shape, dx.len(), dy.len(), |window| {
        let share = dy[window.out] / window.divisor(shape, count_padding);
        window.elements(shape).for_each(|at| dx[at] += share);
    });
}

/// Mean of every plane: `x` is `[planes, hw]`, `out` becomes `[planes]`.
pub fn global_avg_pool<T: Real>(x: &[T], planes: usize, hw: usize, out: &mut [T]) {
    check::length("x", x.len(), planes * hw);
    check::length("out", out.len(), planes);
    for (out, x) in out.iter_mut().zip(x.chunks_exact(hw)) {
        *out = x.iter().copied().sum::<T>() / T::from_f64(hw as f64);
    }
}

/// Gradient of [`global_avg_pool`].
pub fn global_avg_pool_backward<T: Real>(dy: &[T], planes: usize, hw: usize, dx: &mut [T]) {
    check::length("dy", dy.len(), planes);
    check::length("dx", dx.len(), planes * hw);
    for (dx, &dy) in dx.chunks_exact_mut(hw).zip(dy) {
        dx.fill(dy / T::from_f64(hw as f64));
    }
}

/// One window over one plane.
struct Window {
    plane: usize,
    y: usize,
    x: usize,
    /// Offset of its result.
    out: usize,
}

impl Window {
    /// Offsets of the elements that it covers, in reading order.
    fn elements(&self, shape: &PoolShape) -> impl Iterator<Item = usize> {
        let (first_row, columns, w) = (self.plane * shape.h, shape.columns(self.x), shape.w);
        shape.rows(self.y).flat_map(move |y| columns.clone().map(move |x| (first_row + y) * w + x))
    }

    /// Offset of the largest element.
    fn winner<T: Real>(&self, x: &[T], shape: &PoolShape) -> usize {
        let larger = |best: usize, at: usize| if x[at] > x[best] || x[at].is_nan() { at } else { best };
        self.elements(shape).reduce(larger).expect("padding is at most half of the window")
    }

    fn divisor<T: Real>(&self, shape: &PoolShape, count_padding: bool) -> T {
        T::from_f64(shape.divisor(self.y, self.x, count_padding) as f64)
    }
}

fn for_each_window(shape: &PoolShape, x_len: usize, out_len: usize, mut run: impl FnMut(Window)) {
    let (out_h, out_w) = (shape.out_h(), shape.out_w());
    check::length("x", x_len, shape.n * shape.c * shape.h * shape.w);
    check::length("out", out_len, shape.n * shape.c * out_h * out_w);
    for plane in 0..shape.n * shape.c {
        for y in 0..out_h {
            for x in 0..out_w {
                run(Window { plane, y, x, out: (plane * out_h + y) * out_w + x });
            }
        }
    }
}

/// Weighted mean of every window of a blur.
pub fn blur<T: Real>(x: &[T], shape: &BlurShape, out: &mut [T]) {
    out.fill(T::ZERO);
    for_each_tap(shape, x.len(), out.len(), |at, to, weight: T| out[to] += weight * x[at]);
}

/// Gradient of [`blur`].
pub fn blur_backward<T: Real>(dy: &[T], shape: &BlurShape, dx: &mut [T]) {
    dx.fill(T::ZERO);
    for_each_tap(shape, dx.len(), dy.len(), |at, to, weight: T| dx[at] += weight * dy[to]);
}

/// Calls `run(input element, output element, weight)` for every tap of every window.
fn for_each_tap<T: Real>(
    shape: &BlurShape,
    x_len: usize,
    out_len: usize,
    mut run: impl FnMut(usize, usize, T),
) {
    let planes = shape.n * shape.c;
    check::length("x", x_len, planes * shape.h * shape.w);
    check::length("out", out_len, planes * shape.out_h() * shape.out_w());
    let (rows, columns) = (shape.taps(shape.h), shape.taps(shape.w));
    let mut to = 0;
    for plane in 0..planes {
        for (row, column) in rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column))) {
            for (&(y, down), &(x, across)) in row.iter().flat_map(|row| column.iter().map(move |c| (row, c)))
            {
                run((plane * shape.h + y) * shape.w + x, to, T::from_f64(down * across));
            }
            to += 1;
        }
    }
}
