//! The micro-kernel of the product of bytes: `R` rows (pixels) x `V` vectors (output channels), in registers.
//!
//! ```text
//! acc[R][V] = 0
//! for segment of the window: for each four steps of it:
//!     b[V]   = packed                            one load each
//!     acc[r] += Σ map[row r + segment + 0..4] b  one broadcast each
//! output = finish(acc + bias)
//! ```
//!
//! Registers: 14 x 2 + 2 + 1 of 32 (AVX-512), 6 x 2 + 2 + 1 of 16 (AVX2, where a lane has two sums).

use super::super::tile::Segment;
use super::finish::Finish;
use crate::isa::{ByteKernel, Bytes, Simd, Source};

/// What all tiles of a panel share.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) src: Source<'a, u8>,
    /// Runs of the window, of multiples of four bytes.
    pub(super) segments: &'a [Segment],
    /// The panel of packed weights, `[k / 4][V * LANES][4]`.
    pub(super) weights: Source<'a, u8>,
    /// One for each column of the panel, whether it exists or not.
    pub(super) bias: Source<'a, i32>,
    /// Place of the panel in the multipliers.
    pub(super) constants: usize,
    pub(super) finish: &'a Finish<'a>,
    /// First column, from the place of a row in the output.
    pub(super) column: usize,
    /// Columns that exist, from the first on.
    pub(super) columns: usize,
}

/// The places of a tile's rows in the maps.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) src: &'a [usize],
    pub(super) dst: &'a [usize],
    pub(super) residual: &'a [usize],
}

/// Computes a tile of `R` rows, as a function of its own.
///
/// # Safety
/// That of [`tile`].
#[inline(always)]
pub(super) unsafe fn call_tile<B: Bytes, const R: usize, const V: usize>(
    bytes: B,
    panel: &Panel<'_>,
    rows: Rows<'_>,
) {
    bytes.call(Tile::<R, V> { panel, rows });
}

/// The arguments of [`tile`], which whoever makes one answers for.
struct Tile<'a, const R: usize, const V: usize> {
    panel: &'a Panel<'a>,
    rows: Rows<'a>,
}

impl<const R: usize, const V: usize> ByteKernel for Tile<'_, R, V> {
    type Output = ();

    #[inline(always)]
    fn run<B: Bytes>(self, bytes: B) {
        // SAFETY: by the contract of `call_tile`.
        unsafe { tile::<B, R, V>(bytes, self.panel, self.rows) }
    }
}

/// Computes a tile of `R` rows.
///
/// # Safety
/// All windows, weights and outputs that the arguments name lie inside their buffers, and no other thread touches
/// the outputs.
#[inline(always)]
unsafe fn tile<B: Bytes, const R: usize, const V: usize>(bytes: B, panel: &Panel<'_>, rows: Rows<'_>) {
    let lanes = <B::Floats as Simd>::LANES;
    let src: &[usize; R] = rows.src[..R].try_into().expect("R places");
    // SAFETY: the windows and the weights lie inside, by the contract.
    let acc = unsafe { multiply::<B, R, V>(bytes, panel, src) };
    for v in 0..V {
        let start = v * lanes;
        if start >= panel.columns {
            break;
        }
        // SAFETY: there is a bias for each column of the panel.
        let bias = unsafe { bytes.integers_at(panel.bias, start) };
        // SAFETY: there is a multiplier for each column of the panel.
        let multiplier = unsafe { panel.finish.multiplier(bytes, panel.constants + start) };
        let (column, count) = (panel.column + start, panel.columns - start);
        for r in 0..R {
            let sums = bytes.to_floats(bytes.add_integers(bytes.integers(acc[r][v]), bias));
            let product = bytes.floats().mul(sums, multiplier);
            // SAFETY: the columns exist and are ours, by the contract.
            unsafe {
                panel.finish.store(bytes, product, rows.dst[r] + column, rows.residual[r] + column, count);
            }
        }
    }
}

/// The sums over the window.
///
/// # Safety
/// The windows and the weights lie inside.
#[inline(always)]
unsafe fn multiply<B: Bytes, const R: usize, const V: usize>(
    bytes: B,
    panel: &Panel<'_>,
    rows: &[usize; R],
) -> [[B::Sums; V]; R] {
    let lanes = <B::Floats as Simd>::LANES;
    let mut acc = [[bytes.no_sums(); V]; R];
    let mut weight = 0;
    for segment in panel.segments {
        let mut a = [panel.src; R];
        for r in 0..R {
            // SAFETY: the run lies inside, so its start does.
            a[r] = unsafe { panel.src.skip(rows[r] + segment.offset) };
        }
        let mut k = 0;
        while k < segment.len {
            // SAFETY: four steps are inside the run, and the weights have as many.
            unsafe { acc = step::<B, R, V>(bytes, &a, k, panel.weights, weight, acc) };
            k += 4;
            weight += 4 * V * lanes;
        }
    }
    acc
}

/// Four steps of the sum.
///
/// # Safety
/// The run of each row has steps `k .. k + 4`, and there are `V` vectors of weights at `weight`.
#[inline(always)]
unsafe fn step<B: Bytes, const R: usize, const V: usize>(
    bytes: B,
    a: &[Source<'_, u8>; R],
    k: usize,
    weights: Source<'_, u8>,
    weight: usize,
    mut acc: [[B::Sums; V]; R],
) -> [[B::Sums; V]; R] {
    let lanes = <B::Floats as Simd>::LANES;
    // SAFETY: by the contract.
    let mut b = [unsafe { bytes.weights_at(weights, weight) }; V];
    for v in 1..V {
        // SAFETY: by the contract.
        b[v] = unsafe { bytes.weights_at(weights, weight + 4 * v * lanes) };
    }
    for r in 0..R {
        // SAFETY: by the contract.
        let four = unsafe { bytes.four_at(a[r], k) };
        for v in 0..V {
            acc[r][v] = bytes.dot(acc[r][v], four, b[v]);
        }
    }
    acc
}
