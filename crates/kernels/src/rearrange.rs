//! Kernels that only move floats: between PyTorch's order and the engine's maps, into borders, and the
//! parameter-free shortcut.
//!
//! For slices and shapes the rules of [`elementwise`](crate::elementwise) hold.

use residuum_tensor::MapLayout;

use crate::check;
use crate::crew::for_each_chunk;

/// Elements whose moving costs less than handing it over.
const LEAST_MOVED: usize = 1 << 13;

/// Writes `x` (`[n, c, h, w]`, dense) into a map.
pub fn to_map(nchw: &[f32], out: &mut [f32], layout: MapLayout) {
    let MapLayout { h, w, c, pitch, .. } = layout;
    check::length("nchw", nchw.len(), layout.pixels() * c);
    check::map("out", out.len(), &layout);
    par_moved_rows(out, &layout, |n, y, row| {
        for channel in 0..c {
            let plane = &nchw[((n * c + channel) * h + y) * w..][..w];
            row[channel..].iter_mut().step_by(pitch).zip(plane).for_each(|(out, &x)| *out = x);
        }
    });
}

/// Reads a map into `nchw` (`[n, c, h, w]`, dense).
pub fn from_map(x: &[f32], layout: MapLayout, nchw: &mut [f32]) {
    let MapLayout { h, w, c, pitch, .. } = layout;
    check::length("nchw", nchw.len(), layout.pixels() * c);
    check::map("x", x.len(), &layout);
    if layout.is_empty() {
        return;
    }
    for_each_chunk(nchw, c * h * w, 1, |n, image| {
        for y in 0..h {
            let row = &x[layout.offset(n, y, 0)..];
            for channel in 0..c {
                let out = &mut image[(channel * h + y) * w..][..w];
                out.iter_mut().zip(row[channel..].iter().step_by(pitch)).for_each(|(out, &x)| *out = x);
            }
        }
    });
}

/// Makes the border zero, the map's own channels only.
pub fn zero_border(buffer: &mut [f32], layout: MapLayout) {
    check::bordered_map("buffer", buffer.len(), &layout);
    layout.for_each_border_run(|start, len| {
        if layout.pitch == layout.c {
            buffer[start..start + len].fill(0.0);
        } else {
            (start..start + len).step_by(layout.pitch).for_each(|at| buffer[at..at + layout.c].fill(0.0));
        }
    });
}

/// Shortcut option A (He et al. 2015, §3.3): every `stride`-th pixel of `x`, with `before` channels of zeros
/// in front and as many behind as `out` has more. `out` has `⌈h / stride⌉` by `⌈w / stride⌉` pixels.
pub fn subsample_pad(x: &[f32], xl: MapLayout, stride: usize, before: usize, out: &mut [f32], ol: MapLayout) {
    subsample(x, xl, stride, before, 0.0, out, ol);
}

/// [`subsample_pad`] of any elements, `zero` standing for zero.
pub(crate) fn subsample<T: Copy + Send + Sync>(
    x: &[T],
    xl: MapLayout,
    stride: usize,
    before: usize,
    zero: T,
    out: &mut [T],
    ol: MapLayout,
) {
    check::map("x", x.len(), &xl);
    check::map("out", out.len(), &ol);
    check_subsampled("out", &xl, stride, before, &ol);
    par_moved_rows(out, &ol, |n, y, row| {
        for (column, pixel) in row.chunks_mut(ol.pitch).take(ol.w).enumerate() {
            let at = xl.offset(n, y * stride, column * stride);
            pixel[..before].fill(zero);
            pixel[before..before + xl.c].copy_from_slice(&x[at..at + xl.c]);
            pixel[before + xl.c..ol.c].fill(zero);
        }
    });
}

/// Gradient of [`subsample_pad`]: the middle channels of `dy` where a pixel was taken, 0 elsewhere.
pub fn subsample_pad_backward(
    dy: &[f32],
    dyl: MapLayout,
    stride: usize,
    before: usize,
    dx: &mut [f32],
    dxl: MapLayout,
) {
    check::map("dy", dy.len(), &dyl);
    check::map("dx", dx.len(), &dxl);
    check_subsampled("dy", &dxl, stride, before, &dyl);
    par_rows(dx, &dxl, |n, y, row| {
        for (x, pixel) in row.chunks_mut(dxl.pitch).take(dxl.w).enumerate() {
            let pixel = &mut pixel[..dxl.c];
            if y.is_multiple_of(stride) && x.is_multiple_of(stride) {
                let at = dyl.offset(n, y / stride, x / stride) + before;
                pixel.copy_from_slice(&dy[at..at + dxl.c]);
            } else {
                pixel.fill(0.0);
            }
        }
    });
}

fn check_subsampled(what: &str, large: &MapLayout, stride: usize, before: usize, small: &MapLayout) {
    let channels = small.c.max(before + large.c);
    check::shape(what, small, [large.n, large.h.div_ceil(stride), large.w.div_ceil(stride), channels]);
}

/// Runs `task(n, y, row)` in parallel for every row of a map; `row` begins at its first pixel and ends
/// after the border on its right, or where the slice ends.
pub(crate) fn par_rows<T: Send>(
    out: &mut [T],
    layout: &MapLayout,
    task: impl Fn(usize, usize, &mut [T]) + Sync,
) {
    par_rows_by(out, layout, 1, task);
}

/// The same for a task that only moves a row: a thread takes as many as are worth handing over.
fn par_moved_rows<T: Send>(out: &mut [T], layout: &MapLayout, task: impl Fn(usize, usize, &mut [T]) + Sync) {
    par_rows_by(out, layout, LEAST_MOVED / layout.row_stride().max(1), task);
}

fn par_rows_by<T: Send>(
    out: &mut [T],
    layout: &MapLayout,
    min_rows: usize,
    task: impl Fn(usize, usize, &mut [T]) + Sync,
) {
    if layout.is_empty() {
        return;
    }
    let (border, rows) = (layout.border, layout.h + 2 * layout.border);
    let end = out.len().min(layout.n * rows * layout.row_stride());
    for_each_chunk(&mut out[..end], layout.row_stride(), min_rows.max(1), |index, row| {
        let (n, y) = (index / rows, index % rows);
        if (border..border + layout.h).contains(&y) {
            task(n, y - border, &mut row[border * layout.pitch..]);
        }
    });
}
