//! `residuum eval`: how well models answer for a data set whose classes are known.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use residuum::classify::{Classifier, EvaluateOptions, Evaluation, are_numbers};
use residuum::data::{self, Dataset, OpenOptions};
use residuum::formats::disk;
use serde::Serialize;

use super::{EngineArgs, OnBadImage, batch_size, check_new_file, classifier};
use crate::exit::ExitStatus;
use crate::output::{self, Table};
use crate::progress::Progress;

/// Evaluate models on a data set: top-1, top-5, loss, per class
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
    /// Name of the network of foreign files, such as resnet50.tv
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Images that go through the network together
    #[arg(long, short, value_name = "N", default_value = "64", value_parser = batch_size)]
    batch_size: usize,
    #[command(flatten)]
    engine: EngineArgs,
    /// What to do with an image that cannot be read
    #[arg(long, value_enum, default_value = "fail")]
    on_bad_image: OnBadImage,
    /// Exit with 1 if a model's top-1 accuracy is below this many percent
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    require_top1: Option<f64>,
    /// Write the numbers of images by true and predicted class of one model to a new file
    #[arg(long, value_name = "FILE.csv")]
    confusion: Option<PathBuf>,
    /// Print JSON, one object per model
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Split {
    Train,
    Test,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    number.ok_or_else(|| "expected a number from 0 to 100".into())
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    check_output(&args)?;
    let split = match args.split {
        Split::Train => data::Split::Train,
        Split::Test => data::Split::Test,
    };
    let data = data::open(&args.data, split, &OpenOptions::default())?;
    let engine = args.engine.engine()?;
    let mut results = Vec::new();
    for path in &args.models {
        let mut classifier = classifier(&engine, path, args.model.as_deref())?;
        let evaluation = evaluate(&mut classifier, &data, &args)?;
        let result = Outcome::new(path, &classifier, &data, split, evaluation);
        if args.json {
            output::json("eval", result.json())?;
        } else if args.models.len() == 1 {
            output::data(&result.text())?;
        }
        if let Some(path) = &args.confusion {
            disk::write_bytes(path, result.confusion().as_bytes())?;
        }
        results.push(result);
    }
    if !args.json && results.len() > 1 {
        output::data(&comparison(&results))?;
    }
    Ok(verdict(&args, &results))
}

/// What can be refused is refused before the work starts.
fn check_output(args: &Args) -> Result<()> {
    let Some(path) = &args.confusion else { return Ok(()) };
    if args.models.len() > 1 {
        bail!("--confusion: expected one model, found {}", args.models.len());
    }
    check_new_file(path)
}

fn evaluate(classifier: &mut Classifier, data: &Dataset, args: &Args) -> Result<Evaluation> {
    let on_bad_image = match args.on_bad_image {
        OnBadImage::Fail => data::OnBadImage::Fail,
        OnBadImage::Skip => data::OnBadImage::Skip,
    };
    let options = EvaluateOptions { batch_size: args.batch_size, on_bad_image };
    let mut bar = Progress::new(&classifier.loaded().model.name, data.len() as u64);
    let evaluation = classifier.evaluate(data, &options, |progress| {
        let top1 = 100.0 * progress.correct as f64 / progress.images as f64;
        bar.set(progress.images as u64, &format!("top-1 {top1:.2} %"));
    })?;
    drop(bar);
    for skipped in &evaluation.skipped {
        output::note(&format!("skipped: {}", skipped.reason));
    }
    Ok(evaluation)
}

fn verdict(args: &Args, results: &[Outcome<'_>]) -> ExitStatus {
    let Some(required) = args.require_top1 else { return ExitStatus::Done };
    let below = results.iter().filter(|result| result.evaluation.top1() < required);
    let mut status = ExitStatus::Done;
    for result in below {
        let (model, top1) = (result.path, result.evaluation.top1());
        output::note(&format!("{model}: top-1 is {top1:.2} %, below the {required} % required"));
        status = ExitStatus::No;
    }
    status
}

/// One model's evaluation with the names around it.
struct Outcome<'a> {
    path: &'a str,
    architecture: String,
    model_classes: Vec<String>,
    data: &'a Dataset,
    split: data::Split,
    evaluation: Evaluation,
}

/// The stable form.
#[derive(Serialize)]
struct Json<'a> {
    model: &'a str,
    architecture: &'a str,
    data: &'a str,
    split: String,
    images: usize,
    correct: usize,
    top1: f64,
    top5: f64,
    loss: f64,
    classes: Vec<JsonClass<'a>>,
    seconds: f64,
    images_per_second: f64,
    skipped: usize,
}

#[derive(Serialize)]
struct JsonClass<'a> {
    name: &'a str,
    images: usize,
    correct: usize,
    top1: f64,
}

impl<'a> Outcome<'a> {
    fn new(
        path: &'a str,
        classifier: &Classifier,
        data: &'a Dataset,
        split: data::Split,
        evaluation: Evaluation,
    ) -> Self {
        let info = &classifier.loaded().info;
        // A model without names has its classes in the data's order, which is how they were compared.
        let names = if are_numbers(&info.class_names) { data.classes() } else { &info.class_names };
        let (architecture, model_classes) = (classifier.loaded().model.name.clone(), names.to_vec());
        Self { path, architecture, model_classes, data, split, evaluation }
    }

    fn json(&self) -> Json<'_> {
        let e = &self.evaluation;
        let classes = e.classes.iter().map(|class| JsonClass {
            name: &class.name,
            images: class.images,
            correct: class.correct,
            top1: class.top1(),
        });
        Json {
            model: self.path,
            architecture: &self.architecture,
            data: self.data.name(),
            split: self.split.to_string(),
            images: e.images,
            correct: e.correct,
            top1: e.top1(),
            top5: e.top5(),
            loss: e.loss,
            classes: classes.collect(),
            seconds: e.seconds,
            images_per_second: e.images_per_second(),
            skipped: e.skipped.len(),
        }
    }

    fn text(&self) -> String {
        let e = &self.evaluation;
        let mut facts = Table::pairs();
        facts.pair("model", format!("{} ({})", self.path, self.architecture));
        facts.pair("data", format!("{} {}", self.data.name(), self.split));
        facts.pair("images", e.images.to_string());
        if !e.skipped.is_empty() {
            facts.pair("skipped", e.skipped.len().to_string());
        }
        facts.pair("correct", e.correct.to_string());
        facts.pair("top-1", format!("{:.2} %", e.top1()));
        facts.pair("top-5", format!("{:.2} %", e.top5()));
        facts.pair("loss", format!("{:.5}", e.loss));
        facts.pair("time", format!("{:.2} s, {:.1} images/s", e.seconds, e.images_per_second()));
        let mut classes = Table::new(&["class", "images", "correct", "top-1 %"]);
        for class in &e.classes {
            let top1 = format!("{:.2}", class.top1());
            classes.row([class.name.clone(), class.images.to_string(), class.correct.to_string(), top1]);
        }
        format!("{}\n{}", facts.render(), classes.render())
    }

    /// True classes down, predicted classes across.
    fn confusion(&self) -> String {
        let mut text = String::from("class");
        for name in &self.model_classes {
            let _ = write!(text, ",{}", output::csv_field(name));
        }
        text.push('\n');
        for (class, row) in self.evaluation.classes.iter().zip(&self.evaluation.confusion) {
            text.push_str(&output::csv_field(&class.name));
            for count in row {
                let _ = write!(text, ",{count}");
            }
            text.push('\n');
        }
        text
    }
}

/// Several models under each other.
fn comparison(results: &[Outcome<'_>]) -> String {
    let mut table =
        Table::new(&["model", "network", "images", "correct", "top-1 %", "top-5 %", "loss", "images/s"])
            .left(&[0, 1]);
    for result in results {
        let e = &result.evaluation;
        table.row([
            result.path.to_owned(),
            result.architecture.clone(),
            e.images.to_string(),
            e.correct.to_string(),
            format!("{:.2}", e.top1()),
            format!("{:.2}", e.top5()),
            format!("{:.5}", e.loss),
            format!("{:.1}", e.images_per_second()),
        ]);
    }
    table.render()
}
