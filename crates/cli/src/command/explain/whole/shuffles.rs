//! What a network loses when its blocks change places (Veit, Wilber & Belongie 2016, §4.3).

use anyhow::{Result, bail};
use residuum::explain::{Subject, interchangeable, rank_correlation, reorder, shuffled_order};
use residuum::plot::{Axis, Chart, Figure, Line, Series};
use serde::Serialize;

use super::study::{Rounds, many, nothing};
use super::{DataArgs, ModelArgs, Numbers, Study};
use crate::exit::ExitStatus;
use crate::output::Table;

/// Error with residual blocks of equal shape in another order (Veit et al. 2016)
///
/// Blocks change places within their stage; how far the order is from the trained one is measured by Kendall's
/// rank correlation.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "MODEL")]
    path: String,
    #[command(flatten)]
    data: DataArgs,
    /// Orders drawn for each number of exchanges
    #[arg(long, value_name = "N", default_value = "3", value_parser = many)]
    draws: usize,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    common: ModelArgs,
}

const USUAL: usize = 1000;
/// Exchanges of two blocks that an order is made by.
const SWAPS: [usize; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];

#[derive(Serialize)]
struct Shuffle {
    swaps: usize,
    rank_correlation: f64,
    /// In percent.
    error: f64,
    loss: f64,
    order: Vec<usize>,
}

pub(super) fn run(args: &Args) -> Result<ExitStatus> {
    let study = Study::new(&args.path, &args.common)?;
    let blocks = study.blocks("shuffles")?;
    let groups = interchangeable(&blocks, &study.loaded.weights);
    if groups.is_empty() {
        bail!(
            "shuffles: expected two blocks of equal shape next to each other, found none among the {} of {}",
            blocks.len(),
            study.name()
        );
    }
    let sample = study.sample(&args.data, USUAL)?;
    let orders =
        std::iter::once((0, 0)).chain(SWAPS.iter().flat_map(|&s| (0..args.draws).map(move |d| (s, d))));
    let mut rounds = Rounds::new(&study, "shuffles", 1 + SWAPS.len() * args.draws, sample.len());
    let mut found: Vec<Shuffle> = Vec::new();
    for (swaps, draw) in orders {
        // Orders of different numbers of exchanges are different draws.
        let draw = (swaps * args.draws + draw) as u64;
        let order = shuffled_order(blocks.len(), &groups, swaps, args.seed, draw);
        let weights = reorder(&study.loaded.weights, &blocks, &order)?;
        let subject = Subject { weights: &weights, ..study.subject() };
        let message = format!("after {swaps} exchanges");
        let tell = |done| rounds.tell(done, &message);
        let Some(score) = subject.score(&sample.images, &sample.labels, tell)? else { break };
        let rank_correlation = rank_correlation(&order);
        found.push(Shuffle { swaps, rank_correlation, error: 100.0 * score.error, loss: score.loss, order });
        rounds.next();
    }
    drop(rounds);
    if found.is_empty() {
        return Ok(nothing());
    }
    found.sort_by(|a, b| b.rank_correlation.total_cmp(&a.rank_correlation));
    let mut table = Table::new(&["rank correlation", "exchanges", "error %", "loss"]).left(&[]);
    let mut numbers = Numbers::new(&["rank_correlation", "exchanges", "error", "loss", "order"]);
    for shuffle in &found {
        let Shuffle { swaps, rank_correlation, error, loss, order } = shuffle;
        table.row([
            format!("{rank_correlation:.3}"),
            swaps.to_string(),
            format!("{error:.2}"),
            format!("{loss:.4}"),
        ]);
        let order: Vec<String> = order.iter().map(ToString::to_string).collect();
        let [a, b, c, d] =
            [rank_correlation.to_string(), swaps.to_string(), error.to_string(), loss.to_string()];
        numbers.row([a, b, c, d, order.join(" ")]);
    }
    let figure = figure(study.name(), &found);
    study.finish("shuffles", Some(&sample), &figure, &numbers, &table, serde_json::json!({ "orders": found }))
}

fn figure(name: &str, found: &[Shuffle]) -> Figure {
    let chart = |y: Axis, value: fn(&Shuffle) -> f64| {
        let mut chart = Chart::new(Axis::new("Kendall rank correlation with the trained order"), y);
        let points = |is_trained: bool| {
            let own = found.iter().filter(|shuffle| (shuffle.swaps == 0) == is_trained);
            own.map(|shuffle| (shuffle.rank_correlation, value(shuffle))).collect()
        };
        chart.series.push(Series::new("blocks exchanged", 0, Line::Marks, points(false)));
        chart.series.push(Series::new("trained order", 1, Line::Marks, points(true)));
        chart
    };
    let charts = vec![
        chart(Axis::new("error in %").from_zero(), |shuffle| shuffle.error).titled("error"),
        chart(Axis::new("cross-entropy").from_zero(), |shuffle| shuffle.loss).titled("loss"),
    ];
    Figure::new(format!("Residual blocks of {name} in other orders"), charts)
}
