//! From sums of products to weights in OIHW.

use super::WinogradWeights;
use crate::conv::winograd::axis::{Axis, POINTS, Tap};
use crate::conv::winograd::filter::MOST_TAPS;
use crate::conv::winograd::transform::Taps;
use crate::isa::{Kernel, MOST_LANES, Simd, Sink, Source, Square};
use std::ops::Range;

/// Input channels whose weights are turned at a time.
pub(super) const STRIP: usize = 16;

/// The weights from some input channels to some output channels.
pub(super) struct Turn<'a> {
    pub(super) plan: &'a WinogradWeights,
    /// The sums of the first of both.
    pub(super) taps: Taps<'a>,
    /// Floats from an input channel to the next.
    pub(super) row: usize,
    pub(super) dw: Sink<'a>,
    pub(super) phase: usize,
    pub(super) channels: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// Weights of the phases of a strip.
struct Turned {
    /// A vector of output channels for each.
    weights: [f32; MOST_TAPS * STRIP * MOST_LANES],
    /// Where each lies in its filter.
    places: [usize; MOST_TAPS * STRIP],
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.plan.form.points() {
            5 => self.run_cells::<S, 5, 2>(simd),
            7 => self.run_cells::<S, 7, 4>(simd),
            _ => {
                for strip in (0..self.channels.len()).step_by(STRIP) {
                    for column in (0..self.columns.len()).step_by(S::LANES) {
                        self.turn(simd, strip, column);
                    }
                }
            }
        }
    }
}

impl Turn<'_> {
    /// A strip of input channels and a vector of output channels, windows of 3 x 3.
    #[inline(always)]
    fn turn<S: Simd>(&self, simd: S, strip: usize, column: usize) {
        let channels = STRIP.min(self.channels.len() - strip);
        let mut weights = [0.0; 9 * STRIP * MOST_LANES];
        for channel in 0..channels {
            let at = (strip + channel) * self.row + column;
            let taps = self.taps.load::<S, POINTS, 3>(simd, at);
            for tap in 0..9 {
                simd.store(taps[tap / 3][tap % 3], &mut weights[(9 * channel + tap) * S::LANES..]);
            }
        }
        let (len, columns) = (9 * self.plan.channels, S::LANES.min(self.columns.len() - column));
        let first = (self.columns.start + column) * len + 9 * (self.channels.start + strip);
        for start in (0..9 * channels).step_by(S::LANES) {
            let (source, at) = (Source::new(&weights), start * S::LANES);
            let count = S::LANES.min(9 * channels - start);
            // SAFETY: there is room for a multiple of all lanes.
            let square = unsafe { Square::gather(simd, source, at, S::LANES, S::LANES, S::LANES) };
            // SAFETY: no other task has these weights.
            unsafe { square.store(simd, self.dw, first + start, len, columns, count) };
        }
    }

    /// All weights of the phases, whose taps lie apart.
    #[inline(always)]
    fn run_cells<S: Simd, const P: usize, const R: usize>(&self, simd: S)
    where
        Tap: Axis<P, R>,
    {
        let mut turned =
            Turned { weights: [0.0; MOST_TAPS * STRIP * MOST_LANES], places: [0; MOST_TAPS * STRIP] };
        for strip in (0..self.channels.len()).step_by(STRIP) {
            for column in (0..self.columns.len()).step_by(S::LANES) {
                self.turn_cells::<S, P, R>(simd, strip, column, &mut turned);
            }
        }
    }

    /// A strip of input channels and a vector of output channels. What belongs to one output channel is written together,
    /// for others lie far away.
    #[inline(always)]
    fn turn_cells<S: Simd, const P: usize, const R: usize>(
        &self,
        simd: S,
        strip: usize,
        column: usize,
        Turned { weights, places }: &mut Turned,
    ) where
        Tap: Axis<P, R>,
    {
        let WinogradWeights { form, inputs, channels, .. } = self.plan;
        let kernel = inputs.kernel;
        let mut found = 0;
        for step in strip..self.channels.len().min(strip + STRIP) {
            // Where phases share a vector, their channels follow each other.
            let (phase, channel) = (
                self.phase + (self.channels.start + step) / channels,
                (self.channels.start + step) % channels,
            );
            let taps = self.taps.load::<S, P, R>(simd, step * self.row + column);
            for cell in 0..R * R {
                if let Some(tap) = form.tap(form.phases()[phase], [cell / R, cell % R], kernel) {
                    simd.store(taps[cell / R][cell % R], &mut weights[found * S::LANES..]);
                    places[found] = channel * kernel * kernel + tap;
                    found += 1;
                }
            }
        }
        for lane in 0..S::LANES.min(self.columns.len() - column) {
            let filters = (self.columns.start + column + lane) * channels * kernel * kernel;
            for (index, place) in places[..found].iter().enumerate() {
                // SAFETY: no other task has these weights.
                let weight = unsafe { self.dw.slice(filters + place, 1) };
                weight[0] = weights[index * S::LANES + lane];
            }
        }
    }
}
