//! What the command makes of inputs that are wrong: one line on standard error that says what, exit 2, nothing
//! written, no panic.

mod support;

use residuum::classify::{ModelFile, ModelInfo};
use residuum::data::Preprocess;
use residuum::formats::{NamedTensors, RawTensor, safetensors};
use residuum::models::{build, initialise};

use support::Place;

impl Place {
    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Our model file of a small network with two classes.
    fn write_model(&self, name: &str) {
        let model = build("cifar_resnet8", Some(2)).unwrap();
        let info = ModelInfo::new(&model.name, vec!["cat".into(), "dog".into()], Preprocess::cifar10());
        ModelFile { weights: initialise(&model.graph, 0), info }.save(self.path(name)).unwrap();
    }

    /// Weights as another program would store them.
    fn write_foreign(&self, name: &str, network: &str) {
        let weights = initialise(&build(network, None).unwrap().graph, 0);
        let named: NamedTensors =
            weights.iter().map(|(name, tensor)| (name.clone(), RawTensor::from_f32(tensor))).collect();
        safetensors::write(self.path(name), &named).unwrap();
    }
}

/// A PNG of one colour; its sides may be lied about, the checksum being right.
fn png(side: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend(side.to_be_bytes());
    header.extend(side.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    // zlib stream with one stored block of a single row: filter byte and three samples.
    let data = *b"IDAT\x78\x01\x01\x04\x00\xfb\xff\x00\x10\x20\x30\x00\xa4\x00\x61";
    for chunk in [&header[..], &data[..], b"IEND"] {
        bytes.extend((chunk.len() as u32 - 4).to_be_bytes());
        bytes.extend(chunk);
        bytes.extend(crc32(chunk).to_be_bytes());
    }
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[test]
fn weights_of_another_network() {
    let place = Place::new();
    place.write_foreign("resnet56.safetensors", "cifar_resnet56.akamaster");
    let arguments =
        ["eval", "resnet56.safetensors", "--model", "cifar_resnet20.akamaster", "--data", "shapes"];
    place.refuses(&arguments, &["resnet56.safetensors", "unexpected", "--model cifar_resnet56.akamaster"]);
    place
        .refuses(&["eval", "resnet56.safetensors", "--data", "shapes"], &["resnet56.safetensors", "--model"]);
}

#[test]
fn weights_cut_short_anywhere() {
    let place = Place::new();
    place.write_model("model.safetensors");
    let whole = std::fs::read(place.path("model.safetensors")).unwrap();
    for len in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        place.write("cut.safetensors", &whole[..len]);
        place.refuses(&["eval", "cut.safetensors", "--data", "shapes"], &["cut.safetensors"]);
    }
}

#[test]
fn a_pickle_that_would_run_a_command() {
    let place = Place::new();
    let pickle = b"\x80\x02cos\nsystem\nX\x0d\x00\x00\x00touch witness\x85R.";
    place.write("evil.pth", pickle);
    let arguments = ["eval", "evil.pth", "--model", "cifar_resnet20", "--data", "shapes"];
    place.refuses(&arguments, &["evil.pth"]);

    // The same behind the three pickles with which PyTorch's older files begin: magic number, version, machine.
    let mut legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    legacy.extend(b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.");
    legacy.extend(pickle);
    place.write("legacy.pth", &legacy);
    let arguments = ["eval", "legacy.pth", "--model", "cifar_resnet20", "--data", "shapes"];
    place.refuses(&arguments, &["legacy.pth", "system"]);
    assert!(!place.path("witness").exists());
}

#[test]
fn a_corrupt_picture_in_a_folder() {
    let place = Place::new();
    place.write_model("model.safetensors");
    for name in ["cat/a.png", "cat/b.png", "dog/c.png"] {
        place.write(&format!("pictures/{name}"), &png(1));
    }
    place.write("pictures/dog/bad.jpg", b"\xff\xd8\xff\xe0 this is no picture");
    let arguments = ["eval", "model.safetensors", "--data", "pictures"];
    place.refuses(&arguments, &["bad.jpg"]);

    let output = place.run(&[&arguments[..], &["--on-bad-image", "skip", "--json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((json["images"].as_u64(), json["skipped"].as_u64()), (Some(3), Some(1)));
    assert_eq!(json["classes"][1]["images"], 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad.jpg"));
}

#[test]
fn predicting_reports_a_bad_picture_and_answers_for_the_others() {
    let place = Place::new();
    place.write_model("model.safetensors");
    place.write("pictures/a.png", &png(1));
    place.write("pictures/bad.png", b"nothing");
    place.write("pictures/c.png", &png(1));
    let run =
        |policy| place.run(&["predict", "model.safetensors", "pictures", "--csv", "--on-bad-image", policy]);
    let output = run("report");
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(lines.lines().count(), 1 + 2 * 2, "{lines}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.starts_with("error: ") && errors.contains("bad.png") && errors.lines().count() == 1,
        "{errors}"
    );
    assert_eq!(run("skip").status.code(), Some(0));
    let output = run("fail");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1 + 2);
}

#[test]
fn an_empty_class_folder() {
    let place = Place::new();
    place.write_model("model.safetensors");
    place.write("pictures/cat/a.png", &png(1));
    std::fs::create_dir(place.path("pictures/dog")).unwrap();
    place.refuses(&["eval", "model.safetensors", "--data", "pictures"], &["dog"]);
}

#[test]
fn a_small_file_that_declares_a_huge_picture() {
    let place = Place::new();
    place.write_model("model.safetensors");
    place.write("huge.png", &png(60_000));
    place.refuses(&["predict", "model.safetensors", "huge.png"], &["huge.png", "60000"]);
}

#[test]
fn a_cifar_file_of_the_wrong_length() {
    let place = Place::new();
    place.write_model("model.safetensors");
    place.write("cifar/test_batch.bin", &[0; 3073 * 2 + 5]);
    place.write("cifar/data_batch_1.bin", &[0; 3073]);
    place.refuses(&["eval", "model.safetensors", "--data", "cifar"], &["test_batch.bin", "3073"]);
}

#[test]
fn a_command_line_that_is_wrong() {
    let place = Place::new();
    place.refuses(
        &["eval", "model", "--data", "shapes", "--bacth-size", "3"],
        &["--bacth-size", "--batch-size"],
    );
    place.refuses(&["eval", "model"], &["--data"]);
    place.refuses(&["eval", "model", "--data", "shapes", "--threads", "0"], &["--threads", "0"]);
    place.refuses(&["evaluate"], &["evaluate"]);
    place.refuses(&["bench", "resnet51"], &["resnet51"]);
    place.refuses(&["models", "vgg*"], &["vgg*"]);
    place.refuses(&["eval", "nowhere.safetensors", "--data", "shapes"], &["nowhere.safetensors"]);
}

#[test]
fn an_output_that_exists() {
    let place = Place::new();
    place.write_model("model.safetensors");
    place.write("table.csv", b"kept");
    let arguments = ["eval", "model.safetensors", "--data", "shapes", "--confusion", "table.csv"];
    place.refuses(&arguments, &["table.csv", "exists"]);
    assert_eq!(std::fs::read(place.path("table.csv")).unwrap(), b"kept");
    place.write("run/notes.txt", b"kept");
    place.refuses(&["train", "--output", "run"], &["run"]);
}

#[test]
fn classes_that_the_model_does_not_know() {
    let place = Place::new();
    place.write_model("model.safetensors");
    place.refuses(&["eval", "model.safetensors", "--data", "shapes"], &["classes", "cat, dog"]);
}
