//! LAMB over parameters that lie one after the other.

use std::ops::Range;

use rayon::prelude::*;

use crate::isa::{Kernel, MOST_LANES, Simd};
use crate::{Isa, check};

/// What one step does to each parameter `w` with gradient `g` and moments `m` and `v` (You et al. 2020, "Large batch
/// optimization for deep learning", Algorithm 2, as timm does it, with which "ResNet strikes back" was trained):
///
/// ```text
/// g  /= max(1, ‖g of all parameters‖ / max_norm)
/// m   = β₁ · m + (1 − β₁) · g
/// v   = β₂ · v + (1 − β₂) · g²
/// u   = (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε) + weight_decay · w
/// w  -= lr · (‖w‖ / ‖u‖) · u            the ratio is 1 where either norm is 0
/// w  -= lr · u                          for parameters that do not decay
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LambStep {
    /// Learning rate.
    pub lr: f64,
    /// Shares β₁ and β₂ of the moments that survive a step, each below 1.
    pub betas: [f64; 2],
    /// What keeps the denominator ε from 0; above 0 in single precision.
    pub epsilon: f64,
    /// Factor of the weights in the update.
    pub weight_decay: f64,
    /// Largest norm of all gradients together, to which larger ones are scaled; infinite for any.
    pub max_norm: f64,
}

impl LambStep {
    /// Whether a parameter has a rate of its own: as in timm, one that weight decay pulls.
    pub(crate) fn adapts(&self, parameter: &Parameter) -> bool {
        parameter.decays && self.weight_decay != 0.0
    }

    /// What gradients are multiplied by, from the sum of their squares.
    pub(crate) fn clip(&self, squares: f64) -> f64 {
        1.0 / (squares.sqrt() / self.max_norm).max(1.0)
    }

    /// What the moments are multiplied by in step `number`, counted from 1, as they began with 0.
    pub(crate) fn corrections(&self, number: u64) -> [f64; 2] {
        self.betas.map(|beta| 1.0 / (1.0 - power(beta, number)))
    }
}

/// ‖w‖ / ‖u‖ from the sums of squares.
pub(crate) fn trust([weights, update]: [f64; 2]) -> f64 {
    if weights > 0.0 && update > 0.0 { (weights / update).sqrt() } else { 1.0 }
}

/// By squaring: the same bits on every machine, which the standard library does not promise.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut product = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            product *= base;
        }
        base *= base;
        exponent /= 2;
    }
    product
}

/// Where a parameter lies in the buffers of an optimiser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its floats.
    pub place: Range<usize>,
    /// Whether weight decay pulls it towards zero.
    pub decays: bool,
}

/// Floats that a task works on.
const PIECE: usize = 1 << 14;

/// Step `number`, counted from 1, over all parameters, which come in the order of their places and do not overlap, as
/// their gradients do; the moments are 0 before the first. Sums of squares are added up in `f64` in a fixed order.
///
/// # Panics
/// Where the lengths differ, places are out of order or outside, or `number` is 0.
pub fn lamb_step(
    isa: Isa,
    weights: &mut [f32],
    grads: &[&[f32]],
    moments: [&mut [f32]; 2],
    parameters: &[Parameter],
    step: &LambStep,
    number: u64,
) {
    assert!(number > 0, "steps are counted from 1");
    let mut pieces = pieces(weights, grads, moments, parameters);
    let squares: Vec<f64> = pieces.par_iter().map(|piece| isa.run(Squares(piece.grads))).collect();
    let coefficients = Coefficients::new(step, step.clip(squares.iter().sum()), number);
    let of_pieces: Vec<[f64; 2]> =
        pieces.par_iter_mut().map(|piece| isa.run(Gather { piece, coefficients: &coefficients })).collect();
    let mut sums = vec![[0.0; 2]; parameters.len()];
    for (piece, [weights, update]) in pieces.iter().zip(of_pieces) {
        sums[piece.parameter][0] += weights;
        sums[piece.parameter][1] += update;
    }
    let rate = |(parameter, sums): (&Parameter, [f64; 2])| {
        step.lr * if step.adapts(parameter) { trust(sums) } else { 1.0 }
    };
    let rates: Vec<f64> = parameters.iter().zip(sums).map(rate).collect();
    pieces.par_iter_mut().for_each(|piece| {
        let rate = rates[piece.parameter] as f32;
        isa.run(Descend { piece, coefficients: &coefficients, rate });
    });
}

/// Euclidean norm of all values together, added up in `f64` in a fixed order.
pub fn euclidean_norm(isa: Isa, values: &[&[f32]]) -> f64 {
    let pieces: Vec<&[f32]> = values.iter().flat_map(|values| values.chunks(PIECE)).collect();
    let squares: Vec<f64> = pieces.into_par_iter().map(|values| isa.run(Squares(values))).collect();
    squares.iter().sum::<f64>().sqrt()
}

/// A part of one parameter.
struct Piece<'a> {
    parameter: usize,
    decays: bool,
    weights: &'a mut [f32],
    grads: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

fn pieces<'a>(
    weights: &'a mut [f32],
    grads: &[&'a [f32]],
    [first, second]: [&'a mut [f32]; 2],
    parameters: &[Parameter],
) -> Vec<Piece<'a>> {
    for (name, len) in [("first moments", first.len()), ("second moments", second.len())] {
        check::length(name, len, weights.len());
    }
    check::length("grads", grads.len(), parameters.len());
    let mut pieces = Vec::new();
    let (mut rest, mut done) = ([weights, first, second], 0);
    for (parameter, Parameter { place, decays }) in parameters.iter().enumerate() {
        let gap = place.start.checked_sub(done).expect("places are in order");
        check::length("grads of a parameter", grads[parameter].len(), place.len());
        for start in place.clone().step_by(PIECE) {
            let gap = if start == place.start { gap } else { 0 };
            let len = PIECE.min(place.end - start);
            let cut = rest.map(|buffer| buffer[gap..].split_at_mut(len));
            let [(weights, behind_weights), (first, behind_first), (second, behind_second)] = cut;
            let grads = &grads[parameter][start - place.start..][..len];
            pieces.push(Piece { parameter, decays: *decays, weights, grads, first, second });
            (rest, done) = ([behind_weights, behind_first, behind_second], start + len);
        }
    }
    pieces
}

/// The numbers of one step.
struct Coefficients {
    clip: f32,
    betas: [f32; 2],
    /// `1 − β`.
    shares: [f32; 2],
    /// Of the first moment and of the root of the second.
    corrections: [f32; 2],
    epsilon: f32,
    weight_decay: f32,
}

impl Coefficients {
    fn new(step: &LambStep, clip: f64, number: u64) -> Self {
        let [first, second] = step.corrections(number);
        Self {
            clip: clip as f32,
            betas: step.betas.map(|beta| beta as f32),
            shares: step.betas.map(|beta| (1.0 - beta) as f32),
            corrections: [first as f32, second.sqrt() as f32],
            epsilon: step.epsilon as f32,
            weight_decay: step.weight_decay as f32,
        }
    }

    /// `u` of the formula.
    #[inline(always)]
    fn update<S: Simd>(&self, simd: S, w: S::V, m: S::V, v: S::V, decays: bool) -> S::V {
        let mean = simd.mul(simd.splat(self.corrections[0]), m);
        let root = simd.fma(simd.splat(self.corrections[1]), simd.sqrt(v), simd.splat(self.epsilon));
        let decay = if decays { self.weight_decay } else { 0.0 };
        simd.fma(simd.splat(decay), w, simd.div(mean, root))
    }
}

/// Moves the moments; the sums of squares of weights and updates.
struct Gather<'a, 'b> {
    piece: &'a mut Piece<'b>,
    coefficients: &'a Coefficients,
}

impl Kernel for Gather<'_, '_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [f64; 2] {
        let Self { piece, coefficients: how } = self;
        let mut sums = [[0.0; MOST_LANES]; 2];
        let moments = piece.first.chunks_mut(S::LANES).zip(piece.second.chunks_mut(S::LANES));
        let values = piece.weights.chunks(S::LANES).zip(piece.grads.chunks(S::LANES));
        for ((first, second), (weights, grads)) in moments.zip(values) {
            let w = simd.load_part(weights);
            let g = simd.mul(simd.splat(how.clip), simd.load_part(grads));
            let old = simd.mul(simd.splat(how.betas[0]), simd.load_part(first));
            let m = simd.fma(simd.splat(how.shares[0]), g, old);
            let old = simd.mul(simd.splat(how.betas[1]), simd.load_part(second));
            let v = simd.fma(simd.splat(how.shares[1]), simd.mul(g, g), old);
            simd.store_part(m, first);
            simd.store_part(v, second);
            add_squares(simd, w, &mut sums[0]);
            add_squares(simd, how.update(simd, w, m, v, piece.decays), &mut sums[1]);
        }
        sums.map(|lanes| lanes.iter().sum())
    }
}

/// Moves the weights; the updates are computed once more instead of being kept.
struct Descend<'a, 'b> {
    piece: &'a mut Piece<'b>,
    coefficients: &'a Coefficients,
    rate: f32,
}

impl Kernel for Descend<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { piece, coefficients, rate } = self;
        let moments = piece.first.chunks(S::LANES).zip(piece.second.chunks(S::LANES));
        for (weights, (first, second)) in piece.weights.chunks_mut(S::LANES).zip(moments) {
            let (w, m, v) = (simd.load_part(weights), simd.load_part(first), simd.load_part(second));
            let update = coefficients.update(simd, w, m, v, piece.decays);
            simd.store_part(simd.fma(simd.splat(-rate), update, w), weights);
        }
    }
}

/// The sum of squares.
struct Squares<'a>(&'a [f32]);

impl Kernel for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        let mut sums = [0.0; MOST_LANES];
        for values in self.0.chunks(S::LANES) {
            add_squares(simd, simd.load_part(values), &mut sums);
        }
        sums.iter().sum()
    }
}

#[inline(always)]
fn add_squares<S: Simd>(simd: S, v: S::V, sums: &mut [f64; MOST_LANES]) {
    let mut lanes = [0.0; MOST_LANES];
    simd.store(v, &mut lanes);
    for lane in 0..S::LANES {
        let value = f64::from(lanes[lane]);
        sums[lane] += value * value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_repeated_multiplication() {
        let expected = (0..37).fold(1.0, |product, _| product * 0.999);
        assert!((power(0.999, 37) - expected).abs() < 1e-15);
        assert!((power(0.5, 3) - 0.125).abs() < 1e-15 && (power(0.3, 0) - 1.0).abs() < 1e-15);
        assert!(power(0.999, 1 << 40) < 1e-300);
    }
}
