//! The last step of the gradient of the weights: the parts of the sum are added in their order, and become OIHW.

use super::{choose, tasks};
use crate::isa::{Isa, Kernel, Simd, Sink, Source, Square};
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

/// Weights of a column that a task takes.
const TASK: usize = 1024;
/// Rows of sums that a task adds.
const ROWS: usize = 16;

/// Writes all weights; `dw` has as many as there are sums. Where these are by output channel already, `channels` are those
/// of the output and `columns` those of the input, and there is one tap.
pub(super) fn run(isa: Isa, sums: &Sums<'_>, by_output: bool, dw: &mut [f32]) {
    if by_output { add(isa, sums, dw) } else { turn(isa, sums, dw) }
}

/// Writes the weights in the order of the sums.
fn add(isa: Isa, sums: &Sums<'_>, dw: &mut [f32]) {
    assert_eq!(sums.taps, 1, "a weight for every pair of channels");
    let blocks = sums.channels.div_ceil(ROWS);
    let min_tasks = choose::min_tasks(sums.work(), sums.groups * blocks);
    let dw = Sink::new(dw);
    tasks::for_each(sums.groups * blocks, min_tasks, |index| {
        let (group, first) = (index / blocks, index % blocks * ROWS);
        isa.run(Add { sums, dw, group, rows: first..sums.channels.min(first + ROWS) });
    });
}

fn turn(isa: Isa, sums: &Sums<'_>, dw: &mut [f32]) {
    let weights = sums.taps * sums.channels;
    let (vectors, strips) = (sums.columns.div_ceil(isa.lanes()), weights.div_ceil(TASK));
    let count = sums.groups * vectors * strips;
    let min_tasks = choose::min_tasks(sums.work(), count);
    let dw = Sink::new(dw);
    let run = |index: usize| {
        let (index, strip) = (index / strips, index % strips);
        let weights = strip * TASK..weights.min((strip + 1) * TASK);
        isa.run(Turn { sums, dw, group: index / vectors, vector: index % vectors, weights });
    };
    tasks::for_each(count, min_tasks, run);
}

impl Sums<'_> {
    /// Multiply-adds that take as long.
    fn work(&self) -> usize {
        16 * self.groups * self.parts * self.taps * self.channels * self.columns
    }

    /// Floats of a part of a group.
    fn part_len(&self) -> usize {
        self.taps * self.channels * self.stride
    }

    /// The row of a weight that is counted as `channel * taps + tap`.
    #[inline(always)]
    fn row(&self, weight: usize) -> usize {
        let (channel, tap) = (weight / self.taps, weight % self.taps);
        tap * self.channels + channel
    }

    /// The sum of all parts of the vector at `at` in the first.
    ///
    /// # Safety
    /// There are as many floats in every part.
    #[inline(always)]
    unsafe fn all_parts<S: Simd>(&self, simd: S, mut at: usize) -> S::V {
        let source = Source::new(self.values);
        // SAFETY: by the contract.
        let mut sum = unsafe { simd.load_at(source, at) };
        for _ in 1..self.parts {
            at += self.part_len();
            // SAFETY: by the contract.
            sum = simd.add(sum, unsafe { simd.load_at(source, at) });
        }
        sum
    }
}

/// Some rows of a group.
struct Add<'a> {
    sums: &'a Sums<'a>,
    dw: Sink<'a>,
    group: usize,
    rows: Range<usize>,
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let sums = self.sums;
        for row in self.rows {
            let from = self.group * sums.parts * sums.part_len() + row * sums.stride;
            let to = (self.group * sums.channels + row) * sums.columns;
            for column in (0..sums.columns).step_by(S::LANES) {
                // SAFETY: rows of sums come in whole vectors.
                let sum = unsafe { sums.all_parts(simd, from + column) };
                // SAFETY: no other task has this row.
                unsafe { simd.store_part_at(sum, self.dw, to + column, sums.columns - column) };
            }
        }
    }
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
        let group = self.group * sums.parts * sums.part_len() + column;
        for start in self.weights.clone().step_by(S::LANES) {
            let count = S::LANES.min(self.weights.end - start);
            let first = (self.group * sums.columns + column) * weights + start;
            let mut square = Square::zero(simd);
            for k in 0..S::LANES {
                if k < count {
                    // SAFETY: the sums hold every part, row and vector of columns.
                    square.set(k, unsafe { sums.all_parts(simd, group + sums.row(start + k) * sums.stride) });
                }
            }
            // SAFETY: no other task has these weights.
            unsafe { square.turned(simd).store(simd, self.dw, first, weights, columns, count) };
        }
    }
}
