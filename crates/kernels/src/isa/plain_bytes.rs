//! Portable integers: arrays of eight, every memory access checked.

use super::bytes::{ByteKernel, Bytes};
use super::plain::{LANES, Plain};
use super::{Sink, Source};

impl Bytes for Plain {
    type Floats = Self;
    type Sums = [i32; LANES];
    type Four = [u8; 4];
    type Weights = [[i8; 4]; LANES];
    type Integers = [i32; LANES];

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }

    #[inline(never)]
    fn call<K: ByteKernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn no_sums(self) -> Self::Sums {
        [0; LANES]
    }

    #[inline(always)]
    fn dot(self, mut sums: Self::Sums, four: Self::Four, weights: Self::Weights) -> Self::Sums {
        for lane in 0..LANES {
            for i in 0..4 {
                // A product is at most 255 * 128, four of them are far from the end of the range.
                sums[lane] = sums[lane].wrapping_add(i32::from(four[i]) * i32::from(weights[lane][i]));
            }
        }
        sums
    }

    #[inline(always)]
    fn integers(self, sums: Self::Sums) -> Self::Integers {
        sums
    }

    #[inline(always)]
    fn add_integers(self, mut a: Self::Integers, b: Self::Integers) -> Self::Integers {
        for lane in 0..LANES {
            a[lane] = a[lane].wrapping_add(b[lane]);
        }
        a
    }

    #[inline(always)]
    fn to_floats(self, a: Self::Integers) -> [f32; LANES] {
        a.map(|x| x as f32)
    }

    #[inline(always)]
    unsafe fn four_at(self, src: Source<'_, u8>, offset: usize) -> Self::Four {
        src.check(offset, 4);
        // SAFETY: the bytes lie inside, as just checked.
        unsafe { src.at(offset).cast::<Self::Four>().read() }
    }

    #[inline(always)]
    unsafe fn weights_at(self, src: Source<'_, u8>, offset: usize) -> Self::Weights {
        src.check(offset, 4 * LANES);
        // SAFETY: the bytes lie inside, as just checked.
        unsafe { src.at(offset).cast::<Self::Weights>().read() }
    }

    #[inline(always)]
    unsafe fn integers_at(self, src: Source<'_, i32>, offset: usize) -> Self::Integers {
        src.check(offset, LANES);
        // SAFETY: the integers lie inside, as just checked.
        unsafe { src.at(offset).cast::<Self::Integers>().read() }
    }

    #[inline(always)]
    unsafe fn load_bytes_at(self, src: Source<'_, u8>, offset: usize, count: usize) -> [f32; LANES] {
        let count = count.min(LANES);
        src.check(offset, count);
        let mut v = [0.0; LANES];
        for (lane, x) in v.iter_mut().enumerate().take(count) {
            // SAFETY: the bytes lie inside, as just checked.
            *x = f32::from(unsafe { src.at(offset + lane).read() });
        }
        v
    }

    #[inline(always)]
    unsafe fn store_bytes_at(self, v: [f32; LANES], dst: Sink<'_, u8>, offset: usize, count: usize) {
        let count = count.min(LANES);
        dst.check(offset, count);
        for (lane, x) in v.into_iter().enumerate().take(count) {
            // SAFETY: the bytes lie inside, as just checked.
            unsafe { dst.at(offset + lane).write(x.round_ties_even() as u8) }
        }
    }
}
