//! Integers by AVX-512 with VNNI: `vpdpbusd` sums four products of bytes for each of sixteen lanes.

use super::avx512::{Avx512, LANES, mask};
use super::bytes::{ByteKernel, Bytes};
use super::{Sink, Source};
#[allow(clippy::wildcard_imports, reason = "the names say where they come from")]
use std::arch::x86_64::*;

/// Proof that the CPU has AVX-512 with its byte, word, vector-length and neural-network extensions.
#[derive(Clone, Copy)]
pub(crate) struct Vnni(Avx512);

impl Vnni {
    /// The proof, where there is one.
    pub(super) fn detect(floats: Avx512) -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        has_all.then_some(Self(floats))
    }

    /// Runs a kernel on bytes, compiled for AVX-512 with VNNI.
    pub(super) fn enter_bytes<K: ByteKernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        #[inline(never)]
        fn compiled<K: ByteKernel>(bytes: Vnni, kernel: K) -> K::Output {
            kernel.run(bytes)
        }
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { compiled(self, kernel) }
    }
}

#[allow(clippy::multiple_unsafe_ops_per_block, reason = "instructions have one duty: the proof")]
impl Bytes for Vnni {
    type Floats = Avx512;
    type Sums = __m512i;
    type Four = __m512i;
    type Weights = __m512i;
    type Integers = __m512i;

    #[inline(always)]
    fn floats(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    fn call<K: ByteKernel>(self, kernel: K) -> K::Output {
        self.enter_bytes(kernel)
    }

    #[inline(always)]
    fn no_sums(self) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn dot(self, sums: __m512i, four: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_dpbusd_epi32(sums, four, weights) }
    }

    #[inline(always)]
    fn integers(self, sums: __m512i) -> __m512i {
        sums
    }

    #[inline(always)]
    fn add_integers(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn to_floats(self, a: __m512i) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_cvtepi32_ps(a) }
    }

    #[inline(always)]
    unsafe fn four_at(self, src: Source<'_, u8>, offset: usize) -> __m512i {
        // SAFETY: inside by the contract; `self` proves the instruction.
        unsafe { _mm512_set1_epi32(src.at(offset).cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, src: Source<'_, u8>, offset: usize) -> __m512i {
        // SAFETY: inside by the contract; `self` proves the instruction.
        unsafe { _mm512_loadu_si512(src.at(offset).cast()) }
    }

    #[inline(always)]
    unsafe fn integers_at(self, src: Source<'_, i32>, offset: usize) -> __m512i {
        // SAFETY: inside by the contract; `self` proves the instruction.
        unsafe { _mm512_loadu_si512(src.at(offset).cast()) }
    }

    #[inline(always)]
    unsafe fn load_bytes_at(self, src: Source<'_, u8>, offset: usize, count: usize) -> __m512 {
        // SAFETY: inside by the contract, lanes beyond the count are not read; `self` proves the instructions.
        unsafe {
            let bytes = if count < LANES {
                _mm_maskz_loadu_epi8(mask(count), src.at(offset).cast())
            } else {
                _mm_loadu_si128(src.at(offset).cast())
            };
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
        }
    }

    #[inline(always)]
    unsafe fn store_bytes_at(self, v: __m512, dst: Sink<'_, u8>, offset: usize, count: usize) {
        // SAFETY: inside and ours by the contract, lanes beyond the count are not written; `self` proves the
        // instructions.
        unsafe {
            let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
            if count < LANES {
                _mm_mask_storeu_epi8(dst.at(offset).cast(), mask(count), bytes);
            } else {
                _mm_storeu_si128(dst.at(offset).cast(), bytes);
            }
        }
    }
}
