//! The transform of filters, `U = G g Gt`, and the order in which the products read them.

use super::tiling::FREQUENCIES;
use super::transform::{MOST_LANES, transform_filters};
use crate::conv::choose;
use crate::conv::gemm::WeightStrides;
use crate::conv::tasks;
use crate::isa::{Isa, Kernel, Simd, Sink};
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

    /// Transforms all filters.
    pub(super) fn run(&self, isa: Isa, weights: &[f32], packed: &mut [f32]) {
        let packed = Sink::new(packed);
        let strips = self.channels.div_ceil(CHANNELS);
        let count = self.panels() * strips;
        let min_tasks = choose::min_tasks(FILTER_MACS * self.channels * self.columns, count);
        tasks::for_each(count, min_tasks, |index| {
            let (panel, strip) = (index / strips, index % strips);
            let channels = strip * CHANNELS..self.channels.min((strip + 1) * CHANNELS);
            isa.run(Task { packing: self, weights, packed, panel, channels });
        });
    }
}

/// Some channels of a panel.
struct Task<'a> {
    packing: &'a Packing,
    weights: &'a [f32],
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
                let images = transform_filters(simd, &taps);
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
