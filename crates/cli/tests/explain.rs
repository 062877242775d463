//! `residuum explain` and `residuum reproduce chu2017` as processes: every method on a small net, and what is
//! refused.

mod support;

use std::path::Path;

use residuum::classify::{ModelFile, ModelInfo};
use residuum::data::Preprocess;
use residuum::formats::npy;
use residuum::models::{build, initialise};
use residuum_graph::{AvgPool, Builder, ConvSpec, Graph, MaxPool};
use serde_json::Value;
use tempfile::TempDir;

use support::{bmp, printed, refused, run};

/// Methods that are shown an image, with the shape of what they give for 32 × 32.
const WITH_IMAGE: [(&str, &[usize]); 17] = [
    ("gradient", &[1, 3, 32, 32]),
    ("saliency", &[1, 32, 32]),
    ("smooth-grad", &[1, 32, 32]),
    ("integrated-gradients", &[1, 3, 32, 32]),
    ("guided", &[1, 3, 32, 32]),
    ("deconv", &[1, 3, 32, 32]),
    ("grad-cam", &[8, 8]),
    ("grad-cam++", &[8, 8]),
    ("hires-cam", &[8, 8]),
    ("layer-cam", &[8, 8]),
    ("xgrad-cam", &[8, 8]),
    ("eigen-cam", &[8, 8]),
    ("score-cam", &[8, 8]),
    ("guided-grad-cam", &[1, 3, 32, 32]),
    ("occlusion", &[15, 15]),
    ("activations", &[1, 64, 8, 8]),
    ("invert", &[1, 3, 32, 32]),
];

fn place() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = build("cifar_resnet8", Some(2)).unwrap();
    save(folder.path(), "net", &model.name, &model.graph, false);
    for (name, seed) in [("a", 1), ("b", 2)] {
        std::fs::write(folder.path().join(format!("{name}.bmp")), bmp(40, 32, seed)).unwrap();
    }
    folder
}

fn save(folder: &Path, file: &str, name: &str, graph: &Graph, with_graph: bool) {
    let names = vec!["cat".to_owned(), "dog".to_owned()];
    let mut info = ModelInfo::new(name, names, Preprocess::cifar10());
    info.graph = with_graph.then(|| graph.clone());
    ModelFile { weights: initialise(graph, 1), info }
        .save(folder.join(format!("{file}.safetensors")))
        .unwrap();
}

/// Width and height of a PNG file.
fn size(path: &Path) -> (u32, u32) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[1..4], b"PNG", "{}", path.display());
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn every_method_gives_a_picture_and_an_array() {
    let folder = place();
    let methods: Vec<&str> = WITH_IMAGE.iter().map(|(method, _)| *method).collect();
    let arguments = format!(
        "explain {},maximise,filters net.safetensors a.bmp b.bmp --class dog --layer layer3 --samples 5 --out out --json",
        methods.join(",")
    );
    let text = printed(&folder, &arguments);
    let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 2 * WITH_IMAGE.len() + 2);
    for result in &found {
        let method = result["method"].as_str().unwrap();
        let field = |name: &str| folder.path().join(result[name].as_str().unwrap());
        let (width, height) = size(&field("picture"));
        assert!(width >= 160 && height >= 160, "{method}: {width} × {height}");
        let array = npy::read(field("array")).unwrap();
        if let Some((_, shape)) = WITH_IMAGE.iter().find(|(name, _)| *name == method) {
            assert_eq!(array.shape(), *shape, "{method}");
            assert_eq!(result["class_name"], "dog");
        }
    }
    let (width, _) = size(&folder.path().join("out/sheet.png"));
    assert!(width > 160 * 17, "a column for each method: {width}");
}

#[test]
fn an_image_is_made_for_a_channel_and_one_picture_has_no_sheet() {
    let folder = place();
    printed(&folder, "explain maximise net.safetensors --layer layer2 --channel 3 --samples 4 --out one");
    assert!(folder.path().join("one/cifar_resnet8.maximise.npy").exists());
    let text = printed(&folder, "explain eigen-cam net.safetensors a.bmp --out one");
    assert_eq!(text.trim(), "one/a.eigen-cam.png");
    assert!(!folder.path().join("one/sheet.png").exists());
}

#[test]
fn a_net_without_pooling_or_convolution_says_what_it_lacks() {
    let folder = place();
    let mut g = Builder::new("flat");
    let x = g.input(3);
    let x = g.conv("conv", x, ConvSpec::new(2, 3, 8)).unwrap();
    let window = MaxPool { kernel: [4; 2], stride: [4; 2], padding: [0; 2], ceil: false };
    let x = g.avg_pool("pool", x, AvgPool { window, count_include_pad: true }).unwrap();
    let x = g.flatten("flatten", x).unwrap();
    let x = g.linear("fc", x, 2).unwrap();
    save(folder.path(), "flat", "flat", &g.finish(x).unwrap(), true);
    let mut g = Builder::new("linear");
    let x = g.input(3);
    let x = g.global_avg_pool("pool", x).unwrap();
    let x = g.linear("fc", x, 2).unwrap();
    save(folder.path(), "linear", "linear", &g.finish(x).unwrap(), true);
    printed(&folder, "explain gradient,grad-cam flat.safetensors a.bmp --layer conv");
    for (arguments, parts) in [
        ("grad-cam flat.safetensors a.bmp", ["--layer", "conv"]),
        ("filters linear.safetensors", ["convolution", "linear"]),
    ] {
        let arguments = format!("explain {arguments}");
        refused(run(&folder, &arguments), &arguments, &parts);
    }
}

#[test]
fn what_there_is_not_is_refused_on_one_line_that_lists_what_there_is() {
    let folder = place();
    std::fs::write(folder.path().join("broken.png"), b"\x89PNG, or not").unwrap();
    for (arguments, parts) in [
        ("guided net.safetensors a.bmp --class bird", &["--class", "cat, dog", "bird"][..]),
        ("guided net.safetensors a.bmp --class 2", &["cat, dog", "2"]),
        ("grad-cam net.safetensors a.bmp --layer layer9", &["layer9", "layer1, layer2, layer3"]),
        ("activations net.safetensors a.bmp --layer fc", &["fc", "a vector", "layer3"]),
        ("invert net.safetensors a.bmp", &["--layer", "invert", "layer1"]),
        ("maximise net.safetensors --layer layer1 --channel 16", &["0 to 15", "16"]),
        ("maximise net.safetensors --channel 1", &["--layer"]),
        ("guided net.safetensors broken.png", &["broken.png"]),
        ("guided net.safetensors none.png", &["none.png"]),
        ("filters,guided net.safetensors", &["IMAGE", "guided"]),
        ("occlusion net.safetensors a.bmp --patch 33", &["patch", "33"]),
        ("dreams net.safetensors a.bmp", &["dreams", "grad-cam++", "invert"]),
        ("guided none.safetensors a.bmp", &["none.safetensors"]),
    ] {
        refused(run(&folder, &format!("explain {arguments}")), arguments, parts);
    }
}

#[test]
fn chu2017_looks_into_a_model_and_is_done_once() {
    let folder = place();
    let command = "reproduce chu2017 net.safetensors --data shapes --images 40 --most-varied 1 --output out";
    let text = printed(&folder, command);
    assert!(text.contains("layer3.0") && text.contains("out/report.html"), "{text}");
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("data:image/png;base64,"));
    let json: Value = serde_json::from_str(&printed(&folder, &format!("{command} --json"))).unwrap();
    assert_eq!((&json["schema"], &json["images"]), (&"residuum.study".into(), &40.into()));
    for shown in json["shown"].as_array().unwrap() {
        size(&folder.path().join("out").join(shown["picture"].as_str().unwrap()));
    }
    for (arguments, parts) in [
        ("chu2017", &["MODEL"][..]),
        ("chu2017 net.safetensors --scale paper", &["--scale"]),
        ("chu2017 net.safetensors --channels 64", &["layer3 (0 to 63)", "64"]),
        ("chu2017 net.safetensors --data nowhere", &["nowhere"]),
        ("chu2017 net.safetensors --images 0", &["--images"]),
        ("chu2017 net.safetensors --output out", &["--output", "other pictures"]),
        ("he2015-degradation net.safetensors", &["chu2017", "MODEL"]),
        ("chu2018 net.safetensors", &["chu2017", "chu2018"]),
    ] {
        refused(run(&folder, &format!("reproduce {arguments}")), arguments, parts);
    }
}
