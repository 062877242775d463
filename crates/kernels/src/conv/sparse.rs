//! The micro-kernel of products with many zeros in the map, as a ReLU leaves them: one row (pixel) x `V` vectors (output
//! channels), in registers.
//!
//! ```text
//! for row: acc[V] = first chunk ? 0 : output
//!     for k of the chunk with map[row + k] != 0:          bits of a mask, for 64 steps at a time
//!         acc += map[row + k] * packed[k][V]
//!     output = last chunk ? mask(relu(acc + bias + residual)) : acc
//! ```
//!
//! A register tile of several rows would load each weight for all of them, but could leave out a step only where all have zeros.
//! Here every multiplication has a load of its own, for which the weights of a chunk have to stay in the first-level cache;
//! with half of the steps left out, that is faster. The sums have the bits of the direct way, for what is left out is zero,
//! unless the weight is not finite.

use super::tile::{Finish, LINE, Panel, Rows, finish, load, store};
use crate::isa::{Kernel, Simd};

/// How many rows ahead the maps are fetched.
const AHEAD: usize = 2;

/// Steps that a mask has bits for.
const MASK: usize = u64::BITS as usize;

/// Computes all rows with a panel, in a function of its own.
///
/// # Safety
/// All windows, weights, bias values and outputs that the arguments name lie inside their buffers, and no other thread touches
/// the outputs.
#[inline(always)]
pub(super) unsafe fn call_rows<S: Simd, const V: usize>(simd: S, panel: &Panel<'_>, rows: Rows<'_>) {
    simd.call(SparseRows::<V> { panel, rows });
}

/// The arguments, which whoever makes one answers for.
struct SparseRows<'a, const V: usize> {
    panel: &'a Panel<'a>,
    rows: Rows<'a>,
}

impl<const V: usize> Kernel for SparseRows<'_, V> {
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

impl<const V: usize> SparseRows<'_, V> {
    /// The first `columns` columns of all rows.
    #[inline(always)]
    fn rows<S: Simd>(&self, simd: S, columns: usize) {
        let (panel, count) = (self.panel, self.rows.src.len());
        let depth: usize = panel.segments.iter().map(|segment| segment.len).sum();
        let lines = (depth * V * S::LANES / LINE).div_ceil(count);
        for row in 0..count {
            for line in row * lines..(row + 1) * lines {
                simd.prefetch_early(panel.next, line * LINE);
            }
            self.fetch(simd, (row + AHEAD).min(count - 1));
            let acc = self.sum(simd, row, columns);
            // SAFETY: the columns exist and are ours, by the contract.
            unsafe { store(simd, acc, panel.dst, self.rows.dst[row] + panel.column, columns) };
            if panel.is_last {
                self.finish(simd, row, columns);
            }
        }
    }

    /// The sum of a row.
    #[inline(always)]
    fn sum<S: Simd>(&self, simd: S, row: usize, columns: usize) -> [S::V; V] {
        let panel = self.panel;
        let mut acc = [simd.zero(); V];
        if !panel.is_first {
            // SAFETY: the columns exist, by the contract.
            acc = unsafe { load(simd, panel.dst.source(), self.rows.dst[row] + panel.column, columns) };
        }
        let (src, mut weights) = (self.rows.src[row], 0);
        for segment in panel.segments {
            for first in (0..segment.len).step_by(MASK) {
                let (start, len) = (src + segment.offset + first, MASK.min(segment.len - first));
                let mut bits = 0;
                for step in (0..len).step_by(S::LANES) {
                    // SAFETY: the steps lie inside the run, by the contract.
                    let [x] = unsafe { load(simd, panel.src, start + step, len - step) };
                    bits |= simd.nonzero(x) << step;
                }
                let weights = weights + first * V * S::LANES;
                while bits != 0 {
                    let step = bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    // SAFETY: the step lies inside the run, by the contract.
                    let x = unsafe { simd.splat_at(panel.src, start + step) };
                    let weight = weights + step * V * S::LANES;
                    for v in 0..V {
                        // SAFETY: there are weights for every step, by the contract.
                        let w = unsafe { simd.load_at(panel.weights, weight + v * S::LANES) };
                        acc[v] = simd.fma(x, w, acc[v]);
                    }
                }
            }
            weights += segment.len * V * S::LANES;
        }
        acc
    }

    /// Finishes the sum of a row where it has been stored: a loop over vectors in registers would have to be written out.
    #[inline(always)]
    fn finish<S: Simd>(&self, simd: S, row: usize, columns: usize) {
        let (panel, rows) = (self.panel, &self.rows);
        for first in (0..columns).step_by(S::LANES) {
            let (column, columns) = (panel.column + first, columns - first);
            let bias = match panel.finish.bias {
                // SAFETY: there is a bias for each column, by the contract.
                Some(bias) => unsafe { load(simd, bias, column, columns) },
                None => [simd.zero()],
            };
            let at = rows.dst[row] + column;
            let (residual, mask) = (rows.residual[row] + column, rows.mask[row] + column);
            // SAFETY: the columns exist, by the contract.
            let sum: [S::V; 1] = unsafe { load(simd, panel.dst.source(), at, columns) };
            // SAFETY: they exist in all maps, by the contract.
            let out = unsafe { finish(simd, &panel.finish, sum, bias, residual, mask, columns) };
            // SAFETY: they exist and are ours, by the contract.
            unsafe { store(simd, out, panel.dst, at, columns) };
        }
    }

    /// Fetches what belongs to a row.
    #[inline(always)]
    fn fetch<S: Simd>(&self, simd: S, row: usize) {
        let (panel, rows) = (self.panel, &self.rows);
        for column in (panel.column..panel.column + V * S::LANES).step_by(LINE) {
            simd.prefetch_write(panel.dst, rows.dst[row] + column);
            if panel.is_last {
                let Finish { residual, mask, .. } = panel.finish;
                for (map, places) in [(residual, rows.residual), (mask, rows.mask), (panel.other, rows.other)]
                {
                    if let Some(map) = map {
                        simd.prefetch(map, places[row] + column);
                    }
                }
            }
        }
        if let Some(next) = rows.next.get(row) {
            for segment in panel.segments {
                for step in (0..segment.len).step_by(LINE) {
                    simd.prefetch(panel.later, next + segment.offset + step);
                }
            }
        }
    }
}
