//! Caffe's networks as graphs: the published layouts against PyTorch's values, the rules in which Caffe
//! differs, and what is refused.

#[path = "support/published.rs"]
mod published;

use std::path::PathBuf;

use published::file::{Encoding, LayerFile, caffemodel, old_blob};
use published::{Style, own_names, publish, published_names};
use residuum_convert::caffe::{channel_means, mean_image, network};
use residuum_convert::{ConvertOptions, Mean, load, same_function, save, verify};
use residuum_data::{Preprocess, RgbImage};
use residuum_engine::{Engine, EngineOptions, InputShape, TrainingOptions};
use residuum_formats::caffe::{parse_definition, read_definition, read_mean_bytes, read_weights_bytes};
use residuum_graph::{Graph, MaxPool, Op, Weights};
use residuum_models::{build, formula, initialise};
use serde_json::Value;

fn engine() -> Engine {
    Engine::new(&EngineOptions::default()).unwrap()
}

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/formula/resnet50.caffe.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn floats(rows: &Value) -> Vec<f64> {
    let rows = rows.as_array().unwrap().iter();
    rows.flat_map(|row| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap())).collect()
}

/// The network of the golden file after the one step after which its evaluation was done.
fn trained(engine: &Engine, shape: InputShape, classes: usize) -> (Graph, Weights) {
    let graph = build("resnet50.caffe", Some(classes)).unwrap().graph;
    let options = TrainingOptions { norm_momentum: 1.0, ..TrainingOptions::default() };
    let mut training = engine.training(&graph, &formula::weights(&graph), shape, &options).unwrap();
    let images = formula::input("input", &[shape.n, 3, shape.h, shape.w]);
    training.forward_backward(images.data(), &formula::labels(shape.n, classes));
    let weights = training.weights();
    (graph, weights)
}

#[test]
fn the_published_layout_computes_what_pytorch_computes_in_both_encodings() {
    let (engine, golden) = (engine(), golden());
    let shape = InputShape { n: 4, h: 64, w: 64 };
    let (graph, weights) = trained(&engine, shape, 10);
    let folder = tempfile::tempdir().unwrap();
    let cases =
        [(Encoding::New, 999.982_36, true, "net.safetensors"), (Encoding::Old, 1.0, false, "net.pth")];
    for (encoding, factor, has_conv1_bias, out) in cases {
        let style = Style { names: published_names, has_conv1_bias, factor };
        let (prototxt, layers) = publish(&graph, &weights, shape.h, style);
        let path = folder.path().join("net.caffemodel");
        std::fs::write(&path, caffemodel("net", &layers, encoding)).unwrap();
        std::fs::write(folder.path().join("net.prototxt"), prototxt).unwrap();
        let source = load(&path, &ConvertOptions::default()).unwrap();
        assert_eq!(source.loaded.model.name, "resnet50.caffe");
        assert!(source.weights.keys().eq(weights.keys()));

        let images = formula::input("input2", &[shape.n, 3, shape.h, shape.w]);
        let mut program = engine.inference(&source.graph, &source.weights, shape, &[]).unwrap();
        let expected = floats(&golden["eval_logits"]);
        let largest = expected.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        let found = program.run(images.data()).iter().map(|&x| f64::from(x));
        let error = found.zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest;
        let allowed = 10.0 * golden["f32_error"]["eval_logits"].as_f64().unwrap();
        assert!(error < allowed, "{encoding:?}: off by {error:.1e}, allowed {allowed:.1e}");

        let out = folder.path().join(out);
        save(&source.loaded, &out).unwrap();
        let verification = verify(&engine, &source, &out).unwrap();
        assert!(verification.holds(1e-4), "{verification:?}");
    }
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn the_published_definitions_are_the_registered_networks() {
    let folder =
        PathBuf::from(std::env::var_os("RESIDUUM_DATA").expect("RESIDUUM_DATA names the shared data"));
    for (depth, parameters, multiply_adds) in
        [(50, 25_557_032, 3_857_973_248), (101, 44_549_160, 7_570_194_432), (152, 60_192_808, 11_282_415_616)]
    {
        let path = folder.join(format!("data/caffe/ResNet-{depth}-deploy.prototxt"));
        let network = network(&read_definition(path).unwrap()).unwrap();
        assert_eq!(network.registered().unwrap().unwrap().name, format!("resnet{depth}.caffe"));
        let counts = network.graph.count(224, 224).unwrap();
        assert_eq!(
            (counts.depth, counts.parameters, counts.multiply_adds),
            (depth, parameters, multiply_adds)
        );
        assert_eq!(network.input, [224, 224]);
        assert!(network.notes[0].contains("prob"), "{:?}", network.notes);
    }
}

const HEAD: &str = "input: \"data\" input_shape { dim: [1, 3, SIDE, SIDE] }\n";
const CONV: &str = "layer { name: \"conv\" type: \"Convolution\" bottom: \"data\" top: \"conv\"
    convolution_param { num_output: 3 kernel_size: 1 bias_term: false } }\n";
const POOL5: &str = "layer { name: \"gap\" type: \"Pooling\" bottom: \"pool\" top: \"gap\" pooling_param { pool: AVE global_pooling: true } }\n";

fn with_side(side: usize, layers: &[&str]) -> String {
    [HEAD.replace("SIDE", &side.to_string()), layers.concat()].concat()
}

fn identity() -> LayerFile {
    let blobs = vec![(vec![3, 3, 1, 1], vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0])];
    LayerFile { name: "conv".into(), kind: "Convolution".into(), blobs }
}

/// The weights that a file with these layers holds for a definition.
fn convert(text: &str, layers: &[LayerFile]) -> Result<(Graph, Weights), String> {
    let network = network(&parse_definition(text).unwrap()).map_err(|e| e.to_string())?;
    let file = read_weights_bytes(&caffemodel("", layers, Encoding::New).into()).unwrap();
    let weights = network.weights(&file).map_err(|e| e.to_string())?;
    Ok((network.graph, weights))
}

/// What a network answers for one image.
fn answer(network: &(Graph, Weights), side: usize, image: &[f32]) -> Vec<f32> {
    let shape = InputShape { n: 1, h: side, w: side };
    engine().inference(&network.0, &network.1, shape, &[]).unwrap().run(image).to_vec()
}

#[test]
fn windows_of_an_unpadded_pool_begin_at_the_edge_and_are_rounded_up() {
    const POOL: &str = "layer { name: \"pool\" type: \"Pooling\" bottom: \"conv\" top: \"pool\" pooling_param { pool: MAX kernel_size: 3 stride: 2 } }\n";
    let engine = engine();
    for side in [5, 6, 7, 8, 13, 112] {
        let (graph, weights) = convert(&with_side(side, &[CONV, POOL, POOL5]), &[identity()]).unwrap();
        let images = formula::input("pool1", &[1, 3, side, side]);
        let shape = InputShape { n: 1, h: side, w: side };
        let mut program = engine.inference(&graph, &weights, shape, &["pool".into()]).unwrap();
        program.run(images.data());
        let found = program.tap("pool").unwrap();

        // By the sheet: even sides are halved, odd ones halved and rounded down.
        let windows = side / 2;
        assert_eq!(found.shape(), [1, 3, windows, windows], "{side}");
        for colour in 0..3 {
            // The filters are the identity for blue, green, red; the images come as red, green, blue.
            let plane = &images.data()[(2 - colour) * side * side..][..side * side];
            for (y, x) in (0..windows).flat_map(|y| (0..windows).map(move |x| (y, x))) {
                let rows = 2 * y..(2 * y + 3).min(side);
                let columns = 2 * x..(2 * x + 3).min(side);
                let values =
                    rows.flat_map(|row| columns.clone().map(move |column| plane[row * side + column]));
                let expected = values.fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(found.data()[(colour * windows + y) * windows + x].to_bits(), expected.to_bits());
            }
        }
    }
}

#[test]
fn another_pool_or_stride_is_another_network() {
    for name in ["resnet50.caffe", "resnet50", "resnet50.tv"] {
        let graph = build(name, Some(5)).unwrap().graph;
        let style = Style { names: published_names, has_conv1_bias: true, factor: 1.0 };
        let (text, _) = publish(&graph, &formula::weights(&graph), 64, style);
        let found = network(&parse_definition(&text).unwrap()).unwrap();
        assert_eq!(found.registered().unwrap().unwrap().name, name);
        for other in ["resnet50.caffe", "resnet50", "resnet50.tv"] {
            let other_graph = build(other, Some(5)).unwrap().graph;
            assert_eq!(same_function(&found.graph, &other_graph), other == name, "{name}, {other}");
        }
    }
}

const NORM: &str = "layer { name: \"bn\" type: \"BatchNorm\" bottom: \"conv\" top: \"conv\" }\n";
const SCALE: &str = "layer { name: \"scale\" type: \"Scale\" bottom: \"conv\" top: \"conv\" scale_param { bias_term: true } }\n";
const GAP: &str = "layer { name: \"gap\" type: \"Pooling\" bottom: \"conv\" top: \"gap\" pooling_param { pool: AVE kernel_size: 1 } }\n";

fn statistics(mean: f32, variance: f32, factor: f32) -> LayerFile {
    let blobs = vec![(vec![3], vec![mean; 3]), (vec![3], vec![variance; 3]), (vec![1], vec![factor])];
    LayerFile { name: "bn".into(), kind: "BatchNorm".into(), blobs }
}

fn affine(factor: f32, shift: f32) -> LayerFile {
    let blobs = vec![(vec![3], vec![factor; 3]), (vec![3], vec![shift; 3])];
    LayerFile { name: "scale".into(), kind: "Scale".into(), blobs }
}

#[test]
fn statistics_are_divided_by_their_factor_and_colours_swapped() {
    let image = [1.0, 2.0, 4.0];
    let layers = [identity(), statistics(5.0, 40.0, 10.0), affine(3.0, -1.0)];
    let network = convert(&with_side(1, &[CONV, NORM, SCALE, GAP]), &layers).unwrap();
    assert_eq!(network.1["bn.running_mean"].data(), [0.5; 3]);
    assert_eq!(network.1["bn.running_var"].data(), [4.0; 3]);
    let found = answer(&network, 1, &image);
    let expected = [4.0f32, 2.0, 1.0].map(|x| (x - 0.5) / (4.0f32 + 1e-5).sqrt() * 3.0 - 1.0);
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");

    // A factor of 0 says that nothing was accumulated: mean and variance are 0.
    let layers = [identity(), statistics(5.0, 40.0, 0.0), affine(3.0, -1.0)];
    let network = convert(&with_side(1, &[CONV, NORM, SCALE, GAP]), &layers).unwrap();
    assert_eq!(network.1["bn.running_mean"].data(), [0.0; 3]);
    assert_eq!(network.1["bn.running_var"].data(), [0.0; 3]);
}

#[test]
fn a_norm_alone_a_scale_alone_and_another_eps_keep_their_meaning() {
    let norm = NORM.replace("top: \"conv\" }", "top: \"conv\" batch_norm_param { eps: 0.5 } }");
    let network =
        convert(&with_side(1, &[CONV, &norm, GAP]), &[identity(), statistics(1.0, 3.5, 1.0)]).unwrap();
    let found = answer(&network, 1, &[1.0, 2.0, 4.0]);
    assert!(found.iter().zip([1.5, 0.5, 0.0]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-5), "{found:?}");

    let network = convert(&with_side(1, &[CONV, SCALE, GAP]), &[identity(), affine(3.0, -1.0)]).unwrap();
    assert_eq!(answer(&network, 1, &[1.0, 2.0, 4.0]), [11.0, 5.0, 2.0]);
    assert_eq!(network.0.nodes().len(), 3, "the scale became part of the convolution");
}

#[test]
fn a_bias_in_front_of_a_norm_moves_into_the_mean_and_stays_elsewhere() {
    let biased = CONV.replace("bias_term: false", "");
    let mut conv = identity();
    conv.blobs.push((vec![3], vec![1.0, 2.0, 3.0]));
    let layers = [conv, statistics(5.0, 4.0, 1.0), affine(1.0, 0.0)];
    let (graph, weights) = convert(&with_side(1, &[&biased, NORM, SCALE, GAP]), &layers).unwrap();
    assert!(graph.find_param("conv.bias").is_none());
    assert_eq!(weights["bn.running_mean"].data(), [4.0, 3.0, 2.0]);

    let network = convert(&with_side(1, &[&biased, GAP]), &layers[..1]).unwrap();
    assert_eq!(answer(&network, 1, &[1.0, 2.0, 4.0]), [5.0, 4.0, 4.0]);
}

#[test]
fn groups_dilation_sums_of_three_and_a_matrix_on_its_side_are_converted() {
    const LAYERS: &str = "
        layer { name: \"g\" type: \"Convolution\" bottom: \"conv\" top: \"g\" convolution_param { num_output: 6 kernel_size: 3 pad: 2 dilation: 2 group: 3 } }
        layer { name: \"d\" type: \"Dropout\" bottom: \"g\" top: \"d\" }
        layer { name: \"s\" type: \"Eltwise\" bottom: \"g\" bottom: \"d\" bottom: \"g\" top: \"s\" eltwise_param { coeff: 1 coeff: 1 coeff: 1 } }
        layer { name: \"p\" type: \"Pooling\" bottom: \"s\" top: \"p\" pooling_param { pool: AVE kernel_size: 5 } }
        layer { name: \"f\" type: \"InnerProduct\" bottom: \"p\" top: \"f\" inner_product_param { num_output: 2 transpose: true bias_term: false } }";
    let group = vec![(vec![6, 1, 3, 3], vec![0.5; 54]), (vec![1, 1, 1, 6], vec![1.0; 6])];
    let matrix = (0..12).map(|i| i as f32).collect();
    let layers = [
        identity(),
        LayerFile { name: "g".into(), kind: "Convolution".into(), blobs: group },
        LayerFile { name: "f".into(), kind: "InnerProduct".into(), blobs: vec![(vec![1, 1, 6, 2], matrix)] },
        // A layer that the definition lacks is passed over.
        LayerFile { name: "loss".into(), kind: "SoftmaxWithLoss".into(), blobs: Vec::new() },
    ];
    let (graph, weights) = convert(&with_side(5, &[CONV, LAYERS]), &layers).unwrap();
    let conv = graph.nodes().iter().find(|node| node.name == "g").unwrap();
    let Op::Conv2d(conv) = conv.op else { panic!("{conv:?}") };
    assert_eq!((conv.groups, conv.dilation, conv.padding, conv.bias.is_some()), (3, [2; 2], [2; 2], true));
    assert_eq!(graph.nodes().iter().filter(|node| node.op == Op::Add).count(), 2);
    assert_eq!(weights["f.weight"].shape(), [2, 6]);
    assert_eq!(weights["f.weight"].data()[..6], [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    assert_eq!(weights["f.bias"].data(), [0.0; 2]);
}

#[test]
fn sizes_of_a_padded_pool_agree_with_the_graphs() {
    for (kernel, stride, pad) in [(2, 2, 1), (3, 2, 1), (3, 3, 1), (5, 2, 2)] {
        let pool = format!(
            "layer {{ name: \"pool\" type: \"Pooling\" bottom: \"conv\" top: \"pool\" pooling_param {{ kernel_size: {kernel} stride: {stride} pad: {pad} }} }}\n"
        );
        for side in 5..12 {
            let window = MaxPool { kernel: [kernel; 2], stride: [stride; 2], padding: [pad; 2], ceil: true };
            let definition = parse_definition(&with_side(side, &[CONV, &pool, POOL5])).unwrap();
            let graph = network(&definition).unwrap().graph;
            let pooled = graph.nodes().iter().position(|node| node.op == Op::MaxPool(window)).unwrap();
            let size = graph.extents(side, side).unwrap()[pooled][0];

            // A mean over a window of that size is taken for one over the whole map, and over no other.
            let is_whole = |size: usize| {
                let mean = POOL5.replace("global_pooling: true", &format!("kernel_size: {size}"));
                let definition = parse_definition(&with_side(side, &[CONV, &pool, &mean])).unwrap();
                let graph = network(&definition).unwrap().graph;
                graph.nodes().iter().any(|node| node.op == Op::GlobalAvgPool)
            };
            assert!(is_whole(size) && !is_whole(size - 1), "{kernel} {stride} {pad} {side}");
        }
    }
}

#[test]
fn weights_that_are_not_the_definitions_are_told_by_layer() {
    let text = with_side(1, &[CONV, NORM, SCALE, GAP]);
    let error = |layers: Vec<LayerFile>| convert(&text, &layers).unwrap_err();
    assert!(
        error(vec![identity(), statistics(0.0, 1.0, 1.0)])
            .starts_with("layer `scale`: the file of weights has no")
    );

    let mut surplus = identity();
    surplus.blobs.push((vec![3], vec![0.0; 3]));
    let message = error(vec![surplus, statistics(0.0, 1.0, 1.0), affine(1.0, 0.0)]);
    assert_eq!(message, "layer `conv`: expected 1 blobs (weight), found 2");

    let mut missing = affine(1.0, 0.0);
    missing.blobs.pop();
    let message = error(vec![identity(), statistics(0.0, 1.0, 1.0), missing]);
    assert_eq!(message, "layer `scale`: expected 2 blobs (factor, shift), found 1");

    let mut turned = identity();
    turned.blobs[0].0 = vec![9, 1, 1, 1];
    let message = error(vec![turned, statistics(0.0, 1.0, 1.0), affine(1.0, 0.0)]);
    assert_eq!(message, "layer `conv`: blob 0: expected the shape [3, 3, 1, 1], found [9, 1, 1, 1]");

    let message = error(vec![identity(), statistics(0.0, -1.0, 1.0), affine(1.0, 0.0)]);
    assert!(message.contains("variances from 0 on"), "{message}");
    let message = error(vec![identity(), statistics(0.0, 1.0, 1.0), affine(f32::NAN, 0.0)]);
    assert!(message.starts_with("layer `bn`: `bn.weight`") && message.contains("not finite"), "{message}");
}

#[test]
fn what_no_operation_does_is_refused_by_layer() {
    let layer = |kind: &str, param: &str| {
        format!("layer {{ name: \"x\" type: \"{kind}\" bottom: \"conv\" top: \"x\" {param} }}")
    };
    for (layers, part) in [
        (vec![CONV.into(), layer("LRN", "")], "`LRN`"),
        (vec![CONV.into(), layer("ReLU", "relu_param { negative_slope: 0.1 }")], "slope"),
        (
            vec![CONV.into(), layer("BatchNorm", "batch_norm_param { use_global_stats: false }")],
            "use_global_stats",
        ),
        (vec![CONV.into(), layer("Eltwise", "bottom: \"conv\" eltwise_param { operation: PROD }")], "sum"),
        (
            vec![CONV.into(), layer("Eltwise", "bottom: \"conv\" eltwise_param { coeff: 1 coeff: -1 }")],
            "coefficients 1",
        ),
        (vec![CONV.into(), layer("Concat", "bottom: \"conv\"")], "concatenation"),
        (vec![CONV.into(), layer("InnerProduct", "inner_product_param { num_output: 2 }")], "found 4×4"),
        (
            vec![
                CONV.into(),
                layer("Convolution", "convolution_param { num_output: 2 kernel_h: 1 kernel_w: 3 }"),
            ],
            "square",
        ),
        (
            vec![CONV.into(), layer("Convolution", "convolution_param { num_output: 2 kernel_size: 9 }")],
            "window",
        ),
        (
            vec![
                CONV.into(),
                layer("Convolution", "convolution_param { num_output: 2 kernel_size: 1 group: 2 }"),
            ],
            "groups",
        ),
        (vec![CONV.into(), layer("Pooling", "pooling_param { kernel_size: 1 stride: 2 }")], "begin outside"),
        (vec![CONV.into(), layer("Scale", "bottom: \"conv\"")], "2 inputs"),
        (
            vec![CONV.into(), layer("ReLU", ""), SCALE.replace("bottom: \"conv\"", "bottom: \"x\"")],
            "in front of it",
        ),
        (vec![CONV.into(), layer("ReLU", "").replace("\"x\"", "\"y\""), layer("ReLU", "")], "ends here too"),
        (
            vec![
                CONV.into(),
                layer("Softmax", ""),
                layer("ReLU", "").replace("\"conv\"", "\"x\"").replace("name: \"x\"", "name: \"r\""),
            ],
            "at the end only",
        ),
        (vec![CONV.replace("\"data\"", "\"images\"")], "`images`, which nobody wrote"),
        (vec![CONV.replace("num_output: 3", "num_output: 3 group: 3")], "colours"),
        (vec![POOL5.replace("\"pool\"", "\"data\"")], "colours"),
    ] {
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let error = network(&parse_definition(&with_side(4, &layers)).unwrap()).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{part}: {error}");
    }
    let no_size = "input: \"data\" input_shape { dim: [1, 3] }";
    let error = network(&parse_definition(&[no_size, CONV].concat()).unwrap()).unwrap_err().to_string();
    assert!(error.contains("[n, channels, h, w]"), "{error}");
}

#[test]
fn a_mean_becomes_the_preparation() {
    let mut image = vec![103.0; 4];
    image.extend([115.0, 117.0, 115.0, 117.0]);
    image.extend([123.0; 4]);
    let blob = read_mean_bytes(&old_blob(&[3, 2, 2], &image).into()).unwrap();
    assert_eq!(channel_means(&blob).unwrap(), Some(([103.0, 116.0, 123.0], 1.0)));
    let none = read_mean_bytes(&old_blob(&[2, 2, 3], &image).into()).unwrap();
    assert_eq!(channel_means(&none).unwrap(), None);

    assert_eq!(mean_image(&blob, 3).unwrap(), None);
    let kept = mean_image(&blob, 2).unwrap().unwrap();
    assert_eq!(kept.pixels()[1].map(|value| (255.0 * value).round() as u8), [123, 117, 103]);

    let preparation = Preprocess::caffe(224, [103.0, 116.0, 123.0]);
    preparation.check().unwrap();
    assert_eq!((preparation.resize, preparation.crop), (Some(256), 224));
    let picture = RgbImage::from_fn(224, 224, |_, _| [200, 100, 50]);
    let prepared = preparation.apply(&picture);
    let found = [0, 1, 2].map(|plane| prepared[plane * 224 * 224]);
    assert!(
        found.iter().zip([77.0, -16.0, -53.0]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-3),
        "{found:?}"
    );
}

#[test]
fn a_small_network_goes_to_both_formats_and_a_wrong_file_is_found_out() {
    let engine = engine();
    let graph = build("cifar_resnet8b", Some(7)).unwrap().graph;
    let weights = initialise(&graph, 3);
    let style = Style { names: own_names, has_conv1_bias: true, factor: 12.5 };
    let (text, layers) = publish(&graph, &weights, 32, style);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.caffemodel"), caffemodel("a", &layers, Encoding::New)).unwrap();
    std::fs::write(path("deploy.prototxt"), &text).unwrap();
    std::fs::write(path("mean.binaryproto"), old_blob(&[3, 1, 1], &[1.0, 2.0, 3.0])).unwrap();

    let mean = path("mean.binaryproto");
    let options = ConvertOptions { mean: Some(Mean::File(&mean)), ..ConvertOptions::default() };
    let source = load(path("a.caffemodel"), &options).unwrap();
    assert_eq!((source.loaded.model.name.as_str(), source.loaded.classes()), ("cifar_resnet8b", 7));
    assert_eq!(source.loaded.info.preprocess, Preprocess::caffe(32, [1.0, 2.0, 3.0]));
    for out in ["out.safetensors", "out.pth"] {
        save(&source.loaded, path(out)).unwrap();
        let verification = verify(&engine, &source, path(out)).unwrap();
        assert!(verification.holds(1e-5) && verification.images > 1, "{verification:?}");
    }
    let mut wrong = source.loaded.clone();
    wrong.weights.get_mut("fc.bias").unwrap().data_mut()[3] += 1e3;
    save(&wrong, path("wrong.pth")).unwrap();
    assert!(!verify(&engine, &source, path("wrong.pth")).unwrap().holds(1e-5));

    let as_other = ConvertOptions { model: Some("cifar_resnet8"), ..ConvertOptions::default() };
    let error = load(path("a.caffemodel"), &as_other).unwrap_err().to_string();
    assert!(error.contains("defines `cifar_resnet8b`, not `cifar_resnet8`"), "{error}");
    let error = load(path("out.safetensors"), &options).unwrap_err().to_string();
    assert!(error.contains(".caffemodel only"), "{error}");

    std::fs::write(path("other.prototxt"), &text).unwrap();
    let error = load(path("a.caffemodel"), &ConvertOptions::default()).unwrap_err().to_string();
    assert!(error.contains("--prototxt (2"), "{error}");
    std::fs::write(
        path("a.prototxt"),
        text.replace("kernel_size: 3 pad: 1 stride: 2", "kernel_size: 5 pad: 2 stride: 2"),
    )
    .unwrap();
    let error = load(path("a.caffemodel"), &ConvertOptions::default()).unwrap_err().to_string();
    assert!(error.contains("a.prototxt: no registered network"), "{error}");
}
