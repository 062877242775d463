//! AVX-512 (foundation): sixteen floats, thirty-two registers.

use super::{Kernel, Simd, Sink, Source};
#[allow(clippy::wildcard_imports, reason = "the names say where they come from")]
use std::arch::x86_64::*;

/// Proof that the CPU has AVX-512F.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Avx512(());

pub(super) const LANES: usize = 16;

impl Avx512 {
    /// The proof, where there is one.
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }

    /// Runs a kernel, compiled for AVX-512.
    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f")]
        #[inline(never)]
        fn compiled<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { compiled(self, kernel) }
    }
}

/// The mask of the first `count` lanes.
#[inline(always)]
pub(super) fn mask(count: usize) -> __mmask16 {
    ((1u32 << count.min(LANES)) - 1) as __mmask16
}

macro_rules! operations {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $out {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe { $intrinsic($($arg),*) }
        }
    )*};
}

impl Simd for Avx512 {
    type V = __m512;
    type D = __m512d;
    const LANES: usize = LANES;
    const IS_WIDE: bool = true;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        self.enter(kernel)
    }

    operations! {
        splat(x: f32) -> __m512 = _mm512_set1_ps;
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps;
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps;
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps;
        div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps;
        sqrt(a: __m512) -> __m512 = _mm512_sqrt_ps;
        fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps;
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps;
        min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps;
        sum(a: __m512) -> f32 = _mm512_reduce_add_ps;
        splat_double(x: f64) -> __m512d = _mm512_set1_pd;
        mul_double(a: __m512d, b: __m512d) -> __m512d = _mm512_mul_pd;
        fma_double(a: __m512d, b: __m512d, c: __m512d) -> __m512d = _mm512_fmadd_pd;
    }

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one duty")]
    fn widen(self, a: __m512) -> [__m512d; 2] {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            let upper = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a));
            [_mm512_cvtps_pd(_mm512_castps512_ps256(a)), _mm512_cvtps_pd(_mm256_castpd_ps(upper))]
        }
    }

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one duty")]
    fn narrow(self, [lower, upper]: [__m512d; 2]) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            let lower = _mm512_castps_pd(_mm512_castps256_ps512(_mm512_cvtpd_ps(lower)));
            _mm512_castpd_ps(_mm512_insertf64x4::<1>(lower, _mm256_castps_pd(_mm512_cvtpd_ps(upper))))
        }
    }

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one duty")]
    fn select_gt(self, a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), y, x) }
    }

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one duty")]
    fn nonzero(self, a: __m512) -> u64 {
        // SAFETY: `self` proves that the CPU has the instructions.
        u64::from(unsafe { _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a, _mm512_setzero_ps()) })
    }

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one duty")]
    fn interleave(self, a: __m512, b: __m512) -> [__m512; 2] {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            let lower = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let upper = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            [_mm512_permutex2var_ps(a, lower, b), _mm512_permutex2var_ps(a, upper, b)]
        }
    }

    #[inline(always)]
    unsafe fn load_at(self, src: Source<'_>, offset: usize) -> __m512 {
        // SAFETY: inside by the contract; `self` proves the instruction.
        unsafe { _mm512_loadu_ps(src.at(offset)) }
    }

    #[inline(always)]
    unsafe fn load_part_at(self, src: Source<'_>, offset: usize, count: usize) -> __m512 {
        // SAFETY: the lanes of the mask are inside by the contract; `self` proves the instruction.
        unsafe { _mm512_maskz_loadu_ps(mask(count), src.at(offset)) }
    }

    #[inline(always)]
    unsafe fn splat_at(self, src: Source<'_>, offset: usize) -> __m512 {
        // SAFETY: inside by the contract.
        self.splat(unsafe { *src.at(offset) })
    }

    #[inline(always)]
    unsafe fn store_at(self, v: __m512, dst: Sink<'_>, offset: usize) {
        // SAFETY: inside and ours by the contract; `self` proves the instruction.
        unsafe { _mm512_storeu_ps(dst.at(offset), v) }
    }

    #[inline(always)]
    unsafe fn store_part_at(self, v: __m512, dst: Sink<'_>, offset: usize, count: usize) {
        // SAFETY: the lanes of the mask are inside and ours by the contract; `self` proves the instruction.
        unsafe { _mm512_mask_storeu_ps(dst.at(offset), mask(count), v) }
    }

    #[inline(always)]
    fn prefetch(self, src: Source<'_>, offset: usize) {
        // SAFETY: a prefetch has no effect but on the caches, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(src.at(offset).cast()) }
    }

    #[inline(always)]
    fn prefetch_early(self, src: Source<'_>, offset: usize) {
        // SAFETY: a prefetch has no effect but on the caches, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(src.at(offset).cast()) }
    }

    #[inline(always)]
    fn prefetch_write(self, dst: Sink<'_>, offset: usize) {
        // SAFETY: a prefetch has no effect but on the caches, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(dst.at(offset).cast::<i8>()) }
    }
}
