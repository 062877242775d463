//! The learning rate as a pure function of the iteration.

use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};

/// How the learning rate falls during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// The same rate to the end.
    Constant {},
    /// Multiplied by `factor` at each of the iterations in `at` (He et al. 2015, §4.2: at 32k and 48k, by 0.1).
    Steps {
        /// Iterations, counted from 0, from which on another factor holds.
        at: Vec<u64>,
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// Multiplied by `factor` whenever `at` of `of` equal parts of the run are done: `at` counts epochs where
    /// `of` is their number. Keeps its shape whatever the data set and the length of the run.
    Shares {
        /// Parts of the run, after which another factor holds.
        at: Vec<u64>,
        /// How many of them are the whole run.
        of: u64,
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// Half a cosine from the full rate, where the warm-up ends, to `min` at the end of the run
    /// (Loshchilov and Hutter 2017, "SGDR", §3, without restarts).
    Cosine {
        /// The rate that the run ends at.
        #[serde(default, skip_serializing_if = "crate::recipe::is_default")]
        min: f64,
    },
}

impl Schedule {
    /// Whether the numbers make sense together with the full rate.
    pub(crate) fn check(&self, lr: f64) -> Result<()> {
        let refuse = |key: &str, expected: &str, found: String| {
            Err(TrainError::Recipe(format!("recipe: schedule.{key}: expected {expected}, found {found}")))
        };
        match self {
            Self::Steps { factor, .. } | Self::Shares { factor, .. }
                if !(factor.is_finite() && *factor > 0.0) =>
            {
                refuse("factor", "above 0", factor.to_string())
            }
            Self::Shares { at, of, .. } if at.iter().any(|part| part >= of) => {
                refuse("at", &format!("parts below the {of} of the run"), format!("{at:?}"))
            }
            Self::Cosine { min } if !(0.0..=lr).contains(min) => {
                refuse("min", &format!("0 to the full rate of {lr}"), min.to_string())
            }
            _ => Ok(()),
        }
    }
}

/// Other rates for the first iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// How many; at most a fifth of the run, so that a short one has time to learn.
    pub iterations: u64,
    /// The rate of the first of them.
    pub lr: f64,
    /// Whether the rate rises in a straight line to the full one; without it `lr` holds throughout, as the
    /// paper warms its 110 layers up (§4.2).
    #[serde(default)]
    pub linear: bool,
}

/// One part in so many of a run is warm-up at most.
const LARGEST_WARM_UP: u64 = 5;

/// Iterations of a run of `total` that are warm-up.
pub(crate) fn warm_iterations(warm_up: Option<&WarmUp>, total: u64) -> u64 {
    warm_up.map_or(0, |warm_up| warm_up.iterations.min(total / LARGEST_WARM_UP))
}

/// Learning rate of an iteration, counted from 0, of a run of `total` iterations whose full rate is `lr`.
///
/// The iterations of the warm-up are part of the run: steps are counted from its start.
pub fn learning_rate(
    schedule: &Schedule,
    warm_up: Option<&WarmUp>,
    lr: f64,
    iteration: u64,
    total: u64,
) -> f64 {
    let warm = warm_iterations(warm_up, total);
    if let Some(warm_up) = warm_up.filter(|_| iteration < warm) {
        let share = if warm_up.linear { iteration as f64 / warm as f64 } else { 0.0 };
        return warm_up.lr + (lr - warm_up.lr) * share;
    }
    match schedule {
        Schedule::Constant {} => lr,
        Schedule::Steps { at, factor } => {
            at.iter().filter(|&&step| iteration >= step).fold(lr, |rate, _| rate * factor)
        }
        Schedule::Shares { at, of, factor } => {
            let done = u128::from(iteration) * u128::from(*of);
            let passed = at.iter().filter(|&&part| done >= u128::from(part) * u128::from(total));
            passed.fold(lr, |rate, _| rate * factor)
        }
        Schedule::Cosine { min } => {
            let rest = total.saturating_sub(warm).max(1);
            let share = ((iteration - warm) as f64 / rest as f64).min(1.0);
            min + (lr - min) * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-12
    }

    #[test]
    fn the_papers_steps() {
        let steps = Schedule::Steps { at: vec![32_000, 48_000], factor: 0.1 };
        let rates =
            [(0, 0.1), (31_999, 0.1), (32_000, 0.01), (47_999, 0.01), (48_000, 0.001), (63_999, 0.001)];
        for (iteration, expected) in rates {
            let found = learning_rate(&steps, None, 0.1, iteration, 64_000);
            assert!(close(found, expected), "{iteration}: {found}");
        }
        let warm_up = WarmUp { iterations: 400, lr: 0.01, linear: false };
        for (iteration, expected) in [(0, 0.01), (399, 0.01), (400, 0.1), (32_000, 0.01)] {
            let found = learning_rate(&steps, Some(&warm_up), 0.1, iteration, 64_000);
            assert!(close(found, expected), "{iteration}: {found}");
        }
    }

    /// 200 epochs of 390 iterations, lowered on entering epochs 60, 120 and 160, counted from 1.
    #[test]
    fn shares_of_the_run() {
        let shares = Schedule::Shares { at: vec![59, 119, 159], of: 200, factor: 0.2 };
        let cases =
            [(0, 0.1), (23_009, 0.1), (23_010, 0.02), (46_409, 0.02), (46_410, 0.004), (62_010, 8e-4)];
        for (iteration, expected) in cases {
            let found = learning_rate(&shares, None, 0.1, iteration, 78_000);
            assert!(close(found, expected), "{iteration}: {found}");
        }
        // A tenth of the run keeps the shape.
        assert!(close(learning_rate(&shares, None, 0.1, 2_301, 7_800), 0.02));
        assert!(Schedule::Shares { at: vec![200], of: 200, factor: 0.2 }.check(0.1).is_err());
        assert!(Schedule::Shares { at: vec![1], of: 200, factor: 0.0 }.check(0.1).is_err());
    }

    #[test]
    fn a_linear_warm_up_then_half_a_cosine() {
        let warm_up = WarmUp { iterations: 100, lr: 0.0, linear: true };
        let rates = [(0, 0.0), (50, 0.1), (100, 0.2), (550, 0.1), (1000, 0.0)];
        for (iteration, expected) in rates {
            let found = learning_rate(&Schedule::Cosine { min: 0.0 }, Some(&warm_up), 0.2, iteration, 1000);
            assert!(close(found, expected), "{iteration}: {found}");
        }
        for (iteration, expected) in [(0, 0.0), (100, 0.2), (550, 0.11), (1000, 0.02)] {
            let found = learning_rate(&Schedule::Cosine { min: 0.02 }, Some(&warm_up), 0.2, iteration, 1000);
            assert!(close(found, expected), "{iteration}: {found}");
        }
        assert!(Schedule::Cosine { min: 0.2 }.check(0.2).is_ok());
        for min in [-0.1, 0.3, f64::NAN] {
            assert!(Schedule::Cosine { min }.check(0.2).is_err());
        }
    }

    #[test]
    fn a_warm_up_takes_a_fifth_of_a_short_run_at_most() {
        let warm_up = WarmUp { iterations: 100, lr: 0.0, linear: true };
        for (iteration, expected) in [(0, 0.0), (1, 0.1), (2, 0.2), (6, 0.1)] {
            let found = learning_rate(&Schedule::Cosine { min: 0.0 }, Some(&warm_up), 0.2, iteration, 10);
            assert!(close(found, expected), "{iteration}: {found}");
        }
        assert!(close(learning_rate(&Schedule::Cosine { min: 0.0 }, Some(&warm_up), 0.2, 0, 1), 0.2));
    }
}
