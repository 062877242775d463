use std::sync::atomic::Ordering;

use residuum_classify::ModelFile;
use residuum_engine::EngineOptions;
use residuum_graph::Weights;

use super::*;
use crate::experiment::Findings;
use crate::table::Table;

/// Three runs of six steps: a net, a plain net, and a deeper plain net made of it.
const SMALL: Experiment = Experiment {
    name: "small",
    title: "A small experiment",
    paper: "none",
    figure: "none",
    question: "Does it go on?",
    protocol: "Six steps.",
    scaled_down: &["everything"],
    runs: |_| {
        let deepened = Start::Deepened { from: "plain-8".into() };
        vec![
            Run::new("resnet-8", "cifar_resnet8", recipe),
            Run::new("plain-8", "cifar_plain8", recipe),
            Run { start: deepened, ..Run::new("plain-14", "cifar_plain14", recipe) },
        ]
    },
    findings: |results| {
        let mut table = Table::new(&["network", "training loss", "test error, %"]);
        for run in &results.runs {
            let test_error = run.record.test_error.map_or("diverged".into(), |error| error.to_string());
            table.rows.push(vec![run.run.name.clone(), run.record.train_loss.to_string(), test_error]);
        }
        Ok(Findings { pictures: Vec::new(), table, sentences: vec!["Done.".into()], shows: Some(true) })
    },
};

fn recipe(setting: &Setting, model: &str) -> Result<Recipe> {
    let mut recipe = setting.preset("he2015-cifar", model)?;
    setting.shorten(&mut recipe, 6);
    Ok(recipe)
}

/// A data set on the disk in CIFAR's binary form: bright and dark pictures.
fn write_data(folder: &Path) -> String {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let records = |count: u8| -> Vec<u8> {
        let record = |i: u8| {
            let pixel = move |p: u32| (p.wrapping_mul(7 + u32::from(i)) % 64) as u8 + 128 * (i % 2);
            std::iter::once(i % 2).chain((0..3072).map(pixel))
        };
        (0..count).flat_map(record).collect()
    };
    for i in 1..=5 {
        std::fs::write(data.join(format!("data_batch_{i}.bin")), records(16)).unwrap();
    }
    std::fs::write(data.join("test_batch.bin"), records(8)).unwrap();
    data.display().to_string()
}

struct Place {
    folder: tempfile::TempDir,
    data: String,
    engine: Engine,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = write_data(folder.path());
        let engine = Engine::new(&EngineOptions { threads: Some(2), ..EngineOptions::default() }).unwrap();
        Self { folder, data, engine }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn options(&self, name: &str, seed: u64) -> Options {
        Options { data: self.data.clone(), seed, output: Some(self.path(name)), ..Options::default() }
    }

    fn open<'a>(&self, experiment: &'a Experiment, name: &str, seed: u64) -> Result<Reproduction<'a>> {
        Reproduction::open(&self.engine, experiment, &self.options(name, seed))
    }

    /// Bytes of a table, and the weights that runs ended with; their files also name where they began.
    fn results(&self, name: &str) -> (Vec<u8>, Vec<Weights>) {
        let at = |file: &str| self.path(name).join(file);
        let weights = ["resnet-8", "plain-8", "plain-14"]
            .map(|run| ModelFile::load(at(&format!("runs/{run}/last.safetensors"))).unwrap().weights);
        (std::fs::read(at("table.csv")).unwrap(), weights.into())
    }
}

/// Stops in the middle of a run; keeps how each run came to its result.
#[derive(Default)]
struct Watch<'a> {
    stop: Option<(&'a AtomicBool, &'a str, u64)>,
    states: Vec<(String, RunState)>,
    shares: Vec<f64>,
}

impl Observer for Watch<'_> {
    fn on_run(&mut self, run: &RunNote) {
        self.states.push((run.name.clone(), run.state.clone()));
    }

    fn on_step(&mut self, run: &RunNote, step: &Step) {
        self.shares.push(run.share_done(step.step));
        if let Some((stop, name, at)) = self.stop
            && run.name == name
            && step.step == at
        {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

fn go() -> AtomicBool {
    AtomicBool::new(false)
}

#[test]
fn a_reproduction_that_was_cut_goes_on_to_the_same_bits() {
    let place = Place::new();
    let mut whole = Watch::default();
    let Outcome::Finished(report) = place.open(&SMALL, "whole", 1).unwrap().run(&go(), &mut whole).unwrap()
    else {
        panic!("finished")
    };
    assert_eq!((report.table.rows.len(), report.shows), (3, Some(true)));
    assert!(
        whole.shares.is_sorted() && (whole.shares.last().unwrap() - 1.0).abs() < 1e-9,
        "{:?}",
        whole.shares
    );

    for (name, at) in [("plain-8", 3), ("plain-14", 1)] {
        let stop = go();
        let mut watch = Watch { stop: Some((&stop, name, at)), ..Watch::default() };
        let cut = place.open(&SMALL, name, 1).unwrap().run(&stop, &mut watch).unwrap();
        assert_eq!(cut, Outcome::Interrupted);
        let mut watch = Watch::default();
        let rest = place.open(&SMALL, name, 1).unwrap().run(&go(), &mut watch).unwrap();
        assert!(matches!(rest, Outcome::Finished(_)));
        assert_eq!(watch.states[0], ("resnet-8".into(), RunState::IsDone));
        assert!(watch.states.contains(&(name.into(), RunState::GoesOn)), "{:?}", watch.states);
        assert!(place.results("whole") == place.results(name), "cut in {name}");
    }
}

#[test]
fn what_is_done_is_left_as_it_is() {
    let place = Place::new();
    let first = place.open(&SMALL, "out", 1).unwrap().run(&go(), &mut ()).unwrap();
    let times = || {
        let paths = ["result.json", "table.csv", "README.md", "commands.sh", "runs/plain-8.json"];
        paths.map(|path| std::fs::metadata(place.path("out").join(path)).unwrap().modified().unwrap())
    };
    let before = times();
    let mut watch = Watch::default();
    let second = place.open(&SMALL, "out", 1).unwrap().run(&go(), &mut watch).unwrap();
    assert!(watch.states.is_empty() && before == times());
    let (Outcome::Finished(first), Outcome::WasDone(second)) = (first, second) else { panic!("done") };
    assert_eq!(first, second);
    assert_eq!(second.scaled_down.last().map(String::as_str), Some("everything"));

    let read = |file: &str| std::fs::read_to_string(place.path("out").join(file)).unwrap();
    let commands = read("commands.sh");
    assert!(commands.contains("--recipe runs/plain-8/recipe.toml --output again/plain-8"), "{commands}");
    assert!(commands.contains("--from starts/plain-14.safetensors"), "{commands}");
    let lines: Vec<String> = read("table.csv").lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4);
    for (line, row) in lines[1..].iter().zip(&second.table.rows) {
        assert_eq!(line.split(',').collect::<Vec<_>>(), *row);
    }
    assert!(read("README.md").contains("Does it go on?") && read("README.md").contains("- everything"));
}

#[test]
fn a_folder_that_holds_something_else_is_refused() {
    let place = Place::new();
    let stop = AtomicBool::new(true);
    assert_eq!(place.open(&SMALL, "out", 1).unwrap().run(&stop, &mut ()).unwrap(), Outcome::Interrupted);
    let error = place.open(&SMALL, "out", 2).unwrap_err().to_string();
    assert!(error.contains("seed 1") && error.contains("seed 2") && error.contains("--output"), "{error}");
    let other = Experiment { name: "other", ..SMALL };
    assert!(place.open(&other, "out", 1).unwrap_err().to_string().contains("holds small"));
    std::fs::create_dir(place.path("full")).unwrap();
    std::fs::write(place.path("full").join("letter"), "dear").unwrap();
    assert!(matches!(place.open(&SMALL, "full", 1), Err(ExperimentError::Mixed { .. })));
    std::fs::create_dir(place.path("empty")).unwrap();
    assert!(place.open(&SMALL, "empty", 1).is_ok());
}

#[test]
fn the_same_run_is_taken_from_a_reproduction_beside() {
    let place = Place::new();
    let other = Experiment { name: "he2015-shortcuts", ..SMALL };
    let name = folder_name(other.name, Scale::Quick, Data::open(&place.data).unwrap().train.name());
    place.open(&other, &name, 1).unwrap().run(&go(), &mut ()).unwrap();
    let mut watch = Watch::default();
    place.open(&SMALL, "same", 1).unwrap().run(&go(), &mut watch).unwrap();
    let is_borrowed =
        |state: &RunState| matches!(state, RunState::IsBorrowed(folder) if folder.ends_with(&name));
    assert!(watch.states.iter().all(|(_, state)| is_borrowed(state)), "{:?}", watch.states);
    let table = |name: &str| std::fs::read(place.path(name).join("table.csv")).unwrap();
    assert!(table("same") == table(&name));
    let mut watch = Watch::default();
    place.open(&SMALL, "another-seed", 2).unwrap().run(&go(), &mut watch).unwrap();
    assert!(watch.states.iter().all(|(_, state)| *state == RunState::Begins), "{:?}", watch.states);
}

#[test]
fn a_run_that_diverges_is_a_result() {
    let place = Place::new();
    let wild = Experiment {
        name: "wild",
        runs: |_| {
            vec![Run::new("resnet-8", "cifar_resnet8", |setting, model| {
                let mut recipe = recipe(setting, model)?;
                recipe.optimiser.lr = 1e30;
                Ok(recipe)
            })]
        },
        ..SMALL
    };
    let outcome = place.open(&wild, "out", 1).unwrap().run(&go(), &mut ()).unwrap();
    let Outcome::Finished(report) = outcome else { panic!("finished") };
    assert_eq!(report.table.rows[0][2], "diverged");

    let heir = Experiment {
        name: "heir",
        runs: |_| {
            let from = "resnet-8".to_owned();
            vec![Run { start: Start::Continued { from }, ..Run::new("next", "cifar_resnet8", recipe) }]
        },
        ..SMALL
    };
    let error = place.open(&heir, "heir", 1).unwrap().run(&go(), &mut ()).unwrap_err();
    assert!(error.to_string().contains("`resnet-8`"), "{error}");
}
