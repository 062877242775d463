//! Every method against the reference's values, which `tests/golden/looks/resnet20.json` holds: ResNet-20
//! with pooled and padded shortcuts, formula weights, running statistics of the formula batch.

#![allow(clippy::print_stdout, reason = "the deviations are worth reading")]

use std::path::PathBuf;

use residuum_engine::{Engine, EngineOptions, InputShape, TrainingOptions};
use residuum_explain::{
    CamMethod, Direction, Goal, Inversion, Maximisation, Patch, Pca, ReluRule, Subject, class_map,
    connection_strength, default_layer, delete_blocks, effective_receptive_field, feature_layer,
    identity_path_gradient, input_gradient, integrated_gradients, interchangeable, interpolation,
    inversion_objective, landscape, maximise, occlusion, permute_modules, receptive_field, reorder,
    response_std, saliency, shifted, smooth_grad, times_input,
};
use residuum_graph::{AvgPool, Builder, ConvSpec, Graph, MaxPool, NodeId, Weights};
use residuum_models::{build, formula};
use residuum_tensor::Tensor;
use serde_json::Value;

/// What rounding in `f32` may do to well conditioned values, relative.
const CLOSE: f64 = 1e-3;

fn golden() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/looks/resnet20.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn block(g: &mut Builder, name: &str, x: NodeId, width: usize, stride: usize) -> NodeId {
    let part = |part: &str| format!("{name}.{part}");
    let y = g.conv(&part("conv1"), x, ConvSpec::new(width, 3, stride)).unwrap();
    let y = g.batch_norm(&part("bn1"), y).unwrap();
    let y = g.relu(&part("relu1"), y);
    let y = g.conv(&part("conv2"), y, ConvSpec::new(width, 3, 1)).unwrap();
    let y = g.batch_norm(&part("bn2"), y).unwrap();
    let mut shortcut = x;
    if stride != 1 {
        let window = MaxPool { kernel: [2; 2], stride: [2; 2], padding: [0; 2], ceil: false };
        let pooled = g.avg_pool(&part("pool"), x, AvgPool { window, count_include_pad: true }).unwrap();
        shortcut = g.pad_channels(&part("pad"), pooled, 0, width / 2).unwrap();
    }
    let sum = g.add(&part("add"), y, shortcut).unwrap();
    g.relu(&part("relu2"), sum)
}

fn network() -> Graph {
    let mut g = Builder::new("looks");
    let x = g.input(3);
    let x = g.conv("conv1", x, ConvSpec::new(16, 3, 1)).unwrap();
    let x = g.batch_norm("bn1", x).unwrap();
    let mut x = g.relu("relu", x);
    for (stage, width) in [16, 32, 64].into_iter().enumerate() {
        for index in 0..3 {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            x = block(&mut g, &format!("layer{}.{index}", stage + 1), x, width, stride);
        }
    }
    let x = g.global_avg_pool("avgpool", x).unwrap();
    let x = g.linear("fc", x, 10).unwrap();
    g.finish(x).unwrap()
}

/// The golden's network, its weights with measured statistics, its images.
struct Setting {
    engine: Engine,
    graph: Graph,
    weights: Weights,
    images: Tensor,
    labels: Vec<u32>,
    golden: Value,
}

impl Setting {
    fn new() -> Self {
        let engine = Engine::new(&EngineOptions::default()).unwrap();
        let (graph, labels) = (network(), formula::labels(8, 10));
        let options = TrainingOptions { norm_momentum: 1.0, ..TrainingOptions::default() };
        let shape = InputShape { n: 8, h: 32, w: 32 };
        let mut training = engine.training(&graph, &formula::weights(&graph), shape, &options).unwrap();
        training.forward_backward(formula::input("input", &[8, 3, 32, 32]).data(), &labels);
        let weights = training.weights();
        let images = formula::input("input2", &[8, 3, 32, 32]);
        Self { engine, graph, weights, images, labels, golden: golden() }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { engine: &self.engine, graph: &self.graph, weights: &self.weights }
    }

    /// Image `index` alone.
    fn image(&self, index: usize) -> Tensor {
        Tensor::from_fn([1, 3, 32, 32], |i| self.images.data()[index * 3072 + i])
    }

    fn class(&self) -> usize {
        self.golden["class"].as_u64().unwrap() as usize
    }

    fn number(&self, path: &str) -> f64 {
        path.split('/').fold(&self.golden, |value, key| &value[key]).as_f64().unwrap()
    }

    /// Norm, probe and maximum of an array.
    fn check_map(&self, name: &str, map: &[f32]) {
        self.check_map_as(name, name, map);
    }

    /// The same where the probe goes by another name.
    fn check_map_as(&self, name: &str, probe: &str, map: &[f32]) {
        let wide: Vec<f64> = map.iter().map(|&x| f64::from(x)).collect();
        let norm = wide.iter().map(|x| x * x).sum::<f64>().sqrt();
        let weights = formula::symmetric(&format!("look.{probe}"), wide.len());
        let probe: f64 = wide.iter().zip(&weights).map(|(x, w)| x * w).sum();
        let largest = wide.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        let want = self.number(&format!("{name}/norm"));
        for (what, found) in [("norm", norm), ("probe", probe), ("max", largest)] {
            let wanted = self.number(&format!("{name}/{what}"));
            let scale = if what == "probe" { want } else { wanted };
            println!(
                "{name}: {what} {found:.9}, wanted {wanted:.9}, off by {:.1e}",
                (found - wanted).abs() / scale
            );
            assert!(
                (found - wanted).abs() <= CLOSE * scale.abs(),
                "{name}: {what} {found} instead of {wanted}"
            );
        }
    }

    fn check_rows(&self, name: &str, map: &Tensor, tolerance: f64) {
        let want: Vec<f64> = self.golden[name]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|row| {
                row.as_array().map_or_else(
                    || vec![row.as_f64().unwrap()],
                    |row| row.iter().map(|x| x.as_f64().unwrap()).collect(),
                )
            })
            .collect();
        let largest = want.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        assert_eq!(map.len(), want.len(), "{name}");
        let error = map.data().iter().zip(&want).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
        println!("{name}: off by {:.1e}", error / largest);
        assert!(error <= tolerance * largest, "{name}: off by {:.1e}", error / largest);
    }

    fn check(name: &str, found: f64, wanted: f64) {
        let off = (found - wanted).abs() / wanted.abs().max(1e-12);
        println!("{name}: {found:.9}, wanted {wanted:.9}, off by {off:.1e}");
        assert!(off <= CLOSE, "{name}: {found} instead of {wanted}");
    }
}

#[test]
fn attributions() {
    let s = Setting::new();
    let (subject, image, class) = (s.subject(), s.image(0), s.class());
    let logits = subject.logits(&image).unwrap();
    s.check_rows("logits", &logits, CLOSE);
    for (name, rule) in [
        ("gradient", ReluRule::Derivative),
        ("guided", ReluRule::Guided),
        ("deconv", ReluRule::Deconvolution),
    ] {
        let gradient = input_gradient(&subject, &image, &[class], rule).unwrap();
        s.check_map(name, gradient.data());
        if name == "gradient" {
            s.check_map("saliency", saliency(&gradient).data());
            let sum: f64 = times_input(&gradient, &image).data().iter().map(|&x| f64::from(x)).sum();
            Setting::check("gradient_x_input", sum, s.number("gradient_x_input"));
        }
    }
    let uniform = formula::symmetric("noise", 8 * 3072);
    let noise = Tensor::from_fn([8, 3, 32, 32], |i| (3f64.sqrt() * uniform[i]) as f32);
    s.check_map("smoothgrad", smooth_grad(&subject, &image, class, 0.1, &noise, |_, _| true).unwrap().data());
    let still = smooth_grad(&subject, &image, class, 0.0, &noise, |_, _| true).unwrap();
    s.check_map("gradient", still.data());
    let zero = Tensor::filled([1, 3, 32, 32], 0.0);
    let integrated = integrated_gradients(&subject, &image, &zero, class, 64, |_, _| true).unwrap();
    s.check_map("integrated", integrated.attribution.data());
    Setting::check("integrated sum", integrated.sum, s.number("integrated/sum"));
    Setting::check("integrated gap", integrated.gap, s.number("integrated/gap"));
    // Completeness, as far as the kinks of ReLUs let many steps come.
    let many = integrated_gradients(&subject, &image, &zero, class, 1024, |_, _| true).unwrap();
    assert!((many.sum - many.gap).abs() < 0.01 * many.gap.abs(), "{} and {}", many.sum, many.gap);
}

#[test]
fn class_maps() {
    let s = Setting::new();
    let (subject, image, class) = (s.subject(), s.image(0), s.class());
    assert_eq!(default_layer(&subject).as_deref(), Some("layer3.2.relu2"));
    let map = |method| class_map(&subject, &image, class, "layer3", method, |_, _| true).unwrap();
    s.check_rows("gradcam", &map(CamMethod::GradCam), CLOSE);
    s.check_rows("gradcam_pp", &map(CamMethod::GradCamPlusPlus), CLOSE);
    // Two singular values lie close together.
    let eigen = map(CamMethod::EigenCam);
    let want = s.golden["eigencam_up_to_sign"].as_array().unwrap();
    let first = want.iter().flat_map(|row| row.as_array().unwrap()).map(|x| x.as_f64().unwrap());
    let largest = first.fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a });
    let oriented = Tensor::from_fn([8, 8], |i| eigen.data()[i] * largest.signum() as f32);
    s.check_rows("eigencam_up_to_sign", &oriented, 1e-2);
    // A net that ends in mean and linear: the weights of the class over the number of pixels.
    let weights = &s.weights["fc.weight"];
    let values = subject.values(&image, &["layer3".into()]).unwrap();
    let cam = map(CamMethod::GradCam);
    for pixel in 0..64 {
        let sum: f64 = (0..64)
            .map(|k| f64::from(weights.data()[class * 64 + k]) * f64::from(values[0].data()[k * 64 + pixel]))
            .sum();
        assert!((f64::from(cam.data()[pixel]) - sum.max(0.0) / 64.0).abs() < 1e-5);
    }
    // For such a net the gradient is the same at every pixel, so that these agree.
    let other = map(CamMethod::HiResCam);
    assert!(cam.data().iter().zip(other.data()).all(|(a, b)| (a - b).abs() < 1e-5));
    for method in [CamMethod::LayerCam, CamMethod::XGradCam, CamMethod::ScoreCam] {
        let other = map(method);
        assert!(other.data().iter().all(|&x| x.is_finite() && x >= 0.0), "{method:?}");
        assert!(other.data().iter().any(|&x| x > 0.0), "{method:?}");
    }
    assert!(
        class_map(&subject, &image, class, "layer9", CamMethod::GradCam, |_, _| true)
            .unwrap_err()
            .to_string()
            .contains("layer3")
    );
    assert!(
        class_map(&subject, &image, 10, "layer3", CamMethod::GradCam, |_, _| true)
            .unwrap_err()
            .to_string()
            .contains("0 to 9")
    );
}

#[test]
fn occlusions() {
    let s = Setting::new();
    let (subject, image, class) = (s.subject(), s.image(0), s.class());
    let hide = |size, stride| {
        occlusion(&subject, &image, class, Patch { size, stride, fill: 0.0 }, |_, _| true).unwrap()
    };
    s.check_rows("occlusion_8_8", &hide(8, 8), CLOSE);
    let whole = f64::from(hide(32, 1).data()[0]);
    let zero = Tensor::filled([1, 3, 32, 32], 0.0);
    let score = |image: &Tensor| f64::from(subject.logits(image).unwrap().data()[class]);
    assert!((whole - (score(&image) - score(&zero))).abs() < 1e-5);
    assert!(hide(0, 31).data().iter().all(|&x| x.abs() < 1e-5), "a patch of no size hides nothing");
}

#[test]
fn synthesis() {
    let s = Setting::new();
    let (subject, class) = (s.subject(), s.class());
    let zero = Tensor::filled([1, 3, 32, 32], 0.0);
    let options = Maximisation { steps: 10, decay: 0.01, ..Maximisation::default() };
    let goal = Goal::Class(class);
    let made = maximise(&subject, &zero, &goal, &options, |_, _| true).unwrap();
    // The path crosses kinks of ReLUs, behind which rounding sends it elsewhere: the scores stay close.
    let scores = s.golden["activation_maximisation"]["scores"].as_array().unwrap();
    for (step, (&found, want)) in made.scores.iter().zip(scores).enumerate() {
        let want = want.as_f64().unwrap();
        let allowed = if step < 6 { 1e-5 } else { 2e-3 };
        assert!((found - want).abs() <= allowed * want, "step {step}: score {found} instead of {want}");
    }
    let norm = made.image.data().iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    assert!((norm / s.number("activation_maximisation/norm") - 1.0).abs() < 1e-2, "{norm}");
    let shaken =
        maximise(&subject, &zero, &goal, &Maximisation { jitter: 3, ..options }, |_, _| true).unwrap();
    assert!(shaken.scores.last() > shaken.scores.first());

    let features = subject.values(&s.image(0), &["layer2".into()]).unwrap().remove(0);
    let options = Inversion { steps: 30, rate: 1.0, bound: 1e-4, variation: 1e-3 };
    let objective = inversion_objective(&subject, &s.image(1), "layer2", &features, &options).unwrap();
    Setting::check("inversion data", objective.data, s.number("inversion_layer2/data"));
    Setting::check("inversion bound", objective.bound, s.number("inversion_layer2/bound"));
    Setting::check("inversion variation", objective.variation, s.number("inversion_layer2/variation"));
    Setting::check("inversion whole", objective.whole, s.number("inversion_layer2/whole"));
    let gradient: Vec<f32> = objective.gradient.iter().map(|&g| g as f32).collect();
    s.check_map_as("inversion_layer2", "inversion", &gradient);
}

#[test]
fn layers_and_blocks() {
    let s = Setting::new();
    let subject = s.subject();
    for response in response_std(&subject, &s.images, |_| true).unwrap() {
        Setting::check(&response.layer, response.std, s.number(&format!("response_std/{}", response.layer)));
    }
    let loss = |graph: &Graph, weights: &Weights| {
        let changed = Subject { graph, weights, ..subject };
        changed.score(&s.images, &s.labels, |_| true).unwrap().unwrap().loss
    };
    Setting::check("loss", loss(&s.graph, &s.weights), s.number("loss"));
    let blocks = s.graph.residual_blocks();
    assert_eq!(blocks.iter().filter(|block| block.is_identity).count(), 7);
    for (block, want) in blocks.iter().zip(s.golden["lesion_loss"].as_array().unwrap()) {
        let score = subject.score_without(&[block], &s.images, &s.labels, |_| true).unwrap().unwrap();
        Setting::check(&block.name, score.loss, want.as_f64().unwrap());
    }
    let swapped = permute_modules(&s.weights, &["layer2.1", "layer2.2"], &[1, 0]).unwrap();
    Setting::check("swap", loss(&s.graph, &swapped), s.number("swap_layer2_1_2_loss"));
    assert!(permute_modules(&s.weights, &["layer1.1", "layer2.1"], &[1, 0]).is_err());
    assert_eq!(interchangeable(&blocks, &s.weights), [vec![0, 1, 2], vec![4, 5], vec![7, 8]]);
    let reordered = reorder(&s.weights, &blocks, &[0, 1, 2, 3, 5, 4, 6, 7, 8]).unwrap();
    assert!(reordered == swapped, "blocks 4 and 5 are layer2.1 and layer2.2");

    let (image, class) = (s.image(0), s.class());
    let norm = |tensor: &Tensor| tensor.data().iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let identity = identity_path_gradient(&subject, &image, &[class], &[]).unwrap();
    // With every branch gone the identity paths are all there is.
    let without = delete_blocks(&s.graph, &blocks.iter().collect::<Vec<_>>());
    let deleted = Subject { graph: &without, ..subject };
    let alone = input_gradient(&deleted, &image, &[class], ReluRule::Derivative).unwrap();
    Setting::check("identity paths", norm(&alone), s.number("identity_path_gradient_norm"));
    assert!(norm(&identity) < 0.01 * s.number("gradient_norm"), "{}", norm(&identity));
    // All paths together make the gradient.
    let mut sum = vec![0.0f64; 3072];
    for paths in 0..1 << 9 {
        let through: Vec<usize> = (0..9).filter(|block| paths >> block & 1 == 1).collect();
        let part = identity_path_gradient(&subject, &image, &[class], &through).unwrap();
        sum.iter_mut().zip(part.data()).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let whole = Tensor::from_fn([3072], |i| sum[i] as f32);
    Setting::check("all paths", norm(&whole), s.number("gradient_norm"));
}

#[test]
fn landscapes() {
    let s = Setting::new();
    let direction = Direction::new(&s.graph, &s.weights, |name, len| {
        formula::symmetric(&format!("direction.{name}"), len)
    });
    let points = [-1.0, -0.5, 0.0, 0.5, 1.0].map(|a| (a, 0.0));
    let losses =
        landscape(&s.subject(), &s.images, &s.labels, [&direction, &direction], &points, |_, _| true)
            .unwrap();
    for (loss, key) in losses.iter().zip(["-1.0", "-0.5", "0.0", "0.5", "1.0"]) {
        Setting::check(key, loss.loss, s.golden["landscape_filter_normalised"][key].as_f64().unwrap());
    }
    let stopped =
        landscape(&s.subject(), &s.images, &s.labels, [&direction, &direction], &points, |done, _| done < 2)
            .unwrap();
    assert!(stopped[1].loss.is_finite() && stopped[2].loss.is_nan());
    let far = shifted(&s.weights, &[(0.5, &direction)]);
    let line = interpolation(&s.subject(), &far, &s.images, &s.labels, &[0.0, 1.0], |_, _| true).unwrap();
    Setting::check("start", line[0].loss, losses[2].loss);
    Setting::check("end", line[1].loss, losses[3].loss);
}

#[test]
fn receptive_fields() {
    let s = Setting::new();
    let sizes = ["layer1", "layer2", "layer3"].map(|layer| receptive_field(&s.graph, layer).unwrap().size);
    assert_eq!(sizes.map(|size| size as usize), [15, 37, 81]);
    let field = receptive_field(&s.graph, "layer2").unwrap();
    assert_eq!(field.pixels(8, 32), 0..32);
    let effective = effective_receptive_field(&s.subject(), &s.images, "layer2", (8, 8), |_| true).unwrap();
    s.check_map_as("receptive_field_layer2", "field", effective.data());
    let rows: Vec<f64> =
        effective.data().chunks(32).map(|row| row.iter().map(|&x| f64::from(x)).sum()).collect();
    let want = s.golden["receptive_field_layer2"]["rows"].as_array().unwrap();
    for (index, (row, want)) in rows.iter().zip(want).enumerate() {
        Setting::check(&format!("row {index}"), *row, want.as_f64().unwrap());
    }
    // On a larger image nothing outside of the field has an influence.
    let large = formula::input("input2", &[1, 3, 96, 96]);
    let effective = effective_receptive_field(&s.subject(), &large, "layer2", (24, 24), |_| true).unwrap();
    let seen = field.pixels(24, 96);
    for (index, &x) in effective.data().iter().enumerate() {
        assert!(x == 0.0 || (seen.contains(&(index / 96)) && seen.contains(&(index % 96))), "{index}");
    }
    assert!(receptive_field(&s.graph, "fc").is_err());
}

#[test]
fn features() {
    let s = Setting::new();
    let layer = feature_layer(&s.graph).unwrap();
    assert_eq!(layer, "avgpool");
    let pooled = residuum_explain::features(&s.subject(), &s.images, &layer, |_| true).unwrap();
    let means = residuum_explain::features(&s.subject(), &s.images, "layer3", |_| true).unwrap();
    assert!(pooled.data().iter().zip(means.data()).all(|(a, b)| (a - b).abs() < 1e-5), "pooled by hand");
    let pca = Pca::new(pooled.data(), 64, 7);
    for (index, want) in s.golden["pca_explained"].as_array().unwrap().iter().enumerate() {
        Setting::check(&format!("component {index}"), pca.explained[index], want.as_f64().unwrap());
    }
}

#[test]
fn connections() {
    let model = build("cifar_densenet_40_12", Some(10)).unwrap();
    let found = connection_strength(&model.graph, &formula::weights(&model.graph));
    let golden = golden();
    let want = golden["densenet_40_12_connection_strength"].as_array().unwrap();
    assert_eq!(found.len(), want.len());
    for (number, (block, want)) in found.iter().zip(want).enumerate() {
        let rows = want.as_array().unwrap();
        assert_eq!(block.strengths.len(), rows.len(), "block {number}: {:?}", block.readers);
        for ((reader, row), want) in block.readers.iter().zip(&block.strengths).zip(rows) {
            let want = want.as_array().unwrap();
            assert_eq!(row.len(), want.len(), "{reader}");
            for (source, (&found, want)) in row.iter().zip(want).enumerate() {
                let want = want.as_f64().unwrap();
                assert!((found - want).abs() <= CLOSE * want, "{reader} of {source}: {found}, not {want}");
            }
        }
    }
}
