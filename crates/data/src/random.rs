//! Random numbers that are the same on every machine and for every number of threads.
//!
//! Each purpose, epoch and sample has a `ChaCha` stream of its own, keyed by the numbers themselves, so that
//! no draw depends on how many others were made before it. What is drawn uses integers and exact
//! floating point steps only, and logarithms and exponentials in software.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream is for; streams of different purposes never meet.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Shuffle = 1,
    Augment = 2,
    Shapes = 3,
    Mix = 4,
    HoldOut = 5,
}

/// The stream of one (seed, purpose, a, b).
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    pub(crate) fn new(seed: u64, purpose: Purpose, a: u64, b: u64) -> Self {
        let mut key = [0; 32];
        for (part, value) in key.chunks_exact_mut(8).zip([seed, purpose as u64, a, b]) {
            part.copy_from_slice(&value.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// An integer in `0..n`, each equally likely (Lemire's multiplication, with rejection).
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "there is no number below 0");
        let reject = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(n);
            if product as u32 >= reject {
                return (product >> 32) as u32;
            }
        }
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.0.next_u32() >> 31 == 1
    }

    /// A multiple of 2⁻²⁴ in [0, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// A number in [low, high).
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// A multiple of 2⁻⁵³ in (0, 1].
    pub(crate) fn open_unit(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// A number in [low, high], uniform.
    pub(crate) fn within(&mut self, (low, high): (f64, f64)) -> f64 {
        low + (high - low) * self.open_unit()
    }

    /// A number in [low, high] whose logarithm is uniform.
    pub(crate) fn log_within(&mut self, (low, high): (f64, f64)) -> f64 {
        libm::exp(self.within((libm::log(low), libm::log(high))))
    }

    /// Normal with mean 0 and variance 1, by Marsaglia's polar method; the second number is left.
    pub(crate) fn normal(&mut self) -> f32 {
        loop {
            let [x, y] = [self.within((-1.0, 1.0)), self.within((-1.0, 1.0))];
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return (x * (-2.0 * libm::log(square) / square).sqrt()) as f32;
            }
        }
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Fisher and Yates' shuffle.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_every_part_of_their_key() {
        let first = |seed, purpose, a, b| Stream::new(seed, purpose, a, b).0.next_u64();
        let base = first(1, Purpose::Shuffle, 2, 3);
        assert_eq!(base, first(1, Purpose::Shuffle, 2, 3));
        for other in [
            first(2, Purpose::Shuffle, 2, 3),
            first(1, Purpose::Augment, 2, 3),
            first(1, Purpose::Shuffle, 3, 3),
            first(1, Purpose::Shuffle, 2, 4),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn draws_stay_in_range_and_reach_its_ends() {
        let mut stream = Stream::new(7, Purpose::Augment, 0, 0);
        let mut seen = [0; 9];
        (0..9000).for_each(|_| seen[stream.below(9) as usize] += 1);
        assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
        assert!((0..1000).all(|_| (2.0..3.0).contains(&stream.between(2.0, 3.0))));
        let mut order: Vec<u32> = (0..100).collect();
        stream.shuffle(&mut order);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
