//! Start values of parameters.
//!
//! Every parameter draws from a `ChaCha` stream of its own, keyed by the seed and the parameter's name:
//! neither the order of the parameters nor what else the network contains changes a value. The arithmetic
//! is additions, multiplications, divisions and square roots in `f64`, all of which are exact to the last
//! bit on every machine, rounded once to `f32`; so a seed means the same bits everywhere.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use residuum_graph::{Fan, Graph, Init, NodeId, Op, Param, ParamId, Weights};
use residuum_tensor::Tensor;

use crate::hash::fnv1a64;

/// Start values of all parameters of a graph, running statistics among them.
///
/// Convolutions are normal with standard deviation `sqrt(2 / fan)` (He et al. 2015, "Delving deep into
/// rectifiers", §2.2), as the graph's parameters say ([`Init`]).
pub fn initialise(graph: &Graph, seed: u64) -> Weights {
    graph.params().iter().map(|param| (param.name.clone(), start(param, seed))).collect()
}

/// Makes every residual branch begin as zero, so that blocks begin as their shortcuts: the scale of the batch
/// norm that a branch ends with becomes zero or, where it ends with a convolution, the filters (Goyal et al. 2017,
/// "Accurate, large minibatch SGD", §5.1).
///
/// Branches are found on the graph: of what an addition adds, the branch has more weighted layers behind it.
/// A shift that is not zero is left.
///
/// # Panics
/// When a weight of the graph is missing.
pub fn zero_last_norm(graph: &Graph, weights: &mut Weights) {
    let depths = depths(graph);
    for node in graph.nodes().iter().filter(|node| node.op == Op::Add) {
        let depth = |id: &NodeId| depths[id.index()];
        // Of equally deep ones the first is the branch, as in every model of this crate.
        let branch = node.inputs.iter().copied().rev().max_by_key(depth);
        if let Some(id) = branch.and_then(|branch| last_weight(graph, branch)) {
            let tensor = weights.get_mut(&graph.param(id).name).expect("the graph's weights are complete");
            *tensor = Tensor::filled(graph.param(id).shape.clone(), 0.0);
        }
    }
}

/// Weighted layers on the longest path to each node.
fn depths(graph: &Graph) -> Vec<usize> {
    let mut depths: Vec<usize> = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        let path = if node.op == Op::Mul { &node.inputs[..1] } else { &node.inputs };
        let before = path.iter().map(|id| depths[id.index()]).max().unwrap_or(0);
        depths.push(before + usize::from(matches!(node.op, Op::Conv2d(_) | Op::Linear(_))));
    }
    depths
}

/// The scale or filters that a branch ends with; nothing where it ends with something that zeros do not pass.
fn last_weight(graph: &Graph, end: NodeId) -> Option<ParamId> {
    let node = graph.node(end);
    match node.op {
        Op::BatchNorm(norm) => Some(norm.weight),
        Op::Conv2d(conv) => Some(conv.weight),
        Op::Relu | Op::Dropout(_) | Op::DropPath(_) | Op::Mul | Op::Scale { offset: 0.0, .. } => {
            last_weight(graph, *node.inputs.first()?)
        }
        _ => None,
    }
}

fn start(param: &Param, seed: u64) -> Tensor {
    let mut stream = Stream::new(seed, &param.name);
    let shape = param.shape.clone();
    match param.init {
        Init::Constant(value) => Tensor::filled(shape, value),
        Init::Uniform { low, high } => {
            // An f32 can round up to the bound itself, which the interval excludes.
            let below = high.next_down();
            let (middle, half) =
                (f64::midpoint(low.into(), high.into()), (f64::from(high) - f64::from(low)) / 2.0);
            Tensor::from_fn(shape, |_| ((middle + half * stream.signed()) as f32).min(below))
        }
        Init::HeNormal(fan) => {
            let fan = match fan {
                Fan::In => param.fan_in(),
                Fan::Out => param.fan_out(),
            };
            let deviation = (2.0 / fan as f64).sqrt();
            Tensor::from_fn(shape, |_| (deviation * stream.normal()) as f32)
        }
    }
}

/// Random numbers of one parameter.
struct Stream {
    random: ChaCha8Rng,
    spare: Option<f64>,
}

impl Stream {
    fn new(seed: u64, name: &str) -> Self {
        let mut key = [0; 32];
        let words = [seed, u64::from_le_bytes(*b"weights\0"), fnv1a64(name), name.len() as u64];
        for (part, word) in key.chunks_exact_mut(8).zip(words) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        Self { random: ChaCha8Rng::from_seed(key), spare: None }
    }

    /// Uniform on [−1, 1), a multiple of 2⁻⁵².
    fn signed(&mut self) -> f64 {
        2.0 * ((self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64) - 1.0
    }

    /// Normal with mean 0 and variance 1, by Marsaglia's polar method, which makes two at a time.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (self.signed(), self.signed());
            let square = x * x + y * y;
            if square < 1.0 && square > 0.0 {
                let scale = (-2.0 * ln(square) / square).sqrt();
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }
}

/// Natural logarithm of a positive normal number. The standard library's is the platform's, whose last
/// bit differs from one to the next; this one is elementary arithmetic:
/// `ln(m · 2^e) = e ln 2 + 2 artanh((m − 1) / (m + 1))`, `m` in [√½, √2).
fn ln(value: f64) -> f64 {
    const FRACTION_BITS: u32 = 52;
    const BIAS: i64 = 1023;
    let bits = value.to_bits();
    let mut exponent = (bits >> FRACTION_BITS) as i64 - BIAS;
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    let mut mantissa = f64::from_bits(fraction | ((BIAS as u64) << FRACTION_BITS));
    if mantissa >= std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    // |z| < 0.172: the first term left out, z²³/23, is below half a unit in the last place.
    let series = (0..11).rev().fold(0.0, |sum, k| sum * z * z + 1.0 / f64::from(2 * k + 1));
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * z * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_the_standard_librarys_but_for_the_last_bits() {
        for i in 1..100_000 {
            let value = f64::from(i) * 1.37e-5;
            assert!(
                (ln(value) - value.ln()).abs() <= 4.0 * f64::EPSILON * value.ln().abs().max(0.1),
                "{value}"
            );
        }
        assert_eq!(ln(1.0).to_bits(), 0.0f64.to_bits());
        assert!((ln(f64::MIN_POSITIVE) - f64::MIN_POSITIVE.ln()).abs() < 1e-12);
    }

    #[test]
    fn normal_numbers_have_the_moments_of_the_normal_distribution() {
        let mut stream = Stream::new(1, "conv1.weight");
        let count = 200_000;
        let numbers: Vec<f64> = (0..count).map(|_| stream.normal()).collect();
        let moment = |power| numbers.iter().map(|x: &f64| x.powi(power)).sum::<f64>() / f64::from(count);
        // Five standard errors of each moment: sqrt(1, 2, 15, 96 / count).
        for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let allowed = 5.0 * f64::sqrt(variance / f64::from(count));
            assert!((moment(power) - expected).abs() < allowed, "moment {power}: {}", moment(power));
        }
        let outside = numbers.iter().filter(|x| x.abs() > 1.959_964).count() as f64 / f64::from(count);
        assert!((outside - 0.05).abs() < 0.0025, "{outside}");
    }
}
