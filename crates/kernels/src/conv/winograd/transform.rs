//! The transforms of maps: in one dimension on six vectors, each lane a channel, and in two along both axes.
//!
//! Transforms by the points ±t come in pairs that share their even and odd parts, `e + t o` and `e - t o`.

use super::points::{A, A2, B, B2, SCALE_A, SCALE_B, SCALE_ZERO};
use super::tiling::FREQUENCIES;
use crate::conv::tile::{Finish, LINE, finish, load, store};
use crate::isa::{Kernel, MOST_LANES, Simd, Sink, Source};

/// Points along one axis, and inputs of a tile.
pub(super) const POINTS: usize = 6;
/// Outputs of a tile along one axis.
pub(super) const OUTPUTS: usize = 4;

/// Additions and multiply-adds of a transform for one channel: those along one axis, as often as it is done.
pub(super) const INPUT_STEPS: usize = 12 * (POINTS + POINTS);
/// The same of an output.
pub(super) const OUTPUT_STEPS: usize = 12 * (POINTS + OUTPUTS);
/// The same of a gradient of outputs.
pub(super) const GRADIENT_STEPS: usize = 8 * (OUTPUTS + POINTS);
/// The same of the gradients of nine taps.
pub(super) const TAPS_STEPS: usize = 11 * (POINTS + 3);

/// A transform along one axis.
pub(super) trait Axis<const FROM: usize, const TO: usize> {
    fn along<S: Simd>(simd: S, values: [S::V; FROM]) -> [S::V; TO];
}

/// To the points: `Bt d`, six inputs as the products want them, or `H y`, four gradients of outputs without the scales.
pub(super) struct ToPoints<const FROM: usize>;

/// `At m`: four outputs from six products. Only the last output depends on the last product.
struct Output;

/// `Ct m`: gradients of three taps from six products, with the scales that `H` leaves out.
struct Tap;

impl Axis<POINTS, POINTS> for ToPoints<POINTS> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, d: [S::V; POINTS]) -> [S::V; POINTS] {
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
}

impl Axis<POINTS, OUTPUTS> for Output {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::V; POINTS]) -> [S::V; OUTPUTS] {
        let (even_a, odd_a) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (even_b, odd_b) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        [
            simd.add(m[0], simd.add(even_a, even_b)),
            simd.fma(simd.splat(B as f32), odd_b, simd.mul(simd.splat(A as f32), odd_a)),
            simd.fma(simd.splat(B2 as f32), even_b, simd.mul(simd.splat(A2 as f32), even_a)),
            simd.fma(simd.splat((B2 * B) as f32), odd_b, simd.fma(simd.splat((A2 * A) as f32), odd_a, m[5])),
        ]
    }
}

impl Axis<OUTPUTS, POINTS> for ToPoints<OUTPUTS> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, y: [S::V; OUTPUTS]) -> [S::V; POINTS] {
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
}

impl Axis<POINTS, 3> for Tap {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::V; POINTS]) -> [S::V; 3] {
        let (even_a, odd_a) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (even_b, odd_b) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        let zero = simd.mul(simd.splat(SCALE_ZERO as f32), m[0]);
        [
            simd.fma(simd.splat(SCALE_B as f32), even_b, simd.fma(simd.splat(SCALE_A as f32), even_a, zero)),
            simd.fma(
                simd.splat((SCALE_B * B) as f32),
                odd_b,
                simd.mul(simd.splat((SCALE_A * A) as f32), odd_a),
            ),
            simd.fma(
                simd.splat((SCALE_B * B2) as f32),
                even_b,
                simd.fma(simd.splat((SCALE_A * A2) as f32), even_a, m[5]),
            ),
        ]
    }
}

/// A square of vectors in memory: where the first lies, and the floats from a row and from a column to the next.
#[derive(Clone, Copy)]
struct Square {
    place: usize,
    row: usize,
    column: usize,
}

/// A transform of each column of a square: the first half of one along both axes. What comes of it stays in
/// registers, as far as there are any.
///
/// # Safety
/// The vectors lie inside.
#[inline(always)]
unsafe fn columns<S: Simd, T: Axis<FROM, TO>, const FROM: usize, const TO: usize>(
    simd: S,
    src: Source<'_>,
    square: Square,
) -> [[S::V; FROM]; TO] {
    let mut columns = [[simd.zero(); FROM]; TO];
    for x in 0..FROM {
        let mut column = [simd.zero(); FROM];
        for y in 0..FROM {
            // SAFETY: by the contract.
            column[y] = unsafe { simd.load_at(src, square.place + y * square.row + x * square.column) };
        }
        let column = T::along(simd, column);
        for y in 0..TO {
            columns[y][x] = column[y];
        }
    }
    columns
}

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

/// Transforms all channels of a tile of at most `N` x `N` pixels to the points: of an input where `N` is 6, of a gradient
/// where it is 4. Pixels beyond the window and channels
/// beyond the last are zero.
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

impl<const N: usize> Kernel for TransformTile<'_, N>
where
    ToPoints<N>: Axis<N, POINTS>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut channel = 0;
        while channel < self.row {
            if channel.is_multiple_of(LINE) && channel < self.channels {
                for y in 0..N {
                    for x in 0..N {
                        let pixel = self.next.place + y * self.next.row + x * self.next.pixel;
                        simd.prefetch(self.src, pixel + channel);
                    }
                }
            }
            let window = self.window.shifted(channel);
            if (window.height, window.width) == (N, N) && channel + S::LANES <= self.channels {
                let square = Square { place: window.place, row: window.row, column: window.pixel };
                // SAFETY: the channels lie inside, by the contract.
                unsafe { self.transform(simd, self.src, square, channel) };
            } else {
                let count = self.channels.saturating_sub(channel);
                // SAFETY: the channels lie inside, by the contract.
                let pixels = unsafe { copy_window::<S, N>(simd, self.src, &window, count) };
                let square = Square { place: 0, row: N * S::LANES, column: S::LANES };
                // SAFETY: there are `N` x `N` vectors of pixels.
                unsafe { self.transform(simd, Source::new(pixels.as_flattened()), square, channel) };
            }
            channel += S::LANES;
        }
    }
}

impl<const N: usize> TransformTile<'_, N>
where
    ToPoints<N>: Axis<N, POINTS>,
{
    /// Writes all frequencies of a vector of channels.
    ///
    /// # Safety
    /// The pixels lie inside.
    #[inline(always)]
    unsafe fn transform<S: Simd>(&self, simd: S, src: Source<'_>, pixels: Square, channel: usize) {
        // SAFETY: by the contract.
        let columns = unsafe { columns::<S, ToPoints<N>, N, POINTS>(simd, src, pixels) };
        for y in 0..POINTS {
            let row = ToPoints::along(simd, columns[y]);
            for x in 0..POINTS {
                let at = self.start + (y * POINTS + x) * self.stride + channel;
                // SAFETY: the frequencies lie inside and are ours, by the contract of the type.
                unsafe { simd.store_at(row[x], self.dst, at) };
            }
        }
    }
}

/// `count` channels of the pixels of a window, zero in the other lanes and where there is no pixel: `N` x `N`
/// vectors, one after the other.
///
/// # Safety
/// The channels of every pixel of the window lie inside.
#[inline(always)]
unsafe fn copy_window<S: Simd, const N: usize>(
    simd: S,
    src: Source<'_>,
    window: &Window,
    count: usize,
) -> [[f32; MOST_LANES]; FREQUENCIES] {
    let mut pixels = [[0.0; MOST_LANES]; FREQUENCIES];
    let copies = pixels.as_flattened_mut();
    for y in 0..window.height {
        for x in 0..window.width {
            let at = window.place + y * window.row + x * window.pixel;
            // SAFETY: by the contract.
            let pixel = unsafe { simd.load_part_at(src, at, count) };
            simd.store(pixel, &mut copies[(y * N + x) * S::LANES..]);
        }
    }
    pixels
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
        let mut column = 0;
        while column < self.columns {
            let at = self.first + column;
            if column.is_multiple_of(LINE) {
                for y in 0..OUTPUTS {
                    for x in 0..OUTPUTS {
                        let pixel = self.next.place + y * self.next.row + x * self.next.pixel;
                        simd.prefetch_write(self.dst, pixel + at);
                    }
                }
            }
            let square =
                Square { place: self.start + column, row: POINTS * self.stride, column: self.stride };
            // SAFETY: the frequencies lie inside, by the contract.
            let columns = unsafe { columns::<S, Output, POINTS, OUTPUTS>(simd, self.src, square) };
            self.write(simd, &columns, at, self.columns - column);
            column += S::LANES;
        }
    }
}

impl TransformOutput<'_> {
    /// Transforms the rows, and writes `count` columns of the outputs from column `at` on.
    #[inline(always)]
    fn write<S: Simd>(&self, simd: S, columns: &[[S::V; POINTS]; OUTPUTS], at: usize, count: usize) {
        let window = self.window;
        let (mut residual, mut mask) = (window, window);
        let mut how = Finish { bias: self.bias, residual: None, mask: None, relu: self.relu };
        if let Some((map, window)) = self.residual {
            (how.residual, residual) = (Some(map), window);
        }
        if let Some((map, window)) = self.mask {
            (how.mask, mask) = (Some(map), window);
        }
        let mut bias = [simd.zero()];
        if let Some(source) = self.bias {
            // SAFETY: there is a bias for each column, by the contract.
            bias = unsafe { load(simd, source, at, count) };
        }
        for y in 0..OUTPUTS {
            let row = Output::along(simd, columns[y]);
            for x in 0..OUTPUTS {
                if y < window.height && x < window.width {
                    let residual = residual.place + y * residual.row + x * residual.pixel + at;
                    let mask = mask.place + y * mask.row + x * mask.pixel + at;
                    // SAFETY: the columns exist in all maps, by the contract.
                    let out = unsafe { finish(simd, &how, [row[x]], bias, residual, mask, count) };
                    let at = window.place + y * window.row + x * window.pixel + at;
                    // SAFETY: the columns exist and are ours, by the contract.
                    unsafe { store(simd, out, self.dst, at, count) };
                }
            }
        }
    }
}

/// The sums over all tiles that make the nine taps of filters.
///
/// Whoever makes one answers for this: all frequencies of all parts lie inside `sums`.
pub(super) struct Taps<'a> {
    pub(super) sums: Source<'a>,
    /// Where the first frequency of the first part lies, and the floats from a frequency to the next.
    pub(super) start: usize,
    pub(super) stride: usize,
    pub(super) parts: usize,
    /// Floats from a part to the next.
    pub(super) part_stride: usize,
}

impl Taps<'_> {
    /// Adds the parts of the sums at `offset` from the start in their order, and transforms what comes of it.
    #[inline(always)]
    pub(super) fn load<S: Simd>(&self, simd: S, offset: usize) -> [[S::V; 3]; 3] {
        let first = self.start + offset;
        if self.parts == 1 {
            let square = Square { place: first, row: POINTS * self.stride, column: self.stride };
            // SAFETY: the frequencies lie inside, by the contract.
            return unsafe { taps(simd, self.sums, square) };
        }
        let mut sums = [[0.0; MOST_LANES]; FREQUENCIES];
        let total = sums.as_flattened_mut();
        for frequency in 0..FREQUENCIES {
            let mut at = first + frequency * self.stride;
            // SAFETY: the frequencies lie inside, by the contract.
            let mut sum = unsafe { simd.load_at(self.sums, at) };
            for _ in 1..self.parts {
                at += self.part_stride;
                // SAFETY: the frequencies lie inside, by the contract.
                sum = simd.add(sum, unsafe { simd.load_at(self.sums, at) });
            }
            simd.store(sum, &mut total[frequency * S::LANES..]);
        }
        let square = Square { place: 0, row: POINTS * S::LANES, column: S::LANES };
        // SAFETY: there are 6 x 6 vectors.
        unsafe { taps(simd, Source::new(total), square) }
    }
}

/// `Ct m C`
///
/// # Safety
/// The square lies inside.
#[inline(always)]
unsafe fn taps<S: Simd>(simd: S, sums: Source<'_>, square: Square) -> [[S::V; 3]; 3] {
    // SAFETY: by the contract.
    let columns = unsafe { columns::<S, Tap, POINTS, 3>(simd, sums, square) };
    let mut taps = [[simd.zero(); 3]; 3];
    for y in 0..3 {
        taps[y] = Tap::along(simd, columns[y]);
    }
    taps
}
