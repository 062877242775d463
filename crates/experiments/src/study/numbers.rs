//! The measurable side of refinement: how alike consecutive blocks are, and how much each changes.

use residuum_explain::{BEST, Refinement, Stage, Survey};
use residuum_plot::{Axis, Chart, Figure, Line, Series};

use crate::table::{Table, percent};

/// What each block of each stage does.
pub(super) struct Numbers<'a> {
    stages: &'a [Stage],
    survey: &'a Survey,
    /// Of all blocks in order.
    blocks: Vec<Refinement>,
}

/// Quartiles of the channels' correlations: 25, 50 and 75 % of the channels lie below.
fn quartiles(correlations: &[f64]) -> [f64; 3] {
    let mut sorted = correlations.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    [0.25, 0.5, 0.75].map(|share| sorted.get((share * last).round() as usize).copied().unwrap_or(f64::NAN))
}

impl<'a> Numbers<'a> {
    pub(super) fn new(stages: &'a [Stage], survey: &'a Survey) -> Self {
        Self { stages, survey, blocks: survey.refinement(stages) }
    }

    /// Number of the stage, of the block in it, and what the block does.
    fn each(&self) -> impl Iterator<Item = (usize, usize, &Refinement)> {
        let places = self.stages.iter().enumerate();
        let places = places.flat_map(|(s, stage)| (0..stage.blocks.len()).map(move |b| (s, b)));
        places.zip(&self.blocks).map(|((s, b), block)| (s, b, block))
    }

    /// A line for each block.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(&[
            "stage",
            "block",
            "a unit sees, pixels",
            "norm of F(x) over norm of x",
            "correlation with the block before, median of the channels",
            "of its best images, kept from the block before, %",
        ]);
        for (s, b, block) in self.each() {
            let stage = &self.stages[s];
            table.rows.push(vec![
                stage.name.clone(),
                block.block.clone(),
                stage.blocks[b].field.size.to_string(),
                format!("{:.3}", block.change),
                block.correlation.as_ref().map_or("-".into(), |all| format!("{:.3}", quartiles(all)[1])),
                self.survey.kept(s, b).map_or("-".into(), |share| percent(100.0 * share)),
            ]);
        }
        table
    }

    /// A line for each block and channel.
    pub(super) fn correlations(&self) -> Table {
        let mut table = Table::new(&["stage", "block", "channel", "correlation with the block before"]);
        for (s, _, block) in self.each() {
            for (channel, correlation) in block.correlation.iter().flatten().enumerate() {
                let stage = self.stages[s].name.clone();
                table.rows.push(vec![
                    stage,
                    block.block.clone(),
                    channel.to_string(),
                    correlation.to_string(),
                ]);
            }
        }
        table
    }

    /// Three charts over the blocks, a colour a stage.
    pub(super) fn figure(&self, title: &str) -> Figure {
        let chart = |name: &str, y: Axis| Chart::new(Axis::new("block"), y).titled(name);
        let mut alike = chart("correlation with the block before", Axis::new("correlation").from_zero())
            .with_lines("median of the channels", "quartiles");
        let mut change = chart("what a block changes", Axis::new("norm of F(x) / norm of x").from_zero());
        let mut kept = chart("best images kept from the block before", Axis::new("images in %").from_zero());
        for (number, stage) in self.stages.iter().enumerate() {
            let own = || self.each().enumerate().filter(move |(_, (s, ..))| *s == number);
            let series = |line, points| Series::new(stage.name.clone(), number, line, points);
            for (which, line) in [(1, Line::Solid), (0, Line::Dashed), (2, Line::Dashed)] {
                let point = |(at, (_, _, block)): (usize, (usize, usize, &Refinement))| {
                    Some((at as f64 + 1.0, quartiles(block.correlation.as_ref()?)[which]))
                };
                alike.series.push(series(line, own().filter_map(point).collect()));
            }
            let points = own().map(|(at, (_, _, block))| (at as f64 + 1.0, block.change)).collect();
            change.series.push(series(Line::Solid, points));
            let share = |(at, (s, b, _)): (usize, (usize, usize, &Refinement))| {
                Some((at as f64 + 1.0, 100.0 * self.survey.kept(s, b)?))
            };
            kept.series.push(series(Line::Solid, own().filter_map(share).collect()));
        }
        Figure::new(format!("Refinement in {title}"), vec![alike, change, kept])
    }

    /// What came out.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        for (number, stage) in self.stages.iter().enumerate().filter(|(_, stage)| stage.blocks.len() > 1) {
            let own: Vec<(usize, &Refinement)> =
                self.each().filter(|(s, ..)| *s == number).map(|(_, b, block)| (b, block)).collect();
            let medians = own.iter().filter_map(|(_, block)| Some(quartiles(block.correlation.as_ref()?)[1]));
            let ends = |values: &mut dyn Iterator<Item = f64>| {
                let first = (f64::INFINITY, f64::NEG_INFINITY);
                values.fold(first, |(low, high), x| (low.min(x), high.max(x)))
            };
            let (low, high) = ends(&mut medians.into_iter());
            let mut kept: Vec<f64> = own.iter().filter_map(|(b, _)| self.survey.kept(number, *b)).collect();
            kept.sort_by(f64::total_cmp);
            let (first, last) = (own[0].1.change, own[own.len() - 1].1.change);
            sentences.push(format!(
                "{}: a channel correlates with itself one block earlier by {low:.2} to {high:.2} (medians); \
                 {} of a block's best images were best one block earlier, where chance gives {} %; the norm of \
                 F(x) over that of x goes from {first:.2} to {last:.2}.",
                stage.name,
                kept.first().zip(kept.last()).map_or("none".into(), |(a, b)| {
                    format!("{:.0} to {:.0} %", 100.0 * a, 100.0 * b)
                }),
                percent((100.0 * BEST as f64 / self.survey.images().max(1) as f64).min(100.0)),
            ));
        }
        if sentences.is_empty() {
            sentences
                .push("No stage has two blocks, so that nothing can be followed from block to block.".into());
        }
        sentences
    }
}
