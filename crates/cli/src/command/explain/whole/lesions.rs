//! What a network loses with its blocks (Veit, Wilber & Belongie 2016, §4.1 and §4.3).

use anyhow::{Result, anyhow};
use residuum::explain::{Block, Score, random_blocks};
use residuum::plot::{Axis, Chart, Figure, Line, Series};
use serde::Serialize;

use super::study::{Rounds, many, nothing};
use super::{DataArgs, ModelArgs, Numbers, Sample, Study};
use crate::exit::ExitStatus;
use crate::output::Table;

/// Error without each residual block in turn, and without several drawn at random (Veit et al. 2016)
///
/// A deleted block leaves its shortcut; blocks whose shortcut changes the shape are marked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "MODEL")]
    path: String,
    #[command(flatten)]
    data: DataArgs,
    /// Blocks to delete in turn, separated by commas [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    blocks: Vec<String>,
    /// Also delete 1, 2, … blocks drawn at random, this often each
    #[arg(long, value_name = "DRAWS", value_parser = many)]
    random: Option<usize>,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    common: ModelArgs,
}

const USUAL: usize = 1000;
/// Numbers of deleted blocks that are tried.
const COUNTS: usize = 20;

/// Blocks that were deleted together, and the score without them.
#[derive(Serialize)]
struct Lesion {
    blocks: Vec<String>,
    /// In percent.
    error: f64,
    loss: f64,
}

#[derive(Serialize)]
struct Content<'a> {
    /// In percent.
    error: f64,
    loss: f64,
    single: &'a [Lesion],
    random: &'a [Lesion],
}

pub(super) fn run(args: &Args) -> Result<ExitStatus> {
    let study = Study::new(&args.path, &args.common)?;
    let blocks = study.blocks("lesions")?;
    let chosen = chosen(args, &blocks)?;
    let sample = study.sample(&args.data, USUAL)?;
    let choices = choices(args, blocks.len());
    let mut surgeon = Surgeon {
        study: &study,
        sample: &sample,
        blocks: &blocks,
        rounds: Rounds::new(&study, "lesions", 1 + chosen.len() + choices.len(), sample.len()),
    };
    let Some(whole) = surgeon.score(&[])? else { return Ok(nothing()) };
    let single = surgeon.all(chosen.iter().map(|&block| vec![block]))?;
    let random = surgeon.all(choices.into_iter())?;
    drop(surgeon);
    let mut table = Table::new(&["deleted block", "shortcut", "error %", "more", "loss"]).left(&[0, 1]);
    let mut numbers = Numbers::new(&["deleted", "blocks", "shortcut", "error", "loss"]);
    let percent = |error: f64| format!("{error:.2}");
    let (error, loss) = (100.0 * whole.error, whole.loss);
    table.row(["none".into(), String::new(), percent(error), String::new(), format!("{loss:.4}")]);
    numbers.row(["0".into(), String::new(), String::new(), error.to_string(), loss.to_string()]);
    for (lesion, block) in single.iter().zip(chosen.iter().map(|&block| &blocks[block])) {
        let (more, loss) = (format!("{:+.2}", lesion.error - error), format!("{:.4}", lesion.loss));
        table.row([block.name.clone(), shortcut(block).into(), percent(lesion.error), more, loss]);
        let cells = ["1".into(), block.name.clone(), shortcut(block).into()];
        let [count, name, kind] = cells;
        numbers.row([count, name, kind, lesion.error.to_string(), lesion.loss.to_string()]);
    }
    for lesion in &random {
        let (count, names) = (lesion.blocks.len().to_string(), lesion.blocks.join(" "));
        numbers.row([count, names, "drawn".into(), lesion.error.to_string(), lesion.loss.to_string()]);
    }
    let figure = figure(&study, whole, &blocks, &chosen, &single, &random);
    let content = Content { error, loss, single: &single, random: &random };
    study.finish("lesions", Some(&sample), &figure, &numbers, &table, content)
}

/// Places of the blocks that are to be deleted in turn.
fn chosen(args: &Args, blocks: &[Block]) -> Result<Vec<usize>> {
    if args.blocks.is_empty() {
        return Ok((0..blocks.len()).collect());
    }
    let place = |name: &String| {
        blocks.iter().position(|block| block.name == *name).ok_or_else(|| {
            let names: Vec<&str> = blocks.iter().map(|block| block.name.as_str()).collect();
            anyhow!("--blocks: expected blocks of the network ({}), found {name}", names.join(", "))
        })
    };
    args.blocks.iter().map(place).collect()
}

const fn shortcut(block: &Block) -> &'static str {
    if block.is_identity { "identity" } else { "changes the shape" }
}

/// Blocks drawn at random: 1, 2, …, not more than [`COUNTS`] numbers, each so often.
fn choices(args: &Args, blocks: usize) -> Vec<Vec<usize>> {
    let draws = args.random.unwrap_or(0);
    let mut counts: Vec<usize> = (1..=COUNTS).map(|i| (i * blocks).div_ceil(COUNTS)).collect();
    counts.dedup();
    let draw = |count: usize| {
        // Draws of different numbers are different draws.
        (0..draws).map(move |draw| random_blocks(blocks, count, args.seed, (count * draws + draw) as u64))
    };
    counts.into_iter().flat_map(draw).collect()
}

struct Surgeon<'a> {
    study: &'a Study<'a>,
    sample: &'a Sample,
    blocks: &'a [Block],
    rounds: Rounds<'a>,
}

impl Surgeon<'_> {
    /// The score without these blocks; none when it was stopped.
    fn score(&mut self, deleted: &[usize]) -> Result<Option<Score>> {
        let blocks: Vec<&Block> = deleted.iter().map(|&block| &self.blocks[block]).collect();
        let message = match &blocks[..] {
            [] => "whole".to_owned(),
            [block] => format!("without {}", block.name),
            blocks => format!("without {} blocks", blocks.len()),
        };
        let tell = |done| self.rounds.tell(done, &message);
        let sample = self.sample;
        let score = self.study.subject().score_without(&blocks, &sample.images, &sample.labels, tell)?;
        self.rounds.next();
        Ok(score)
    }

    /// The scores of all choices, until it is stopped.
    fn all(&mut self, choices: impl Iterator<Item = Vec<usize>>) -> Result<Vec<Lesion>> {
        let mut found = Vec::new();
        for deleted in choices {
            if self.study.is_stopped() {
                break;
            }
            let Some(score) = self.score(&deleted)? else { break };
            let blocks = deleted.iter().map(|&block| self.blocks[block].name.clone()).collect();
            found.push(Lesion { blocks, error: 100.0 * score.error, loss: score.loss });
        }
        Ok(found)
    }
}

fn figure(
    study: &Study<'_>,
    whole: Score,
    blocks: &[Block],
    chosen: &[usize],
    single: &[Lesion],
    random: &[Lesion],
) -> Figure {
    let x = || Axis::new("deleted block, in the net's order");
    let errors = |lesion: &Lesion| lesion.error;
    let mut error = each_block(x(), Axis::new("error in %").from_zero(), (blocks, chosen), single, errors);
    let mut loss =
        each_block(x(), Axis::new("cross-entropy").from_zero(), (blocks, chosen), single, |l| l.loss);
    let base = |chart: &mut Chart, value: f64, ends: (f64, f64)| {
        let points = vec![(ends.0, value), (ends.1, value)];
        chart.series.insert(0, Series::new("whole network", BASE, Line::Reference, points));
    };
    let ends = (1.0, blocks.len() as f64);
    base(&mut error, 100.0 * whole.error, ends);
    base(&mut loss, whole.loss, ends);
    let mut charts = vec![error.titled("error without each block"), loss.titled("loss without each block")];
    if !random.is_empty() {
        let mut several = several(random);
        base(&mut several, 100.0 * whole.error, ends);
        charts.push(several.titled("error without several blocks"));
    }
    Figure::new(format!("Residual blocks deleted from {}", study.name()), charts)
}

/// Number of black.
const BASE: usize = 6;

fn each_block(
    x: Axis,
    y: Axis,
    (blocks, chosen): (&[Block], &[usize]),
    single: &[Lesion],
    value: impl Fn(&Lesion) -> f64,
) -> Chart {
    let mut chart = Chart::new(x, y);
    let points: Vec<(f64, f64)> =
        chosen.iter().map(|&block| (block + 1) as f64).zip(single.iter().map(value)).collect();
    let those = |is_identity: bool| {
        let own = points.iter().zip(chosen).filter(|(_, block)| blocks[**block].is_identity == is_identity);
        own.map(|(point, _)| *point).collect()
    };
    chart.series.push(Series::new("", 0, Line::Solid, points.clone()));
    chart.series.push(Series::new("identity shortcut", 0, Line::Marks, those(true)));
    chart.series.push(Series::new("shortcut changes the shape", 1, Line::Marks, those(false)));
    chart
}

/// Mean and range of the errors by the number of blocks deleted.
fn several(random: &[Lesion]) -> Chart {
    let mut chart =
        Chart::new(Axis::new("blocks deleted, drawn at random"), Axis::new("error in %").from_zero());
    let mut counts: Vec<usize> = random.iter().map(|lesion| lesion.blocks.len()).collect();
    counts.dedup();
    let over = |of: fn(&[f64]) -> f64| -> Vec<(f64, f64)> {
        let errors = |count: usize| -> Vec<f64> {
            let own = random.iter().filter(|lesion| lesion.blocks.len() == count);
            own.map(|lesion| lesion.error).collect()
        };
        counts.iter().map(|&count| (count as f64, of(&errors(count)))).collect()
    };
    let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
    let least = |errors: &[f64]| errors.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |errors: &[f64]| errors.iter().copied().fold(0.0, f64::max);
    chart.series.push(Series::new("mean of the draws", 0, Line::Solid, over(mean)));
    chart.series.push(Series::new("least and greatest", 4, Line::Dashed, over(least)));
    chart.series.push(Series::new("least and greatest", 4, Line::Dashed, over(most)));
    chart
}
