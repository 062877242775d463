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
    fn vectors_are_not_slower_than_plain_code() {
        let rates: Vec<f64> = Isa::available().into_iter().map(peak_flops).collect();
        assert!(rates.iter().all(|rate| *rate > 1e8), "{rates:?}");
        assert!(rates[0] >= 0.8 * rates[rates.len() - 1], "{rates:?}");
    }
}
