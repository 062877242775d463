//! Optimisers in the engine: which tensor moves how, what is remembered, what it takes.

use residuum_engine::{
    Decay, Engine, EngineOptions, InputShape, LambStep, OptimiserKind, SgdStep, TrainingOptions,
};
use residuum_graph::{Role, Weights};
use residuum_kernels::{Parameter, plain};
use residuum_models::formula;

fn engine(threads: usize) -> Engine {
    Engine::new(&EngineOptions { threads: Some(threads), ..EngineOptions::default() }).unwrap()
}

/// Whether a parameter of a name is pulled.
type Pulled = fn(&str) -> bool;

/// One step without momentum is `w − lr (g + decay · w)`, without the last term for what does not decay: scales and
/// shifts of batch norms, and by `Filters` biases too.
#[test]
fn decay_pulls_what_it_is_told_to() {
    let graph = residuum_models::build("cifar_resnet8", None).unwrap().graph;
    let (shape, before) = (InputShape { n: 4, h: 32, w: 32 }, formula::weights(&graph));
    let (images, labels) = (formula::input("input", &[4, 3, 32, 32]), formula::labels(4, 10));
    let pulled: [(Decay, Pulled); 3] = [
        (Decay::All, |_| true),
        (Decay::AllButNorms, |name| !name.contains("bn")),
        (Decay::Filters, |name| !name.contains("bn") && name != "fc.bias"),
    ];
    let step = SgdStep { lr: 0.5, momentum: 0.0, nesterov: false, weight_decay: 0.25 };
    for (decay, is_pulled) in pulled {
        let options = TrainingOptions { decay, ..TrainingOptions::default() };
        let mut training = engine(2).training(&graph, &before, shape, &options).unwrap();
        training.step(images.data(), &labels, &step);
        let after = training.weights();
        assert!(training.velocity().len() == 23 && training.second_moments().is_none());
        for name in training.velocity().keys() {
            let gradient = training.gradient(name).unwrap();
            let weight_decay = if is_pulled(name) { step.weight_decay } else { 0.0 };
            for ((&w, &g), &found) in before[name].data().iter().zip(gradient.data()).zip(after[name].data())
            {
                let (w, g) = (f64::from(w), f64::from(g));
                let expected = w - step.lr * (g + weight_decay * w);
                let close = (f64::from(found) - expected).abs() < 1e-6 * expected.abs().max(1.0);
                assert!(close, "{decay:?}, {name}: {found}, expected {expected}");
            }
        }
    }
}

/// A step of LAMB is that of the plain kernel, tensor by tensor, on the gradients that the step found: each tensor by
/// its own norm, biases and batch norms without one.
#[test]
fn lamb_moves_each_tensor_as_the_plain_kernel_does() {
    let graph = residuum_models::build("cifar_resnet8", None).unwrap().graph;
    let shape = InputShape { n: 4, h: 32, w: 32 };
    let (images, labels) = (formula::input("input", &[4, 3, 32, 32]), formula::labels(4, 10));
    let step = LambStep { lr: 0.01, betas: [0.9, 0.999], epsilon: 1e-6, weight_decay: 0.02, max_norm: 1.0 };
    let options = TrainingOptions {
        optimiser: OptimiserKind::Lamb,
        decay: Decay::Filters,
        frozen: vec!["conv1.weight".into()],
        ..TrainingOptions::default()
    };
    let engine = engine(2);
    let mut training = engine.training(&graph, &formula::weights(&graph), shape, &options).unwrap();
    let learned: Vec<String> = training.velocity().into_keys().collect();
    assert!(!learned.contains(&"conv1.weight".to_owned()));
    let wide = |weights: &Weights| -> Vec<f64> {
        learned.iter().flat_map(|name| weights[name].data()).map(|&x| f64::from(x)).collect()
    };
    let mut end = 0;
    let parameters: Vec<Parameter> = learned
        .iter()
        .map(|name| {
            let start = end;
            end += training.velocity()[name].len();
            let role = graph.param(graph.find_param(name).unwrap()).role;
            let decays = matches!(role, Role::ConvWeight | Role::LinearWeight);
            Parameter { place: start..end, decays }
        })
        .collect();
    let (mut weights, mut first, mut second) = (wide(&training.weights()), vec![0.0; end], vec![0.0; end]);
    for number in 1..4 {
        training.forward_backward(images.data(), &labels);
        let grads: Weights =
            learned.iter().map(|name| (name.clone(), training.gradient(name).unwrap())).collect();
        let moments = [&mut first[..], &mut second[..]];
        plain::lamb_step(&mut weights, &wide(&grads), moments, &parameters, &step, number);
        training.update(&step);
        let moved = wide(&training.weights());
        for (found, expected) in moved.iter().zip(&weights) {
            assert!((found - expected).abs() <= 1e-6 * expected.abs().max(0.1), "{found} {expected}");
        }
    }

    // With its moments and the number of its steps, another program goes on to the same bits.
    let mut resumed = engine.training(&graph, &training.weights(), shape, &options).unwrap();
    resumed.set_velocity(&training.velocity()).unwrap();
    resumed.set_second_moments(&training.second_moments().unwrap()).unwrap();
    resumed.set_iteration(3);
    for training in [&mut training, &mut resumed] {
        training.step(images.data(), &labels, &step);
    }
    assert_eq!(training.weights(), resumed.weights());
    assert_eq!(training.second_moments(), resumed.second_moments());

    // What it remembers is counted.
    let sgd = TrainingOptions { optimiser: OptimiserKind::Sgd, ..options };
    let sgd = engine.training(&graph, &formula::weights(&graph), shape, &sgd).unwrap();
    let more = training.summary().parameters_bytes - sgd.summary().parameters_bytes;
    assert!((4 * end..4 * end + 64 * learned.len()).contains(&more), "{more}");
}

#[test]
#[should_panic(expected = "a network that is not compiled for Lamb")]
fn a_step_of_another_optimiser_is_refused() {
    let graph = residuum_models::build("cifar_resnet8", None).unwrap().graph;
    let shape = InputShape { n: 2, h: 32, w: 32 };
    let engine = engine(1);
    let mut training =
        engine.training(&graph, &formula::weights(&graph), shape, &TrainingOptions::default()).unwrap();
    let betas = [0.9, 0.999];
    training.update(&LambStep { lr: 0.1, betas, epsilon: 1e-6, weight_decay: 0.0, max_norm: 1.0 });
}
