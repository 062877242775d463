//! The fully connected layer: `x` is `[n, inputs]`, `w` is `[outputs, inputs]`, `y` is `[n, outputs]`.

use super::Real;
use crate::check;

/// `out = x · wᵀ + bias`.
pub fn linear<T: Real>(
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    n: usize,
    inputs: usize,
    outputs: usize,
    out: &mut [T],
) {
    check_lengths(x.len(), w.len(), out.len(), n, inputs, outputs);
    if let Some(bias) = bias {
        check::length("bias", bias.len(), outputs);
    }
    for n in 0..n {
        let x = &x[n * inputs..][..inputs];
        for o in 0..outputs {
            let products = x.iter().zip(&w[o * inputs..][..inputs]).map(|(&x, &w)| x * w);
            out[n * outputs + o] = bias.map_or(T::ZERO, |bias| bias[o]) + products.sum();
        }
    }
}

/// Gradient of [`linear`] with respect to its input: `dx = dy · w`.
pub fn linear_backward_data<T: Real>(
    dy: &[T],
    w: &[T],
    n: usize,
    inputs: usize,
    outputs: usize,
    dx: &mut [T],
) {
    check_lengths(dx.len(), w.len(), dy.len(), n, inputs, outputs);
    dx.fill(T::ZERO);
    for n in 0..n {
        let dx = &mut dx[n * inputs..][..inputs];
        for o in 0..outputs {
            accumulate(dy[n * outputs + o], &w[o * inputs..][..inputs], dx);
        }
    }
}

/// Gradient of [`linear`] with respect to its weights, summed over the batch: `dw = dyᵀ · x`.
pub fn linear_backward_weights<T: Real>(
    x: &[T],
    dy: &[T],
    n: usize,
    inputs: usize,
    outputs: usize,
    dw: &mut [T],
) {
    check_lengths(x.len(), dw.len(), dy.len(), n, inputs, outputs);
    dw.fill(T::ZERO);
    for n in 0..n {
        let x = &x[n * inputs..][..inputs];
        for o in 0..outputs {
            accumulate(dy[n * outputs + o], x, &mut dw[o * inputs..][..inputs]);
        }
    }
}

/// Gradient of [`linear`] with respect to its bias, summed over the batch.
pub fn linear_backward_bias<T: Real>(dy: &[T], n: usize, outputs: usize, db: &mut [T]) {
    super::channel_sums(dy, n, outputs, 1, db);
}

/// `sum += factor · row`
fn accumulate<T: Real>(factor: T, row: &[T], sum: &mut [T]) {
    sum.iter_mut().zip(row).for_each(|(sum, &row)| *sum += factor * row);
}

fn check_lengths(x: usize, w: usize, y: usize, n: usize, inputs: usize, outputs: usize) {
    check::length("input", x, n * inputs);
    check::length("weights", w, outputs * inputs);
    check::length("output", y, n * outputs);
}
