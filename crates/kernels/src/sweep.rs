//! One walk over maps for all kernels that treat every pixel alike.
//!
//! ```text
//! for each piece of pixels                      in parallel, pieces fixed by the problem
//!     for each run                              floats that are contiguous in every map
//!         for each period of the run            whole pixels, whole vectors
//!             for each vector: op.vector(offsets, channel table index)
//! ```
//!
//! A run is a row of the image where the channels of all maps are dense, the whole piece where they have no
//! border either, and a single pixel elsewhere. Coefficients per channel are repeated over one *period*, a
//! common multiple of channels and vector, so that small and odd numbers of channels fill their vectors too.

use std::ops::Range;

use rayon::prelude::*;
use residuum_tensor::MapLayout;

use crate::Isa;
use crate::crew::for_each;
use crate::isa::{Kernel, Simd, Sink, Source};

/// What to do with one vector; `M` maps take part.
pub(crate) trait Vectorwise<const M: usize>: Copy + Send + Sync {
    /// Works on the floats from `at[i]` on of map `i` and from `phase` on of the channel tables. The body is
    /// `#[inline(always)]`.
    ///
    /// # Safety
    /// The lanes of `lanes` from `at[i]` on lie inside map `i`, a whole vector from `phase` on inside each
    /// table of one period, and no other thread touches what is written.
    unsafe fn vector<S: Simd, L: Lanes>(self, simd: S, lanes: L, at: [usize; M], phase: usize);
}

/// Which lanes of a vector take part: all, or the first few at the end of a run.
pub(crate) trait Lanes: Copy {
    /// The floats at `at`, zero in lanes that take no part.
    ///
    /// # Safety
    /// The lanes that take part lie inside.
    unsafe fn load<S: Simd>(self, simd: S, src: Source<'_>, at: usize) -> S::V;

    /// Stores the lanes that take part.
    ///
    /// # Safety
    /// They lie inside, and no other thread touches them meanwhile.
    unsafe fn store<S: Simd>(self, simd: S, v: S::V, dst: Sink<'_>, at: usize);
}

/// All lanes.
#[derive(Clone, Copy)]
pub(crate) struct All;

/// The first lanes.
#[derive(Clone, Copy)]
pub(crate) struct First(pub(crate) usize);

impl Lanes for All {
    #[inline(always)]
    unsafe fn load<S: Simd>(self, simd: S, src: Source<'_>, at: usize) -> S::V {
        // SAFETY: the caller's duty.
        unsafe { simd.load_at(src, at) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(self, simd: S, v: S::V, dst: Sink<'_>, at: usize) {
        // SAFETY: the caller's duty.
        unsafe { simd.store_at(v, dst, at) }
    }
}

impl Lanes for First {
    #[inline(always)]
    unsafe fn load<S: Simd>(self, simd: S, src: Source<'_>, at: usize) -> S::V {
        // SAFETY: the caller's duty.
        unsafe { simd.load_part_at(src, at, self.0) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(self, simd: S, v: S::V, dst: Sink<'_>, at: usize) {
        // SAFETY: the caller's duty.
        unsafe { simd.store_part_at(v, dst, at, self.0) }
    }
}

/// The walk over `M` maps of the same images, rows, columns and channels.
#[derive(Clone, Copy)]
pub(crate) struct Sweep<const M: usize> {
    isa: Isa,
    layouts: [MapLayout; M],
    /// Pixels of a row, or of everything where no map has a border.
    width: usize,
    /// Runs are whole rows, not single pixels.
    dense: bool,
    /// Floats of a table of channels.
    period: usize,
}

/// A period is at least this long, so that sums have independent additions to do.
const SHORTEST_PERIOD: usize = 128;
/// More channels than this that do not fill their vectors are walked pixel by pixel.
const MOST_REPEATED_CHANNELS: usize = 64;
/// Floats of one map that a task works on.
const PIECE: usize = 1 << 15;
/// Pixels that are added up in `f32`, before their sums continue in `f64`.
const SEGMENT: usize = 256;

impl<const M: usize> Sweep<M> {
    /// The caller has checked that the layouts agree.
    pub(crate) fn new(isa: Isa, layouts: [MapLayout; M]) -> Self {
        let (c, lanes, pixels) = (layouts[0].c, isa.lanes(), layouts[0].pixels());
        let repeats = c.is_multiple_of(lanes) || c <= MOST_REPEATED_CHANNELS;
        let dense = repeats && layouts.iter().all(|layout| layout.pitch == c);
        let whole = if repeats { c * (lanes >> c.trailing_zeros().min(lanes.trailing_zeros())) } else { c };
        let period = if repeats {
            whole * SHORTEST_PERIOD.div_ceil(whole.max(1))
        } else {
            whole.next_multiple_of(lanes)
        };
        let flat = layouts.iter().all(|layout| layout.border == 0);
        Self { isa, layouts, width: if flat { pixels } else { layouts[0].w }, dense, period }
    }

    /// The values repeated over one period, as [`Vectorwise::vector`] finds them.
    pub(crate) fn table(&self, values: &[f32]) -> Vec<f32> {
        let mut table = Vec::with_capacity(self.period);
        while table.len() < self.period {
            table.extend_from_slice(&values[..values.len().min(self.period - table.len())]);
        }
        table
    }

    /// Applies `op` to every pixel.
    pub(crate) fn apply(&self, op: impl Vectorwise<M>) {
        let layout = &self.layouts[0];
        if layout.is_empty() {
            return;
        }
        let (pixels, piece) = (layout.pixels(), PIECE.div_ceil(layout.c));
        let run = |index: usize| {
            let pixels = index * piece..((index + 1) * piece).min(pixels);
            self.isa.run(Walk { sweep: *self, op, pixels });
        };
        for_each(pixels.div_ceil(piece), 1, run);
    }

    /// Adds up `SUMS` values per channel over all pixels: `[SUMS][c]`.
    pub(crate) fn reduce<const SUMS: usize>(&self, op: impl Reduction<M>) -> Vec<f64> {
        let layout = &self.layouts[0];
        if layout.is_empty() {
            return vec![0.0; SUMS * layout.c];
        }
        let (pixels, piece) = (layout.pixels(), (2 * PIECE).div_ceil(layout.c).max(SEGMENT));
        let part =
            |index: usize| self.reduce_pixels::<SUMS>(op, index * piece..((index + 1) * piece).min(pixels));
        let parts: Vec<_> = (0..pixels.div_ceil(piece)).into_par_iter().map(part).collect();
        let mut parts = parts.into_iter();
        let mut total = parts.next().unwrap_or_default();
        for part in parts {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        total
    }

    /// The same over a range of pixels, on this thread.
    pub(crate) fn reduce_pixels<const SUMS: usize>(
        &self,
        op: impl Reduction<M>,
        pixels: Range<usize>,
    ) -> Vec<f64> {
        let c = self.layouts[0].c;
        let mut total = vec![0.0; SUMS * c];
        let mut sums = vec![0.0; SUMS * self.period];
        for start in pixels.clone().step_by(SEGMENT) {
            sums.fill(0.0);
            let op = Accumulate { op, sums: Sink::new(&mut sums), period: self.period };
            let segment = start..(start + SEGMENT).min(pixels.end);
            self.isa.run(Walk { sweep: *self, op, pixels: segment });
            for (total, sums) in total.chunks_exact_mut(c).zip(sums.chunks_exact(self.period)) {
                for pixel in sums.chunks(c) {
                    total.iter_mut().zip(pixel).for_each(|(total, &sum)| *total += f64::from(sum));
                }
            }
        }
        total
    }
}

/// What to add up, vector by vector.
pub(crate) trait Reduction<const M: usize>: Copy + Send + Sync {
    /// Adds this vector's part to the running sums: `sums[i]` at `i * period + phase`.
    ///
    /// # Safety
    /// As for [`Vectorwise::vector`].
    unsafe fn vector<S: Simd, L: Lanes>(
        self,
        simd: S,
        lanes: L,
        at: [usize; M],
        phase: usize,
        sums: Sums<'_>,
    );
}

/// Running sums of one segment, one period of floats each.
#[derive(Clone, Copy)]
pub(crate) struct Sums<'a> {
    floats: Sink<'a>,
    period: usize,
    phase: usize,
}

impl Sums<'_> {
    /// The running sum number `index`.
    ///
    /// # Safety
    /// `index` is less than the number of sums.
    #[inline(always)]
    pub(crate) unsafe fn get<S: Simd>(self, simd: S, index: usize) -> S::V {
        // SAFETY: phases are whole vectors inside a period; there are `index + 1` periods at least.
        unsafe { simd.load_at(self.floats.source(), index * self.period + self.phase) }
    }

    /// Replaces the running sum number `index`.
    ///
    /// # Safety
    /// `index` is less than the number of sums.
    #[inline(always)]
    pub(crate) unsafe fn set<S: Simd>(self, simd: S, index: usize, v: S::V) {
        // SAFETY: as in `get`; the sums belong to this thread.
        unsafe { simd.store_at(v, self.floats, index * self.period + self.phase) }
    }
}

#[derive(Clone, Copy)]
struct Accumulate<'a, R> {
    op: R,
    sums: Sink<'a>,
    period: usize,
}

impl<R: Reduction<M>, const M: usize> Vectorwise<M> for Accumulate<'_, R> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(self, simd: S, lanes: L, at: [usize; M], phase: usize) {
        let sums = Sums { floats: self.sums, period: self.period, phase };
        // SAFETY: the caller's duty is the same.
        unsafe { self.op.vector(simd, lanes, at, phase, sums) }
    }
}

/// The loop nest over a range of pixels, counted over all images.
struct Walk<O, const M: usize> {
    sweep: Sweep<M>,
    op: O,
    pixels: Range<usize>,
}

impl<O: Vectorwise<M>, const M: usize> Kernel for Walk<O, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { sweep: Sweep { layouts, width, dense, period, .. }, op, pixels } = self;
        let (c, h) = (layouts[0].c, layouts[0].h);
        let mut pixel = pixels.start;
        while pixel < pixels.end {
            let (row, x) = (pixel / width, pixel % width);
            let count = (width - x).min(pixels.end - pixel);
            let mut at = [0; M];
            for m in 0..M {
                at[m] = layouts[m].offset(row / h, row % h, x);
            }
            let (runs, len) = if dense { (1, count * c) } else { (count, c) };
            for _ in 0..runs {
                run(simd, op, at, len, period);
                for m in 0..M {
                    at[m] += layouts[m].pitch;
                }
            }
            pixel += count;
        }
    }
}

/// One run of `len` floats, which begins with channel 0. All arguments are values: what lies behind a
/// reference would be read again after every store.
#[inline(always)]
fn run<S: Simd, O: Vectorwise<M>, const M: usize>(
    simd: S,
    op: O,
    start: [usize; M],
    len: usize,
    period: usize,
) {
    let mut done = 0;
    while done < len {
        let end = len.min(done + period);
        let mut phase = 0;
        while done + S::LANES <= end {
            // SAFETY: the run lies inside every map, as checked where the layouts were; the vector inside
            // the run; pieces do not overlap.
            unsafe { op.vector(simd, All, advance(start, done), phase) };
            done += S::LANES;
            phase += S::LANES;
        }
        if done < end {
            // SAFETY: the same for the lanes that are left; a period is a whole number of vectors.
            unsafe { op.vector(simd, First(end - done), advance(start, done), phase) };
            done = end;
        }
    }
}

#[inline(always)]
fn advance<const M: usize>(mut at: [usize; M], by: usize) -> [usize; M] {
    for at in &mut at {
        *at += by;
    }
    at
}
