//! What a user may rely on: the same bits whatever the threads, whatever the interruptions; nothing mixed.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use residuum_classify::{LoadOptions, load_model};
use residuum_data::{Distortion, Erased, Erasing, Mean, Mix, RandAugment, Split};
use residuum_engine::{Engine, EngineOptions};
use residuum_graph::rewrite::fold_residual;
use residuum_tensor::Tensor;
use residuum_train::report::RunReader;
use residuum_train::{
    Augmentation, Average, Data, Decayed, EpochRecord, Loss, Method, Observer, Outcome, PaddingValue, Recipe,
    Result, RunFolder, RunState, Saved, Step, TrainError, Trainer,
};

const BATCH: usize = 16;
/// Two more than fill the batches of an epoch.
const IMAGES: usize = 4 * BATCH + 2;

fn data() -> Data {
    let part = |split, count| {
        let whole = residuum_data::shapes(0, split);
        whole.subset(&(0..count).collect::<Vec<_>>())
    };
    Data { train: part(Split::Train, IMAGES), test: part(Split::Test, 40) }
}

fn recipe() -> Recipe {
    let mut recipe = Recipe::preset("shapes", "cifar_resnet8").unwrap();
    (recipe.batch_size, recipe.epochs, recipe.seed) = (BATCH, 2, 5);
    recipe
}

fn engine(threads: usize) -> Engine {
    Engine::new(&EngineOptions { threads: Some(threads), ..EngineOptions::default() }).unwrap()
}

/// Raises the flag after so many steps, or after so many epochs.
struct StopAt<'a> {
    stop: &'a AtomicBool,
    steps: u64,
    epochs: u64,
}

impl Observer for StopAt<'_> {
    fn on_step(&mut self, step: &Step) {
        if step.step == self.steps {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn on_epoch(&mut self, record: &EpochRecord, _is_best: bool) {
        if record.epoch == self.epochs {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

fn begin(threads: usize, recipe: Recipe, path: &Path) -> Result<Trainer> {
    Trainer::begin(&engine(threads), recipe, data(), RunFolder::at(path))
}

fn resume(path: &Path, recipe: &Recipe, data: Data) -> Result<Trainer> {
    Trainer::resume(&engine(2), Saved::open(RunFolder::at(path))?, recipe, data)
}

fn finish(mut trainer: Trainer) -> Trainer {
    assert_eq!(trainer.run(&AtomicBool::new(false), &mut ()).unwrap(), Outcome::Finished);
    trainer
}

/// `metrics.jsonl` without what the clock says.
fn metrics(trainer: &Trainer) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(trainer.folder().metrics()).unwrap();
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        let object = value.as_object_mut().unwrap();
        assert!(object.remove("wall_s").is_some() && object.remove("images_per_second").is_some());
        value
    };
    text.lines().map(line).collect()
}

fn assert_same(a: &Trainer, b: &Trainer) {
    assert!(a.weights() == b.weights(), "weights differ");
    assert!(a.velocity() == b.velocity(), "velocities differ");
    assert!(a.second_moments() == b.second_moments(), "second moments differ");
    assert!(a.average() == b.average(), "averages differ");
    assert_eq!(a.history(), b.history());
    assert_eq!(metrics(a), metrics(b));
    for file in [
        RunFolder::summary,
        RunFolder::best,
        RunFolder::last,
        RunFolder::curves,
        RunFolder::recipe,
        RunFolder::evaluation,
    ] {
        let [a, b] = [a, b].map(|trainer| std::fs::read(file(trainer.folder())).unwrap());
        assert!(a == b, "files differ");
    }
    // A network without norms has no responses to tell.
    let [a, b] = [a, b].map(|trainer| std::fs::read(trainer.folder().responses()).ok());
    assert!(a == b, "responses differ");
}

#[test]
fn threads_do_not_change_a_bit() {
    let folder = tempfile::tempdir().unwrap();
    let run =
        |threads: usize| finish(begin(threads, recipe(), &folder.path().join(threads.to_string())).unwrap());
    let one = run(1);
    assert_eq!(metrics(&one).len(), 2 * 4 + 2);
    [2, 3].map(run).iter().for_each(|other| assert_same(&one, other));
    let mut other = recipe();
    other.seed = 6;
    let other = finish(begin(2, other, &folder.path().join("seed")).unwrap());
    assert!(other.weights() != one.weights());
}

#[test]
fn a_run_cut_anywhere_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let whole = finish(begin(2, recipe(), &folder.path().join("whole")).unwrap());
    // In the middle of an epoch, after its last step, after its evaluation, in the second epoch.
    for (steps, epochs) in [(1, 0), (3, 0), (4, 0), (0, 1), (6, 0), (8, 0)] {
        let path = folder.path().join(format!("cut-{steps}-{epochs}"));
        let stop = AtomicBool::new(false);
        let mut cut = begin(2, recipe(), &path).unwrap();
        let outcome = cut.run(&stop, &mut StopAt { stop: &stop, steps, epochs }).unwrap();
        assert_eq!(outcome, Outcome::Interrupted { step: steps.max(epochs * 4) });
        drop(cut);
        let saved = Saved::open(RunFolder::at(&path)).unwrap();
        let recipe = saved.recipe().clone();
        assert_same(&whole, &finish(Trainer::resume(&engine(2), saved, &recipe, data()).unwrap()));
        // A run that is done has nothing left to do, and says so the same way.
        assert_same(&whole, &finish(resume(&path, &recipe, data()).unwrap()));
    }
}

/// A network without a registered name is trained on, cut, gone on with and stored with its graph.
#[test]
fn a_folded_network_is_trained_on_and_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    finish(begin(2, recipe(), &path("residual")).unwrap());
    let residual = load_model(path("residual"), &LoadOptions::default()).unwrap();
    let folded = fold_residual(&residual.model.graph, &residual.weights).unwrap();
    let plain = residual.rewritten(folded, "folded");
    plain.save(path("plain.safetensors")).unwrap();
    let from = path("plain.safetensors").display().to_string();
    let mut recipe = recipe();
    (recipe.model, recipe.from) = (plain.model.name.clone(), Some(from.clone()));
    recipe.optimiser.lr = 0.01;
    let whole = finish(begin(2, recipe.clone(), &path("whole")).unwrap());
    let stop = AtomicBool::new(false);
    let mut cut = begin(2, recipe.clone(), &path("cut")).unwrap();
    cut.run(&stop, &mut StopAt { stop: &stop, steps: 5, epochs: 0 }).unwrap();
    drop(cut);
    // The run brings its network along: the file that it began with is not needed any more.
    std::fs::remove_file(&from).unwrap();
    assert_same(&whole, &finish(resume(&path("cut"), &recipe, data()).unwrap()));
    let best = load_model(path("cut"), &LoadOptions::default()).unwrap();
    assert_eq!((&best.model.name, best.info.graph.as_ref()), (&plain.model.name, plain.info.graph.as_ref()));
    assert!(best.weights != plain.weights);
}

#[test]
fn the_last_norm_of_each_branch_can_start_at_zero() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe { zero_last_norm: true, ..recipe() };
    let trainer = begin(2, recipe, &folder.path().join("run")).unwrap();
    let weights = trainer.weights();
    let all = |name: &str, value: f32| weights[name].data().iter().all(|&w| w.to_bits() == value.to_bits());
    assert!(all("layer1.0.bn2.weight", 0.0) && all("layer3.0.bn2.weight", 0.0));
    assert!(all("layer1.0.bn1.weight", 1.0) && all("bn1.weight", 1.0));
}

/// Everything that a recipe can ask for at once.
fn everything() -> Recipe {
    let mut recipe = recipe();
    (recipe.label_smoothing, recipe.validation, recipe.train_crop) = (0.1, Some(10), Some(24));
    (recipe.repeats, recipe.loss) = (3, Loss::BinaryCrossEntropy { threshold: Some(0.2) });
    recipe.augmentation = Augmentation::Crop { pad: 4, padding: PaddingValue::Reflect };
    recipe.distortion = Distortion {
        trivial_augment: true,
        rand_augment: Some(RandAugment { operations: 2, magnitude: 7.0, deviation: 0.5 }),
        jitter: 0.4,
        colour_shift: 0.1,
        erasing: Some(Erasing { probability: 0.5, value: Erased::Noise }),
    };
    recipe.mix = Mix { mixup: 0.2, cutmix: 1.0 };
    recipe.average = Some(Average { decay: 0.96, every: 2, rescaled: true });
    recipe.optimiser.decay = Decayed::Filters;
    recipe.optimiser.method = Method::Sgd { momentum: 0.9, nesterov: true };
    recipe.drop_path = 0.3;
    recipe
}

/// Procedure A3 of "ResNet strikes back" at the size of the embedded pictures, with LAMB's rate and clipping as they
/// are there, and with the dropped branches of A1.
fn struck_back(model: &str) -> Recipe {
    let mut recipe = Recipe::preset("strikes-back-a3", model).unwrap();
    let embedded = Recipe::preset("shapes", model).unwrap();
    (recipe.batch_size, recipe.epochs, recipe.seed) = (BATCH, 2, 5);
    (recipe.augmentation, recipe.preprocess) = (embedded.augmentation, embedded.preprocess);
    (recipe.train_crop, recipe.drop_path) = (Some(24), 0.05);
    recipe
}

#[test]
fn lamb_is_the_same_with_any_threads_and_interruptions() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = || struck_back("cifar_resnet8");
    let whole = finish(begin(2, recipe(), &folder.path().join("whole")).unwrap());
    let second = whole.second_moments().unwrap();
    assert!(second.values().all(|moments| moments.data().iter().all(|&v| v >= 0.0)));
    assert!(second["conv1.weight"].data().iter().any(|&v| v > 0.0));
    for threads in [1, 3] {
        let path = folder.path().join(threads.to_string());
        assert_same(&whole, &finish(begin(threads, recipe(), &path).unwrap()));
    }
    for (steps, epochs) in [(1, 0), (3, 0), (0, 1), (6, 0)] {
        let path = folder.path().join(format!("cut-{steps}-{epochs}"));
        let stop = AtomicBool::new(false);
        let mut cut = begin(2, recipe(), &path).unwrap();
        cut.run(&stop, &mut StopAt { stop: &stop, steps, epochs }).unwrap();
        drop(cut);
        assert_same(&whole, &finish(resume(&path, &recipe(), data()).unwrap()));
    }

    // Another optimiser is another run; one without second moments needs less memory.
    let mut other = recipe();
    other.optimiser.method = Method::named("sgd").unwrap();
    let error = resume(whole.folder().path(), &other, data()).unwrap_err().to_string();
    assert!(error.contains("optimiser.kind: the run has \"lamb\", asked for \"sgd\""), "{error}");
    assert!(!error.contains("betas") && !error.contains("momentum"), "{error}");
    let other = begin(2, other, &folder.path().join("sgd")).unwrap();
    assert!(other.second_moments().is_none());
    let learned: usize = second.values().map(Tensor::len).sum();
    let more = whole.plan().peak_bytes - other.plan().peak_bytes;
    assert!((4 * learned..4 * learned + 64 * second.len()).contains(&more), "{more} for {learned}");
}

/// A scaled-down run of A3 learns: more than how often a class occurs, which gives ten classes a binary
/// cross-entropy of 0.325, whatever the changes of the pictures.
#[test]
fn a_small_run_of_a3_lowers_the_loss() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = struck_back("cifar_resnet8");
    (recipe.batch_size, recipe.optimiser.lr) = (32, 0.02);
    (recipe.preprocess.crop, recipe.train_crop) = (16, None);
    recipe.augmentation = Augmentation::Crop { pad: 2, padding: PaddingValue::Mean };
    let test = residuum_data::shapes(0, Split::Test).subset(&(0..500).collect::<Vec<_>>());
    let data = Data { train: residuum_data::shapes(0, Split::Train), test };
    let run = Trainer::begin(&engine(2), recipe, data, RunFolder::at(folder.path().join("run"))).unwrap();
    let run = finish(run);
    let [first, last] = run.history() else { panic!("{:?}", run.history()) };
    assert!(last.train_loss < 0.9 * first.train_loss && last.train_loss < 0.32, "{first:?} {last:?}");
    assert!(last.eval_loss < first.eval_loss && last.eval_top1 > 20.0, "{first:?} {last:?}");
}

#[test]
fn branches_are_dropped_only_where_there_are_some() {
    let folder = tempfile::tempdir().unwrap();
    for model in ["cifar_plain20", "sd_resnet20"] {
        let recipe = Recipe { drop_path: 0.1, model: model.into(), ..recipe() };
        let error = begin(2, recipe, &folder.path().join("run")).unwrap_err().to_string();
        assert!(error.contains("drop_path") && error.contains("branches"), "{error}");
    }
}

#[test]
fn every_ingredient_at_once_is_the_same_with_any_threads_and_interruptions() {
    let folder = tempfile::tempdir().unwrap();
    let whole = finish(begin(2, everything(), &folder.path().join("whole")).unwrap());
    // 56 of 66 pictures are left to learn from: three batches of 16.
    assert_eq!((whole.plan().train_images, whole.plan().test_images, whole.plan().steps), (56, 10, 6));
    assert_same(&whole, &finish(begin(3, everything(), &folder.path().join("three")).unwrap()));
    for (steps, epochs) in [(1, 0), (2, 0), (0, 1), (5, 0)] {
        let path = folder.path().join(format!("cut-{steps}-{epochs}"));
        let stop = AtomicBool::new(false);
        let mut cut = begin(2, everything(), &path).unwrap();
        cut.run(&stop, &mut StopAt { stop: &stop, steps, epochs }).unwrap();
        drop(cut);
        assert_same(&whole, &finish(resume(&path, &everything(), data()).unwrap()));
    }

    // The model that is saved is the average.
    let average = whole.average().unwrap();
    assert!(average != whole.weights());
    let saved = residuum_formats::safetensors::read(whole.folder().last()).unwrap();
    for (name, tensor) in &average {
        assert!(saved.get(name).unwrap().to_f32().unwrap() == *tensor, "{name}");
    }
    assert!(finish(begin(2, recipe(), &folder.path().join("plain")).unwrap()).average().is_none());
}

/// An ingredient's name, and how it gets into a recipe.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Recipe));

#[test]
fn each_ingredient_changes_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let short = |change: &dyn Fn(&mut Recipe), name: &str| {
        let mut recipe = recipe();
        (recipe.epochs, recipe.iterations) = (1, Some(2));
        change(&mut recipe);
        finish(begin(2, recipe, &folder.path().join(name)).unwrap()).weights()
    };
    let plain = short(&|_| (), "plain");
    let changes: [Change<'_>; 9] = [
        ("trivial", &|r| r.distortion.trivial_augment = true),
        ("rand", &|r| {
            r.distortion.rand_augment = Some(RandAugment { operations: 2, magnitude: 7.0, deviation: 0.5 });
        }),
        ("lamb", &|r| r.optimiser.method = Method::named("lamb").unwrap()),
        ("drop path", &|r| r.drop_path = 0.5),
        ("jitter", &|r| r.distortion.jitter = 0.4),
        ("shift", &|r| r.distortion.colour_shift = 0.1),
        ("erasing", &|r| r.distortion.erasing = Some(Erasing { probability: 0.9, value: Erased::Zero })),
        ("mixup", &|r| r.mix.mixup = 1.0),
        ("validation", &|r| r.validation = Some(5)),
    ];
    for (name, change) in changes {
        assert!(short(change, name) != plain, "{name}");
    }
    // An average changes what is tested, not what is learnt.
    let averaged = Average { decay: 0.5, every: 1, rescaled: false };
    assert!(short(&|r| r.average = Some(averaged.clone()), "average") == plain);
}

#[test]
fn a_limit_of_iterations_ends_within_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe();
    recipe.iterations = Some(6);
    let run = finish(begin(2, recipe, &folder.path().join("run")).unwrap());
    assert_eq!(run.history().iter().map(|record| record.step).collect::<Vec<_>>(), [4, 6]);
}

/// What the run was at after its first step.
struct StateOf(RunFolder, Option<RunState>);

impl Observer for StateOf {
    fn on_step(&mut self, _step: &Step) {
        self.1.get_or_insert(self.0.status().state);
    }
}

#[test]
fn the_folder_tells_what_the_run_is_at_and_lets_one_process_train() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = RunFolder::at(&path);
    let mut trainer = begin(2, recipe(), &path).unwrap();
    assert_eq!(run.status().state, RunState::Running);
    let busy = resume(&path, &recipe(), data()).unwrap_err();
    assert!(matches!(busy, TrainError::Busy { .. }), "{busy}");
    let mut observed = StateOf(run.clone(), None);
    trainer.run(&AtomicBool::new(false), &mut observed).unwrap();
    assert_eq!(observed.1, Some(RunState::Running));
    assert_eq!(run.status().state, RunState::Finished);
    drop(trainer);

    // One that is asked to stop, and one that nobody hears of again.
    let stopped = RunFolder::at(folder.path().join("stopped"));
    let stop = AtomicBool::new(false);
    let mut trainer = begin(2, recipe(), stopped.path()).unwrap();
    trainer.run(&stop, &mut StopAt { stop: &stop, steps: 3, epochs: 0 }).unwrap();
    let status = stopped.status();
    assert_eq!(status.state, RunState::Stopped);
    assert!(status.reason.unwrap().contains("step 3"));
    let gone = RunFolder::at(folder.path().join("gone"));
    drop(begin(2, recipe(), gone.path()).unwrap());
    assert_eq!(gone.status().state, RunState::Stopped);
}

#[test]
fn the_folder_holds_what_the_evaluation_found_and_reads_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let run = finish(begin(2, recipe(), &folder.path().join("run")).unwrap());
    let last = run.history().last().unwrap();
    let mut reader = RunReader::open(run.folder().clone());
    let report = reader.report();
    let found = reader.evaluation().unwrap();
    let wrong: u64 = found.confusions.iter().map(|&(_, _, count)| count).sum();
    let correct: usize = found.classes.iter().map(|class| class.correct).sum();
    assert_eq!((found.epoch, found.images, correct + wrong as usize), (2, 40, 40));
    assert!((100.0 * correct as f64 / 40.0 - last.eval_top1).abs() < 1e-9);
    assert_eq!(found.mistakes.len(), (wrong as usize).min(24));
    assert!(found.mistakes.is_sorted_by(|a, b| a.confidence >= b.confidence));
    assert!(found.mistakes.iter().all(|mistake| mistake.truth != mistake.predicted
        && (0.1..=1.0).contains(&mistake.confidence)
        && mistake.picture.as_ref().is_some_and(|picture| picture.starts_with("data:image/png;base64,"))));

    assert_eq!(report.steps.step, (1..=8).collect::<Vec<u64>>());
    assert_eq!(report.epochs.len(), 2);
    for (point, record) in report.epochs.iter().zip(run.history()) {
        assert_eq!((point.epoch, point.step, point.test_loss), (record.epoch, record.step, record.eval_loss));
        assert!((point.train_loss - record.train_loss).abs() < 1e-9);
        assert!((point.train_error - (100.0 - record.train_top1)).abs() < 1e-9);
    }
    // Seven 3×3 convolutions, as the paper's figure 7 counts them.
    let responses = report.responses.unwrap();
    assert_eq!((responses.layers.len(), &responses.epochs[..]), (7, &[1, 2][..]));
    assert!(responses.std.iter().flatten().all(|std| std.is_some_and(|std| std > 0.0)));
    assert!(responses.std[0] != responses.std[1], "weights change, and responses with them");
    assert!(run.folder().is_run() && !RunFolder::at(folder.path()).is_run());
}

#[test]
fn another_recipe_or_other_data_is_refused_with_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    drop(begin(2, recipe(), &path).unwrap());
    let mut other = recipe();
    other.optimiser.lr = 0.03;
    other.batch_size = 8;
    let mut wrong = data();
    wrong.train = wrong.train.subset(&(0..BATCH).collect::<Vec<_>>());
    let before = std::fs::read(path.join("checkpoint/manifest.json")).unwrap();
    let error = resume(&path, &other, wrong).unwrap_err().to_string();
    for part in ["optimiser.lr", "0.03", "batch_size", "training data"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("test data") && !error.contains("seed"), "{error}");
    assert_eq!(std::fs::read(path.join("checkpoint/manifest.json")).unwrap(), before);
    let error = resume(&folder.path().join("nothing"), &recipe(), data()).unwrap_err();
    assert!(matches!(error, TrainError::NoCheckpoint { .. }), "{error}");
}

#[test]
fn a_folder_that_exists_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    std::fs::create_dir(&path).unwrap();
    let error = begin(2, recipe(), &path).unwrap_err();
    assert!(matches!(error, TrainError::Exists { .. }) && error.to_string().contains("--resume"), "{error}");
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn divergence_is_an_error_and_leaves_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut recipe = recipe();
    (recipe.optimiser.lr, recipe.warm_up) = (1e30, None);
    let mut run = begin(2, recipe.clone(), &path).unwrap();
    let error = run.run(&AtomicBool::new(false), &mut ()).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    assert!(error.to_string().contains("--lr"), "{error}");
    let status = run.folder().status();
    assert_eq!((status.state, status.reason), (RunState::Diverged, Some(error.to_string())));
    assert!(std::fs::read_to_string(run.folder().report()).unwrap().contains("diverged at step"));
    drop(run);
    let mut again = resume(&path, &recipe, data()).unwrap();
    assert_eq!(again.plan().steps_done, 0);
    let second = again.run(&AtomicBool::new(false), &mut ()).unwrap_err();
    assert_eq!(second.to_string(), error.to_string());
}

#[test]
fn fine_tuning_begins_with_a_model_and_keeps_what_is_frozen() {
    let folder = tempfile::tempdir().unwrap();
    let first = finish(begin(2, recipe(), &folder.path().join("first")).unwrap());
    let mut fine = recipe();
    fine.from = Some(first.folder().last().display().to_string());
    fine.freeze = vec!["conv1.*".into(), "layer1.*".into()];
    (fine.epochs, fine.seed) = (1, 9);
    let second = finish(begin(2, fine.clone(), &folder.path().join("second")).unwrap());
    let (before, after) = (first.weights(), second.weights());
    for (name, tensor) in &after {
        let is_frozen = name.starts_with("conv1.") || name.starts_with("layer1.");
        assert_eq!(*tensor == before[name], is_frozen, "{name}");
    }

    // Other classes: an error that says what to do, and doing it.
    let mut other = data();
    let classes = ["a", "b"].map(str::to_owned).to_vec();
    let few = |images: usize| {
        let labels = (0..images as u32).map(|i| i % 2).collect();
        residuum_data::Dataset::from_pixels("two", classes.clone(), labels, (32, 32), vec![9; images * 3072])
            .unwrap()
    };
    (other.train, other.test) = (few(BATCH), few(2));
    fine.freeze.clear();
    let two = |fine: &Recipe, name: &str| {
        Trainer::begin(&engine(2), fine.clone(), other.clone(), RunFolder::at(folder.path().join(name)))
    };
    let error = two(&fine, "third").unwrap_err().to_string();
    assert!(error.contains("--replace-head"), "{error}");
    assert!(!folder.path().join("third").exists());
    fine.replace_head = true;
    let third = two(&fine, "third").unwrap().weights();
    assert_eq!(third["fc.weight"].shape()[0], 2);
    assert!(third["conv1.weight"] == before["conv1.weight"]);
}

/// Stops while the mean image is taken.
struct StopAtMean<'a>(&'a AtomicBool);

impl Observer for StopAtMean<'_> {
    fn on_mean(&mut self, _: usize, _: usize) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The mean image is that of the pictures learnt from; every file of the run has it.
#[test]
fn the_mean_image_is_taken_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let per_pixel = || {
        let mut recipe = recipe();
        (recipe.preprocess.mean, recipe.validation) = (Mean::PerPixel, Some(10));
        recipe
    };
    let whole = finish(begin(2, per_pixel(), &folder.path().join("whole")).unwrap());
    assert_same(&whole, &finish(begin(3, per_pixel(), &folder.path().join("three")).unwrap()));
    let text = std::fs::read_to_string(whole.folder().recipe()).unwrap();
    assert!(text.contains("mean = \"per-pixel\""), "{text}");

    let image_of = |path: &Path| match load_model(path, &LoadOptions::default()).unwrap().info.preprocess.mean
    {
        Mean::Image(image) => image,
        other => panic!("{other}"),
    };
    let image = image_of(&whole.folder().best());
    let (learnt, _) = data().train.hold_out(10, per_pixel().seed).unwrap();
    assert_eq!(learnt.len(), IMAGES - 10);
    let sum: u64 = (0..learnt.len()).map(|i| u64::from(learnt.image(i).unwrap().row(3)[5 * 3 + 1])).sum();
    let mean = (sum as f64 / (255.0 * learnt.len() as f64)) as f32;
    assert_eq!(image.pixels()[3 * 32 + 5][1].to_bits(), mean.to_bits());

    // Cut while the mean is taken, and after steps.
    let path = folder.path().join("cut");
    let stop = AtomicBool::new(false);
    let mut cut = begin(2, per_pixel(), &path).unwrap();
    assert_eq!(cut.run(&stop, &mut StopAtMean(&stop)).unwrap(), Outcome::Interrupted { step: 0 });
    drop(cut);
    for (steps, epochs) in [(1, 0), (0, 1)] {
        let stop = AtomicBool::new(false);
        let mut cut = resume(&path, &per_pixel(), data()).unwrap();
        cut.run(&stop, &mut StopAt { stop: &stop, steps, epochs }).unwrap();
    }
    assert_same(&whole, &finish(resume(&path, &per_pixel(), data()).unwrap()));

    // Other pictures: the mean image stays that of the model to begin with.
    let mut fine = recipe();
    fine.fine_tune(load_model(whole.folder().best(), &LoadOptions::default()).unwrap().info.preprocess);
    (fine.from, fine.epochs) = (Some(whole.folder().best().display().to_string()), 1);
    let fine = finish(begin(2, fine, &folder.path().join("fine")).unwrap());
    assert!(image_of(&fine.folder().last()) == image);

    // Pictures of another size than the tests': the image has theirs.
    let mut small = per_pixel();
    small.train_crop = Some(24);
    let small = finish(begin(2, small, &folder.path().join("small")).unwrap());
    let mean = load_model(small.folder().last(), &LoadOptions::default()).unwrap().info.preprocess.mean;
    assert!(matches!(mean, Mean::Colours(_)), "{mean}");
}
