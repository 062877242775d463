//! `fold`, `unfold` and `deepen`: what they print, write and refuse.

mod support;

use residuum::classify::{LoadOptions, ModelFile, ModelInfo, load_model};
use residuum::data::Preprocess;
use residuum::graph::{Builder, ConvSpec, Graph};
use residuum::models::{build, formula, initialise};
use serde_json::Value;

use support::Place;

impl Place {
    /// A registered network of three classes with weights by formula.
    fn write(&self, file: &str, network: &str) {
        let model = build(network, Some(3)).unwrap();
        let weights = formula::weights(&model.graph);
        let info = ModelInfo::new(&model.name, names(), Preprocess::cifar10());
        ModelFile { weights, info }.save(self.path(file)).unwrap();
    }

    /// A network of its own.
    fn write_graph(&self, file: &str, graph: &Graph) {
        let mut info = ModelInfo::new("drawn", names(), Preprocess::cifar10());
        info.graph = Some(graph.clone());
        ModelFile { weights: initialise(graph, 0), info }.save(self.path(file)).unwrap();
    }
}

fn names() -> Vec<String> {
    ["cat", "dog", "owl"].map(str::to_owned).to_vec()
}

#[test]
fn a_folded_model_goes_through_every_other_command() {
    let place = Place::new();
    place.write("model.safetensors", "cifar_resnet8");
    let folded =
        place.json(&["fold", "model.safetensors", "plain.safetensors", "--verify", "1e-3", "--json"]);
    assert_eq!((&folded["schema"], &folded["written"]), (&"residuum.fold".into(), &true.into()));
    assert_eq!(folded["architecture"][1], "cifar_resnet8+folded");
    assert_eq!((&folded["images"], &folded["same_class"]), (&32.into(), &32.into()));
    assert!(folded["convolution_weights"][0].as_u64() < folded["convolution_weights"][1].as_u64());

    let unfolded = place.json(&["unfold", "plain.safetensors", "back.safetensors", "--json"]);
    assert_eq!(unfolded["convolution_weights"][1], folded["convolution_weights"][0]);
    let same = ["fold", "model.safetensors", "norms.safetensors", "--norm-only", "--json"];
    let weights = &folded["convolution_weights"][0];
    assert_eq!(place.json(&same)["convolution_weights"], serde_json::json!([weights, weights]));
    let [back, norms] = ["back.safetensors", "norms.safetensors"]
        .map(|file| load_model(place.path(file), &LoadOptions::default()).unwrap());
    assert_eq!(back.weights, norms.weights);

    let deeper = place.json(&["deepen", "plain.safetensors", "deep.safetensors", "--blocks", "1", "--json"]);
    assert_eq!(deeper["largest_difference"], 0.0);
    let shapes = ["eval", "plain.safetensors", "--data", "shapes", "--json"];
    let output = place.run(&shapes);
    assert_eq!(output.status.code(), Some(2), "three classes are not those of shapes");
    assert!(String::from_utf8_lossy(&output.stderr).contains("classes"));
}

#[test]
fn a_deepened_model_has_a_registered_name_and_is_told_as_a_table() {
    let place = Place::new();
    place.write("model.safetensors", "cifar_resnet8");
    let output = place.run(&["deepen", "model.safetensors", "deep.safetensors", "--blocks", "2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for part in ["cifar_resnet8 → cifar_resnet20", "0.000e0", "32 of 32", "deep.safetensors"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    let loaded = load_model(place.path("deep.safetensors"), &LoadOptions::default()).unwrap();
    assert_eq!((loaded.model.name.as_str(), loaded.info.graph), ("cifar_resnet20", None));
}

#[test]
fn a_difference_that_is_too_large_exits_with_1_and_writes_nothing() {
    let place = Place::new();
    place.write("model.safetensors", "cifar_resnet8");
    let output = place.run(&[
        "fold",
        "model.safetensors",
        "plain.safetensors",
        "--verify",
        "0",
        "--data",
        "shapes",
        "--images",
        "60",
        "--json",
    ]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{json}");
    assert_eq!((&json["written"], &json["images"]), (&false.into(), &60.into()));
    assert!(!place.path("plain.safetensors").exists());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing is written"));
}

#[test]
fn refusals_name_the_file_the_node_and_the_reason() {
    let place = Place::new();
    place.write("plain.safetensors", "cifar_plain8");
    place.write("residual.safetensors", "cifar_resnet8");
    let none = ["unfold", "plain.safetensors", "out.safetensors"];
    place.refuses(&none, &["plain.safetensors", "cannot unfold", "layer2.0.conv1", "no carried channel"]);
    let residual = ["unfold", "residual.safetensors", "out.safetensors", "--form", "one"];
    place.refuses(&residual, &["residual.safetensors", "expected a plain net"]);

    let mut g = Builder::new("gated");
    let x = g.input(3);
    let x = g.conv("conv1", x, ConvSpec::new(4, 3, 1)).unwrap();
    let x = g.relu("relu", x);
    let y = g.conv("conv2", x, ConvSpec::new(4, 3, 1)).unwrap();
    let y = g.relu("relu2", y);
    let s = g.relu("gate", x);
    let x = g.add("add", y, s).unwrap();
    let x = g.global_avg_pool("avgpool", x).unwrap();
    let x = g.linear("fc", x, 3).unwrap();
    place.write_graph("gated.safetensors", &g.finish(x).unwrap());
    place.refuses(&["fold", "gated.safetensors", "out.safetensors"], &["cannot fold", "gate", "not linear"]);
    place.refuses(
        &["deepen", "gated.safetensors", "out.safetensors", "--blocks", "1"],
        &["cannot deepen", "gate"],
    );

    place.refuses(
        &["fold", "residual.safetensors", "plain.safetensors"],
        &["plain.safetensors", "exists already"],
    );
    place.refuses(&["fold", "residual.safetensors", "no/out.safetensors"], &["no", "no such folder"]);
    place.refuses(&["fold", "nothing.safetensors", "out.safetensors"], &["nothing.safetensors"]);
    place.refuses(&["deepen", "residual.safetensors", "out.safetensors", "--blocks", "0"], &["--blocks"]);
    place.refuses(&["fold", "residual.safetensors", "out.safetensors", "--verify=-1"], &["--verify"]);
    place.write_graph("graph.safetensors", &build("cifar_resnet8", Some(3)).unwrap().graph);
    place.refuses(
        &["train", "--from", "graph.safetensors"],
        &["graph.safetensors", "found 3", "--replace-head"],
    );
}
