//! What must hold for any network: the axioms that the methods are defined by.

use std::collections::BTreeMap;

use residuum_engine::reference::{Feed, evaluate};
use residuum_engine::{Draws, Engine, EngineOptions};
use residuum_explain::{
    CamMethod, ExplainError, Goal, Inversion, Maximisation, ReluRule, Subject, class_map, default_layer,
    gaussian, input_gradient, integrated_gradients, invert, maximise, occlusion, receptive_field,
    smooth_grad, upsample,
};
use residuum_graph::{Builder, ConvSpec, Graph, Weights};
use residuum_models::{build, formula};
use residuum_tensor::Tensor;

/// A registered network for small images, with formula weights.
struct Net {
    engine: Engine,
    graph: Graph,
    weights: Weights,
    image: Tensor,
}

impl Net {
    fn new(name: &str) -> Self {
        Self::of(build(name, Some(10)).unwrap().graph)
    }

    fn of(graph: Graph) -> Self {
        let engine = Engine::new(&EngineOptions::default()).unwrap();
        let weights = formula::weights(&graph);
        Self { engine, weights, image: formula::input("input", &[1, 3, 32, 32]), graph }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { engine: &self.engine, graph: &self.graph, weights: &self.weights }
    }

    fn gradient(&self, rule: ReluRule) -> Tensor {
        input_gradient(&self.subject(), &self.image, &[3], rule).unwrap()
    }
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    let largest = a.iter().fold(f32::MIN_POSITIVE, |max, x| max.max(x.abs()));
    a.iter().zip(b).fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs())) / largest
}

#[test]
fn the_gradient_is_what_differences_say() {
    for name in ["cifar_resnet8", "cifar_preact8", "cifar_bottleneck11"] {
        let net = Net::new(name);
        let gradient = net.gradient(ReluRule::Derivative);
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let weights: BTreeMap<String, Vec<f64>> =
            net.weights.iter().map(|(name, tensor)| (name.clone(), wide(tensor.data()))).collect();
        let score = |pixels: &[f64]| {
            let feed = Feed {
                weights: &weights,
                images: pixels,
                shape: [1, 32, 32],
                labels: &[],
                label_smoothing: 0.0,
                seed: &[],
                draws: Draws::new(0, 0),
                gates: None,
            };
            evaluate(&net.graph, &feed).unwrap()[net.graph.output().index()][3]
        };
        let largest = gradient.data().iter().fold(0.0f32, |max, g| max.max(g.abs()));
        for pixel in (0..10).map(|i| 17 + 301 * i) {
            // So short a step that no ReLU changes its side.
            let step = 1e-6;
            let moved = |by: f64| {
                let mut pixels = wide(net.image.data());
                pixels[pixel] += by;
                score(&pixels)
            };
            let difference = ((moved(step) - moved(-step)) / (2.0 * step)) as f32;
            let found = gradient.data()[pixel];
            assert!((found - difference).abs() < 1e-3 * largest, "{name}, {pixel}: {found}, {difference}");
        }
    }
}

#[test]
fn without_noise_smooth_grad_is_the_gradient() {
    let net = Net::new("cifar_preact8");
    let noise = gaussian(1, &[5, 3, 32, 32]);
    let still = smooth_grad(&net.subject(), &net.image, 3, 0.0, &noise, |_, _| true).unwrap();
    assert!(worst(net.gradient(ReluRule::Derivative).data(), still.data()) < 1e-5);
    let noisy = smooth_grad(&net.subject(), &net.image, 3, 0.2, &noise, |_, _| true).unwrap();
    assert!(worst(still.data(), noisy.data()) > 1e-2, "noise has an effect");
}

#[test]
fn integrated_gradients_are_complete() {
    // Where the score is linear, any number of steps gives the whole difference.
    let mut g = Builder::new("linear");
    let x = g.input(3);
    let x = g.conv("conv", x, ConvSpec::new(4, 3, 1)).unwrap();
    let x = g.global_avg_pool("pool", x).unwrap();
    let x = g.linear("fc", x, 10).unwrap();
    let linear = Net::of(g.finish(x).unwrap());
    let baseline = formula::input("baseline", &[1, 3, 32, 32]);
    for steps in [1, 7] {
        let found =
            integrated_gradients(&linear.subject(), &linear.image, &baseline, 3, steps, |_, _| true).unwrap();
        assert!((found.sum - found.gap).abs() < 1e-5, "{steps}: {} and {}", found.sum, found.gap);
    }
    // Elsewhere the sum comes the closer the more steps there are.
    let net = Net::new("cifar_resnet8");
    let off = |steps| {
        let found =
            integrated_gradients(&net.subject(), &net.image, &baseline, 3, steps, |_, _| true).unwrap();
        (found.sum - found.gap).abs() / found.gap.abs()
    };
    let [few, many] = [8, 2048].map(off);
    assert!(many < 0.01 && many < few, "{few} and {many}");
}

#[test]
fn backward_rules_differ_where_they_should_only() {
    let net = Net::new("cifar_resnet8");
    // Norms that hardly vary around 1: every ReLU's input is positive, and what is left is the clamp.
    let mut open = Net::new("cifar_resnet8");
    for (name, tensor) in &mut open.weights {
        if name.contains("bn") && name.ends_with("bias") {
            tensor.data_mut().fill(1.0);
        } else if name.contains("bn") && name.ends_with("weight") {
            tensor.data_mut().iter_mut().for_each(|x| *x *= 0.01);
        }
    }
    let guided = open.gradient(ReluRule::Guided);
    assert!(worst(guided.data(), open.gradient(ReluRule::Deconvolution).data()) < 1e-6);
    assert!(worst(guided.data(), open.gradient(ReluRule::Derivative).data()) > 1e-2);
    // Deconvolution does not look at what the ReLUs were given; the two others do.
    let deconvolved = |image: &Tensor, rule| input_gradient(&net.subject(), image, &[3], rule).unwrap();
    let other = formula::input("other", &[1, 3, 32, 32]);
    let rules = |image: &Tensor| {
        [ReluRule::Deconvolution, ReluRule::Derivative, ReluRule::Guided].map(|rule| deconvolved(image, rule))
    };
    let (ours, theirs) = (rules(&net.image), rules(&other));
    assert!(worst(ours[0].data(), theirs[0].data()) < 1e-6);
    assert!(worst(ours[1].data(), theirs[1].data()) > 1e-2);
    assert!(worst(ours[2].data(), theirs[2].data()) > 1e-2);
}

#[test]
fn class_maps_agree_where_pool_and_linear_follow() {
    for name in ["cifar_resnet8", "cifar_preact8", "cifar_densenet_bc_22_12"] {
        let net = Net::new(name);
        let subject = net.subject();
        let layer = default_layer(&subject).unwrap();
        let map = |method| class_map(&subject, &net.image, 3, &layer, method, |_, _| true).unwrap();
        let values = subject.values(&net.image, std::slice::from_ref(&layer)).unwrap().remove(0);
        let &[_, channels, h, w] = values.shape() else { panic!("{layer} is a map") };
        let weights =
            net.weights[if name.contains("dense") { "classifier.weight" } else { "fc.weight" }].data();
        let cam: Vec<f32> = (0..h * w)
            .map(|at| {
                let sum = |k: usize| {
                    f64::from(weights[3 * channels + k]) * f64::from(values.data()[k * h * w + at])
                };
                ((0..channels).map(sum).sum::<f64>().max(0.0) / (h * w) as f64) as f32
            })
            .collect();
        for method in [CamMethod::GradCam, CamMethod::HiResCam, CamMethod::XGradCam] {
            assert!(worst(&cam, map(method).data()) < 1e-4, "{name}, {method:?}");
        }
        // Positive weights only, and scores as weights.
        let positive: Vec<f32> = (0..h * w)
            .map(|at| {
                let sum = |k: usize| weights[3 * channels + k].max(0.0) * values.data()[k * h * w + at];
                (0..channels).map(sum).sum::<f32>().max(0.0) / (h * w) as f32
            })
            .collect();
        assert!(worst(&positive, map(CamMethod::LayerCam).data()) < 1e-4, "{name}");
        assert!(worst(&score_cam(&net, &values), map(CamMethod::ScoreCam).data()) < 1e-4, "{name}");
    }
}

/// Score-CAM as it is defined, image by image.
fn score_cam(net: &Net, values: &Tensor) -> Vec<f32> {
    let &[_, channels, h, w] = values.shape() else { panic!("a map") };
    let plane = |k: usize| &values.data()[k * h * w..][..h * w];
    let score = |k: usize| {
        let large = upsample(&Tensor::new([h, w], plane(k).to_vec()).unwrap(), 32, 32);
        let (least, most) = large.data().iter().fold((f32::MAX, f32::MIN), |(l, g), &x| (l.min(x), g.max(x)));
        let masked = Tensor::from_fn([1, 3, 32, 32], |i| {
            net.image.data()[i] * (large.data()[i % 1024] - least) / (most - least + 1e-7)
        });
        f64::from(net.subject().logits(&masked).unwrap().data()[3])
    };
    let scores: Vec<f64> = (0..channels).map(score).collect();
    let total: f64 = scores.iter().map(|score| score.exp()).sum();
    let sum =
        |at: usize| (0..channels).map(|k| scores[k].exp() / total * f64::from(plane(k)[at])).sum::<f64>();
    (0..h * w).map(|at| sum(at).max(0.0) as f32).collect()
}

#[test]
fn activations_resolve_for_every_block_and_their_mean_is_the_pooled_vector() {
    let net = Net::new("cifar_preact14");
    let subject = net.subject();
    let blocks: Vec<String> =
        (1..=3).flat_map(|stage| (0..2).map(move |block| format!("layer{stage}.{block}"))).collect();
    for (block, value) in blocks.iter().zip(subject.values(&net.image, &blocks).unwrap()) {
        assert_eq!(value.shape().len(), 4, "{block}");
    }
    let layers = [default_layer(&subject).unwrap(), "avgpool".to_owned()];
    let values = subject.values(&net.image, &layers).unwrap();
    for (plane, &pooled) in values[0].data().chunks(64).zip(values[1].data()) {
        assert!((plane.iter().sum::<f32>() / 64.0 - pooled).abs() < 1e-5);
    }
}

#[test]
fn receptive_fields_are_those_of_the_papers() {
    let sizes = |name: &str| {
        let graph = build(name, None).unwrap().graph;
        let field =
            |stage| receptive_field(&graph, &format!("layer{stage}")).map(|field| field.size as usize);
        (1..5).map_while(|stage| field(stage).ok()).collect::<Vec<usize>>()
    };
    assert_eq!(sizes("resnet50.tv"), [35, 91, 267, 427]);
    assert_eq!(sizes("resnet50.caffe"), [35, 99, 291, 483]);
    for n in [3, 9, 18] {
        let wanted = [3 + 4 * n, 1 + 12 * n, 28 * n - 3];
        assert_eq!(sizes(&format!("cifar_resnet{}", 6 * n + 2)), wanted);
        assert_eq!(sizes(&format!("cifar_resnet{}b", 6 * n + 2)), wanted);
    }
}

#[test]
fn what_is_made_gets_better() {
    let net = Net::new("cifar_resnet8");
    let subject = net.subject();
    let zero = Tensor::filled([1, 3, 32, 32], 0.0);
    let norm = |tensor: &Tensor| tensor.data().iter().map(|x| x * x).sum::<f32>().sqrt();
    let small = Maximisation { steps: 12, rate: 0.05, ..Maximisation::default() };
    let channel = Goal::Channel { layer: "layer2".into(), channel: 5 };
    for goal in [Goal::Class(3), channel.clone()] {
        let made = maximise(&subject, &zero, &goal, &small, |_, _| true).unwrap();
        assert!(made.scores.is_sorted_by(|a, b| a < b), "{goal:?}: {:?}", made.scores);
        assert!((0.3..=0.601).contains(&norm(&made.image)), "{goal:?}: {}", norm(&made.image));
    }
    let value = |image: &Tensor| {
        let value = subject.values(image, &["layer2".into()]).unwrap().remove(0);
        value.data()[5 * 256..6 * 256].iter().sum::<f32>() / 256.0
    };
    let made = maximise(&subject, &zero, &channel, &small, |_, _| true).unwrap();
    assert!((f64::from(value(&made.image)) - made.scores[12]).abs() < 1e-4);
    let range = [[-0.1, 0.1], [-0.2, 0.2], [0.0, 0.3]];
    let limits = [0, 1].map(|end| (0..3072).map(|i| range[i / 1024][end]).collect());
    let tamed = Maximisation { rate: 5.0, blur_every: 2, blur: 0.7, range: Some(limits), jitter: 2, ..small };
    let made = maximise(&subject, &zero, &Goal::Class(3), &tamed, |_, _| true).unwrap();
    for (plane, [least, most]) in made.image.data().chunks(1024).zip(range) {
        assert!(plane.iter().all(|x| (least..=most).contains(x)));
    }

    let features = subject.values(&net.image, &["layer1".into()]).unwrap().remove(0);
    let options = Inversion { steps: 60, rate: 50.0, bound: 0.0, variation: 0.0 };
    let made = invert(&subject, &zero, "layer1", &features, &options, |_, _| true).unwrap();
    let (first, last) = (made.scores[0], made.scores[59]);
    assert!(last < 0.2 * first, "{first} and {last}");
}

#[test]
fn what_cannot_be_or_is_stopped_is_an_error() {
    let net = Net::new("cifar_resnet8");
    let subject = net.subject();
    let features = subject.values(&net.image, &["layer1".into()]).unwrap().remove(0);
    let options = Inversion { steps: 3, rate: 0.1, bound: 0.0, variation: 0.0 };
    let wrong = invert(&subject, &net.image, "layer2", &features, &options, |_, _| true).unwrap_err();
    assert!(wrong.to_string().contains("features of layer layer2"), "{wrong}");
    let goal = Goal::Channel { layer: "layer3".into(), channel: 64 };
    let wrong = maximise(&subject, &net.image, &goal, &Maximisation::default(), |_, _| true).unwrap_err();
    assert!(wrong.to_string().contains("0 to 63"), "{wrong}");
    let noise = gaussian(0, &[70, 3, 32, 32]);
    let mut calls = 0;
    let stopped = smooth_grad(&subject, &net.image, 3, 0.1, &noise, |done, all| {
        calls += 1;
        assert!(done < all);
        false
    });
    assert!(matches!(stopped, Err(ExplainError::Stopped)) && calls == 1);
    let stopped = class_map(&subject, &net.image, 3, "layer3", CamMethod::ScoreCam, |_, _| false);
    assert!(matches!(stopped, Err(ExplainError::Stopped)));
    let patch = residuum_explain::Patch { size: 4, stride: 2, fill: 0.0 };
    assert!(matches!(occlusion(&subject, &net.image, 3, patch, |_, _| false), Err(ExplainError::Stopped)));
    assert!(
        occlusion(&subject, &net.image, 10, patch, |_, _| true).unwrap_err().to_string().contains("class")
    );
}
