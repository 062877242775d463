//! AVX2 with fused multiply-add: eight floats, sixteen registers.

use super::{Kernel, Simd, Sink, Source};
#[allow(clippy::wildcard_imports, reason = "the names say where they come from")]
use std::arch::x86_64::*;

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Avx2(());

pub(super) const LANES: usize = 8;

/// Eight ones, then eight zeros: the eight words from `8 - count` are the mask of the first `count` lanes.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

impl Avx2 {
    /// The proof, where there is one.
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// Runs a kernel, compiled for AVX2.
    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma")]
        #[inline(never)]
        fn compiled<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { compiled(self, kernel) }
    }

    /// The mask of the first `count` lanes.
    #[inline(always)]
    #[allow(clippy::unused_self, reason = "it is the proof")]
    fn mask(self, count: usize) -> __m256i {
        let start = &MASKS[LANES - count.min(LANES)];
        // SAFETY: `start` is one of the first nine words of sixteen, and `self` proves the instruction.
        unsafe { _mm256_loadu_si256(std::ptr::from_ref(start).cast()) }
    }
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

impl Simd for Avx2 {
    type V = __m256;
    type D = __m256d;
    const LANES: usize = LANES;
    const IS_WIDE: bool = false;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        self.enter(kernel)
    }

    operations! {
        splat(x: f32) -> __m256 = _mm256_set1_ps;
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps;
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps;
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps;
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps;
        sqrt(a: __m256) -> __m256 = _mm256_sqrt_ps;
        fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps;
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps;
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps;
        splat_double(x: f64) -> __m256d = _mm256_set1_pd;
        mul_double(a: __m256d, b: __m256d) -> __m256d = _mm256_mul_pd;
        fma_double(a: __m256d, b: __m256d, c: __m256d) -> __m256d = _mm256_fmadd_pd;
    }

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one duty")]
    fn widen(self, a: __m256) -> [__m256d; 2] {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            [_mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(a))]
        }
    }

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one duty")]
    fn narrow(self, [lower, upper]: [__m256d; 2]) -> __m256 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm256_set_m128(_mm256_cvtpd_ps(upper), _mm256_cvtpd_ps(lower)) }
    }

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one duty")]
    fn select_gt(self, a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_GT_OQ>(a, b)) }
    }

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one duty")]
    fn sum(self, a: __m256) -> f32 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one duty")]
    fn nonzero(self, a: __m256) -> u64 {
        // SAFETY: `self` proves that the CPU has the instructions.
        u64::from(unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(a, _mm256_setzero_ps())) } as u32)
    }

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one duty")]
    fn interleave(self, a: __m256, b: __m256) -> [__m256; 2] {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            let (even, odd) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            [_mm256_permute2f128_ps::<0x20>(even, odd), _mm256_permute2f128_ps::<0x31>(even, odd)]
        }
    }

    #[inline(always)]
    unsafe fn load_at(self, src: Source<'_>, offset: usize) -> __m256 {
        // SAFETY: inside by the contract; `self` proves the instruction.
        unsafe { _mm256_loadu_ps(src.at(offset)) }
    }

    #[inline(always)]
    unsafe fn load_part_at(self, src: Source<'_>, offset: usize, count: usize) -> __m256 {
        // SAFETY: the lanes of the mask are inside by the contract; `self` proves the instruction.
        unsafe { _mm256_maskload_ps(src.at(offset), self.mask(count)) }
    }

    #[inline(always)]
    unsafe fn splat_at(self, src: Source<'_>, offset: usize) -> __m256 {
        // SAFETY: inside by the contract.
        self.splat(unsafe { *src.at(offset) })
    }

    #[inline(always)]
    unsafe fn store_at(self, v: __m256, dst: Sink<'_>, offset: usize) {
        // SAFETY: inside and ours by the contract; `self` proves the instruction.
        unsafe { _mm256_storeu_ps(dst.at(offset), v) }
    }

    #[inline(always)]
    unsafe fn store_part_at(self, v: __m256, dst: Sink<'_>, offset: usize, count: usize) {
        // SAFETY: the lanes of the mask are inside and ours by the contract; `self` proves the instruction.
        unsafe { _mm256_maskstore_ps(dst.at(offset), self.mask(count), v) }
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
