//! LAMB.

use super::Real;
use crate::check;
use crate::lamb::{LambStep, Parameter, trust};

/// Step `number`, counted from 1; see [`LambStep`] for the formula. The moments are 0 before the first step.
pub fn lamb_step<T: Real>(
    weights: &mut [T],
    grads: &[T],
    [first, second]: [&mut [T]; 2],
    parameters: &[Parameter],
    step: &LambStep,
    number: u64,
) {
    check::length("grads", grads.len(), weights.len());
    check::length("first moments", first.len(), weights.len());
    check::length("second moments", second.len(), weights.len());
    let squares = |values: &[T]| values.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
    let all = parameters.iter().map(|parameter| squares(&grads[parameter.place.clone()])).sum();
    let clip = T::from_f64(step.clip(all));
    let [correction1, correction2] = step.corrections(number).map(T::from_f64);
    let [beta1, beta2] = step.betas.map(T::from_f64);
    for parameter in parameters {
        let weight_decay = T::from_f64(if parameter.decays { step.weight_decay } else { 0.0 });
        let mut update = Vec::with_capacity(parameter.place.len());
        for i in parameter.place.clone() {
            let g = clip * grads[i];
            first[i] = beta1 * first[i] + (T::ONE - beta1) * g;
            second[i] = beta2 * second[i] + (T::ONE - beta2) * g * g;
            let root = (correction2 * second[i]).sqrt() + T::from_f64(step.epsilon);
            update.push(correction1 * first[i] / root + weight_decay * weights[i]);
        }
        let weights = &mut weights[parameter.place.clone()];
        let ratio = if step.adapts(parameter) { trust([squares(weights), squares(&update)]) } else { 1.0 };
        let rate = T::from_f64(step.lr * ratio);
        for (w, u) in weights.iter_mut().zip(update) {
            *w = *w - rate * u;
        }
    }
}
