//! How well networks answer for a data set whose classes are known, each alone and all together.
//!
//! ```text
//! loader     pictures, a few at a time, as the views of each preparation
//! answer     a network's logits for every view, averaged for each picture
//! tally      what is right, for each member; for the ensemble, of the mean of their probabilities
//! ```
//! No more answers are kept than those of one batch, whatever the size of the data set.

mod answer;
mod members;
mod tally;

use std::time::Instant;

use residuum_data::{Dataset, Loader, LoaderOptions, OnBadImage, Preprocess, Skipped, Views};

use crate::classifier::Classifier;
use crate::error::{ClassifyError, Result};
use crate::score::{Average, Mean};
use answer::Answering;
use members::{Seat, seats};
use tally::Tally;

/// Batches that are prepared ahead.
const PREFETCH: usize = 3;

/// What the answer for a whole picture of any size is (He et al. 2015, §3.4, "Testing", leaves it open).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Positions {
    /// The fully convolutional form: the last mean goes over windows as large as the last map is at the
    /// network's own size (7×7 for ImageNet), the linear layer answers at each, and the answers are
    /// averaged. The scales must not be below the network's own size.
    #[default]
    Windows,
    /// The network as it is: one mean over the whole last map, and one answer.
    Whole,
}

/// How a data set is gone through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Views that go through the network together; at least 1. Whole pictures go one by one.
    pub batch_size: usize,
    /// What to do with a picture that cannot be read.
    pub on_bad_image: OnBadImage,
    /// What of each picture the network is shown.
    pub views: Views,
    /// What is averaged over the views, and over the positions of a whole picture.
    pub average: Average,
    /// How whole pictures are answered for.
    pub positions: Positions,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self {
            batch_size: 64,
            on_bad_image: OnBadImage::Fail,
            views: Views::default(),
            average: Average::default(),
            positions: Positions::default(),
        }
    }
}

impl EvaluateOptions {
    /// Pictures of a batch, so that its views are `batch_size` at most if one picture's are.
    fn pictures(&self, available: usize) -> usize {
        let most = if self.views.are_of_one_size() { self.batch_size / self.views.count() } else { 1 };
        // With a batch size of 0 the loader says what is wrong.
        most.clamp(self.batch_size.min(1), available.max(1))
    }
}

/// How far an evaluation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Images answered for.
    pub images: usize,
    /// Images in all.
    pub total: usize,
    /// Images answered correctly; by the ensemble where there are several networks.
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
    /// Names of the classes that are answered with; the data's where the model has none.
    pub answers: Vec<String>,
    /// Number of images by class of the data and place in `answers`.
    pub confusion: Vec<Vec<u64>>,
    /// The place in `answers` for each image of the data; `None` for one that was left out.
    pub predicted: Vec<Option<u32>>,
    /// Probability of that answer, between 0 and 1, likewise.
    pub confidence: Vec<Option<f64>>,
    /// The images left out.
    pub skipped: Vec<Skipped>,
    /// Wall time, loading included and compiling not (but for whole pictures, whose sizes nobody knows
    /// before). A member of an ensemble has the time of loading and its own.
    pub seconds: f64,
}

/// What came out for several networks.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluations {
    /// Each network's own.
    pub members: Vec<Evaluation>,
    /// That of the mean of their probabilities; absent for one network alone.
    pub ensemble: Option<Evaluation>,
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
    /// As [`evaluate`].
    pub fn evaluate(
        &mut self,
        data: &Dataset,
        options: &EvaluateOptions,
        on_progress: impl FnMut(Progress),
    ) -> Result<Evaluation> {
        let mut evaluations = evaluate(std::slice::from_mut(self), data, options, on_progress)?;
        Ok(evaluations.members.remove(0))
    }
}

/// Answers for every image of a data set with each of several networks and with all of them together, whose
/// answer is the mean of their probabilities (He et al. 2015, Table 5). The networks may have preparations
/// and sizes of their own; an image is read once for all.
///
/// # Errors
/// When there is no network, its classes correspond to those of the data or of the other networks by no
/// rule, a preparation has no such views, a network cannot be compiled, an image cannot be read (unless such
/// are skipped) or none can, or an answer is not finite.
pub fn evaluate(
    members: &mut [Classifier],
    data: &Dataset,
    options: &EvaluateOptions,
    mut on_progress: impl FnMut(Progress),
) -> Result<Evaluations> {
    let seats = seats(members, data)?;
    let first =
        members.first().ok_or_else(|| ClassifyError::Classes("expected a network, found none".into()))?;
    let pictures = options.pictures(data.len());
    let loading = LoaderOptions {
        on_bad_image: options.on_bad_image,
        threads: first.engine().threads().count(),
        prefetch: PREFETCH,
        ..LoaderOptions::evaluation(pictures)
    };
    let (preparations, of_member) = distinct(members);
    let mut loader = Loader::views(data, &preparations, &options.views, loading)?;
    let answering = Answering::new(options, pictures);
    for member in members.iter_mut() {
        answering.compile(member)?;
    }
    let start = Instant::now();
    let mut own = vec![0.0; members.len()];
    let tally = |seat: &Seat| Tally::new(data, seat.corresponding.clone(), seat.names.clone());
    let mut tallies: Vec<Tally<'_>> = seats.iter().map(tally).collect();
    let mut together = (members.len() > 1).then(|| tally(&seats[0]));
    for batch in loader.by_ref() {
        let mut batch = batch?;
        let mut means = vec![Mean::new(Average::Probabilities); batch.indices.len()];
        for (i, (member, seat)) in members.iter_mut().zip(&seats).enumerate() {
            let begin = Instant::now();
            let stacks = &mut batch.images[of_member[i]];
            let scores = answering.answer(member, stacks, batch.indices.len())?;
            tallies[i].add(&batch.indices, &batch.labels, &scores)?;
            if together.is_some() {
                for (mean, scores) in means.iter_mut().zip(&scores) {
                    mean.add(&seat.in_common_order(scores));
                }
            }
            own[i] += begin.elapsed().as_secs_f64();
        }
        if let Some(together) = &mut together {
            let scores: Vec<Vec<f64>> = means.iter().map(Mean::scores).collect();
            together.add(&batch.indices, &batch.labels, &scores)?;
        }
        on_progress(together.as_ref().unwrap_or(&tallies[0]).progress());
    }
    let seconds = start.elapsed().as_secs_f64();
    let loading = seconds - own.iter().sum::<f64>();
    let skipped = loader.skipped();
    let members =
        tallies.into_iter().zip(own).map(|(tally, own)| tally.finish(skipped.to_vec(), loading + own));
    Ok(Evaluations {
        members: members.collect::<Result<_>>()?,
        ensemble: together.map(|tally| tally.finish(skipped.to_vec(), seconds)).transpose()?,
    })
}

/// The preparations of the networks, each once, and which of them each network has.
fn distinct(members: &[Classifier]) -> (Vec<Preprocess>, Vec<usize>) {
    let mut preparations: Vec<Preprocess> = Vec::new();
    let of_member = members.iter().map(|member| {
        let own = &member.loaded().info.preprocess;
        preparations.iter().position(|preprocess| preprocess == own).unwrap_or_else(|| {
            preparations.push(own.clone());
            preparations.len() - 1
        })
    });
    let of_member = of_member.collect();
    (preparations, of_member)
}

#[cfg(test)]
mod tests;
