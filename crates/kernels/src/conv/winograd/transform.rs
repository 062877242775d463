//! The transforms of maps along both axes: vectors of channels from memory to memory.

use super::axis::{Axis, MOST_FREQUENCIES, Output, POINTS, Tap, ToPoints};
use super::form::{CELL, Phase};
use crate::conv::normalize::{Affine, AffineOf};
use crate::conv::tile::{Finish, LINE, finish, load, store};
use crate::isa::{Kernel, MOST_LANES, Simd, Sink, Source};
use std::marker::PhantomData;
use std::ops::Range;

/// A square of vectors in memory: where the first lies, and the floats from a row and from a column to the next.
#[derive(Clone, Copy)]
struct Square {
    place: usize,
    row: usize,
    column: usize,
}

/// A norm of a square of vectors.
#[derive(Clone, Copy)]
struct Norm<S: Simd, const N: usize> {
    affine: AffineOf<S>,
    /// Where a part of the square lies in the border of the map.
    edge: Option<Edge<S, N>>,
}

/// What is added to the vectors of a square. The border holds zeros, and what is not shifted there stays zero.
#[derive(Clone, Copy)]
struct Edge<S: Simd, const N: usize> {
    /// Columns that lie inside the map.
    start: usize,
    end: usize,
    /// The shifts of all rows of a column inside, and of one outside.
    shifts: [[S::V; N]; 2],
}

impl<S: Simd, const N: usize> Norm<S, N> {
    /// That of a square inside the map.
    #[inline(always)]
    fn inside(affine: AffineOf<S>) -> Self {
        Self { affine, edge: None }
    }

    /// That of a square of which these rows and columns lie inside.
    #[inline(always)]
    fn at_edge(simd: S, affine: AffineOf<S>, [rows, columns]: &[Range<usize>; 2]) -> Self {
        let mut shifts = [[simd.zero(); N]; 2];
        for y in 0..N {
            if rows.contains(&y) {
                shifts[0][y] = affine.shift();
            }
        }
        Self { affine, edge: Some(Edge { start: columns.start, end: columns.end, shifts }) }
    }

    /// What becomes of a vector.
    #[inline(always)]
    fn of(&self, simd: S, pixel: S::V, y: usize, x: usize) -> S::V {
        match &self.edge {
            None => self.affine.of(simd, pixel),
            Some(Edge { start, end, shifts }) => {
                self.affine.of_shifted(simd, pixel, shifts[usize::from(x < *start || x >= *end)][y])
            }
        }
    }
}

/// A transform of each column of a square: the first half of one along both axes. What comes of it stays in
/// registers, as far as there are any.
///
/// Of the rows and columns that are `MISSING`, see [`missing`], the following ones take the place. The vectors are normalised
/// first where there is a norm.
///
/// # Safety
/// The vectors lie inside.
#[inline(always)]
unsafe fn columns<S: Simd, T: Axis<FROM, TO>, const FROM: usize, const TO: usize, const MISSING: usize>(
    simd: S,
    src: Source<'_>,
    square: Square,
    norm: Option<Norm<S, FROM>>,
) -> [[S::V; FROM]; TO] {
    let (above, left) = (MISSING / 2, MISSING % 2);
    let mut columns = [[simd.zero(); FROM]; TO];
    for x in 0..FROM {
        let mut column = [simd.zero(); FROM];
        for y in 0..FROM {
            // SAFETY: by the contract.
            column[y] = unsafe {
                let (y, x) = (y.saturating_sub(above), x.saturating_sub(left));
                simd.load_at(src, square.place + y * square.row + x * square.column)
            };
            if let Some(norm) = norm {
                column[y] = norm.of(simd, column[y], y, x);
            }
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

/// What a phase of cells misses, as a constant: its pixels in the first row of cells (2) and in the first column (1). These
/// would reach the products at the point 0 only, which the phase does not have.
pub(super) const fn missing(phase: Phase) -> usize {
    2 * (!phase[0]) as usize + (!phase[1]) as usize
}

/// What is done to the pixels of a tile first.
pub(super) struct Normalized<'a> {
    /// From the first channel on.
    pub(super) by: Affine<'a>,
    /// The rows and columns of the window that lie inside the map; the others are zero.
    pub(super) inside: [Range<usize>; 2],
}

impl Normalized<'_> {
    /// The rows and columns of a window, unless it lies inside the map as a whole.
    #[inline(always)]
    fn edge(&self, window: &Window) -> Option<&[Range<usize>; 2]> {
        (self.inside != [0..window.height, 0..window.width]).then_some(&self.inside)
    }
}

/// Transforms all channels of a tile of at most `N` x `N` pixels to `P` points along each axis: of an input where the two are
/// equal, of a gradient where `N` is 4. Pixels beyond the window and channels beyond the last are zero; what is
/// `MISSING` before it, see [`missing`], is anything.
///
/// Whoever makes one answers for this: the channels of every pixel of the window lie inside `src`, all
/// frequencies lie inside `dst`, and no other thread touches them.
pub(super) struct TransformTile<'a, T, const N: usize, const P: usize, const MISSING: usize> {
    /// The transform along each axis.
    pub(super) to: PhantomData<T>,
    pub(super) src: Source<'a>,
    /// Where inputs of windows of 3 x 3 with stride 1 are normalised first.
    pub(super) norm: Option<Normalized<'a>>,
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

impl<T: Axis<N, P>, const N: usize, const P: usize, const MISSING: usize> Kernel
    for TransformTile<'_, T, N, P, MISSING>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match &self.norm {
            // As a constant, it keeps the compiler from making the others.
            Some(norm) if N == POINTS && P == POINTS => self.run_with(simd, Some(norm)),
            _ => self.run_with(simd, None),
        }
    }
}

impl<T: Axis<N, P>, const N: usize, const P: usize, const MISSING: usize>
    TransformTile<'_, T, N, P, MISSING>
{
    #[inline(always)]
    fn run_with<S: Simd>(&self, simd: S, norm: Option<&Normalized<'_>>) {
        let (height, width) = (N - MISSING / 2, N - MISSING % 2);
        let edge = norm.and_then(|norm| norm.edge(&self.window));
        let mut channel = 0;
        while channel < self.row {
            if channel.is_multiple_of(LINE) && channel < self.channels {
                for y in 0..height {
                    for x in 0..width {
                        let pixel = self.next.place + y * self.next.row + x * self.next.pixel;
                        simd.prefetch(self.src, pixel + channel);
                    }
                }
            }
            let window = self.window.shifted(channel);
            let count = self.channels.saturating_sub(channel);
            let mut affine = None;
            if let Some(norm) = norm {
                // SAFETY: there is a scale and a shift for every channel, by the contract.
                affine = Some(unsafe { norm.by.at(simd, channel, count) });
            }
            if (window.height, window.width) == (height, width) && count >= S::LANES {
                let square = Square { place: window.place, row: window.row, column: window.pixel };
                // Each call is compiled for its kind of norm.
                match (affine, edge) {
                    (None, _) => {
                        // SAFETY: the channels lie inside, by the contract.
                        unsafe { self.transform(simd, self.src, square, channel, None) };
                    }
                    (Some(affine), None) => {
                        let norm = Some(Norm::inside(affine));
                        // SAFETY: the same.
                        unsafe { self.transform(simd, self.src, square, channel, norm) };
                    }
                    (Some(affine), Some(edge)) => {
                        let norm = Some(Norm::at_edge(simd, affine, edge));
                        // SAFETY: the same.
                        unsafe { self.transform(simd, self.src, square, channel, norm) };
                    }
                }
            } else {
                let inside = norm.zip(affine).map(|(norm, affine)| (&norm.inside, affine));
                // SAFETY: the channels lie inside, by the contract.
                let pixels = unsafe { copy_window::<S, N>(simd, self.src, &window, count, inside) };
                let square = Square { place: 0, row: N * S::LANES, column: S::LANES };
                // SAFETY: there are `N` x `N` vectors of pixels.
                unsafe { self.transform(simd, Source::new(pixels.as_flattened()), square, channel, None) };
            }
            channel += S::LANES;
        }
    }

    /// Writes all frequencies of a vector of channels.
    ///
    /// # Safety
    /// The pixels lie inside.
    #[inline(always)]
    unsafe fn transform<S: Simd>(
        &self,
        simd: S,
        src: Source<'_>,
        pixels: Square,
        channel: usize,
        norm: Option<Norm<S, N>>,
    ) {
        // SAFETY: by the contract.
        let columns = unsafe { columns::<S, T, N, P, MISSING>(simd, src, pixels, norm) };
        // SAFETY: the frequencies lie inside and are ours, by the contract of the type.
        unsafe { write_points::<S, T, N, P>(simd, &columns, self.dst, self.start + channel, self.stride) };
    }
}

/// Transforms the rows of a square whose columns have been, and writes a vector for each frequency.
///
/// # Safety
/// The frequencies lie inside, and no other thread touches them.
#[inline(always)]
unsafe fn write_points<S: Simd, T: Axis<N, P>, const N: usize, const P: usize>(
    simd: S,
    columns: &[[S::V; N]; P],
    dst: Sink<'_>,
    start: usize,
    stride: usize,
) {
    for y in 0..P {
        let row: [S::V; P] = T::along(simd, columns[y]);
        for x in 0..P {
            // SAFETY: by the contract.
            unsafe { simd.store_at(row[x], dst, start + (y * P + x) * stride) };
        }
    }
}

/// `count` channels of the pixels of a window, zero in the other lanes and where there is no pixel: `N` x `N`
/// vectors, one after the other. Where there is a norm, those of some rows and columns, normalised.
///
/// # Safety
/// The channels of every pixel of the window lie inside.
#[inline(always)]
unsafe fn copy_window<S: Simd, const N: usize>(
    simd: S,
    src: Source<'_>,
    window: &Window,
    count: usize,
    norm: Option<(&[Range<usize>; 2], AffineOf<S>)>,
) -> [[f32; MOST_LANES]; MOST_FREQUENCIES] {
    let mut pixels = [[0.0; MOST_LANES]; MOST_FREQUENCIES];
    let copies = pixels.as_flattened_mut();
    let (rows, columns) = match norm {
        Some(([rows, columns], _)) => (rows.clone(), columns.clone()),
        None => (0..window.height, 0..window.width),
    };
    for y in rows {
        for x in columns.clone() {
            let at = window.place + y * window.row + x * window.pixel;
            // SAFETY: by the contract.
            let mut pixel = unsafe { simd.load_part_at(src, at, count) };
            if let Some((_, affine)) = norm {
                pixel = affine.of(simd, pixel);
            }
            simd.store(pixel, &mut copies[(y * N + x) * S::LANES..]);
        }
    }
    pixels
}

/// Transforms a tile of at most `P` x `P` cells whose phases share a vector, see [`Form::SmallCells`](super::form::Form).
///
/// Whoever makes one answers for this: the channels of every pixel of the window lie inside `src`, all
/// frequencies lie inside `dst`, and no other thread touches them.
pub(super) struct TransformCells<'a, const P: usize> {
    pub(super) src: Source<'a>,
    /// The pixels from the first row and column of odd phases on.
    pub(super) window: Window,
    pub(super) channels: usize,
    pub(super) dst: Sink<'a>,
    /// Where the first frequency of the tile begins, and the floats from a frequency to the next.
    pub(super) start: usize,
    pub(super) stride: usize,
}

impl<const P: usize> Kernel for TransformCells<'_, P>
where
    ToPoints<P>: Axis<P, P>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut cells = [[0.0; CELL]; MOST_FREQUENCIES + MOST_LANES / CELL];
        for y in 0..P {
            for x in 0..P {
                for (row, first) in [(2 * y, 0), ((2 * y).wrapping_sub(1), 2)] {
                    // The even phase has no pixels in the first cells.
                    if row < self.window.height {
                        let at = (y * P + x) * CELL + first * self.channels;
                        self.copy_pair(simd, row, x, &mut cells.as_flattened_mut()[at..]);
                    }
                }
            }
        }
        let cells = Source::new(cells.as_flattened());
        for channel in (0..CELL).step_by(S::LANES) {
            let square = Square { place: channel, row: P * CELL, column: CELL };
            // SAFETY: there are `P` x `P` cells.
            let columns: [[S::V; P]; P] =
                unsafe { columns::<S, ToPoints<P>, P, P, 0>(simd, cells, square, None) };
            // SAFETY: the frequencies lie inside and are ours, by the contract of the type.
            unsafe {
                write_points::<S, ToPoints<P>, P, P>(
                    simd,
                    &columns,
                    self.dst,
                    self.start + channel,
                    self.stride,
                );
            }
        }
    }
}

impl<const P: usize> TransformCells<'_, P> {
    /// Copies the pixels that a row has in a cell, the even phase and the odd one, as far as they exist. Zeros are written
    /// beyond them, into a cell that follows.
    #[inline(always)]
    fn copy_pair<S: Simd>(&self, simd: S, row: usize, x: usize, cell: &mut [f32]) {
        let Window { place, pixel, width, .. } = self.window;
        let (start, channels) = (place + row * self.window.row, self.channels);
        let even = (2 * x).wrapping_sub(1);
        if x > 0 && 2 * x < width && pixel == channels {
            // SAFETY: the window has both pixels, by the contract.
            simd.store(unsafe { simd.load_part_at(self.src, start + even * pixel, 2 * channels) }, cell);
            return;
        }
        if even < width {
            // SAFETY: the window has the pixel, by the contract.
            simd.store(unsafe { simd.load_part_at(self.src, start + even * pixel, channels) }, cell);
        }
        if 2 * x < width {
            let at = start + 2 * x * pixel;
            // SAFETY: the window has the pixel, by the contract.
            simd.store(unsafe { simd.load_part_at(self.src, at, channels) }, &mut cell[channels..]);
        }
    }
}

/// Transforms the products of a tile, `P` x `P` of them, into `M` x `M` outputs, and finishes them.
///
/// Whoever makes one answers for this: the frequencies lie inside `src` in whole vectors, the columns of every
/// pixel lie inside the maps, and no other thread touches those of `dst`.
pub(super) struct TransformOutput<'a, const P: usize, const M: usize> {
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

impl<const P: usize, const M: usize> Kernel for TransformOutput<'_, P, M>
where
    Output: Axis<P, M>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut column = 0;
        while column < self.columns {
            let at = self.first + column;
            if column.is_multiple_of(LINE) {
                for y in 0..M {
                    for x in 0..M {
                        let pixel = self.next.place + y * self.next.row + x * self.next.pixel;
                        simd.prefetch_write(self.dst, pixel + at);
                    }
                }
            }
            let square = Square { place: self.start + column, row: P * self.stride, column: self.stride };
            // SAFETY: the frequencies lie inside, by the contract.
            let columns = unsafe { columns::<S, Output, P, M, 0>(simd, self.src, square, None) };
            self.write(simd, &columns, at, self.columns - column);
            column += S::LANES;
        }
    }
}

impl<const P: usize, const M: usize> TransformOutput<'_, P, M>
where
    Output: Axis<P, M>,
{
    /// Transforms the rows, and writes `count` columns of the outputs from column `at` on.
    #[inline(always)]
    fn write<S: Simd>(&self, simd: S, columns: &[[S::V; P]; M], at: usize, count: usize) {
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
        for y in 0..M {
            let row: [S::V; M] = Output::along(simd, columns[y]);
            for x in 0..M {
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

/// The sums over all tiles that make the taps of filters.
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
    pub(super) fn load<S: Simd, const P: usize, const R: usize>(
        &self,
        simd: S,
        offset: usize,
    ) -> [[S::V; R]; R]
    where
        Tap: Axis<P, R>,
    {
        let first = self.start + offset;
        if self.parts == 1 {
            let square = Square { place: first, row: P * self.stride, column: self.stride };
            // SAFETY: the frequencies lie inside, by the contract.
            return unsafe { taps(simd, self.sums, square) };
        }
        let mut sums = [[0.0; MOST_LANES]; MOST_FREQUENCIES];
        let total = sums.as_flattened_mut();
        for frequency in 0..P * P {
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
        let square = Square { place: 0, row: P * S::LANES, column: S::LANES };
        // SAFETY: there are `P` x `P` vectors.
        unsafe { taps(simd, Source::new(total), square) }
    }
}

/// `Ct m C`
///
/// # Safety
/// The square lies inside.
#[inline(always)]
unsafe fn taps<S: Simd, const P: usize, const R: usize>(
    simd: S,
    sums: Source<'_>,
    square: Square,
) -> [[S::V; R]; R]
where
    Tap: Axis<P, R>,
{
    // SAFETY: by the contract.
    let columns = unsafe { columns::<S, Tap, P, R, 0>(simd, sums, square, None) };
    let mut taps = [[simd.zero(); R]; R];
    for y in 0..R {
        taps[y] = Tap::along(simd, columns[y]);
    }
    taps
}
