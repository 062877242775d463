//! The micro-kernel of the gradient of the weights: a sum of outer products, `R` channels of `x` times `V`
//! vectors of channels of `dy`, pixel by pixel, in registers.

use super::tile::{LINE, load};
use crate::isa::{Kernel, Simd, Sink, Source};

/// Pixels at equal distances in both operands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    pub(super) x: usize,
    pub(super) dy: usize,
    pub(super) count: usize,
}

/// What the tiles of a block share.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) x: Source<'a>,
    pub(super) dy: Source<'a>,
    pub(super) runs: &'a [Run],
    /// Sums, `[row][column]`.
    pub(super) sums: Sink<'a>,
    pub(super) sums_stride: usize,
    /// The sums start here, instead of from what is there.
    pub(super) is_first: bool,
}

/// Where a tile lies: from the places of the runs, and in the sums.
#[derive(Clone, Copy)]
pub(super) struct Corner {
    pub(super) x: usize,
    pub(super) dy: usize,
    pub(super) sums: usize,
    /// From a pixel of a run to the next.
    pub(super) x_step: usize,
    pub(super) dy_step: usize,
}

/// Adds the outer products of all pixels of the runs to a tile of sums, in a function of its own.
///
/// # Safety
/// That of [`outer_tile`].
#[inline(always)]
pub(super) unsafe fn call_outer_tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    operands: &Operands<'_>,
    corner: Corner,
) {
    simd.call(OuterTile::<R, V> { operands, corner });
}

/// The arguments of [`outer_tile`], which whoever makes one answers for.
struct OuterTile<'a, const R: usize, const V: usize> {
    operands: &'a Operands<'a>,
    corner: Corner,
}

impl<const R: usize, const V: usize> Kernel for OuterTile<'_, R, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: by the contract of `call_outer_tile`.
        unsafe { outer_tile::<S, R, V>(simd, self.operands, self.corner) }
    }
}

/// Adds the outer products of all pixels of the runs to a tile of sums.
///
/// # Safety
/// At every pixel `R` floats of `x` and `V` vectors of `dy` lie inside; so does the tile of sums, and no
/// other thread touches it.
#[inline(always)]
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "four times the same step")]
unsafe fn outer_tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    operands: &Operands<'_>,
    corner: Corner,
) {
    let width = V * S::LANES;
    let mut acc = [[simd.zero(); V]; R];
    for r in 0..R {
        for line in 0..width.div_ceil(LINE) {
            simd.prefetch_write(operands.sums, corner.sums + r * operands.sums_stride + line * LINE);
        }
    }
    for run in operands.runs {
        let (mut x, mut dy) = (run.x + corner.x, run.dy + corner.dy);
        for _ in 0..run.count / 4 {
            // SAFETY: the pixels lie inside, by the contract.
            unsafe {
                acc = step::<S, R, V>(simd, operands, x, dy, acc);
                acc = step::<S, R, V>(simd, operands, x + corner.x_step, dy + corner.dy_step, acc);
                acc = step::<S, R, V>(simd, operands, x + 2 * corner.x_step, dy + 2 * corner.dy_step, acc);
                acc = step::<S, R, V>(simd, operands, x + 3 * corner.x_step, dy + 3 * corner.dy_step, acc);
            }
            x += 4 * corner.x_step;
            dy += 4 * corner.dy_step;
        }
        for _ in 0..run.count % 4 {
            // SAFETY: the pixel lies inside, by the contract.
            acc = unsafe { step::<S, R, V>(simd, operands, x, dy, acc) };
            x += corner.x_step;
            dy += corner.dy_step;
        }
    }
    for r in 0..R {
        let at = corner.sums + r * operands.sums_stride;
        if !operands.is_first {
            // SAFETY: the tile of sums lies inside, by the contract.
            let before: [S::V; V] = unsafe { load(simd, operands.sums.source(), at, width) };
            for v in 0..V {
                acc[r][v] = simd.add(before[v], acc[r][v]);
            }
        }
        for v in 0..V {
            // SAFETY: the tile of sums lies inside and is ours, by the contract.
            unsafe { simd.store_at(acc[r][v], operands.sums, at + v * S::LANES) };
        }
    }
}

/// One pixel.
///
/// # Safety
/// `R` floats of `x` and `V` vectors of `dy` lie inside.
#[inline(always)]
unsafe fn step<S: Simd, const R: usize, const V: usize>(
    simd: S,
    operands: &Operands<'_>,
    x: usize,
    dy: usize,
    mut acc: [[S::V; V]; R],
) -> [[S::V; V]; R] {
    let mut b = [simd.zero(); V];
    for v in 0..V {
        // SAFETY: by the contract.
        b[v] = unsafe { simd.load_at(operands.dy, dy + v * S::LANES) };
    }
    for r in 0..R {
        // SAFETY: by the contract.
        let a = unsafe { simd.splat_at(operands.x, x + r) };
        for v in 0..V {
            acc[r][v] = simd.fma(a, b[v], acc[r][v]);
        }
    }
    acc
}
