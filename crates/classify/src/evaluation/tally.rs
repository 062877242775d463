//! Counting what is right.

use residuum_data::{Dataset, Skipped};

use super::{ClassResult, Evaluation, Progress};
use crate::error::{ClassifyError, Result};
use crate::score::{cross_entropy, rank, top};

/// What has been counted so far.
pub(super) struct Tally<'a> {
    data: &'a Dataset,
    corresponding: Vec<usize>,
    answers: Vec<String>,
    images: usize,
    correct: usize,
    correct5: usize,
    loss: f64,
    per_class: Vec<[usize; 2]>,
    confusion: Vec<Vec<u64>>,
    predicted: Vec<Option<u32>>,
    confidence: Vec<Option<f64>>,
}

impl<'a> Tally<'a> {
    /// `corresponding` is, for each class of the data, its place in `answers`.
    pub(super) fn new(data: &'a Dataset, corresponding: Vec<usize>, answers: Vec<String>) -> Self {
        Self {
            data,
            images: 0,
            correct: 0,
            correct5: 0,
            loss: 0.0,
            per_class: vec![[0; 2]; corresponding.len()],
            confusion: vec![vec![0; answers.len()]; corresponding.len()],
            predicted: vec![None; data.len()],
            confidence: vec![None; data.len()],
            corresponding,
            answers,
        }
    }

    pub(super) fn add(&mut self, indices: &[usize], labels: &[u32], scores: &[Vec<f64>]) -> Result<()> {
        for ((&index, &label), scores) in indices.iter().zip(labels).zip(scores) {
            if scores.iter().any(|x| !x.is_finite()) {
                return Err(ClassifyError::NotFinite { image: self.data.describe(index) });
            }
            self.add_one(index, label as usize, scores);
        }
        Ok(())
    }

    fn add_one(&mut self, index: usize, label: usize, scores: &[f64]) {
        let class = self.corresponding[label];
        let (predicted, rank) = (top(scores, 1)[0], rank(scores, class));
        self.images += 1;
        self.correct += usize::from(rank == 0);
        self.correct5 += usize::from(rank < 5);
        self.loss += cross_entropy(scores, class);
        self.per_class[label][0] += 1;
        self.per_class[label][1] += usize::from(rank == 0);
        self.confusion[label][predicted] += 1;
        self.predicted[index] = Some(predicted as u32);
        self.confidence[index] = Some((-cross_entropy(scores, predicted)).exp());
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { images: self.images, total: self.data.len(), correct: self.correct }
    }

    pub(super) fn finish(self, skipped: Vec<Skipped>, seconds: f64) -> Result<Evaluation> {
        if self.images == 0 {
            let first = skipped.first().map_or_else(String::new, |skipped| skipped.reason.clone());
            return Err(ClassifyError::NothingRead { images: self.data.len(), first });
        }
        let counts = self.data.classes().iter().cloned().zip(self.per_class);
        let classes = counts.map(|(name, [images, correct])| ClassResult { name, images, correct }).collect();
        Ok(Evaluation {
            images: self.images,
            correct: self.correct,
            correct5: self.correct5,
            loss: self.loss / self.images as f64,
            classes,
            answers: self.answers,
            confusion: self.confusion,
            predicted: self.predicted,
            confidence: self.confidence,
            skipped,
            seconds,
        })
    }
}
