//! Integers by AVX2.
//!
//! There is no exact product of bytes: `vpmaddubsw` saturates. Bytes become words instead, whose products
//! `vpmaddwd` adds in pairs; a lane has two sums until the end, those of the first and of the second pair of four.

use super::avx2::{Avx2, LANES};
use super::bytes::{ByteKernel, Bytes};
use super::{Sink, Source};
#[allow(clippy::wildcard_imports, reason = "the names say where they come from")]
use std::arch::x86_64::*;

impl Avx2 {
    /// Runs a kernel on bytes, compiled for AVX2.
    pub(super) fn enter_bytes<K: ByteKernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma")]
        #[inline(never)]
        fn compiled<K: ByteKernel>(bytes: Avx2, kernel: K) -> K::Output {
            kernel.run(bytes)
        }
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { compiled(self, kernel) }
    }
}

#[allow(clippy::multiple_unsafe_ops_per_block, reason = "instructions have one duty: the proof")]
impl Bytes for Avx2 {
    type Floats = Self;
    /// Two sums for each of the first and of the last four lanes.
    type Sums = [__m256i; 2];
    type Four = __m256i;
    /// Words, for the first and for the last four lanes.
    type Weights = [__m256i; 2];
    type Integers = __m256i;

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }

    #[inline(always)]
    fn call<K: ByteKernel>(self, kernel: K) -> K::Output {
        self.enter_bytes(kernel)
    }

    #[inline(always)]
    fn no_sums(self) -> Self::Sums {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    fn dot(self, sums: Self::Sums, four: Self::Four, weights: Self::Weights) -> Self::Sums {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            [
                _mm256_add_epi32(sums[0], _mm256_madd_epi16(four, weights[0])),
                _mm256_add_epi32(sums[1], _mm256_madd_epi16(four, weights[1])),
            ]
        }
    }

    #[inline(always)]
    fn integers(self, sums: Self::Sums) -> Self::Integers {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            // Lanes 0 1 4 5 | 2 3 6 7, in the order of the halves.
            let mixed = _mm256_hadd_epi32(sums[0], sums[1]);
            _mm256_permute4x64_epi64::<0b11_01_10_00>(mixed)
        }
    }

    #[inline(always)]
    fn add_integers(self, a: Self::Integers, b: Self::Integers) -> Self::Integers {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn to_floats(self, a: Self::Integers) -> __m256 {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm256_cvtepi32_ps(a) }
    }

    #[inline(always)]
    unsafe fn four_at(self, src: Source<'_, u8>, offset: usize) -> Self::Four {
        // SAFETY: inside by the contract; `self` proves the instructions.
        unsafe { _mm256_cvtepu8_epi16(_mm_set1_epi32(src.at(offset).cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, src: Source<'_, u8>, offset: usize) -> Self::Weights {
        // SAFETY: inside by the contract; `self` proves the instructions.
        unsafe {
            [
                _mm256_cvtepi8_epi16(_mm_loadu_si128(src.at(offset).cast())),
                _mm256_cvtepi8_epi16(_mm_loadu_si128(src.at(offset + 16).cast())),
            ]
        }
    }

    #[inline(always)]
    unsafe fn integers_at(self, src: Source<'_, i32>, offset: usize) -> Self::Integers {
        // SAFETY: inside by the contract; `self` proves the instruction.
        unsafe { _mm256_loadu_si256(src.at(offset).cast()) }
    }

    #[inline(always)]
    unsafe fn load_bytes_at(self, src: Source<'_, u8>, offset: usize, count: usize) -> __m256 {
        let mut part = [0u8; LANES];
        let from = if count < LANES {
            // SAFETY: inside by the contract.
            unsafe { std::ptr::copy_nonoverlapping(src.at(offset), part.as_mut_ptr(), count) };
            part.as_ptr()
        } else {
            src.at(offset)
        };
        // SAFETY: eight bytes, of the part or by the contract; `self` proves the instructions.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn store_bytes_at(self, v: __m256, dst: Sink<'_, u8>, offset: usize, count: usize) {
        // SAFETY: `self` proves that the CPU has the instructions.
        let bytes = unsafe {
            let wide = _mm256_cvtps_epi32(v);
            let words = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256::<1>(wide));
            _mm_packus_epi16(words, words)
        };
        if count < LANES {
            let mut part = [0u8; LANES];
            // SAFETY: the part has room; the bytes are inside and ours by the contract.
            unsafe {
                _mm_storel_epi64(part.as_mut_ptr().cast(), bytes);
                std::ptr::copy_nonoverlapping(part.as_ptr(), dst.at(offset), count);
            }
        } else {
            // SAFETY: inside and ours by the contract; `self` proves the instruction.
            unsafe { _mm_storel_epi64(dst.at(offset).cast(), bytes) }
        }
    }
}
