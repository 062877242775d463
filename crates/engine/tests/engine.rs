//! The engine against the reference, on networks that mix every operation; and the same bits for any
//! number of threads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use residuum_engine::{
    Decay, Draws, Engine, EngineError, EngineOptions, InputShape, Isa, Mixed, SensitivityOptions, SgdStep,
    Targets, Training, TrainingOptions, reference,
};
use residuum_graph::{
    AvgPool, Blur, Builder, ConvSpec, Differentiation, DropRule, Graph, MaxPool, NodeId, Op,
};
use residuum_models::formula;

/// Facts of a small network; every operation of the family occurs in one or the other.
#[derive(Clone, Copy, Debug)]
struct Spec {
    channels: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    groups: usize,
    bias: bool,
    norm: bool,
    pool: u8,
    shortcut: u8,
    preactivation: bool,
    extra: u8,
}

fn specs() -> impl Strategy<Value = Spec> {
    let sizes = (1..5usize, prop::sample::select(vec![1usize, 3]), 1..3usize, 1..3usize, 1..3usize);
    let kinds = (0..5u8, 0..4u8, any::<bool>(), 0..7u8);
    (sizes, any::<bool>(), any::<bool>(), kinds).prop_map(
        |((half, kernel, stride, dilation, groups), bias, norm, (pool, shortcut, preactivation, extra))| {
            Spec {
                channels: 2 * half,
                kernel,
                stride,
                dilation,
                groups,
                bias,
                norm,
                pool,
                shortcut,
                preactivation,
                extra,
            }
        },
    )
}

fn network(spec: &Spec) -> Graph {
    let Spec { channels, kernel, stride, dilation, groups, bias, .. } = *spec;
    let mut g = Builder::new("mixture");
    let bias = bias.then_some(0.0);
    let conv = |channels, kernel, stride| ConvSpec { bias, ..ConvSpec::new(channels, kernel, stride) };
    let x = g.input(3);
    let mut x = g.conv("stem", x, conv(channels, 3, 1)).unwrap();
    if spec.norm {
        x = g.batch_norm("stem_bn", x).unwrap();
    }
    x = g.relu("stem_relu", x);
    let window = MaxPool { kernel: [3; 2], stride: [2; 2], padding: [1; 2], ceil: false };
    x = match spec.pool {
        0 => g.max_pool("pool", x, window).unwrap(),
        1 => g.max_pool("pool", x, MaxPool { padding: [0; 2], ceil: true, ..window }).unwrap(),
        2 => g.avg_pool("pool", x, AvgPool { window, count_include_pad: true }).unwrap(),
        3 => g.blur("pool", x, Blur { size: 3, stride: 2 }).unwrap(),
        _ => x,
    };
    let mut h = x;
    if spec.preactivation {
        h = g.batch_norm("block.bn0", h).unwrap();
        h = g.relu("block.relu0", h);
    }
    let middle =
        ConvSpec { dilation, groups, padding: dilation * (kernel - 1) / 2, ..conv(channels, kernel, stride) };
    h = g.conv("block.conv1", h, middle).unwrap();
    if spec.norm {
        h = g.batch_norm("block.bn1", h).unwrap();
    }
    h = g.relu("block.relu1", h);
    h = g.conv("block.conv2", h, conv(2 * channels, 3, 1)).unwrap();
    h = branch_end(&mut g, spec.extra, h);
    let mut shortcut = x;
    if spec.shortcut == 0 {
        shortcut = g.conv("block.down", x, conv(2 * channels, 1, stride)).unwrap();
    } else {
        if spec.shortcut != 1 || stride != 1 {
            shortcut = g.subsample("block.sub", shortcut, stride).unwrap();
        }
        let before = usize::from(spec.shortcut == 3);
        shortcut = g.pad_channels("block.pad", shortcut, before, channels - before).unwrap();
    }
    let mut y = g.add("block.add", h, shortcut).unwrap();
    if !spec.preactivation {
        y = g.relu("block.relu2", y);
    }
    if spec.extra == 5 {
        y = dense_end(&mut g, y);
    }
    let pooled = g.global_avg_pool("avgpool", y).unwrap();
    let out = g.linear("fc", pooled, 5).unwrap();
    g.finish(out).unwrap()
}

/// What families of residual networks do to a branch before it is added.
fn branch_end(g: &mut Builder, extra: u8, h: NodeId) -> NodeId {
    let channels = g.channels("block", h).unwrap();
    match extra {
        1 => {
            // Squeeze and excitation.
            let s = g.global_avg_pool_map("block.se.pool", h).unwrap();
            let s =
                g.conv("block.se.fc1", s, ConvSpec { bias: Some(0.0), ..ConvSpec::new(3, 1, 1) }).unwrap();
            let s = g.relu("block.se.relu", s);
            let fc2 = ConvSpec { bias: Some(0.0), ..ConvSpec::new(channels, 1, 1) };
            let s = g.conv("block.se.fc2", s, fc2).unwrap();
            let s = g.sigmoid("block.se.gate", s);
            g.mul("block.se.scale", h, s).unwrap()
        }
        2 => {
            // A gate of its own for every position.
            let s = g.conv("block.gate", h, ConvSpec::new(channels, 1, 1)).unwrap();
            let s = g.sigmoid("block.gate.sigmoid", s);
            let s = g.scale("block.gate.rest", s, -1.0, 1.0);
            let h = g.mul("block.gate.mul", h, s).unwrap();
            g.scale("block.half", h, 0.5, 0.0)
        }
        3 => {
            let h = g.dropout("block.dropout", h, 0.4).unwrap();
            g.drop_path("block.drop_path", h, 0.6, DropRule::Sample).unwrap()
        }
        4 => g.drop_path("block.drop_path", h, 0.6, DropRule::Batch).unwrap(),
        6 => g.drop_path("block.drop_path", h, 0.5, DropRule::Paper).unwrap(),
        _ => h,
    }
}

/// Layers that append to their input, as in a dense block.
fn dense_end(g: &mut Builder, mut y: NodeId) -> NodeId {
    for layer in 0..3 {
        let h = g.batch_norm(&format!("dense{layer}.norm"), y).unwrap();
        let h = g.relu(&format!("dense{layer}.relu"), h);
        let h = g.conv(&format!("dense{layer}.conv"), h, ConvSpec::new(3, 3, 1)).unwrap();
        y = g.concat(&format!("dense{layer}.concat"), &[y, h]).unwrap();
    }
    // Channels that lie in two concatenations, and one that a step reads beside those it writes.
    let direct = g.conv("direct", y, ConvSpec::new(2, 3, 1)).unwrap();
    let both = g.concat("both", &[y, direct]).unwrap();
    g.concat("twice", &[both, direct, both]).unwrap()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

fn wide_weights(graph: &Graph) -> BTreeMap<String, Vec<f64>> {
    formula::weights(graph).iter().map(|(name, tensor)| (name.clone(), wide(tensor.data()))).collect()
}

/// Largest difference over largest magnitude.
fn deviation(found: &[f32], want: &[f64]) -> f64 {
    let largest = want.iter().fold(1e-3, |max: f64, x| max.max(x.abs()));
    found.iter().zip(want).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max) / largest
}

fn engine(threads: usize, isa: Isa) -> Engine {
    Engine::new(&EngineOptions { threads: Some(threads), isa: Some(isa), conv: None }).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Fusion, planning and kernels change nothing: inference and every gradient equal the reference's.
    #[test]
    fn programs_compute_what_the_graph_says(spec in specs(), n in 2..4usize, h in 7..11usize, w in 7..11usize) {
        let graph = network(&spec);
        let (shape, labels) = (InputShape { n, h, w }, formula::labels(n, 5));
        let images = formula::input("input", &[n, 3, h, w]);
        let weights = formula::weights(&graph);
        let training = graph.differentiate(&Differentiation::default()).unwrap();
        let (wide_weights, wide_images) = (wide_weights(&graph), wide(images.data()));
        let feed = reference::Feed {
            weights: &wide_weights,
            images: &wide_images,
            shape: [n, h, w],
            labels: &labels,
            label_smoothing: 0.1,
            seed: &[], draws: Draws::new(0, 0),
            gates: None,
        };
        let evaluated = reference::evaluate(&graph, &feed).unwrap();
        let mut trained = reference::evaluate(&training.graph, &feed).unwrap();
        for isa in Isa::available() {
            let engine = engine(2, isa);
            let mut inference = engine.inference(&graph, &weights, shape, &["block.conv1".into()]).unwrap();
            let answer = inference.run(images.data()).to_vec();
            prop_assert!(deviation(&answer, &evaluated[graph.output().index()]) < 1e-4, "{isa}: answer");
            let tap = graph.find("block.conv1").unwrap();
            prop_assert!(deviation(inference.tap("block.conv1").unwrap().data(), &evaluated[tap.index()]) < 1e-4);

            let options = TrainingOptions { label_smoothing: 0.1, taps: relus(&graph), ..TrainingOptions::default() };
            let mut program = engine.training(&graph, &weights, shape, &options).unwrap();
            let result = program.forward_backward(images.data(), &labels);
            // A ReLU on the other side of zero changes gradients for good reason: take the engine's sides.
            trained = reference::evaluate_with(&training.graph, &feed, |id, value| take_sides(&training.graph, &program, id, value)).unwrap();
            prop_assert!((result.loss - trained[training.graph.output().index()][0]).abs() < 1e-4, "{isa}: loss");
            for gradient in &training.gradients {
                let param = graph.param(gradient.param);
                let value = &trained[gradient.node.index()];
                let value = gradient.row.map_or(&value[..], |row| &value[row * param.len()..(row + 1) * param.len()]);
                let found = program.gradient(&param.name).unwrap();
                prop_assert!(deviation(found.data(), value) < 2e-3, "{isa}: gradient of {}", param.name);
            }
        }
        prop_assert!(!trained.is_empty());
    }

    /// Derivative rules against finite differences in `f64`, for every parameter of the network.
    #[test]
    fn gradients_are_derivatives(spec in specs(), n in 2..4usize, side in 7..10usize) {
        let graph = network(&spec);
        let training = graph.differentiate(&Differentiation::default()).unwrap();
        let (labels, images) = (formula::labels(n, 5), wide(formula::input("input", &[n, 3, side, side]).data()));
        let mut weights = wide_weights(&graph);
        let evaluate = |weights: &BTreeMap<String, Vec<f64>>| {
            let feed = reference::Feed { weights, images: &images, shape: [n, side, side], labels: &labels, label_smoothing: 0.1, seed: &[], draws: Draws::new(0, 0), gates: None };
            reference::evaluate(&training.graph, &feed).unwrap()
        };
        let loss = training.graph.output().index();
        let sides = |values: &[Vec<f64>]| -> Vec<bool> {
            let ids = training.graph.ids().filter(|id| training.graph.node(*id).op == Op::Relu);
            ids.flat_map(|id| values[id.index()].iter().map(|y| *y > 0.0).collect::<Vec<_>>()).collect()
        };
        let values = evaluate(&weights);
        let step = 1e-6;
        for gradient in &training.gradients {
            let param = graph.param(gradient.param);
            let index = (param.len() * 7 / 11).min(param.len() - 1);
            let analytic = values[gradient.node.index()][gradient.row.unwrap_or(0) * param.len() + index];
            let mut at = |delta: f64| {
                weights.get_mut(&param.name).unwrap()[index] += delta;
                let values = evaluate(&weights);
                weights.get_mut(&param.name).unwrap()[index] -= delta;
                (values[loss][0], sides(&values))
            };
            let ((up, up_sides), (down, down_sides)) = (at(step), at(-step));
            // At a kink there is no derivative to compare with.
            if up_sides == down_sides {
                let numeric = (up - down) / (2.0 * step);
                prop_assert!((numeric - analytic).abs() < 1e-5 * (1.0 + analytic.abs()), "{}: {numeric} and {analytic}", param.name);
            }
        }
    }
}

fn relus(graph: &Graph) -> Vec<String> {
    graph.nodes().iter().filter(|node| node.op == Op::Relu).map(|node| node.name.clone()).collect()
}

fn take_sides(graph: &Graph, program: &Training, id: NodeId, value: &mut [f64]) {
    if graph.node(id).op != Op::Relu {
        return;
    }
    let ours = program.tap(&graph.node(id).name).expect("every ReLU is tapped");
    for (value, &ours) in value.iter_mut().zip(ours.data()) {
        if (*value > 0.0) != (ours > 0.0) && (*value - f64::from(ours)).abs() < 1e-5 {
            *value = if ours > 0.0 { f64::MIN_POSITIVE } else { 0.0 };
        }
    }
}

/// Three steps of training, then the weights.
fn train(threads: usize, isa: Isa) -> Vec<u32> {
    let graph = residuum_models::build("cifar_resnet8", None).unwrap().graph;
    let shape = InputShape { n: 6, h: 32, w: 32 };
    let options = TrainingOptions { decay: Decay::Filters, ..TrainingOptions::default() };
    let mut training =
        engine(threads, isa).training(&graph, &formula::weights(&graph), shape, &options).unwrap();
    let images = formula::input("input", &[6, 3, 32, 32]);
    let step = SgdStep { lr: 0.05, momentum: 0.9, nesterov: true, weight_decay: 1e-3 };
    for _ in 0..3 {
        training.step(images.data(), &formula::labels(6, 10), &step);
    }
    training
        .weights()
        .values()
        .flat_map(|tensor| tensor.data().iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        .collect()
}

/// The loss is linear in the target, so that a mixed batch has the mean of two batches' gradients.
#[test]
fn mixed_targets_mix_losses_and_gradients() {
    const SHARE: f32 = 0.75;
    let graph = residuum_models::build("cifar_resnet8", None).unwrap().graph;
    let (shape, n) = (InputShape { n: 6, h: 32, w: 32 }, 6);
    let options = TrainingOptions { label_smoothing: 0.1, ..TrainingOptions::default() };
    let images = formula::input("input", &[n, 3, 32, 32]);
    let labels = formula::labels(n, 10);
    let others: Vec<u32> = labels.iter().map(|label| (label + 3) % 10).collect();
    let run = |targets: Targets<'_>| {
        let mut training =
            engine(2, Isa::detect()).training(&graph, &formula::weights(&graph), shape, &options).unwrap();
        let loss = training.forward_backward(images.data(), targets).loss;
        (loss, training.gradient("layer1.0.conv1.weight").unwrap())
    };
    let shares = vec![SHARE; n];
    let mixed = Some(Mixed { labels: &others, shares: &shares });
    let (loss, gradient) = run(Targets { labels: &labels, mixed });
    let ((first_loss, first), (second_loss, second)) = (run((&labels).into()), run((&others).into()));
    let mean = |a: f64, b: f64| f64::from(SHARE) * a + f64::from(1.0 - SHARE) * b;
    assert!(
        (loss - mean(first_loss, second_loss)).abs() < 1e-6 * loss,
        "{loss}: {first_loss}, {second_loss}"
    );
    let want: Vec<f64> =
        first.data().iter().zip(second.data()).map(|(&a, &b)| mean(a.into(), b.into())).collect();
    assert!(deviation(gradient.data(), &want) < 1e-4, "{}", deviation(gradient.data(), &want));
    assert!(deviation(first.data(), &want) > 1e-2);
}

#[test]
fn an_average_follows_its_definition_buffers_too() {
    let graph = residuum_models::build("cifar_resnet8", None).unwrap().graph;
    let start = formula::weights(&graph);
    let shape = InputShape { n: 6, h: 32, w: 32 };
    let run = |threads: usize| {
        let mut training = engine(threads, Isa::detect())
            .training(&graph, &start, shape, &TrainingOptions::default())
            .unwrap();
        assert!(training.average().is_none());
        training.begin_average(&start).unwrap();
        let mut want = start.clone();
        let images = formula::input("input", &[6, 3, 32, 32]);
        let step = SgdStep { lr: 0.05, momentum: 0.9, nesterov: true, weight_decay: 1e-3 };
        for keep in [0.0, 0.9, 0.5] {
            training.step(images.data(), &formula::labels(6, 10), &step);
            training.update_average(keep);
            for (name, now) in training.weights() {
                let data = want[&name].data().iter().zip(now.data());
                let data: Vec<f32> =
                    data.map(|(&a, &w)| (keep * f64::from(a) + (1.0 - keep) * f64::from(w)) as f32).collect();
                want.insert(name, residuum_tensor::Tensor::new(now.shape().to_vec(), data).unwrap());
            }
        }
        let average = training.average().unwrap();
        assert!(average == want && average != training.weights());
        assert!(average["bn1.running_mean"] != start["bn1.running_mean"]);
        average
    };
    assert!(run(1) == run(3));
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for isa in Isa::available() {
        let one = train(1, isa);
        for threads in [2, 3, 5] {
            assert!(one == train(threads, isa), "{threads} threads on {isa}");
        }
    }
}

/// The more threads, the more caches, and the more images at a time.
#[test]
fn groups_of_images_change_no_bit_and_save_memory() {
    let graph = residuum_models::build("resnet18", Some(10)).unwrap().graph;
    let (shape, images) = (InputShape { n: 16, h: 160, w: 160 }, formula::input("input", &[16, 3, 160, 160]));
    let weights = formula::weights(&graph);
    for isa in Isa::available().into_iter().filter(|isa| isa.to_string() != "plain") {
        let run = |threads: usize| {
            let taps = ["layer1.0.relu2".to_owned(), "layer3.0.relu2".to_owned()];
            let mut program = engine(threads, isa).inference(&graph, &weights, shape, &taps).unwrap();
            let answer = program.run(images.data()).to_vec();
            (answer, taps.map(|tap| program.tap(&tap).unwrap()), program.summary().activations_bytes)
        };
        let (answer, taps, bytes) = run(16);
        for threads in [1, 2] {
            let (same_answer, same_taps, fewer) = run(threads);
            assert!(answer == same_answer && taps == same_taps, "{threads} threads on {isa}");
            assert!(fewer < bytes, "{fewer} of {bytes} bytes with {threads} threads");
        }
    }
}

/// The values of all images have to be there when the gradients ask for them, however large they are.
#[test]
fn gradients_of_a_large_batch_are_those_of_its_images() {
    let (n, side) = (8, 96);
    let mut g = Builder::new("large maps");
    let x = g.input(3);
    let x = g.conv("conv1", x, ConvSpec::new(64, 3, 1)).unwrap();
    let x = g.relu("relu1", x);
    let x = g.conv("conv2", x, ConvSpec::new(64, 3, 2)).unwrap();
    let x = g.relu("relu2", x);
    let x = g.global_avg_pool("pool", x).unwrap();
    let out = g.linear("fc", x, 5).unwrap();
    let graph = g.finish(out).unwrap();
    let weights = formula::weights(&graph);
    let images = formula::input("input", &[n, 3, side, side]);
    let seed = formula::input("seed", &[n, 5]);
    let options = SensitivityOptions { to: vec!["input".into()], ..SensitivityOptions::default() };
    let gradient = |images: &[f32], seed: &[f32], n: usize| {
        let shape = InputShape { n, h: side, w: side };
        let mut program = engine(1, Isa::detect()).sensitivity(&graph, &weights, shape, &options).unwrap();
        program.forward(images);
        program.backward(seed);
        program.gradient("input").unwrap().into_data()
    };
    let of_one = images.data().chunks(images.len() / n).zip(seed.data().chunks(5));
    let expected: Vec<f32> = of_one.flat_map(|(image, seed)| gradient(image, seed, 1)).collect();
    assert!(expected.iter().any(|&g| g != 0.0));
    assert!(gradient(images.data(), seed.data(), n) == expected);
}

#[test]
fn a_program_gives_the_same_answer_every_time() {
    let graph = residuum_models::build("resnet18", Some(10)).unwrap().graph;
    let (shape, images) = (InputShape { n: 2, h: 64, w: 64 }, formula::input("input", &[2, 3, 64, 64]));
    let weights = formula::weights(&graph);
    let mut program = engine(2, Isa::detect()).inference(&graph, &weights, shape, &[]).unwrap();
    let first = program.run(images.data()).to_vec();
    program.run(formula::input("input2", &[2, 3, 64, 64]).data());
    assert_eq!(first, program.run(images.data()), "places are reused, borders and all");
}

#[test]
fn velocity_survives_a_round_trip() {
    let graph = residuum_models::build("cifar_resnet8", None).unwrap().graph;
    let shape = InputShape { n: 4, h: 32, w: 32 };
    let (images, labels) = (formula::input("input", &[4, 3, 32, 32]), formula::labels(4, 10));
    let step = SgdStep { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 1e-4 };
    let engine = engine(2, Isa::detect());
    let options = TrainingOptions::default();
    let mut whole = engine.training(&graph, &formula::weights(&graph), shape, &options).unwrap();
    whole.step(images.data(), &labels, &step);
    let mut resumed = engine.training(&graph, &whole.weights(), shape, &options).unwrap();
    resumed.set_velocity(&whole.velocity()).unwrap();
    whole.step(images.data(), &labels, &step);
    resumed.step(images.data(), &labels, &step);
    assert_eq!(whole.weights(), resumed.weights());
}

/// A ReLU leaves half of values around zero as zeros, also of a sum with a projection; of a sum with what went through a ReLU
/// before it leaves fewer.
#[test]
fn zeros_are_left_out_where_enough_are_expected() {
    let mut g = Builder::new("zeros");
    let x = g.input(3);
    let x = g.conv("stem", x, ConvSpec::new(128, 1, 1)).unwrap();
    let x = g.relu("relu", x);
    let h = g.conv("behind_relu", x, ConvSpec::new(128, 1, 1)).unwrap();
    let sum = g.add("sum", x, h).unwrap();
    let sum = g.relu("relu_of_sum", sum);
    let y = g.conv("behind_sum", sum, ConvSpec::new(128, 1, 1)).unwrap();
    let projection = g.conv("projection", sum, ConvSpec::new(128, 1, 1)).unwrap();
    let y = g.add("projected", y, projection).unwrap();
    let y = g.relu("relu_of_projected", y);
    let y = g.conv("behind_projected", y, ConvSpec::new(128, 1, 1)).unwrap();
    let pooled = g.global_avg_pool("avgpool", y).unwrap();
    let out = g.linear("fc", pooled, 5).unwrap();
    let graph = g.finish(out).unwrap();
    let shape = InputShape { n: 1, h: 16, w: 16 };
    for isa in Isa::available() {
        let engine = engine(2, isa);
        let mut net = engine.inference(&graph, &formula::weights(&graph), shape, &[]).unwrap();
        let steps = net.profile(formula::input("input", &[1, 3, 16, 16]).data());
        let kind = |name: &str| steps.iter().find(|step| step.name == name).unwrap().kind.clone();
        // Pixels share weights in pairs where vectors are wide, so that fewer zeros pay.
        let [half, several] = if isa.lanes() == 16 { ["sparse"; 2] } else { ["sparse in order", "strassen"] };
        assert_eq!(kind("relu_of_sum"), format!("conv, {half} + add + relu"), "{isa}");
        assert_eq!(kind("relu_of_projected"), format!("conv, {several} + add + relu"), "{isa}");
        assert_eq!(kind("behind_projected"), format!("conv, {half}"), "{isa}");
    }
}

/// A norm behind a convolution needs no pass of its own over the map, be its shortcut added or its channels appended to
/// others; one behind the pool of a dense network's transition does.
#[test]
fn moments_come_from_the_convolution_before() {
    for (name, of_sums, of_maps) in
        [("cifar_resnet8", 7, 0), ("cifar_preact20", 19, 0), ("cifar_densenet_40_12", 37, 2)]
    {
        let graph = residuum_models::build(name, None).unwrap().graph;
        let shape = InputShape { n: 4, h: 32, w: 32 };
        let engine = engine(2, Isa::detect());
        let mut training =
            engine.training(&graph, &formula::weights(&graph), shape, &TrainingOptions::default()).unwrap();
        let images = formula::input("input", &[4, 3, 32, 32]);
        let steps = training.profile(images.data(), &formula::labels(4, 10));
        let count = |kind: &str| steps.iter().filter(|step| step.kind == kind).count();
        let is_forward = |kind: &str| kind.starts_with("conv, ") && kind.ends_with(" + sums");
        let convs = steps.iter().filter(|step| is_forward(&step.kind)).count();
        assert_eq!(
            (count("moments of sums"), convs, count("moments")),
            (of_sums, of_sums, of_maps),
            "{name}"
        );
    }
}

/// The gradient of a norm's output is summed by the convolution that makes it, which asks the norm's input what the ReLU let
/// pass; a pass over maps is left behind pools, and where two norms read one gradient. Convolutions normalise what they read,
/// by Winograd and where windows are single pixels; not those that append to what they read, and not those of small maps that
/// are computed directly forward: the last stage's here, whose gradients of the weights do where maps are computed again.
#[test]
fn convolutions_take_over_the_work_of_norms() {
    for (name, of_sums, of_maps, [forward, weights]) in [
        ("cifar_resnet8", 6, 1, [2, 2]),
        ("cifar_preact20", 18, 1, [10, 10]),
        ("cifar_densenet_40_12", 38, 1, [2, 38]),
        ("cifar_densenet_bc_100_12", 98, 1, [82, 98]),
    ] {
        let graph = residuum_models::build(name, None).unwrap().graph;
        let shape = InputShape { n: 4, h: 32, w: 32 };
        let options = TrainingOptions::default();
        let mut training =
            engine(2, Isa::detect()).training(&graph, &formula::weights(&graph), shape, &options).unwrap();
        let images = formula::input("input", &[4, 3, 32, 32]);
        let steps = training.profile(images.data(), &formula::labels(4, 10));
        let count = |is: &dyn Fn(&str) -> bool| steps.iter().filter(|step| is(&step.kind)).count();
        let convs = count(&|kind| kind.starts_with("conv backward data") && kind.ends_with(" + sums"));
        let found = (
            count(&|kind| kind == "norm backward sums of sums"),
            convs,
            count(&|kind| kind == "norm backward sums"),
            count(&|kind| kind.starts_with("conv, ") && kind.contains(" of norm")),
            count(&|kind| kind.starts_with("conv backward weights") && kind.contains(" of norm")),
        );
        assert_eq!(found, (of_sums, of_sums, of_maps, forward, weights), "{name}");
    }
}

#[test]
fn frozen_parameters_and_statistics_stay() {
    let graph = residuum_models::build("cifar_resnet8", None).unwrap().graph;
    let names = graph.params().iter().map(|p| p.name.clone()).filter(|name| !name.starts_with("fc."));
    let options = TrainingOptions { frozen: names.collect(), ..TrainingOptions::default() };
    let weights = formula::weights(&graph);
    let shape = InputShape { n: 4, h: 32, w: 32 };
    let mut training = engine(2, Isa::detect()).training(&graph, &weights, shape, &options).unwrap();
    let step = SgdStep { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 1e-2 };
    training.step(formula::input("input", &[4, 3, 32, 32]).data(), &formula::labels(4, 10), &step);
    for (name, tensor) in training.weights() {
        assert_eq!(weights[&name] == tensor, !name.starts_with("fc."), "{name}");
    }
}

#[test]
fn mistakes_are_reported_by_name() {
    let graph = residuum_models::build("resnet18", Some(10)).unwrap().graph;
    let engine = engine(1, Isa::detect());
    let (weights, shape) = (formula::weights(&graph), InputShape { n: 1, h: 32, w: 32 });
    let mut missing = weights.clone();
    missing.remove("layer2.0.conv1.weight");
    let error = engine.inference(&graph, &missing, shape, &[]).unwrap_err();
    assert!(
        matches!(&error, EngineError::MissingWeight { name, .. } if name == "layer2.0.conv1.weight"),
        "{error}"
    );
    let error = engine.inference(&graph, &weights, shape, &["layer9".into()]).unwrap_err();
    assert!(error.to_string().contains("layer9") && error.to_string().contains("layer4"), "{error}");
    // At 32×32 the last stage has one pixel: with a batch of one, a norm would see a single value.
    let error = engine.training(&graph, &weights, shape, &TrainingOptions::default()).unwrap_err();
    assert!(
        matches!(&error, EngineError::OneValuePerChannel { node } if node.starts_with("layer4")),
        "{error}"
    );
}
