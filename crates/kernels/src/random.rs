//! Random numbers that need no state: each is a function of seed, step, node and place.
//!
//! So a mask is drawn again for the backward pass instead of being kept, a resumed run draws what an
//! uninterrupted one draws, and threads may draw in any order.

/// The random numbers of one training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    key: u64,
}

impl Draws {
    /// The numbers of step `step` of the run with this seed.
    pub const fn new(seed: u64, step: u64) -> Self {
        Self { key: mix64(mix64(seed).wrapping_add(step)) }
    }

    /// Uniform on `[0, 1)`, drawn for place `index` by the node with this stream.
    pub fn uniform(self, stream: u32, index: usize) -> f64 {
        let bits = mix64(self.stream(stream) ^ mix64(index as u64)) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }

    /// True with probability `probability`, drawn for image `image` by the node with this stream.
    pub fn happens(self, stream: u32, image: usize, probability: f32) -> bool {
        self.uniform(stream, image) < f64::from(probability)
    }

    /// True where dropout keeps channel `channel` of pixel `pixel`, counted over the batch.
    pub fn keeps(self, stream: u32, pixel: usize, channel: usize, rate: f32) -> bool {
        mix32(self.pixel(stream, pixel).wrapping_add(channel_step(channel))) >= threshold(rate)
    }

    /// What the numbers of a pixel's channels start from.
    #[inline(always)]
    pub(crate) fn pixel(self, stream: u32, pixel: usize) -> u32 {
        (mix64(self.stream(stream).wrapping_add(pixel as u64)) >> 32) as u32
    }

    #[inline(always)]
    fn stream(self, stream: u32) -> u64 {
        mix64(self.key ^ (u64::from(stream) << 32))
    }
}

/// Numbers below this one are dropped.
pub(crate) fn threshold(rate: f32) -> u32 {
    (f64::from(rate) * f64::from(u32::MAX)).round() as u32
}

#[inline(always)]
pub(crate) fn channel_step(channel: usize) -> u32 {
    (channel as u32).wrapping_mul(0x9e37_79b9)
}

/// A bijection in which every bit of the input changes half of the output's: the finaliser of `splitmix64`
/// (Steele, Lea & Flood 2014).
#[inline(always)]
const fn mix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The same for 32 bits, which vectors of integers can do.
#[inline(always)]
pub(crate) fn mix32(x: u32) -> u32 {
    let z = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let z = (z ^ (z >> 15)).wrapping_mul(0x846c_a68b);
    z ^ (z >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_the_probabilities() {
        let draws = Draws::new(7, 3);
        let count = 20_000;
        for rate in [0.1, 0.5, 0.8] {
            let kept = (0..count).filter(|i| draws.keeps(2, i / 100, i % 100, rate)).count();
            let happened = (0..count).filter(|&image| draws.happens(2, image, rate)).count();
            // Four standard deviations of a binomial distribution.
            let spread = 4.0 * (f64::from(rate) * (1.0 - f64::from(rate)) * count as f64).sqrt();
            assert!((kept as f64 - (1.0 - f64::from(rate)) * count as f64).abs() < spread, "{kept}");
            assert!((happened as f64 - f64::from(rate) * count as f64).abs() < spread, "{happened}");
        }
    }

    #[test]
    fn seeds_steps_streams_and_places_differ() {
        let pattern = |draws: Draws, stream: u32, first: usize| {
            (0..64).map(|i| draws.keeps(stream, first, i, 0.5)).collect::<Vec<_>>()
        };
        let base = pattern(Draws::new(1, 1), 0, 0);
        let others = [
            pattern(Draws::new(2, 1), 0, 0),
            pattern(Draws::new(1, 2), 0, 0),
            pattern(Draws::new(1, 1), 1, 0),
            pattern(Draws::new(1, 1), 0, 1),
        ];
        assert!(others.iter().all(|other| *other != base));
        assert_eq!(base, pattern(Draws::new(1, 1), 0, 0));
    }
}
