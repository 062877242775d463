//! `residuum bench`: how fast a network runs on this machine, where the time goes, and what limits it.

mod kernels;
mod layers;
mod work;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use residuum::classify::{Loaded, numbers};
use residuum::data::Preprocess;
use residuum::engine::peak::Limits;
use residuum::engine::{Engine, InputShape, PlanSummary, StepTime};
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
///
/// The limit is the least time by the algorithms that were chosen: for each step the longer of its multiply-adds at
/// the machine's peak, transforms included, and its bytes at the speed of copying as much memory as the network
/// works on. What the step before left in a cache may be read faster than that; where a convolution leaves out the
/// zeros of its input (sparse), half of it is taken for zeros, whatever there are.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Name of the network, or a run folder or model file
    #[arg(value_name = "MODEL", required = true)]
    model: Option<String>,
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
    /// Print every step: time, GFLOP/s, share of the machine's peak and of the limit
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

#[derive(Debug, clap::Subcommand)]
enum Command {
    Kernels(kernels::Args),
}

fn side(text: &str) -> Result<usize, String> {
    positive(text, 65_535)
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    number.ok_or_else(|| "expected a number of seconds from 0 to 86400".into())
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    if let Some(Command::Kernels(args)) = args.command {
        return kernels::run(args);
    }
    let engine = args.engine.engine()?;
    let program = resident_peak_bytes();
    let loaded = network(&args)?;
    let model = &loaded.model;
    let side = args.size.unwrap_or(loaded.info.preprocess.crop);
    let shape = InputShape { n: args.batch_size, h: side, w: side };
    if let Some(warning) = models::small_image_warning(model, side) {
        output::note(&warning);
    }
    let mut work = Work::new(&engine, &loaded, shape, args.train)?;
    let name = model.name.clone();
    // The program has its own weights: what is measured is its memory, not that of its source.
    drop(loaded);
    let times = measure(&mut work, args.seconds);
    let (steps, summary) = (work.profile(), work.summary());
    let resident = Resident { program, peak: resident_peak_bytes() };
    let limits = engine.threads().run(|| Limits::measure(engine.isa(), summary.peak_bytes()));
    let report = Report::new(&engine, &name, &args, side, &times, &steps, limits, summary, resident);
    if args.json {
        output::json("bench", report)?;
    } else {
        output::data(&report.text())?;
    }
    Ok(ExitStatus::Done)
}

/// The network of a file, or a registered one with start values.
fn network(args: &Args) -> Result<Loaded> {
    let name = args.model.as_deref().unwrap_or_default();
    if disk::exists(name) {
        if args.classes.is_some() {
            bail!("--classes: a model file has its own; leave it out");
        }
        return load(name, None);
    }
    let model = models::build(name, args.classes)?;
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

/// The most memory that this process has had, where the system tells.
#[derive(Clone, Copy, Serialize)]
struct Resident {
    /// Before there was a network.
    #[serde(rename = "resident_program_bytes", skip_serializing_if = "Option::is_none")]
    program: Option<u64>,
    /// In all.
    #[serde(rename = "resident_peak_bytes", skip_serializing_if = "Option::is_none")]
    peak: Option<u64>,
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
    copy_gbytes_per_second: Option<f64>,
    limit_ms: f64,
    limit_share: f64,
    /// The images of the batch included.
    planned_bytes: u64,
    unshared_activations_bytes: u64,
    #[serde(flatten)]
    resident: Resident,
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
        steps: &[StepTime],
        limits: Limits,
        summary: PlanSummary,
        resident: Resident,
    ) -> Self {
        let (median, min) = (times[times.len() / 2], times[0]);
        let multiply_adds = steps.iter().map(|step| step.multiply_adds).sum();
        let least = |step: &StepTime| limits.least_seconds(step.cost.multiply_adds, step.cost.bytes);
        let limit_ms = 1000.0 * steps.iter().map(least).sum::<f64>();
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
            peak_gflops: limits.flops / 1e9,
            peak_share: flops / limits.flops,
            copy_gbytes_per_second: limits.bandwidth.is_finite().then_some(limits.bandwidth / 1e9),
            limit_ms,
            limit_share: limit_ms / median,
            planned_bytes: (summary.peak_bytes() + size_of::<f32>() * args.batch_size * 3 * size * size)
                as u64,
            unshared_activations_bytes: summary.unshared_bytes as u64,
            resident,
            layers: args.layers.then(|| steps.iter().map(|step| Layer::new(step, &limits)).collect()),
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
        let memory =
            self.copy_gbytes_per_second.map_or_else(String::new, |rate| format!(" and {rate:.1} GB/s"));
        let reached = format!("{:.1} % of it reached", 100.0 * self.limit_share);
        facts.pair("limit", format!("{:.3} ms at that peak{memory}, {reached}", self.limit_ms));
        facts.pair("planned memory", output::mib(self.planned_bytes));
        if let Resident { program: Some(program), peak: Some(peak) } = self.resident {
            let program = output::mib(program);
            facts.pair(
                "peak of the process",
                format!("{}, {program} of it before the network", output::mib(peak)),
            );
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
