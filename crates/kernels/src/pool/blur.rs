//! A fixed low-pass filter with subsampling, on maps padded by reflection.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "the loads and stores of one vector are one duty")]

use residuum_tensor::MapLayout;

use crate::crew::for_each;
use crate::isa::{Kernel, Simd, Sink, Source};
use crate::rearrange::par_rows;
use crate::sweep::{All, First, Lanes};
use crate::{Isa, check};

/// Channels of one image that a backward task owns.
const CHANNEL_BLOCK: usize = 64;

/// Geometry of a blur: the outer product of the binomial coefficients of `size`, over a map with reflected
/// borders of `padding` pixels (less than a side of the map).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlurShape {
    /// Images.
    pub n: usize,
    /// Rows of an input image.
    pub h: usize,
    /// Columns of an input image.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Side of the filter.
    pub size: usize,
    /// Distance between two windows.
    pub stride: usize,
    /// Reflected pixels on every side.
    pub padding: usize,
}

/// A pixel under a window along one axis, and its weight.
pub(crate) type Tap = (usize, f64);

impl BlurShape {
    /// Rows of an output image.
    pub const fn out_h(&self) -> usize {
        self.out_size(self.h)
    }

    /// Columns of an output image.
    pub const fn out_w(&self) -> usize {
        self.out_size(self.w)
    }

    const fn out_size(&self, side: usize) -> usize {
        (side + 2 * self.padding - self.size) / self.stride + 1
    }

    /// For every window along an axis of `side` pixels, the pixels under it.
    pub(crate) fn taps(&self, side: usize) -> Vec<Vec<Tap>> {
        let weights = binomial(self.size);
        let reflect = |at: isize| {
            let at = at.unsigned_abs();
            if at < side { at } else { 2 * (side - 1) - at }
        };
        let window = |index: usize| {
            let first = (index * self.stride) as isize - self.padding as isize;
            weights.iter().enumerate().map(|(tap, &weight)| (reflect(first + tap as isize), weight)).collect()
        };
        (0..self.out_size(side)).map(window).collect()
    }

    /// Panics unless the maps have this geometry and are held by their slices.
    #[track_caller]
    pub(crate) fn check(&self, input: (&str, usize, &MapLayout), output: (&str, usize, &MapLayout)) {
        assert!(self.padding < self.h.min(self.w), "a reflection repeats no edge: {self:?}");
        check::shape(input.0, input.2, [self.n, self.h, self.w, self.c]);
        check::shape(output.0, output.2, [self.n, self.out_h(), self.out_w(), self.c]);
        for (what, len, layout) in [input, output] {
            check::map(what, len, layout);
        }
    }
}

/// Binomial coefficients over their sum: powers of two, exact.
fn binomial(size: usize) -> Vec<f64> {
    let mut row = vec![1.0];
    for _ in 1..size {
        let mut next = vec![0.5; row.len() + 1];
        for (index, value) in next.iter_mut().enumerate() {
            let left = if index > 0 { row[index - 1] } else { 0.0 };
            *value *= left + row.get(index).copied().unwrap_or(0.0);
        }
        row = next;
    }
    row
}

/// Weighted mean of every window.
pub fn blur(isa: Isa, x: &[f32], xl: MapLayout, shape: &BlurShape, out: &mut [f32], ol: MapLayout) {
    shape.check(("x", x.len(), &xl), ("out", out.len(), &ol));
    let (rows, columns) = (shape.taps(shape.h), shape.taps(shape.w));
    let x = Source::new(x);
    par_rows(out, &ol, |n, y, out| {
        isa.run(Row { x, xl, n, rows: &rows[y], columns: &columns, c: shape.c, out, pitch: ol.pitch });
    });
}

/// Gradient of [`blur`].
pub fn blur_backward(
    isa: Isa,
    dy: &[f32],
    dyl: MapLayout,
    shape: &BlurShape,
    dx: &mut [f32],
    dxl: MapLayout,
) {
    shape.check(("dx", dx.len(), &dxl), ("dy", dy.len(), &dyl));
    if dxl.is_empty() {
        return;
    }
    let (rows, columns) = (shape.taps(shape.h), shape.taps(shape.w));
    let (dy, dx) = (Source::new(dy), Sink::new(dx));
    let blocks = shape.c.div_ceil(CHANNEL_BLOCK);
    for_each(shape.n * blocks, 1, |index| {
        let (n, first) = (index / blocks, index % blocks * CHANNEL_BLOCK);
        let end = (first + CHANNEL_BLOCK).min(shape.c);
        isa.run(Block { dy, dyl, dx, dxl, n, first, end, rows: &rows, columns: &columns });
    });
}

/// One row of the output.
struct Row<'a> {
    x: Source<'a>,
    xl: MapLayout,
    n: usize,
    rows: &'a [Tap],
    columns: &'a [Vec<Tap>],
    c: usize,
    out: &'a mut [f32],
    pitch: usize,
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { x, xl, n, rows, columns, c, out, pitch } = self;
        for (column, taps) in columns.iter().enumerate() {
            let out = &mut out[column * pitch..][..c];
            let mut channel = 0;
            while channel + S::LANES <= c {
                let sum = gather(simd, All, x, &xl, n, rows, taps, channel);
                simd.store(sum, &mut out[channel..]);
                channel += S::LANES;
            }
            if channel < c {
                let sum = gather(simd, First(c - channel), x, &xl, n, rows, taps, channel);
                simd.store_part(sum, &mut out[channel..]);
            }
        }
    }
}

#[inline(always)]
fn gather<S: Simd, L: Lanes>(
    simd: S,
    lanes: L,
    x: Source<'_>,
    xl: &MapLayout,
    n: usize,
    rows: &[Tap],
    columns: &[Tap],
    channel: usize,
) -> S::V {
    let mut sum = simd.zero();
    for &(y, down) in rows {
        for &(column, across) in columns {
            // SAFETY: a pixel of the map, whose shape was checked, and lanes that are its channels.
            let value = unsafe { lanes.load(simd, x, xl.offset(n, y, column) + channel) };
            sum = simd.fma(value, simd.splat((down * across) as f32), sum);
        }
    }
    sum
}

/// A block of channels of one image.
struct Block<'a> {
    dy: Source<'a>,
    dyl: MapLayout,
    dx: Sink<'a>,
    dxl: MapLayout,
    n: usize,
    first: usize,
    end: usize,
    rows: &'a [Vec<Tap>],
    columns: &'a [Vec<Tap>],
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for y in 0..self.dxl.h {
            for x in 0..self.dxl.w {
                let at = self.dxl.offset(self.n, y, x) + self.first;
                // SAFETY: these channels of this image belong to this task alone.
                unsafe { self.dx.slice(at, self.end - self.first) }.fill(0.0);
            }
        }
        for (y, rows) in self.rows.iter().enumerate() {
            for (x, columns) in self.columns.iter().enumerate() {
                let at = self.dyl.offset(self.n, y, x);
                let mut channel = self.first;
                while channel + S::LANES <= self.end {
                    self.spread(simd, All, rows, columns, at, channel);
                    channel += S::LANES;
                }
                if channel < self.end {
                    self.spread(simd, First(self.end - channel), rows, columns, at, channel);
                }
            }
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    fn spread<S: Simd, L: Lanes>(
        &self,
        simd: S,
        lanes: L,
        rows: &[Tap],
        columns: &[Tap],
        dy: usize,
        channel: usize,
    ) {
        // SAFETY: the lanes are channels of the map, whose shape was checked.
        let dy = unsafe { lanes.load(simd, self.dy, dy + channel) };
        for &(y, down) in rows {
            for &(x, across) in columns {
                let at = self.dxl.offset(self.n, y, x) + channel;
                let weight = simd.splat((down * across) as f32);
                // SAFETY: a pixel of the map, and channels that belong to this task alone.
                unsafe {
                    let sum = simd.fma(dy, weight, lanes.load(simd, self.dx.source(), at));
                    lanes.store(simd, sum, self.dx, at);
                }
            }
        }
    }
}
