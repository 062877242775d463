//! What an optimiser remembers between steps, and what it does in one.

use rayon::prelude::*;
use residuum_kernels::{Isa, LambStep, Parameter, SgdStep, lamb_step, sgd_step};
use residuum_tensor::AlignedBuffer;

use crate::error::EngineError;
use crate::memory::allocate;

/// By which rule weights follow gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OptimiserKind {
    /// Stochastic gradient descent, which remembers a velocity.
    #[default]
    Sgd,
    /// LAMB, which remembers the first moments of the gradients, as velocities, and the second.
    Lamb,
}

/// One step of an optimiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptimiserStep {
    /// Stochastic gradient descent.
    Sgd(SgdStep),
    /// LAMB.
    Lamb(LambStep),
}

impl OptimiserStep {
    /// Whose step it is.
    pub const fn optimiser(&self) -> OptimiserKind {
        match self {
            Self::Sgd(_) => OptimiserKind::Sgd,
            Self::Lamb(_) => OptimiserKind::Lamb,
        }
    }
}

impl From<&SgdStep> for OptimiserStep {
    fn from(step: &SgdStep) -> Self {
        Self::Sgd(*step)
    }
}

impl From<&LambStep> for OptimiserStep {
    fn from(step: &LambStep) -> Self {
        Self::Lamb(*step)
    }
}

impl From<&Self> for OptimiserStep {
    fn from(step: &Self) -> Self {
        *step
    }
}

/// The memory of an optimiser, laid out as the parameters are.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The one table of what is learned: where it lies and whether it decays, in the order of the places.
    parameters: Vec<Parameter>,
    /// Velocities, or first moments.
    pub(crate) first: AlignedBuffer,
    pub(crate) second: Option<AlignedBuffer>,
}

impl Memory {
    /// Nothing happened yet to `parameters`, which come in the order of their places.
    pub(crate) fn new(optimiser: OptimiserKind, parameters: Vec<Parameter>) -> Result<Self, EngineError> {
        let len = parameters.last().map_or(0, |parameter| parameter.place.end);
        let first = allocate("the optimiser's moments", len)?;
        let second = match optimiser {
            OptimiserKind::Sgd => None,
            OptimiserKind::Lamb => Some(allocate("the optimiser's second moments", len)?),
        };
        Ok(Self { parameters, first, second })
    }

    /// Floats held.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.second.as_ref().map_or(0, |second| second.len())
    }

    /// Moves the weights along the gradients, those of each parameter, in step `number`, counted from 1. Panics where it
    /// is another optimiser's step.
    pub(crate) fn step(
        &mut self,
        isa: Isa,
        weights: &mut [f32],
        grads: &[&[f32]],
        step: &OptimiserStep,
        number: u64,
    ) {
        let weights = &mut weights[..self.first.len()];
        match (step, &mut self.second) {
            (OptimiserStep::Sgd(step), None) => {
                let (mut rest, mut at) = ([weights, &mut self.first], 0);
                let mut updates = Vec::with_capacity(grads.len());
                for (Parameter { place, decays }, grads) in self.parameters.iter().zip(grads) {
                    let [(weights, behind_weights), (first, behind_first)] =
                        rest.map(|buffer| buffer[place.start - at..].split_at_mut(place.len()));
                    let weight_decay = if *decays { step.weight_decay } else { 0.0 };
                    updates.push((weights, *grads, first, SgdStep { weight_decay, ..*step }));
                    (rest, at) = ([behind_weights, behind_first], place.end);
                }
                updates
                    .into_par_iter()
                    .for_each(|(weights, grads, first, step)| sgd_step(isa, weights, grads, first, &step));
            }
            (OptimiserStep::Lamb(step), Some(second)) => {
                let moments: [&mut [f32]; 2] = [&mut self.first, second];
                lamb_step(isa, weights, grads, moments, &self.parameters, step, number);
            }
            (step, _) => panic!("a network that is not compiled for {:?}", step.optimiser()),
        }
    }
}
