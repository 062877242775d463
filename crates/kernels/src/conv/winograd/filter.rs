//! The transform of filters, `U = G g Gt`, and the order in which the products read them.
//!
//! Computed in `f64` and rounded once: what is lost here would be lost in every tile.

use super::points::{A, A2, B, B2, SCALE_A, SCALE_B, SCALE_ZERO};
use super::tiling::FREQUENCIES;
use super::transform::POINTS;
use crate::conv::choose;
use crate::conv::gemm::WeightStrides;
use crate::conv::tasks;
use crate::isa::{Isa, Kernel, Simd, Sink};
use std::ops::Range;

/// Filters that are transformed at a time.
const LANES: usize = 8;
/// Channels that a task takes of a panel.
const CHANNELS: usize = 64;
/// Multiply-adds of `f32` that take as long as one filter.
const FILTER_MACS: usize = 256;

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
    fn run<S: Simd>(self, _: S) {
        let packing = self.packing;
        let width = packing.panel_columns;
        let block = packing.block(self.panel / packing.block_panels);
        let start = packing.place(&block, 0, self.panel - block.start);
        let stride = packing.place(&block, 1, self.panel - block.start) - start;
        for channel in self.channels {
            for first in (0..width).step_by(LANES) {
                let column = self.panel * width + first;
                let count = LANES.min(packing.columns.saturating_sub(column));
                let mut filters = gather(packing, self.weights, channel, column, count);
                if let Some(scales) = self.scales {
                    scale(&mut filters, &scales[column.min(scales.len())..][..count]);
                }
                let images = transform(&filters);
                for (frequency, image) in images.iter().enumerate() {
                    let at = start + frequency * stride + channel * width + first;
                    // SAFETY: no other task has this panel and channel.
                    unsafe { self.packed.slice(at, LANES) }.copy_from_slice(image);
                }
            }
        }
    }
}

/// The filters from one channel to `count` columns, each in a lane; zero in the other lanes.
#[inline(always)]
fn gather(
    packing: &Packing,
    weights: &[f32],
    channel: usize,
    column: usize,
    count: usize,
) -> [[f32; LANES]; 9] {
    let mut filters = [[0.0; LANES]; 9];
    for lane in 0..count {
        let start = (column + lane) * packing.strides.column + channel * packing.strides.channel;
        let filter = &weights[start..start + 9];
        for (taps, &tap) in filters.iter_mut().zip(&packing.taps) {
            taps[lane] = filter[tap];
        }
    }
    filters
}

/// Multiplies every lane by its scale, rounded once.
#[inline(always)]
fn scale(filters: &mut [[f32; LANES]; 9], scales: &[f64]) {
    for taps in filters {
        for (tap, scale) in taps.iter_mut().zip(scales) {
            *tap = (f64::from(*tap) * scale) as f32;
        }
    }
}

/// `G g Gt` of every lane.
#[inline(always)]
fn transform(filters: &[[f32; LANES]; 9]) -> [[f32; LANES]; FREQUENCIES] {
    let mut images = [[0.0; LANES]; FREQUENCIES];
    for lane in 0..LANES {
        let mut rows = [[0.0; 3]; POINTS];
        for x in 0..3 {
            let [g0, g1, g2] = [filters[x][lane], filters[3 + x][lane], filters[6 + x][lane]];
            let column = at_points([f64::from(g0), f64::from(g1), f64::from(g2)]);
            for y in 0..POINTS {
                rows[y][x] = column[y];
            }
        }
        for y in 0..POINTS {
            let row = at_points(rows[y]);
            for x in 0..POINTS {
                images[y * POINTS + x][lane] = row[x] as f32;
            }
        }
    }
    images
}

/// `G g`: a filter of three taps at the six points, each with its scale.
#[inline(always)]
fn at_points([g0, g1, g2]: [f64; 3]) -> [f64; POINTS] {
    let (even_a, odd_a) = (SCALE_A * g0 + (SCALE_A * A2) * g2, (SCALE_A * A) * g1);
    let (even_b, odd_b) = (SCALE_B * g0 + (SCALE_B * B2) * g2, (SCALE_B * B) * g1);
    [SCALE_ZERO * g0, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, g2]
}
