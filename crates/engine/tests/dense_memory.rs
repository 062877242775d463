//! Memory of densely connected networks, whose activations grow with the square of the depth where they are
//! kept, against the account of Pleiss et al. 2017 ("Memory-efficient implementation of `DenseNets`").

#![allow(clippy::print_stdout, reason = "the numbers are what is measured")]

use residuum_engine::{
    ConvAlgorithm, Engine, EngineOptions, InputShape, Recompute, Training, TrainingOptions,
};
use residuum_graph::Graph;
use residuum_kernels::SgdStep;

use residuum_models::densenet::{Cifar, ImageNet, Variant};
use residuum_models::formula;

/// Bytes that have to be kept, by what is computed again: nothing; what is normalised before the first
/// convolution of a layer, and concatenations; what is normalised before the second too.
struct Account {
    naive: usize,
    lean: usize,
    leaner: usize,
}

fn compile(graph: &Graph, shape: InputShape, recompute: Recompute) -> Training {
    compile_by(ConvAlgorithm::Auto, graph, shape, recompute)
}

fn compile_by(conv: ConvAlgorithm, graph: &Graph, shape: InputShape, recompute: Recompute) -> Training {
    let engine = Engine::new(&EngineOptions { conv: Some(conv), ..EngineOptions::default() }).unwrap();
    let options = TrainingOptions { recompute, ..TrainingOptions::default() };
    engine.training(graph, &formula::weights(graph), shape, &options).unwrap()
}

fn batch(n: usize, side: usize) -> InputShape {
    InputShape { n, h: side, w: side }
}

/// Values and gradients have to fit where the account has values only.
fn check(name: &str, graph: &Graph, shape: InputShape, account: &Account) {
    let summary = compile(graph, shape, Recompute::default()).summary();
    let planned = summary.activations_bytes;
    println!(
        "{name}: {planned} bytes planned ({} without sharing); naive {}, lean {}, leaner {}; {summary:?}",
        summary.unshared_bytes, account.naive, account.lean, account.leaner
    );
    assert!(planned <= account.lean, "{name}: {planned} bytes planned, {} allowed", account.lean);
}

#[test]
fn bc_100_12_fits_where_normalised_maps_are_computed_again() {
    let graph = Cifar::new(100, 12, Variant::BC).graph("bc_100_12", 10).unwrap();
    let account = Account { naive: 2_256_470_016, lean: 611_155_968, leaner: 346_914_816 };
    check("BC-100-12", &graph, batch(64, 32), &account);
}

/// Convolutions that normalise their input need no normalised maps, but for these direct ones with windows of 3 x 3.
#[test]
fn normalised_maps_are_computed_again_where_there_are_any() {
    let graph = Cifar::new(100, 12, Variant::BC).graph("bc_100_12", 10).unwrap();
    let planned =
        |conv, recompute| compile_by(conv, &graph, batch(64, 32), recompute).summary().activations_bytes;
    let kept = planned(ConvAlgorithm::Direct, Recompute::Nothing);
    let again = planned(ConvAlgorithm::Direct, Recompute::Normalised);
    assert!(5 * again < 4 * kept, "{again} where maps are computed again, {kept} where they are kept");
    let without = planned(ConvAlgorithm::Auto, Recompute::Nothing);
    assert!(4 * without < 3 * kept, "{without} where most are not there, {kept} where they are");
}

#[test]
fn bc_40_36_fits_where_normalised_maps_are_computed_again() {
    let graph = Cifar::new(40, 36, Variant::BC).graph("bc_40_36", 10).unwrap();
    let account = Account { naive: 1_627_521_024, lean: 700_907_520, leaner: 403_636_224 };
    check("BC-40-36", &graph, batch(64, 32), &account);
}

#[test]
fn densenet121_fits_where_normalised_maps_are_computed_again() {
    let graph = ImageNet { growth: 32, layers: [6, 12, 24, 16] }.graph("densenet121", 1000).unwrap();
    let account = Account { naive: 4_168_220_672, lean: 1_515_716_608, leaner: 963_379_200 };
    check("densenet121", &graph, batch(32, 224), &account);
}

#[test]
fn computing_again_changes_no_bit() {
    let graph = Cifar { dropout: 0.2, ..Cifar::new(22, 8, Variant::BC) }.graph("bc_22_8", 10).unwrap();
    let images = formula::input("input", &[4, 3, 32, 32]);
    let step = SgdStep { lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 1e-4 };
    let train = |recompute| {
        let mut training = compile(&graph, batch(4, 32), recompute);
        let losses =
            [0; 3].map(|_| training.step(images.data(), &formula::labels(4, 10), &step).loss.to_bits());
        (losses, training.weights())
    };
    assert!(train(Recompute::Normalised) == train(Recompute::Nothing));
}
