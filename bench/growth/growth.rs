//! How the time of an inference grows with the batch, the size of the images, the depth and the threads.
//!
//! `cargo run --release -p residuum --example growth -- bench/growth` writes `growth.svg`, `growth.png` and
//! `growth.csv` there. Weights are start values, images made up. A time is the median of some runs, and of several
//! such medians the least, which are taken one pass after the other: a machine that others use is at times slower for seconds.
#![allow(clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use residuum::engine::{Engine, EngineOptions, InputShape};
use residuum::formats::disk;
use residuum::models::{self, formula, initialise};
use residuum::plot::{Axis, Chart, Figure, Line, Series};

/// Fewest runs of a point.
const FEWEST: usize = 3;
/// How often a line is measured, one pass after the other.
const PASSES: usize = 3;
/// How long a point is measured each time, at least.
const SPAN: Duration = Duration::from_millis(300);
const THREADS: [usize; 2] = [1, 2];
const BATCHES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const SIDES: [usize; 9] = [32, 64, 96, 128, 192, 224, 256, 384, 512];
const DEPTHS: [usize; 6] = [20, 32, 44, 56, 110, 1202];

/// What grows: a label for its axis, its values, and the network, batch and side (0: the network's own) of a value.
struct Growth<'a> {
    title: &'a str,
    label: &'a str,
    values: &'a [usize],
    /// Name in the legend, and what is run.
    cases: &'a [(&'a str, CaseOf)],
    /// The power by which the work grows.
    power: i32,
}

/// Values, and times in milliseconds.
type Points = Vec<(f64, f64)>;

/// What is run for a value.
type CaseOf = fn(usize) -> Case;

struct Case {
    network: String,
    batch: usize,
    side: usize,
}

fn case(network: &str, batch: usize, side: usize) -> Case {
    Case { network: network.to_owned(), batch, side }
}

const GROWTHS: [Growth<'static>; 3] = [
    Growth {
        title: "batch",
        label: "images in a batch",
        values: &BATCHES,
        cases: &[
            ("ResNet-50", |batch| case("resnet50.tv", batch, 0)),
            ("ResNet-18", |batch| case("resnet18", batch, 0)),
            ("ResNet-20, 32 pixels", |batch| case("cifar_resnet20", batch, 0)),
        ],
        power: 1,
    },
    Growth {
        title: "image size, batch 1",
        label: "side of an image in pixels",
        values: &SIDES,
        cases: &[
            ("ResNet-50", |side| case("resnet50.tv", 1, side)),
            ("ResNet-18", |side| case("resnet18", 1, side)),
        ],
        power: 2,
    },
    Growth {
        title: "depth, 32 pixels",
        label: "layers",
        values: &DEPTHS,
        cases: &[
            ("batch 16", |depth| case(&format!("cifar_resnet{depth}"), 16, 0)),
            ("batch 1", |depth| case(&format!("cifar_resnet{depth}"), 1, 0)),
        ],
        power: 1,
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("expected the folder to write to")?;
    let mut charts = Vec::new();
    let mut gains = Chart::new(Axis::log("images in a batch"), Axis::new("times faster").from_zero());
    for growth in &GROWTHS {
        let mut chart = Chart::new(Axis::log(growth.label), Axis::log("milliseconds"));
        for (colour, (name, case)) in growth.cases.iter().enumerate() {
            let [one, two] = lines(growth, *case)?;
            if charts.is_empty() {
                let gain = one.iter().zip(&two).map(|(one, two)| (one.0, one.1 / two.1)).collect();
                gains.series.push(Series::new(*name, colour, Line::Solid, gain));
            }
            chart.series.push(Series::new("in proportion", 6, Line::Reference, ideal(growth, &two)));
            chart.series.push(Series::new(*name, colour, Line::Dashed, one));
            chart.series.push(Series::new(*name, colour, Line::Solid, two));
        }
        charts.push(chart.with_lines("two threads", "one thread").titled(growth.title));
    }
    charts.push(gains.titled("two threads beside one"));
    let figure = Figure::new("Time of an inference", charts).in_columns(2);
    write(&folder, "growth.svg", figure.svg().as_bytes())?;
    write(&folder, "growth.png", &figure.png()?)?;
    write(&folder, "growth.csv", figure.csv().as_bytes())
}

fn write(folder: &str, name: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    Ok(disk::write_atomic(Path::new(folder).join(name), |writer| writer.write_all(bytes))?)
}

/// Values and times in milliseconds of a case, for each count of threads.
fn lines(growth: &Growth<'_>, case: CaseOf) -> Result<[Points; 2], Box<dyn Error>> {
    let pass = || -> Result<_, Box<dyn Error>> {
        Ok([points(growth, case, THREADS[0])?, points(growth, case, THREADS[1])?])
    };
    let mut least: [Points; 2] = pass()?;
    for _ in 1..PASSES {
        for (least, found) in least.iter_mut().zip(pass()?) {
            least.iter_mut().zip(found).for_each(|(least, found)| least.1 = least.1.min(found.1));
        }
    }
    Ok(least)
}

/// Value and median time in milliseconds of each point.
fn points(growth: &Growth<'_>, case: CaseOf, threads: usize) -> Result<Points, Box<dyn Error>> {
    let engine = Engine::new(&EngineOptions { threads: Some(threads), ..EngineOptions::default() })?;
    let point = |&value: &usize| {
        let case = case(value);
        let ms = time(&engine, &case)?;
        eprintln!(
            "{}, batch {}, side {}, {threads} threads: {ms:.3} ms",
            case.network, case.batch, case.side
        );
        Ok((value as f64, ms))
    };
    growth.values.iter().map(point).collect()
}

fn time(engine: &Engine, case: &Case) -> Result<f64, Box<dyn Error>> {
    let model = models::build(&case.network, None)?;
    let side = if case.side == 0 { model.family.input_size() } else { case.side };
    let shape = InputShape { n: case.batch, h: side, w: side };
    let mut program = engine.inference(&model.graph, &initialise(&model.graph, 0), shape, &[])?;
    let images = formula::input("input", &[shape.n, 3, side, side]).into_data();
    program.run(&images);
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < FEWEST || begin.elapsed() < SPAN {
        let start = Instant::now();
        program.run(&images);
        times.push(1000.0 * start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// The line through the last point on which the time grows as the work does.
fn ideal(growth: &Growth<'_>, points: &[(f64, f64)]) -> Points {
    let Some(&(last, ms)) = points.last() else { return Vec::new() };
    points.iter().map(|&(x, _)| (x, ms * (x / last).powi(growth.power))).collect()
}
