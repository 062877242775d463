//! What all studies of whole networks have in common: a network, a sample of images, a way to stop, and files.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use residuum::classify::{Loaded, are_numbers, correspondence};
use residuum::data::{Dataset, Loader, LoaderOptions, OpenOptions, Split, open};
use residuum::engine::Engine;
use residuum::explain::{Block, Subject};
use residuum::formats::disk;
use residuum::plot::Figure;
use residuum::tensor::Tensor;
use serde::Serialize;

use crate::command::train::listen;
use crate::command::{EngineArgs, load_floats, positive};
use crate::exit::ExitStatus;
use crate::output::{self, Table, csv_field};
use crate::progress::Progress;

/// Flags of every study.
#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    /// Name of the network of foreign files, such as resnet50.tv; once for all, or once for each MODEL in order
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// Folder for the results
    #[arg(long, short = 'o', value_name = "DIR", default_value = "explanations")]
    out: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl ModelArgs {
    /// The network's name of model `index`.
    pub(super) fn name(&self, index: usize) -> Option<&str> {
        self.model.get(index).or(self.model.first()).map(String::as_str)
    }
}

/// Flags of every study of images.
#[derive(Debug, clap::Args)]
pub(super) struct DataArgs {
    /// Data set: `shapes`, a folder or a file
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Which part of the data set
    #[arg(long, value_enum, default_value = "test")]
    split: Part,
    /// Images, evenly spread over the data set, or all if there are fewer
    #[arg(long, value_name = "N", value_parser = many)]
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Part {
    Train,
    Test,
}

/// A whole number from 1 on.
pub(super) fn many(text: &str) -> Result<usize, String> {
    positive(text, 10_000_000)
}

/// Memory that prepared images may take.
const MOST_BYTES: usize = 4 << 30;

/// A network that is studied.
pub(super) struct Study<'a> {
    pub(super) loaded: Loaded,
    pub(super) engine: Engine,
    args: &'a ModelArgs,
    stop: Arc<AtomicBool>,
}

/// Prepared images with their classes.
pub(super) struct Sample {
    pub(super) data: String,
    /// `[n, 3, h, w]`
    pub(super) images: Tensor,
    /// The network's classes of the images.
    pub(super) labels: Vec<u32>,
    /// Names of the network's classes: the data's where it has only numbers.
    pub(super) classes: Vec<String>,
}

impl Sample {
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }
}

/// What a study found: rows of a file, and of them what is printed.
pub(super) struct Numbers {
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Numbers {
    pub(super) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    fn csv(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| cells.collect::<Vec<_>>().join(",") + "\n";
        let head = line(&mut self.columns.iter().map(|&column| column.to_owned()));
        self.rows.iter().fold(head, |text, row| text + &line(&mut row.iter().map(|cell| csv_field(cell))))
    }
}

#[derive(Serialize)]
struct Json<'a, T> {
    method: &'a str,
    model: &'a str,
    data: Option<&'a str>,
    images: usize,
    is_complete: bool,
    files: &'a [String],
    #[serde(flatten)]
    content: T,
}

impl<'a> Study<'a> {
    pub(super) fn new(path: &str, args: &'a ModelArgs) -> Result<Self> {
        Self::of_several(&[path], args)
    }

    /// Of the first of several networks; the others are loaded by the names of the same flags.
    pub(super) fn of_several(paths: &[&str], args: &'a ModelArgs) -> Result<Self> {
        let (models, names) = (paths.len(), args.model.len());
        if names > 1 && names != models {
            bail!(
                "--model: expected it once for all, or once for each of the {models} models, found {names}"
            );
        }
        let loaded = load_floats(paths[0], args.name(0), "explain")?;
        Ok(Self { loaded, engine: args.engine.engine()?, args, stop: listen()? })
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject { engine: &self.engine, graph: &self.loaded.model.graph, weights: &self.loaded.weights }
    }

    pub(super) fn name(&self) -> &str {
        &self.loaded.model.name
    }

    /// Whether the user wants no more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The residual blocks, of which there must be some.
    pub(super) fn blocks(&self, method: &str) -> Result<Vec<Block>> {
        let found = self.loaded.model.graph.residual_blocks();
        if found.is_empty() {
            bail!(
                "{method}: expected a network with residual blocks, found none in {}; responses, receptive-field, \
                 landscape and features look into every network",
                self.name()
            );
        }
        Ok(found)
    }

    /// The images that are asked for, or `usual` many, as the network reads them.
    pub(super) fn sample(&self, args: &DataArgs, usual: usize) -> Result<Sample> {
        self.sample_for(&self.loaded, args, usual)
    }

    /// The same as another network reads them.
    pub(super) fn sample_for(&self, loaded: &Loaded, args: &DataArgs, usual: usize) -> Result<Sample> {
        let split = match args.split {
            Part::Train => Split::Train,
            Part::Test => Split::Test,
        };
        let data = open(&args.data, split, &OpenOptions::default())?;
        let places = correspondence(data.classes(), &loaded.info.class_names)?;
        let side = loaded.info.preprocess.crop;
        let count = args.limit.unwrap_or(usual).min(data.len());
        let most = MOST_BYTES / (12 * side * side);
        if count > most {
            bail!(
                "--limit: expected at most {most} images of {side}×{side}, which take 4 GiB, found {count}"
            );
        }
        let chosen: Vec<usize> = (0..count).map(|i| i * data.len() / count).collect();
        let (images, labels) = self.prepare(loaded, &data.subset(&chosen))?;
        let labels = labels.into_iter().map(|label| places[label as usize] as u32).collect();
        let own = &loaded.info.class_names;
        let classes = if are_numbers(own) { data.classes() } else { own }.to_vec();
        Ok(Sample { data: data.name().to_owned(), images, labels, classes })
    }

    fn prepare(&self, loaded: &Loaded, data: &Dataset) -> Result<(Tensor, Vec<u32>)> {
        let threads = self.engine.threads().count();
        let options = LoaderOptions { threads, ..LoaderOptions::evaluation(64.min(data.len())) };
        let side = loaded.info.preprocess.crop;
        let (mut values, mut labels) = (Vec::with_capacity(data.len() * 3 * side * side), Vec::new());
        for batch in Loader::new(data, &loaded.info.preprocess, options)? {
            let batch = batch?;
            values.extend(batch.images.into_data());
            labels.extend(batch.labels);
        }
        Ok((Tensor::new([labels.len(), 3, side, side], values)?, labels))
    }

    /// Writes chart and numbers, prints the table, and tells how it ended.
    pub(super) fn finish(
        &self,
        method: &str,
        sample: Option<&Sample>,
        figure: &Figure,
        numbers: &Numbers,
        printed: &Table,
        content: impl Serialize,
    ) -> Result<ExitStatus> {
        disk::create_dir_all(&self.args.out)?;
        let path = |ending: &str| self.args.out.join(format!("{}.{method}.{ending}", self.name()));
        disk::write_bytes(path("svg"), figure.svg().as_bytes())?;
        disk::write_bytes(path("png"), &figure.png()?)?;
        disk::write_bytes(path("csv"), numbers.csv().as_bytes())?;
        let files = ["svg", "png", "csv"].map(|ending| path(ending).display().to_string());
        let is_complete = !self.is_stopped();
        if self.args.json {
            let (model, images) = (self.name(), sample.map_or(0, Sample::len));
            let data = sample.map(|sample| sample.data.as_str());
            let json = Json { method, model, data, images, is_complete, files: &files, content };
            output::json(&format!("explain.{method}"), json)?;
        } else {
            output::data(&printed.render())?;
            output::note(&format!("see {}", files.join(", ")));
        }
        if is_complete {
            return Ok(ExitStatus::Done);
        }
        output::note("stopped; what was found until then is written");
        Ok(ExitStatus::Interrupted)
    }
}

/// How it ends when nothing was found yet.
pub(super) fn nothing() -> ExitStatus {
    output::note("stopped before anything was found; nothing is written");
    ExitStatus::Interrupted
}

/// Progress over several rounds of equally many images.
pub(super) struct Rounds<'a> {
    bar: Progress,
    stop: &'a AtomicBool,
    images: usize,
    done: usize,
}

impl<'a> Rounds<'a> {
    pub(super) fn new(study: &'a Study<'_>, method: &str, rounds: usize, images: usize) -> Self {
        let bar = Progress::new(&format!("{method} {}", study.name()), (rounds * images) as u64);
        Self { bar, stop: &study.stop, images, done: 0 }
    }

    /// `images` of this round are done; false when the work is to stop.
    pub(super) fn tell(&mut self, images: usize, message: &str) -> bool {
        self.bar.set((self.done * self.images + images) as u64, message);
        !self.stop.load(Ordering::Relaxed)
    }

    /// A round is done.
    pub(super) fn next(&mut self) {
        self.done += 1;
    }
}
