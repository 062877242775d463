//! Filters packed as they are, and their transform on the way to the products.

use crate::conv::choose;
use crate::conv::gemm::{Product, WeightStrides};
use crate::conv::winograd::axis::POINTS;
use crate::conv::winograd::points::{A, A2, B};
use crate::isa::{Simd, Source};
use rayon::prelude::*;

/// Multiplications and additions of the transform of a filter, row by row: the vertical ones of three columns, and the
/// horizontal ones.
pub(super) const FILTER_STEPS: usize = 3 * 4 * 2 + 6 * POINTS;

/// What the larger points are of the smaller ones.
const RATIO: f64 = B / A;

/// [`A`] to the power of the row and the column of a tap.
const POWERS: [f64; TAPS] = [1.0, A, A2, A, A2, A2 * A, A2, A2 * A, A2 * A2];

/// Taps of a filter.
pub(super) const TAPS: usize = 9;
/// Channels of a panel that are packed at a time, a few cache lines of each filter.
const STRIP: usize = 16;
/// Multiply-adds that take as long as packing one filter.
const FILTER_MACS: usize = 64;

/// Where filters come from, and where they go: `[panel][channel][tap][column]`, each tap times [`A`] to the power of its row and
/// column.
#[derive(Clone, Debug)]
pub(super) struct Filters {
    pub(super) channels: usize,
    pub(super) columns: usize,
    pub(super) panel_columns: usize,
    strides: WeightStrides,
    /// Places of the nine taps in a filter, in the order of the source's pixels.
    taps: [usize; TAPS],
}

impl Filters {
    pub(super) fn new(product: &Product<'_>, panel_columns: usize) -> Self {
        let Product { channels, columns, strides, .. } = *product;
        let mut taps = [0; TAPS];
        taps.iter_mut().zip(&product.taps).for_each(|(to, tap)| *to = tap.index);
        Self { channels, columns, panel_columns, strides, taps }
    }

    pub(super) fn panels(&self) -> usize {
        self.columns.div_ceil(self.panel_columns)
    }

    /// Floats of all of them.
    pub(super) fn len(&self) -> usize {
        self.place(self.panels(), 0)
    }

    /// Where a channel of a panel begins.
    #[inline(always)]
    pub(super) fn place(&self, panel: usize, channel: usize) -> usize {
        (panel * self.channels + channel) * TAPS * self.panel_columns
    }

    /// Packs all filters, each times the scale of its column where there are scales.
    pub(super) fn pack(&self, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
        if packed.is_empty() {
            return;
        }
        let count = self.panels() * self.channels.div_ceil(STRIP);
        let min_strips = choose::min_tasks(FILTER_MACS * self.channels * self.columns, count);
        let mut strips = Vec::with_capacity(count);
        for (panel, packed) in packed.chunks_mut(self.place(1, 0)).enumerate() {
            let packed = packed.chunks_mut(self.place(0, STRIP)).enumerate();
            strips.extend(packed.map(|(strip, packed)| (panel, strip * STRIP, packed)));
        }
        let strips = strips.into_par_iter().with_min_len(min_strips);
        strips.for_each(|(panel, channel, packed)| self.pack_strip(panel, channel, weights, scales, packed));
    }

    /// Packs some channels of a panel from channel `first` on, zero where there is no column.
    fn pack_strip(
        &self,
        panel: usize,
        first: usize,
        weights: &[f32],
        scales: Option<&[f64]>,
        packed: &mut [f32],
    ) {
        let start = panel * self.panel_columns;
        let count = self.panel_columns.min(self.columns - start);
        for column in 0..count {
            let filters = &weights[(start + column) * self.strides.column + first * self.strides.channel..];
            for (channel, packed) in packed.chunks_exact_mut(TAPS * self.panel_columns).enumerate() {
                let filter = &filters[channel * self.strides.channel..][..TAPS];
                for (row, &tap) in packed.chunks_exact_mut(self.panel_columns).zip(&self.taps) {
                    row[column] = filter[tap];
                }
            }
        }
        for (place, row) in packed.chunks_exact_mut(self.panel_columns).enumerate() {
            let power = POWERS[place % TAPS];
            for (column, weight) in row[..count].iter_mut().enumerate() {
                let scale = scales.map_or(1.0, |scales| scales[start + column]);
                *weight = (f64::from(*weight) * (scale * power)) as f32;
            }
            row[count..].fill(0.0);
        }
    }
}

/// A row of `U = G g Gt` without its scales, six frequencies, of a vector of columns whose nine taps lie at `first`, in `f32`.
///
/// # Safety
/// The taps lie inside.
#[inline(always)]
pub(super) unsafe fn points_of_row<S: Simd, const ROW: usize>(
    simd: S,
    filters: Source<'_>,
    first: usize,
) -> [S::V; POINTS] {
    let mut taps = [simd.zero(); 3];
    for x in 0..3 {
        let mut column = [simd.zero(); 3];
        for y in 0..3 {
            // SAFETY: by the contract.
            column[y] = unsafe { simd.load_at(filters, first + (3 * y + x) * S::LANES) };
        }
        // What is not asked for is not computed.
        taps[x] = at_points(simd, column)[ROW];
    }
    at_points(simd, taps)
}

/// A filter of three taps, in powers of [`A`], at the six points. These are 0, ±1, ±2 and infinity then, and additions, which
/// some CPUs do beside multiplications, do for half of them.
#[inline(always)]
fn at_points<S: Simd>(simd: S, [g0, g1, g2]: [S::V; 3]) -> [S::V; POINTS] {
    let (ratio, minus, square) =
        (simd.splat(RATIO as f32), simd.splat(-RATIO as f32), simd.splat((RATIO * RATIO) as f32));
    let even_a = simd.add(g0, g2);
    let even_b = simd.fma(square, g2, g0);
    [
        g0,
        simd.add(even_a, g1),
        simd.sub(even_a, g1),
        simd.fma(ratio, g1, even_b),
        simd.fma(minus, g1, even_b),
        g2,
    ]
}
