//! `residuum bench`: how fast a network runs on this machine, and where the time goes.

mod layers;
mod work;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use residuum::classify::{Loaded, numbers};
use residuum::data::Preprocess;
use residuum::engine::{Engine, InputShape, PlanSummary, peak};
use residuum::formats::disk;
use residuum::models;
use serde::Serialize;

use self::layers::Layer;
use self::work::Work;
use super::{EngineArgs, batch_size, load, positive};
use crate::exit::ExitStatus;
use crate::output::{self, Table};

/// Runs before the clock starts, and the fewest that are timed.
const WARM_UP: usize = 2;
const FEWEST: usize = 5;

/// Measure the speed of a network on made-up images, by its name (with initialised weights) or from a model file
///
/// With --train, dropout and stochastic depth draw anew in every step, as in training: what dropped layers save is the
/// mean time of a step beside that of the network without, as in
/// `residuum bench sd_resnet110 --train -b 128` and `residuum bench cifar_resnet110 --train -b 128`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network, or a run folder or model file
    #[arg(value_name = "MODEL")]
    model: String,
    /// Images in a batch
    #[arg(long, short, value_name = "N", default_value = "1", value_parser = batch_size)]
    batch_size: usize,
    /// Side of the images in pixels [default: the network's own]
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    size: Option<usize>,
    /// Classes [default: the network's own]
    #[arg(long, value_name = "N", value_parser = side)]
    classes: Option<usize>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print every step: time, GFLOP/s, share of the machine's peak
    #[arg(long)]
    layers: bool,
    /// Measure a training step: forward, backward, update
    #[arg(long)]
    train: bool,
    /// How long to measure
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn side(text: &str) -> Result<usize, String> {
    positive(text, 65_535)
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    number.ok_or_else(|| "expected a number of seconds from 0 to 86400".into())
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    let engine = args.engine.engine()?;
    let loaded = network(&args)?;
    let model = &loaded.model;
    let side = args.size.unwrap_or(loaded.info.preprocess.crop);
    let shape = InputShape { n: args.batch_size, h: side, w: side };
    if let Some(warning) = models::small_image_warning(model, side) {
        output::note(&warning);
    }
    let mut work = Work::new(&engine, &loaded, shape, args.train)?;
    let times = measure(&mut work, args.seconds);
    let peak_flops = engine.threads().run(|| peak::peak_flops(engine.isa()));
    let steps = work.profile();
    let multiply_adds = steps.iter().map(|step| step.multiply_adds).sum();
    let layers = args.layers.then(|| steps.iter().map(|step| Layer::new(step, peak_flops)).collect());
    let report = Report::new(
        &engine,
        &model.name,
        &args,
        side,
        &times,
        multiply_adds,
        peak_flops,
        work.summary(),
        layers,
    );
    if args.json {
        output::json("bench", report)?;
    } else {
        output::data(&report.text())?;
    }
    Ok(ExitStatus::Done)
}

/// The network of a file, or a registered one with start values.
fn network(args: &Args) -> Result<Loaded> {
    if disk::exists(&args.model) {
        if args.classes.is_some() {
            bail!("--classes: a model file has its own; leave it out");
        }
        return load(&args.model, None);
    }
    let model = models::build(&args.model, args.classes)?;
    let weights = models::initialise(&model.graph, 0);
    let side = model.family.input_size();
    let preprocess = Preprocess { crop: side, ..Preprocess::imagenet() };
    let names = numbers(model.graph.output_features());
    Ok(Loaded { notes: Vec::new(), ..Loaded::new(model, weights, names, preprocess) })
}

/// Times of single runs in milliseconds, sorted.
fn measure(work: &mut Work, seconds: f64) -> Vec<f64> {
    (0..WARM_UP).for_each(|_| work.run());
    let (begin, span) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut times = Vec::new();
    while times.len() < FEWEST || begin.elapsed() < span {
        let start = Instant::now();
        work.run();
        times.push(1000.0 * start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times
}

#[derive(Serialize)]
struct Report {
    model: String,
    mode: &'static str,
    batch_size: usize,
    size: usize,
    threads: usize,
    isa: &'static str,
    runs: usize,
    ms_median: f64,
    ms_min: f64,
    ms_mean: f64,
    images_per_second: f64,
    multiply_adds: u64,
    gflops: f64,
    peak_gflops: f64,
    peak_share: f64,
    planned_bytes: u64,
    unshared_activations_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_peak_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<Layer>>,
}

impl Report {
    fn new(
        engine: &Engine,
        model: &str,
        args: &Args,
        size: usize,
        times: &[f64],
        multiply_adds: u64,
        peak_flops: f64,
        summary: PlanSummary,
        layers: Option<Vec<Layer>>,
    ) -> Self {
        let (median, min) = (times[times.len() / 2], times[0]);
        let flops = 2.0 * multiply_adds as f64 / (median / 1000.0);
        Self {
            model: model.to_owned(),
            mode: if args.train { "train" } else { "inference" },
            batch_size: args.batch_size,
            size,
            threads: engine.threads().count(),
            isa: engine.isa().name(),
            runs: times.len(),
            ms_median: median,
            ms_min: min,
            ms_mean: times.iter().sum::<f64>() / times.len() as f64,
            images_per_second: args.batch_size as f64 / (median / 1000.0),
            multiply_adds,
            gflops: flops / 1e9,
            peak_gflops: peak_flops / 1e9,
            peak_share: flops / peak_flops,
            planned_bytes: summary.peak_bytes() as u64,
            unshared_activations_bytes: summary.unshared_bytes as u64,
            resident_peak_bytes: resident_peak_bytes(),
            layers,
        }
    }

    fn text(&self) -> String {
        let mut facts = Table::pairs();
        let Self { batch_size, size, threads, isa, .. } = self;
        facts.pair("network", format!("{}, {}", self.model, self.mode));
        facts.pair("input", format!("{batch_size} x 3 x {size} x {size}"));
        facts.pair("machine", format!("{threads} threads, {isa}"));
        facts.pair("speed", format!("{:.2} images/s", self.images_per_second));
        let runs =
            format!("median of {}, mean {:.3} ms, fastest {:.3} ms", self.runs, self.ms_mean, self.ms_min);
        facts.pair("time", format!("{:.3} ms ({runs})", self.ms_median));
        facts.pair("work", format!("{} multiply-adds", output::grouped(self.multiply_adds)));
        let share = format!("{:.1} % of the peak of {:.1}", 100.0 * self.peak_share, self.peak_gflops);
        facts.pair("rate", format!("{:.1} GFLOP/s, {share}", self.gflops));
        facts.pair("planned memory", output::mib(self.planned_bytes));
        if let Some(bytes) = self.resident_peak_bytes {
            facts.pair("peak of the process", output::mib(bytes));
        }
        let layers = self.layers.as_deref().map(|layers| format!("\n{}", layers::table(layers).render()));
        facts.render() + &layers.unwrap_or_default()
    }
}

/// The most memory that this process has had, where the system tells.
fn resident_peak_bytes() -> Option<u64> {
    let status = disk::read_text("/proc/self/status", 1 << 16).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
