//! The operations that a kernel is written in.

use super::{Sink, Source};

/// A loop nest whose arguments are its fields; see the module above.
pub(crate) trait Kernel {
    /// What the kernel returns.
    type Output;

    /// The body; implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Vectors of `LANES` floats. A value of an implementing type proves that the CPU has the instructions.
///
/// Methods that end in `_at` are for inner loops: they check bounds in the plain implementation only, and
/// otherwise rely on the caller.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector.
    type V: Copy;
    /// Half as many doubles.
    type D: Copy;
    /// Floats in a vector.
    const LANES: usize;
    /// Whether vectors have sixteen lanes, and there are thirty-two registers of them.
    const IS_WIDE: bool;

    /// Runs a kernel as a function of its own, compiled for this instruction set. For what would make the
    /// caller too large: register tiles, of which there are many.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;
    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::V;
    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// The square root.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the CPU can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The greater of each pair; `b` where either is not a number.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The lesser of each pair; `b` where either is not a number.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `x` where `a > b`, else `y`.
    fn select_gt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// The sum of all lanes, in a fixed order.
    fn sum(self, a: Self::V) -> f32;
    /// A bit for each lane that is not zero, or not a number, the first lane's the lowest.
    fn nonzero(self, a: Self::V) -> u64;
    /// The lanes of both in turns, `a0 b0 a1 b1 ..`, in two vectors.
    fn interleave(self, a: Self::V, b: Self::V) -> [Self::V; 2];

    /// The lanes as doubles, lower half first.
    fn widen(self, a: Self::V) -> [Self::D; 2];
    /// The doubles rounded to floats.
    fn narrow(self, halves: [Self::D; 2]) -> Self::V;
    /// `x` in every double.
    fn splat_double(self, x: f64) -> Self::D;
    /// `a * b` of doubles.
    fn mul_double(self, a: Self::D, b: Self::D) -> Self::D;
    /// `a * b + c` of doubles, rounded once where the CPU can.
    fn fma_double(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D;

    /// The vector at `offset`.
    ///
    /// # Safety
    /// `offset + LANES <= src.len()`.
    unsafe fn load_at(self, src: Source<'_>, offset: usize) -> Self::V;

    /// The first `count` lanes from `offset`, zero in the others; any `count`, `LANES` is the most that counts.
    ///
    /// # Safety
    /// `offset + min(count, LANES) <= src.len()`.
    unsafe fn load_part_at(self, src: Source<'_>, offset: usize, count: usize) -> Self::V;

    /// The float at `offset`, in every lane.
    ///
    /// # Safety
    /// `offset < src.len()`.
    unsafe fn splat_at(self, src: Source<'_>, offset: usize) -> Self::V;

    /// Stores a vector at `offset`.
    ///
    /// # Safety
    /// `offset + LANES <= dst.len()`, and no other thread touches these floats meanwhile.
    unsafe fn store_at(self, v: Self::V, dst: Sink<'_>, offset: usize);

    /// Stores the first `count` lanes at `offset`; any `count`, `LANES` is the most that counts.
    ///
    /// # Safety
    /// `offset + min(count, LANES) <= dst.len()`, and no other thread touches these floats meanwhile.
    unsafe fn store_part_at(self, v: Self::V, dst: Sink<'_>, offset: usize, count: usize);

    /// Asks for the cache line at `offset`, which may lie outside.
    fn prefetch(self, src: Source<'_>, offset: usize);

    /// The same, but only into the second-level cache.
    fn prefetch_early(self, src: Source<'_>, offset: usize);

    /// Asks for the cache line at `offset`, which may lie outside, in order to write it.
    fn prefetch_write(self, dst: Sink<'_>, offset: usize);

    /// Zero in every lane.
    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// `x` where it is positive or not a number, else zero.
    #[inline(always)]
    fn relu(self, x: Self::V) -> Self::V {
        self.max(self.zero(), x)
    }

    /// The first `LANES` floats; panics where there are fewer.
    #[inline(always)]
    fn load(self, src: &[f32]) -> Self::V {
        assert!(src.len() >= Self::LANES);
        // SAFETY: just checked.
        unsafe { self.load_at(Source::new(src), 0) }
    }

    /// The first floats, as many as there are up to `LANES`; zero in the other lanes.
    #[inline(always)]
    fn load_part(self, src: &[f32]) -> Self::V {
        if src.len() >= Self::LANES {
            self.load(src)
        } else {
            // SAFETY: `count` is the length.
            unsafe { self.load_part_at(Source::new(src), 0, src.len()) }
        }
    }

    /// Stores a vector at the start; panics where there is no room.
    #[inline(always)]
    fn store(self, v: Self::V, dst: &mut [f32]) {
        assert!(dst.len() >= Self::LANES);
        // SAFETY: just checked; the reference is exclusive.
        unsafe { self.store_at(v, Sink::new(dst), 0) }
    }

    /// Stores the first lanes, as many as there is room for.
    #[inline(always)]
    fn store_part(self, v: Self::V, dst: &mut [f32]) {
        if dst.len() >= Self::LANES {
            self.store(v, dst);
        } else {
            let count = dst.len();
            // SAFETY: `count` is the length; the reference is exclusive.
            unsafe { self.store_part_at(v, Sink::new(dst), 0, count) }
        }
    }
}
