//! Portable vectors: arrays of eight floats, every memory access checked.

use super::{Kernel, Simd, Sink, Source};

/// Available on every CPU.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Plain;

pub(super) const LANES: usize = 8;

macro_rules! lanewise {
    ($($name:ident($($arg:ident),*) = $value:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: [f32; LANES]),*) -> [f32; LANES] {
            let mut result = [0.0; LANES];
            for lane in 0..LANES {
                $(let $arg = $arg[lane];)*
                result[lane] = $value;
            }
            result
        }
    )*};
}

impl Simd for Plain {
    type V = [f32; LANES];
    type D = [f64; LANES / 2];
    const LANES: usize = LANES;
    const IS_WIDE: bool = false;

    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    lanewise! {
        add(a, b) = a + b;
        sub(a, b) = a - b;
        mul(a, b) = a * b;
        div(a, b) = a / b;
        sqrt(a) = a.sqrt();
        fma(a, b, c) = a * b + c;
        max(a, b) = if a > b { a } else { b };
        min(a, b) = if a < b { a } else { b };
        select_gt(a, b, x, y) = if a > b { x } else { y };
    }

    #[inline(always)]
    fn widen(self, a: Self::V) -> [Self::D; 2] {
        [0, LANES / 2].map(|first| std::array::from_fn(|lane| f64::from(a[first + lane])))
    }

    #[inline(always)]
    fn narrow(self, halves: [Self::D; 2]) -> Self::V {
        std::array::from_fn(|lane| halves[lane / (LANES / 2)][lane % (LANES / 2)] as f32)
    }

    #[inline(always)]
    fn splat_double(self, x: f64) -> Self::D {
        [x; LANES / 2]
    }

    #[inline(always)]
    fn mul_double(self, a: Self::D, b: Self::D) -> Self::D {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    fn fma_double(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D {
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }

    #[inline(always)]
    fn nonzero(self, a: Self::V) -> u64 {
        (0..LANES).map(|lane| u64::from(a[lane] != 0.0) << lane).sum()
    }

    #[inline(always)]
    fn interleave(self, a: Self::V, b: Self::V) -> [Self::V; 2] {
        let lane = |at: usize| if at.is_multiple_of(2) { a[at / 2] } else { b[at / 2] };
        [0, LANES].map(|first| std::array::from_fn(|at| lane(first + at)))
    }

    #[inline(always)]
    unsafe fn load_at(self, src: Source<'_>, offset: usize) -> Self::V {
        src.check(offset, LANES);
        // SAFETY: the floats lie inside, as just checked.
        unsafe { src.at(offset).cast::<Self::V>().read() }
    }

    #[inline(always)]
    unsafe fn load_part_at(self, src: Source<'_>, offset: usize, count: usize) -> Self::V {
        let count = count.min(LANES);
        src.check(offset, count);
        let mut v = [0.0; LANES];
        for (lane, x) in v.iter_mut().enumerate().take(count) {
            // SAFETY: the floats lie inside, as just checked.
            *x = unsafe { src.at(offset + lane).read() };
        }
        v
    }

    #[inline(always)]
    unsafe fn splat_at(self, src: Source<'_>, offset: usize) -> Self::V {
        src.check(offset, 1);
        // SAFETY: the float lies inside, as just checked.
        [unsafe { src.at(offset).read() }; LANES]
    }

    #[inline(always)]
    unsafe fn store_at(self, v: Self::V, dst: Sink<'_>, offset: usize) {
        dst.check(offset, LANES);
        // SAFETY: the floats lie inside, as just checked.
        unsafe { dst.at(offset).cast::<Self::V>().write(v) }
    }

    #[inline(always)]
    unsafe fn store_part_at(self, v: Self::V, dst: Sink<'_>, offset: usize, count: usize) {
        let count = count.min(LANES);
        dst.check(offset, count);
        for (lane, x) in v.into_iter().enumerate().take(count) {
            // SAFETY: the floats lie inside, as just checked.
            unsafe { dst.at(offset + lane).write(x) }
        }
    }

    #[inline(always)]
    fn prefetch(self, _: Source<'_>, _: usize) {}

    #[inline(always)]
    fn prefetch_early(self, _: Source<'_>, _: usize) {}

    #[inline(always)]
    fn prefetch_write(self, _: Sink<'_>, _: usize) {}
}
