//! The right factors: sums of weights, computed in `f64` and rounded once, in the order in which the products read them.

use super::{PRODUCTS, STEPS, Strassen};
use crate::conv::choose;
use crate::conv::gemm::{gather, scale};
use crate::conv::tasks;
use crate::isa::{Kernel, Simd, Sink};
use std::ops::Range;

/// Columns of a panel at most.
const MOST_COLUMNS: usize = 64;
/// Multiply-adds that take as long as packing one weight.
const WEIGHT_MACS: usize = 32;

impl Strassen {
    /// Writes `[chunk][pair of panels][product][step][column]`, each weight times the scale of its column where there are
    /// scales.
    pub(in crate::conv) fn pack(&self, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
        let packed = Sink::new(packed);
        let count = self.chunks.len() * self.panels();
        let min_tasks = choose::min_tasks(WEIGHT_MACS * self.packed_len(), count);
        tasks::for_each(count, min_tasks, |index| {
            let (chunk, panel) = (self.chunks[index / self.panels()].clone(), index % self.panels());
            self.isa.run(Task { plan: self, weights, scales, packed, chunk, panel });
        });
    }
}

/// A chunk of a pair of panels.
struct Task<'a> {
    plan: &'a Strassen,
    weights: &'a [f32],
    scales: Option<&'a [f64]>,
    packed: Sink<'a>,
    chunk: Range<usize>,
    panel: usize,
}

/// Some steps of a panel.
type Strip = [f32; STEPS * MOST_COLUMNS];

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (plan, width) = (self.plan, self.plan.panel_columns);
        let product = self.chunk.len() * width;
        let panel = (self.chunk.start * plan.panels() + self.panel * self.chunk.len()) * PRODUCTS * width;
        for channel in self.chunk.clone().step_by(STEPS) {
            let mut quarters = [[0.0; STEPS * MOST_COLUMNS]; 4];
            for (index, quarter) in quarters.iter_mut().enumerate() {
                self.gather(simd, channel + index / 2 * plan.channels, index % 2 * plan.columns, quarter);
            }
            let start = panel + (channel - self.chunk.start) * width;
            for at in (0..STEPS * width).step_by(S::LANES) {
                for (index, factor) in factors(simd, &quarters, at).into_iter().enumerate() {
                    // SAFETY: the packed weights hold every panel, and no other task has this one and the chunk.
                    unsafe { simd.store_at(factor, self.packed, start + index * product + at) };
                }
            }
        }
    }
}

impl Task<'_> {
    /// The weights of the panel from `channel` and from `column` of a half on.
    #[inline(always)]
    fn gather<S: Simd>(&self, simd: S, channel: usize, column: usize, strip: &mut Strip) {
        let (plan, width) = (self.plan, self.plan.panel_columns);
        let (column, strip) = (column + self.panel * width, &mut strip[..STEPS * width]);
        let start = channel * plan.strides.channel + column * plan.strides.column;
        gather(simd, &self.weights[start..], plan.strides, width, width, strip);
        if let Some(scales) = self.scales {
            strip.chunks_exact_mut(width).for_each(|row| scale(row, &scales[column..column + width]));
        }
    }
}

/// A vector of the right factors of all products, in their order.
#[inline(always)]
fn factors<S: Simd>(simd: S, quarters: &[Strip; 4], at: usize) -> [S::V; PRODUCTS] {
    let [b11, b12] = [simd.load(&quarters[0][at..]), simd.load(&quarters[1][at..])];
    let [b21, b22] = [simd.load(&quarters[2][at..]), simd.load(&quarters[3][at..])];
    let minus = simd.splat_double(-1.0);
    let (wide11, wide12) = (simd.widen(b11), simd.widen(b12));
    let (wide21, wide22) = (simd.widen(b21), simd.widen(b22));
    let zero = simd.splat_double(0.0);
    let [mut t1, mut t2, mut t3, mut t4] = [[zero; 2]; 4];
    for half in 0..2 {
        t1[half] = simd.fma_double(minus, wide11[half], wide12[half]);
        t2[half] = simd.fma_double(minus, t1[half], wide22[half]);
        t3[half] = simd.fma_double(minus, wide12[half], wide22[half]);
        t4[half] = simd.fma_double(minus, t2[half], wide21[half]);
    }
    [b11, b21, simd.narrow(t2), simd.narrow(t3), simd.narrow(t4), simd.narrow(t1), b22]
}
