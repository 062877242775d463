//! An experiment being done in a folder: run after run, whichever are not done yet, then the report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use residuum_classify::{Classifier, EvaluateOptions, Head, LoadOptions, Loaded, load_model};
use residuum_data::sample;
use residuum_engine::Engine;
use residuum_explain::{Subject, channel_moments};
use residuum_formats::disk;
use residuum_graph::Graph;
use residuum_graph::rewrite::{Moments, deepen, stage_ends};
use residuum_train::{
    Data, EpochRecord, Outcome as RunOutcome, Recipe, RunFolder, Saved, Step, TrainError, Trainer,
};
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::experiment::{Experiment, Run, Start, experiments};
use crate::observer::{Observer, RunNote, RunState};
use crate::record::{Identity, Record, without_paths};
use crate::report::{self, Report};
use crate::setting::{Scale, Setting};

pub(crate) const SETTING: &str = "reproduction.json";
const RUNS: &str = "runs";
const STARTS: &str = "starts";
const MAX_SETTING_BYTES: usize = 1 << 20;
pub(crate) const FOLDER: &str = "reproductions";
/// Pictures that the statistics of identity layers are taken over.
const MOMENT_IMAGES: usize = 256;

/// How an experiment is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How much of the paper's effort.
    pub scale: Scale,
    /// Data set: `shapes`, a path, or `KIND:PATH`.
    pub data: String,
    /// Seed of every run.
    pub seed: u64,
    /// Folder of the results; `reproductions/NAME-SCALE-DATA` where it is not given.
    pub output: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { scale: Scale::Quick, data: "shapes".into(), seed: 0, output: None }
    }
}

/// How a reproduction ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<R = Report> {
    /// All is done, and was not before.
    Finished(R),
    /// All was done before; nothing was changed.
    WasDone(R),
    /// Stopped when asked to, and saved.
    Interrupted,
}

/// A run with what was found in it.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// What was run.
    pub run: Run,
    /// Its recipe.
    pub recipe: Recipe,
    /// Its run folder.
    pub folder: RunFolder,
    /// What was found.
    pub record: Record,
}

/// All runs of an experiment, for what follows from them.
#[derive(Debug)]
pub struct Results<'a> {
    /// Scale, data and seed.
    pub setting: &'a Setting,
    /// Computes what is measured on trained networks.
    pub engine: &'a Engine,
    /// Both parts of the data.
    pub data: &'a Data,
    /// The experiment's folder.
    pub folder: &'a Path,
    /// In the experiment's order.
    pub runs: Vec<RunResult>,
}

impl RunResult {
    /// The network that the run ended with.
    pub(crate) fn trained(&self) -> Result<Loaded> {
        Ok(load_model(self.folder.last(), &LoadOptions { model: Some(&self.run.model), head: Head::Keep })?)
    }
}

impl Results<'_> {
    /// The network that a run began with, where the experiment made it.
    pub(crate) fn start(&self, run: &RunResult) -> Result<Loaded> {
        let path = start_path(self.folder, &run.run.name);
        Ok(load_model(path, &LoadOptions { model: Some(&run.run.model), head: Head::Keep })?)
    }
}

/// What the folder belongs to.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    experiment: String,
    scale: Scale,
    seed: u64,
    train: String,
    test: String,
}

/// An experiment in its folder.
#[derive(Debug)]
pub struct Reproduction<'a> {
    experiment: &'a Experiment,
    engine: Engine,
    setting: Setting,
    data: Data,
    folder: PathBuf,
}

impl<'a> Reproduction<'a> {
    /// Opens data and folder. Writes nothing.
    ///
    /// # Errors
    /// When the data cannot be read, or the folder holds something else.
    pub fn open(engine: &Engine, experiment: &'a Experiment, options: &Options) -> Result<Self> {
        let data = Data::open(&options.data)?;
        let folder = options.output.clone().unwrap_or_else(|| {
            let name = folder_name(experiment.name, options.scale, data.train.name());
            Path::new(FOLDER).join(name)
        });
        let setting = Setting {
            scale: options.scale,
            data: options.data.clone(),
            seed: options.seed,
            train_images: data.train.len(),
        };
        let reproduction = Self { experiment, engine: engine.clone(), setting, data, folder };
        reproduction.check_folder()?;
        Ok(reproduction)
    }

    /// Where the results are or will be.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Does whatever is not done yet, until all is done or `stop` is true after a step. A run that diverges
    /// is a result, not an error.
    ///
    /// # Errors
    /// When a run cannot begin or go on, or a file not be written. What was done until then stays.
    pub fn run(&self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome> {
        if let Some(report) = Report::read(&self.folder)? {
            return Ok(Outcome::WasDone(report));
        }
        self.own_folder()?;
        let plan = self.plan()?;
        let mut runs: Vec<RunResult> = Vec::new();
        for (run, note) in plan {
            match self.do_run(run, note, &runs, stop, observer)? {
                Some(result) => runs.push(result),
                None => return Ok(Outcome::Interrupted),
            }
        }
        let (setting, engine, data, folder) =
            (&self.setting, &self.engine, &self.data, self.folder.as_path());
        let results = Results { setting, engine, data, folder, runs };
        let findings = (self.experiment.findings)(&results)?;
        Ok(Outcome::Finished(report::write(self.experiment, &results, findings)?))
    }

    /// The runs with their share of the work.
    fn plan(&self) -> Result<Vec<(Run, RunNote)>> {
        let runs = self.experiment.runs(&self.setting);
        let mut costs = Vec::new();
        for run in &runs {
            let recipe = run.recipe(&self.setting)?;
            let side = recipe.preprocess.crop;
            let counts = residuum_models::build(&run.model, None)?.graph.count(side, side)?;
            let steps = self.setting.steps(&recipe);
            costs.push((steps, steps as f64 * recipe.batch_size as f64 * counts.multiply_adds as f64));
        }
        let all: f64 = costs.iter().map(|cost| cost.1).sum();
        let (count, mut before) = (runs.len(), 0.0);
        let note = |(i, (run, (steps, cost))): (usize, (Run, (u64, f64)))| {
            let share = cost / all.max(f64::MIN_POSITIVE);
            let note = RunNote {
                number: i + 1,
                runs: count,
                name: run.name.clone(),
                state: RunState::Begins,
                steps,
                share_before: before,
                share,
            };
            before += share;
            (run, note)
        };
        Ok(runs.into_iter().zip(costs).enumerate().map(note).collect())
    }

    /// One run's result; nothing where it was stopped.
    fn do_run(
        &self,
        run: Run,
        mut note: RunNote,
        earlier: &[RunResult],
        stop: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<Option<RunResult>> {
        let mut recipe = run.recipe(&self.setting)?;
        let identity = Identity::of(&recipe, &run.start, &self.data)?;
        let folder = RunFolder::at(self.folder.join(RUNS).join(&run.name));
        let record_path = record_path(&self.folder, &run.name);
        if let Some(record) = Record::read(&record_path, &identity)? {
            note.state = RunState::IsDone;
            observer.on_run(&note);
            recipe.from = self.start_of(&run, earlier)?;
            return Ok(Some(RunResult { run, recipe, folder, record }));
        }
        if !disk::exists(folder.path())
            && let Some((sibling, record)) = self.sibling(&run, &identity)?
        {
            let folder = RunFolder::at(sibling.join(RUNS).join(&run.name));
            note.state = RunState::IsBorrowed(sibling.display().to_string());
            observer.on_run(&note);
            return Ok(Some(RunResult { run, recipe, folder, record }));
        }
        let mut trainer = if disk::exists(folder.path()) {
            note.state = RunState::GoesOn;
            let saved = Saved::open(folder.clone())?;
            if without_paths(saved.recipe()) != without_paths(&recipe) {
                let problem = "expected a run of this experiment, found one by another recipe".to_owned();
                return Err(ExperimentError::Mixed { path: folder.path().into(), problem });
            }
            recipe = Recipe { data: recipe.data, ..saved.recipe().clone() };
            let asked = saved.recipe().clone();
            Trainer::resume(&self.engine, saved, &asked, self.data.clone())?
        } else {
            recipe.from = self.make_start(&run, earlier)?;
            Trainer::begin(&self.engine, recipe.clone(), self.data.clone(), folder.clone())?
        };
        observer.on_run(&note);
        let diverged = match trainer.run(stop, &mut Relay { observer, note: &note }) {
            Ok(RunOutcome::Finished) => None,
            Ok(RunOutcome::Interrupted { .. }) => return Ok(None),
            Err(TrainError::Diverged { step, what, .. }) => Some(format!("at step {step}: {what}")),
            Err(error) => return Err(error.into()),
        };
        let model = residuum_models::build(&run.model, Some(self.data.train.classes().len()))?;
        let side = recipe.preprocess.crop;
        let counts = model.graph.count(side, side)?;
        let size = (counts.depth, counts.parameters);
        let mut record = Record::of(&folder, identity, size, recipe.batch_size, diverged)?;
        if recipe.validation.is_some() && record.diverged.is_none() {
            record.test_error = Some(self.test_error(&run, &folder)?);
        }
        record.write(&record_path)?;
        Ok(Some(RunResult { run, recipe, folder, record }))
    }

    /// Error on the test pictures of the epoch that was best on those held out, in percent.
    fn test_error(&self, run: &Run, folder: &RunFolder) -> Result<f64> {
        let best = load_model(folder.best(), &LoadOptions { model: Some(&run.model), head: Head::Keep })?;
        let mut classifier = Classifier::new(self.engine.clone(), best);
        let evaluation = classifier.evaluate(&self.data.test, &EvaluateOptions::default(), |_| ())?;
        Ok(100.0 - evaluation.top1())
    }

    /// A run of another reproduction beside this one that is the same.
    fn sibling(&self, run: &Run, identity: &Identity) -> Result<Option<(PathBuf, Record)>> {
        let Some(parent) = self.folder.parent() else { return Ok(None) };
        for other in experiments() {
            let folder = parent.join(folder_name(other.name, self.setting.scale, self.data.train.name()));
            if folder != self.folder
                && disk::exists(folder.join(RUNS).join(&run.name))
                && let Some(record) = Record::read(&record_path(&folder, &run.name), identity)?
            {
                return Ok(Some((folder, record)));
            }
        }
        Ok(None)
    }

    /// Path of the model that a run begins with.
    fn start_of(&self, run: &Run, earlier: &[RunResult]) -> Result<Option<String>> {
        Ok(match &run.start {
            Start::Fresh => None,
            Start::Continued { from } => Some(text(&find(earlier, from, run)?.folder.last())),
            Start::Deepened { .. } => Some(text(&start_path(&self.folder, &run.name))),
        })
    }

    /// The same; made where it has to be.
    fn make_start(&self, run: &Run, earlier: &[RunResult]) -> Result<Option<String>> {
        if let Start::Deepened { from } = &run.start {
            let source = find(earlier, from, run)?;
            let options = LoadOptions { model: Some(&source.run.model), head: Head::Keep };
            let shallow = load_model(source.folder.last(), &options)?;
            let deep = self.deepened(&shallow, run)?;
            disk::create_dir_all(self.folder.join(STARTS))?;
            deep.save(start_path(&self.folder, &run.name))?;
        }
        self.start_of(run, earlier)
    }

    /// The network of `run`, made of a shallower one by layers of identity whose norms have the statistics of
    /// training pictures.
    fn deepened(&self, shallow: &Loaded, run: &Run) -> Result<Loaded> {
        let (graph, weights) = (&shallow.model.graph, &shallow.weights);
        let depth = |graph: &Graph| Ok::<_, ExperimentError>(graph.count(32, 32)?.depth);
        let deep = residuum_models::build(&run.model, Some(shallow.classes()))?;
        let ends = stage_ends(graph, weights)?;
        let images = sample(&self.data.train, &shallow.info.preprocess, MOMENT_IMAGES)?;
        let subject = Subject { engine: &self.engine, graph, weights };
        let moments = channel_moments(&subject, &images, &ends)?;
        let moments: BTreeMap<String, Moments> = ends.iter().cloned().zip(moments).collect();
        // Blocks have two layers, and every stage gets as many.
        let blocks = depth(&deep.graph)?.saturating_sub(depth(graph)?) / (2 * ends.len());
        let start = |graph: &Graph| residuum_models::initialise(graph, self.setting.seed);
        let deeper = shallow.rewritten(deepen(graph, weights, blocks, &moments, start)?, "deepened");
        if deeper.model.name == deep.name {
            return Ok(deeper);
        }
        let problem = format!("expected {} made deeper, found {}", shallow.model.name, deeper.model.name);
        Err(ExperimentError::Measure { what: run.name.clone(), problem })
    }

    fn owner(&self) -> Owner {
        Owner {
            experiment: self.experiment.name.into(),
            scale: self.setting.scale,
            seed: self.setting.seed,
            train: self.data.train.digest().into(),
            test: self.data.test.digest().into(),
        }
    }

    /// Whether the folder is new or holds this reproduction.
    fn check_folder(&self) -> Result<()> {
        let path = self.folder.join(SETTING);
        let mixed = |problem: String| Err(ExperimentError::Mixed { path: self.folder.clone(), problem });
        if !disk::exists(&self.folder) {
            return Ok(());
        }
        if !disk::exists(&path) {
            let is_empty = self.folder.is_dir() && disk::list(&self.folder)?.is_empty();
            return if is_empty { Ok(()) } else { mixed("holds something that is no reproduction".into()) };
        }
        let owner: Owner = serde_json::from_str(&disk::read_text(&path, MAX_SETTING_BYTES)?)
            .map_err(|e| ExperimentError::Record { path: path.clone(), problem: e.to_string() })?;
        let ours = self.owner();
        if owner == ours {
            return Ok(());
        }
        let Owner { experiment, scale, seed, .. } = owner;
        let differs = if (&experiment, scale, seed) == (&ours.experiment, ours.scale, ours.seed) {
            "on other data".to_owned()
        } else {
            format!(
                "with seed {seed}, asked for {} at scale {} with seed {}",
                ours.experiment, ours.scale, ours.seed
            )
        };
        mixed(format!("holds {experiment} at scale {scale} {differs}"))
    }

    fn own_folder(&self) -> Result<()> {
        disk::create_dir_all(self.folder.join(RUNS))?;
        let path = self.folder.join(SETTING);
        let text = serde_json::to_string_pretty(&self.owner())
            .map_err(|e| ExperimentError::Record { path: path.clone(), problem: e.to_string() })?;
        Ok(disk::write_bytes(path, text.as_bytes())?)
    }
}

/// `NAME-SCALE-DATA`, whatever the data is called.
fn folder_name(experiment: &str, scale: Scale, data: &str) -> String {
    format!("{experiment}-{scale}-{}", plain(data))
}

/// A name as part of a file's name, whatever is in it.
pub(crate) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "._".contains(c) { c } else { '_' }).collect()
}

fn record_path(folder: &Path, run: &str) -> PathBuf {
    folder.join(RUNS).join(format!("{run}.json"))
}

fn start_path(folder: &Path, run: &str) -> PathBuf {
    folder.join(STARTS).join(format!("{run}.safetensors"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn find<'r>(runs: &'r [RunResult], name: &str, of: &Run) -> Result<&'r RunResult> {
    let found = runs.iter().find(|result| result.run.name == name && result.record.diverged.is_none());
    found.ok_or_else(|| ExperimentError::Measure {
        what: of.name.clone(),
        problem: format!("expected to begin with what `{name}` ended with, but that run diverged or is none"),
    })
}

/// Hands a run's news on.
struct Relay<'o> {
    observer: &'o mut dyn Observer,
    note: &'o RunNote,
}

impl residuum_train::Observer for Relay<'_> {
    fn on_note(&mut self, note: &str) {
        self.observer.on_note(note);
    }

    fn on_step(&mut self, step: &Step) {
        self.observer.on_step(self.note, step);
    }

    fn on_epoch(&mut self, record: &EpochRecord, _is_best: bool) {
        self.observer.on_epoch(self.note, record);
    }
}

#[cfg(test)]
mod tests;
