//! The micro-kernel of products with many zeros in the map, as a ReLU leaves them: two rows (pixels) x `V` vectors (output
//! channels), in registers.
//!
//! ```text
//! for pair of rows: acc[2][V] = 0
//!     for k of the chunk where both are not zero:         bits of a mask, for 64 steps at a time
//!         acc[0 and 1] += map[row + k] * packed[k][V]
//!     for each row: for k where only it is not zero:
//!         acc[row] += map[row + k] * packed[k][V]
//!     acc += first chunk ? 0 : output
//!     output = last chunk ? mask(relu(acc + bias + residual)) : acc
//! ```
//!
//! A register tile of many rows would load each weight for all of them, but could leave out a step only where all have zeros.
//! A row alone would leave out all of them, but load weights for every multiplication, which takes longer than multiplying. Two
//! rows do both: with half of the steps left out, they load three weights for four multiplications.
//!
//! The two are neighbours in an image, never of two images, so that what one image gives does not depend on others in the batch.
//!
//! Rows one by one, in the order of the sum, are for CPUs with too few registers for two, and where the bits of the direct way are
//! wanted: these have them, for what is left out is zero, unless the weight is not finite.

use super::tile::{Finish, LINE, Panel, Rows, load, write};
use crate::isa::{Kernel, Simd};

/// Most rows whose sums the registers hold.
pub(super) const MOST_ROWS: usize = 2;

/// How many rows ahead the maps are fetched.
const AHEAD: usize = 4;

/// Steps that a mask has bits for.
const MASK: usize = u64::BITS as usize;

/// Where the rows lie among those of an image.
#[derive(Clone, Copy)]
pub(super) struct Images {
    /// The place of the first row in its image, an even one.
    pub(super) first: usize,
    /// Rows of an image.
    pub(super) rows: usize,
}

/// Computes all rows with a panel, `R` at a time, in a function of its own.
///
/// # Safety
/// All windows, weights, bias values and outputs that the arguments name lie inside their buffers, and no other thread touches
/// the outputs.
#[inline(always)]
pub(super) unsafe fn call_rows<S: Simd, const R: usize, const V: usize>(
    simd: S,
    panel: &Panel<'_>,
    rows: Rows<'_>,
    images: Images,
) {
    simd.call(SparseRows::<R, V> { panel, rows, images });
}

/// The arguments, which whoever makes one answers for.
struct SparseRows<'a, const R: usize, const V: usize> {
    panel: &'a Panel<'a>,
    rows: Rows<'a>,
    images: Images,
}

impl<const R: usize, const V: usize> Kernel for SparseRows<'_, R, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // As a constant, no vector has to be looked at.
        if self.panel.columns >= V * S::LANES {
            self.rows(simd, V * S::LANES);
        } else {
            self.rows(simd, self.panel.columns);
        }
    }
}

impl<const R: usize, const V: usize> SparseRows<'_, R, V> {
    /// Whether every row has a sum of its own, in the order of the steps: the bits of the direct way.
    const IS_IN_ORDER: bool = R == 1;

    /// The first `columns` columns of all rows; the last one of an image may be left alone.
    #[inline(always)]
    fn rows<S: Simd>(&self, simd: S, columns: usize) {
        let count = self.rows.src.len();
        let depth: usize = self.panel.segments.iter().map(|segment| segment.len).sum();
        // Every row fetches its part of the next panel.
        let lines = (depth * V * S::LANES / LINE).div_ceil(count.max(1));
        let (mut row, mut left) = (0, self.images.rows - self.images.first);
        while row < count {
            let height = R.min(left);
            for row in row..row + height {
                for line in row * lines..(row + 1) * lines {
                    simd.prefetch_early(self.panel.next, line * LINE);
                }
                self.fetch(simd, (row + AHEAD).min(count - 1));
            }
            if height == R {
                self.some_rows::<S, R>(simd, row, columns);
            } else {
                self.some_rows::<S, 1>(simd, row, columns);
            }
            row += height;
            left -= height;
            if left == 0 {
                left = self.images.rows;
            }
        }
    }

    /// The same of `N` rows from row `first` on.
    #[inline(always)]
    fn some_rows<S: Simd, const N: usize>(&self, simd: S, first: usize, columns: usize) {
        let acc = self.sums::<S, N>(simd, first, columns);
        // SAFETY: by the contract.
        unsafe { write::<S, N, V>(simd, self.panel, &self.rows, first, acc, columns) };
    }

    /// The sums of `N` rows.
    #[inline(always)]
    fn sums<S: Simd, const N: usize>(&self, simd: S, first: usize, columns: usize) -> [[S::V; V]; N] {
        let panel = self.panel;
        let mut acc = [[simd.zero(); V]; N];
        let mut src = [0; N];
        for r in 0..N {
            src[r] = self.rows.src[first + r];
            if Self::IS_IN_ORDER && !panel.is_first {
                // SAFETY: the columns exist, by the contract.
                acc[r] = unsafe { self.before(simd, first + r, columns) };
            }
        }
        let mut weights = 0;
        for segment in panel.segments {
            for step in (0..segment.len).step_by(MASK) {
                let len = MASK.min(segment.len - step);
                let starts = src.map(|src| src + segment.offset + step);
                acc = self.add(simd, starts, len, weights + step * V * S::LANES, acc);
            }
            weights += segment.len * V * S::LANES;
        }
        if !Self::IS_IN_ORDER && !panel.is_first {
            // Sums of sums round less than one long sum.
            for r in 0..N {
                // SAFETY: the columns exist, by the contract.
                let before = unsafe { self.before(simd, first + r, columns) };
                for v in 0..V {
                    acc[r][v] = simd.add(before[v], acc[r][v]);
                }
            }
        }
        acc
    }

    /// The sum of a row over the chunks before.
    ///
    /// # Safety
    /// The columns exist.
    #[inline(always)]
    unsafe fn before<S: Simd>(&self, simd: S, row: usize, columns: usize) -> [S::V; V] {
        let panel = self.panel;
        // SAFETY: by the contract.
        unsafe { load(simd, panel.dst.source(), self.rows.dst[row] + panel.column, columns) }
    }

    /// Adds the products of `len` steps, at most as many as a mask has bits, which begin at `starts` in the map and at `weights`
    /// in the panel.
    #[inline(always)]
    fn add<S: Simd, const N: usize>(
        &self,
        simd: S,
        starts: [usize; N],
        len: usize,
        weights: usize,
        mut acc: [[S::V; V]; N],
    ) -> [[S::V; V]; N] {
        let panel = self.panel;
        let mut bits = [0; N];
        let mut shared = !0;
        for r in 0..N {
            // As a constant, no vector has to be looked at.
            bits[r] = if len == MASK {
                self.nonzero(simd, starts[r], MASK)
            } else {
                self.nonzero(simd, starts[r], len)
            };
            shared &= bits[r];
        }
        for step in Steps(shared) {
            let mut x = [simd.zero(); N];
            for r in 0..N {
                // SAFETY: the step lies inside the run, by the contract.
                x[r] = unsafe { simd.splat_at(panel.src, starts[r] + step) };
            }
            let weight = weights + step * V * S::LANES;
            for v in 0..V {
                // SAFETY: there are weights for every step, by the contract.
                let w = unsafe { simd.load_at(panel.weights, weight + v * S::LANES) };
                for r in 0..N {
                    acc[r][v] = simd.fma(x[r], w, acc[r][v]);
                }
            }
        }
        for r in 0..N {
            for step in Steps(bits[r] & !shared) {
                // SAFETY: the step lies inside the run, by the contract.
                let x = unsafe { simd.splat_at(panel.src, starts[r] + step) };
                let weight = weights + step * V * S::LANES;
                for v in 0..V {
                    // SAFETY: there are weights for every step, by the contract.
                    let w = unsafe { simd.load_at(panel.weights, weight + v * S::LANES) };
                    acc[r][v] = simd.fma(x, w, acc[r][v]);
                }
            }
        }
        acc
    }

    /// A bit for each of `len` floats of the map that is not zero.
    #[inline(always)]
    fn nonzero<S: Simd>(&self, simd: S, start: usize, len: usize) -> u64 {
        let mut bits = 0;
        for step in (0..len).step_by(S::LANES) {
            // SAFETY: the steps lie inside the run, by the contract.
            let [x] = unsafe { load(simd, self.panel.src, start + step, len - step) };
            bits |= simd.nonzero(x) << step;
        }
        bits
    }

    /// Fetches what belongs to a row.
    #[inline(always)]
    fn fetch<S: Simd>(&self, simd: S, row: usize) {
        let (panel, rows) = (self.panel, &self.rows);
        // Sums of the chunks before are in a cache.
        if panel.is_first {
            for column in (0..V * S::LANES).step_by(LINE) {
                simd.prefetch_write(panel.dst, rows.dst[row] + panel.column + column);
            }
        }
        if panel.is_last {
            self.fetch_others(simd, row);
        }
        if let Some(next) = rows.next.get(row) {
            for segment in panel.segments {
                for step in (0..segment.len).step_by(LINE) {
                    simd.prefetch(panel.later, next + segment.offset + step);
                }
            }
        }
    }

    /// Fetches what the outputs of a row are finished with.
    #[inline(always)]
    fn fetch_others<S: Simd>(&self, simd: S, row: usize) {
        let (panel, rows) = (self.panel, &self.rows);
        let Finish { residual, mask, .. } = panel.finish;
        for (map, places) in [(residual, rows.residual), (mask, rows.mask), (panel.other, rows.other)] {
            if let Some(map) = map {
                for column in (0..V * S::LANES).step_by(LINE) {
                    simd.prefetch(map, places[row] + panel.column + column);
                }
            }
        }
    }
}

/// The steps whose bits are set in a mask, in order.
struct Steps(u64);

impl Iterator for Steps {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let step = self.0.trailing_zeros() as usize;
        (self.0 != 0).then(|| {
            self.0 &= self.0 - 1;
            step
        })
    }
}
