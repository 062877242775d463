//! The register tile of the seven products: some pixels x `V` vectors of output channels, as [`tile`](crate::conv::tile) has
//! it, but it goes on with sums that were kept, keeps them for others, and its columns are whole vectors.

use crate::conv::tile::{Finish, LINE, finish, for_rows, load, step, store};
use crate::isa::{Kernel, Simd, Sink, Source};

/// What becomes of a product.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// It is kept in the memory, from here on.
    Keep(usize),
    /// It is a part of the result.
    Write,
    /// It is added to what is kept at the first place; with what is kept at the second, it is a part of the result.
    WriteAndAdd([usize; 2]),
}

/// What all tiles of a product share. What is kept lies in rows of `V` vectors, one for each pair of pixels.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) left: Source<'a>,
    /// The right factor, `[step][V * LANES]`, and the one that comes next.
    pub(super) weights: Source<'a>,
    pub(super) next: Source<'a>,
    /// Steps of the sum, a multiple of four.
    pub(super) steps: usize,
    pub(super) memory: Sink<'a>,
    /// Where the sums lie that this goes on with.
    pub(super) from: Option<usize>,
    pub(super) end: End,
    /// The map that pixels are fetched from which are read later, and where their channels begin.
    pub(super) later: Source<'a>,
    pub(super) later_shift: usize,
    /// Another map of the size of the output, which is read when all is written.
    pub(super) other: Option<Source<'a>>,
    pub(super) dst: Sink<'a>,
    /// First column, from the place of a pixel in the output.
    pub(super) column: usize,
    /// The result starts here, instead of from the output.
    pub(super) is_first: bool,
    /// The result ends here, so the epilogue is due.
    pub(super) is_last: bool,
    pub(super) finish: Finish<'a>,
}

/// The places of pixels in the maps.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) left: &'a [usize],
    pub(super) later: &'a [usize],
    pub(super) dst: &'a [usize],
    pub(super) residual: &'a [usize],
    pub(super) mask: &'a [usize],
    pub(super) other: &'a [usize],
}

/// A product for all pairs of pixels, by register tiles as even as possible.
///
/// # Safety
/// Pixels, weights, bias values, what is kept and the outputs lie inside their buffers, and no other thread touches the last
/// two.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, const R: usize, const V: usize>(
    simd: S,
    panel: &Panel<'_>,
    rows: Rows<'_>,
) {
    let count = rows.left.len();
    // Single pixels have no lower half.
    if count == 0 {
        return;
    }
    let tiles = count.div_ceil(R);
    let (least, larger) = (count / tiles, count % tiles);
    // Each tile fetches its part of the next panel.
    let lines = (4 * V * S::LANES / LINE).div_ceil(tiles);
    let mut start = 0;
    for index in 0..tiles {
        let height = least + usize::from(index < larger);
        let part = start..start + height;
        let later = rows.later.get(start..).unwrap_or_default();
        let rows = Rows {
            left: &rows.left[part.clone()],
            later: &later[..later.len().min(height)],
            dst: &rows.dst[part.clone()],
            residual: &rows.residual[part.clone()],
            mask: &rows.mask[part.clone()],
            other: &rows.other[part],
        };
        let fetch = index * (panel.steps / 4) * lines * LINE;
        for_rows!(height, R, call::<S, R, V>(simd, panel, rows, start, fetch, lines));
        start += height;
    }
}

/// Computes the tile of the `R` pixels from `start` on, as a function of its own.
///
/// # Safety
/// That of [`multiply`].
#[inline(always)]
unsafe fn call<S: Simd, const R: usize, const V: usize>(
    simd: S,
    panel: &Panel<'_>,
    rows: Rows<'_>,
    start: usize,
    fetch: usize,
    lines: usize,
) {
    simd.call(Tile::<R, V> { panel, rows, kept: start * V * S::LANES, fetch, lines });
}

/// The arguments of a tile, which whoever makes one answers for.
struct Tile<'a, const R: usize, const V: usize> {
    panel: &'a Panel<'a>,
    rows: Rows<'a>,
    /// Where the tile begins in what is kept.
    kept: usize,
    /// From where on the next panel is fetched, and how many lines every four steps.
    fetch: usize,
    lines: usize,
}

impl<const R: usize, const V: usize> Kernel for Tile<'_, R, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut acc = [[simd.zero(); V]; R];
        if let Some(from) = self.panel.from {
            for r in 0..R {
                acc[r] = self.kept(simd, from, r);
            }
        }
        let acc = self.sum(simd, acc);
        match self.panel.end {
            End::Keep(place) => {
                for r in 0..R {
                    self.keep(simd, place, r, acc[r]);
                }
            }
            End::Write => {
                for r in 0..R {
                    self.write(simd, r, acc[r]);
                }
            }
            End::WriteAndAdd([u, v]) => {
                for r in 0..R {
                    self.keep(simd, u, r, add(simd, self.kept(simd, u, r), acc[r]));
                    self.write(simd, r, add(simd, self.kept(simd, v, r), acc[r]));
                }
            }
        }
    }
}

#[inline(always)]
fn add<S: Simd, const V: usize>(simd: S, mut a: [S::V; V], b: [S::V; V]) -> [S::V; V] {
    for v in 0..V {
        a[v] = simd.add(a[v], b[v]);
    }
    a
}

impl<const R: usize, const V: usize> Tile<'_, R, V> {
    /// The sum.
    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "four times the same step")]
    fn sum<S: Simd>(&self, simd: S, mut acc: [[S::V; V]; R]) -> [[S::V; V]; R] {
        let (panel, rows, width) = (self.panel, &self.rows, V * S::LANES);
        let mut a = [panel.left; R];
        for r in 0..R {
            // SAFETY: the pixels lie inside, by the contract.
            a[r] = unsafe { panel.left.skip(rows.left[r]) };
        }
        let writes = !matches!(panel.end, End::Keep(_));
        let lines_of_row = width.div_ceil(LINE);
        let rate = (R * lines_of_row).div_ceil((panel.steps / 8).max(1));
        let (mut weight, mut fetch, mut output) = (0, self.fetch, 0);
        for k in (0..panel.steps).step_by(4) {
            for _ in 0..self.lines {
                simd.prefetch(panel.next, fetch);
                fetch += LINE;
            }
            if writes {
                let end = (output + rate).min(R * lines_of_row);
                for index in output..end {
                    self.fetch_output(simd, index / lines_of_row, index % lines_of_row * LINE);
                }
                output = end;
            }
            if k.is_multiple_of(LINE) {
                for row in rows.later {
                    simd.prefetch_early(panel.later, row + panel.later_shift + k);
                }
            }
            // SAFETY: there are the steps `k .. k + 4`.
            unsafe {
                acc = step::<S, R, V>(simd, &a, k, panel.weights, weight, acc);
                acc = step::<S, R, V>(simd, &a, k + 1, panel.weights, weight + width, acc);
                acc = step::<S, R, V>(simd, &a, k + 2, panel.weights, weight + 2 * width, acc);
                acc = step::<S, R, V>(simd, &a, k + 3, panel.weights, weight + 3 * width, acc);
            }
            weight += 4 * width;
        }
        acc
    }

    /// Fetches a line of the output of pixel `r`, and of what belongs to it.
    #[inline(always)]
    fn fetch_output<S: Simd>(&self, simd: S, r: usize, column: usize) {
        let (panel, rows, column) = (self.panel, &self.rows, self.panel.column + column);
        simd.prefetch_write(panel.dst, rows.dst[r] + column);
        if panel.is_last {
            if let Some(source) = panel.finish.residual {
                simd.prefetch(source, rows.residual[r] + column);
            }
            if let Some(source) = panel.finish.mask {
                simd.prefetch(source, rows.mask[r] + column);
            }
            if let Some(source) = panel.other {
                simd.prefetch_early(source, rows.other[r] + column);
            }
        }
    }

    /// What is kept for pixel `r`.
    #[inline(always)]
    fn kept<S: Simd>(&self, simd: S, place: usize, r: usize) -> [S::V; V] {
        let width = V * S::LANES;
        // SAFETY: it lies inside the memory, by the contract.
        unsafe { load(simd, self.panel.memory.source(), place + self.kept + r * width, width) }
    }

    #[inline(always)]
    fn keep<S: Simd>(&self, simd: S, place: usize, r: usize, sums: [S::V; V]) {
        let width = V * S::LANES;
        // SAFETY: it lies inside the memory and is ours, by the contract.
        unsafe { store(simd, sums, self.panel.memory, place + self.kept + r * width, width) };
    }

    /// Adds a part of the result of pixel `r` to the output, and finishes it where it ends.
    #[inline(always)]
    fn write<S: Simd>(&self, simd: S, r: usize, mut out: [S::V; V]) {
        let (panel, rows, width) = (self.panel, &self.rows, V * S::LANES);
        let at = rows.dst[r] + panel.column;
        if !panel.is_first {
            // SAFETY: the columns exist, by the contract.
            out = add(simd, unsafe { load(simd, panel.dst.source(), at, width) }, out);
        }
        if panel.is_last {
            let bias = match panel.finish.bias {
                // SAFETY: there is a bias for each column, by the contract.
                Some(bias) => unsafe { load(simd, bias, panel.column, width) },
                None => [simd.zero(); V],
            };
            let (residual, mask) = (rows.residual[r] + panel.column, rows.mask[r] + panel.column);
            // SAFETY: the columns exist in all maps, by the contract.
            out = unsafe { finish(simd, &panel.finish, out, bias, residual, mask, width) };
        }
        // SAFETY: the columns exist and are ours, by the contract.
        unsafe { store(simd, out, panel.dst, at, width) };
    }
}
