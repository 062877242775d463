//! The micro-kernel: a sum of outer products, `R` channels of one map times `V` vectors of channels of the other, pixel by
//! pixel, in registers.

use crate::conv::tile::{LINE, load};
use crate::isa::{Kernel, Simd, Sink, Source};

/// Pixels at equal distances in both operands.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::conv) struct Run {
    pub(in crate::conv) left: usize,
    pub(in crate::conv) right: usize,
    pub(in crate::conv) count: usize,
}

/// What the tiles of a block share.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Operands<'a> {
    /// The map whose channels are the rows of the sums.
    pub(in crate::conv) left: Source<'a>,
    /// The one whose channels are the columns.
    pub(in crate::conv) right: Source<'a>,
    pub(in crate::conv) runs: &'a [Run],
    /// Sums, `[row][column]`.
    pub(in crate::conv) sums: Sink<'a>,
    pub(in crate::conv) sums_stride: usize,
    /// The sums start here, instead of from what is there.
    pub(in crate::conv) is_first: bool,
}

/// Where a tile lies: from the places of the runs, and in the sums.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Corner {
    pub(in crate::conv) left: usize,
    pub(in crate::conv) right: usize,
    pub(in crate::conv) sums: usize,
    /// From a pixel of a run to the next, in both operands.
    pub(in crate::conv) steps: [usize; 2],
    /// How far from each pixel of the left operand lies one that is fetched for later; none where it is zero.
    pub(in crate::conv) later: usize,
}

/// Adds the outer products of all pixels of the runs to a tile of sums, in a function of its own.
///
/// # Safety
/// That of [`outer_tile`].
#[inline(always)]
pub(in crate::conv) unsafe fn call_outer_tile<S: Simd, const R: usize, const V: usize>(
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
/// At every pixel `R` floats of the left operand and `V` vectors of the right one lie inside; so does the tile of sums, and
/// no other thread touches it.
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
    let [left_step, right_step] = corner.steps;
    for run in operands.runs {
        let (mut left, mut right) = (run.left + corner.left, run.right + corner.right);
        for _ in 0..run.count / 4 {
            if corner.later > 0 {
                for k in 0..4 {
                    simd.prefetch_early(operands.left, left + k * left_step + corner.later);
                }
            }
            // SAFETY: the pixels lie inside, by the contract.
            unsafe {
                acc = step::<S, R, V>(simd, operands, left, right, acc);
                acc = step::<S, R, V>(simd, operands, left + left_step, right + right_step, acc);
                acc = step::<S, R, V>(simd, operands, left + 2 * left_step, right + 2 * right_step, acc);
                acc = step::<S, R, V>(simd, operands, left + 3 * left_step, right + 3 * right_step, acc);
            }
            left += 4 * left_step;
            right += 4 * right_step;
        }
        for _ in 0..run.count % 4 {
            // SAFETY: the pixel lies inside, by the contract.
            acc = unsafe { step::<S, R, V>(simd, operands, left, right, acc) };
            left += left_step;
            right += right_step;
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
/// `R` floats of the left operand and `V` vectors of the right one lie inside.
#[inline(always)]
unsafe fn step<S: Simd, const R: usize, const V: usize>(
    simd: S,
    operands: &Operands<'_>,
    left: usize,
    right: usize,
    mut acc: [[S::V; V]; R],
) -> [[S::V; V]; R] {
    let mut b = [simd.zero(); V];
    for v in 0..V {
        // SAFETY: by the contract.
        b[v] = unsafe { simd.load_at(operands.right, right + v * S::LANES) };
    }
    for r in 0..R {
        // SAFETY: by the contract.
        let a = unsafe { simd.splat_at(operands.left, left + r) };
        for v in 0..V {
            acc[r][v] = simd.fma(a, b[v], acc[r][v]);
        }
    }
    acc
}
