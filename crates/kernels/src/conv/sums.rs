//! Sums over the channels of what a convolution writes, taken of each block of its outputs while that is in the cache.
//! Blocks are those of the tasks, so they depend on the shape alone.
//!
//! ```text
//! moments    pixels, p near their mean, Σ (y - p), Σ (y - p)²     mean and variance come from them
//! gradient   Σ g, Σ g · (x - mean)                                g is the gradient of a norm's output, x its input
//! ```
//!
//! Where the convolution writes the gradient of a ReLU behind the norm, `g` is that, but zero where `scale · x + shift` is
//! not positive; it takes the place of what the convolution has written.

use crate::check;
use crate::isa::{Kernel, Simd, Sink, Source};
use crate::sweep::{All, First, Lanes};
use residuum_tensor::MapLayout;
use std::ops::Range;

/// Rows of a block's sums for moments, and for a norm's gradient.
pub(super) const MOMENT_ROWS: usize = 4;
pub(super) const GRADIENT_ROWS: usize = 2;
/// Pixels whose sums do not wait for each other.
const STRANDS: usize = 4;
/// How many pixels ahead the input of a norm is fetched.
const AHEAD: usize = 8;

/// A norm by the statistics of its input, whose output's gradient is the gradient of a convolution's input.
#[derive(Clone, Copy, Debug)]
pub struct NormOutput<'a> {
    /// The norm's input, of the size of the gradient, with its layout.
    pub x: (&'a [f32], MapLayout),
    /// The mean of every channel of `x`.
    pub mean: &'a [f32],
    /// Scale and shift of every channel, if a ReLU stands between norm and convolution.
    pub relu: Option<[&'a [f32]; 2]>,
}

impl NormOutput<'_> {
    /// Panics unless every part fits the map of the gradient.
    pub(super) fn check(&self, dx: &MapLayout) {
        let (x, layout) = self.x;
        check::shape("input of the norm", &layout, [dx.n, dx.h, dx.w, dx.c]);
        check::map("input of the norm", x.len(), &layout);
        for table in [self.mean].into_iter().chain(self.relu.into_iter().flatten()) {
            check::length("coefficients of the norm", table.len(), dx.c);
        }
    }
}

/// What is summed.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    Values,
    Gradient(&'a NormOutput<'a>),
}

/// Sums that are wanted.
#[derive(Clone, Copy)]
pub(super) struct Sums<'a> {
    /// Where they go: `[block][row][channel]`.
    pub(super) out: Sink<'a>,
    pub(super) of: Of<'a>,
}

impl<'a> Sums<'a> {
    /// The map that is read beside the one that is written, if there is one.
    pub(super) fn other(&self) -> Option<(&'a [f32], MapLayout)> {
        match self.of {
            Of::Values => None,
            Of::Gradient(norm) => Some(norm.x),
        }
    }
}

/// Some channels of a block of pixels that have been written.
///
/// Whoever makes one answers for this: these channels lie inside the maps and the tables, those of the block inside its
/// sums, and no other thread touches them there or where they are written.
pub(super) struct Written<'a> {
    pub(super) map: Sink<'a>,
    /// Where channel `shift` of each pixel lies; there is one at least.
    pub(super) places: &'a [usize],
    /// The same in the other map, if there is one.
    pub(super) others: &'a [usize],
    pub(super) shift: usize,
    /// The channels, from there on.
    pub(super) channels: Range<usize>,
    pub(super) sums: Sums<'a>,
    /// Which block this is.
    pub(super) block: usize,
    /// Channels of the map.
    pub(super) row: usize,
}

impl Written<'_> {
    /// Takes the sums.
    #[inline(always)]
    pub(super) fn take<S: Simd>(self, simd: S) {
        match self.sums.of {
            Of::Values => simd.call(TakeMoments(self)),
            Of::Gradient(norm) if norm.relu.is_some() => simd.call(TakeGradient::<true> { of: self, norm }),
            Of::Gradient(norm) => simd.call(TakeGradient::<false> { of: self, norm }),
        }
    }

    /// Writes the sums of the channels from `channel` on.
    #[inline(always)]
    fn put<S: Simd, L: Lanes, const ROWS: usize>(
        &self,
        simd: S,
        lanes: L,
        channel: usize,
        rows: [S::V; ROWS],
    ) {
        for (row, v) in rows.into_iter().enumerate() {
            let at = (self.block * ROWS + row) * self.row + self.shift + channel;
            // SAFETY: the row lies inside and its channels are ours, by the contract.
            unsafe { lanes.store(simd, v, self.sums.out, at) };
        }
    }
}

struct TakeMoments<'a>(Written<'a>);

impl Kernel for TakeMoments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for channel in self.0.channels.clone().step_by(S::LANES) {
            let rest = self.0.channels.end - channel;
            if rest >= S::LANES {
                self.vector(simd, All, channel);
            } else {
                self.vector(simd, First(rest), channel);
            }
        }
    }
}

impl TakeMoments<'_> {
    /// The sums of the channels from `channel` on, one in each lane.
    #[inline(always)]
    fn vector<S: Simd, L: Lanes>(&self, simd: S, lanes: L, channel: usize) {
        let (map, places) = (self.0.map.source(), self.0.places);
        // SAFETY: the channels of every pixel lie inside, by the contract.
        let pivot = unsafe { lanes.load(simd, map, places[0] + channel) };
        let (mut sum, mut squares) = ([simd.zero(); STRANDS], [simd.zero(); STRANDS]);
        for places in places.chunks(STRANDS) {
            for (strand, place) in places.iter().enumerate() {
                // SAFETY: the same.
                let d = simd.sub(unsafe { lanes.load(simd, map, place + channel) }, pivot);
                sum[strand] = simd.add(sum[strand], d);
                squares[strand] = simd.fma(d, d, squares[strand]);
            }
        }
        let pixels = simd.splat(places.len() as f32);
        let [sum, squares] =
            [sum, squares].map(|[a, b, c, d]: [S::V; STRANDS]| simd.add(simd.add(a, b), simd.add(c, d)));
        self.0.put(simd, lanes, channel, [pixels, pivot, sum, squares]);
    }
}

/// Sums of a gradient, which becomes zero first where the ReLU let nothing pass, if there is one.
struct TakeGradient<'a, const RELU: bool> {
    of: Written<'a>,
    norm: &'a NormOutput<'a>,
}

impl<const RELU: bool> Kernel for TakeGradient<'_, RELU> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Range { mut start, end } = self.of.channels;
        while start < end {
            let taken = match (end - start) / S::LANES {
                0 => self.vectors::<S, First, 1>(simd, First(end - start), start),
                1 => self.vectors::<S, All, 1>(simd, All, start),
                2 | 3 => self.vectors::<S, All, 2>(simd, All, start),
                _ => self.vectors::<S, All, 4>(simd, All, start),
            };
            start += taken;
        }
    }
}

impl<const RELU: bool> TakeGradient<'_, RELU> {
    /// The sums of the channels from `channel` on, one in each lane of `V` vectors; returns how many lanes these have.
    #[inline(always)]
    fn vectors<S: Simd, L: Lanes, const V: usize>(&self, simd: S, lanes: L, channel: usize) -> usize {
        let Written { map, places, others, shift, .. } = self.of;
        let (x, mean) = (Source::new(self.norm.x.0), Source::new(self.norm.mean));
        let [scale, bias] = self.norm.relu.map_or([mean; 2], |relu| relu.map(Source::new));
        // SAFETY: the channels lie inside the tables, by the contract.
        let mean: [S::V; V] = unsafe { table(simd, lanes, mean, shift + channel) };
        // SAFETY: the same.
        let scale: [S::V; V] = unsafe { table(simd, lanes, scale, shift + channel) };
        // SAFETY: the same.
        let bias: [S::V; V] = unsafe { table(simd, lanes, bias, shift + channel) };
        let (mut sum, mut weighted) = ([simd.zero(); V], [simd.zero(); V]);
        for (pixel, (&place, &other)) in places.iter().zip(others).enumerate() {
            let ahead = others[(pixel + AHEAD).min(others.len() - 1)];
            for v in 0..V {
                let channel = channel + v * S::LANES;
                simd.prefetch(x, ahead + channel);
                // SAFETY: the channels of every pixel lie inside both maps, by the contract.
                let x = unsafe { lanes.load(simd, x, other + channel) };
                // SAFETY: the same.
                let mut g = unsafe { lanes.load(simd, map.source(), place + channel) };
                if RELU {
                    g = simd.select_gt(simd.fma(x, scale[v], bias[v]), simd.zero(), g, simd.zero());
                    // SAFETY: the same, and they are ours.
                    unsafe { lanes.store(simd, g, map, place + channel) };
                }
                sum[v] = simd.add(sum[v], g);
                weighted[v] = simd.fma(g, simd.sub(x, mean[v]), weighted[v]);
            }
        }
        for v in 0..V {
            self.of.put(simd, lanes, channel + v * S::LANES, [sum[v], weighted[v]]);
        }
        V * S::LANES
    }
}

/// `V` vectors from `at` on.
///
/// # Safety
/// The lanes that take part lie inside.
#[inline(always)]
unsafe fn table<S: Simd, L: Lanes, const V: usize>(
    simd: S,
    lanes: L,
    table: Source<'_>,
    at: usize,
) -> [S::V; V] {
    let mut vectors = [simd.zero(); V];
    for (v, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: by the contract.
        *vector = unsafe { lanes.load(simd, table, at + v * S::LANES) };
    }
    vectors
}

/// Mean and biased variance of every channel from the sums of all blocks, which are joined in their order.
///
/// # Panics
/// Where the slices do not fit each other.
pub fn moments(sums: &[f32], mean: &mut [f32], var: &mut [f32]) {
    let channels = mean.len();
    check::length("var", var.len(), channels);
    let blocks = sums.len() / (MOMENT_ROWS * channels).max(1);
    check::length("sums", sums.len(), blocks * MOMENT_ROWS * channels);
    let mut joined = vec![Joined::default(); channels];
    for block in sums.chunks_exact((MOMENT_ROWS * channels).max(1)) {
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

/// The sums of a norm's backward pass from those of all blocks, which are added in their order: `sums[..c] = Σ g` (the
/// gradient of the shift) and `sums[c..] = Σ g · (x - mean) · inv_std` (that of the scale).
///
/// # Panics
/// Where the slices do not fit each other.
pub fn norm_backward_sums(blocks: &[f32], inv_std: &[f32], sums: &mut [f32]) {
    let row = GRADIENT_ROWS * inv_std.len();
    check::length("sums", sums.len(), row);
    check::length("sums of blocks", blocks.len(), blocks.len() / row.max(1) * row);
    let mut joined = vec![0.0; row];
    for block in blocks.chunks_exact(row.max(1)) {
        joined.iter_mut().zip(block).for_each(|(joined, &sum)| *joined += f64::from(sum));
    }
    let (shift, scale) = sums.split_at_mut(inv_std.len());
    let (plain, weighted) = joined.split_at(inv_std.len());
    shift.iter_mut().zip(plain).for_each(|(out, &sum)| *out = sum as f32);
    for ((out, &sum), &inv_std) in scale.iter_mut().zip(weighted).zip(inv_std) {
        *out = (sum * f64::from(inv_std)) as f32;
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
