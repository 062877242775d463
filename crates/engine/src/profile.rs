//! Where the time goes, step by step.

use std::time::Duration;

/// One step of a run, timed.
#[derive(Clone, Debug)]
pub struct StepTime {
    /// Name of the node whose value the step makes.
    pub name: String,
    /// What the step does, and by which algorithm.
    pub kind: String,
    /// Multiply-adds.
    pub multiply_adds: u64,
    /// Wall time.
    pub time: Duration,
}
