//! The network as it is now, on the test pictures.

use std::sync::atomic::{AtomicBool, Ordering};

use residuum_classify::{Classifier, EvaluateOptions, Evaluation, Loaded};
use residuum_data::Preprocess;
use residuum_engine::Engine;
use residuum_graph::Weights;
use residuum_models::Model;

use crate::data::Data;
use crate::error::Result;
use crate::observer::Observer;

/// Pictures between two looks at whether to stop.
const PORTION: usize = 1024;

/// What an evaluation found; accuracies in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scores {
    pub(crate) images: usize,
    pub(crate) loss: f64,
    pub(crate) top1: f64,
    pub(crate) top5: f64,
}

/// The answers behind the scores.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answers {
    /// Number of pictures by true class and answer.
    pub(crate) confusion: Vec<Vec<u64>>,
    /// Answer and its probability for each test picture.
    pub(crate) predicted: Vec<Option<(u32, f64)>>,
}

impl Answers {
    fn none(classes: usize) -> Self {
        Self { confusion: vec![vec![0; classes]; classes], predicted: Vec::new() }
    }

    /// Takes in the pictures that come next.
    fn extend(&mut self, part: &Evaluation) {
        for (sums, counts) in self.confusion.iter_mut().zip(&part.confusion) {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let answers = part.predicted.iter().zip(&part.confidence);
        self.predicted.extend(answers.map(|(predicted, confidence)| predicted.zip(*confidence)));
    }
}

/// Compiles the network for answering and answers for every test picture; nothing where it was stopped.
pub(crate) fn evaluate(
    engine: &Engine,
    preprocess: Preprocess,
    model: &Model,
    weights: &Weights,
    data: &Data,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Option<(Scores, Answers)>> {
    let test = &data.test;
    let classes = test.classes().to_vec();
    let loaded = Loaded::new(model.clone(), weights.clone(), classes, preprocess);
    let mut classifier = Classifier::new(engine.clone(), loaded);
    let options = EvaluateOptions::default();
    let (mut images, mut correct, mut correct5, mut loss) = (0, 0, 0, 0.0);
    let mut answers = Answers::none(test.classes().len());
    let all: Vec<usize> = (0..test.len()).collect();
    for portion in all.chunks(PORTION) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let part = classifier.evaluate(&test.subset(portion), &options, |progress| {
            observer.on_evaluation(images + progress.images, test.len());
        })?;
        images += part.images;
        correct += part.correct;
        correct5 += part.correct5;
        loss += part.loss * part.images as f64;
        answers.extend(&part);
    }
    let percent = |part: usize| 100.0 * part as f64 / images.max(1) as f64;
    let loss = loss / images.max(1) as f64;
    let scores = Scores { images, loss, top1: percent(correct), top5: percent(correct5) };
    Ok(Some((scores, answers)))
}
