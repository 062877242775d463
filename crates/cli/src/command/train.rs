//! `residuum train`: from start values or a trained model to a run folder.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use residuum::classify::{Head, LoadOptions, load_model};
use residuum::engine::Engine;
use residuum::formats::disk;
use residuum::models;
use residuum::train::{
    Data, EpochRecord, Method, Observer, Outcome, Plan, Recipe, RunFolder, Saved, Step, TrainError, Trainer,
};
use residuum_watch::{Door, Server};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{EngineArgs, batch_size};
use crate::exit::ExitStatus;
use crate::output;
use crate::progress::Progress;

/// Train a network; without arguments `resnet20` on the embedded data set
///
/// Results go to a new folder runs/DATE-TIME-MODEL-DATA or to --output: the recipe, metrics, curves, the best
/// and the last model, a checkpoint, and at the end all of it as a page, report.html. Ctrl-C finishes the step,
/// saves, and says how to go on; a second one leaves at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Data set: `shapes`, a folder or a file [default: shapes]
    #[arg(value_name = "DATA")]
    data: Option<String>,
    /// Name of the network, see `residuum models` [default: `cifar_resnet20`]
    #[arg(long, short, value_name = "NAME")]
    model: Option<String>,
    /// Recipe: a TOML file, or a name that `residuum recipes` lists [default: by model and data]
    #[arg(long, value_name = "FILE|NAME", conflicts_with = "resume")]
    recipe: Option<String>,
    /// Times that the training pictures are gone through
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Pictures per step
    #[arg(long, short, value_name = "N", value_parser = batch_size)]
    batch_size: Option<usize>,
    /// By which rule weights follow gradients, with its usual numbers [default: the recipe's]; another than the
    /// recipe's needs --lr too
    #[arg(long, value_name = "KIND", value_parser = Method::ALL.map(|(name, _)| name))]
    optimiser: Option<String>,
    /// Full learning rate
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// Share of the velocity that survives a step of sgd
    #[arg(long, value_name = "SHARE")]
    momentum: Option<f64>,
    /// Factor of the L2 penalty's gradient; with lamb, of the weights in the update
    #[arg(long, value_name = "FACTOR")]
    weight_decay: Option<f64>,
    /// Share of the target that is spread evenly over all classes
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f64>,
    /// Seed of start values, order and random changes of the pictures
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Begin with a trained model: a run folder, a model file, or a foreign file with --model
    #[arg(long, value_name = "MODEL", conflicts_with = "resume")]
    from: Option<String>,
    /// Begin the last layer anew, as other classes need it
    #[arg(long, requires = "from")]
    replace_head: bool,
    /// Leave these parameters as they are, such as conv1.*,layer1.*
    #[arg(long, value_name = "PATTERN,..", value_delimiter = ',')]
    freeze: Vec<String>,
    /// Go on with a run that was interrupted
    #[arg(long, value_name = "RUN", conflicts_with = "output")]
    resume: Option<String>,
    /// New folder for the results
    #[arg(long, short, value_name = "DIR")]
    output: Option<String>,
    /// Show the run as a local page while it is trained, at a free port or at the address given; see
    /// `residuum watch`
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, require_equals = true,
          default_missing_value = "127.0.0.1:0", value_parser = address)]
    watch: Option<(String, u16)>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

/// A host and a port.
fn address(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let parsed = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parsed.ok_or_else(|| "expected HOST:PORT, such as 127.0.0.1:8015; port 0 is a free one".into())
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    train(&args).or_else(|error| error.downcast().map_or_else(Err, fail))
}

/// Divergence has an exit code of its own; else the cause below decides.
pub(super) fn fail(error: TrainError) -> Result<ExitStatus> {
    Err(match error {
        TrainError::Diverged { .. } => {
            output::error(&error.to_string());
            return Ok(ExitStatus::Diverged);
        }
        TrainError::Data(cause) => cause.into(),
        TrainError::Engine(cause) => cause.into(),
        TrainError::Classify(cause) => cause.into(),
        TrainError::Disk(cause) => cause.into(),
        other => other.into(),
    })
}

fn train(args: &Args) -> Result<ExitStatus> {
    let stop = listen()?;
    let door = args.watch.as_ref().map(|(host, port)| Door::open(host, *port)).transpose()?;
    let engine = args.engine.engine()?;
    let mut trainer = match &args.resume {
        Some(run) => resume(args, run, &engine)?,
        None => begin(args, &engine)?,
    };
    output::note(&format!("results go to {}", trainer.folder().path().display()));
    let server = door.map(|door| watch(&trainer, door)).transpose()?;
    let ended = trainer.run(&stop, &mut Display::default());
    if let Some(server) = server {
        server.wait_for_last_look();
    }
    let outcome = ended?;
    Report::new(&trainer, &outcome).print(args.json)?;
    Ok(match outcome {
        Outcome::Finished => ExitStatus::Done,
        Outcome::Interrupted { .. } => ExitStatus::Interrupted,
    })
}

/// Serves the run's page from a thread of its own, which reads what training writes.
fn watch(trainer: &Trainer, door: Door) -> Result<Server> {
    let server = Server::start(door, vec![trainer.folder().path().to_owned()])?;
    output::note(&format!("watch it at {}", server.url()));
    Ok(server)
}

/// A flag that the first SIGINT or SIGTERM raises; the second ends the process at once.
pub(super) fn listen() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag down, and only raises it.
        let status = ExitStatus::Interrupted as i32;
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn begin(args: &Args, engine: &Engine) -> Result<Trainer> {
    let output = args.output.as_ref().map(RunFolder::at);
    output.as_ref().map_or(Ok(()), RunFolder::check_new)?;
    let recipe = recipe(args)?;
    let data = Data::open(&recipe.data)?;
    let folder = output.unwrap_or_else(|| RunFolder::dated(&recipe.model, data.train.name()));
    Ok(Trainer::begin(engine, recipe, data, folder)?)
}

/// Goes on with a run. What is asked for besides must be what the run has.
fn resume(args: &Args, run: &str, engine: &Engine) -> Result<Trainer> {
    let saved = Saved::open(RunFolder::at(run))?;
    let mut recipe = saved.recipe().clone();
    change(&mut recipe, args)?;
    let data = Data::open(&recipe.data)?;
    Ok(Trainer::resume(engine, saved, &recipe, data)?)
}

/// The recipe asked for, or the one that suits model and data.
fn recipe(args: &Args) -> Result<Recipe> {
    const DEFAULT_MODEL: &str = "cifar_resnet20";
    let options = LoadOptions { model: args.model.as_deref(), head: Head::Keep };
    let source = args.from.as_ref().map(|from| load_model(from, &options)).transpose()?;
    if let Some(loaded) = &source {
        loaded.require_floats("training")?;
    }
    let model = args.model.as_deref().or(source.as_ref().map(|loaded| loaded.model.name.as_str()));
    let is_preset = |name: &str| Recipe::find(name).is_ok();
    let mut recipe = match &args.recipe {
        Some(file) if !is_preset(file) && disk::exists(file) => Recipe::read(file)?,
        asked => {
            let model = model.unwrap_or(DEFAULT_MODEL);
            let data = args.data.as_deref().unwrap_or("shapes");
            let is_short = args.epochs.is_some() || source.is_some();
            let name = match asked {
                Some(name) => name,
                None => Recipe::default_preset(model, data, is_short)?,
            };
            match &source {
                Some(loaded) => {
                    let mut recipe = Recipe::preset_of(name, model, loaded.model.family)?;
                    recipe.fine_tune(loaded.info.preprocess.clone());
                    recipe
                }
                None => Recipe::preset(name, model)?,
            }
        }
    };
    if let (Some(from), Some(loaded)) = (&args.from, &source) {
        recipe.from = Some(from.clone());
        recipe.model.clone_from(&loaded.model.name);
    }
    change(&mut recipe, args)?;
    Ok(recipe)
}

/// Puts what the flags say into the recipe.
fn change(recipe: &mut Recipe, args: &Args) -> Result<()> {
    if let Some(model) = &args.model {
        recipe.model.clone_from(model);
    }
    match models::find(&recipe.model) {
        Ok(entry) => recipe.model = entry.name,
        // The model to begin with may bring a network without a registered name along.
        Err(error) if recipe.from.is_none() => return Err(error.into()),
        Err(_) => {}
    }
    if let Some(note) = args.epochs.and_then(|epochs| recipe.set_epochs(epochs)) {
        output::note(&note);
    }
    set(&mut recipe.data, args.data.as_ref());
    set(&mut recipe.batch_size, args.batch_size.as_ref());
    set(&mut recipe.seed, args.seed.as_ref());
    set(&mut recipe.label_smoothing, args.label_smoothing.as_ref());
    change_optimiser(recipe, args)?;
    recipe.replace_head |= args.replace_head;
    if !args.freeze.is_empty() {
        recipe.freeze.clone_from(&args.freeze);
    }
    Ok(recipe.check()?)
}

fn change_optimiser(recipe: &mut Recipe, args: &Args) -> Result<()> {
    let optimiser = &mut recipe.optimiser;
    let ours = optimiser.method.name();
    if let Some(method) = args.optimiser.as_deref().filter(|name| *name != ours).and_then(Method::named) {
        let theirs = method.name();
        // A run that goes on keeps its rule, which is said there.
        if args.lr.is_none() && args.resume.is_none() {
            bail!(
                "--optimiser {theirs}: expected a learning rate for it, found that of the recipe, which is for {ours}; \
                 give --lr, such as 0.005 for lamb or 0.1 for sgd"
            );
        }
        optimiser.method = method;
    }
    match (&mut optimiser.method, args.momentum) {
        (Method::Sgd { momentum, .. }, asked) => set(momentum, asked.as_ref()),
        (Method::Lamb { .. }, Some(_)) => {
            bail!("--momentum: expected the optimiser sgd, found lamb, whose shares are `betas` in a recipe")
        }
        (Method::Lamb { .. }, None) => {}
    }
    set(&mut optimiser.lr, args.lr.as_ref());
    set(&mut optimiser.weight_decay, args.weight_decay.as_ref());
    Ok(())
}

fn set<T: Clone>(value: &mut T, asked: Option<&T>) {
    if let Some(asked) = asked {
        value.clone_from(asked);
    }
}

/// A bar for each epoch, and a line when it is done.
#[derive(Default)]
struct Display {
    plan: Option<Plan>,
    bar: Option<Progress>,
    begun: Option<Instant>,
    is_evaluating: bool,
}

impl Observer for Display {
    fn on_start(&mut self, plan: &Plan) {
        let mut text = format!(
            "{} training and {} test images, {} epochs, {} steps, {} of memory",
            output::grouped(plan.train_images as u64),
            output::grouped(plan.test_images as u64),
            plan.epochs,
            output::grouped(plan.steps),
            output::mib(plan.peak_bytes as u64)
        );
        if plan.steps_done > 0 {
            text = format!("going on after step {}; {text}", output::grouped(plan.steps_done));
        }
        output::note(&text);
        self.plan = Some(plan.clone());
        self.begun = Some(Instant::now());
    }

    fn on_note(&mut self, note: &str) {
        output::note(note);
    }

    fn on_mean(&mut self, images: usize, all: usize) {
        let bar = self.bar.get_or_insert_with(|| Progress::new("mean image", all as u64));
        bar.set(images as u64, "");
        if images == all {
            (self.bar, self.begun) = (None, Some(Instant::now()));
        }
    }

    fn on_step(&mut self, step: &Step) {
        let Some(plan) = &self.plan else { return };
        let left = self.begun.map_or(String::new(), |begun| {
            let done = step.step - plan.steps_done;
            let per_step = begun.elapsed().as_secs_f64() / done.max(1) as f64;
            time(Duration::try_from_secs_f64(per_step * (plan.steps - step.step) as f64).unwrap_or_default())
        });
        let message = format!(
            "loss {:.4}, top-1 {:.2} %, {:.0} images/s, {left} left in all",
            step.mean_loss, step.mean_top1, step.images_per_second
        );
        let title = format!("epoch {}/{}", step.epoch, plan.epochs);
        let bar = self.bar.get_or_insert_with(|| Progress::new(&title, plan.epoch_steps));
        bar.set(step.epoch_step, &message);
    }

    fn on_evaluation(&mut self, images: usize, all: usize) {
        if !self.is_evaluating {
            self.bar = Some(Progress::new("test", all as u64));
            self.is_evaluating = true;
        }
        if let Some(bar) = &mut self.bar {
            bar.set(images as u64, "");
        }
    }

    fn on_epoch(&mut self, record: &EpochRecord, is_best: bool) {
        self.bar = None;
        self.is_evaluating = false;
        output::note(&format!(
            "epoch {}: train loss {:.4}, top-1 {:.2} %; test loss {:.4}, top-1 {:.2} %{}",
            record.epoch,
            record.train_loss,
            record.train_top1,
            record.eval_loss,
            record.eval_top1,
            if is_best { ", the best so far" } else { "" }
        ));
    }
}

/// Hours, minutes and seconds, as far as they matter.
pub(super) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// The stable form.
#[derive(Serialize)]
struct Report {
    run: String,
    model: String,
    data: String,
    finished: bool,
    steps: u64,
    epochs: usize,
    images: usize,
    best: Option<EpochRecord>,
    last: Option<EpochRecord>,
    seconds: f64,
}

impl Report {
    fn new(trainer: &Trainer, outcome: &Outcome) -> Self {
        let (recipe, plan) = (trainer.recipe(), trainer.plan());
        Self {
            run: trainer.folder().path().display().to_string(),
            model: recipe.model.clone(),
            data: recipe.data.clone(),
            finished: *outcome == Outcome::Finished,
            steps: plan.steps_done,
            epochs: trainer.history().len(),
            images: plan.test_images,
            best: trainer.best().cloned(),
            last: trainer.history().last().cloned(),
            seconds: trainer.wall_s(),
        }
    }

    fn print(&self, is_json: bool) -> Result<()> {
        let run = quoted(&self.run);
        if !self.finished {
            output::note(&format!(
                "stopped after step {} and saved; go on with: residuum train --resume {run}",
                self.steps
            ));
        }
        if is_json {
            return output::json("train", self);
        }
        let Some(best) = self.best.as_ref().filter(|_| self.finished) else { return Ok(()) };
        let (top1, epoch, images) = (best.eval_top1, best.epoch, self.images);
        let seconds = time(Duration::try_from_secs_f64(self.seconds).unwrap_or_default());
        output::data(&format!(
            "run        {}\nbest       top-1 {top1:.2} % of {images} test images, epoch {epoch}\n\
             time       {seconds}\nnext       residuum predict {run} IMAGE",
            self.run
        ))
    }
}

/// As a shell takes it for one word.
pub(super) fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:,@%".contains(c);
    if path.chars().all(is_plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_paths_read_well() {
        for (seconds, text) in [(9, "9 s"), (61, "1 min 01 s"), (3661, "1 h 01 min")] {
            assert_eq!(time(Duration::from_secs(seconds)), text);
        }
        assert_eq!(quoted("runs/a-1"), "runs/a-1");
        assert_eq!(quoted("my run's"), "'my run'\\''s'");
    }
}
