//! Convolution and its gradients.
//!
//! ```text
//! out[n, o, y, x] = bias[o] + Σ_{i, ky, kx} w[o, i, ky, kx] · x[n, i, y·s + ky·d - p, x·s + kx·d - p]
//! ```
//!
//! One task makes one plane of the result (or all weights of one output channel). Inside it every tap of the
//! window meets whole rows, so that the innermost loop runs along the columns of the output.

use std::ops::Range;

use rayon::prelude::*;

use super::Real;
use crate::check;
use crate::conv_shape::ConvShape;

/// Convolution: `x` is `[n, c_in, h, w]`, `w` is `[c_out, c_in / groups, kh, kw]`, `bias` is `[c_out]`,
/// `out` becomes `[n, c_out, out_h, out_w]`.
pub fn conv2d<T: Real>(x: &[T], w: &[T], bias: Option<&[T]>, shape: &ConvShape, out: &mut [T]) {
    let walk = Walk::new(x.len(), w.len(), out.len(), shape);
    if let Some(bias) = bias {
        check::length("bias", bias.len(), shape.c_out);
    }
    let taps = walk.taps();
    par_planes(out, walk.out_plane(), |index, out| {
        let (n, o) = (index / shape.c_out, index % shape.c_out);
        out.fill(bias.map_or(T::ZERO, |bias| bias[o]));
        for i in 0..walk.group_in {
            let x = walk.input(x, n, walk.input_channel(o, i));
            let w = &w[(o * walk.group_in + i) * taps..][..taps];
            walk.for_each_row(|tap, to, from, len| {
                from.gather(w[tap], x, &mut out[to..to + len]);
            });
        }
    });
}

/// Gradient of [`conv2d`] with respect to its input: `dy` is `[n, c_out, out_h, out_w]`, `dx` becomes
/// `[n, c_in, h, w]`.
pub fn conv2d_backward_data<T: Real>(dy: &[T], w: &[T], shape: &ConvShape, dx: &mut [T]) {
    let walk = Walk::new(dx.len(), w.len(), dy.len(), shape);
    let taps = walk.taps();
    par_planes(dx, walk.in_plane(), |index, dx| {
        let (n, channel) = (index / shape.c_in, index % shape.c_in);
        let (group, i) = (channel / walk.group_in, channel % walk.group_in);
        dx.fill(T::ZERO);
        for o in group * walk.group_out..(group + 1) * walk.group_out {
            let dy = walk.output(dy, n, o);
            let w = &w[(o * walk.group_in + i) * taps..][..taps];
            walk.for_each_row(|tap, to, from, len| {
                from.scatter(w[tap], &dy[to..to + len], dx);
            });
        }
    });
}

/// Gradient of [`conv2d`] with respect to its weights, summed over the batch: `dw` becomes
/// `[c_out, c_in / groups, kh, kw]`. The bias's gradient is [`channel_sums`](super::channel_sums) of `dy`.
pub fn conv2d_backward_weights<T: Real>(x: &[T], dy: &[T], shape: &ConvShape, dw: &mut [T]) {
    let walk = Walk::new(x.len(), dw.len(), dy.len(), shape);
    let taps = walk.taps();
    par_planes(dw, walk.group_in * taps, |o, dw| {
        dw.fill(T::ZERO);
        for n in 0..shape.n {
            let dy = walk.output(dy, n, o);
            for (i, dw) in dw.chunks_exact_mut(taps).enumerate() {
                let x = walk.input(x, n, walk.input_channel(o, i));
                walk.for_each_row(|tap, to, from, len| {
                    dw[tap] += from.dot(x, &dy[to..to + len]);
                });
            }
        }
    });
}

/// Runs `task(index, plane)` for every plane of `out`.
fn par_planes<T: Real>(out: &mut [T], plane: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    out.par_chunks_exact_mut(plane.max(1)).enumerate().for_each(|(index, plane)| task(index, plane));
}

/// How the windows of a convolution walk over a plane of its input.
struct Walk {
    shape: ConvShape,
    out_h: usize,
    out_w: usize,
    group_in: usize,
    group_out: usize,
}

impl Walk {
    fn new(x_len: usize, w_len: usize, out_len: usize, shape: &ConvShape) -> Self {
        let (group_in, group_out) = (shape.c_in / shape.groups, shape.c_out / shape.groups);
        check::length("channels of all groups", group_in * shape.groups, shape.c_in);
        check::length("filters of all groups", group_out * shape.groups, shape.c_out);
        let (out_h, out_w) = (shape.out_h(), shape.out_w());
        check::length("input", x_len, shape.n * shape.c_in * shape.h * shape.w);
        check::length("weights", w_len, shape.c_out * group_in * shape.kernel[0] * shape.kernel[1]);
        check::length("output", out_len, shape.n * shape.c_out * out_h * out_w);
        Self { shape: *shape, out_h, out_w, group_in, group_out }.flat()
    }

    /// A 1×1 window of stride 1 does not know rows: the plane becomes one long row.
    fn flat(mut self) -> Self {
        let shape = &mut self.shape;
        if shape.kernel == [1, 1] && shape.stride == [1, 1] && shape.padding == [0, 0] {
            (shape.w, shape.h) = (shape.h * shape.w, 1);
            (self.out_w, self.out_h) = (shape.w, 1);
        }
        self
    }

    fn taps(&self) -> usize {
        self.shape.kernel[0] * self.shape.kernel[1]
    }

    fn in_plane(&self) -> usize {
        self.shape.h * self.shape.w
    }

    fn out_plane(&self) -> usize {
        self.out_h * self.out_w
    }

    /// The `i`-th input channel that output channel `o` sees.
    fn input_channel(&self, o: usize, i: usize) -> usize {
        o / self.group_out * self.group_in + i
    }

    fn input<'a, T>(&self, x: &'a [T], n: usize, channel: usize) -> &'a [T] {
        &x[(n * self.shape.c_in + channel) * self.in_plane()..][..self.in_plane()]
    }

    fn output<'a, T>(&self, y: &'a [T], n: usize, channel: usize) -> &'a [T] {
        &y[(n * self.shape.c_out + channel) * self.out_plane()..][..self.out_plane()]
    }

    /// Calls `run(tap, out_start, input, len)` for every tap and every row of the output: the `len` outputs
    /// from `out_start` on meet the inputs at `input`, of which none lies in the padding.
    fn for_each_row(&self, mut run: impl FnMut(usize, usize, Strided, usize)) {
        let [kernel_h, kernel_w] = self.shape.kernel;
        for ky in 0..kernel_h {
            let rows = self.inside(0, ky, self.shape.h, self.out_h);
            for kx in 0..kernel_w {
                let columns = self.inside(1, kx, self.shape.w, self.out_w);
                if columns.is_empty() {
                    continue;
                }
                for y in rows.clone() {
                    let start = self.source(0, ky, y) * self.shape.w + self.source(1, kx, columns.start);
                    let from = Strided { start, step: self.shape.stride[1] };
                    run(ky * kernel_w + kx, y * self.out_w + columns.start, from, columns.len());
                }
            }
        }
    }

    /// The input coordinate that tap `k` of window `at` reads; the caller knows that it is inside.
    fn source(&self, axis: usize, k: usize, at: usize) -> usize {
        at * self.shape.stride[axis] + k * self.shape.dilation[axis] - self.shape.padding[axis]
    }

    /// The windows along one axis whose tap `k` lies inside the image.
    fn inside(&self, axis: usize, k: usize, size: usize, windows: usize) -> Range<usize> {
        let (stride, padding) = (self.shape.stride[axis], self.shape.padding[axis]);
        let tap = k * self.shape.dilation[axis];
        let first = padding.saturating_sub(tap).div_ceil(stride);
        let end = (size + padding).saturating_sub(tap).div_ceil(stride).min(windows);
        first.min(end)..end
    }
}

/// The run of inputs that a row of outputs meets: every `step`-th element of a plane from `start` on.
#[derive(Clone, Copy)]
struct Strided {
    start: usize,
    step: usize,
}

impl Strided {
    /// `out[j] += w · plane[j]`
    fn gather<T: Real>(self, w: T, plane: &[T], out: &mut [T]) {
        let plane = &plane[self.start..];
        if self.step == 1 {
            out.iter_mut().zip(plane).for_each(|(out, &x)| *out += w * x);
        } else {
            out.iter_mut().zip(plane.iter().step_by(self.step)).for_each(|(out, &x)| *out += w * x);
        }
    }

    /// `plane[j] += w · dy[j]`
    fn scatter<T: Real>(self, w: T, dy: &[T], plane: &mut [T]) {
        let plane = &mut plane[self.start..];
        if self.step == 1 {
            plane.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += w * dy);
        } else {
            plane.iter_mut().step_by(self.step).zip(dy).for_each(|(dx, &dy)| *dx += w * dy);
        }
    }

    /// `Σ plane[j] · dy[j]`
    fn dot<T: Real>(self, plane: &[T], dy: &[T]) -> T {
        plane[self.start..].iter().step_by(self.step).zip(dy).map(|(&x, &dy)| x * dy).sum()
    }
}
