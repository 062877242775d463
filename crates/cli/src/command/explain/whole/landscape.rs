//! How the loss lies around trained weights (Li et al. 2018), and between two of them.

use anyhow::{Result, bail};
use residuum::explain::{Direction, Score, interpolation, landscape};
use residuum::plot::{Axis, Chart, Field, Figure, Line, Series, View};

use super::study::{many, nothing};
use super::{DataArgs, ModelArgs, Numbers, Sample, Study};
use crate::command::load_floats;
use crate::exit::ExitStatus;
use crate::output::Table;
use crate::progress::Progress;

/// Loss along random directions of normalised filters, or on the line to another model (Li et al. 2018)
///
/// A curve along one direction; with --plane also contours and a surface over two; with --to the line from
/// MODEL (0) to another (1) instead, running statistics included.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "MODEL")]
    path: String,
    #[command(flatten)]
    data: DataArgs,
    /// Another trained model of the same network
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["plane", "range", "seed"])]
    to: Option<String>,
    /// Also the plane of two directions
    #[arg(long)]
    plane: bool,
    /// Points of the curve
    #[arg(long, value_name = "N", default_value = "51", value_parser = points)]
    points: usize,
    /// Points of each side of the plane
    #[arg(long, value_name = "N", default_value = "25", value_parser = points, requires = "plane")]
    plane_points: usize,
    /// How far from the weights, in units of the filters' own norms
    #[arg(long, value_name = "DISTANCE", default_value = "1", value_parser = distance)]
    range: f64,
    /// Seed of the directions
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    common: ModelArgs,
}

const USUAL: usize = 256;

fn points(text: &str) -> Result<usize, String> {
    many(text)
        .ok()
        .filter(|count| (3..=1001).contains(count))
        .ok_or("expected a whole number from 3 to 1001".into())
}

fn distance(text: &str) -> Result<f64, String> {
    let distance = text.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0);
    distance.ok_or_else(|| "expected a number above 0".into())
}

pub(super) fn run(args: &Args) -> Result<ExitStatus> {
    let paths: Vec<&str> = std::iter::once(&args.path).chain(&args.to).map(String::as_str).collect();
    let study = Study::of_several(&paths, &args.common)?;
    match &args.to {
        Some(path) => between(args, &study, path),
        None => around(args, &study),
    }
}

/// Evenly from one end to the other.
fn places(count: usize, (low, high): (f64, f64)) -> Vec<f64> {
    (0..count).map(|i| low + (high - low) * i as f64 / (count - 1) as f64).collect()
}

/// A bar over points that stops the work when the user wants no more.
fn bar<'a>(study: &'a Study<'_>, points: usize) -> impl FnMut(usize, usize) -> bool + use<'a> {
    let mut bar = Progress::new(&format!("landscape of {}", study.name()), points as u64);
    move |done, _| {
        bar.set(done as u64, "");
        !study.is_stopped()
    }
}

fn between(args: &Args, study: &Study<'_>, path: &str) -> Result<ExitStatus> {
    let other = load_floats(path, args.common.name(1), "explain")?;
    if other.model.graph != study.loaded.model.graph {
        bail!("--to: expected another {}, found {}", study.name(), other.model.name);
    }
    let sample = study.sample(&args.data, USUAL)?;
    let at = places(args.points, (0.0, 1.0));
    let (images, labels) = (&sample.images, &sample.labels);
    let tell = bar(study, at.len());
    let scores = interpolation(&study.subject(), &other.weights, images, labels, &at, tell)?;
    let curve: Vec<(f64, Score)> = at.into_iter().zip(scores).collect();
    let [loss, error] = curves(&curve, "place between the models: 0 is the first, 1 the second");
    let title = format!("From one {} to another", study.name());
    finish(study, &sample, "interpolation", &Figure::new(title, vec![loss, error]), &curve, &[])
}

fn around(args: &Args, study: &Study<'_>) -> Result<ExitStatus> {
    let subject = study.subject();
    let sample = study.sample(&args.data, USUAL)?;
    let direction = |number: u64| {
        let seed = args.seed.wrapping_mul(2).wrapping_add(number);
        Direction::random(subject.graph, subject.weights, seed)
    };
    let directions = [direction(0), direction(1)];
    let along = places(args.points, (-args.range, args.range));
    let side = places(args.plane_points, (-args.range, args.range));
    let line = along.iter().map(|&a| (a, 0.0));
    let grid = side.iter().flat_map(|&b| side.iter().map(move |&a| (a, b)));
    let points: Vec<(f64, f64)> = if args.plane { line.chain(grid).collect() } else { line.collect() };
    let (images, labels) = (&sample.images, &sample.labels);
    let tell = bar(study, points.len());
    let scores = landscape(&subject, images, labels, [&directions[0], &directions[1]], &points, tell)?;
    let curve: Vec<(f64, Score)> = along.iter().copied().zip(scores.iter().copied()).collect();
    let [loss, error] = curves(&curve, "distance along a random direction");
    let mut charts = vec![loss, error];
    let plane: Vec<((f64, f64), Score)> = points.into_iter().zip(scores).skip(along.len()).collect();
    if plane.iter().any(|(_, score)| score.loss.is_finite()) {
        charts.extend([View::Contours, View::Surface].map(|view| surface(args, &plane, view)));
    }
    let figure = Figure::new(format!("Loss around {}", study.name()), charts).in_columns(2);
    finish(study, &sample, "landscape", &figure, &curve, &plane)
}

fn finish(
    study: &Study<'_>,
    sample: &Sample,
    method: &str,
    figure: &Figure,
    curve: &[(f64, Score)],
    plane: &[((f64, f64), Score)],
) -> Result<ExitStatus> {
    if curve.first().is_none_or(|(_, score)| score.loss.is_nan()) && study.is_stopped() {
        return Ok(nothing());
    }
    let mut table = Table::new(&["a", "loss", "error %"]).left(&[]);
    let mut numbers = Numbers::new(&["part", "a", "b", "loss", "error"]);
    for (a, score) in curve {
        table.row([format!("{a:.3}"), format!("{:.4}", score.loss), format!("{:.2}", 100.0 * score.error)]);
    }
    let line = curve.iter().map(|(a, score)| ("curve", *a, 0.0, score));
    let rest = plane.iter().map(|((a, b), score)| ("plane", *a, *b, score));
    for (part, a, b, score) in line.chain(rest).filter(|(_, _, _, score)| !score.loss.is_nan()) {
        let [a, b, loss, error] = [a, b, score.loss, 100.0 * score.error].map(|x| x.to_string());
        numbers.row([part.into(), a, b, loss, error]);
    }
    let triples = |(a, score): &(f64, Score)| (*a, score.loss, 100.0 * score.error);
    let content = serde_json::json!({
        "curve": curve.iter().map(triples).collect::<Vec<_>>(),
        "plane": plane.iter().map(|((a, b), s)| (*a, *b, s.loss, 100.0 * s.error)).collect::<Vec<_>>(),
    });
    study.finish(method, Some(sample), figure, &numbers, &table, content)
}

fn curves(curve: &[(f64, Score)], x: &str) -> [Chart; 2] {
    let chart = |y: Axis, title: &str, value: fn(&Score) -> f64| {
        let points = curve.iter().map(|(a, score)| (*a, value(score))).collect();
        let mut chart = Chart::new(Axis::new(x), y).titled(title);
        chart.series.push(Series::new("", 0, Line::Solid, points));
        chart
    };
    [
        chart(Axis::log("cross-entropy"), "loss", |score| score.loss),
        chart(Axis::new("error in %").from_zero(), "error", |score| 100.0 * score.error),
    ]
}

fn surface(args: &Args, plane: &[((f64, f64), Score)], view: View) -> Chart {
    let (x, y) = (Axis::new("first direction"), Axis::new("second direction"));
    let title = if view == View::Surface { "loss as a surface" } else { "contours of the loss" };
    let mut chart = Chart::new(x, y).titled(title);
    let ends = (-args.range, args.range);
    let values = plane.iter().map(|(_, score)| score.loss).collect();
    let scale = Axis::log("cross-entropy");
    chart.field = Some(Field { columns: args.plane_points, values, x: ends, y: ends, scale, view });
    chart
}
