//! ResNet-20 with real weights on real images: one step's gradients and ten steps of SGD, against PyTorch.

#![allow(clippy::print_stdout, reason = "deviations are worth reading")]

use std::path::PathBuf;

use residuum_data::{Dataset, OpenOptions, Preprocess, Split};
use residuum_engine::{Engine, EngineOptions, InputShape, SgdStep, Training, TrainingOptions};
use residuum_formats::{read_weights, safetensors};
use residuum_graph::Weights;
use residuum_models::formula;
use residuum_tensor::Tensor;
use serde_json::Value;

const IMAGES: usize = 128;
/// Largest relative deviation of gradients, losses, weights and statistics.
const TOLERANCE: f64 = 1e-3;

fn data() -> PathBuf {
    std::env::var_os("RESIDUUM_DATA")
        .map(PathBuf::from)
        .expect("RESIDUUM_DATA names the folder with real data")
}

fn batch() -> (Tensor, Vec<u32>) {
    let path = data().join("data/cifar10/plain_text");
    let set: Dataset =
        residuum_data::open(path.to_str().unwrap(), Split::Test, &OpenOptions::default()).unwrap();
    let preprocess = Preprocess::cifar_imagenet_stats();
    let pixels: Vec<f32> = (0..IMAGES).flat_map(|i| preprocess.apply(&set.image(i).unwrap())).collect();
    (Tensor::new([IMAGES, 3, 32, 32], pixels).unwrap(), (0..IMAGES).map(|i| set.label(i)).collect())
}

fn training() -> Training {
    let file = read_weights(data().join("data/weights/resnet20-12fca82f.th")).unwrap();
    let weights: Weights = file.iter().map(|(name, raw)| (name.to_owned(), raw.to_f32().unwrap())).collect();
    let graph = residuum_models::build("cifar_resnet20.akamaster", None).unwrap().graph;
    let shape = InputShape { n: IMAGES, h: 32, w: 32 };
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    engine.training(&graph, &weights, shape, &TrainingOptions::default()).unwrap()
}

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(data().join("golden/one_step.json")).unwrap()).unwrap()
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn gradients_of_one_step() {
    let ((images, labels), golden, mut training) = (batch(), golden(), training());
    let result = training.forward_backward(images.data(), &labels);
    let loss = golden["loss"].as_f64().unwrap();
    assert!((result.loss - loss).abs() < TOLERANCE * loss, "loss {} instead of {loss}", result.loss);
    let mut worst = (0.0, String::new());
    for (name, want) in golden["gradients"].as_object().unwrap() {
        let gradient = training.gradient(name).expect("every parameter is learned");
        let (norm, probe) = (want["norm"].as_f64().unwrap(), want["probe"].as_f64().unwrap());
        let found = gradient.data().iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        let symmetric = formula::symmetric(&format!("grad.{name}"), gradient.len());
        let found_probe: f64 = gradient.data().iter().zip(symmetric).map(|(&g, w)| f64::from(g) * w).sum();
        let error = ((found - norm).abs() / norm).max((found_probe - probe).abs() / norm);
        if error > worst.0 {
            worst = (error, name.clone());
        }
    }
    println!("largest deviation of a gradient: {:.1e} ({})", worst.0, worst.1);
    assert!(worst.0 < TOLERANCE, "gradient of {} is off by {:.1e}", worst.1, worst.0);
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn ten_steps_of_sgd() {
    let ((images, labels), golden, mut training) = (batch(), golden(), training());
    let step = SgdStep { lr: 0.01, momentum: 0.9, nesterov: false, weight_decay: 1e-4 };
    for want in golden["sgd"]["losses"].as_array().unwrap() {
        let (want, found) = (want.as_f64().unwrap(), training.step(images.data(), &labels, &step).loss);
        assert!((found - want).abs() < TOLERANCE * want, "loss {found} instead of {want}");
    }
    let after = safetensors::read(data().join("golden/one_step.safetensors")).unwrap();
    let weights = training.weights();
    let mut worst: f64 = 0.0;
    for (name, want) in after.iter() {
        let (want, found) = (want.to_f32().unwrap(), &weights[name]);
        let largest = want.data().iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        let difference = want.data().iter().zip(found.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let error = f64::from(difference / largest);
        assert!(error < TOLERANCE, "{name} is off by {error:.1e} after ten steps");
        worst = worst.max(error);
    }
    println!("largest deviation after ten steps: {worst:.1e}");
}
