//! Stochastic depth and recomputation: what is left out or done twice changes no result.

use std::collections::BTreeMap;

use residuum_engine::{
    Draws, Engine, EngineOptions, InputShape, Recompute, SgdStep, Training, TrainingOptions, reference,
};
use residuum_graph::{Builder, ConvSpec, Differentiation, DropRule, Graph, NodeId, Op};
use residuum_models::formula;

const SHAPE: InputShape = InputShape { n: 4, h: 9, w: 8 };

/// A unit of two convolutions, post-activation or pre-activation, whose branch survives with probability ½.
fn unit(g: &mut Builder, index: usize, x: NodeId, channels: usize, stride: usize, pre: bool) -> NodeId {
    let name = |part: &str| format!("unit{index}.{part}");
    let mut h = x;
    if pre {
        h = g.batch_norm(&name("bn0"), h).unwrap();
        h = g.relu(&name("relu0"), h);
    }
    let activated = h;
    h = g.conv(&name("conv1"), h, ConvSpec::new(channels, 3, stride)).unwrap();
    h = g.batch_norm(&name("bn1"), h).unwrap();
    h = g.relu(&name("relu1"), h);
    h = g.conv(&name("conv2"), h, ConvSpec::new(channels, 3, 1)).unwrap();
    if !pre {
        h = g.batch_norm(&name("bn2"), h).unwrap();
    }
    h = g.drop_path(&name("drop"), h, 0.5, DropRule::Paper).unwrap();
    let mut shortcut = x;
    if stride != 1 || g.channels("unit", x).unwrap() != channels {
        // A pre-activated unit shares its activation with the projection.
        shortcut = g
            .conv(&name("down"), if pre { activated } else { x }, ConvSpec::new(channels, 1, stride))
            .unwrap();
        if !pre {
            shortcut = g.batch_norm(&name("down_bn"), shortcut).unwrap();
        }
    }
    let y = g.add(&name("add"), h, shortcut).unwrap();
    if pre { y } else { g.relu(&name("relu2"), y) }
}

fn network(pre: bool) -> Graph {
    let mut g = Builder::new("gated");
    let mut x = g.input(3);
    x = g.conv("stem", x, ConvSpec::new(4, 3, 1)).unwrap();
    x = g.batch_norm("stem_bn", x).unwrap();
    x = g.relu("stem_relu", x);
    x = unit(&mut g, 0, x, 4, 1, pre);
    x = unit(&mut g, 1, x, 6, 2, pre);
    x = unit(&mut g, 2, x, 6, 1, pre);
    x = g.global_avg_pool("pool", x).unwrap();
    let out = g.linear("fc", x, 5).unwrap();
    g.finish(out).unwrap()
}

fn training(graph: &Graph, recompute: Recompute) -> Training {
    let engine = Engine::new(&EngineOptions { threads: Some(2), ..EngineOptions::default() }).unwrap();
    let options = TrainingOptions { recompute, norm_momentum: 1.0, seed: 3, ..TrainingOptions::default() };
    engine.training(graph, &formula::weights(graph), SHAPE, &options).unwrap()
}

fn images() -> Vec<f32> {
    formula::input("input", &[SHAPE.n, 3, SHAPE.h, SHAPE.w]).data().to_vec()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// Loss and every gradient in `f64`, nothing left out: a closed branch is computed and multiplied by zero.
fn in_f64(graph: &Graph, gates: &[bool]) -> (f64, BTreeMap<String, Vec<f64>>) {
    let derived = graph.differentiate(&Differentiation::default()).unwrap();
    let weights: BTreeMap<String, Vec<f64>> =
        formula::weights(graph).iter().map(|(name, tensor)| (name.clone(), wide(tensor.data()))).collect();
    let feed = reference::Feed {
        weights: &weights,
        images: &wide(&images()),
        shape: [SHAPE.n, SHAPE.h, SHAPE.w],
        labels: &formula::labels(SHAPE.n, 5),
        label_smoothing: 0.0,
        seed: &[],
        draws: Draws::new(0, 0),
        gates: Some(gates),
    };
    let values = reference::evaluate(&derived.graph, &feed).unwrap();
    let gradient = |g: &residuum_graph::ParamGradient| {
        let param = graph.param(g.param);
        let value = &values[g.node.index()];
        let row = g.row.unwrap_or(0);
        (param.name.clone(), value[row * param.len()..(row + 1) * param.len()].to_vec())
    };
    (values[derived.graph.output().index()][0], derived.gradients.iter().map(gradient).collect())
}

/// For every combination of gates: gradients are those of the whole computation, those of closed branches
/// are zero, and their statistics stand still.
#[test]
fn a_dropped_branch_is_as_if_multiplied_by_zero() {
    for (pre, combination) in [false, true].into_iter().flat_map(|pre| (0..8).map(move |bits| (pre, bits))) {
        let graph = network(pre);
        let gates: Vec<bool> = (0..3).map(|gate| combination >> gate & 1 == 1).collect();
        let (loss, gradients) = in_f64(&graph, &gates);
        let mut program = training(&graph, Recompute::Nothing);
        program.set_gates(Some(gates.clone()));
        let result = program.forward_backward(&images(), &formula::labels(SHAPE.n, 5));
        assert!((result.loss - loss).abs() < 1e-4, "{gates:?}: loss {} instead of {loss}", result.loss);
        for (name, want) in &gradients {
            let found = program.gradient(name).unwrap();
            let largest = want.iter().fold(1e-3, |max: f64, x| max.max(x.abs()));
            for (&found, want) in found.data().iter().zip(want) {
                assert!(
                    (f64::from(found) - want).abs() < 2e-3 * largest,
                    "{gates:?} {pre}: gradient of {name}"
                );
            }
        }
        for (index, is_open) in gates.iter().enumerate() {
            let moved =
                program.weights()[&format!("unit{index}.bn1.running_mean")].data().iter().any(|&x| x != 0.0);
            assert_eq!(moved, *is_open, "{gates:?}: statistics of unit {index}");
        }
    }
}

/// Skipped steps write nothing, so what earlier runs left behind must not be read.
#[test]
fn closing_and_opening_leaves_no_trace() {
    for pre in [false, true] {
        let graph = network(pre);
        let gradients = |training: &mut Training, gates: [bool; 3]| {
            training.set_gates(Some(gates.to_vec()));
            training.forward_backward(&images(), &formula::labels(SHAPE.n, 5));
            let names = graph.params().iter().filter(|param| param.role.is_learned());
            names.map(|param| training.gradient(&param.name).unwrap()).collect::<Vec<_>>()
        };
        let fresh = gradients(&mut training(&graph, Recompute::Nothing), [true, false, true]);
        let mut used = training(&graph, Recompute::Nothing);
        for gates in [[true; 3], [false; 3], [false, true, false]] {
            gradients(&mut used, gates);
        }
        assert_eq!(fresh, gradients(&mut used, [true, false, true]));
    }
}

#[test]
fn evaluation_multiplies_by_the_probability_of_survival() {
    let graph = network(false);
    let weights = formula::weights(&graph);
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let answer = |weights| {
        let mut program = engine.inference(&graph, weights, SHAPE, &[]).unwrap();
        program.run(&images()).to_vec()
    };
    // By the paper's rule, p·f; the same as f with the last norm's scale and shift multiplied by p.
    let (plain, _) = graph.bypass(|node| matches!(node.op, Op::DropPath(_)).then_some(0));
    let mut halved = weights.clone();
    for (name, tensor) in &mut halved {
        if name.contains(".bn2.weight") || name.contains(".bn2.bias") {
            tensor.data_mut().iter_mut().for_each(|value| *value *= 0.5);
        }
    }
    let mut program = engine.inference(&plain, &halved, SHAPE, &[]).unwrap();
    let expected = program.run(&images()).to_vec();
    for (found, expected) in answer(&weights).iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{found} instead of {expected}");
    }
}

/// Three steps with random branches, dropout and recomputation give the same bits as without the latter, and
/// a run that is continued draws what the uninterrupted one draws.
#[test]
fn recomputation_and_resumption_change_no_bit() {
    let mut g = Builder::new("random");
    let x = g.input(3);
    let mut x = g.conv("stem", x, ConvSpec::new(4, 3, 1)).unwrap();
    for index in 0..2 {
        x = unit(&mut g, index, x, 4, 1, index == 1);
        let h = g.batch_norm(&format!("dense{index}.norm"), x).unwrap();
        let h = g.relu(&format!("dense{index}.relu"), h);
        let h = g.conv(&format!("dense{index}.conv"), h, ConvSpec::new(2, 3, 1)).unwrap();
        let h = g.dropout(&format!("dense{index}.dropout"), h, 0.3).unwrap();
        let h = g.drop_path(&format!("dense{index}.path"), h, 0.7, DropRule::Sample).unwrap();
        let wide = g.concat(&format!("dense{index}.concat"), &[x, h]).unwrap();
        x = g.conv(&format!("dense{index}.down"), wide, ConvSpec::new(4, 1, 1)).unwrap();
    }
    let x = g.global_avg_pool("pool", x).unwrap();
    let out = g.linear("fc", x, 5).unwrap();
    let graph = g.finish(out).unwrap();
    let step = SgdStep { lr: 0.05, momentum: 0.9, nesterov: true, weight_decay: 1e-3 };
    let (images, labels) = (images(), formula::labels(SHAPE.n, 5));
    let run = |recompute| {
        let mut training = training(&graph, recompute);
        for _ in 0..3 {
            training.step(&images, &labels, &step);
        }
        training.weights()
    };
    let kept = run(Recompute::Nothing);
    assert_eq!(kept, run(Recompute::Normalised));

    let mut first = training(&graph, Recompute::Nothing);
    first.step(&images, &labels, &step);
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let options = TrainingOptions { norm_momentum: 1.0, seed: 3, ..TrainingOptions::default() };
    let mut second = engine.training(&graph, &first.weights(), SHAPE, &options).unwrap();
    second.set_velocity(&first.velocity()).unwrap();
    second.set_iteration(1);
    second.step(&images, &labels, &step);
    second.step(&images, &labels, &step);
    assert_eq!(kept, second.weights());
}
