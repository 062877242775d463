//! What the machine could do at best: the yardstick of every speed figure.

use crate::isa::{Isa, Kernel, Simd};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Sums that run side by side, enough to hide the latency of a multiply-add.
const CHAINS: usize = 12;
/// Multiply-adds of each chain between two looks at the clock.
const STEPS: usize = 20_000;
/// How often a measurement is repeated; the best counts.
const REPEATS: usize = 8;
/// How long one measurement takes.
const SPAN: Duration = Duration::from_millis(10);
/// Floats that all threads together read: more than caches hold.
const BANDWIDTH_FLOATS: usize = 64 << 20;
/// Fewest floats worth copying in a call.
const LEAST_FLOATS: usize = 4096;

/// What bounds any program on the threads that measured it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Peak of `f32` arithmetic, in floating-point operations per second.
    pub flops: f64,
    /// Bytes read and written per second; infinite where it could not be measured.
    pub bandwidth: f64,
}

impl Limits {
    /// The limits of a program that works on `bytes` of memory, on all threads of the current rayon pool.
    pub fn measure(isa: Isa, bytes: usize) -> Self {
        Self { flops: peak_flops(isa), bandwidth: copy_bandwidth(bytes).unwrap_or(f64::INFINITY) }
    }

    /// Seconds that `multiply_adds` take at the peak, or `bytes` at the bandwidth: the larger of both. Data that
    /// the step before has left in a cache may go faster.
    pub fn least_seconds(&self, multiply_adds: u64, bytes: u64) -> f64 {
        let [arithmetic, memory] = self.bounds(multiply_adds, bytes);
        arithmetic.max(memory)
    }

    /// Whether the bytes take longer than the multiply-adds.
    pub fn is_bound_by_memory(&self, multiply_adds: u64, bytes: u64) -> bool {
        let [arithmetic, memory] = self.bounds(multiply_adds, bytes);
        memory > arithmetic
    }

    fn bounds(&self, multiply_adds: u64, bytes: u64) -> [f64; 2] {
        [2.0 * multiply_adds as f64 / self.flops, bytes as f64 / self.bandwidth]
    }
}

/// Peak of `f32` arithmetic, in floating-point operations per second: the best of several runs of a loop of
/// independent multiply-adds, two operations each, on all threads of the current rayon pool together.
pub fn peak_flops(isa: Isa) -> f64 {
    let rate = || -> f64 { rayon::broadcast(|_| thread_flops(isa)).into_iter().sum() };
    (0..REPEATS).map(|_| rate()).fold(0.0, f64::max)
}

/// Operations per second of this thread.
fn thread_flops(isa: Isa) -> f64 {
    let (start, mut rounds) = (Instant::now(), 0);
    while start.elapsed() < SPAN {
        black_box(isa.run(Chains { factor: black_box(0.999) }));
        rounds += 1;
    }
    (rounds * 2 * CHAINS * STEPS * isa.lanes()) as f64 / start.elapsed().as_secs_f64()
}

struct Chains {
    factor: f32,
}

impl Kernel for Chains {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let factor = simd.splat(self.factor);
        let mut sums = [factor; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = simd.fma(*sum, factor, factor);
            }
        }
        let mut total = simd.zero();
        for sum in sums {
            total = simd.add(total, sum);
        }
        simd.sum(total)
    }
}

/// Bandwidth of reading memory, in bytes per second: the best of several passes over 256 MiB, shared by all
/// threads of the current rayon pool; `None` where the memory is not to be had.
pub fn memory_bandwidth(isa: Isa) -> Option<f64> {
    let mut floats: Vec<f32> = Vec::new();
    floats.try_reserve_exact(BANDWIDTH_FLOATS).ok()?;
    floats.resize(BANDWIDTH_FLOATS, 0.0);
    // Fresh zero pages may all be the same page: only written ones are memory.
    floats.par_iter_mut().for_each(|x| *x = 1.0);
    let part = BANDWIDTH_FLOATS.div_ceil(4 * rayon::current_num_threads());
    let mut best = 0.0f64;
    for _ in 0..REPEATS {
        let start = Instant::now();
        black_box(floats.par_chunks(part).map(|floats| isa.run(Read { floats })).sum::<f32>());
        best = best.max((BANDWIDTH_FLOATS * size_of::<f32>()) as f64 / start.elapsed().as_secs_f64());
    }
    Some(best)
}

/// Bandwidth of copying, in bytes read and written per second, over `bytes` of memory that all threads of the
/// current rayon pool share: what caches hold is fast, and what they do not is as fast as memory. `None` where the
/// memory is not to be had.
pub fn copy_bandwidth(bytes: usize) -> Option<f64> {
    let len = bytes / (2 * size_of::<f32>() * rayon::current_num_threads());
    rayon::broadcast(|_| thread_copies(len.max(LEAST_FLOATS))).into_iter().sum()
}

/// Bytes per second that this thread reads and writes in copying `len` floats again and again.
fn thread_copies(len: usize) -> Option<f64> {
    let [mut from, mut to] = [Vec::new(), Vec::new()];
    for floats in [&mut from, &mut to] {
        floats.try_reserve_exact(len).ok()?;
        // Fresh zero pages may all be the same page: only written ones are memory.
        floats.resize(len, 1.0f32);
    }
    let (start, mut rounds) = (Instant::now(), 0);
    while start.elapsed() < SPAN * REPEATS as u32 {
        black_box(&mut to).copy_from_slice(black_box(&from));
        rounds += 1;
    }
    Some((rounds * 2 * len * size_of::<f32>()) as f64 / start.elapsed().as_secs_f64())
}

struct Read<'a> {
    floats: &'a [f32],
}

impl Kernel for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let mut sums = [simd.zero(); 4];
        for chunk in self.floats.chunks_exact(4 * S::LANES) {
            for v in 0..4 {
                sums[v] = simd.add(sums[v], simd.load(&chunk[v * S::LANES..]));
            }
        }
        simd.sum(simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_bound_counts() {
        let limits = Limits { flops: 100.0, bandwidth: 10.0 };
        for (bytes, seconds) in [(10, 2.0), (40, 4.0)] {
            assert!((limits.least_seconds(100, bytes) - seconds).abs() < 1e-12, "{bytes}");
        }
        assert!(!limits.is_bound_by_memory(100, 10) && limits.is_bound_by_memory(100, 40));
    }

    #[test]
    fn what_the_caches_hold_is_copied_faster() {
        let [small, large] = [64 << 10, 256 << 20].map(|bytes| copy_bandwidth(bytes).unwrap());
        assert!(small > large && large > 1e8, "{small} {large}");
    }

    #[test]
    fn vectors_are_not_slower_than_plain_code() {
        let rates: Vec<f64> = Isa::available().into_iter().map(peak_flops).collect();
        assert!(rates.iter().all(|rate| *rate > 1e8), "{rates:?}");
        assert!(rates[0] >= 0.8 * rates[rates.len() - 1], "{rates:?}");
    }
}
