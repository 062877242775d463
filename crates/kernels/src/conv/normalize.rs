//! A norm in front of a convolution, computed by the tasks of the convolution. Where windows are single pixels, each task
//! normalises its pixels into its own memory, where they are in the cache when they are multiplied; Winograd's transform of the
//! inputs normalises the vectors that it has loaded.

use super::tile::LINE;
use crate::check;
use crate::isa::{Kernel, Simd, Sink, Source};
use crate::sweep::{All, First, Lanes};
use std::ops::Range;

/// How many pixels ahead the map is fetched.
const AHEAD: usize = 2;

/// What a convolution makes of its input before it reads it: `scale[channel] · x + shift[channel]`, then ReLU where asked
/// for.
#[derive(Clone, Copy, Debug)]
pub struct Normalization<'a> {
    /// One value for each input channel.
    pub scale: &'a [f32],
    /// One value for each input channel.
    pub shift: &'a [f32],
    /// Negative values become zero.
    pub relu: bool,
}

impl Normalization<'_> {
    /// Panics unless there is a scale and a shift for each channel.
    pub(super) fn check(&self, channels: usize) {
        check::length("scale", self.scale.len(), channels);
        check::length("shift", self.shift.len(), channels);
    }
}

/// The same, of the channels from some one on, as vectors read it.
#[derive(Clone, Copy)]
pub(super) struct Affine<'a> {
    scale: Source<'a>,
    shift: Source<'a>,
    relu: bool,
}

/// The same, of a vector of channels.
#[derive(Clone, Copy)]
pub(super) struct AffineOf<S: Simd> {
    scale: S::V,
    shift: S::V,
    /// The least that is left.
    floor: S::V,
}

impl<'a> Normalization<'a> {
    /// The tables from a channel on.
    pub(super) fn tables(&self, channel: usize) -> Affine<'a> {
        let [scale, shift] = [self.scale, self.shift].map(|table| Source::new(&table[channel..]));
        Affine { scale, shift, relu: self.relu }
    }
}

impl Affine<'_> {
    /// That of `count` channels from `channel` on, zero in the other lanes.
    ///
    /// # Safety
    /// There are so many.
    #[inline(always)]
    pub(super) unsafe fn at<S: Simd>(&self, simd: S, channel: usize, count: usize) -> AffineOf<S> {
        // SAFETY: by the contract.
        let scale = unsafe { simd.load_part_at(self.scale, channel, count) };
        // SAFETY: by the contract.
        let shift = unsafe { simd.load_part_at(self.shift, channel, count) };
        AffineOf { scale, shift, floor: simd.splat(if self.relu { 0.0 } else { f32::NEG_INFINITY }) }
    }
}

impl<S: Simd> AffineOf<S> {
    /// What becomes of a vector; not-a-number stays what it is.
    #[inline(always)]
    pub(super) fn of(&self, simd: S, x: S::V) -> S::V {
        self.of_shifted(simd, x, self.shift)
    }

    /// The same by another shift.
    #[inline(always)]
    pub(super) fn of_shifted(&self, simd: S, x: S::V, shift: S::V) -> S::V {
        simd.max(self.floor, simd.fma(x, self.scale, shift))
    }

    /// What is added.
    #[inline(always)]
    pub(super) fn shift(&self) -> S::V {
        self.shift
    }
}

/// Floats from a normalised pixel of some channels to the next; not a power of two, so that the caches can hold many.
pub(super) fn pixel_len(channels: usize) -> usize {
    channels.next_multiple_of(LINE) + LINE
}

/// Normalises some channels of some pixels.
///
/// Whoever makes one answers for this: the channels of every pixel lie inside the map and the tables, the results inside
/// the memory, and no other thread touches them there.
pub(super) struct Normalize<'a> {
    pub(super) norm: Normalization<'a>,
    pub(super) map: Source<'a>,
    /// Where channel 0 of each pixel lies.
    pub(super) places: &'a [usize],
    pub(super) channels: Range<usize>,
    pub(super) memory: Sink<'a>,
    /// Where the first channel of the first pixel goes, and the floats from a pixel to the next.
    pub(super) start: usize,
    pub(super) step: usize,
}

impl Kernel for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (scale, shift) = (Source::new(self.norm.scale), Source::new(self.norm.shift));
        for (pixel, &place) in self.places.iter().enumerate() {
            let ahead = self.places[(pixel + AHEAD).min(self.places.len() - 1)];
            let mut to = self.start + pixel * self.step;
            let mut channel = self.channels.start;
            while channel < self.channels.end {
                let rest = self.channels.end - channel;
                simd.prefetch(self.map, ahead + channel);
                let at = At { x: place + channel, channel, to };
                if rest >= S::LANES {
                    vector(simd, All, &self, scale, shift, at);
                } else {
                    vector(simd, First(rest), &self, scale, shift, at);
                }
                (channel, to) = (channel + S::LANES, to + S::LANES);
            }
        }
    }
}

/// Where a vector lies in the map and in the tables, and where it goes.
#[derive(Clone, Copy)]
struct At {
    x: usize,
    channel: usize,
    to: usize,
}

#[inline(always)]
fn vector<S: Simd, L: Lanes>(
    simd: S,
    lanes: L,
    task: &Normalize<'_>,
    scale: Source<'_>,
    shift: Source<'_>,
    at: At,
) {
    // SAFETY: the channels lie inside the map, by the contract.
    let x = unsafe { lanes.load(simd, task.map, at.x) };
    // SAFETY: they lie inside the tables, by the contract.
    let scale = unsafe { lanes.load(simd, scale, at.channel) };
    // SAFETY: the same.
    let shift = unsafe { lanes.load(simd, shift, at.channel) };
    let y = simd.fma(x, scale, shift);
    // SAFETY: the results lie inside the memory and are ours, by the contract.
    unsafe { lanes.store(simd, if task.norm.relu { simd.relu(y) } else { y }, task.memory, at.to) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::{ConvBackwardWeights, ConvForward, Epilogue, Extras, WorkingMemory, kept_by};
    use crate::{ConvShape, Isa};
    use residuum_tensor::MapLayout;

    #[test]
    fn what_is_normalised_takes_the_memory_that_is_said() {
        for (c_in, c_out, w) in [(5, 3, 1), (70, 40, 33), (70, 90, 33), (400, 300, 260)] {
            let shape = ConvShape { w, ..ConvShape::of_squares(1, 2, [c_in, c_out], 1) };
            let [x, y] = [c_in, c_out].map(|c| MapLayout::new(1, 2, w, c, 0));
            let (input, mut output) = (vec![1.0; x.len()], vec![1.0; y.len()]);
            let (ones, mut weights) = (vec![1.0; c_in], vec![1.0; shape.weight_len()]);
            let norm = Some(Normalization { scale: &ones, shift: &ones, relu: true });
            for isa in Isa::available() {
                let conv = ConvForward::new(isa, &shape, x, y).normalizing();
                let packed = vec![1.0; conv.packed_len()];
                let found = kept_by(|| {
                    let extras = Extras { norm, sums: None };
                    conv.run_with(&input, &packed, &Epilogue::default(), &mut output, extras);
                });
                assert_eq!(found, conv.working_memory(), "{isa}");
                let conv = ConvBackwardWeights::new(isa, &shape, x, y).normalizing();
                let mut scratch = vec![0.0; conv.scratch_len()];
                let found = kept_by(|| conv.run_with(&input, norm, &output, &mut scratch, &mut weights));
                assert_eq!(found, conv.working_memory(), "{isa}");
                assert_ne!(found, WorkingMemory::default());
            }
        }
    }
}
