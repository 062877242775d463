//! Sums that the mean and the variance of every channel come from, taken of each block of a convolution's outputs while
//! it is in the cache.
//!
//! A block has four rows, one float for each channel: how many pixels, a point near their mean, the sum of the
//! differences from it, and that of their squares. Blocks are those of the tasks, so they depend on the shape alone.

use crate::check;
use crate::isa::{Kernel, Simd, Sink, Source};
use crate::sweep::{All, First, Lanes};
use std::ops::Range;

/// Rows of the sums of a block.
pub(super) const ROWS: usize = 4;
/// Pixels whose sums do not wait for each other.
const STRANDS: usize = 4;

/// Where the sums of a block go.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// Those of all blocks.
    pub(super) sums: Sink<'a>,
    pub(super) index: usize,
    /// Channels of the map.
    pub(super) channels: usize,
}

/// Takes the sums of some channels of the pixels of a block.
///
/// Whoever makes one answers for this: the channels of every pixel lie inside the map, those of the block inside
/// its sums, and no other thread touches either.
pub(super) struct TakeSums<'a> {
    pub(super) map: Source<'a>,
    /// Where channel `shift` of each pixel lies; there is one at least.
    pub(super) places: &'a [usize],
    pub(super) shift: usize,
    /// The channels, from there on.
    pub(super) channels: Range<usize>,
    pub(super) block: Block<'a>,
}

impl Kernel for TakeSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for channel in self.channels.clone().step_by(S::LANES) {
            let rest = self.channels.end - channel;
            if rest >= S::LANES {
                self.vector(simd, All, channel);
            } else {
                self.vector(simd, First(rest), channel);
            }
        }
    }
}

impl TakeSums<'_> {
    /// The sums of the channels from `channel` on, one in each lane.
    #[inline(always)]
    fn vector<S: Simd, L: Lanes>(&self, simd: S, lanes: L, channel: usize) {
        // SAFETY: the channels of every pixel lie inside, by the contract.
        let pivot = unsafe { lanes.load(simd, self.map, self.places[0] + channel) };
        let (mut sum, mut squares) = ([simd.zero(); STRANDS], [simd.zero(); STRANDS]);
        for places in self.places.chunks(STRANDS) {
            for (strand, place) in places.iter().enumerate() {
                // SAFETY: the same.
                let d = simd.sub(unsafe { lanes.load(simd, self.map, place + channel) }, pivot);
                sum[strand] = simd.add(sum[strand], d);
                squares[strand] = simd.fma(d, d, squares[strand]);
            }
        }
        let pixels = simd.splat(self.places.len() as f32);
        let [sum, squares] =
            [sum, squares].map(|[a, b, c, d]: [S::V; STRANDS]| simd.add(simd.add(a, b), simd.add(c, d)));
        for (row, v) in [pixels, pivot, sum, squares].into_iter().enumerate() {
            let at = (self.block.index * ROWS + row) * self.block.channels + self.shift + channel;
            // SAFETY: the row lies inside and its channels are ours, by the contract.
            unsafe { lanes.store(simd, v, self.block.sums, at) };
        }
    }
}

/// Mean and biased variance of every channel from the sums of all blocks, which are joined in their order.
///
/// # Panics
/// Where the slices do not fit each other.
pub fn moments(sums: &[f32], mean: &mut [f32], var: &mut [f32]) {
    let channels = mean.len();
    check::length("var", var.len(), channels);
    let blocks = sums.len() / (ROWS * channels).max(1);
    check::length("sums", sums.len(), blocks * ROWS * channels);
    let mut joined = vec![Joined::default(); channels];
    for block in sums.chunks_exact((ROWS * channels).max(1)) {
        for (channel, joined) in joined.iter_mut().enumerate() {
            let row = |row: usize| f64::from(block[row * channels + channel]);
            joined.join(row(0), row(1), row(2), row(3));
        }
    }
    for ((joined, mean), var) in joined.iter().zip(mean).zip(var) {
        *mean = joined.mean as f32;
        // Rounding may leave a constant channel below zero; not-a-number stays.
        *var = if joined.spread < 0.0 { 0.0 } else { (joined.spread / joined.pixels) as f32 };
    }
}

/// What is known of a channel of some pixels.
#[derive(Clone, Copy, Default)]
struct Joined {
    pixels: f64,
    mean: f64,
    /// Sum of the squared differences from the mean.
    spread: f64,
}

impl Joined {
    /// Adds a block.
    fn join(&mut self, pixels: f64, pivot: f64, sum: f64, squares: f64) {
        let (mean, spread) = (pivot + sum / pixels, squares - sum * sum / pixels);
        let (all, apart) = (self.pixels + pixels, mean - self.mean);
        self.spread += spread + apart * apart * self.pixels * pixels / all;
        self.mean += apart * pixels / all;
        self.pixels = all;
    }
}
