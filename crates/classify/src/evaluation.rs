//! How well a network answers for a data set whose classes are known.

use std::time::Instant;

use residuum_data::{Batch, Dataset, Loader, LoaderOptions, OnBadImage, Skipped};

use crate::classes::correspondence;
use crate::classifier::Classifier;
use crate::error::{ClassifyError, Result};
use crate::score::{cross_entropy, rank, top};

/// Batches that are prepared ahead.
const PREFETCH: usize = 3;

/// How a data set is gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Images that go through the network together; at least 1.
    pub batch_size: usize,
    /// What to do with a picture that cannot be read.
    pub on_bad_image: OnBadImage,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self { batch_size: 64, on_bad_image: OnBadImage::Fail }
    }
}

/// How far an evaluation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Images answered for.
    pub images: usize,
    /// Images in all.
    pub total: usize,
    /// Images answered correctly.
    pub correct: usize,
}

/// A class of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassResult {
    /// Its name.
    pub name: String,
    /// Its images that were answered for.
    pub images: usize,
    /// Those of them answered correctly.
    pub correct: usize,
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Images answered for.
    pub images: usize,
    /// Images whose class was the most probable.
    pub correct: usize,
    /// Images whose class was among the five most probable.
    pub correct5: usize,
    /// Mean cross-entropy.
    pub loss: f64,
    /// The classes of the data, in their order.
    pub classes: Vec<ClassResult>,
    /// Number of images by class of the data and predicted class of the model.
    pub confusion: Vec<Vec<u64>>,
    /// The model's class for each image of the data; `None` for one that was left out.
    pub predicted: Vec<Option<u32>>,
    /// The images left out.
    pub skipped: Vec<Skipped>,
    /// Wall time, loading included and compiling not.
    pub seconds: f64,
}

impl Evaluation {
    /// Share of images whose class was the most probable, in percent.
    pub fn top1(&self) -> f64 {
        percent(self.correct, self.images)
    }

    /// Share of images whose class was among the five most probable, in percent.
    pub fn top5(&self) -> f64 {
        percent(self.correct5, self.images)
    }

    /// Images per second.
    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds
    }
}

impl ClassResult {
    /// Share of its images answered correctly, in percent; 0 where there are none.
    pub fn top1(&self) -> f64 {
        if self.images == 0 { 0.0 } else { percent(self.correct, self.images) }
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

impl Classifier {
    /// Answers for every image of a data set and counts what is right. The classes of data and model are
    /// matched by name; where one of the two has only numbers, by place.
    ///
    /// # Errors
    /// When classes do not correspond, the network cannot be compiled, an image cannot be read (unless such
    /// are skipped) or none can, or an answer is not finite.
    pub fn evaluate(
        &mut self,
        data: &Dataset,
        options: &EvaluateOptions,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Evaluation> {
        let corresponding = correspondence(data.classes(), &self.loaded().info.class_names)?;
        let batch_size = options.batch_size.min(data.len());
        let preprocess = self.loaded().info.preprocess.clone();
        let loading = LoaderOptions {
            on_bad_image: options.on_bad_image,
            threads: self.engine().threads().count(),
            prefetch: PREFETCH,
            ..LoaderOptions::evaluation(batch_size)
        };
        let mut loader = Loader::new(data, &preprocess, loading)?;
        let program = self.program(batch_size)?;
        let start = Instant::now();
        let mut tally = Tally::new(data, corresponding, program.classes());
        let mut padded = vec![0.0; batch_size * preprocess.len()];
        for batch in loader.by_ref() {
            let batch = batch?;
            // A batch of fewer images keeps those of an earlier one behind its own; nobody looks at the answers.
            padded[..batch.images.len()].copy_from_slice(batch.images.data());
            tally.add(&batch, program.run(&padded))?;
            on_progress(Progress { images: tally.images, total: data.len(), correct: tally.correct });
        }
        tally.finish(loader.skipped().to_vec(), start.elapsed().as_secs_f64())
    }
}

/// What has been counted so far.
struct Tally<'a> {
    data: &'a Dataset,
    corresponding: Vec<usize>,
    classes: usize,
    images: usize,
    correct: usize,
    correct5: usize,
    loss: f64,
    per_class: Vec<[usize; 2]>,
    confusion: Vec<Vec<u64>>,
    predicted: Vec<Option<u32>>,
}

impl<'a> Tally<'a> {
    fn new(data: &'a Dataset, corresponding: Vec<usize>, classes: usize) -> Self {
        Self {
            data,
            classes,
            images: 0,
            correct: 0,
            correct5: 0,
            loss: 0.0,
            per_class: vec![[0; 2]; corresponding.len()],
            confusion: vec![vec![0; classes]; corresponding.len()],
            predicted: vec![None; data.len()],
            corresponding,
        }
    }

    fn add(&mut self, batch: &Batch, logits: &[f32]) -> Result<()> {
        let answers = logits.chunks_exact(self.classes);
        for ((&index, &label), logits) in batch.indices.iter().zip(&batch.labels).zip(answers) {
            if logits.iter().any(|x| !x.is_finite()) {
                return Err(ClassifyError::NotFinite { image: self.data.describe(index) });
            }
            self.add_one(index, label as usize, logits);
        }
        Ok(())
    }

    fn add_one(&mut self, index: usize, label: usize, logits: &[f32]) {
        let class = self.corresponding[label];
        let (predicted, rank) = (top(logits, 1)[0], rank(logits, class));
        self.images += 1;
        self.correct += usize::from(rank == 0);
        self.correct5 += usize::from(rank < 5);
        self.loss += cross_entropy(logits, class);
        self.per_class[label][0] += 1;
        self.per_class[label][1] += usize::from(rank == 0);
        self.confusion[label][predicted] += 1;
        self.predicted[index] = Some(predicted as u32);
    }

    fn finish(self, skipped: Vec<Skipped>, seconds: f64) -> Result<Evaluation> {
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
            confusion: self.confusion,
            predicted: self.predicted,
            skipped,
            seconds,
        })
    }
}
