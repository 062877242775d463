//! The transforms of maps: in one dimension on six vectors, each lane a channel, and in two along both axes.
//!
//! Transforms by the points ±t come in pairs that share their even and odd parts, `e + t o` and `e - t o`.

use super::points::{A, A2, B, B2, SCALE_A, SCALE_B, SCALE_ZERO};
use super::tiling::FREQUENCIES;
use crate::conv::tile::{Finish, LINE, finish, load, store};
use crate::isa::{Kernel, Simd, Sink, Source};

/// Points along one axis, and inputs of a tile.
pub(super) const POINTS: usize = 6;
/// Outputs of a tile along one axis.
pub(super) const OUTPUTS: usize = 4;

/// Additions and multiply-adds of a transform for one channel, by `both_axes`: those along one axis, as often as
/// it is done.
pub(super) const INPUT_STEPS: usize = 12 * (POINTS + POINTS);
/// The same of an output.
pub(super) const OUTPUT_STEPS: usize = 12 * (POINTS + OUTPUTS);
/// The same of a gradient of outputs.
pub(super) const GRADIENT_STEPS: usize = 8 * (OUTPUTS + POINTS);
/// The same of the gradients of nine taps.
pub(super) const TAPS_STEPS: usize = 11 * (POINTS + 3);

/// `Bt d`: six inputs, as the products want them.
#[inline(always)]
fn input<S: Simd>(simd: S, d: [S::V; POINTS]) -> [S::V; POINTS] {
    let (minus_sum, product) = (simd.splat(-(A2 + B2) as f32), simd.splat((A2 * B2) as f32));
    let (minus_a2, minus_b2) = (simd.splat(-A2 as f32), simd.splat(-B2 as f32));
    let even_a = simd.fma(minus_b2, d[2], d[4]);
    let odd_a = simd.fma(minus_b2, d[1], d[3]);
    let even_b = simd.fma(minus_a2, d[2], d[4]);
    let odd_b = simd.fma(minus_a2, d[1], d[3]);
    [
        simd.fma(product, d[0], simd.fma(minus_sum, d[2], d[4])),
        simd.fma(simd.splat(A as f32), odd_a, even_a),
        simd.fma(simd.splat(-A as f32), odd_a, even_a),
        simd.fma(simd.splat(B as f32), odd_b, even_b),
        simd.fma(simd.splat(-B as f32), odd_b, even_b),
        simd.fma(product, d[1], simd.fma(minus_sum, d[3], d[5])),
    ]
}

/// `At m`: four outputs from six products. Only the last output depends on the last product.
#[inline(always)]
fn output<S: Simd>(simd: S, m: [S::V; POINTS]) -> [S::V; OUTPUTS] {
    let (even_a, odd_a) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (even_b, odd_b) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    [
        simd.add(m[0], simd.add(even_a, even_b)),
        simd.fma(simd.splat(B as f32), odd_b, simd.mul(simd.splat(A as f32), odd_a)),
        simd.fma(simd.splat(B2 as f32), even_b, simd.mul(simd.splat(A2 as f32), even_a)),
        simd.fma(simd.splat((B2 * B) as f32), odd_b, simd.fma(simd.splat((A2 * A) as f32), odd_a, m[5])),
    ]
}

/// `H y`: four gradients of outputs at the six points, without the scales.
#[inline(always)]
fn gradient<S: Simd>(simd: S, y: [S::V; OUTPUTS]) -> [S::V; POINTS] {
    let (a2, b2) = (simd.splat(A2 as f32), simd.splat(B2 as f32));
    let (even_a, odd_a) = (simd.fma(a2, y[2], y[0]), simd.fma(a2, y[3], y[1]));
    let (even_b, odd_b) = (simd.fma(b2, y[2], y[0]), simd.fma(b2, y[3], y[1]));
    [
        y[0],
        simd.fma(simd.splat(A as f32), odd_a, even_a),
        simd.fma(simd.splat(-A as f32), odd_a, even_a),
        simd.fma(simd.splat(B as f32), odd_b, even_b),
        simd.fma(simd.splat(-B as f32), odd_b, even_b),
        y[3],
    ]
}

/// `Ct m`: gradients of three taps from six products, with the scales that [`gradient`] left out.
#[inline(always)]
fn taps<S: Simd>(simd: S, m: [S::V; POINTS]) -> [S::V; 3] {
    let (even_a, odd_a) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (even_b, odd_b) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    let zero = simd.mul(simd.splat(SCALE_ZERO as f32), m[0]);
    [
        simd.fma(simd.splat(SCALE_B as f32), even_b, simd.fma(simd.splat(SCALE_A as f32), even_a, zero)),
        simd.fma(simd.splat((SCALE_B * B) as f32), odd_b, simd.mul(simd.splat((SCALE_A * A) as f32), odd_a)),
        simd.fma(
            simd.splat((SCALE_B * B2) as f32),
            even_b,
            simd.fma(simd.splat((SCALE_A * A2) as f32), even_a, m[5]),
        ),
    ]
}

/// A transform along both axes: `$one` on each column of `$block`, then on each row of what came of it.
macro_rules! both_axes {
    ($name:ident, $one:ident, $from:ident => $to:expr, $doc:literal) => {
        #[doc = $doc]
        #[inline(always)]
        pub(super) fn $name<S: Simd>(simd: S, block: &[[S::V; $from]; $from]) -> [[S::V; $to]; $to] {
            let mut columns = [[simd.zero(); $from]; $to];
            for x in 0..$from {
                let mut column = [simd.zero(); $from];
                for y in 0..$from {
                    column[y] = block[y][x];
                }
                let column = $one(simd, column);
                for y in 0..$to {
                    columns[y][x] = column[y];
                }
            }
            let mut result = [[simd.zero(); $to]; $to];
            for y in 0..$to {
                result[y] = $one(simd, columns[y]);
            }
            result
        }
    };
}

both_axes!(input_tile, input, POINTS => POINTS, "`Bt d B`");
both_axes!(output_tile, output, POINTS => OUTPUTS, "`At m A`");
both_axes!(gradient_tile, gradient, OUTPUTS => POINTS, "`H y Ht`");
both_axes!(taps_tile, taps, POINTS => 3, "`Ct m C`");

/// Where the pixels of a tile lie in a map, and how many there are along each axis.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) place: usize,
    pub(super) row: usize,
    pub(super) pixel: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Window {
    /// The window with `more` rows below and `more` columns on its right.
    #[inline(always)]
    pub(super) fn grown(self, more: usize) -> Self {
        Self { height: self.height + more, width: self.width + more, ..self }
    }

    /// The window from a later channel on.
    #[inline(always)]
    pub(super) fn shifted(self, channels: usize) -> Self {
        Self { place: self.place + channels, ..self }
    }
}

/// Transforms all channels of a tile of at most `N` x `N` pixels: of an input where `N` is 6, of a gradient
/// where it is 4. Pixels beyond the window and channels beyond the last are zero.
///
/// Whoever makes one answers for this: the channels of every pixel of the window lie inside `src`, all
/// frequencies lie inside `dst`, and no other thread touches them.
pub(super) struct TransformTile<'a, const N: usize> {
    pub(super) src: Source<'a>,
    pub(super) window: Window,
    /// The tile that comes next, to be fetched meanwhile.
    pub(super) next: Window,
    pub(super) channels: usize,
    pub(super) dst: Sink<'a>,
    /// Where the first frequency of the tile begins, and the floats from a frequency to the next.
    pub(super) start: usize,
    pub(super) stride: usize,
    /// Floats to write of each frequency, whole vectors.
    pub(super) row: usize,
}

impl<const N: usize> Kernel for TransformTile<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut channel = 0;
        while channel < self.row {
            let count = self.channels.saturating_sub(channel);
            let window = self.window.shifted(channel);
            if channel.is_multiple_of(LINE) && channel < self.channels {
                for y in 0..N {
                    for x in 0..N {
                        let pixel = self.next.place + y * self.next.row + x * self.next.pixel;
                        simd.prefetch(self.src, pixel + channel);
                    }
                }
            }
            // SAFETY: the channels lie inside, by the contract.
            let pixels: [[S::V; N]; N] = unsafe { load_window(simd, self.src, &window, count) };
            let image = image(simd, &pixels);
            for frequency in 0..FREQUENCIES {
                let at = self.start + frequency * self.stride + channel;
                // SAFETY: the frequencies lie inside and are ours, by the contract.
                unsafe { simd.store_at(image[frequency / POINTS][frequency % POINTS], self.dst, at) };
            }
            channel += S::LANES;
        }
    }
}

/// The transform that fits a tile of `N` x `N`.
#[inline(always)]
fn image<S: Simd, const N: usize>(simd: S, pixels: &[[S::V; N]; N]) -> [[S::V; POINTS]; POINTS] {
    if N == POINTS {
        let mut tile = [[simd.zero(); POINTS]; POINTS];
        for y in 0..N {
            tile[y][..N].copy_from_slice(&pixels[y]);
        }
        input_tile(simd, &tile)
    } else {
        let mut tile = [[simd.zero(); OUTPUTS]; OUTPUTS];
        for y in 0..N {
            tile[y][..N].copy_from_slice(&pixels[y]);
        }
        gradient_tile(simd, &tile)
    }
}

/// `count` channels of the pixels of a window, zero in the other lanes and where there is no pixel.
///
/// # Safety
/// The channels of every pixel of the window lie inside.
#[inline(always)]
unsafe fn load_window<S: Simd, const N: usize>(
    simd: S,
    src: Source<'_>,
    window: &Window,
    count: usize,
) -> [[S::V; N]; N] {
    let mut tile = [[simd.zero(); N]; N];
    if (window.height, window.width) == (N, N) && count >= S::LANES {
        for y in 0..N {
            for x in 0..N {
                let at = window.place + y * window.row + x * window.pixel;
                // SAFETY: by the contract.
                tile[y][x] = unsafe { simd.load_at(src, at) };
            }
        }
    } else if count > 0 {
        for y in 0..window.height {
            for x in 0..window.width {
                let at = window.place + y * window.row + x * window.pixel;
                // SAFETY: by the contract.
                tile[y][x] = unsafe { simd.load_part_at(src, at, count) };
            }
        }
    }
    tile
}

/// Transforms the products of a tile into outputs, and finishes them.
///
/// Whoever makes one answers for this: the frequencies lie inside `src` in whole vectors, the columns of every
/// pixel lie inside the maps, and no other thread touches those of `dst`.
pub(super) struct TransformOutput<'a> {
    pub(super) src: Source<'a>,
    /// Where the first frequency of the tile begins, and the floats from a frequency to the next.
    pub(super) start: usize,
    pub(super) stride: usize,
    /// First column, from the place of a pixel.
    pub(super) first: usize,
    pub(super) columns: usize,
    pub(super) bias: Option<Source<'a>>,
    pub(super) residual: Option<(Source<'a>, Window)>,
    pub(super) mask: Option<(Source<'a>, Window)>,
    pub(super) relu: bool,
    pub(super) dst: Sink<'a>,
    pub(super) window: Window,
    /// The tile that comes next, whose place is to be fetched meanwhile.
    pub(super) next: Window,
}

impl Kernel for TransformOutput<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let window = self.window;
        let (mut residual, mut mask) = (window, window);
        let mut how = Finish { bias: self.bias, residual: None, mask: None, relu: self.relu };
        if let Some((map, window)) = self.residual {
            (how.residual, residual) = (Some(map), window);
        }
        if let Some((map, window)) = self.mask {
            (how.mask, mask) = (Some(map), window);
        }
        let mut column = 0;
        while column < self.columns {
            let count = self.columns - column;
            // SAFETY: the frequencies lie inside, by the contract.
            let products = unsafe { load_frequencies(simd, self.src, self.start + column, self.stride) };
            let outputs = output_tile(simd, &products);
            let at = self.first + column;
            if column.is_multiple_of(LINE) {
                for y in 0..OUTPUTS {
                    for x in 0..OUTPUTS {
                        let pixel = self.next.place + y * self.next.row + x * self.next.pixel;
                        simd.prefetch_write(self.dst, pixel + at);
                    }
                }
            }
            let mut bias = [simd.zero()];
            if let Some(source) = self.bias {
                // SAFETY: there is a bias for each column, by the contract.
                bias = unsafe { load(simd, source, at, count) };
            }
            for y in 0..window.height {
                for x in 0..window.width {
                    let residual = residual.place + y * residual.row + x * residual.pixel + at;
                    let mask = mask.place + y * mask.row + x * mask.pixel + at;
                    // SAFETY: the columns exist in all maps, by the contract.
                    let out = unsafe { finish(simd, &how, [outputs[y][x]], bias, residual, mask, count) };
                    let at = window.place + y * window.row + x * window.pixel + at;
                    // SAFETY: the columns exist and are ours, by the contract.
                    unsafe { store(simd, out, self.dst, at, count) };
                }
            }
            column += S::LANES;
        }
    }
}

/// Loads the products of a tile, a vector each.
///
/// # Safety
/// All lie inside.
#[inline(always)]
unsafe fn load_frequencies<S: Simd>(
    simd: S,
    src: Source<'_>,
    start: usize,
    stride: usize,
) -> [[S::V; POINTS]; POINTS] {
    let mut tile = [[simd.zero(); POINTS]; POINTS];
    for frequency in 0..FREQUENCIES {
        // SAFETY: by the contract.
        let products = unsafe { simd.load_at(src, start + frequency * stride) };
        tile[frequency / POINTS][frequency % POINTS] = products;
    }
    tile
}

/// The sums over all tiles that make the nine taps of a vector of filters.
///
/// Whoever makes one answers for this: all frequencies of all parts lie inside `sums`.
pub(super) struct Taps<'a> {
    pub(super) sums: Source<'a>,
    /// Where the first frequency of the first part lies, and the floats from a frequency to the next.
    pub(super) start: usize,
    pub(super) stride: usize,
    pub(super) parts: usize,
}

impl Taps<'_> {
    /// Adds the parts in their order and transforms what comes of it.
    #[inline(always)]
    pub(super) fn load<S: Simd>(&self, simd: S) -> [[S::V; 3]; 3] {
        // SAFETY: the frequencies lie inside, by the contract.
        let mut sums = unsafe { load_frequencies(simd, self.sums, self.start, self.stride) };
        for part in 1..self.parts {
            let start = self.start + part * FREQUENCIES * self.stride;
            // SAFETY: the frequencies lie inside, by the contract.
            let more = unsafe { load_frequencies(simd, self.sums, start, self.stride) };
            for y in 0..POINTS {
                for x in 0..POINTS {
                    sums[y][x] = simd.add(sums[y][x], more[y][x]);
                }
            }
        }
        taps_tile(simd, &sums)
    }
}
