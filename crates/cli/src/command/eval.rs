//! `residuum eval`: how well models answer for a data set whose classes are known.

mod print;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use residuum::classify::{self, Classifier, EvaluateOptions, Evaluations, evaluate};
use residuum::data::{self, Dataset, OpenOptions, Views};
use residuum::formats::disk;

use super::{EngineArgs, OnBadImage, batch_size, check_new_file, classifier, positive};
use crate::exit::ExitStatus;
use crate::output;
use crate::progress::Progress;
use print::{Outcome, comparison};

/// Evaluate models on a data set: top-1, top-5, loss, per class; several models alone and together
///
/// Several models are an ensemble: the mean of their probabilities is evaluated as well, each model's own
/// figures beside. They need the same classes, but not the same preparation or size.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folders, model files, or foreign files of weights with --model
    #[arg(value_name = "MODEL", required = true)]
    models: Vec<String>,
    /// Data set: `shapes`, a folder or a file
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Which part of the data set
    #[arg(long, value_enum, default_value = "test")]
    split: Split,
    /// Name of the network of foreign files, such as resnet50.tv; once for all, or once for each MODEL in order
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// Views that go through the network together; whole pictures (multi-scale) go one by one
    #[arg(long, short, value_name = "N", default_value = "64", value_parser = batch_size)]
    batch_size: usize,
    /// What of each image the network is shown
    ///
    /// CIFAR networks and others that see whole images without a resize have a single crop only.
    #[arg(long, value_enum, default_value = "1")]
    crops: Crops,
    /// Shorter sides in pixels for --crops multi-scale [default: 224,256,384,480,640]
    #[arg(long, value_name = "N,N…", value_delimiter = ',', value_parser = scale)]
    scales: Vec<usize>,
    /// What the answer for a whole image is (--crops multi-scale)
    ///
    /// He et al. 2015, §3.4, leave open which of the two they mean.
    #[arg(long, value_enum, default_value = "windows")]
    positions: Positions,
    /// Show each view in a mirror as well, and average (ten crops are mirrored anyway)
    #[arg(long)]
    flip: bool,
    /// What is averaged over views and positions
    #[arg(long, value_enum, default_value = "probabilities")]
    average: Average,
    #[command(flatten)]
    engine: EngineArgs,
    /// What to do with an image that cannot be read
    #[arg(long, value_enum, default_value = "fail")]
    on_bad_image: OnBadImage,
    /// Exit with 1 if a model's top-1 accuracy, or the ensemble's, is below this many percent
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    require_top1: Option<f64>,
    /// Print the accuracy of every class as well, the worst first
    #[arg(long)]
    per_class: bool,
    /// Write the numbers of images by true and predicted class, of several models their ensemble's, to a new
    /// file
    #[arg(long, value_name = "FILE.csv")]
    confusion: Option<PathBuf>,
    /// Print JSON, one object per model, then one for the ensemble
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Split {
    Train,
    Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Crops {
    /// The centre
    #[value(name = "1")]
    One,
    /// Four corners and the centre, each with its mirror image (Krizhevsky et al. 2012)
    #[value(name = "10")]
    Ten,
    /// The whole image with its shorter side at several scales (He et al. 2015); --flip adds mirror images
    MultiScale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Positions {
    /// Fully convolutional: an answer for every window of 7×7 positions (for ImageNet networks), averaged
    Windows,
    /// One mean over the whole last map, and one answer
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Average {
    /// After the softmax, as the papers do
    Probabilities,
    /// Before the softmax
    Logits,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    number.ok_or_else(|| "expected a number from 0 to 100".into())
}

fn scale(text: &str) -> Result<usize, String> {
    positive(text, 4096)
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    check(&args)?;
    let split = match args.split {
        Split::Train => data::Split::Train,
        Split::Test => data::Split::Test,
    };
    let data = data::open(&args.data, split, &OpenOptions::default())?;
    let engine = args.engine.engine()?;
    let networks = args.models.iter().enumerate().map(|(i, path)| {
        let name = args.model.get(i).or_else(|| args.model.first().filter(|_| args.model.len() == 1));
        classifier(&engine, path, name.map(String::as_str))
    });
    let mut networks: Vec<Classifier> = networks.collect::<Result<_>>()?;
    let Evaluations { members, ensemble } = measure(&mut networks, &data, &args)?;
    let members = args.models.iter().zip(&networks).zip(members).map(|((path, network), evaluation)| {
        Outcome::new(path, &network.loaded().model.name, &data, split, evaluation)
    });
    let mut results: Vec<Outcome<'_>> = members.collect();
    if let Some(evaluation) = ensemble {
        let all = format!("{} models", networks.len());
        results.push(Outcome::new("ensemble", &all, &data, split, evaluation));
    }
    let last = results.last().expect("there is at least one model");
    if let Some(path) = &args.confusion {
        disk::write_bytes(path, last.confusion().as_bytes())?;
    }
    if args.json {
        results.iter().try_for_each(|result| output::json("eval", result.json()))?;
    } else {
        let facts = if results.len() == 1 { last.text() } else { comparison(&results) };
        let classes = args.per_class.then(|| format!("\n{}", last.per_class()));
        output::data(&(facts + &classes.unwrap_or_default()))?;
    }
    Ok(verdict(&args, &results))
}

/// What can be refused is refused before the work starts.
fn check(args: &Args) -> Result<()> {
    let (models, names) = (args.models.len(), args.model.len());
    if names > 1 && names != models {
        bail!("--model: expected it once for all, or once for each of the {models} models, found {names}");
    }
    if args.crops != Crops::MultiScale && (!args.scales.is_empty() || args.positions != Positions::Windows) {
        bail!("--scales and --positions: they belong to --crops multi-scale; leave them out or add it");
    }
    args.confusion.as_deref().map_or(Ok(()), check_new_file)
}

impl Args {
    fn options(&self) -> EvaluateOptions {
        let crops = match self.crops {
            Crops::One => data::Crops::One,
            Crops::Ten => data::Crops::Ten,
            Crops::MultiScale if self.scales.is_empty() => data::Crops::Scales(Views::SCALES.to_vec()),
            Crops::MultiScale => data::Crops::Scales(self.scales.clone()),
        };
        EvaluateOptions {
            batch_size: self.batch_size,
            on_bad_image: match self.on_bad_image {
                OnBadImage::Fail => data::OnBadImage::Fail,
                OnBadImage::Skip => data::OnBadImage::Skip,
            },
            views: Views { crops, flip: self.flip },
            average: match self.average {
                Average::Probabilities => classify::Average::Probabilities,
                Average::Logits => classify::Average::Logits,
            },
            positions: match self.positions {
                Positions::Windows => classify::Positions::Windows,
                Positions::Whole => classify::Positions::Whole,
            },
        }
    }
}

fn measure(networks: &mut [Classifier], data: &Dataset, args: &Args) -> Result<Evaluations> {
    let name = match &*networks {
        [network] => network.loaded().model.name.clone(),
        _ => format!("{} models", networks.len()),
    };
    let mut bar = Progress::new(&name, data.len() as u64);
    let evaluations = evaluate(networks, data, &args.options(), |progress| {
        let top1 = 100.0 * progress.correct as f64 / progress.images as f64;
        bar.set(progress.images as u64, &format!("top-1 {top1:.2} %"));
    })?;
    drop(bar);
    for skipped in evaluations.members.first().iter().flat_map(|evaluation| &evaluation.skipped) {
        output::note(&format!("skipped: {}", skipped.reason));
    }
    Ok(evaluations)
}

fn verdict(args: &Args, results: &[Outcome<'_>]) -> ExitStatus {
    let Some(required) = args.require_top1 else { return ExitStatus::Done };
    let below = results.iter().filter(|result| result.evaluation.top1() < required);
    let mut status = ExitStatus::Done;
    for result in below {
        let (model, top1) = (result.model, result.evaluation.top1());
        output::note(&format!("{model}: top-1 is {top1:.2} %, below the {required} % required"));
        status = ExitStatus::No;
    }
    status
}
