//! Random numbers and orders from a seed.

use residuum_engine::Draws;
use residuum_tensor::Tensor;

/// Independent normal numbers of mean 0 and variance 1, the same for the same seed (Box & Muller 1958).
pub fn gaussian(seed: u64, shape: &[usize]) -> Tensor {
    let draws = Draws::new(seed, 0);
    Tensor::from_fn(shape.to_vec(), |index| {
        let [radius, angle] = [0, 1].map(|stream| draws.uniform(stream, index));
        ((-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
    })
}

/// The numbers below `count` in a random order, another one for each draw: sorted by random keys.
pub(crate) fn shuffled(seed: u64, draw: u64, count: usize) -> Vec<usize> {
    let draws = Draws::new(seed, draw);
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| draws.uniform(0, a).total_cmp(&draws.uniform(0, b)));
    order
}
