//! `residuum quantize`: a network in bytes, and what that costs.

use anyhow::Result;
use clap::ValueEnum;
use residuum::classify::{Classifier, ClassifyError, EvaluateOptions, Evaluation, Loaded};
use residuum::convert::{self, LayerNoise, QuantizeOptions, Quantized, quantize};
use residuum::data::{self, Dataset, OpenOptions};
use residuum::engine::Engine;
use serde::Serialize;

use super::{EngineArgs, InOut, check_new_file, images};
use crate::exit::ExitStatus;
use crate::output::{self, Table};
use crate::progress::Progress;

/// Layers that the table shows.
const WORST: usize = 10;

/// Make a network of bytes (int8), calibrated by pictures: a quarter of the file, and faster with AVX-512 VNNI
///
/// Batch norms are folded; filters become signed bytes with a scale for each output channel, values unsigned bytes
/// on a grid each. The result is a model file that eval, predict, bench and show take as it is; what needs
/// gradients or rewrites the network refuses it. Accuracy before and after is measured on all of --eval, or on the
/// calibration pictures.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    files: InOut,
    /// Data set whose training pictures calibrate
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Calibration pictures at most, drawn at random
    #[arg(long, value_name = "N", default_value = "512", value_parser = images)]
    images: usize,
    /// Seed of the drawing
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// How the interval of a value's grid is chosen
    #[arg(long, value_enum, default_value = "mse")]
    method: Method,
    /// What --method percentile keeps inside, in percent
    #[arg(long, value_name = "PERCENT", default_value = "99.99", value_parser = percent)]
    percentile: f64,
    /// Measure the accuracy on the test pictures of this data set [default: on the calibration pictures]
    #[arg(long, value_name = "DATA")]
    eval: Option<String>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// From the least to the greatest number seen
    MinMax,
    /// What most numbers lie in, see --percentile
    Percentile,
    /// Where the mean squared error is least, of weights too
    Mse,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|percent: &f64| (50.0..=100.0).contains(percent));
    number.ok_or_else(|| "expected a number from 50 to 100".into())
}

pub(crate) fn run(args: &Args) -> Result<ExitStatus> {
    check_new_file(&args.files.output)?;
    let open = |path: &str, split| data::open(path, split, &OpenOptions::default());
    let data = open(&args.data, data::Split::Train)?;
    let test = args.eval.as_deref().map(|path| open(path, data::Split::Test)).transpose()?;
    let engine = args.engine.engine()?;
    let before = args.files.load_floats("quantize")?;
    let options = QuantizeOptions { method: args.method(), images: args.images, seed: args.seed };
    let mut bar: Option<Progress> = None;
    let quantized = quantize(&engine, &before, &data, &options, |done, total| {
        bar.get_or_insert_with(|| Progress::new("calibrate", total as u64)).set(done as u64, "");
    })?;
    drop(bar);
    let pictures = test.as_ref().map_or_else(|| data.draw(args.images, args.seed), Clone::clone);
    let sizes = [before.tensor_bytes()?, quantized.loaded.tensor_bytes()?];
    let accuracy = accuracy(&engine, &before, &quantized.loaded, &pictures, test.is_some())?;
    quantized.loaded.save(&args.files.output)?;
    let report = Report { args, sizes, accuracy, pictures: pictures.name(), quantized: &quantized };
    if args.json {
        output::json("quantize", report.json())?;
    } else {
        output::data(&report.text())?;
    }
    Ok(ExitStatus::Done)
}

impl Args {
    fn method(&self) -> convert::Method {
        match self.method {
            Method::MinMax => convert::Method::MinMax,
            Method::Percentile => convert::Method::Percentile(self.percentile),
            Method::Mse => convert::Method::Mse,
        }
    }
}

/// How well both networks answer. Calibration pictures may be of other classes; then nothing is measured, and told.
fn accuracy(
    engine: &Engine,
    before: &Loaded,
    after: &Loaded,
    data: &Dataset,
    is_asked_for: bool,
) -> Result<Option<[Evaluation; 2]>> {
    let measure = |what: &str, loaded: &Loaded| {
        let mut bar = Progress::new(what, data.len() as u64);
        let mut classifier = Classifier::new(engine.clone(), loaded.clone());
        let evaluation = classifier.evaluate(data, &EvaluateOptions::default(), |progress| {
            bar.set(progress.images as u64, "");
        });
        drop(bar);
        evaluation
    };
    match measure("f32", before) {
        Ok(floats) => Ok(Some([floats, measure("int8", after)?])),
        Err(error @ ClassifyError::Classes(_)) if !is_asked_for => {
            output::note(&format!("{error}; the accuracy is not measured, name test pictures with --eval"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

struct Report<'a> {
    args: &'a Args,
    /// Bytes of the tensors before and after.
    sizes: [u64; 2],
    accuracy: Option<[Evaluation; 2]>,
    /// Name of the data that the accuracy was measured on.
    pictures: &'a str,
    quantized: &'a Quantized,
}

/// The stable form. Pairs are before and after; layers are in the network's order.
#[derive(Serialize)]
struct Json<'a> {
    model: &'a str,
    output: String,
    architecture: &'a str,
    method: String,
    calibration_images: usize,
    bytes: [u64; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top1: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top5: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_class: Option<usize>,
    layers: Vec<Layer<'a>>,
}

#[derive(Serialize)]
struct Layer<'a> {
    name: &'a str,
    scale: Option<f32>,
    zero_point: Option<u8>,
    signal_to_noise_db: f64,
}

impl<'a> Layer<'a> {
    fn new(layer: &'a LayerNoise) -> Self {
        Self {
            name: &layer.name,
            scale: layer.grid.map(|grid| grid.scale),
            zero_point: layer.grid.map(|grid| grid.zero_point),
            signal_to_noise_db: layer.signal_to_noise_db,
        }
    }
}

impl Report<'_> {
    /// Pictures that both networks answer alike.
    fn same_class(&self) -> Option<usize> {
        let [before, after] = self.accuracy.as_ref()?;
        Some(before.predicted.iter().zip(&after.predicted).filter(|(a, b)| a == b).count())
    }

    fn method(&self) -> String {
        match self.args.method {
            Method::MinMax => "min-max".into(),
            Method::Percentile => format!("percentile {}", self.args.percentile),
            Method::Mse => "mse".into(),
        }
    }

    fn json(&self) -> Json<'_> {
        let pair =
            |value: fn(&Evaluation) -> f64| self.accuracy.as_ref().map(|both| both.each_ref().map(value));
        Json {
            model: &self.args.files.input,
            output: self.args.files.output.display().to_string(),
            architecture: &self.quantized.loaded.model.name,
            method: self.method(),
            calibration_images: self.quantized.images,
            bytes: self.sizes,
            images: self.accuracy.as_ref().map(|both| both[0].images),
            top1: pair(Evaluation::top1),
            top5: pair(Evaluation::top5),
            loss: pair(|evaluation| evaluation.loss),
            same_class: self.same_class(),
            layers: self.quantized.layers.iter().map(Layer::new).collect(),
        }
    }

    fn text(&self) -> String {
        let mut facts = Table::pairs();
        facts.pair("network", self.quantized.loaded.model.name.clone());
        facts.pair("calibrated by", format!("{}, {} images", self.method(), self.quantized.images));
        if let (Some([before, after]), Some(same)) = (&self.accuracy, self.same_class()) {
            let images = before.images;
            facts.pair("measured on", format!("{images} images, {}", self.pictures));
            facts.pair("top-1", format!("{:.2} % → {:.2} %", before.top1(), after.top1()));
            facts.pair("loss", format!("{:.4} → {:.4}", before.loss, after.loss));
            facts.pair("same class", format!("{same} of {images}"));
        }
        let [before, after] = self.sizes.map(output::mib);
        let share = 100.0 * self.sizes[1] as f64 / self.sizes[0].max(1) as f64;
        facts.pair("weights", format!("{before} → {after} ({share:.0} %)"));
        facts.pair("written", self.args.files.output.display().to_string());
        let mut layers: Vec<&LayerNoise> = self.quantized.layers.iter().collect();
        layers.sort_by(|a, b| a.signal_to_noise_db.total_cmp(&b.signal_to_noise_db));
        let mut table = Table::new(&["worst layers", "signal/noise dB", "scale", "zero point"]);
        for layer in layers.into_iter().take(WORST) {
            let of_grid = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            table.row([
                layer.name.clone(),
                format!("{:.1}", layer.signal_to_noise_db),
                of_grid(layer.grid.map(|grid| format!("{:.3e}", grid.scale))),
                of_grid(layer.grid.map(|grid| grid.zero_point.to_string())),
            ]);
        }
        format!("{}\n{}", facts.render(), table.render())
    }
}
