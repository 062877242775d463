//! The commands, one file each: flags, `run`, and the printing, in that order.

mod bench;
mod completions;
mod convert;
mod deepen;
mod doctor;
mod eval;
mod explain;
mod fold;
mod models;
mod predict;
mod quantize;
mod recipes;
mod reproduce;
mod rewrite;
mod show;
mod train;
mod unfold;
mod watch;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use residuum::classify::{Classifier, Head, LoadOptions, Loaded, load_model};
use residuum::engine::{ConvAlgorithm, Engine, EngineOptions};
use residuum::formats::disk;

use crate::exit::ExitStatus;
use crate::output;

/// Residual networks: train, evaluate, predict, convert, on a CPU.
///
/// DATA is `shapes` (embedded) or a folder or file that is recognised by looking: CIFAR in binary or Python
/// batches, parquet as on Hugging Face, a folder of pictures per class. MODEL is a run folder, a model file of
/// residuum, or a foreign file of weights together with `--model NAME`.
///
/// Exit codes: 0 done, 1 the answer is no, 2 bad usage or input, 3 the environment (disk, memory), 4 training
/// diverged, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "residuum", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Eval(eval::Args),
    Explain(explain::Command),
    Predict(predict::Args),
    Convert(convert::Args),
    Quantize(quantize::Args),
    Fold(fold::Args),
    Unfold(unfold::Args),
    Deepen(deepen::Args),
    Models(models::Args),
    Show(show::Args),
    Recipes(recipes::Args),
    Reproduce(reproduce::Args),
    Watch(watch::Args),
    Bench(bench::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
}

/// Parses the command line and does what it says.
pub(crate) fn run() -> Result<ExitStatus> {
    match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Command::Train(args) => train::run(args),
            Command::Eval(args) => eval::run(args),
            Command::Explain(command) => explain::run(command),
            Command::Predict(args) => predict::run(args),
            Command::Convert(args) => convert::run(args),
            Command::Quantize(args) => quantize::run(&args),
            Command::Fold(args) => fold::run(&args),
            Command::Unfold(args) => unfold::run(&args),
            Command::Deepen(args) => deepen::run(&args),
            Command::Models(args) => models::run(args),
            Command::Show(args) => show::run(args),
            Command::Recipes(args) => recipes::run(args),
            Command::Reproduce(args) => reproduce::run(args),
            Command::Watch(args) => watch::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Doctor(args) => doctor::run(args),
            Command::Completions(args) => completions::run(args),
        },
        Err(error) => usage(&error),
    }
}

/// Prints help where it was asked for, and else what is wrong, on one line.
fn usage(error: &clap::Error) -> Result<ExitStatus> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        error.print()?;
        return Ok(ExitStatus::Done);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.print()?;
        return Ok(ExitStatus::BadInput);
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more")).collect();
    output::error(&format!("{}; see --help", lines.join(" ").trim_start_matches("error: ")));
    Ok(ExitStatus::BadInput)
}

/// Flags of every command that computes.
#[derive(Debug, Args)]
struct EngineArgs {
    /// Threads that compute [default: one for each physical core]
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
}

impl EngineArgs {
    fn engine(&self) -> Result<Engine> {
        self.with(EngineOptions::default())
    }

    /// An engine whose convolutions are sums as they are defined, for comparisons to the last bit.
    fn exact_engine(&self) -> Result<Engine> {
        self.with(EngineOptions { conv: Some(ConvAlgorithm::Direct), ..EngineOptions::default() })
    }

    fn with(&self, options: EngineOptions) -> Result<Engine> {
        let threads = self.threads.map(|count| count as usize);
        Ok(Engine::new(&EngineOptions { threads, ..options })?)
    }
}

/// A number of images, from 1 on.
fn batch_size(text: &str) -> Result<usize, String> {
    positive(text, 65_536)
}

/// A whole number from 1 to `largest`.
fn positive(text: &str, largest: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=largest).contains(number));
    number.ok_or_else(|| format!("expected a whole number from 1 to {largest}"))
}

/// A number of pictures.
fn images(text: &str) -> Result<usize, String> {
    positive(text, 1_000_000_000)
}

/// What to do with a picture that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnBadImage {
    /// Stop with an error that names it
    Fail,
    /// Leave it out, and count it
    Skip,
}

/// Loads a model and puts it on the engine.
fn classifier(engine: &Engine, path: &str, model: Option<&str>) -> Result<Classifier> {
    Ok(Classifier::new(engine.clone(), load(path, model)?))
}

/// Loads a model and tells what there is to tell about it.
fn load(path: &str, model: Option<&str>) -> Result<Loaded> {
    let loaded = load_model(path, &LoadOptions { model, head: Head::Keep })?;
    tell(&loaded);
    Ok(loaded)
}

/// Which network becomes which new file.
#[derive(Debug, clap::Args)]
struct InOut {
    /// Run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "IN")]
    input: String,
    /// New model file
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Name of the network of a foreign file, such as resnet50.tv
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

impl InOut {
    /// The network, refused where it is in bytes.
    fn load_floats(&self, purpose: &str) -> Result<Loaded> {
        load_floats(&self.input, self.model.as_deref(), purpose)
    }
}

/// [`load`], and refuses a network in bytes for what bytes do not do.
fn load_floats(path: &str, model: Option<&str>, purpose: &str) -> Result<Loaded> {
    let loaded = load(path, model)?;
    loaded.require_floats(purpose)?;
    Ok(loaded)
}

/// Refuses a file that exists already or whose folder does not, before the work starts.
fn check_new_file(path: &Path) -> Result<()> {
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

fn tell(loaded: &Loaded) {
    loaded.notes.iter().for_each(|note| output::note(note));
}
