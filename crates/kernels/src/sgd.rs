//! Stochastic gradient descent with momentum over contiguous parameters.

use rayon::prelude::*;

use crate::isa::{Kernel, Simd};
use crate::{Isa, check};

/// What one step does to a parameter `w` with gradient `g` and velocity `v` (PyTorch's form):
///
/// ```text
/// g += weight_decay · w
/// v  = momentum · v + g
/// w -= lr · (g + momentum · v)     with Nesterov's momentum
/// w -= lr · v                      without
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub lr: f64,
    /// Share of the velocity that survives a step; 0 is plain descent.
    pub momentum: f64,
    /// Looks ahead along the velocity.
    pub nesterov: bool,
    /// Factor of the L2 penalty's gradient.
    pub weight_decay: f64,
}

/// Floats that a task works on.
const PIECE: usize = 1 << 14;

/// One step over all parameters; `velocity` is 0 before the first. Panics where the lengths differ.
pub fn sgd_step(isa: Isa, weights: &mut [f32], grads: &[f32], velocity: &mut [f32], step: &SgdStep) {
    check::length("grads", grads.len(), weights.len());
    check::length("velocity", velocity.len(), weights.len());
    let pieces = weights.par_chunks_mut(PIECE).zip(velocity.par_chunks_mut(PIECE));
    pieces.zip(grads.par_chunks(PIECE)).for_each(|((weights, velocity), grads)| {
        isa.run(Step { weights, grads, velocity, how: *step });
    });
}

struct Step<'a> {
    weights: &'a mut [f32],
    grads: &'a [f32],
    velocity: &'a mut [f32],
    how: SgdStep,
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let lr = simd.splat(-self.how.lr as f32);
        let momentum = simd.splat(self.how.momentum as f32);
        let decay = simd.splat(self.how.weight_decay as f32);
        let pieces = self.weights.chunks_mut(S::LANES).zip(self.velocity.chunks_mut(S::LANES));
        for ((weights, velocity), grads) in pieces.zip(self.grads.chunks(S::LANES)) {
            let w = simd.load_part(weights);
            let g = simd.fma(decay, w, simd.load_part(grads));
            let v = simd.fma(momentum, simd.load_part(velocity), g);
            let direction = if self.how.nesterov { simd.fma(momentum, v, g) } else { v };
            simd.store_part(v, velocity);
            simd.store_part(simd.fma(lr, direction, w), weights);
        }
    }
}
