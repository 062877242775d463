//! Stochastic gradient descent with momentum.

use super::Real;
use crate::check;
use crate::sgd::SgdStep;

/// One step in PyTorch's form; see [`SgdStep`] for the formula. `velocity` is 0 before the first step.
pub fn sgd_step<T: Real>(weights: &mut [T], grads: &[T], velocity: &mut [T], step: &SgdStep) {
    check::length("grads", grads.len(), weights.len());
    check::length("velocity", velocity.len(), weights.len());
    let [lr, momentum, weight_decay] = [step.lr, step.momentum, step.weight_decay].map(T::from_f64);
    for ((w, &g), v) in weights.iter_mut().zip(grads).zip(velocity) {
        let g = g + weight_decay * *w;
        *v = momentum * *v + g;
        let direction = if step.nesterov { g + momentum * *v } else { *v };
        *w = *w - lr * direction;
    }
}
