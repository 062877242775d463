//! `residuum convert`: from one format to another, verified by numbers.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use residuum::convert::{ConvertOptions, Format, Mean, Source, Verification, load, round, save_as, verify};
use residuum::formats::disk;
use residuum::tensor::DType;
use serde::Serialize;

use super::{EngineArgs, tell};
use crate::exit::ExitStatus;
use crate::output::{self, Table};

/// Convert a model from one format to another, by the endings of the files, and verify the result
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// .caffemodel (Caffe), .pth, .pt, .th (PyTorch), .safetensors, or run folder
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// New file: .safetensors (ours, with all that an answer needs), .pth or .pt (PyTorch's state dict)
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Name of the network of a foreign file, such as resnet50.tv
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Definition of a Caffe model [default: the one beside it]
    #[arg(long, value_name = "FILE.prototxt")]
    prototxt: Option<PathBuf>,
    /// What a Caffe model subtracts from images of 0 to 255: a mean image, or a number for each colour
    /// [default: the numbers of the published models]
    #[arg(long, value_name = "FILE.binaryproto|B,G,R")]
    mean: Option<String>,
    /// How filters and matrices are stored; everything computes in f32 whatever the file holds
    #[arg(long, value_enum, default_value = "f32")]
    weights: Weights,
    /// Exit with 1 if a logit of the result is off by more than this share of the largest
    #[arg(long, value_name = "TOL", default_value = "1e-4", value_parser = tolerance)]
    verify: f64,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Weights {
    F32,
    /// Half the file, the range of f32
    Bf16,
    /// Half the file, eight times as fine as bf16, numbers up to 65504
    F16,
}

impl Weights {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|tolerance: &f64| *tolerance >= 0.0 && tolerance.is_finite());
    number.ok_or_else(|| "expected a number from 0 on".into())
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    check_output(&args)?;
    let values = args.mean.as_deref().and_then(three_numbers);
    let mean = args.mean.as_deref().map(|file| values.map_or(Mean::File(file.as_ref()), Mean::Values));
    let options = ConvertOptions { model: args.model.as_deref(), prototxt: args.prototxt.as_deref(), mean };
    let mut source = load(&args.input, &options)?;
    tell(&source.loaded);
    let (engine, dtype) = (args.engine.engine()?, args.weights.dtype());
    let rounded = round(&source.loaded, dtype)?;
    save_as(&source.loaded, &args.output, dtype)?;
    // What rounding changes is told; what is verified is that the file holds the rounded numbers.
    let mut rounding = None;
    if args.weights != Weights::F32 {
        rounding = Some(verify(&engine, &source, &args.output)?);
        source.graph = source.loaded.model.graph.clone();
        source.weights = rounded;
    }
    let verification = verify(&engine, &source, &args.output)?;
    if args.json {
        output::json("convert", json(&args, &source, &verification, rounding.as_ref()))?;
    } else {
        output::data(&text(&args, &source, &verification, rounding.as_ref()))?;
    }
    if verification.holds(args.verify) {
        return Ok(ExitStatus::Done);
    }
    let (out, tolerance) = (args.output.display(), args.verify);
    output::note(&format!("{out}: answers otherwise than its source, by more than {tolerance}; it is kept"));
    Ok(ExitStatus::No)
}

/// What can be refused is refused before the work starts.
fn check_output(args: &Args) -> Result<()> {
    let path = &args.output;
    Format::of(path)?;
    if disk::exists(path) {
        bail!("{}: exists already; choose another name or remove it", path.display());
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            bail!("{}: there is no such folder", folder.display())
        }
        _ => Ok(()),
    }
}

/// `103.9,116.8,123.7`; what is no such list is the name of a file.
fn three_numbers(text: &str) -> Option<[f64; 3]> {
    let numbers: Vec<f64> = text.split(',').map(|part| part.trim().parse().ok()).collect::<Option<_>>()?;
    let numbers: [f64; 3] = numbers.try_into().ok()?;
    numbers.iter().all(|number| (0.0..=255.0).contains(number)).then_some(numbers)
}

/// The stable form.
#[derive(Serialize)]
struct Json<'a> {
    input: String,
    output: String,
    architecture: &'a str,
    classes: usize,
    parameters: u64,
    images: usize,
    agreeing: usize,
    max_difference: f64,
    largest_logit: f64,
    verified: bool,
    weights: String,
    /// Largest difference of a logit to those of the source, where weights were rounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    rounding_difference: Option<f64>,
}

fn json<'a>(
    args: &Args,
    source: &'a Source,
    verification: &Verification,
    rounding: Option<&Verification>,
) -> Json<'a> {
    Json {
        input: args.input.display().to_string(),
        output: args.output.display().to_string(),
        architecture: &source.loaded.model.name,
        classes: source.loaded.classes(),
        parameters: source.loaded.model.graph.parameter_count(),
        images: verification.images,
        agreeing: verification.agreeing,
        max_difference: verification.max_difference,
        largest_logit: verification.largest_logit,
        verified: verification.holds(args.verify),
        weights: args.weights.dtype().to_string(),
        rounding_difference: rounding.map(|rounding| rounding.max_difference),
    }
}

fn text(
    args: &Args,
    source: &Source,
    verification: &Verification,
    rounding: Option<&Verification>,
) -> String {
    let Verification { images, agreeing, max_difference, largest_logit } = verification;
    let loaded = &source.loaded;
    let mut facts = Table::pairs();
    facts.pair("from", args.input.display().to_string());
    facts.pair("to", args.output.display().to_string());
    let parameters = output::grouped(loaded.model.graph.parameter_count());
    facts.pair(
        "network",
        format!("{}, {} classes, {parameters} parameters", loaded.model.name, loaded.classes()),
    );
    facts.pair("same class", format!("{agreeing} of {images} random images"));
    facts
        .pair("logits", format!("differ by {max_difference:.1e} at most, the largest is {largest_logit:.3}"));
    if let Some(Verification { max_difference, agreeing, images, .. }) = rounding {
        let dtype = args.weights.dtype();
        facts.pair(
            "rounding",
            format!(
                "to {dtype} moves logits by {max_difference:.1e} at most; same class {agreeing} of {images}"
            ),
        );
    }
    facts.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_three_numbers_or_a_file() {
        assert_eq!(three_numbers("103.9, 116.8,123.7"), Some([103.9, 116.8, 123.7]));
        for file in ["mean.binaryproto", "1,2", "1,2,3,4", "1,2,256", "1,2,nan", ""] {
            assert_eq!(three_numbers(file), None, "{file}");
        }
    }
}
