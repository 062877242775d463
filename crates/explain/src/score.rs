//! How well a network answers a sample, batch by batch.

use residuum_tensor::Tensor;

use crate::error::{ExplainError, Result};
use crate::subject::Subject;

/// What is left to be wished of the answers for a sample of images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share of the images whose class is not the most probable, 0 to 1.
    pub error: f64,
}

impl Score {
    /// What is known of a network that was not asked.
    pub const UNKNOWN: Self = Self { loss: f64::NAN, error: f64::NAN };

    /// The score of logits `[n, classes]` for images of these classes.
    ///
    /// # Panics
    /// When a label is no class.
    pub fn of(logits: &Tensor, labels: &[u32]) -> Self {
        let (mut loss, mut wrong) = (0.0, 0usize);
        for (row, &label) in logits.data().chunks(logits.shape()[1]).zip(labels) {
            loss += cross_entropy(row, label as usize);
            wrong += usize::from(!is_first_largest(row, label as usize));
        }
        let count = labels.len().max(1) as f64;
        Self { loss: loss / count, error: wrong as f64 / count }
    }
}

fn cross_entropy(row: &[f32], label: usize) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
    largest + sum.ln() - f64::from(row[label])
}

/// Of equals the first counts; what is not a number is never right.
fn is_first_largest(row: &[f32], label: usize) -> bool {
    let own = row[label];
    row.iter().enumerate().all(|(class, &x)| if class < label { x < own } else { x <= own })
}

impl Subject<'_> {
    /// The score for images `[n, 3, h, w]` and their classes. `tell` hears after every batch how many
    /// images are answered, and stops the work by returning false: then there is none.
    ///
    /// # Errors
    /// When the network does not admit the images or has no such class.
    pub fn score(
        &self,
        images: &Tensor,
        labels: &[u32],
        mut tell: impl FnMut(usize) -> bool,
    ) -> Result<Option<Score>> {
        if let Some(label) = labels.iter().find(|&&label| label as usize >= self.classes()) {
            let expected = format!("classes below {}", self.classes());
            return Err(ExplainError::unfit("labels", expected, label.to_string()));
        }
        let mut logits = Vec::with_capacity(labels.len() * self.classes());
        let is_whole = self.in_batches(images, &[], |range, answer, _| {
            logits.extend_from_slice(answer);
            tell(range.end)
        })?;
        let shape = [logits.len() / self.classes(), self.classes()];
        Ok(is_whole.then(|| Score::of(&Tensor::from_fn(shape, |index| logits[index]), labels)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_count_and_losses_are_cross_entropies() {
        let logits = Tensor::new([3, 2], vec![2.0, 0.0, 1.0, 1.0, f32::NAN, 0.0]).unwrap();
        let score = Score::of(&Tensor::new([2, 2], logits.data()[..4].to_vec()).unwrap(), &[0, 1]);
        let want = f64::midpoint((1.0 + (-2f64).exp()).ln(), 2f64.ln());
        assert!((score.loss - want).abs() < 1e-12 && (score.error - 0.5).abs() < 1e-12, "{score:?}");
        assert!((Score::of(&logits, &[0, 0, 1]).error - 1.0 / 3.0).abs() < 1e-12, "no number is not right");
    }
}
