//! How far the answers of two networks are from each other.

use crate::classifier::Classifier;
use crate::error::{ClassifyError, Result};
use crate::score::top;

/// What a comparison has found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Images that both networks answered for.
    pub images: usize,
    /// Images for which both have the same most probable class.
    pub same_class: usize,
    /// Largest absolute difference of a logit.
    pub largest_difference: f64,
    /// Largest absolute logit of the first network.
    pub largest_logit: f64,
}

impl Agreement {
    /// Asks both networks about prepared pictures that lie one after the other.
    ///
    /// # Errors
    /// When the networks answer with different numbers of classes, one cannot be compiled, or an answer is
    /// not finite.
    pub fn add(&mut self, one: &mut Classifier, other: &mut Classifier, prepared: &[f32]) -> Result<()> {
        let classes = one.loaded().classes();
        if other.loaded().classes() != classes {
            let (found, name) = (other.loaded().classes(), &other.loaded().model.name);
            return Err(ClassifyError::Classes(format!("expected {classes}, found {found} in {name}")));
        }
        let (before, after) = (one.prepared_logits(prepared)?, other.prepared_logits(prepared)?);
        for (before, after) in before.chunks_exact(classes).zip(after.chunks_exact(classes)) {
            if before.iter().chain(after).any(|x| !x.is_finite()) {
                return Err(ClassifyError::NotFinite { image: format!("image {}", self.images) });
            }
            let wide = |row: &[f32]| row.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
            let (before, after) = (wide(before), wide(after));
            self.images += 1;
            self.same_class += usize::from(top(&before, 1) == top(&after, 1));
            for (&a, &b) in before.iter().zip(&after) {
                self.largest_difference = self.largest_difference.max((a - b).abs());
                self.largest_logit = self.largest_logit.max(a.abs());
            }
        }
        Ok(())
    }
}
