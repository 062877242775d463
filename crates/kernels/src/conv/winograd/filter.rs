//! The transform of filters, `U = G g Gt`, and the order in which the products read them.
//!
//! Computed in `f64` and rounded once: what is lost here would be lost in every tile.

use super::points::{A, A2, B, B2, SCALE_A, SCALE_B, SCALE_ZERO};
use super::tiling::FREQUENCIES;
use super::transform::POINTS;
use crate::conv::choose;
use crate::conv::gemm::{WeightStrides, scale};
use crate::conv::tasks;
use crate::isa::{Isa, Kernel, MOST_LANES, Simd, Sink};
use std::ops::Range;

/// Channels that a task takes of a panel.
const CHANNELS: usize = 64;
/// Multiply-adds of `f32` that take as long as one filter.
const FILTER_MACS: usize = 64;

/// Where filters come from, and where they go: `[block][frequency][panel][channel][column]`.
#[derive(Clone, Debug)]
pub(super) struct Packing {
    pub(super) channels: usize,
    pub(super) columns: usize,
    pub(super) strides: WeightStrides,
    /// Places of the nine taps in a filter, in the order of the source's pixels.
    pub(super) taps: [usize; 9],
    pub(super) panel_columns: usize,
    /// Panels of a block; the last block may have fewer.
    pub(super) block_panels: usize,
}

impl Packing {
    pub(super) fn panels(&self) -> usize {
        self.columns.div_ceil(self.panel_columns)
    }

    pub(super) fn blocks(&self) -> usize {
        self.panels().div_ceil(self.block_panels)
    }

    /// The panels of a block.
    pub(super) fn block(&self, block: usize) -> Range<usize> {
        block * self.block_panels..self.panels().min((block + 1) * self.block_panels)
    }

    /// Floats of a panel.
    pub(super) fn panel_len(&self) -> usize {
        self.channels * self.panel_columns
    }

    /// Floats of all of them.
    pub(super) fn len(&self) -> usize {
        FREQUENCIES * self.panels() * self.panel_len()
    }

    /// Where the panel `first + index` of the block `first..end` lies.
    #[inline(always)]
    pub(super) fn place(&self, block: &Range<usize>, frequency: usize, index: usize) -> usize {
        (FREQUENCIES * block.start + frequency * block.len() + index) * self.panel_len()
    }

    /// Transforms all filters, each times the scale of its column where there are scales.
    pub(super) fn run(&self, isa: Isa, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
        let packed = Sink::new(packed);
        let strips = self.channels.div_ceil(CHANNELS);
        let count = self.panels() * strips;
        let min_tasks = choose::min_tasks(FILTER_MACS * self.channels * self.columns, count);
        tasks::for_each(count, min_tasks, |index| {
            let (panel, strip) = (index / strips, index % strips);
            let channels = strip * CHANNELS..self.channels.min((strip + 1) * CHANNELS);
            isa.run(Task { packing: self, weights, scales, packed, panel, channels });
        });
    }
}

/// Some channels of a panel.
struct Task<'a> {
    packing: &'a Packing,
    weights: &'a [f32],
    scales: Option<&'a [f64]>,
    packed: Sink<'a>,
    panel: usize,
    channels: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let packing = self.packing;
        let width = packing.panel_columns;
        let block = packing.block(self.panel / packing.block_panels);
        let start = packing.place(&block, 0, self.panel - block.start);
        let stride = packing.place(&block, 1, self.panel - block.start) - start;
        for channel in self.channels {
            for first in (0..width).step_by(S::LANES) {
                let column = self.panel * width + first;
                let count = S::LANES.min(packing.columns.saturating_sub(column));
                let mut taps = [0.0; 9 * MOST_LANES];
                gather::<S>(packing, self.weights, channel, column, count, &mut taps);
                if let Some(scales) = self.scales {
                    let scales = &scales[column.min(scales.len())..][..count];
                    taps.chunks_exact_mut(S::LANES).for_each(|taps| scale(taps, scales));
                }
                let images = transform(simd, &taps);
                for (frequency, image) in images.into_iter().flatten().enumerate() {
                    let at = start + frequency * stride + channel * width + first;
                    // SAFETY: the packed filters hold every panel, and no other task has this one and the channel.
                    unsafe { simd.store_at(image, self.packed, at) };
                }
            }
        }
    }
}

/// The taps of the filters from one channel to `count` columns, each filter in a lane.
#[inline(always)]
fn gather<S: Simd>(
    packing: &Packing,
    weights: &[f32],
    channel: usize,
    column: usize,
    count: usize,
    taps: &mut [f32; 9 * MOST_LANES],
) {
    for lane in 0..count {
        let start = (column + lane) * packing.strides.column + channel * packing.strides.channel;
        let filter = &weights[start..start + 9];
        for (place, &tap) in packing.taps.iter().enumerate() {
            taps[place * S::LANES + lane] = filter[tap];
        }
    }
}

/// `G g Gt` of the filters in each lane, nine vectors of taps row by row.
#[inline(always)]
fn transform<S: Simd>(simd: S, taps: &[f32]) -> [[S::V; POINTS]; POINTS] {
    let zero = simd.splat_double(0.0);
    let mut halves = [[[zero; 3]; 3]; 2];
    for place in 0..9 {
        let wide = simd.widen(simd.load(&taps[place * S::LANES..]));
        for half in 0..2 {
            halves[half][place % 3][place / 3] = wide[half];
        }
    }
    let mut columns = [[[zero; 3]; POINTS]; 2];
    for half in 0..2 {
        for x in 0..3 {
            let column = at_points(simd, halves[half][x]);
            for y in 0..POINTS {
                columns[half][y][x] = column[y];
            }
        }
    }
    let mut images = [[simd.zero(); POINTS]; POINTS];
    for y in 0..POINTS {
        let (lower, upper) = (at_points(simd, columns[0][y]), at_points(simd, columns[1][y]));
        for x in 0..POINTS {
            images[y][x] = simd.narrow([lower[x], upper[x]]);
        }
    }
    images
}

/// `G g`: a filter of three taps at the six points, each with its scale.
#[inline(always)]
fn at_points<S: Simd>(simd: S, [g0, g1, g2]: [S::D; 3]) -> [S::D; POINTS] {
    let even_a = simd.mul_double(simd.splat_double(SCALE_A), g0);
    let even_a = simd.fma_double(simd.splat_double(SCALE_A * A2), g2, even_a);
    let even_b = simd.mul_double(simd.splat_double(SCALE_B), g0);
    let even_b = simd.fma_double(simd.splat_double(SCALE_B * B2), g2, even_b);
    [
        simd.mul_double(simd.splat_double(SCALE_ZERO), g0),
        simd.fma_double(simd.splat_double(SCALE_A * A), g1, even_a),
        simd.fma_double(simd.splat_double(-SCALE_A * A), g1, even_a),
        simd.fma_double(simd.splat_double(SCALE_B * B), g1, even_b),
        simd.fma_double(simd.splat_double(-SCALE_B * B), g1, even_b),
        g2,
    ]
}
