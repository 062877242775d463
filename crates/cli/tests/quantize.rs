//! `quantize`, and what the other commands do with its files; halved weights of `convert`.

mod support;

use residuum::classify::{LoadOptions, ModelFile, ModelInfo, load_model};
use residuum::data::Preprocess;
use residuum::models::{build, formula};

use support::Place;

impl Place {
    /// A network for the ten classes of `shapes` with weights by formula.
    fn write(&self, file: &str) {
        let model = build("cifar_resnet8", Some(10)).unwrap();
        let weights = formula::weights(&model.graph);
        let names = residuum::data::shapes(0, residuum::data::Split::Test).classes().to_vec();
        let info = ModelInfo::new(&model.name, names, Preprocess::cifar10());
        ModelFile { weights, info }.save(self.path(file)).unwrap();
    }
}

const QUANTIZE: [&str; 7] =
    ["quantize", "model.safetensors", "int8.safetensors", "--data", "shapes", "--images", "50"];
/// The same with nothing said about pictures.
const BARE: &[&str] = QUANTIZE.split_at(5).0;

#[test]
fn a_network_in_bytes_goes_through_the_commands_that_answer() {
    let place = Place::new();
    place.write("model.safetensors");
    let report = place.json(&[&QUANTIZE[..], &["--json"]].concat());
    assert_eq!((&report["schema"], &report["images"]), (&"residuum.quantize".into(), &50.into()));
    assert_eq!(report["architecture"], "cifar_resnet8+int8");
    assert!(report["bytes"][1].as_u64().unwrap() * 3 < report["bytes"][0].as_u64().unwrap());
    assert!(
        report["layers"].as_array().unwrap().iter().all(|l| l["signal_to_noise_db"].as_f64() > Some(15.0))
    );
    assert!(report["same_class"].as_u64() > Some(40));

    let evaluation = place.json(&["eval", "int8.safetensors", "--data", "shapes", "--json"]);
    assert!(evaluation["images"].as_u64() > Some(0));
    let bench = place.text(&["bench", "int8.safetensors", "--seconds", "0", "--layers", "-b", "2"]);
    assert!(bench.contains("int8 ") && bench.contains("global average pool, int8"), "{bench}");
    assert!(place.text(&["show", "int8.safetensors"]).contains("cifar_resnet8+int8"));
    std::fs::write(place.path("picture.bmp"), support::bmp(40, 30, 1)).unwrap();
    place.text(&["predict", "int8.safetensors", "picture.bmp"]);
}

#[test]
fn what_bytes_do_not_do_is_refused() {
    let place = Place::new();
    place.write("model.safetensors");
    place.text(&QUANTIZE);
    std::fs::write(place.path("picture.bmp"), support::bmp(40, 30, 1)).unwrap();
    for (arguments, purpose) in [
        (&["fold", "int8.safetensors", "new.safetensors"][..], "fold"),
        (&["unfold", "int8.safetensors", "new.safetensors"], "unfold"),
        (&["deepen", "int8.safetensors", "new.safetensors", "--blocks", "1"], "deepen"),
        (&["convert", "int8.safetensors", "new.pth"], "convert"),
        (&["quantize", "int8.safetensors", "new.safetensors", "--data", "shapes"], "quantize"),
        (&["train", "shapes", "--from", "int8.safetensors"], "training"),
        (&["bench", "int8.safetensors", "--train"], "training"),
        (&["explain", "gradient", "int8.safetensors", "picture.bmp"], "explain"),
        (&["explain", "responses", "int8.safetensors", "--data", "shapes"], "explain"),
    ] {
        place.refuses(arguments, &["int8.safetensors: holds a quantised network (int8)", purpose]);
    }
}

#[test]
fn bad_requests_are_told_on_one_line() {
    let place = Place::new();
    place.write("model.safetensors");
    place.refuses(&["quantize", "model.safetensors", "new.safetensors"], &["--data"]);
    place.refuses(&[BARE, &["--images", "0"]].concat(), &["from 1"]);
    place.refuses(&[BARE, &["--percentile", "101"]].concat(), &["from 50 to 100"]);
    place.refuses(&[BARE, &["--method", "entropy"]].concat(), &["entropy", "mse"]);
    place.refuses(
        &["quantize", "none.safetensors", "new.safetensors", "--data", "shapes"],
        &["none.safetensors"],
    );
    place.refuses(
        &["quantize", "model.safetensors", "model.safetensors", "--data", "shapes"],
        &["exists already"],
    );
    place.refuses(&["quantize", "model.safetensors", "new.safetensors", "--data", "nowhere"], &["nowhere"]);
    place.refuses(&["bench", "model.safetensors", "--classes", "3"], &["--classes"]);
    // A file whose quantisation is damaged is told by name.
    place.text(&QUANTIZE);
    let bytes = std::fs::read(place.path("int8.safetensors")).unwrap();
    let grids = b"residuum.quantization\":\"{";
    let at = bytes.windows(grids.len()).position(|part| part == grids).unwrap();
    let mut damaged = bytes;
    damaged[at + grids.len() - 1] = b'[';
    std::fs::write(place.path("damaged.safetensors"), damaged).unwrap();
    place.refuses(
        &["eval", "damaged.safetensors", "--data", "shapes"],
        &["damaged.safetensors", "residuum.quantization"],
    );
}

#[test]
fn halved_weights_take_half_and_answer_almost_alike() {
    let place = Place::new();
    place.write("model.safetensors");
    let size = |file: &str| std::fs::metadata(place.path(file)).unwrap().len();
    for (weights, file) in [("bf16", "bf16.safetensors"), ("f16", "f16.safetensors"), ("f16", "half.pth")] {
        let report = place.json(&["convert", "model.safetensors", file, "--weights", weights, "--json"]);
        assert_eq!((&report["verified"], &report["max_difference"]), (&true.into(), &0.0.into()), "{file}");
        let rounding =
            report["rounding_difference"].as_f64().unwrap() / report["largest_logit"].as_f64().unwrap();
        assert!(rounding > 0.0 && rounding < 0.05, "{file}: {rounding}");
        assert!(10 * size(file) < 7 * size("model.safetensors"), "{file}: {} bytes", size(file));
    }
    let loaded = load_model(place.path("bf16.safetensors"), &LoadOptions::default()).unwrap();
    assert!(loaded.weights["conv1.weight"].data().iter().all(|w| w.to_bits().trailing_zeros() >= 16));
    place.refuses(&["convert", "model.safetensors", "x.pth", "--weights", "int8"], &["int8", "bf16"]);
}
