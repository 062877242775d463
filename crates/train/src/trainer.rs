//! The loop: epochs of steps, each epoch evaluated, saved and told.
//!
//! ```text
//! the mean image of the training pictures, where the recipe asks for one
//! while epochs are left
//!     for each batch that is left of the epoch
//!         loss and gradients; finite?; update; one line of metrics
//!         stop asked for → checkpoint, leave
//!     evaluate on the test pictures
//!     last and best model, summary, curves, then the checkpoint that makes them count
//! state and report
//! ```
//! Where the recipe asks for a running average of the weights, that is what is evaluated and saved as a model.
//!
//! What a step computes depends on the checkpoint before it and on nothing else: a run that was cut and
//! resumed anywhere has the bits of one that was not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use residuum_classify::{ClassifyError, ModelFile, ModelInfo};
use residuum_data::{Batch, Dataset, Loader, LoaderOptions, Mean, MeanImage, Preprocess};
use residuum_engine::{Engine, InputShape, Mixed, Targets, Training, TrainingOptions};
use residuum_formats::disk::{Appender, Lock};
use residuum_graph::{Graph, Weights};
use residuum_models::{Model, small_image_warning};

use crate::checkpoint::{Checkpoint, Identity};
use crate::data::Data;
use crate::error::{Result, TrainError};
use crate::evaluate::{Answers, Scores, evaluate};
use crate::findings::{self, EvaluationRecord};
use crate::observer::{Observer, Plan, Step};
use crate::progress::{EpochRecord, Progress, Sums};
use crate::recipe::Recipe;
use crate::report;
use crate::run_folder::{MetricsLine, Phase, RunFolder};
use crate::saved::Saved;
use crate::schedule::warm_iterations;
use crate::start::{self, Begin};
use crate::state::{RunState, StateFile};

/// A long epoch is saved this often in between.
const SAVE_EVERY: Duration = Duration::from_mins(10);
const LOADER_THREADS: usize = 4;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// Stopped when asked to, and saved; the steps done so far.
    Interrupted {
        /// Steps done since the run began.
        step: u64,
    },
}

/// A run: network, optimiser, data and folder.
#[derive(Debug)]
pub struct Trainer {
    engine: Engine,
    identity: Identity,
    model: Model,
    /// The network itself where its name is not registered: every file of the run brings it along.
    graph: Option<Graph>,
    data: Data,
    folder: RunFolder,
    training: Training,
    /// The mean image, where the recipe asks for one and it was taken.
    mean: Option<MeanImage>,
    progress: Progress,
    metrics: Appender,
    /// Keeps other processes out of the folder.
    _lock: Lock,
    notes: Vec<String>,
    clock: Clock,
}

/// Time of this process's part of the run.
#[derive(Debug)]
struct Clock {
    started: Instant,
    /// Seconds of the parts before.
    before_s: f64,
    stepped: Instant,
    saved: Instant,
}

impl Clock {
    fn new(before_s: f64) -> Self {
        let now = Instant::now();
        Self { started: now, before_s, stepped: now, saved: now }
    }

    fn wall_s(&self) -> f64 {
        self.before_s + self.started.elapsed().as_secs_f64()
    }
}

impl Trainer {
    /// Begins a run in a new folder, which holds a checkpoint from the first moment on.
    ///
    /// # Errors
    /// When the folder exists, the recipe is refused, data and network do not fit, or the model to begin
    /// with does not.
    pub fn begin(engine: &Engine, recipe: Recipe, data: Data, folder: RunFolder) -> Result<Self> {
        folder.check_new()?;
        recipe.check()?;
        let data = data.of(&recipe)?;
        let mut notes = Vec::new();
        let Begin { model, weights, graph, mean } = start::begin(&recipe, &data, &mut notes)?;
        let mut training = compile(engine, &recipe, &model, &data, &weights)?;
        if recipe.average.is_some() {
            training.begin_average(&weights)?;
        }
        if let Some(count) = recipe.validation {
            notes.push(format!(
                "each epoch is tested with {count} held-out training pictures, and the best is chosen by them; \
                 `residuum eval` tests it with the test pictures"
            ));
        }
        let identity = Identity {
            recipe_digest: recipe.digest()?,
            recipe,
            train_digest: data.train.digest().into(),
            test_digest: data.test.digest().into(),
            isa: engine.isa().to_string(),
        };
        let (velocity, second_moments) = (training.velocity(), training.second_moments());
        let average = training.average();
        let progress = Progress::default();
        let first =
            Checkpoint { identity, progress, graph, weights, velocity, second_moments, average, mean };
        let lock = folder.create(&first)?;
        Self::assemble(engine, first, model, data, folder, lock, training, notes)
    }

    /// Goes on with a run. The recipe and the data must be those it began with.
    ///
    /// # Errors
    /// When they are not, with a list; when another process trains in the folder; when the network cannot be
    /// compiled or the folder not be written.
    pub fn resume(engine: &Engine, saved: Saved, recipe: &Recipe, data: Data) -> Result<Self> {
        let data = data.of(saved.recipe())?;
        let differences = saved.differences(recipe, &data);
        let Saved { folder, checkpoint, place } = saved;
        if !differences.is_empty() {
            return Err(TrainError::Differs { path: folder.path().into(), differences });
        }
        let identity = &checkpoint.identity;
        let model = start::model(&identity.recipe, &data, checkpoint.graph.as_ref())?;
        let mut training = compile(engine, &identity.recipe, &model, &data, &checkpoint.weights)?;
        training.set_velocity(&checkpoint.velocity)?;
        if let Some(moments) = &checkpoint.second_moments {
            training.set_second_moments(moments)?;
        }
        if let Some(average) = &checkpoint.average {
            training.begin_average(average)?;
        }
        let lock = folder.acquire()?;
        place.settle(folder.path())?;
        let mut notes = Vec::new();
        if identity.isa != engine.isa().to_string() {
            notes.push(format!(
                "the run began with instruction set {}, this is {}: results will differ in the last bits",
                identity.isa,
                engine.isa()
            ));
        }
        Self::assemble(engine, checkpoint, model, data, folder, lock, training, notes)
    }

    fn assemble(
        engine: &Engine,
        checkpoint: Checkpoint,
        model: Model,
        data: Data,
        folder: RunFolder,
        lock: Lock,
        mut training: Training,
        mut notes: Vec<String>,
    ) -> Result<Self> {
        let Checkpoint { identity, progress, graph, mean, .. } = checkpoint;
        training.set_iteration(progress.iteration);
        notes.extend(small_image_warning(&model, identity.recipe.preprocess.crop));
        let metrics = folder.open_metrics(progress.metrics_lines)?;
        folder.cut_responses(progress.epoch)?;
        let clock = Clock::new(progress.wall_s);
        let engine = engine.clone();
        Ok(Self {
            engine,
            identity,
            model,
            graph,
            data,
            folder,
            training,
            mean,
            progress,
            metrics,
            _lock: lock,
            notes,
            clock,
        })
    }

    /// Trains to the end, or until `stop` is true after a step. May be called again after that.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] when a loss or gradient is no number; else when data cannot be read or the
    /// disk refuses. The last checkpoint stays as it is.
    pub fn run(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome> {
        let plan = self.plan();
        let mut state = StateFile::begun(&plan);
        state.write(&self.folder)?;
        observer.on_start(&plan);
        let result = self.run_epochs(stop, observer);
        let (end, reason) = how_it_ended(&result);
        state.end(end, reason);
        // Whatever the run itself came to is told in any case; what it left is complete without these two.
        let told = state.write(&self.folder).and_then(|()| report::write(&self.folder));
        if let Err(error) = told {
            observer.on_note(&format!("the end of the run could not be put on record: {error}"));
        }
        result
    }

    fn run_epochs(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome> {
        self.clock = Clock::new(self.progress.wall_s);
        self.notes.drain(..).for_each(|note| observer.on_note(&note));
        if !self.take_mean(stop, observer)? {
            return Ok(Outcome::Interrupted { step: self.progress.iteration });
        }
        while self.progress.epoch < self.epochs() {
            let is_done = self.train_epoch(stop, observer)? && self.finish_epoch(stop, observer)?;
            if !is_done {
                self.save()?;
            }
            if !is_done || stop.load(Ordering::Relaxed) && self.progress.epoch < self.epochs() {
                return Ok(Outcome::Interrupted { step: self.progress.iteration });
            }
        }
        Ok(Outcome::Finished)
    }

    /// What the run is going to do.
    pub fn plan(&self) -> Plan {
        Plan {
            epochs: self.epochs(),
            epoch_steps: self.epoch_steps(),
            steps: self.steps(),
            steps_done: self.progress.iteration,
            train_images: self.data.train.len(),
            test_images: self.data.test.len(),
            peak_bytes: self.training.summary().peak_bytes(),
        }
    }

    /// The recipe in force.
    pub fn recipe(&self) -> &Recipe {
        &self.identity.recipe
    }

    /// Where the results are.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Results of the epochs that are done.
    pub fn history(&self) -> &[EpochRecord] {
        &self.progress.history
    }

    /// The epoch with the highest accuracy on the test pictures; the first of equals.
    pub fn best(&self) -> Option<&EpochRecord> {
        self.progress.best()
    }

    /// Seconds of training, those before the run was resumed included.
    pub fn wall_s(&self) -> f64 {
        self.progress.wall_s
    }

    /// The weights as they are now, running statistics among them.
    pub fn weights(&self) -> Weights {
        self.training.weights()
    }

    /// The running average of the weights, where the recipe asks for one.
    pub fn average(&self) -> Option<Weights> {
        self.training.average()
    }

    /// The optimiser's velocities, or first moments, as they are now.
    pub fn velocity(&self) -> Weights {
        self.training.velocity()
    }

    /// The optimiser's second moments as they are now, where it has them.
    pub fn second_moments(&self) -> Option<Weights> {
        self.training.second_moments()
    }

    fn epoch_steps(&self) -> u64 {
        (self.data.train.len() / self.recipe().batch_size) as u64
    }

    fn steps(&self) -> u64 {
        let recipe = self.recipe();
        recipe.epochs.saturating_mul(self.epoch_steps()).min(recipe.iterations.unwrap_or(u64::MAX))
    }

    fn epochs(&self) -> u64 {
        self.steps().div_ceil(self.epoch_steps())
    }

    /// Takes the mean image where the recipe asks for it and there is none yet; false where that was cut short.
    fn take_mean(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<bool> {
        let recipe = &self.identity.recipe;
        if recipe.preprocess.mean != Mean::PerPixel || self.mean.is_some() {
            return Ok(true);
        }
        let train = &self.data.train;
        self.mean = MeanImage::of(train, &recipe.train_preprocess(), self.loader_threads(), |images| {
            observer.on_mean(images, train.len());
            !stop.load(Ordering::Relaxed)
        })?;
        if self.mean.is_some() {
            self.save()?;
        }
        Ok(self.mean.is_some())
    }

    fn loader_threads(&self) -> usize {
        self.engine.threads().count().min(LOADER_THREADS)
    }

    /// How pictures are prepared for tests, with the mean image.
    fn preprocess(&self) -> Preprocess {
        self.recipe().preprocess.settled(self.mean.as_ref())
    }

    /// Steps to the end of the epoch; false where they were cut short.
    fn train_epoch(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<bool> {
        let (epoch, first) = (self.progress.epoch, self.progress.batch);
        let end = self.epoch_steps().min(self.steps() - epoch * self.epoch_steps());
        let recipe = &self.identity.recipe;
        let options = LoaderOptions {
            drop_last: true,
            repeats: recipe.repeats,
            first_batch: first as usize,
            threads: self.loader_threads(),
            distortion: recipe.distortion,
            mix: recipe.mix,
            ..LoaderOptions::training(recipe.batch_size, recipe.augmentation.into(), recipe.seed, epoch)
        };
        let preprocess = recipe.train_preprocess().settled(self.mean.as_ref());
        let loader = Loader::new(&self.data.train, &preprocess, options)?;
        self.clock.stepped = Instant::now();
        for batch in loader.take((end - first) as usize) {
            let step = self.step(&batch?)?;
            observer.on_step(&step);
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            if self.clock.saved.elapsed() >= SAVE_EVERY {
                self.save()?;
            }
        }
        Ok(true)
    }

    fn step(&mut self, batch: &Batch) -> Result<Step> {
        let recipe = &self.identity.recipe;
        let lr = recipe.learning_rate(self.progress.iteration, self.steps());
        let descent = recipe.optimiser.step(lr);
        let mixed = batch.mixed.as_ref().map(|mixed| Mixed { labels: &mixed.labels, shares: &mixed.shares });
        let targets = Targets { labels: &batch.labels, mixed };
        let result = self.training.forward_backward(batch.images.data(), targets);
        self.check_finite("the loss", result.loss)?;
        self.check_finite("the gradient's norm", self.training.gradient_norm())?;
        self.training.update(descent);
        self.update_average();

        let images = batch.labels.len() as u64;
        let Progress { epoch, batch: epoch_step, iteration, sums, .. } = &mut self.progress;
        sums.loss += result.loss * images as f64;
        sums.correct += result.correct as u64;
        sums.images += images;
        *epoch_step += 1;
        *iteration += 1;
        let seconds = self.clock.stepped.elapsed().as_secs_f64();
        self.clock.stepped = Instant::now();
        let step = Step {
            step: *iteration,
            epoch: *epoch + 1,
            epoch_step: *epoch_step,
            loss: result.loss,
            top1: 100.0 * result.correct as f64 / images as f64,
            mean_loss: sums.mean_loss(),
            mean_top1: sums.top1(),
            lr,
            images_per_second: images as f64 / seconds.max(f64::MIN_POSITIVE),
        };
        self.log(Phase::Train, (step.loss, step.top1, None), lr, step.images_per_second)?;
        Ok(step)
    }

    /// Comes after the update of the weights, before the step is counted.
    fn update_average(&mut self) {
        let (recipe, step) = (&self.identity.recipe, self.progress.iteration);
        let Some(average) =
            recipe.average.as_ref().filter(|average| (step + 1).is_multiple_of(average.every))
        else {
            return;
        };
        let is_warming = step < warm_iterations(recipe.warm_up.as_ref(), self.steps());
        let keep = average.keep(recipe.batch_size, recipe.epochs);
        self.training.update_average(if average.rescaled && is_warming { 0.0 } else { keep });
    }

    /// An error where `value` is no number. Comes before the step is counted.
    fn check_finite(&self, name: &str, value: f64) -> Result<()> {
        if value.is_finite() { Ok(()) } else { Err(self.diverged(format!("{name} is {value}"))) }
    }

    fn diverged(&self, what: String) -> TrainError {
        TrainError::Diverged {
            step: self.progress.iteration + 1,
            epoch: self.progress.epoch + 1,
            what,
            checkpoint: self.folder.checkpoint(),
        }
    }

    fn log(
        &mut self,
        phase: Phase,
        (loss, top1, top5): (f64, f64, Option<f64>),
        lr: f64,
        images_per_second: f64,
    ) -> Result<()> {
        let line = MetricsLine {
            step: self.progress.iteration,
            epoch: self.progress.epoch + 1,
            phase,
            loss,
            top1,
            top5,
            lr,
            images_per_second,
            wall_s: self.clock.wall_s(),
        };
        let text = serde_json::to_string(&line)
            .map_err(|e| TrainError::Recipe(format!("{}: {e}", self.folder.metrics().display())))?;
        self.metrics.append(&text)?;
        self.progress.metrics_lines += 1;
        Ok(())
    }

    /// Evaluates and saves an epoch whose steps are done; false where the evaluation was cut short.
    fn finish_epoch(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<bool> {
        let begun = Instant::now();
        let weights = self.training.average().unwrap_or_else(|| self.training.weights());
        let preprocess = self.preprocess();
        let scores = evaluate(&self.engine, preprocess, &self.model, &weights, &self.data, stop, observer);
        let (scores, answers) = match scores {
            Err(TrainError::Classify(ClassifyError::NotFinite { image })) => {
                return Err(self.diverged(format!("the answer for {image} is no number")));
            }
            Err(error) => return Err(error),
            Ok(None) => return Ok(false),
            Ok(Some(found)) => found,
        };
        self.write_findings(&weights, &answers, observer)?;
        let record = self.record(&scores);
        let speed = scores.images as f64 / begun.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        self.log(Phase::Eval, (scores.loss, scores.top1, Some(scores.top5)), record.lr, speed)?;
        self.progress.history.push(record.clone());
        let is_best = self.progress.best() == Some(&record);
        self.save_model(weights, &record, is_best)?;
        let title = format!("{} on {}", self.model.name, self.data.train.name());
        self.folder.write_summary(&title, &self.progress.history)?;
        self.progress.epoch += 1;
        self.progress.batch = 0;
        self.progress.sums = Sums::default();
        self.save()?;
        observer.on_epoch(&record, is_best);
        Ok(true)
    }

    /// What the evaluation shows beside the scores; before the line of metrics that tells readers to look. A
    /// network that cannot be looked into is trained all the same.
    fn write_findings(
        &self,
        weights: &Weights,
        answers: &Answers,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let (epoch, test) = (self.progress.epoch + 1, &self.data.test);
        EvaluationRecord::new(epoch, test, answers).write(&self.folder)?;
        let (preprocess, batch_size) = (self.preprocess(), self.recipe().batch_size);
        let net = (&self.model, weights);
        match findings::responses(&self.engine, &preprocess, batch_size, net, test, epoch) {
            Ok(responses) => responses.map_or(Ok(()), |responses| responses.write(&self.folder)),
            Err(TrainError::Explain(error)) => {
                observer.on_note(&format!("no layer responses of this epoch: {error}"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn record(&self, scores: &Scores) -> EpochRecord {
        let Progress { epoch, iteration, sums, .. } = &self.progress;
        EpochRecord {
            epoch: epoch + 1,
            step: *iteration,
            train_loss: sums.mean_loss(),
            train_top1: sums.top1(),
            eval_loss: scores.loss,
            eval_top1: scores.top1,
            eval_top5: scores.top5,
            lr: self.recipe().learning_rate(iteration.saturating_sub(1), self.steps()),
        }
    }

    fn save_model(&self, weights: Weights, record: &EpochRecord, is_best: bool) -> Result<()> {
        let preprocess = self.preprocess();
        let classes = self.data.train.classes().to_vec();
        let info = ModelInfo {
            graph: self.graph.clone(),
            recipe_sha256: Some(self.identity.recipe_digest.clone()),
            data_sha256: Some(self.identity.train_digest.clone()),
            epoch: Some(record.epoch),
            top1: Some(record.eval_top1),
            batches: record.step,
            ..ModelInfo::new(self.model.name.clone(), classes, preprocess)
        };
        let file = ModelFile { weights, info };
        if is_best {
            file.save(self.folder.best())?;
        }
        Ok(file.save(self.folder.last())?)
    }

    /// Makes everything so far count: the lines of metrics first, then the checkpoint that knows of them.
    fn save(&mut self) -> Result<()> {
        self.metrics.sync()?;
        self.progress.wall_s = self.clock.wall_s();
        let checkpoint = Checkpoint {
            identity: self.identity.clone(),
            progress: self.progress.clone(),
            graph: self.graph.clone(),
            weights: self.training.weights(),
            velocity: self.training.velocity(),
            second_moments: self.training.second_moments(),
            average: self.training.average(),
            mean: self.mean.clone(),
        };
        checkpoint.save(self.folder.path())?;
        self.clock.saved = Instant::now();
        Ok(())
    }
}

fn how_it_ended(result: &Result<Outcome>) -> (RunState, Option<String>) {
    match result {
        Ok(Outcome::Finished) => (RunState::Finished, None),
        Ok(Outcome::Interrupted { step }) => {
            (RunState::Stopped, Some(format!("stopped and saved after step {step}")))
        }
        Err(error @ TrainError::Diverged { .. }) => (RunState::Diverged, Some(error.to_string())),
        Err(error) => (RunState::Stopped, Some(error.to_string())),
    }
}

fn compile(
    engine: &Engine,
    recipe: &Recipe,
    model: &Model,
    data: &Data,
    weights: &Weights,
) -> Result<Training> {
    check_batch(&data.train, recipe.batch_size)?;
    let side = recipe.train_preprocess().crop;
    let options = TrainingOptions {
        loss: recipe.loss.into(),
        label_smoothing: recipe.label_smoothing as f32,
        norm_momentum: recipe.norm_momentum as f32,
        frozen: start::frozen(recipe, &model.graph)?,
        optimiser: recipe.optimiser.method.kind(),
        decay: recipe.optimiser.decay.into(),
        seed: recipe.seed,
        ..TrainingOptions::default()
    };
    let shape = InputShape { n: recipe.batch_size, h: side, w: side };
    if recipe.drop_path <= 0.0 {
        return Ok(engine.training(&model.graph, weights, shape, &options)?);
    }
    let graph = model.graph.with_drop_path(recipe.drop_path);
    let graph = graph.map_err(|error| TrainError::Recipe(format!("recipe: drop_path: {error}")))?;
    Ok(engine.training(&graph, weights, shape, &options)?)
}

/// Every step takes a whole batch, so there must be one.
fn check_batch(train: &Dataset, batch_size: usize) -> Result<()> {
    if train.len() >= batch_size {
        return Ok(());
    }
    Err(TrainError::Recipe(format!(
        "batch_size: expected at most the {} training pictures of {}, found {batch_size}",
        train.len(),
        train.name()
    )))
}
