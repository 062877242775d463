//! Every registered network: built, counted, run, trained one step, saved and loaded, answering the same.
#![allow(clippy::print_stdout)] // What was run is worth reading beside the verdict.

use std::path::Path;
use std::time::Instant;

use residuum_classify::{LoadOptions, ModelFile, ModelInfo, load_model, numbers};
use residuum_data::Preprocess;
use residuum_engine::{Engine, EngineOptions, InputShape, SgdStep, TrainingOptions};
use residuum_graph::{Graph, Weights};
use residuum_models::{Entry, Family, entries, formula, initialise};

const CLASSES: usize = 3;
const BATCH: usize = 2;
/// Length of the step, whatever the length of the gradient: with two images of few pixels some are huge.
const STEP: f64 = 1e-3;

/// Gradients of nets this deep overflow at the start where no identity leads around: in the plain net, which is
/// why shortcuts were invented, and with a projection around every block. It is the arithmetic of the
/// definition: for two formula images of 16x16 PyTorch finds a gradient of norm 1.9e90 and 2.1e71 in `f64`, and
/// no number in `f32`, which ends at 3.4e38; with 110 layers it is about 1e8, for other start values.
const UNTRAINABLE: [&str; 2] = ["cifar_plain1202", "cifar_resnet1202c"];

/// The smallest images of which every map of the network has a pixel.
const fn side(family: Family) -> usize {
    match family {
        Family::Cifar => 16,
        Family::ImageNet => 32,
    }
}

fn logits(engine: &Engine, graph: &Graph, weights: &Weights, shape: InputShape) -> Vec<f32> {
    // Statistics of two images hold for these only.
    let images = formula::input("input", &[shape.n, 3, shape.h, shape.w]);
    engine.inference(graph, weights, shape, &[]).unwrap().run(images.data()).to_vec()
}

/// Weights after one step of training from the start values.
fn trained(engine: &Engine, graph: &Graph, shape: InputShape) -> Weights {
    let start = initialise(graph, 1);
    // The running statistics become the batch's, so that evaluation is in the range of training.
    let options = TrainingOptions { norm_momentum: 1.0, ..TrainingOptions::default() };
    let mut training = engine.training(graph, &start, shape, &options).unwrap();
    let images = formula::input("input", &[shape.n, 3, shape.h, shape.w]);
    let result = training.forward_backward(images.data(), &formula::labels(shape.n, CLASSES));
    assert!(result.loss.is_finite(), "{}: loss {}", graph.name(), result.loss);
    let norm = training.gradient_norm();
    if !norm.is_finite() {
        assert!(UNTRAINABLE.contains(&graph.name()), "{}: gradient of norm {norm}", graph.name());
        return training.weights();
    }
    training.update(&SgdStep { lr: STEP / norm, momentum: 0.9, nesterov: false, weight_decay: 1e-4 });
    let weights = training.weights();
    for name in ["conv1.weight", "bn1.running_mean"] {
        assert!(!start.contains_key(name) || weights[name] != start[name], "{}: {name} stays", graph.name());
    }
    weights
}

/// Whether the network answers the same to the bit after a round through a file.
fn check(engine: &Engine, entry: &Entry, folder: &Path) {
    let model = entry.build(Some(CLASSES)).unwrap();
    let (graph, side) = (&model.graph, side(model.family));
    let counts = graph.count(side, side).unwrap();
    assert!(counts.multiply_adds > counts.parameters / 2, "{}: {counts:?}", entry.name);
    let shape = InputShape { n: BATCH, h: side, w: side };
    let weights = trained(engine, graph, shape);
    let before = logits(engine, graph, &weights, shape);
    assert_eq!(before.len(), BATCH * CLASSES);

    let path = folder.join("model.safetensors");
    let info = ModelInfo::new(entry.name.clone(), numbers(CLASSES), Preprocess::cifar10());
    ModelFile { weights, info }.save(&path).unwrap();
    let loaded = load_model(&path, &LoadOptions::default()).unwrap();
    assert_eq!(loaded.model.name, entry.name);
    let after = logits(engine, &loaded.model.graph, &loaded.weights, shape);
    let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&before), bits(&after), "{}", entry.name);
}

#[test]
fn every_registered_network_learns_and_survives_a_file() {
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for entry in entries() {
        let start = Instant::now();
        check(&engine, entry, folder.path());
        println!("{}: {:.1} s", entry.name, start.elapsed().as_secs_f64());
    }
}
