//! What the evaluation of an epoch shows beside its scores: which classes are taken for which, where the
//! network is surest and wrong, and what each layer does to the signal.
//!
//! ```text
//! evaluation.json    of the last epoch: classes, confusions, the most confident mistakes with small pictures
//! responses.jsonl    one line for each epoch: the standard deviation of each layer's response
//! ```
//! Both follow from the weights alone, so that a resumed run writes the same. Nothing here enters training.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use residuum_data::{Dataset, Interpolation, Loader, LoaderOptions, Preprocess, RgbImage, resize};
use residuum_engine::Engine;
use residuum_explain::{Subject, response_std};
use residuum_formats::disk::{self, Appender};
use residuum_graph::Weights;
use residuum_models::Model;
use residuum_plot::Picture;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::evaluate::Answers;
use crate::run_folder::RunFolder;

/// Mistakes that are kept, the most confident.
const MISTAKES: usize = 24;
/// Longer side of their pictures in pixels, at most.
const PICTURE_SIDE: usize = 96;
/// Pairs of classes that are kept, the most frequent: all pairs of a hundred classes.
const CONFUSIONS: usize = 100 * 99;
/// Test pictures that the responses are measured with, spread evenly over all.
const RESPONSE_IMAGES: usize = 16;
const VERSION: u32 = 1;

/// What `evaluation.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Version of this form.
    pub version: u32,
    /// Epoch that was evaluated, counted from 1.
    pub epoch: u64,
    /// Test pictures.
    pub images: usize,
    /// The classes in their order.
    pub classes: Vec<ClassRecord>,
    /// True class, the class it was taken for, and how often; the most frequent first.
    pub confusions: Vec<(u32, u32, u64)>,
    /// Pictures answered wrongly, the most confident first.
    pub mistakes: Vec<Mistake>,
}

/// How well one class is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassRecord {
    /// Its name.
    pub name: String,
    /// Test pictures of it.
    pub images: usize,
    /// Those of them answered correctly.
    pub correct: usize,
}

/// A picture answered wrongly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Its index among the test pictures.
    pub index: usize,
    /// Where it comes from.
    pub source: String,
    /// Its class.
    pub truth: u32,
    /// The class it was taken for.
    pub predicted: u32,
    /// Probability of that answer, between 0 and 1.
    pub confidence: f64,
    /// The picture, made small, as a `data:` address of a PNG; absent where it could not be made.
    pub picture: Option<String>,
}

/// A line of `responses.jsonl`: layers and the standard deviation of their responses, over images, channels
/// and pixels (He et al. 2015, Figure 7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResponseRecord {
    /// Epoch, counted from 1.
    pub epoch: u64,
    /// Names of the layers in their order.
    pub layers: Vec<String>,
    /// Standard deviation for each; none where it is no finite number.
    pub std: Vec<Option<f64>>,
}

impl EvaluationRecord {
    /// Of the answers for the test pictures after an epoch.
    pub(crate) fn new(epoch: u64, test: &Dataset, answers: &Answers) -> Self {
        let class = |(name, row): (usize, &Vec<u64>)| ClassRecord {
            name: test.classes()[name].clone(),
            images: row.iter().sum::<u64>() as usize,
            correct: row[name] as usize,
        };
        Self {
            version: VERSION,
            epoch,
            images: test.len(),
            classes: answers.confusion.iter().enumerate().map(class).collect(),
            confusions: confusions(&answers.confusion),
            mistakes: mistakes(test, answers),
        }
    }

    pub(crate) fn write(&self, folder: &RunFolder) -> Result<()> {
        let text = serde_json::to_string(self).unwrap_or_default();
        Ok(disk::write_bytes(folder.evaluation(), text.as_bytes())?)
    }
}

/// Counts beside the diagonal, the largest first; of equal ones in the order of the classes.
fn confusions(confusion: &[Vec<u64>]) -> Vec<(u32, u32, u64)> {
    let cells = confusion.iter().enumerate().flat_map(|(truth, row)| {
        let cell = move |(predicted, &count): (usize, &u64)| (truth as u32, predicted as u32, count);
        row.iter().enumerate().map(cell)
    });
    let mut found: Vec<_> =
        cells.filter(|&(truth, predicted, count)| truth != predicted && count > 0).collect();
    found.sort_by_key(|&(_, _, count)| std::cmp::Reverse(count));
    found.truncate(CONFUSIONS);
    found
}

fn mistakes(test: &Dataset, answers: &Answers) -> Vec<Mistake> {
    let mut wrong: Vec<(usize, u32, f64)> = answers
        .predicted
        .iter()
        .enumerate()
        .filter_map(|(index, answer)| answer.map(|(predicted, confidence)| (index, predicted, confidence)))
        .filter(|&(index, predicted, _)| predicted != test.label(index))
        .collect();
    wrong.sort_by(|a, b| b.2.total_cmp(&a.2));
    wrong.truncate(MISTAKES);
    let mistake = |(index, predicted, confidence)| Mistake {
        index,
        source: test.describe(index),
        truth: test.label(index),
        predicted,
        confidence,
        picture: test.image(index).ok().and_then(|image| small(&image)),
    };
    wrong.into_iter().map(mistake).collect()
}

/// A picture of at most [`PICTURE_SIDE`] as a `data:` address.
fn small(image: &RgbImage) -> Option<String> {
    let (width, height) = (image.width(), image.height());
    let longer = width.max(height);
    let brought = |side: usize| (side * PICTURE_SIDE / longer).max(1);
    let image = if longer > PICTURE_SIDE {
        &resize(image, brought(width), brought(height), Interpolation::Bilinear)
    } else {
        image
    };
    let png = Picture::new(image.width(), image.height(), image.pixels().to_vec()).png().ok()?;
    Some(format!("data:image/png;base64,{}", STANDARD.encode(png)))
}

/// What the layers do to a few test pictures; nothing for a network without such layers. Few pictures make a
/// batch that needs less memory than one of training.
pub(crate) fn responses(
    engine: &Engine,
    preprocess: &Preprocess,
    batch_size: usize,
    (model, weights): (&Model, &Weights),
    test: &Dataset,
    epoch: u64,
) -> Result<Option<ResponseRecord>> {
    let count = RESPONSE_IMAGES.min(batch_size).min(test.len());
    let spread: Vec<usize> = (0..count).map(|i| i * test.len() / count).collect();
    let mut loader = Loader::new(&test.subset(&spread), preprocess, LoaderOptions::evaluation(count.max(1)))?;
    let Some(batch) = loader.next().transpose()? else { return Ok(None) };
    let subject = Subject { engine, graph: &model.graph, weights };
    let found = response_std(&subject, &batch.images, |_| true)?;
    let std = found.iter().map(|response| Some(response.std).filter(|std| std.is_finite())).collect();
    let layers: Vec<String> = found.into_iter().map(|response| response.layer).collect();
    Ok((!layers.is_empty()).then_some(ResponseRecord { epoch, layers, std }))
}

impl ResponseRecord {
    /// Appends the line to `responses.jsonl`.
    pub(crate) fn write(&self, folder: &RunFolder) -> Result<()> {
        let mut log = Appender::open(folder.responses())?;
        log.append(&serde_json::to_string(self).unwrap_or_default())?;
        Ok(log.sync()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Dataset {
        let classes = ["ant", "bee", "cat"].map(str::to_owned).to_vec();
        let bytes = (0..4 * 200 * 3u32).map(|i| i as u8).collect();
        Dataset::from_pixels("tall", classes, vec![0, 1, 1, 2], (1, 200), bytes).unwrap()
    }

    #[test]
    fn mistakes_are_sorted_by_confidence_and_counts_agree() {
        let answers = Answers {
            confusion: vec![vec![0, 1, 0], vec![0, 1, 1], vec![0, 1, 0]],
            predicted: vec![Some((1, 0.6)), Some((1, 0.9)), Some((2, 0.8)), Some((1, 0.8))],
        };
        let record = EvaluationRecord::new(3, &data(), &answers);
        let found: Vec<_> = record.mistakes.iter().map(|m| (m.index, m.truth, m.predicted)).collect();
        assert_eq!(found, [(2, 1, 2), (3, 2, 1), (0, 0, 1)]);
        assert_eq!(record.confusions, [(0, 1, 1), (1, 2, 1), (2, 1, 1)]);
        let counts: Vec<_> = record.classes.iter().map(|c| (c.images, c.correct)).collect();
        assert_eq!(counts, [(1, 0), (2, 1), (1, 0)]);
        let picture = record.mistakes[0].picture.as_ref().unwrap();
        let png = STANDARD.decode(picture.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        let small = residuum_data::decode(&png, &residuum_data::Limits::default()).unwrap();
        assert_eq!((small.width(), small.height()), (1, PICTURE_SIDE));
    }

    #[test]
    fn of_many_classes_the_most_frequent_confusions_are_kept() {
        let confusion: Vec<Vec<u64>> =
            (0..200).map(|i| (0..200).map(|j| (i * 200 + j) % 7).collect()).collect();
        let kept = confusions(&confusion);
        assert_eq!(kept.len(), CONFUSIONS);
        assert!(kept.is_sorted_by_key(|&(_, _, count)| std::cmp::Reverse(count)));
        assert!(kept.iter().all(|&(truth, predicted, count)| truth != predicted && count >= 5));
    }
}
