//! Rewritten networks as model files, and real weights rewritten.
//!
//! The environment variable `RESIDUUM_DATA` names the folder that holds `data/` and `golden/`.
#![allow(clippy::print_stdout, reason = "what was measured is worth reading beside the verdict")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use residuum_classify::{
    Agreement, Classifier, EvaluateOptions, Head, LoadOptions, Loaded, load_model, numbers,
};
use residuum_data::{Dataset, OpenOptions, Preprocess, Split, open};
use residuum_engine::{Engine, EngineOptions};
use residuum_graph::rewrite::{Form, deepen, fold_norm, fold_residual, unfold};
use residuum_graph::{Graph, Weights};
use residuum_models::{entries, formula, initialise};

fn engine() -> Engine {
    Engine::new(&EngineOptions::default()).unwrap()
}

fn small(name: &str) -> Loaded {
    let model = residuum_models::build(name, Some(3)).unwrap();
    let weights = formula::weights(&model.graph);
    Loaded::new(model, weights, ["a", "b", "c"].map(str::to_owned).to_vec(), Preprocess::cifar10())
}

fn agreement(one: &Loaded, other: &Loaded) -> Agreement {
    let [mut one, mut other] = [one, other].map(|loaded| Classifier::new(engine(), loaded.clone()));
    let mut agreement = Agreement::default();
    let images = formula::input("input", &[4, 3, 32, 32]);
    agreement.add(&mut one, &mut other, images.data()).unwrap();
    agreement
}

#[test]
fn every_registered_network_comes_back_from_its_text() {
    for entry in entries().iter().filter(|entry| !entry.name.contains("1202")) {
        let graph = entry.build(None).unwrap().graph;
        assert_eq!(Graph::from_json(&graph.to_json().unwrap()).unwrap(), graph, "{}", entry.name);
    }
}

#[test]
fn a_folded_network_is_an_ordinary_model_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folded.safetensors");
    let loaded = small("cifar_resnet8.akamaster");
    let folded = loaded.rewritten(fold_residual(&loaded.model.graph, &loaded.weights).unwrap(), "folded");
    folded.save(&path).unwrap();
    let read = load_model(&path, &LoadOptions::default()).unwrap();
    assert_eq!(read.model.name, "cifar_resnet8.akamaster+folded");
    assert_eq!((&read.model.graph, &read.weights), (&folded.model.graph, &folded.weights));
    assert_eq!((&read.info.class_names, read.info.preprocess.crop), (&loaded.info.class_names, 32));
    let found = agreement(&loaded, &read);
    assert!(found.same_class == 4 && found.largest_difference < 1e-5 * found.largest_logit, "{found:?}");

    // It can be named only by its own name, and its last layer can be replaced.
    let named = |name| load_model(&path, &LoadOptions { model: Some(name), head: Head::Keep });
    assert!(named("cifar_resnet8.akamaster+folded").is_ok());
    assert!(named("cifar_resnet8.akamaster").unwrap_err().to_string().contains("leave out --model"));
    let head = Head::Replace { classes: 5, seed: 1 };
    let replaced = load_model(&path, &LoadOptions { model: None, head }).unwrap();
    assert_eq!((replaced.classes(), &replaced.info.class_names), (5, &numbers(5)));
}

#[test]
fn a_deepened_network_is_the_registered_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deeper.safetensors");
    let loaded = small("cifar_resnet8");
    let start = |graph: &Graph| initialise(graph, 3);
    let deeper = loaded.rewritten(
        deepen(&loaded.model.graph, &loaded.weights, 2, &BTreeMap::new(), start).unwrap(),
        "deepened",
    );
    deeper.save(&path).unwrap();
    let read = load_model(&path, &LoadOptions::default()).unwrap();
    assert_eq!((read.model.name.as_str(), &read.info.graph), ("cifar_resnet20", &None));
    assert!(agreement(&loaded, &read).largest_difference <= 0.0);
}

#[test]
fn a_stored_graph_that_is_damaged_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let loaded = small("cifar_resnet8");
    let mut folded = loaded.rewritten(fold_norm(&loaded.model.graph, &loaded.weights).unwrap(), "folded");
    folded.weights.remove("conv1.bias");
    folded.save(&path).unwrap();
    let error = load_model(&path, &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("conv1.bias") && error.contains("missing"), "{error}");
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(10).position(|part| part == b"batch_norm").is_some();
    assert!(!at, "no norm is left");
    let at = bytes.windows(8).position(|part| part == b"pad_chan").unwrap();
    let mut damaged = bytes;
    damaged[at] = b'q';
    std::fs::write(&path, damaged).unwrap();
    let error = load_model(&path, &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("residuum.graph") && error.contains("qad_chan"), "{error}");
}

fn shared(path: &str) -> PathBuf {
    let folder =
        std::env::var_os("RESIDUUM_DATA").expect("RESIDUUM_DATA names the folder with data/ and golden/");
    PathBuf::from(folder).join(path)
}

fn cifar10() -> Dataset {
    let path = shared("data/cifar10/plain_text");
    open(path.to_str().unwrap(), Split::Test, &OpenOptions::default()).unwrap()
}

fn real(net: &str) -> Loaded {
    let golden = residuum_formats::disk::read(shared("golden/real.json"), 64 << 20).unwrap();
    let golden: serde_json::Value = serde_json::from_slice(&golden).unwrap();
    let weights = shared("data/weights").join(golden["nets"][net]["weights"].as_str().unwrap());
    let name = format!("cifar_{net}.akamaster");
    load_model(weights, &LoadOptions { model: Some(&name), head: Head::Keep }).unwrap()
}

/// The class of every test image, and the largest difference of the logits of the first 500 to those of
/// another network.
fn compare(what: &str, before: &Loaded, after: &Loaded) -> f64 {
    let data = cifar10();
    let options = EvaluateOptions { batch_size: 100, ..EvaluateOptions::default() };
    let [mut one, mut other] = [before, after].map(|loaded| Classifier::new(engine(), loaded.clone()));
    let [first, second] = [&mut one, &mut other]
        .map(|classifier| classifier.evaluate(&data, &options, |_| ()).unwrap().predicted);
    let same = first.iter().zip(&second).filter(|(a, b)| a == b).count();
    let mut agreement = Agreement::default();
    let preprocess = before.info.preprocess.clone();
    for start in (0..500).step_by(100) {
        let batch: Vec<f32> =
            (start..start + 100).flat_map(|i| preprocess.apply(&data.image(i).unwrap())).collect();
        agreement.add(&mut one, &mut other, &batch).unwrap();
    }
    println!("{what}: {same} of {} equal; {agreement:?}", first.len());
    assert_eq!((same, first.len()), (10_000, 10_000), "{what}");
    agreement.largest_difference / agreement.largest_logit
}

fn bits(weights: &Weights) -> Vec<(&str, Vec<u32>)> {
    let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect();
    weights.iter().map(|(name, tensor)| (name.as_str(), bits(tensor.data()))).collect()
}

fn folds_and_unfolds(net: &str) {
    let loaded = real(net);
    let (graph, weights) = (&loaded.model.graph, &loaded.weights);
    let folded = loaded.rewritten(fold_residual(graph, weights).unwrap(), "folded");
    let (residual, cut) = unfold(&folded.model.graph, &folded.weights, Form::Thin).unwrap();
    let (want, norms) = fold_norm(graph, weights).unwrap();
    assert_eq!((residual.nodes(), residual.params()), (want.nodes(), want.params()));
    assert_eq!(bits(&cut), bits(&norms));
    assert!(compare(&format!("{net} folded"), &loaded, &folded) < 1e-5);
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn resnet20_folds_to_the_same_predictions_and_back_to_the_same_bits() {
    folds_and_unfolds("resnet20");
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn resnet56_folds_to_the_same_predictions_and_back_to_the_same_bits() {
    folds_and_unfolds("resnet56");
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn resnet20_deepened_to_56_layers_has_the_same_predictions() {
    let loaded = real("resnet20");
    let start = |graph: &Graph| initialise(graph, 0);
    let deeper = deepen(&loaded.model.graph, &loaded.weights, 6, &BTreeMap::new(), start).unwrap();
    let deeper = loaded.rewritten(deeper, "deepened");
    assert_eq!(deeper.model.name, "cifar_resnet56.akamaster");
    assert!(compare("resnet20 deepened", &loaded, &deeper) <= 0.0);
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn resnet20_in_residual_forms_of_its_plain_one_has_the_same_predictions() {
    let loaded = real("resnet20");
    let (plain, weights) = fold_residual(&loaded.model.graph, &loaded.weights).unwrap();
    for form in [Form::OneConvolution, Form::TwoConvolutions] {
        let residual = loaded.rewritten(unfold(&plain, &weights, form).unwrap(), "residual");
        assert!(compare(&format!("resnet20, {form:?}"), &loaded, &residual) < 1e-5);
    }
}
