//! The last step of the gradient of the weights: the parts of the sum are added in their order, and
//! `[tap][channel][column]` becomes OIHW.

use super::{choose, tasks};
use crate::isa::{Isa, Kernel, Simd, Sink, Source};
use std::ops::Range;

/// Sums by `[group][part][tap][channel][column]`.
pub(super) struct Sums<'a> {
    pub(super) values: &'a [f32],
    pub(super) groups: usize,
    pub(super) parts: usize,
    pub(super) taps: usize,
    pub(super) channels: usize,
    pub(super) columns: usize,
    /// From a channel to the next; at least `columns`, in whole vectors.
    pub(super) stride: usize,
}

/// Weights of a column that are turned at a time.
const STRIP: usize = 64;
/// Weights of a column that a task takes.
const TASK: usize = 1024;

/// Writes all weights; `dw` has as many as there are sums.
pub(super) fn run(isa: Isa, sums: &Sums<'_>, dw: &mut [f32]) {
    let weights = sums.taps * sums.channels;
    let (vectors, strips) = (sums.columns.div_ceil(isa.lanes()), weights.div_ceil(TASK));
    let count = sums.groups * vectors * strips;
    let work = sums.groups * sums.parts * weights * sums.columns;
    let min_tasks = choose::min_tasks(16 * work, count);
    let dw = Sink::new(dw);
    let run = |index: usize| {
        let (index, strip) = (index / strips, index % strips);
        let weights = strip * TASK..weights.min((strip + 1) * TASK);
        isa.run(Turn { sums, dw, group: index / vectors, vector: index % vectors, weights });
    };
    tasks::for_each(count, min_tasks, run);
}

/// Some weights, counted as `channel * taps + tap`, of a vector of columns.
struct Turn<'a> {
    sums: &'a Sums<'a>,
    dw: Sink<'a>,
    group: usize,
    vector: usize,
    weights: Range<usize>,
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (sums, column) = (self.sums, self.vector * S::LANES);
        let columns = S::LANES.min(sums.columns - column);
        let weights = sums.taps * sums.channels;
        let part_len = weights * sums.stride;
        let source = Source::new(sums.values);
        let mut turned = [[0.0; STRIP]; 16];
        let mut start = self.weights.start;
        while start < self.weights.end {
            let count = STRIP.min(self.weights.end - start);
            for k in 0..count {
                let (channel, tap) = ((start + k) / sums.taps, (start + k) % sums.taps);
                let row = tap * sums.channels + channel;
                let mut at = self.group * sums.parts * part_len + row * sums.stride + column;
                // SAFETY: the sums hold every part, row and vector of columns.
                let mut sum = unsafe { simd.load_at(source, at) };
                for _ in 1..sums.parts {
                    at += part_len;
                    // SAFETY: as above.
                    sum = simd.add(sum, unsafe { simd.load_at(source, at) });
                }
                let mut lanes = [0.0; 16];
                simd.store(sum, &mut lanes);
                for lane in 0..S::LANES {
                    turned[lane][k] = lanes[lane];
                }
            }
            for lane in 0..columns {
                let first = (self.group * sums.columns + column + lane) * weights + start;
                // SAFETY: no other task has these weights.
                unsafe { self.dw.slice(first, count) }.copy_from_slice(&turned[lane][..count]);
            }
            start += count;
        }
    }
}
