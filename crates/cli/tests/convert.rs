//! `residuum convert` as a process: what it writes, what it says, how it ends.

#[path = "../../convert/tests/support/published.rs"]
mod published;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use published::file::{Encoding, caffemodel};
use published::{Style, own_names, publish};
use residuum::classify::{Head, LoadOptions, ModelFile, load_model};
use residuum::data::Preprocess;
use residuum::graph::Weights;
use residuum::models::{build, initialise};
use tempfile::TempDir;

struct Place {
    folder: TempDir,
}

impl Place {
    /// A folder with a Caffe model of a small registered network.
    fn with_caffe_model() -> (Self, Weights) {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let graph = build("cifar_resnet8b", Some(4)).unwrap().graph;
        let weights = initialise(&graph, 1);
        let style = Style { names: own_names, has_conv1_bias: false, factor: 4.0 };
        let (text, layers) = publish(&graph, &weights, 32, style);
        std::fs::write(place.path("net.prototxt"), text).unwrap();
        std::fs::write(place.path("net.caffemodel"), caffemodel("net", &layers, Encoding::New)).unwrap();
        (place, weights)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_residuum"))
            .current_dir(self.folder.path())
            .args(arguments)
            .output()
            .unwrap()
    }

    fn converts(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(&[&["convert", "--json"], arguments].concat());
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refuses(&self, arguments: &[&str], parts: &[&str]) {
        let output = self.run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        let errors: Vec<&str> = text.lines().filter(|line| !line.starts_with("note: ")).collect();
        assert!(
            errors.len() == 1 && parts.iter().all(|part| errors[0].contains(part)),
            "{arguments:?}: {text}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

fn weights_of(path: &Path) -> Weights {
    load_model(path, &LoadOptions { model: Some("cifar_resnet8b"), head: Head::Keep }).unwrap().weights
}

#[test]
fn a_caffe_model_becomes_ours_then_pytorchs_then_ours_again() {
    let (place, weights) = Place::with_caffe_model();
    let said = place.converts(&["net.caffemodel", "ours.safetensors", "--mean", "10,20,30"]);
    assert_eq!((said["schema"].as_str(), said["verified"].as_bool()), (Some("residuum.convert"), Some(true)));
    assert_eq!((said["architecture"].as_str(), said["classes"].as_u64()), (Some("cifar_resnet8b"), Some(4)));
    assert_eq!(said["agreeing"], said["images"]);
    let ours = ModelFile::load(place.path("ours.safetensors")).unwrap();
    assert_eq!(ours.info.preprocess, Preprocess::caffe(32, [10.0, 20.0, 30.0]));
    assert_eq!(ours.weights, weights);

    assert_eq!(place.converts(&["ours.safetensors", "theirs.pth"])["max_difference"], 0.0);
    assert_eq!(weights_of(&place.path("theirs.pth")), weights);
    let named = ["theirs.pth", "again.safetensors", "--model", "cifar_resnet8b"];
    assert_eq!(place.converts(&named)["max_difference"], 0.0);
    assert_eq!(ModelFile::load(place.path("again.safetensors")).unwrap().weights, weights);

    let output = place.run(&["convert", "ours.safetensors", "text.pth"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("cifar_resnet8b, 4 classes") && text.contains("4 of 4"), "{text}");
}

#[test]
fn what_cannot_be_converted_is_refused_with_advice() {
    let (place, _) = Place::with_caffe_model();
    place.refuses(&["predict", "net.caffemodel", "x.png"], &["net.caffemodel", "residuum convert"]);
    place.refuses(&["convert", "net.caffemodel", "out.onnx"], &["out.onnx", ".safetensors"]);
    place.refuses(&["convert", "net.caffemodel", "none/out.pth"], &["none"]);
    place.refuses(
        &["convert", "net.caffemodel", "out.pth", "--mean", "none.binaryproto"],
        &["none.binaryproto"],
    );
    place.refuses(&["convert", "net.caffemodel", "out.pth", "--verify=-1"], &["--verify"]);
    place.refuses(&["convert", "net.prototxt", "out.pth"], &["net.prototxt"]);

    std::fs::write(place.path("kept.pth"), b"kept").unwrap();
    place.refuses(&["convert", "net.caffemodel", "kept.pth"], &["kept.pth", "exists"]);
    assert_eq!(std::fs::read(place.path("kept.pth")).unwrap(), b"kept");

    let whole = std::fs::read(place.path("net.caffemodel")).unwrap();
    std::fs::write(place.path("cut.caffemodel"), &whole[..whole.len() - 5]).unwrap();
    let arguments = ["convert", "cut.caffemodel", "out.pth", "--prototxt", "net.prototxt"];
    place.refuses(&arguments, &["cut.caffemodel"]);
    let text = std::fs::read_to_string(place.path("net.prototxt")).unwrap();
    std::fs::write(place.path("net.prototxt"), text.replacen("ReLU", "TanH", 1)).unwrap();
    place.refuses(&["convert", "net.caffemodel", "out.pth"], &["net.prototxt", "`TanH`"]);
    assert!(!place.path("out.pth").exists());
}
