//! Networks in bytes: against the plain evaluation whose values are put onto the same grids, the same bits on every
//! instruction set and for any number of threads.

use std::collections::BTreeMap;

use residuum_engine::reference::{Feed, evaluate, evaluate_with};
use residuum_engine::{Draws, Engine, EngineOptions, InputShape, Isa, calibrated};
use residuum_graph::rewrite::fold_norm;
use residuum_graph::{Graph, Quantization, Weights, multiple};
use residuum_models::formula;
use residuum_tensor::{Quantizer, Tensor};

const SHAPE: InputShape = InputShape { n: 2, h: 32, w: 32 };

/// A folded network whose weights lie on grids, and grids for its values by their ranges.
struct Net {
    graph: Graph,
    weights: Weights,
    quantization: Quantization,
    images: Tensor,
    /// The value of every node in `f64`, of the floating-point network.
    exact: Vec<Vec<f64>>,
    /// The same with all values put onto their grids.
    rounded: Vec<Vec<f64>>,
}

fn wide(weights: &Weights) -> BTreeMap<String, Vec<f64>> {
    let widen = |tensor: &Tensor| tensor.data().iter().map(|&x| f64::from(x)).collect();
    weights.iter().map(|(name, tensor)| (name.clone(), widen(tensor))).collect()
}

fn net(name: &str) -> Net {
    let model = residuum_models::build(name, Some(10)).unwrap();
    let start = formula::weights(&model.graph);
    let (graph, mut weights) = fold_norm(&model.graph, &start).unwrap();
    let images = formula::input("input", &[SHAPE.n, 3, SHAPE.h, SHAPE.w]);
    let pixels: Vec<f64> = images.data().iter().map(|&x| f64::from(x)).collect();
    let mut feed = Feed {
        weights: &wide(&weights),
        images: &pixels,
        shape: [SHAPE.n, SHAPE.h, SHAPE.w],
        labels: &[],
        label_smoothing: 0.0,
        seed: &[],
        draws: Draws::new(0, 0),
        gates: None,
    };
    let exact = evaluate(&graph, &feed).unwrap();
    let mut quantization = Quantization::default();
    for name in calibrated(&graph) {
        let values = &exact[graph.find(&name).unwrap().index()];
        let least = values.iter().copied().fold(0.0, f64::min);
        let greatest = values.iter().copied().fold(0.0, f64::max);
        quantization.activations.insert(name, Quantizer::covering(least as f32, greatest as f32));
    }
    for (name, tensor) in weights.iter_mut().filter(|(_, tensor)| tensor.shape().len() > 1) {
        let per_channel = tensor.len() / tensor.shape()[0];
        let scales: Vec<f32> = tensor
            .data()
            .chunks(per_channel)
            .map(|channel| channel.iter().fold(1e-6f32, |most, w| most.max(w.abs())) / 127.0)
            .collect();
        for (channel, &scale) in tensor.data_mut().chunks_mut(per_channel).zip(&scales) {
            for w in channel {
                *w = f32::from(multiple(*w, scale)) * scale;
            }
        }
        quantization.weights.insert(name.clone(), scales);
    }
    let wide = wide(&weights);
    feed.weights = &wide;
    let rounded = evaluate_with(&graph, &feed, |id, values| {
        if let Some(grid) = quantization.activations.get(&graph.node(id).name) {
            values.iter_mut().for_each(|x| *x = f64::from(grid.number(grid.byte(*x as f32))));
        }
    })
    .unwrap();
    Net { graph, weights, quantization, images, exact, rounded }
}

fn engine(threads: usize, isa: Isa) -> Engine {
    Engine::new(&EngineOptions { threads: Some(threads), isa: Some(isa), ..EngineOptions::default() })
        .unwrap()
}

/// Energy of the values over that of the differences, in decibels.
fn signal_to_noise(values: &[f64], found: &[f32]) -> f64 {
    let energy: f64 = values.iter().map(|x| x * x).sum();
    let noise: f64 = values.iter().zip(found).map(|(x, &y)| (x - f64::from(y)).powi(2)).sum();
    10.0 * (energy / noise.max(f64::MIN_POSITIVE)).log10()
}

/// Kinds of steps that a network is made of.
fn kinds(net: &Net) -> Vec<String> {
    let program =
        engine(1, Isa::detect()).quantized_inference(&net.graph, &net.weights, &net.quantization, SHAPE, &[]);
    program.unwrap().profile(net.images.data()).into_iter().map(|step| step.kind).collect()
}

/// Every family: plain, projection and padded shortcuts, pre-activation, wide, bottlenecks, groups, gates, dense.
const NAMES: [&str; 8] = [
    "cifar_resnet20",
    "cifar_resnet20b",
    "cifar_preact20",
    "wrn_16_1",
    "resnet18",
    "resnext50_32x4d",
    "seresnet18",
    "densenet_bc_40_12",
];

#[test]
fn every_family_answers_as_the_plain_evaluation_on_the_same_grids() {
    for name in NAMES {
        let net = net(name);
        let last = net.graph.output().index();
        let mut program = engine(2, Isa::detect())
            .quantized_inference(&net.graph, &net.weights, &net.quantization, SHAPE, &[])
            .unwrap();
        let answer = program.run(net.images.data()).to_vec();
        // Ties go either way, and the layers behind make noise of their own of the difference; there is no more of it.
        let (engine, whole) =
            (signal_to_noise(&net.rounded[last], &answer), signal_to_noise(&net.exact[last], &answer));
        let possible: Vec<f32> = net.rounded[last].iter().map(|&x| x as f32).collect();
        let own = signal_to_noise(&net.exact[last], &possible);
        println!("{name}: {whole:.1} dB, the grids' own {own:.1} dB; {engine:.1} dB from each other");
        assert!(whole > own - 1.5 && engine > own - 1.5, "{name}: {whole} dB, the grids' own {own} dB");
    }
}

#[test]
fn every_layer_of_a_residual_network_has_the_noise_of_its_grids() {
    let net = net("cifar_resnet20");
    let taps: Vec<String> = net.quantization.activations.keys().cloned().collect();
    let mut program = engine(2, Isa::detect())
        .quantized_inference(&net.graph, &net.weights, &net.quantization, SHAPE, &taps)
        .unwrap();
    program.run(net.images.data());
    for (name, grid) in &net.quantization.activations {
        let found = program.tap(name).unwrap();
        let expected = &net.rounded[net.graph.find(name).unwrap().index()];
        let exact = &net.exact[net.graph.find(name).unwrap().index()];
        let possible: Vec<f32> = expected.iter().map(|&x| x as f32).collect();
        let (whole, own) = (signal_to_noise(exact, found.data()), signal_to_noise(exact, &possible));
        assert!(whole > own - 1.5, "{name}: {whole:.1} dB, the grids' own {own:.1} dB");
        // A value of the first layers is rounded as the plain one, but for ties.
        if name == "input" || name == "relu" {
            let off = expected.iter().zip(found.data()).map(|(x, &y)| (x - f64::from(y)).abs());
            let most = off.fold(0.0, f64::max) / f64::from(grid.scale);
            assert!(most < 1.5, "{name}: off by {most} points");
        }
    }
}

#[test]
fn bits_depend_neither_on_the_instruction_set_nor_on_threads() {
    for name in ["cifar_resnet20", "resnet18"] {
        let net = net(name);
        let run = |threads, isa| {
            let mut program = engine(threads, isa)
                .quantized_inference(&net.graph, &net.weights, &net.quantization, SHAPE, &[])
                .unwrap();
            program.run(net.images.data()).iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
        };
        let expected = run(1, Isa::detect());
        for isa in Isa::available() {
            for threads in [1, 2, 3] {
                assert_eq!(run(threads, isa), expected, "{name}, {isa}, {threads} threads");
            }
        }
    }
}

#[test]
fn residual_networks_are_in_bytes_from_end_to_end() {
    for name in ["cifar_resnet20", "resnet18", "resnext50_32x4d"] {
        let kinds = kinds(&net(name));
        let others: Vec<&String> = kinds.iter().filter(|kind| !kind.contains("int8")).collect();
        // The mean of the last map becomes bytes for the classifier.
        assert_eq!(others, ["quantize"], "{name}");
    }
}

#[test]
fn a_layer_without_grids_stays_in_floats() {
    let mut net = net("cifar_resnet20");
    net.quantization.weights.remove("layer2.0.conv1.weight");
    net.quantization.activations.remove("layer3.1.relu2");
    let name = net.quantization.activations.keys().find(|name| name.contains("layer3.1")).cloned();
    name.and_then(|name| net.quantization.activations.remove(&name));
    let kinds = kinds(&net);
    let direct = kinds.iter().filter(|kind| kind.starts_with("conv, ") && !kind.contains("int8")).count();
    assert!(direct >= 2 && kinds.iter().any(|kind| kind == "dequantize"), "{kinds:?}");
}
