//! The transform of filters, `U = G g Gt`, and the order in which the products read them.
//!
//! Computed in `f64` and rounded once: what is lost here would be lost in every tile.

use super::axis::{MOST_FREQUENCIES, POINTS};
use super::form::Form;
use super::points::{
    A, A2, B, B2, FIVE_FILTERS, FIVE_FILTERS_OF_THREE, SCALE_A, SCALE_B, SCALE_ZERO, SEVEN_FILTERS,
};
use crate::conv::choose;
use crate::conv::gemm::{WeightStrides, scale};
use crate::conv::tasks;
use crate::isa::{Isa, Kernel, MOST_LANES, Simd, Sink};
use std::ops::Range;

/// Channels that a task takes of a panel.
const CHANNELS: usize = 64;
/// Multiply-adds of `f32` that take as long as one frequency of a filter.
const IMAGE_MACS: usize = 2;
/// Most taps of a phase.
pub(super) const MOST_TAPS: usize = 4 * 4;

/// Where filters come from, and where they go: `[block][frequency][panel][phase and channel][column]`.
#[derive(Clone, Debug)]
pub(super) struct Packing {
    pub(super) form: Form,
    pub(super) channels: usize,
    pub(super) columns: usize,
    pub(super) strides: WeightStrides,
    /// Places of the taps in a filter, in the order of the source's pixels, for each phase.
    pub(super) taps: Vec<Option<usize>>,
    pub(super) panel_columns: usize,
    /// Panels of a block; the last block may have fewer.
    pub(super) block_panels: usize,
    /// For each frequency, the part of the sum in which it has products.
    sums: Vec<Range<usize>>,
    /// Steps of these of all frequencies before each one, and of all of them.
    depths: Vec<usize>,
}

/// What a [`Packing`] is made from.
pub(super) struct Filters<'a> {
    pub(super) form: Form,
    pub(super) channels: usize,
    pub(super) columns: usize,
    pub(super) strides: WeightStrides,
    /// Places of the taps of a whole filter, in the order of the source's pixels.
    pub(super) order: &'a [usize],
    pub(super) panel_columns: usize,
    pub(super) block_panels: usize,
}

impl Packing {
    pub(super) fn new(filters: &Filters<'_>) -> Self {
        let Filters { form, channels, columns, strides, order, panel_columns, block_panels } = *filters;
        let (side, kernel) = (form.taps(), order.len().isqrt());
        let mut taps = Vec::new();
        for &phase in form.phases() {
            for cell in 0..side * side {
                taps.push(form.tap(phase, [cell / side, cell % side], kernel).map(|tap| order[tap]));
            }
        }
        let sums: Vec<_> = (0..form.frequencies()).map(|frequency| form.sum(frequency, channels)).collect();
        let mut depths = vec![0];
        for (frequency, sum) in sums.iter().enumerate() {
            depths.push(depths[frequency] + sum.len());
        }
        Self { form, channels, columns, strides, taps, panel_columns, block_panels, sums, depths }
    }

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

    /// The part of the sum over phases and channels in which a frequency has products.
    #[inline(always)]
    pub(super) fn sum(&self, frequency: usize) -> Range<usize> {
        self.sums[frequency].clone()
    }

    /// Steps of the sums of all frequencies.
    pub(super) fn depth(&self) -> usize {
        self.depths[self.form.frequencies()]
    }

    /// Floats of all panels.
    pub(super) fn len(&self) -> usize {
        self.depth() * self.panels() * self.panel_columns
    }

    /// Where the panel `first + index` of the block `first..end` lies.
    #[inline(always)]
    pub(super) fn place(&self, block: &Range<usize>, frequency: usize, index: usize) -> usize {
        let (before, after) = (self.depths[frequency], self.depths[frequency + 1]);
        (self.depth() * block.start + before * block.len() + (after - before) * index) * self.panel_columns
    }

    /// Transforms all filters, each times the scale of its column where there are scales.
    pub(super) fn run(&self, isa: Isa, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
        let packed = Sink::new(packed);
        let strips = self.channels.div_ceil(CHANNELS);
        let count = self.panels() * strips;
        let min_tasks = choose::min_tasks(IMAGE_MACS * self.depth() * self.columns, count);
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
        let form = self.packing.form;
        match (form.taps(), form.points()) {
            (2, _) => self.run_by::<S, 2, 5>(simd),
            (3, 5) => self.run_by::<S, 3, 5>(simd),
            (4, _) => self.run_by::<S, 4, 7>(simd),
            _ => self.run_by::<S, 3, POINTS>(simd),
        }
    }
}

impl Task<'_> {
    /// The filters of `R` taps of all phases, by `P` points.
    #[inline(always)]
    fn run_by<S: Simd, const R: usize, const P: usize>(self, simd: S)
    where
        ToPoints: FilterAxis<R, P>,
    {
        let packing = self.packing;
        let width = packing.panel_columns;
        let mut taps = [0.0; MOST_TAPS * MOST_LANES];
        for (phase, order) in packing.taps.chunks_exact(R * R).enumerate() {
            let places = self.places(phase * packing.channels);
            for channel in self.channels.clone() {
                for first in (0..width).step_by(S::LANES) {
                    let column = self.panel * width + first;
                    let count = S::LANES.min(packing.columns.saturating_sub(column));
                    gather::<S, R>(packing, order, self.weights, channel, column, count, &mut taps);
                    if let Some(scales) = self.scales {
                        let scales = &scales[column.min(scales.len())..][..count];
                        taps.chunks_exact_mut(S::LANES).take(R * R).for_each(|taps| scale(taps, scales));
                    }
                    let images: [[S::V; P]; P] = transform::<S, R, P>(simd, &taps);
                    for y in 0..P {
                        for x in 0..P {
                            let Some(place) = places[y * P + x] else { continue };
                            let at = place + channel * width + first;
                            // SAFETY: the packed filters hold every panel, and no other task has this one and the channel.
                            unsafe { simd.store_at(images[y][x], self.packed, at) };
                        }
                    }
                }
            }
        }
    }

    /// Where a step of the sum lies in the panel of every frequency that has it.
    fn places(&self, step: usize) -> [Option<usize>; MOST_FREQUENCIES] {
        let packing = self.packing;
        let block = packing.block(self.panel / packing.block_panels);
        let mut places = [None; MOST_FREQUENCIES];
        for (frequency, place) in places.iter_mut().enumerate().take(packing.form.frequencies()) {
            let sum = packing.sum(frequency);
            let start = packing.place(&block, frequency, self.panel - block.start);
            *place = sum.contains(&step).then(|| start + (step - sum.start) * packing.panel_columns);
        }
        places
    }
}

/// The taps of the filters from one channel to `count` columns, each filter in a lane.
#[inline(always)]
fn gather<S: Simd, const R: usize>(
    packing: &Packing,
    order: &[Option<usize>],
    weights: &[f32],
    channel: usize,
    column: usize,
    count: usize,
    taps: &mut [f32; MOST_TAPS * MOST_LANES],
) {
    let first = column * packing.strides.column + channel * packing.strides.channel;
    for (tap, lanes) in order.iter().zip(taps.chunks_exact_mut(S::LANES)) {
        let (lanes, missing) = lanes.split_at_mut(count);
        missing.fill(0.0);
        match tap {
            Some(tap) => {
                let sources = weights[first + tap..].iter().step_by(packing.strides.column);
                lanes.iter_mut().zip(sources).for_each(|(lane, weight)| *lane = *weight);
            }
            None => lanes.fill(0.0),
        }
    }
}

/// `G g Gt` of the filters in each lane, `R` x `R` vectors of taps row by row.
#[inline(always)]
fn transform<S: Simd, const R: usize, const P: usize>(simd: S, taps: &[f32]) -> [[S::V; P]; P]
where
    ToPoints: FilterAxis<R, P>,
{
    let zero = simd.splat_double(0.0);
    let mut halves = [[[zero; R]; R]; 2];
    for place in 0..R * R {
        let wide = simd.widen(simd.load(&taps[place * S::LANES..]));
        for half in 0..2 {
            halves[half][place % R][place / R] = wide[half];
        }
    }
    let mut columns = [[[zero; R]; P]; 2];
    for half in 0..2 {
        for x in 0..R {
            let column = ToPoints::along(simd, halves[half][x]);
            for y in 0..P {
                columns[half][y][x] = column[y];
            }
        }
    }
    let mut images = [[simd.zero(); P]; P];
    for y in 0..P {
        let (lower, upper) = (ToPoints::along(simd, columns[0][y]), ToPoints::along(simd, columns[1][y]));
        for x in 0..P {
            images[y][x] = simd.narrow([lower[x], upper[x]]);
        }
    }
    images
}

/// `G g`: filters of `R` taps at `P` points, each with its scale.
trait FilterAxis<const R: usize, const P: usize> {
    fn along<S: Simd>(simd: S, filter: [S::D; R]) -> [S::D; P];
}

/// The points.
struct ToPoints;

impl FilterAxis<2, 5> for ToPoints {
    #[inline(always)]
    fn along<S: Simd>(simd: S, filter: [S::D; 2]) -> [S::D; 5] {
        by_matrix(simd, &FIVE_FILTERS, filter)
    }
}

impl FilterAxis<3, 5> for ToPoints {
    #[inline(always)]
    fn along<S: Simd>(simd: S, filter: [S::D; 3]) -> [S::D; 5] {
        by_matrix(simd, &FIVE_FILTERS_OF_THREE, filter)
    }
}

impl FilterAxis<4, 7> for ToPoints {
    #[inline(always)]
    fn along<S: Simd>(simd: S, filter: [S::D; 4]) -> [S::D; 7] {
        by_matrix(simd, &SEVEN_FILTERS, filter)
    }
}

#[inline(always)]
fn by_matrix<S: Simd, const R: usize, const P: usize>(
    simd: S,
    matrix: &[[f64; R]; P],
    filter: [S::D; R],
) -> [S::D; P] {
    let mut image = [simd.splat_double(0.0); P];
    for p in 0..P {
        for r in 0..R {
            image[p] = simd.fma_double(simd.splat_double(matrix[p][r]), filter[r], image[p]);
        }
    }
    image
}

impl FilterAxis<3, POINTS> for ToPoints {
    #[inline(always)]
    fn along<S: Simd>(simd: S, [g0, g1, g2]: [S::D; 3]) -> [S::D; POINTS] {
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
}
