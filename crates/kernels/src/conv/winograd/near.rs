//! Products where everything lies in the caches: the tiles of one small image.
//!
//! A register tile lasts some hundred cycles there. Neither what comes next has to be fetched, nor may a tile spend as long
//! on its beginning as on its sum: all frequencies are one function, and rows lie at equal distances.

use super::tiling::{Block, FREQUENCIES};
use crate::conv::tile::step;
use crate::isa::{Kernel, Simd, Sink, Source};

/// The products of all frequencies of a block of tiles with some panels of `V` vectors, `R` rows at a time.
///
/// Whoever makes one answers for this: transformed inputs, products and filters lie inside for every tile, and no other
/// thread touches the products. The sums have the same order as in the tiles of [`gemm`](crate::conv::gemm).
pub(super) struct Products<'a, const R: usize, const V: usize> {
    pub(super) block: &'a Block,
    pub(super) memory: Sink<'a>,
    pub(super) v: Rows,
    pub(super) m: Rows,
    /// The filters of the panels, `[frequency][panel][channel][column]`.
    pub(super) filters: Source<'a>,
    pub(super) panels: usize,
    pub(super) channels: usize,
}

/// Where the rows of a frequency lie.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) start: usize,
    /// Floats from a tile to the next, and from a frequency to the next.
    pub(super) row: usize,
    pub(super) stride: usize,
}

impl Rows {
    #[inline(always)]
    fn place(self, frequency: usize, tile: usize) -> usize {
        self.start + frequency * self.stride + tile * self.row
    }
}

impl<const R: usize, const V: usize> Kernel for Products<'_, R, V> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one of them is done")]
    fn run<S: Simd>(self, simd: S) {
        let width = V * S::LANES;
        let panel_len = self.channels * width;
        for frequency in 0..FREQUENCIES {
            let wanting = self.block.wanting(frequency);
            for panel in 0..self.panels {
                let at = (frequency * self.panels + panel) * panel_len;
                // SAFETY: there are filters for every frequency and panel, by the contract.
                let filters = unsafe { self.filters.skip(at) };
                let mut tile = wanting.start;
                while tile < wanting.end {
                    let (src, dst) = (self.v.place(frequency, tile), self.m.place(frequency, tile));
                    let dst = dst + panel * width;
                    // SAFETY: as many rows are left, and lie inside by the contract.
                    tile += unsafe {
                        match wanting.end - tile {
                            left if left >= R => self.rows::<S, R>(simd, src, filters, dst),
                            left if left >= 4 => self.rows::<S, 4>(simd, src, filters, dst),
                            2 | 3 => self.rows::<S, 2>(simd, src, filters, dst),
                            _ => self.rows::<S, 1>(simd, src, filters, dst),
                        }
                    };
                }
            }
        }
    }
}

impl<const R: usize, const V: usize> Products<'_, R, V> {
    /// The product of `N` rows with a panel; returns how many.
    ///
    /// # Safety
    /// The rows and the filters of the panel lie inside.
    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "four times the same step")]
    unsafe fn rows<S: Simd, const N: usize>(
        &self,
        simd: S,
        src: usize,
        filters: Source<'_>,
        dst: usize,
    ) -> usize {
        let width = V * S::LANES;
        let mut rows = [self.memory.source(); N];
        for r in 0..N {
            // SAFETY: by the contract.
            rows[r] = unsafe { rows[r].skip(src + r * self.v.row) };
        }
        let mut acc = [[simd.zero(); V]; N];
        let mut k = 0;
        while k + 4 <= self.channels {
            // SAFETY: by the contract.
            unsafe {
                acc = step::<S, N, V>(simd, &rows, k, filters, k * width, acc);
                acc = step::<S, N, V>(simd, &rows, k + 1, filters, (k + 1) * width, acc);
                acc = step::<S, N, V>(simd, &rows, k + 2, filters, (k + 2) * width, acc);
                acc = step::<S, N, V>(simd, &rows, k + 3, filters, (k + 3) * width, acc);
            }
            k += 4;
        }
        while k < self.channels {
            // SAFETY: by the contract.
            acc = unsafe { step::<S, N, V>(simd, &rows, k, filters, k * width, acc) };
            k += 1;
        }
        for r in 0..N {
            for v in 0..V {
                // SAFETY: by the contract.
                unsafe { simd.store_at(acc[r][v], self.memory, dst + r * self.m.row + v * S::LANES) };
            }
        }
        N
    }
}
