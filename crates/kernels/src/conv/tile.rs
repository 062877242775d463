//! The micro-kernel of the product: `R` rows (pixels) x `V` vectors (output channels), in registers.
//!
//! ```text
//! acc[R][V] = first chunk ? 0 : output
//! for segment of the chunk: for k in segment:
//!     b[V]   = packed[k]                      one load each
//!     acc[r] += map[row r + segment + k] * b  one broadcast each
//! output = last chunk ? mask(relu(acc + bias + residual)) : acc
//! ```
//!
//! Registers: 6 x 2 + 2 + 1 of 16 (AVX2), at most 14 x 2 + 2 + 1 or 9 x 3 + 3 + 1 of 32 (AVX-512).

use crate::isa::{Kernel, Simd, Sink, Source};

/// A run of contiguous floats in the window of every row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// From the place of the row.
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// What all tiles of a panel share.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) src: Source<'a>,
    /// The map that rows are fetched from which are read later.
    pub(super) later: Source<'a>,
    /// Another map of the size of the output, which is read when all is written.
    pub(super) other: Option<Source<'a>>,
    pub(super) dst: Sink<'a>,
    pub(super) segments: &'a [Segment],
    /// The panel of packed weights, `[k][V * LANES]`.
    pub(super) weights: Source<'a>,
    /// The panel that comes next.
    pub(super) next: Source<'a>,
    /// First column, from the place of a row in the output.
    pub(super) column: usize,
    /// Columns that exist, from the first on; those of the tile that are beyond are computed and dropped.
    pub(super) columns: usize,
    /// The sum starts here, instead of from the output.
    pub(super) is_first: bool,
    /// The sum ends here, so the epilogue is due.
    pub(super) is_last: bool,
    pub(super) finish: Finish<'a>,
}

/// What is done to a finished sum; see [`Epilogue`](super::Epilogue).
#[derive(Clone, Copy, Default)]
pub(super) struct Finish<'a> {
    pub(super) bias: Option<Source<'a>>,
    pub(super) residual: Option<Source<'a>>,
    pub(super) mask: Option<Source<'a>>,
    pub(super) relu: bool,
}

/// The places of a tile's rows in the four maps, and which part of the next panel it fetches.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) src: &'a [usize],
    /// The rows that are read later, where nobody has fetched them yet.
    pub(super) next: &'a [usize],
    pub(super) dst: &'a [usize],
    pub(super) residual: &'a [usize],
    pub(super) mask: &'a [usize],
    pub(super) other: &'a [usize],
    /// The tile's place among those of the panel.
    pub(super) index: usize,
    /// How many tiles the panel has; each fetches its part of the next panel.
    pub(super) count: usize,
}

/// Floats in a cache line.
pub(super) const LINE: usize = 16;

/// Computes a tile of `R` rows, as a function of its own.
///
/// # Safety
/// That of [`tile`].
#[inline(always)]
pub(super) unsafe fn call_tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    panel: &Panel<'_>,
    rows: Rows<'_>,
) {
    simd.call(Tile::<R, V> { panel, rows });
}

/// The arguments of [`tile`], which whoever makes one answers for.
struct Tile<'a, const R: usize, const V: usize> {
    panel: &'a Panel<'a>,
    rows: Rows<'a>,
}

impl<const R: usize, const V: usize> Kernel for Tile<'_, R, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: by the contract of `call_tile`.
        unsafe { tile::<S, R, V>(simd, self.panel, self.rows) }
    }
}

/// Computes a tile of `R` rows.
///
/// # Safety
/// All windows, weights, bias values and outputs that the arguments name lie inside their buffers, and no
/// other thread touches the outputs.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const V: usize>(simd: S, panel: &Panel<'_>, rows: Rows<'_>) {
    let src: &[usize; R] = rows.src[..R].try_into().expect("R places");
    let dst: &[usize; R] = rows.dst[..R].try_into().expect("R places");
    let mut acc = [[simd.zero(); V]; R];
    if !panel.is_first {
        for r in 0..R {
            // SAFETY: the columns exist, by the contract.
            acc[r] = unsafe { load(simd, panel.dst.source(), dst[r] + panel.column, panel.columns) };
        }
    }
    // SAFETY: the windows and the weights lie inside, by the contract.
    let acc = unsafe { multiply::<S, R, V>(simd, panel, src, &rows, acc) };
    // As a constant, no vector has to be looked at; but where registers are scarce, the compiler would not keep sums in them
    // that are written in two places.
    if R * V <= 24 && panel.columns >= V * S::LANES {
        // SAFETY: by the contract.
        unsafe { write::<S, R, V>(simd, panel, &rows, 0, acc, V * S::LANES) };
    } else {
        // SAFETY: by the contract.
        unsafe { write::<S, R, V>(simd, panel, &rows, 0, acc, panel.columns) };
    }
}

/// Finishes the sums of `R` rows, from row `first` on, where they end, and stores their first `columns` columns.
///
/// # Safety
/// That of [`tile`].
#[inline(always)]
pub(super) unsafe fn write<S: Simd, const R: usize, const V: usize>(
    simd: S,
    panel: &Panel<'_>,
    rows: &Rows<'_>,
    first: usize,
    acc: [[S::V; V]; R],
    columns: usize,
) {
    let bias = match (panel.is_last, panel.finish.bias) {
        // SAFETY: there is a bias for each column, by the contract.
        (true, Some(bias)) => unsafe { load(simd, bias, panel.column, columns) },
        _ => [simd.zero(); V],
    };
    for r in 0..R {
        let mut out = acc[r];
        if panel.is_last {
            let [residual, mask] = [rows.residual, rows.mask].map(|places| places[first + r] + panel.column);
            // SAFETY: the columns exist in all maps, by the contract.
            out = unsafe { finish(simd, &panel.finish, out, bias, residual, mask, columns) };
        }
        // SAFETY: the columns exist and are ours, by the contract.
        unsafe { store(simd, out, panel.dst, rows.dst[first + r] + panel.column, columns) };
    }
}

/// `mask(relu(out + bias + residual))`, of the first `columns` columns.
///
/// # Safety
/// The columns lie inside the residual and the mask, from the places given.
#[inline(always)]
pub(super) unsafe fn finish<S: Simd, const V: usize>(
    simd: S,
    how: &Finish<'_>,
    mut out: [S::V; V],
    bias: [S::V; V],
    residual: usize,
    mask: usize,
    columns: usize,
) -> [S::V; V] {
    for v in 0..V {
        out[v] = simd.add(out[v], bias[v]);
    }
    if let Some(source) = how.residual {
        // SAFETY: by the contract.
        let other: [S::V; V] = unsafe { load(simd, source, residual, columns) };
        for v in 0..V {
            out[v] = simd.add(out[v], other[v]);
        }
    }
    if how.relu {
        for v in 0..V {
            out[v] = simd.relu(out[v]);
        }
    }
    if let Some(source) = how.mask {
        // SAFETY: by the contract.
        let mask: [S::V; V] = unsafe { load(simd, source, mask, columns) };
        for v in 0..V {
            out[v] = simd.select_gt(mask[v], simd.zero(), out[v], simd.zero());
        }
    }
    out
}

/// The lines of a tile's outputs, and of what is added to them or masks them, which are fetched while the sum is computed:
/// a few at a time, for as many as there are at once would hold up the loads of the sum.
struct Outputs<const R: usize, const V: usize> {
    next: usize,
    /// Lines every four steps.
    rate: usize,
    /// Lines of a row.
    width: usize,
}

impl<const R: usize, const V: usize> Outputs<R, V> {
    #[inline(always)]
    fn new<S: Simd>(depth: usize) -> Self {
        let width = (V * S::LANES).div_ceil(LINE);
        // All of them in the first half of the sum.
        Self { next: 0, rate: (R * width).div_ceil((depth / 8).max(1)), width }
    }

    #[inline(always)]
    fn fetch<S: Simd>(&mut self, simd: S, panel: &Panel<'_>, rows: &Rows<'_>) {
        let end = (self.next + self.rate).min(R * self.width);
        for index in self.next..end {
            let (r, column) = (index / self.width, panel.column + index % self.width * LINE);
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
        self.next = end;
    }
}

/// The sum over one chunk.
///
/// # Safety
/// The windows and the weights lie inside.
#[inline(always)]
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "four times the same step")]
unsafe fn multiply<S: Simd, const R: usize, const V: usize>(
    simd: S,
    panel: &Panel<'_>,
    src: &[usize; R],
    rows: &Rows<'_>,
    mut acc: [[S::V; V]; R],
) -> [[S::V; V]; R] {
    let width = V * S::LANES;
    let mut weight = 0;
    // The tile's part of the next panel, some lines every four steps. All tiles have a part: memory is not fast enough for
    // a few of them to bring the panel.
    let depth: usize = panel.segments.iter().map(|segment| segment.len).sum();
    let fetch_step = (4 * width / LINE).div_ceil(rows.count.max(1)) * LINE;
    let mut fetch = (rows.index * (depth / 4) * fetch_step).min(depth * width);
    let mut outputs = Outputs::<R, V>::new::<S>(depth);
    for segment in panel.segments {
        let mut a = [panel.src; R];
        for r in 0..R {
            // SAFETY: the run lies inside, so its start does.
            a[r] = unsafe { panel.src.skip(src[r] + segment.offset) };
        }
        let mut k = 0;
        while k + 4 <= segment.len {
            for line in (0..fetch_step).step_by(LINE) {
                simd.prefetch(panel.next, fetch + line);
            }
            fetch += fetch_step;
            outputs.fetch(simd, panel, rows);
            if k.is_multiple_of(LINE) {
                for row in rows.next {
                    simd.prefetch(panel.later, row + segment.offset + k);
                }
            }
            // SAFETY: the steps `k .. k + 4` are inside the run, and the weights have as many.
            unsafe {
                acc = step::<S, R, V>(simd, &a, k, panel.weights, weight, acc);
                acc = step::<S, R, V>(simd, &a, k + 1, panel.weights, weight + width, acc);
                acc = step::<S, R, V>(simd, &a, k + 2, panel.weights, weight + 2 * width, acc);
                acc = step::<S, R, V>(simd, &a, k + 3, panel.weights, weight + 3 * width, acc);
            }
            k += 4;
            weight += 4 * width;
        }
        while k < segment.len {
            // SAFETY: step `k` is inside the run, and the weights have as many.
            acc = unsafe { step::<S, R, V>(simd, &a, k, panel.weights, weight, acc) };
            k += 1;
            weight += width;
        }
    }
    acc
}

/// One step of the sum.
///
/// # Safety
/// The run of each row has a step `k`, and there is a vector of weights at `weight`.
#[inline(always)]
pub(super) unsafe fn step<S: Simd, const R: usize, const V: usize>(
    simd: S,
    a: &[Source<'_>; R],
    k: usize,
    weights: Source<'_>,
    weight: usize,
    mut acc: [[S::V; V]; R],
) -> [[S::V; V]; R] {
    let mut b = [simd.zero(); V];
    for v in 0..V {
        // SAFETY: by the contract.
        b[v] = unsafe { simd.load_at(weights, weight + v * S::LANES) };
    }
    for r in 0..R {
        // SAFETY: by the contract.
        let x = unsafe { simd.splat_at(a[r], k) };
        for v in 0..V {
            acc[r][v] = simd.fma(x, b[v], acc[r][v]);
        }
    }
    acc
}

/// Loads the first `columns` floats from `offset` on, zero beyond.
///
/// # Safety
/// They lie inside.
#[inline(always)]
pub(super) unsafe fn load<S: Simd, const V: usize>(
    simd: S,
    src: Source<'_>,
    offset: usize,
    columns: usize,
) -> [S::V; V] {
    let mut vectors = [simd.zero(); V];
    for v in 0..V {
        let start = v * S::LANES;
        if start + S::LANES <= columns {
            // SAFETY: by the contract.
            vectors[v] = unsafe { simd.load_at(src, offset + start) };
        } else if start < columns {
            // SAFETY: by the contract.
            vectors[v] = unsafe { simd.load_part_at(src, offset + start, columns - start) };
        }
    }
    vectors
}

/// Stores the first `columns` floats from `offset` on.
///
/// # Safety
/// They lie inside, and no other thread touches them.
#[inline(always)]
pub(super) unsafe fn store<S: Simd, const V: usize>(
    simd: S,
    vectors: [S::V; V],
    dst: Sink<'_>,
    offset: usize,
    columns: usize,
) {
    for v in 0..V {
        let start = v * S::LANES;
        if start + S::LANES <= columns {
            // SAFETY: by the contract.
            unsafe { simd.store_at(vectors[v], dst, offset + start) };
        } else if start < columns {
            // SAFETY: by the contract.
            unsafe { simd.store_part_at(vectors[v], dst, offset + start, columns - start) };
        }
    }
}

/// Whether a tile of `R` rows is one of those of at most `MAX` rows. As a constant, it keeps the compiler from
/// making the others.
pub(super) struct Fits<const R: usize, const MAX: usize>;

impl<const R: usize, const MAX: usize> Fits<R, MAX> {
    pub(super) const YES: bool = R <= MAX;
}

/// Calls `$function::<S, R, V>($arguments)` with `R` equal to `$rows`, which is from 1 to `$max` and at most 14.
macro_rules! for_rows {
    ($rows:expr, $max:ident, $function:ident::<$s:ty, R, $v:ident>($($argument:expr),*)) => {
        $crate::conv::tile::for_rows!(@ $rows, $max, $function, $s, $v, ($($argument),*),
            1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    (@ $rows:expr, $max:ident, $function:ident, $s:ty, $v:ident, $arguments:tt, $($r:literal)*) => {
        match $rows {
            $($r if $crate::conv::tile::Fits::<$r, $max>::YES => {
                $crate::conv::tile::for_rows!(@ call $function, $s, $r, $v, $arguments)
            })*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
    (@ call $function:ident, $s:ty, $r:literal, $v:ident, ($($argument:expr),*)) => {
        // SAFETY: that of the caller of the macro.
        unsafe { $function::<$s, $r, $v>($($argument),*) }
    };
}
pub(super) use for_rows;

/// Evaluates a call with the rows and vectors of a register tile as constants. It is compiled for the tiles of an instruction set,
/// but for those that leave out zeros.
macro_rules! by_tile {
    ($tile:expr, $s:ty, |$r:ident, $v:ident| $call:expr) => {
        if <$s>::IS_WIDE {
            $crate::conv::tile::by_tile!(@ $tile, $r, $v, $call,
                R14V1 14 1, R14V2 14 2, R9V3 9 3; 6 4)
        } else {
            $crate::conv::tile::by_tile!(@ $tile, $r, $v, $call, R12V1 12 1; 6 2)
        }
    };
    (@ $tile:expr, $r:ident, $v:ident, $call:expr,
        $($name:ident $rows:literal $vectors:literal),*; $other_rows:literal $other_vectors:literal) => {
        match $tile {
            $($crate::conv::choose::Tile::$name => {
                const $r: usize = $rows;
                const $v: usize = $vectors;
                $call
            })*
            _ => {
                const $r: usize = $other_rows;
                const $v: usize = $other_vectors;
                $call
            }
        }
    };
}
pub(super) use by_tile;
