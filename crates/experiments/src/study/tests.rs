use residuum_data::{Preprocess, Split, shapes};
use residuum_engine::EngineOptions;
use residuum_graph::Graph;
use residuum_models::preact::{Cifar, Layers, Order, Skip};
use residuum_models::resnet::{Shortcut, StrideIn};
use residuum_models::{Model, build, formula};

use super::*;

const IMAGES: usize = 150;

fn model(name: &str) -> Model {
    if name != "preact20" {
        return build(name, Some(10)).unwrap();
    }
    let net = Cifar {
        n: 2,
        layers: Layers::Bottleneck(StrideIn::First),
        order: Order::FullPreact,
        shortcut: Shortcut::Projection,
        skip: Skip::Identity,
    };
    let graph: Graph = net.graph(name, 10).unwrap();
    Model { name: name.into(), graph, ..build("cifar_preact14", Some(10)).unwrap() }
}

fn loaded(name: &str) -> Loaded {
    let model = model(name);
    let weights = formula::weights(&model.graph);
    let names = shapes(0, Split::Test)
        .classes()
        .iter()
        .chain(&vec![String::from("none"); 10])
        .take(10)
        .cloned()
        .collect();
    Loaded::new(model, weights, names, Preprocess::cifar10())
}

struct Place {
    folder: tempfile::TempDir,
    engine: Engine,
    loaded: Loaded,
}

impl Place {
    fn new(name: &str) -> Self {
        let engine = Engine::new(&EngineOptions { threads: Some(2), ..EngineOptions::default() }).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), engine, loaded: loaded(name) }
    }

    fn options(&self, name: &str, channels: Channels) -> StudyOptions {
        let output = Some(self.folder.path().join(name));
        StudyOptions { data: "shapes".into(), images: Some(IMAGES), channels, output }
    }

    fn open(&self, name: &str, channels: Channels) -> Result<Examination<'_>> {
        let study = &crate::papers::CHU2017;
        Examination::open(&self.engine, study, &self.loaded, &self.options(name, channels))
    }

    fn read(&self, name: &str) -> Vec<u8> {
        disk::read(self.folder.path().join(name), MAX_FILE_BYTES).unwrap()
    }
}

/// Stops when so much is done.
struct StopAfter<'a> {
    stop: &'a AtomicBool,
    images: u64,
}

impl Observer for StopAfter<'_> {
    fn on_progress(&mut self, what: &str, done: u64, _all: u64) {
        if what == "pictures seen" && done >= self.images {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn every_kind_of_net_is_followed_through_its_blocks() {
    for name in ["cifar_resnet14", "cifar_bottleneck20", "cifar_preact14", "preact20"] {
        let place = Place::new(name);
        let examination = place.open("out", Channels::MostVaried(1)).unwrap();
        let Outcome::Finished(report) = examination.run(&AtomicBool::new(false), &mut ()).unwrap() else {
            panic!("{name} is not done")
        };
        assert_eq!((report.images, report.shown.len()), (IMAGES, 3), "{name}");
        assert_eq!(report.table.rows.len(), 6, "{name}");
        // Never across a stage's end: the first block of each stage has nothing before it.
        let firsts: Vec<bool> = report.table.rows.iter().map(|row| row[4] == "-").collect();
        assert_eq!(firsts, [true, false, true, false, true, false], "{name}");
        let page = String::from_utf8(place.read("out/report.html")).unwrap();
        assert_eq!(page.matches("<img alt=\"").count(), 3, "{name}");
        // Nothing is loaded from elsewhere.
        assert_eq!(page.matches("=\"http").count(), page.matches("xmlns=\"").count());
        let lines = String::from_utf8(place.read("out/blocks.csv")).unwrap();
        assert!(lines.lines().count() == 7 && !lines.contains("NaN"), "{lines}");
        assert!(page.contains("<svg") && page.contains("lang=\"en\"") && page.contains("layer3.1"));
        let units = String::from_utf8(place.read("out/units.csv")).unwrap();
        assert_eq!(units.lines().count(), 1 + 3 * 2 * 9, "{name}");
        for shown in &report.shown {
            let array =
                residuum_formats::npy::read(place.folder.path().join("out").join(&shown.array)).unwrap();
            assert_eq!(array.shape(), [2, 9, 3, 32, 32], "{name}");
            assert_eq!(&place.read(&format!("out/{}", shown.picture))[1..4], b"PNG");
        }
        let again = examination.run(&AtomicBool::new(false), &mut ()).unwrap();
        assert_eq!(again, Outcome::WasDone(report));
    }
}

#[test]
fn what_was_stopped_goes_on_to_the_same_bytes() {
    let place = Place::new("cifar_preact14");
    let channels = Channels::These(vec![3, 20]);
    let whole = place.open("whole", channels.clone()).unwrap();
    let Outcome::Finished(report) = whole.run(&AtomicBool::new(false), &mut ()).unwrap() else {
        panic!("whole")
    };
    // Channel 20 is none of the first stage's.
    assert_eq!(report.shown.len(), 5);
    let cut = place.open("cut", channels.clone()).unwrap();
    for images in [1, 100] {
        let stop = AtomicBool::new(false);
        let outcome = cut.run(&stop, &mut StopAfter { stop: &stop, images }).unwrap();
        assert_eq!(outcome, Outcome::Interrupted);
        assert!(!disk::exists(cut.folder().join(RESULT)));
    }
    // Between the pictures.
    assert_eq!(cut.run(&AtomicBool::new(true), &mut ()).unwrap(), Outcome::Interrupted);
    assert_eq!(cut.run(&AtomicBool::new(false), &mut ()).unwrap(), Outcome::Finished(report.clone()));
    for name in
        ["survey.json", "units.csv", "refinement.svg", "blocks.csv", "report.html", &report.shown[4].array]
    {
        assert!(place.read(&format!("whole/{name}")) == place.read(&format!("cut/{name}")), "{name}");
    }
    // Other channels of the same survey are added.
    let more = place.open("whole", Channels::These(vec![5])).unwrap();
    let Outcome::Finished(report) = more.run(&AtomicBool::new(false), &mut ()).unwrap() else {
        panic!("more")
    };
    assert_eq!(report.shown.iter().map(|shown| shown.channel).collect::<Vec<_>>(), [5, 5, 5]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let place = Place::new("cifar_resnet14");
    let refused = |result: Result<Examination<'_>>| result.unwrap_err().to_string();
    let text = refused(place.open("out", Channels::These(vec![64])));
    assert!(text.contains("layer3 (0 to 63)") && text.contains("found 64"), "{text}");
    disk::create_dir_all(place.folder.path().join("taken/inner")).unwrap();
    let text = refused(place.open("taken", Channels::MostVaried(1)));
    assert!(text.contains("--output"), "{text}");
    let examination = place.open("out", Channels::MostVaried(1)).unwrap();
    examination.run(&AtomicBool::new(true), &mut ()).unwrap();
    let other = Place { loaded: loaded("cifar_resnet8"), ..Place::new("cifar_resnet8") };
    let options = place.options("out", Channels::MostVaried(1));
    let study = &crate::papers::CHU2017;
    let text = refused(Examination::open(&other.engine, study, &other.loaded, &options));
    assert!(text.contains("another network"), "{text}");
    let plain = Place::new("cifar_plain8");
    let text = refused(plain.open("out", Channels::MostVaried(1)));
    assert!(text.contains("residual blocks"), "{text}");
}
