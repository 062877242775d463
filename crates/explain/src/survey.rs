//! What a set of images of any size does to the blocks of a network, gathered batch by batch: the images that
//! excite each channel most, and how much each block changes what it is given (Chu, Yang & Tadinada 2017).

use rayon::prelude::*;
use residuum_engine::Inference;
use residuum_tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{ExplainError, Result};
use crate::responses::Refinement;
use crate::stages::{Stage, StageBlock};
use crate::subject::Subject;

/// Images that are kept for each channel, as many as the paper shows.
pub const BEST: usize = 9;

/// A unit of a channel that an image excites more than any other of its units; the first of equals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Excited {
    /// Index of the image among all that were surveyed.
    pub image: usize,
    /// The unit's value.
    pub value: f32,
    /// Its row.
    pub row: usize,
    /// Its column.
    pub column: usize,
}

/// What was gathered of one channel of a block's output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Channel {
    /// The most excited first; of equals, the earlier image.
    best: Vec<Excited>,
    /// Sum and sum of squares over the images of the largest value in each.
    peaks: [f64; 2],
    /// Sum and sum of squares over images and positions.
    values: [f64; 2],
    /// Sum of the products with the same channel of the block before it in the stage.
    with_before: f64,
}

/// What was gathered of one block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct BlockSums {
    /// Sums of squares of what the branch adds, and of what it is added to.
    energies: [f64; 2],
    channels: Vec<Channel>,
}

/// Sums over the images seen so far. Batches in the same order give the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    images: usize,
    /// Positions of a channel, for each stage.
    positions: Vec<usize>,
    /// The blocks of each stage.
    stages: Vec<Vec<BlockSums>>,
}

impl Survey {
    /// Nothing gathered yet.
    pub fn new(stages: &[Stage]) -> Self {
        let empty = |stage: &Stage| BlockSums {
            energies: [0.0; 2],
            channels: vec![Channel::default(); stage.channels],
        };
        Self {
            images: 0,
            positions: stages.iter().map(|stage| stage.rows * stage.columns).collect(),
            stages: stages.iter().map(|stage| vec![empty(stage); stage.blocks.len()]).collect(),
        }
    }

    /// Images seen so far.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Whether it was made for stages of these sizes.
    pub fn fits(&self, stages: &[Stage]) -> bool {
        let size = |stage: &Stage| (stage.blocks.len(), stage.channels, stage.rows * stage.columns);
        let ours = self.stages.iter().zip(&self.positions);
        let ours = ours.map(|(blocks, &places)| {
            let channels = blocks.first().map_or(0, |block| block.channels.len());
            (blocks.len(), channels, places)
        });
        self.stages.len() == self.positions.len() && ours.eq(stages.iter().map(size))
    }

    /// The images that excite a channel most, the most excited first.
    ///
    /// # Panics
    /// When there is no such stage, block or channel.
    pub fn best(&self, stage: usize, block: usize, channel: usize) -> &[Excited] {
        &self.stages[stage][block].channels[channel].best
    }

    /// The channels of a stage by how much they tell images apart: the variance over the images of a
    /// channel's largest value, in units of the mean variance of its block's channels, mean over the
    /// blocks. The most varied first.
    ///
    /// # Panics
    /// When there is no such stage.
    pub fn most_varied(&self, stage: usize) -> Vec<usize> {
        let blocks = &self.stages[stage];
        let count = self.images.max(1) as f64;
        let mut varied = vec![0.0; blocks.first().map_or(0, |block| block.channels.len())];
        for block in blocks {
            let variances: Vec<f64> = block.channels.iter().map(|c| variance(c.peaks, count)).collect();
            let mean = variances.iter().sum::<f64>() / variances.len().max(1) as f64;
            let unit = mean.max(f64::MIN_POSITIVE);
            varied.iter_mut().zip(variances).for_each(|(sum, variance)| *sum += variance / unit);
        }
        let mut order: Vec<usize> = (0..varied.len()).collect();
        order.sort_by(|&a, &b| varied[b].total_cmp(&varied[a]).then(a.cmp(&b)));
        order
    }

    /// Share of a block's best images that are among those of the same channel in the block before it, over
    /// all channels that are excited at all; nothing for the first block of a stage.
    ///
    /// # Panics
    /// When there is no such stage or block.
    pub fn kept(&self, stage: usize, block: usize) -> Option<f64> {
        let before = &self.stages[stage][block.checked_sub(1)?].channels;
        let (mut kept, mut all) = (0usize, 0usize);
        for (ours, theirs) in self.stages[stage][block].channels.iter().zip(before) {
            let excited = ours.best.iter().filter(|best| best.value > 0.0);
            for best in excited {
                all += 1;
                kept += usize::from(theirs.best.iter().any(|other| other.image == best.image));
            }
        }
        (all > 0).then(|| kept as f64 / all as f64)
    }

    /// How much each block of each stage changes. A block is compared with the one before it in its stage,
    /// never with one of another stage: there, channels do not correspond.
    ///
    /// # Panics
    /// When the survey does not fit the stages.
    pub fn refinement(&self, stages: &[Stage]) -> Vec<Refinement> {
        assert!(self.fits(stages), "a survey of these stages");
        let mut found = Vec::new();
        for ((stage, sums), &positions) in stages.iter().zip(&self.stages).zip(&self.positions) {
            let count = (self.images * positions).max(1) as f64;
            for (index, (block, sum)) in stage.blocks.iter().zip(sums).enumerate() {
                let [branch, shortcut] = sum.energies.map(f64::sqrt);
                found.push(Refinement {
                    block: block.name.clone(),
                    change: branch / shortcut.max(1e-30),
                    correlation: index.checked_sub(1).map(|before| {
                        let pairs = sum.channels.iter().zip(&sums[before].channels);
                        pairs.map(|(ours, theirs)| correlation(ours, theirs, count)).collect()
                    }),
                });
            }
        }
        found
    }

    /// Takes in the values of a batch; `value` gives those of a layer, `[n, c, h, w]`.
    fn add(&mut self, stages: &[Stage], batch: usize, value: impl Fn(&str) -> Option<Tensor>) {
        let first = self.images;
        for ((stage, sums), &positions) in stages.iter().zip(&mut self.stages).zip(&self.positions) {
            let mut before: Option<Tensor> = None;
            for (block, sum) in stage.blocks.iter().zip(sums) {
                let Some(output) = value(&block.output) else { continue };
                for (energy, layer) in sum.energies.iter_mut().zip([&block.branch, &block.shortcut]) {
                    *energy += value(layer).map_or(0.0, |value| squares(value.data()));
                }
                let channels = stage.channels;
                sum.channels.par_iter_mut().enumerate().for_each(|(c, channel)| {
                    for image in 0..batch {
                        let place =
                            (image * channels + c) * positions..(image * channels + c + 1) * positions;
                        let plane = &output.data()[place.clone()];
                        channel.add(first + image, plane, stage.columns);
                        if let Some(before) = &before {
                            channel.with_before += product(plane, &before.data()[place]);
                        }
                    }
                });
                before = Some(output);
            }
        }
        self.images += batch;
    }
}

impl Channel {
    fn add(&mut self, image: usize, plane: &[f32], columns: usize) {
        let first = (f32::NEG_INFINITY, 0);
        let (value, at) =
            plane.iter().enumerate().fold(first, |best, (at, &x)| if x > best.0 { (x, at) } else { best });
        let place = self.best.partition_point(|other| other.value >= value);
        if place < BEST && value.is_finite() {
            self.best.truncate(BEST - 1);
            self.best.insert(place, Excited { image, value, row: at / columns, column: at % columns });
        }
        let peak = f64::from(value);
        self.peaks = [self.peaks[0] + peak, self.peaks[1] + peak * peak];
        self.values[0] += plane.iter().map(|&x| f64::from(x)).sum::<f64>();
        self.values[1] += squares(plane);
    }
}

fn squares(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn variance([sum, squares]: [f64; 2], count: f64) -> f64 {
    (squares / count - (sum / count).powi(2)).max(0.0)
}

/// 0 where one of the two does not vary.
fn correlation(ours: &Channel, theirs: &Channel, count: f64) -> f64 {
    let together = ours.with_before / count - ours.values[0] / count * (theirs.values[0] / count);
    let spread = (variance(ours.values, count) * variance(theirs.values, count)).sqrt();
    if spread > 0.0 { (together / spread).clamp(-1.0, 1.0) } else { 0.0 }
}

/// A network compiled for surveys, for batches of one size.
#[derive(Debug)]
pub struct Surveyor<'a> {
    stages: &'a [Stage],
    program: Inference,
}

impl<'a> Surveyor<'a> {
    /// For batches like `images`, `[n, 3, h, w]`.
    ///
    /// # Errors
    /// When the network does not admit them.
    pub fn new(subject: &Subject<'_>, stages: &'a [Stage], images: &Tensor) -> Result<Self> {
        let blocks = stages.iter().flat_map(|stage| &stage.blocks);
        let layers = |block: &StageBlock| [&block.output, &block.branch, &block.shortcut].map(Clone::clone);
        let mut taps: Vec<String> = blocks.flat_map(layers).collect();
        taps.sort();
        taps.dedup();
        Ok(Self { stages, program: subject.inference(images, &taps)? })
    }

    /// Takes a batch into the survey.
    ///
    /// # Errors
    /// When the batch is of another size, or the survey of other stages.
    pub fn add(&mut self, survey: &mut Survey, images: &Tensor) -> Result<()> {
        let shape = self.program.shape();
        let wanted = [shape.n, images.shape().get(1).copied().unwrap_or(0), shape.h, shape.w];
        if images.shape() != wanted || !survey.fits(self.stages) {
            return Err(ExplainError::unfit(
                "batch of a survey",
                format!("{wanted:?}"),
                format!("{:?}", images.shape()),
            ));
        }
        self.program.run(images.data());
        let program = &self.program;
        survey.add(self.stages, shape.n, |layer| program.tap(layer));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_in_order_and_the_first_of_equals_wins() {
        let mut channel = Channel::default();
        let peaks = [1.0, 3.0, 3.0, 0.0, 2.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0];
        for (image, peak) in peaks.into_iter().enumerate() {
            channel.add(image, &[0.0, peak, peak, -1.0], 2);
        }
        let order: Vec<usize> = channel.best.iter().map(|best| best.image).collect();
        assert_eq!(order, [5, 11, 1, 2, 4, 0, 6, 7, 8]);
        assert_eq!((channel.best[0].row, channel.best[0].column), (0, 1), "the first of equal places");
        // Where nothing is above zero, the first zero counts.
        let mut unexcited = Channel::default();
        unexcited.add(7, &[-1.0, 0.0, 0.0], 3);
        assert_eq!((unexcited.best[0].column, unexcited.best[0].image), (1, 7));
    }
}
