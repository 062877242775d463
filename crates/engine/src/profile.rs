//! Where the time goes, step by step, and where it has to go.

use std::ops::Mul;
use std::time::Duration;

use crate::plan::Plan;
use crate::step::{Action, Step, ValueId};

/// One step of a run, timed.
#[derive(Clone, Debug)]
pub struct StepTime {
    /// Name of the node whose value the step makes.
    pub name: String,
    /// What the step does, and by which algorithm.
    pub kind: String,
    /// Multiply-adds of the definition.
    pub multiply_adds: u64,
    /// What the step takes by the algorithm that was chosen.
    pub cost: Cost,
    /// Wall time.
    pub time: Duration,
}

/// What an algorithm takes at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-adds, those of transforms included.
    pub multiply_adds: u64,
    /// Bytes read and written: values, filters as they are packed, sums that wait in memory.
    pub bytes: u64,
}

impl Mul<u64> for Cost {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self { multiply_adds: times * self.multiply_adds, bytes: times * self.bytes }
    }
}

impl Step {
    /// What the step takes for a group of images.
    pub(crate) fn cost(&self, plan: &Plan) -> Cost {
        let floats_of = |value: &ValueId| plan.slot(*value).layout.pixels() * plan.slot(*value).layout.c;
        let reads = match &self.action {
            Action::Moments { sums: Some(_), known, .. } => known.iter().copied().collect(),
            _ => self.reads(),
        };
        let values: usize = reads.iter().chain([&self.out]).map(floats_of).sum();
        let (multiply_adds, others) = match &self.action {
            Action::Load | Action::LoadSeed => (0, values),
            Action::Conv { kernel, .. } => (kernel.multiply_adds(), kernel.packed_len()),
            Action::ConvBackwardData { kernel, .. } => (kernel.multiply_adds(), kernel.packed_len()),
            Action::ConvBackwardWeights { kernel, .. } => (kernel.multiply_adds(), 2 * kernel.scratch_len()),
            Action::Int8(_) => (self.multiply_adds as usize, 0),
            _ => (0, 0),
        };
        let bytes = size_of::<f32>() * (values + others);
        Cost { multiply_adds: multiply_adds as u64, bytes: bytes as u64 }
    }
}
