//! `residuum bench kernels`: every way to compute the convolutions of a network, and which one is taken.

use std::time::Duration;

use anyhow::{Result, bail};
use residuum::engine::peak::Limits;
use residuum::engine::trial::{Trial, conv_trials};
use residuum::engine::{ConvLayers, ConvShape, Engine, InputShape, conv_layers};
use residuum::models;
use serde::Serialize;

use super::layers::bound;
use super::{EngineArgs, batch_size, side};
use crate::exit::ExitStatus;
use crate::output::{self, Table};
use crate::progress::Progress;

/// Measure every kernel for the convolutions of a network, or for one convolution; the chosen one is marked
///
/// For each distinct shape: forward, gradient of the input, gradient of the weights. The share of peak counts the
/// multiply-adds of the definition, the limit those of the algorithm or its bytes, as in `residuum bench`. A training
/// step computes forward passes with few pixels directly, whatever is fastest. Forward passes read an input half of which
/// are zeros, as a ReLU leaves it behind a norm; behind a sum there are fewer, and another kernel may be chosen.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the network
    #[arg(value_name = "MODEL-NAME", required_unless_present = "channels", conflicts_with = "channels")]
    model: Option<String>,
    /// Channels of input and output of one convolution
    #[arg(long, value_name = "IN,OUT", value_parser = channels, requires = "size")]
    channels: Option<[usize; 2]>,
    /// Side of its window
    #[arg(long, value_name = "PIXELS", default_value = "3", value_parser = side, requires = "channels")]
    kernel: usize,
    /// Distance between its windows
    #[arg(long, value_name = "PIXELS", default_value = "1", value_parser = side, requires = "channels")]
    stride: usize,
    /// Independent convolutions side by side
    #[arg(long, value_name = "N", default_value = "1", value_parser = side, requires = "channels")]
    groups: usize,
    /// Images in a batch
    #[arg(long, short, value_name = "N", default_value = "1", value_parser = batch_size)]
    batch_size: usize,
    /// Side of the images, or of the convolution's input, in pixels [default: the network's own]
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    size: Option<usize>,
    #[command(flatten)]
    engine: EngineArgs,
    /// How long to measure each kernel
    #[arg(long, value_name = "S", default_value = "0.2", value_parser = super::seconds)]
    seconds: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn channels(text: &str) -> Result<[usize; 2], String> {
    let numbers: Vec<usize> = text.split(',').map_while(|part| side(part).ok()).collect();
    let both = numbers.try_into().ok().filter(|_| text.split(',').count() == 2);
    both.ok_or_else(|| "expected two whole numbers from 1 to 65535, such as 64,128".into())
}

pub(super) fn run(args: Args) -> Result<ExitStatus> {
    let engine = args.engine.engine()?;
    let layers = layers(&args)?;
    let (total, mut progress) = (layers.len() as u64, Progress::new("convolutions", layers.len() as u64));
    let mut shapes = Vec::new();
    for (index, layer) in layers.into_iter().enumerate() {
        progress.set(index as u64, &describe(&layer.shape));
        shapes.push(measure(&engine, layer, Duration::from_secs_f64(args.seconds))?);
    }
    progress.set(total, "");
    drop(progress);
    let report = Report { threads: engine.threads().count(), isa: engine.isa().name(), shapes };
    if args.json {
        output::json("bench.kernels", report)?;
    } else {
        output::data(&report.table().render())?;
    }
    Ok(ExitStatus::Done)
}

/// What is to be measured.
fn layers(args: &Args) -> Result<Vec<ConvLayers>> {
    let Args { kernel, stride, groups, batch_size: n, .. } = *args;
    if let (Some([c_in, c_out]), Some(side)) = (args.channels, args.size) {
        if c_in % groups != 0 || c_out % groups != 0 {
            bail!("--groups {groups}: expected a divisor of both channels, {c_in} and {c_out}");
        }
        let shape = ConvShape {
            n,
            h: side,
            w: side,
            c_in,
            c_out,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups,
        };
        return Ok(vec![ConvLayers { shape, names: vec!["conv".to_owned()] }]);
    }
    let model = models::build(args.model.as_deref().unwrap_or_default(), None)?;
    let side = args.size.unwrap_or(model.family.input_size());
    Ok(conv_layers(&model.graph, InputShape { n, h: side, w: side })?)
}

fn measure(engine: &Engine, layer: ConvLayers, span: Duration) -> Result<Measured> {
    let ConvLayers { shape, names } = layer;
    let (isa, threads) = (engine.isa(), engine.threads());
    let Ok(trials) = threads.run(|| conv_trials(isa, &shape, span)) else {
        bail!("{}: its maps need more memory than is to be had; use a smaller batch", describe(&shape));
    };
    let working_set = trials.iter().map(|trial| trial.bytes).max().unwrap_or(0);
    let limits = threads.run(|| Limits::measure(isa, working_set));
    let kernels = trials.iter().map(|trial| Kernel::new(trial, &shape, &limits)).collect();
    Ok(Measured { shape: describe(&shape), multiply_adds: shape.macs() as u64, layers: names, kernels })
}

#[derive(Serialize)]
struct Report {
    threads: usize,
    isa: &'static str,
    shapes: Vec<Measured>,
}

/// A shape and its kernels.
#[derive(Serialize)]
struct Measured {
    shape: String,
    multiply_adds: u64,
    layers: Vec<String>,
    kernels: Vec<Kernel>,
}

#[derive(Serialize)]
struct Kernel {
    pass: String,
    algorithm: &'static str,
    is_chosen: bool,
    ms: f64,
    gflops: f64,
    peak_share: f64,
    limit_ms: f64,
    limit_share: f64,
    is_bound_by_memory: bool,
}

impl Kernel {
    fn new(trial: &Trial, shape: &ConvShape, limits: &Limits) -> Self {
        let seconds = trial.time.as_secs_f64().max(f64::MIN_POSITIVE);
        let flops = 2.0 * shape.macs() as f64 / seconds;
        let (multiply_adds, bytes) = (trial.multiply_adds as u64, trial.bytes as u64);
        let least = limits.least_seconds(multiply_adds, bytes);
        Self {
            pass: trial.pass.to_string(),
            algorithm: trial.algorithm,
            is_chosen: trial.is_chosen,
            ms: 1000.0 * seconds,
            gflops: flops / 1e9,
            peak_share: flops / limits.flops,
            limit_ms: 1000.0 * least,
            limit_share: least / seconds,
            is_bound_by_memory: limits.is_bound_by_memory(multiply_adds, bytes),
        }
    }
}

impl Report {
    /// A line for each kernel; a shape is named once.
    fn table(&self) -> Table {
        let titles = [
            "shape",
            "layers",
            "pass",
            "algorithm",
            "chosen",
            "ms",
            "GFLOP/s",
            "peak %",
            "limit %",
            "bound by",
        ];
        let mut table = Table::new(&titles).left(&[0, 2, 3, 4, 9]);
        for shape in &self.shapes {
            let mut what = [shape.shape.clone(), shape.layers.len().to_string()];
            for kernel in &shape.kernels {
                table.row(what.into_iter().chain([
                    kernel.pass.clone(),
                    kernel.algorithm.to_owned(),
                    if kernel.is_chosen { "*".to_owned() } else { String::new() },
                    format!("{:.3}", kernel.ms),
                    format!("{:.1}", kernel.gflops),
                    format!("{:.1}", 100.0 * kernel.peak_share),
                    format!("{:.1}", 100.0 * kernel.limit_share),
                    bound(kernel.is_bound_by_memory).to_owned(),
                ]));
                what = [String::new(), String::new()];
            }
        }
        table
    }
}

/// Such as `8x56x56 64->128 3x3/2`.
fn describe(shape: &ConvShape) -> String {
    let ConvShape { n, h, w, c_in, c_out, kernel: [kh, kw], stride: [s, _], groups, .. } = *shape;
    let groups = if groups > 1 { format!(" in {groups} groups") } else { String::new() };
    format!("{n}x{h}x{w} {c_in}->{c_out} {kh}x{kw}/{s}{groups}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_two_numbers() {
        assert_eq!(channels("64,128"), Ok([64, 128]));
        for wrong in ["64", "64,", "64,128,1", "0,1", "64 128", "a,b", ""] {
            assert!(channels(wrong).is_err(), "{wrong}");
        }
    }
}
