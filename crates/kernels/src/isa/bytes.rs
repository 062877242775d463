//! The integer operations of quantised kernels: products of unsigned by signed bytes, summed exactly.
//!
//! A kernel is a [`ByteKernel`], entered by `Isa::run_bytes`; its floats are those of the [`Simd`] that comes with
//! the bytes. Sums wrap around, and every conversion is rounded to the nearest even, so that all
//! implementations give the same bits as long as no float operation is fused.

use super::{Simd, Sink, Source};

/// A loop nest over bytes whose arguments are its fields; as [`Kernel`](super::Kernel).
pub(crate) trait ByteKernel {
    /// What the kernel returns.
    type Output;

    /// The body; implementations are `#[inline(always)]`.
    fn run<B: Bytes>(self, bytes: B) -> Self::Output;
}

/// Vectors of as many `i32` as `Floats` has lanes. A value of an implementing type proves that the CPU has the
/// instructions.
pub(crate) trait Bytes: Copy + Send + Sync + 'static {
    /// The floats of the same instruction set.
    type Floats: Simd;
    /// A sum of products for each lane, in the form that is added up fastest.
    type Sums: Copy;
    /// Four bytes of a map, in every lane.
    type Four: Copy;
    /// Four weights for each lane.
    type Weights: Copy;
    /// A vector of `i32`.
    type Integers: Copy;

    /// The operations on floats.
    fn floats(self) -> Self::Floats;
    /// Runs a kernel as a function of its own; as [`Simd::call`].
    fn call<K: ByteKernel>(self, kernel: K) -> K::Output;
    /// No products yet.
    fn no_sums(self) -> Self::Sums;
    /// `sums[lane] += Σ four[i] * weights[lane][i]`, exact but for wrapping around.
    fn dot(self, sums: Self::Sums, four: Self::Four, weights: Self::Weights) -> Self::Sums;
    /// The sums, one for each lane.
    fn integers(self, sums: Self::Sums) -> Self::Integers;
    /// `a + b`, wrapping around.
    fn add_integers(self, a: Self::Integers, b: Self::Integers) -> Self::Integers;
    /// The nearest floats.
    fn to_floats(self, a: Self::Integers) -> FloatsOf<Self>;

    /// The four bytes at `offset`.
    ///
    /// # Safety
    /// `offset + 4 <= src.len()`.
    unsafe fn four_at(self, src: Source<'_, u8>, offset: usize) -> Self::Four;

    /// Four signed bytes for each lane, from `offset` on.
    ///
    /// # Safety
    /// `offset + 4 * LANES <= src.len()`.
    unsafe fn weights_at(self, src: Source<'_, u8>, offset: usize) -> Self::Weights;

    /// The vector at `offset`.
    ///
    /// # Safety
    /// `offset + LANES <= src.len()`.
    unsafe fn integers_at(self, src: Source<'_, i32>, offset: usize) -> Self::Integers;

    /// The first `count` bytes from `offset` on as floats, zero in the other lanes; any `count`, `LANES` is the
    /// most that counts.
    ///
    /// # Safety
    /// `offset + min(count, LANES) <= src.len()`.
    unsafe fn load_bytes_at(self, src: Source<'_, u8>, offset: usize, count: usize) -> FloatsOf<Self>;

    /// Stores the first `count` lanes, which lie between 0 and 255, as the nearest bytes, of ties the even one; any
    /// `count`, `LANES` is the most that counts.
    ///
    /// # Safety
    /// `offset + min(count, LANES) <= dst.len()`, and no other thread touches these bytes meanwhile.
    unsafe fn store_bytes_at(self, v: FloatsOf<Self>, dst: Sink<'_, u8>, offset: usize, count: usize);
}

/// A vector of floats that goes with the bytes.
pub(crate) type FloatsOf<B> = <<B as Bytes>::Floats as Simd>::V;
