//! Stages, surveys and the gradients of single units, on post- and pre-activation nets of basic units and
//! bottlenecks, against what follows from all values at once.

use residuum_engine::{Engine, EngineOptions};
use residuum_explain::{
    BEST, ReluRule, Stage, Subject, Survey, Surveyor, UnitGradient, receptive_field, refinement, stages,
};
use residuum_graph::{Graph, Op, Weights};
use residuum_models::preact::{Cifar, Layers, Order, Skip};
use residuum_models::resnet::{Shortcut, StrideIn};
use residuum_models::{build, entries, formula};
use residuum_tensor::Tensor;

const IMAGES: usize = 24;

fn nets() -> [(&'static str, Graph); 4] {
    let named = |name| build(name, Some(10)).unwrap().graph;
    let preact_bottleneck = Cifar {
        n: 2,
        layers: Layers::Bottleneck(StrideIn::First),
        order: Order::FullPreact,
        shortcut: Shortcut::Projection,
        skip: Skip::Identity,
    };
    [
        ("post-activation, basic", named("cifar_resnet14")),
        ("post-activation, bottleneck", named("cifar_bottleneck20")),
        ("pre-activation, basic", named("cifar_preact14")),
        ("pre-activation, bottleneck", preact_bottleneck.graph("preact20", 10).unwrap()),
    ]
}

fn images() -> Tensor {
    formula::input("input", &[IMAGES, 3, 16, 16])
}

fn part(images: &Tensor, first: usize, count: usize) -> Tensor {
    let len = images.len() / images.shape()[0];
    Tensor::new([count, 3, 16, 16], images.data()[first * len..(first + count) * len].to_vec()).unwrap()
}

fn survey(subject: &Subject<'_>, stages: &[Stage], batch: usize) -> Survey {
    let images = images();
    let mut survey = Survey::new(stages);
    let mut surveyor = Surveyor::new(subject, stages, &part(&images, 0, batch)).unwrap();
    for first in (0..IMAGES).step_by(batch) {
        surveyor.add(&mut survey, &part(&images, first, batch)).unwrap();
    }
    survey
}

fn with_each(check: impl Fn(&str, &Subject<'_>, &[Stage])) {
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    for (name, graph) in nets() {
        let weights: Weights = formula::weights(&graph);
        let stages = stages(&graph, 16, 16).unwrap();
        check(name, &Subject { engine: &engine, graph: &graph, weights: &weights }, &stages);
    }
}

#[test]
fn a_block_ends_before_the_next_ones_norm() {
    for (name, graph) in nets() {
        let stages = stages(&graph, 16, 16).unwrap();
        assert_eq!(
            stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(),
            ["layer1", "layer2", "layer3"]
        );
        for stage in &stages {
            assert_eq!(stage.blocks.len(), 2, "{name}");
            for block in &stage.blocks {
                let output = graph.node(graph.find(&block.output).unwrap());
                let is_active = name.starts_with("post");
                assert_eq!(output.op == Op::Relu, is_active, "{name}: {}", block.output);
                assert_eq!(output.op == Op::Add, !is_active, "{name}: {}", block.output);
                assert_eq!(block.field, receptive_field(&graph, &block.output).unwrap());
            }
        }
        let width = if name.ends_with("basic") { 16 } else { 64 };
        let sizes: Vec<_> = stages.iter().map(|stage| (stage.channels, stage.rows)).collect();
        assert_eq!(sizes, [(width, 16), (2 * width, 8), (4 * width, 4)], "{name}");
    }
}

#[test]
fn every_registered_network_has_stages_or_no_blocks() {
    for entry in entries().iter().filter(|entry| entry.depth <= 60) {
        let graph = entry.build(Some(3)).unwrap().graph;
        let side = entry.family.input_size();
        match stages(&graph, side, side) {
            Ok(stages) => {
                let mut names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), stages.len(), "{}", entry.name);
                for block in stages.iter().flat_map(|stage| &stage.blocks) {
                    assert!(graph.find(&block.output).is_some(), "{}: {}", entry.name, block.output);
                }
            }
            Err(error) => {
                let is_plain = ["plain", "dense"].iter().any(|kind| entry.name.contains(kind));
                assert!(is_plain, "{}: {error}", entry.name);
            }
        }
    }
}

#[test]
fn a_survey_in_batches_finds_what_all_values_at_once_say() {
    with_each(|name, subject, stages| {
        let found = survey(subject, stages, 6);
        assert_eq!(found.images(), IMAGES);
        for (s, stage) in stages.iter().enumerate() {
            for (b, block) in stage.blocks.iter().enumerate() {
                let value = subject.values(&images(), std::slice::from_ref(&block.output)).unwrap().remove(0);
                let area = stage.rows * stage.columns;
                for channel in [0, 3, stage.channels - 1] {
                    let peak = |image: usize| {
                        let plane = &value.data()[(image * stage.channels + channel) * area..][..area];
                        plane.iter().copied().fold(f32::NEG_INFINITY, f32::max)
                    };
                    let mut order: Vec<(usize, f32)> =
                        (0..IMAGES).map(|image| (image, peak(image))).collect();
                    order.sort_by(|a, b| b.1.total_cmp(&a.1));
                    let best = found.best(s, b, channel);
                    assert_eq!(best.len(), BEST);
                    for (best, (_, value_there)) in best.iter().zip(&order) {
                        let off = (best.value - value_there).abs();
                        assert!(off <= 1e-4 * value_there.abs().max(1e-3), "{name}, {}: {off}", block.name);
                        let at = (best.image * stage.channels + channel) * area
                            + best.row * stage.columns
                            + best.column;
                        assert!((value.data()[at] - best.value).abs() <= 1e-4 * best.value.abs().max(1e-3));
                    }
                }
            }
        }
        let varied = found.most_varied(2);
        assert_eq!(varied.len(), stages[2].channels);
        assert!(found.kept(0, 0).is_none() && (0.0..=1.0).contains(&found.kept(0, 1).unwrap()));
    });
}

#[test]
fn refinement_is_the_correlation_and_the_ratio_that_it_says() {
    with_each(|name, subject, stages| {
        let in_batches = survey(subject, stages, 4).refinement(stages);
        let at_once = refinement(subject, &images()).unwrap();
        let blocks = stages.iter().flat_map(|stage| &stage.blocks);
        let mut before: Option<Tensor> = None;
        for ((found, other), block) in in_batches.iter().zip(&at_once).zip(blocks) {
            assert!((found.change / other.change - 1.0).abs() < 1e-6, "{name}");
            let layers = [&block.branch, &block.shortcut, &block.output].map(Clone::clone);
            let values = subject.values(&images(), &layers).unwrap();
            let norm =
                |tensor: &Tensor| tensor.data().iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let change = norm(&values[0]) / norm(&values[1]);
            assert!((found.change / change - 1.0).abs() < 1e-4, "{name}: {} and {change}", found.change);
            match (&found.correlation, before.filter(|before| before.shape() == values[2].shape())) {
                (Some(found), Some(before)) => {
                    let all = |tensor: &Tensor, channel: usize| -> Vec<f64> {
                        let area: usize = tensor.shape()[2..].iter().product();
                        let channels = tensor.shape()[1];
                        let planes = tensor.data().chunks(area).skip(channel).step_by(channels);
                        planes.flatten().map(|&x| f64::from(x)).collect()
                    };
                    for channel in [0, 7] {
                        let wanted = pearson(&all(&before, channel), &all(&values[2], channel));
                        assert!(
                            (found[channel] - wanted).abs() < 1e-3,
                            "{name}: {} and {wanted}",
                            found[channel]
                        );
                    }
                }
                (None, None) => {}
                (found, _) => panic!("{name}, {}: {found:?}", block.name),
            }
            before = Some(values[2].clone());
        }
    });
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(&a, &b)| f(a - ma, b - mb)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

#[test]
fn a_units_gradient_stays_in_its_field_and_is_that_of_its_value() {
    with_each(|name, subject, stages| {
        let images = part(&images(), 0, 2);
        let block = &stages[0].blocks[0];
        let units = [[1, 3, 4], [2, 12, 15]];
        let gradient = |rule| {
            let mut program = UnitGradient::new(subject, &images, &block.output, rule).unwrap();
            program.of(&images, &units).unwrap()
        };
        let guided = gradient(ReluRule::Guided);
        for (image, [_, row, column]) in units.into_iter().enumerate() {
            let (rows, columns) = (block.field.pixels(row, 16), block.field.pixels(column, 16));
            let planes = &guided.data()[image * 768..][..768];
            for (at, &g) in planes.iter().enumerate() {
                let (y, x) = (at % 256 / 16, at % 16);
                assert!(g == 0.0 || (rows.contains(&y) && columns.contains(&x)), "{name}: ({y}, {x})");
            }
        }
        // Along its own gradient the unit's value grows as the gradient says.
        let plain = gradient(ReluRule::Derivative);
        let step = 1e-3;
        let value = |by: f32| {
            let moved = Tensor::from_fn([2, 3, 16, 16], |i| images.data()[i] + by * plain.data()[i]);
            let value = subject.values(&moved, std::slice::from_ref(&block.output)).unwrap().remove(0);
            let at = |image: usize| {
                let [channel, row, column] = units[image];
                value.data()[((image * stages[0].channels + channel) * 16 + row) * 16 + column]
            };
            [at(0), at(1)]
        };
        let (up, down) = (value(step), value(-step));
        for image in 0..2 {
            let square: f32 = plain.data()[image * 768..][..768].iter().map(|g| g * g).sum();
            let found = (up[image] - down[image]) / (2.0 * step);
            assert!((found - square).abs() <= 0.05 * square + 1e-4, "{name}: {found} and {square}");
        }
        let mut program = UnitGradient::new(subject, &images, &block.output, ReluRule::Guided).unwrap();
        let refused = program.of(&images, &[[0, 0, 0], [0, 16, 0]]).unwrap_err().to_string();
        assert!(refused.contains("(0, 16, 0)"), "{refused}");
        assert!(program.of(&images, &[[0, 0, 0]]).is_err());
    });
}
