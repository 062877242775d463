//! Filters packed as they are, and their transform on the way to the products.

use crate::conv::choose;
use crate::conv::gemm::{Product, WeightStrides, scale};
use crate::conv::winograd::axis::POINTS;
use crate::conv::winograd::points::{A, A2, B, B2, SCALE_A, SCALE_B, SCALE_ZERO};
use crate::isa::{Simd, Source};
use rayon::prelude::*;

/// Multiplications and additions of the transform of a filter, row by row: the vertical ones of three columns, and the
/// horizontal ones.
pub(super) const FILTER_STEPS: usize = 3 * (1 + 4 * 3) + 11 * POINTS;

/// Taps of a filter.
pub(super) const TAPS: usize = 9;
/// Channels of a panel that are packed at a time, a few cache lines of each filter.
const STRIP: usize = 16;
/// Multiply-adds that take as long as packing one filter.
const FILTER_MACS: usize = 64;

/// Where filters come from, and where they go: `[panel][channel][tap][column]`.
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
        for row in packed.chunks_exact_mut(self.panel_columns) {
            if let Some(scales) = scales {
                scale(row, &scales[start..start + count]);
            }
            row[count..].fill(0.0);
        }
    }
}

/// A row of `U = G g Gt`, six frequencies, of a vector of columns whose nine taps lie at `first`, in `f32`.
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
        taps[x] = match ROW {
            0 => simd.mul(simd.splat(SCALE_ZERO as f32), column[0]),
            1 => at_point(simd, SCALE_A, A, column),
            2 => at_point(simd, SCALE_A, -A, column),
            3 => at_point(simd, SCALE_B, B, column),
            4 => at_point(simd, SCALE_B, -B, column),
            _ => column[2],
        };
    }
    at_points(simd, taps)
}

/// `scale * g(point)`
#[inline(always)]
fn at_point<S: Simd>(simd: S, scale: f64, point: f64, [g0, g1, g2]: [S::V; 3]) -> S::V {
    let even = simd.mul(simd.splat(scale as f32), g0);
    let even = simd.fma(simd.splat((scale * point * point) as f32), g2, even);
    simd.fma(simd.splat((scale * point) as f32), g1, even)
}

/// `G g`: a filter of three taps at the six points, each with its scale.
#[inline(always)]
fn at_points<S: Simd>(simd: S, [g0, g1, g2]: [S::V; 3]) -> [S::V; POINTS] {
    let even_a = simd.mul(simd.splat(SCALE_A as f32), g0);
    let even_a = simd.fma(simd.splat((SCALE_A * A2) as f32), g2, even_a);
    let even_b = simd.mul(simd.splat(SCALE_B as f32), g0);
    let even_b = simd.fma(simd.splat((SCALE_B * B2) as f32), g2, even_b);
    let odd_a = simd.mul(simd.splat((SCALE_A * A) as f32), g1);
    let odd_b = simd.mul(simd.splat((SCALE_B * B) as f32), g1);
    [
        simd.mul(simd.splat(SCALE_ZERO as f32), g0),
        simd.add(even_a, odd_a),
        simd.sub(even_a, odd_a),
        simd.add(even_b, odd_b),
        simd.sub(even_b, odd_b),
        g2,
    ]
}
