//! How much gradient comes along paths of each length (Veit, Wilber & Belongie 2016, §5.1, Figure 6).

use anyhow::Result;
use residuum::explain::{path_count, path_gradient_norm, random_blocks};
use residuum::plot::{Axis, Chart, Figure, Line, Series};
use serde::Serialize;

use super::study::{Rounds, many, nothing};
use super::{DataArgs, ModelArgs, Numbers, Study};
use crate::exit::ExitStatus;
use crate::output::Table;

/// Gradient along paths of each length, and of all paths of that length (Veit et al. 2016)
///
/// A path of length k goes through the branches of k blocks drawn at random and through the shortcuts of all
/// others. The gradient is that of the score of each image's class with respect to the image.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "MODEL")]
    path: String,
    #[command(flatten)]
    data: DataArgs,
    /// Paths drawn of each length
    #[arg(long, value_name = "N", default_value = "8", value_parser = many)]
    draws: usize,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    common: ModelArgs,
}

const USUAL: usize = 16;

#[derive(Serialize)]
struct Length {
    blocks: usize,
    /// Share of all paths.
    paths: f64,
    /// Mean over the draws, least and greatest.
    norm: f64,
    least: f64,
    most: f64,
    /// Share of the sum over all lengths of norm times number of paths.
    share: f64,
}

pub(super) fn run(args: &Args) -> Result<ExitStatus> {
    let study = Study::new(&args.path, &args.common)?;
    let blocks = study.blocks("paths")?.len();
    let sample = study.sample(&args.data, USUAL)?;
    // There are no more paths than there are.
    let draws = |length: usize| args.draws.min(path_count(blocks, length) as usize);
    let mut rounds = Rounds::new(&study, "paths", (0..=blocks).map(draws).sum(), sample.len());
    let mut found: Vec<Length> = Vec::new();
    'lengths: for length in 0..=blocks {
        let mut norms = Vec::new();
        for draw in 0..draws(length) {
            let through = random_blocks(blocks, length, args.seed, (length * args.draws + draw) as u64);
            let message = format!("length {length}");
            let tell = |done| rounds.tell(done, &message);
            let (images, labels) = (&sample.images, &sample.labels);
            let Some(norm) = path_gradient_norm(&study.subject(), images, labels, &through, tell)? else {
                break 'lengths;
            };
            norms.push(norm);
            rounds.next();
        }
        let paths = path_count(blocks, length) / 2f64.powi(blocks as i32);
        let (norm, least, most) = (
            norms.iter().sum::<f64>() / norms.len() as f64,
            norms.iter().copied().fold(f64::INFINITY, f64::min),
            norms.iter().copied().fold(0.0, f64::max),
        );
        found.push(Length { blocks: length, paths, norm, least, most, share: paths * norm });
    }
    drop(rounds);
    if found.is_empty() {
        return Ok(nothing());
    }
    let sum: f64 = found.iter().map(|length| length.share).sum();
    for length in &mut found {
        length.share /= sum;
    }
    let mut table = Table::new(&["length", "of all paths %", "gradient norm", "of all gradient %"]).left(&[]);
    let columns = ["length", "path_share", "gradient_norm", "least", "greatest", "gradient_share"];
    let mut numbers = Numbers::new(&columns);
    for Length { blocks, paths, norm, least, most, share } in &found {
        let percent = |share: f64| format!("{:.3}", 100.0 * share);
        table.row([blocks.to_string(), percent(*paths), format!("{norm:.3e}"), percent(*share)]);
        let [a, b, c, d, e] = [paths, norm, least, most, share].map(ToString::to_string);
        numbers.row([blocks.to_string(), a, b, c, d, e]);
    }
    let figure = figure(study.name(), &found);
    study.finish("paths", Some(&sample), &figure, &numbers, &table, serde_json::json!({ "lengths": found }))
}

fn figure(name: &str, found: &[Length]) -> Figure {
    let points = |value: fn(&Length) -> f64| -> Vec<(f64, f64)> {
        found.iter().map(|length| (length.blocks as f64, value(length))).collect()
    };
    let x = || Axis::new("blocks on the path");
    let share = |label: &str| Axis::new(label).from_zero();
    let mut paths = Chart::new(x(), share("% of all paths")).titled("number of paths");
    paths.series.push(Series::new("", 0, Line::Solid, points(|length| 100.0 * length.paths)));
    let mut norm = Chart::new(x(), Axis::log("norm of the gradient")).titled("gradient along one path");
    norm.series.push(Series::new("mean of the draws", 0, Line::Solid, points(|length| length.norm)));
    norm.series.push(Series::new("least and greatest", 4, Line::Dashed, points(|length| length.least)));
    norm.series.push(Series::new("least and greatest", 4, Line::Dashed, points(|length| length.most)));
    let mut all = Chart::new(x(), share("%")).titled("gradient along all paths of a length");
    all.series.push(Series::new("gradient × number of paths", 0, Line::Solid, points(|l| 100.0 * l.share)));
    all.series.push(Series::new("number of paths", 6, Line::Dashed, points(|l| 100.0 * l.paths)));
    Figure::new(format!("Paths through {name}"), vec![paths, norm, all])
}
