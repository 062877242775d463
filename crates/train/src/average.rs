//! The running average of the weights.

use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};

/// A running average of all parameters and running statistics: `average ← d · average + (1 − d) · weight`
/// after every so many steps. It begins with the start values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {
    /// The share d that stays.
    pub decay: f64,
    /// Steps from one change of the average to the next; timm changes it after every one.
    #[serde(default = "one")]
    pub every: u64,
    /// As torchvision does it: d is for one picture of a run of one epoch, and is rescaled so that the
    /// average reaches back as far whatever the batch and the length of the run; while the learning rate warms
    /// up, the average is the weights.
    #[serde(default)]
    pub rescaled: bool,
}

const fn one() -> u64 {
    1
}

impl Average {
    /// Share that stays at a change of the average, of a run of so many epochs and pictures a step:
    /// `d`, or rescaled `1 − min(1, (1 − d) · pictures · every / epochs)`.
    pub fn keep(&self, batch_size: usize, epochs: u64) -> f64 {
        if !self.rescaled {
            return self.decay;
        }
        let alpha = (1.0 - self.decay) * batch_size as f64 * self.every as f64 / epochs as f64;
        1.0 - alpha.min(1.0)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |key: &str, expected: &str, found: String| {
            Err(TrainError::Recipe(format!("recipe: average.{key}: expected {expected}, found {found}")))
        };
        if !(0.0..1.0).contains(&self.decay) {
            return refuse("decay", "0 to below 1", self.decay.to_string());
        }
        if self.every == 0 { refuse("every", "at least 1", "0".into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torchvision's second recipe: batches of 1024, 600 epochs.
    #[test]
    fn the_rescaled_share_is_that_of_the_second_recipe() {
        let rescaled = Average { decay: 0.99998, every: 32, rescaled: true };
        assert!((rescaled.keep(1024, 600) - 0.99891).abs() < 5e-6, "{}", rescaled.keep(1024, 600));
        assert!(rescaled.keep(1024, 1) > 0.3 && rescaled.keep(100_000, 1) < 1e-12);
        let plain = Average { decay: 0.9999, every: 1, rescaled: false };
        assert!((plain.keep(1024, 600) - 0.9999).abs() < 1e-15);
        for bad in [1.0, -0.1, f64::NAN] {
            assert!(Average { decay: bad, ..plain.clone() }.check().is_err());
        }
        assert!(Average { every: 0, ..plain }.check().is_err());
    }
}
