//! `residuum reproduce`: a paper's experiment end to end.

mod study;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;
use residuum::experiments::{
    Entry, Experiment, ExperimentError, Observer, Options, Outcome, Report, Reproduction, RunNote, RunState,
    Scale, Study, experiments, find, studies,
};
use residuum::train::{EpochRecord, Step};
use serde::Serialize;

use super::train::{fail as fail_training, listen, quoted, time};
use super::{EngineArgs, positive};
use crate::exit::ExitStatus;
use crate::output::{self, Table};
use crate::progress::Progress;

/// Run a paper's experiment end to end; without a name, list them
///
/// Results go to reproductions/NAME-SCALE-DATA or to --output: the curves as SVG and PNG, a table with the
/// published figures beside ours, the command of each run, and a page that says what was scaled down. What
/// was interrupted goes on where it stopped when the same command is given again.
///
/// chu2017 trains nothing: it looks into a MODEL, and writes a page with the images that excite its channels
/// most, block by block, beside the guided gradients of the excited units.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the experiment
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// For chu2017: run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "MODEL")]
    model_path: Option<String>,
    /// A few minutes on two cores, or the original protocol [default: quick]
    #[arg(long, value_enum, value_name = "SCALE")]
    scale: Option<ScaleArg>,
    /// Data set: `shapes`, a folder or a file
    #[arg(long, value_name = "DATA", default_value = "shapes")]
    data: String,
    /// Folder for the results
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Seed of every run [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Name of the network of a foreign file, such as resnet50.tv
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// For chu2017: the first so many test pictures [default: all]
    #[arg(long, value_name = "N", value_parser = count)]
    images: Option<usize>,
    /// For chu2017: channels to show, in every stage that has them [default: the most varied]
    #[arg(long, value_name = "N,N…", value_delimiter = ',', conflicts_with = "most_varied")]
    channels: Vec<usize>,
    /// For chu2017: how many of the most varied channels of each stage to show [default: 3]
    #[arg(long, value_name = "N", value_parser = count)]
    most_varied: Option<usize>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

fn count(text: &str) -> Result<usize, String> {
    positive(text, 100_000_000)
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScaleArg {
    /// A few minutes on two cores; what was scaled down is said
    Quick,
    /// The original protocol
    Paper,
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    match &args.name {
        None => list(args.json),
        Some(name) => begin(&args, name).or_else(|error| error.downcast().map_or_else(Err, fail)),
    }
}

/// The cause below decides how the command ends.
fn fail(error: ExperimentError) -> Result<ExitStatus> {
    Err(match error {
        ExperimentError::Train(cause) => return fail_training(cause),
        ExperimentError::Data(cause) => cause.into(),
        ExperimentError::Engine(cause) => cause.into(),
        ExperimentError::Classify(cause) => cause.into(),
        ExperimentError::Disk(cause) => cause.into(),
        other => other.into(),
    })
}

fn begin(args: &Args, name: &str) -> Result<ExitStatus> {
    match find(name)? {
        Entry::Experiment(experiment) => reproduce(args, experiment),
        Entry::Study(what) => study::run(args, what),
    }
}

fn reproduce(args: &Args, experiment: &Experiment) -> Result<ExitStatus> {
    let name = experiment.name;
    let looks = args.model_path.is_some() || args.model.is_some() || args.images.is_some();
    if looks || args.most_varied.is_some() || !args.channels.is_empty() {
        let studies: Vec<&str> = studies().iter().map(|study| study.name).collect();
        let list = studies.join(", ");
        bail!("{name}: trains its own networks; MODEL, --model, --images and --channels are for {list}");
    }
    let scale = match args.scale {
        None | Some(ScaleArg::Quick) => Scale::Quick,
        Some(ScaleArg::Paper) => Scale::Paper,
    };
    let (data, seed) = (args.data.clone(), args.seed.unwrap_or(0));
    let options = Options { scale, data, seed, output: args.output.clone() };
    let stop = listen()?;
    let engine = args.engine.engine()?;
    let reproduction = Reproduction::open(&engine, experiment, &options)?;
    let folder = reproduction.folder().display().to_string();
    output::note(&format!("{}, {}; results go to {folder}", experiment.paper, experiment.figure));
    let (report, is_new) = match reproduction.run(&stop, &mut Display::new())? {
        Outcome::Finished(report) => (report, true),
        Outcome::WasDone(report) => (report, false),
        Outcome::Interrupted => {
            output::note(&format!("stopped and saved; go on with: {}", command(args, name)));
            return Ok(ExitStatus::Interrupted);
        }
    };
    if !is_new {
        output::note(&format!("everything was done before; {folder} is left as it is"));
    }
    print(&report, &folder, args.json)?;
    Ok(ExitStatus::Done)
}

/// The command that goes on.
fn command(args: &Args, name: &str) -> String {
    let mut words = vec!["residuum reproduce".to_owned(), name.to_owned()];
    if let Some(ScaleArg::Paper) = args.scale {
        words.push("--scale paper".into());
    }
    if args.data != "shapes" {
        words.push(format!("--data {}", quoted(&args.data)));
    }
    if let Some(seed) = args.seed {
        words.push(format!("--seed {seed}"));
    }
    if let Some(output) = &args.output {
        words.push(format!("--output {}", quoted(&output.display().to_string())));
    }
    words.join(" ")
}

/// What is going on: a bar for each run, with the time left for all.
struct Display {
    bar: Option<Progress>,
    /// What is gone through that is no run.
    what: String,
    begun: Instant,
    /// Share of all arithmetic that was done in this process, by runs before this one.
    worked: f64,
    /// The same of this run, and where it stood when this process took it up.
    run: f64,
    taken_up: Option<f64>,
}

impl Display {
    fn new() -> Self {
        Self { bar: None, what: String::new(), begun: Instant::now(), worked: 0.0, run: 0.0, taken_up: None }
    }

    fn left(&mut self, note: &RunNote, step: u64) -> String {
        let done = note.share_done(step);
        let taken_up = *self.taken_up.get_or_insert(note.share_done(step - 1));
        self.run = done - taken_up;
        let worked = self.worked + self.run;
        let seconds = self.begun.elapsed().as_secs_f64() * (1.0 - done) / worked.max(f64::MIN_POSITIVE);
        time(Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }
}

impl Observer for Display {
    fn on_run(&mut self, run: &RunNote) {
        self.worked += self.run;
        (self.run, self.taken_up, self.bar) = (0.0, None, None);
        let what = match &run.state {
            RunState::Begins => format!("begins, {} steps", output::grouped(run.steps)),
            RunState::GoesOn => "goes on from its checkpoint".to_owned(),
            RunState::IsDone => "was done before".to_owned(),
            RunState::IsBorrowed(folder) => format!("is taken from {folder}"),
        };
        output::note(&format!("run {} of {}, {}, {what}", run.number, run.runs, run.name));
    }

    fn on_note(&mut self, note: &str) {
        output::note(note);
    }

    fn on_progress(&mut self, what: &str, done: u64, all: u64) {
        if self.what != what {
            self.bar = None;
            what.clone_into(&mut self.what);
        }
        self.bar.get_or_insert_with(|| Progress::new(what, all)).set(done, "");
    }

    fn on_step(&mut self, run: &RunNote, step: &Step) {
        let left = self.left(run, step.step);
        let title = format!("run {}/{} {}", run.number, run.runs, run.name);
        let message = format!(
            "loss {:.3}, error {:.1} %, {:.0} images/s, {left} left in all",
            step.mean_loss,
            100.0 - step.mean_top1,
            step.images_per_second
        );
        self.bar.get_or_insert_with(|| Progress::new(&title, run.steps)).set(step.step, &message);
    }

    fn on_epoch(&mut self, run: &RunNote, record: &EpochRecord) {
        output::note(&format!(
            "{}, epoch {}: training error {:.2} %, test error {:.2} %",
            run.name,
            record.epoch,
            100.0 - record.train_top1,
            100.0 - record.eval_top1
        ));
    }
}

#[derive(Serialize)]
struct Found<'a> {
    folder: &'a str,
    #[serde(flatten)]
    report: &'a Report,
}

fn print(report: &Report, folder: &str, is_json: bool) -> Result<()> {
    if is_json {
        return output::json("reproduce", Found { folder, report });
    }
    let titles: Vec<&str> = report.table.columns.iter().map(String::as_str).collect();
    let last = titles.len().saturating_sub(1);
    let mut table = Table::new(&titles).left(&[0, last]);
    report.table.rows.iter().for_each(|row| table.row(row.iter().cloned()));
    let verdict = match report.shows {
        Some(true) => "the paper's effect shows\n",
        Some(false) => "the paper's effect does not show here\n",
        None => "",
    };
    let lines = |before: &str, lines: &[String]| {
        lines.iter().fold(String::new(), |text, line| text + before + line + "\n")
    };
    let (sentences, scaled) = (lines("", &report.sentences), lines("scaled down  ", &report.scaled_down));
    output::data(&format!(
        "{}\n{sentences}{verdict}\n{scaled}see          {folder}/README.md",
        table.render()
    ))
}

#[derive(Serialize)]
struct List {
    experiments: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    paper: &'static str,
    figure: &'static str,
    title: &'static str,
}

fn list(is_json: bool) -> Result<ExitStatus> {
    let row = |experiment: &&Experiment| {
        let Experiment { name, paper, figure, title, .. } = **experiment;
        Row { name, paper, figure, title }
    };
    let study = |study: &&Study| {
        let Study { name, paper, figure, title, .. } = **study;
        Row { name, paper, figure, title }
    };
    let rows: Vec<Row> = experiments().iter().map(row).chain(studies().iter().map(study)).collect();
    if is_json {
        output::json("experiments", List { experiments: rows })?;
    } else {
        let mut table = Table::new(&["name", "paper", "figure", "what it shows"]).left(&[0, 1, 2, 3]);
        for Row { name, paper, figure, title } in rows {
            table.row([name, paper, figure, title].map(str::to_owned));
        }
        output::data(&table.render())?;
    }
    Ok(ExitStatus::Done)
}
