//! `residuum predict`: the most probable classes of pictures.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::ValueEnum;
use residuum::classify::Prediction;
use residuum::formats::disk;
use serde::Serialize;

use super::{EngineArgs, classifier, positive};
use crate::exit::ExitStatus;
use crate::output;

/// Pictures that go through the network together.
const BATCH: usize = 16;

/// Endings of the files of a folder that are taken for pictures.
const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif"];

/// Predict the most probable classes of images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "MODEL")]
    model_path: String,
    /// Images, and folders of images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Name of the network of a foreign file, such as resnet50.tv
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Classes to show for each image
    #[arg(long, short = 'k', value_name = "K", default_value = "5", value_parser = topk)]
    topk: usize,
    #[command(flatten)]
    engine: EngineArgs,
    /// What to do with an image that cannot be read
    #[arg(long, value_enum, default_value = "report")]
    on_bad_image: Policy,
    /// Print JSON, one object per image
    #[arg(long)]
    json: bool,
    /// Print CSV, one line per class
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// What to do with a picture that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// Report it, answer for the others, and exit with 2
    Report,
    /// Stop with an error that names it
    Fail,
    /// Report it and answer for the others
    Skip,
}

fn topk(text: &str) -> Result<usize, String> {
    positive(text, 1_000_000)
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    let images = find_images(&args.images)?;
    let mut classifier = classifier(&args.engine.engine()?, &args.model_path, args.model.as_deref())?;
    if args.csv {
        output::data("image,rank,class,name,probability")?;
    }
    let mut status = ExitStatus::Done;
    for paths in images.chunks(BATCH) {
        for (path, answer) in paths.iter().zip(classifier.predict_files(paths, args.topk)?) {
            match (answer, args.on_bad_image) {
                (Ok(predictions), _) => print(&args, path, &predictions)?,
                (Err(error), Policy::Fail) => return Err(error.into()),
                (Err(error), Policy::Skip) => output::note(&format!("skipped: {error}")),
                (Err(error), Policy::Report) => {
                    output::error(&error.to_string());
                    status = ExitStatus::BadInput;
                }
            }
        }
    }
    Ok(status)
}

/// The files that were named, and the pictures in the folders that were named and in those inside them. Links
/// are followed, but no folder is entered twice, so that a loop ends.
fn find_images(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let (mut found, mut entered) = (Vec::new(), HashSet::new());
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let before = found.len();
        let mut folders = vec![path.clone()];
        while let Some(folder) = folders.pop() {
            if !folder.canonicalize().is_ok_and(|real| entered.insert(real)) {
                continue;
            }
            let (inner, files): (Vec<_>, Vec<_>) =
                disk::list(&folder)?.into_iter().partition(|entry| entry.is_dir);
            folders.extend(inner.into_iter().rev().map(|entry| entry.path));
            found.extend(files.into_iter().map(|entry| entry.path).filter(|path| is_picture(path)));
        }
        if found.len() == before {
            bail!("{}: expected images ({}), found none", path.display(), ENDINGS.join(", "));
        }
    }
    Ok(found)
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

#[derive(Serialize)]
struct Json<'a> {
    image: &'a str,
    predictions: Vec<JsonPrediction<'a>>,
}

#[derive(Serialize)]
struct JsonPrediction<'a> {
    class: usize,
    name: &'a str,
    probability: f64,
}

fn print(args: &Args, path: &Path, predictions: &[Prediction]) -> Result<()> {
    let image = &path.display().to_string();
    if args.json {
        let predictions = predictions.iter().map(|Prediction { class, name, probability }| JsonPrediction {
            class: *class,
            name,
            probability: *probability,
        });
        return output::json("predict", Json { image, predictions: predictions.collect() });
    }
    if args.csv {
        let line = |(rank, p): (usize, &Prediction)| {
            let (image, name) = (output::csv_field(image), output::csv_field(&p.name));
            format!("{image},{},{},{name},{}\n", rank + 1, p.class, p.probability)
        };
        return output::data(&predictions.iter().enumerate().map(line).collect::<String>());
    }
    let lines = predictions.iter().map(|p| format!("{:>9.4} %  {}\n", 100.0 * p.probability, p.name));
    output::data(&format!("{image}\n{}", lines.collect::<String>()))
}
