//! Sums of the pixels' channels.

use super::{STEPS, SUMS};
use crate::conv::tile::LINE;
use crate::isa::{Kernel, Simd, Sink, Source};
use std::ops::Range;

/// How many pairs ahead the map is fetched.
const AHEAD: usize = 2;

/// `S1 .. S4` of some channels of both halves, for some pairs of pixels.
///
/// Whoever makes one answers for this: the channels of all pixels lie inside the map, the sums inside the memory, and no
/// other thread touches them there.
pub(super) struct LeftSums<'a> {
    pub(super) src: Source<'a>,
    /// Where channel 0 of each pixel lies; the last pairs may have no lower one, which counts as zero.
    pub(super) upper: &'a [usize],
    pub(super) lower: &'a [usize],
    /// Channels of a half.
    pub(super) half: usize,
    /// Some of them, a multiple of [`STEPS`].
    pub(super) channels: Range<usize>,
    pub(super) memory: Sink<'a>,
    /// Where the first sum of the first pair goes, and the floats from a sum to the next.
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Kernel for LeftSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        const { assert!(STEPS.is_multiple_of(LINE)) };
        let mut to = self.start;
        for (pair, (&upper, &lower)) in self.upper.iter().zip(self.lower).enumerate() {
            let ahead = (pair + AHEAD).min(self.lower.len() - 1);
            let ahead = [self.upper[ahead], self.lower[ahead]];
            for channel in self.channels.clone().step_by(STEPS) {
                for place in ahead {
                    simd.prefetch(self.src, place + channel);
                    simd.prefetch(self.src, place + self.half + channel);
                }
                for lane in (channel..channel + STEPS).step_by(S::LANES) {
                    self.double(simd, upper + lane, lower + lane, to + lane - self.channels.start);
                }
            }
            to += self.channels.len();
        }
        for &upper in &self.upper[self.lower.len()..] {
            for lane in self.channels.clone().step_by(S::LANES) {
                self.single(simd, upper + lane, to + lane - self.channels.start);
            }
            to += self.channels.len();
        }
    }
}

impl LeftSums<'_> {
    /// The sums of a pair of two pixels.
    #[inline(always)]
    fn double<S: Simd>(&self, simd: S, upper: usize, lower: usize, to: usize) {
        // SAFETY: the channels lie inside the map, by the contract.
        let a11 = unsafe { simd.load_at(self.src, upper) };
        // SAFETY: the same.
        let a12 = unsafe { simd.load_at(self.src, upper + self.half) };
        // SAFETY: the same.
        let a21 = unsafe { simd.load_at(self.src, lower) };
        // SAFETY: the same.
        let a22 = unsafe { simd.load_at(self.src, lower + self.half) };
        let s1 = simd.add(a21, a22);
        let s2 = simd.sub(s1, a11);
        self.store(simd, [s1, s2, simd.sub(a11, a21), simd.sub(a12, s2)], to);
    }

    /// Those of a single pixel; its `S1` is not read.
    #[inline(always)]
    fn single<S: Simd>(&self, simd: S, upper: usize, to: usize) {
        // SAFETY: the channels lie inside the map, by the contract.
        let a11 = unsafe { simd.load_at(self.src, upper) };
        // SAFETY: the same.
        let a12 = unsafe { simd.load_at(self.src, upper + self.half) };
        let zero = simd.zero();
        self.store(simd, [zero, simd.sub(zero, a11), a11, simd.add(a12, a11)], to);
    }

    #[inline(always)]
    fn store<S: Simd>(&self, simd: S, sums: [S::V; SUMS], to: usize) {
        for (index, sum) in sums.into_iter().enumerate() {
            // SAFETY: the sums lie inside the memory and are ours, by the contract.
            unsafe { simd.store_at(sum, self.memory, to + index * self.len) };
        }
    }
}
