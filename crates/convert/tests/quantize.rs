//! Networks in bytes: real weights on real images, and what the options do.
//!
//! The environment variable `RESIDUUM_DATA` names the folder that holds `data/`.
#![allow(clippy::print_stdout)] // What was measured is worth reading beside the verdict.

use std::path::PathBuf;

use residuum_classify::{Classifier, EvaluateOptions, Head, LoadOptions, Loaded, load_model, numbers};
use residuum_convert::{Method, QuantizeOptions, quantize};
use residuum_data::{Dataset, OpenOptions, Preprocess, Split, open, shapes};
use residuum_engine::{Engine, EngineOptions};
use residuum_models::{build, formula};

const METHODS: [Method; 3] = [Method::Mse, Method::Percentile(99.99), Method::MinMax];

fn engine() -> Engine {
    Engine::new(&EngineOptions::default()).unwrap()
}

fn shared(path: &str) -> PathBuf {
    let folder = std::env::var_os("RESIDUUM_DATA").expect("RESIDUUM_DATA names the folder with data/");
    PathBuf::from(folder).join(path)
}

fn cifar10(split: Split) -> Dataset {
    open(shared("data/cifar10/plain_text").to_str().unwrap(), split, &OpenOptions::default()).unwrap()
}

fn top1(loaded: &Loaded, data: &Dataset) -> f64 {
    let mut classifier = Classifier::new(engine(), loaded.clone());
    classifier.evaluate(data, &EvaluateOptions::default(), |_| ()).unwrap().top1()
}

/// All test images, calibrated by training images; each method loses less than 0.3 percent.
fn real(file: &str, name: &str, expected: f64) {
    let path = shared("data/weights").join(file);
    let loaded = load_model(path, &LoadOptions { model: Some(name), head: Head::Keep }).unwrap();
    let (train, test) = (cifar10(Split::Train), cifar10(Split::Test));
    for method in METHODS {
        let options = QuantizeOptions { method, images: 512, seed: 0 };
        let quantized = quantize(&engine(), &loaded, &train, &options, |_, _| ()).unwrap();
        let found = top1(&quantized.loaded, &test);
        println!("{name}, {method:?}: {expected} % become {found:.2} %");
        assert_eq!(quantized.images, 512);
        assert!((found - expected).abs() <= 0.3, "{name}, {method:?}: {expected} % became {found:.2} %");
    }
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn resnet20_in_bytes_keeps_its_accuracy() {
    real("resnet20-12fca82f.th", "cifar_resnet20.akamaster", 91.73);
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn resnet56_in_bytes_keeps_its_accuracy() {
    real("resnet56-4bfd9763.th", "cifar_resnet56.akamaster", 93.39);
}

fn example() -> Loaded {
    let model = build("cifar_resnet8", Some(10)).unwrap();
    let weights = formula::weights(&model.graph);
    Loaded::new(model, weights, numbers(10), Preprocess::cifar10())
}

#[test]
fn noise_is_small_and_told_for_every_value_and_the_answer() {
    let data = shapes(0, Split::Test).subset(&(0..60).collect::<Vec<_>>());
    for method in METHODS {
        let options = QuantizeOptions { method, images: 40, seed: 1 };
        let mut last = (0, 0);
        let quantized = quantize(&engine(), &example(), &data, &options, |done, total| {
            assert!(done <= total && done > last.0);
            last = (done, total);
        })
        .unwrap();
        assert_eq!((last.0, quantized.images), (last.1, 40));
        let quantization = quantized.loaded.info.quantization.as_ref().unwrap();
        assert_eq!(quantized.layers.len(), quantization.activations.len() + 1);
        assert!(
            quantized.layers.iter().all(|layer| layer.signal_to_noise_db > 15.0),
            "{:?}",
            quantized.layers
        );
        assert_eq!(quantized.loaded.model.name, "cifar_resnet8+int8");
        let (before, after) = (example().tensor_bytes().unwrap(), quantized.loaded.tensor_bytes().unwrap());
        assert!(after * 3 < before, "{before} bytes became {after}");
    }
}

#[test]
fn the_same_pictures_and_seed_make_the_same_network() {
    let data = shapes(0, Split::Test).subset(&(0..50).collect::<Vec<_>>());
    let run = |threads: usize, seed| {
        let engine =
            Engine::new(&EngineOptions { threads: Some(threads), ..EngineOptions::default() }).unwrap();
        let options = QuantizeOptions { method: Method::Mse, images: 20, seed };
        quantize(&engine, &example(), &data, &options, |_, _| ()).unwrap().loaded
    };
    assert_eq!(run(1, 3), run(2, 3));
    assert_ne!(run(1, 3).info.quantization, run(1, 4).info.quantization);
}

#[test]
fn a_network_in_bytes_is_not_quantised_again() {
    let data = shapes(0, Split::Test).subset(&[0, 1, 2]);
    let options = QuantizeOptions { method: Method::MinMax, images: 3, seed: 0 };
    let loaded = quantize(&engine(), &example(), &data, &options, |_, _| ()).unwrap().loaded;
    let error = quantize(&engine(), &loaded, &data, &options, |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("int8") && error.contains("quantize"), "{error}");
}

#[test]
fn weights_that_are_not_finite_are_told() {
    let mut loaded = example();
    loaded.weights.get_mut("conv1.weight").unwrap().data_mut()[0] = f32::INFINITY;
    let data = shapes(0, Split::Test).subset(&[0, 1, 2]);
    let options = QuantizeOptions { method: Method::MinMax, images: 3, seed: 0 };
    let error = quantize(&engine(), &loaded, &data, &options, |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("not finite"), "{error}");
}
