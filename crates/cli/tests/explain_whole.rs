//! `residuum explain` for networks as a whole: charts, numbers, refusals, interruption.
#![cfg(unix)]

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use residuum::classify::{ModelFile, ModelInfo};
use residuum::data::{Preprocess, Split, shapes};
use residuum::models::{build, initialise};
use serde_json::Value;
use tempfile::TempDir;

use support::{refused, run};

/// A folder with models for the embedded set.
fn place(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let classes = shapes(0, Split::Test).classes().to_vec();
    for (seed, name) in (1..).zip(names) {
        let model = build(name, Some(classes.len())).unwrap();
        let info = ModelInfo::new(&model.name, classes.clone(), Preprocess::cifar10());
        let file = ModelFile { weights: initialise(&model.graph, seed), info };
        file.save(folder.path().join(format!("{seed}.safetensors"))).unwrap();
    }
    folder
}

fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_residuum"));
    command.current_dir(folder).args(arguments.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON of a study, whose three files are there and whole.
fn found(folder: &TempDir, arguments: &str) -> (Value, Vec<Vec<String>>) {
    let output = run(folder, &format!("{arguments} --json"));
    assert_eq!(output.status.code(), Some(0), "{arguments}: {}", errors(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let method = arguments.split(' ').nth(1).unwrap();
    assert_eq!(json["schema"], format!("residuum.explain.{}", json["method"].as_str().unwrap()));
    assert!(json["is_complete"] == true && (json["method"] == method || method == "landscape"));
    let files: Vec<&str> = json["files"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    let read = |file: &str| std::fs::read(folder.path().join(file)).unwrap();
    assert!(read(files[0]).starts_with(b"<svg") && read(files[0]).ends_with(b"</svg>\n"));
    assert_eq!(&read(files[1])[1..4], b"PNG");
    let csv = String::from_utf8(read(files[2])).unwrap();
    let rows = csv.lines().map(|line| line.split(',').map(str::to_owned).collect());
    (json, rows.collect())
}

#[test]
fn lesions_know_every_block_and_draw_several() {
    let folder = place(&["cifar_resnet20"]);
    let study = "explain lesions 1.safetensors --data shapes --limit 40";
    let (json, rows) = found(&folder, &format!("{study} --random 2"));
    assert_eq!(json["images"], 40);
    let single = json["single"].as_array().unwrap();
    let names: Vec<&str> = single.iter().map(|lesion| lesion["blocks"][0].as_str().unwrap()).collect();
    assert_eq!((names.len(), names[0], names[8]), (9, "layer1.0", "layer3.2"));
    assert!(single.iter().any(|lesion| lesion["loss"] != json["loss"]));
    let random = json["random"].as_array().unwrap();
    let counts: Vec<usize> = random.iter().map(|l| l["blocks"].as_array().unwrap().len()).collect();
    assert_eq!(counts, (1..=9).flat_map(|count| [count; 2]).collect::<Vec<_>>());
    // Without any block nothing is left to choose.
    assert_eq!(random[16]["loss"], random[17]["loss"]);
    assert_eq!((rows.len(), rows.iter().filter(|row| row[2] == "changes the shape").count()), (29, 2));
    let again = found(&folder, &format!("{study} --random 2 -j 1")).0;
    assert_eq!(json, again, "the same for any number of threads");
    let two = found(&folder, &format!("{study} --blocks layer2.0,layer1.1")).0;
    assert!(two["single"][0] == single[3] && two["single"][1] == single[1] && two["single"][2].is_null());
    let table = String::from_utf8(run(&folder, study).stdout).unwrap();
    assert!(
        table.lines().count() == 11 && table.contains("layer2.0") && table.contains("error %"),
        "{table}"
    );
}

#[test]
fn shuffles_and_paths_cover_their_range() {
    let folder = place(&["cifar_resnet20"]);
    let (json, rows) = found(&folder, "explain shuffles 1.safetensors --data shapes --limit 16 --draws 1");
    let orders = json["orders"].as_array().unwrap();
    assert_eq!((orders.len(), rows.len()), (11, 12));
    assert!(orders[0]["rank_correlation"] == 1.0 && orders[0]["swaps"] == 0);
    let last = orders[10]["rank_correlation"].as_f64().unwrap();
    assert!((-1.0..1.0).contains(&last) && orders[10]["loss"] != orders[0]["loss"]);

    let (json, _) = found(&folder, "explain paths 1.safetensors --data shapes --limit 4 --draws 2");
    let lengths = json["lengths"].as_array().unwrap();
    let sum = |key: &str| lengths.iter().map(|length| length[key].as_f64().unwrap()).sum::<f64>();
    assert_eq!(lengths.len(), 10);
    assert!((sum("paths") - 1.0).abs() < 1e-9 && (sum("share") - 1.0).abs() < 1e-9);
    assert!(lengths.iter().all(|length| length["least"].as_f64() <= length["most"].as_f64()));
}

#[test]
fn responses_are_compared_and_fields_lie_within_the_theoretical() {
    let folder = place(&["cifar_resnet8", "cifar_plain20"]);
    let (json, rows) =
        found(&folder, "explain responses 1.safetensors 2.safetensors --data shapes --limit 70");
    let networks = json["networks"].as_array().unwrap();
    let layers = |network: &Value| network["std"].as_array().unwrap().len();
    assert_eq!((layers(&networks[0]), layers(&networks[1]), rows.len()), (7, 19, 27));
    assert_eq!(networks[1]["model"], "cifar_plain20");

    let (json, rows) =
        found(&folder, "explain receptive-field 1.safetensors --data shapes --limit 3 --layer layer1,layer2");
    assert_eq!(json["layers"][0]["theoretical_side"], 7.0);
    assert!(json["layers"][1]["effective_side"].as_f64() < json["layers"][1]["theoretical_side"].as_f64());
    assert_eq!(rows.len(), 1 + 2 * 32 * 32);
    let outside =
        |row: &&Vec<String>| row[0] == "layer1" && row[1].parse::<usize>().unwrap().abs_diff(16) > 3;
    assert!(rows[1..].iter().filter(outside).all(|row| row[3] == "0"));
}

#[test]
fn landscapes_meet_the_network_in_the_middle_and_lines_both_ends() {
    let folder = place(&["cifar_resnet8", "cifar_resnet8"]);
    let study = "explain landscape 1.safetensors --data shapes --limit 16";
    let (json, rows) = found(&folder, &format!("{study} --plane --plane-points 3 --points 5"));
    let loss = |value: &Value, place: usize| value[place].as_f64().unwrap();
    let (curve, plane) = (&json["curve"], &json["plane"]);
    assert!((loss(&curve[2], 0)).abs() < 1e-12 && (loss(&curve[2], 1) - loss(&plane[4], 2)).abs() < 1e-12);
    assert!((loss(&curve[4], 1) - loss(&plane[5], 2)).abs() < 1e-9, "one direction");
    assert_eq!(rows.len(), 1 + 5 + 9);
    let (line, _) = found(&folder, &format!("{study} --to 2.safetensors --points 5"));
    assert_eq!(line["method"], "interpolation");
    let other = "explain landscape 2.safetensors --data shapes --limit 16";
    let (reverse, _) = found(&folder, &format!("{other} --to 1.safetensors --points 5"));
    // There and back.
    for (there, back) in [(0, 4), (1, 3), (2, 2), (4, 0)] {
        assert!((loss(&line["curve"][there], 1) - loss(&reverse["curve"][back], 1)).abs() < 1e-5);
    }
    assert!((loss(&line["curve"][0], 1) - loss(&curve[2], 1)).abs() < 1e-9, "begins at the network");
}

#[test]
fn dense_nets_have_connections_and_features_have_classes() {
    let folder = place(&["cifar_densenet_22_12"]);
    let (json, rows) = found(&folder, "explain connection-strength 1.safetensors");
    let blocks = json["blocks"].as_array().unwrap();
    assert_eq!((blocks.len(), blocks[0]["readers"].as_array().unwrap().len()), (3, 7));
    assert_eq!(rows.len(), 1 + 3 * (1..=7).sum::<usize>());
    let (json, rows) = found(&folder, "explain features 1.safetensors --data shapes --limit 60 --steps 300");
    let explained = json["explained"].as_array().unwrap();
    assert!(explained.len() == 20 && explained[0].as_f64() > explained[1].as_f64());
    assert!((0.0..=100.0).contains(&json["neighbour_accuracy"].as_f64().unwrap()));
    assert_eq!(rows.len(), 61);
    assert!(shapes(0, Split::Test).classes().contains(&rows[7][1]), "{:?}", rows[7]);
}

#[test]
fn what_makes_no_sense_is_refused_on_one_line() {
    let folder = place(&["cifar_resnet8", "cifar_plain20", "cifar_densenet_22_12", "cifar_resnet20"]);
    for (arguments, parts) in [
        ("lesions 2.safetensors --data shapes", &["residual blocks", "cifar_plain20", "features"][..]),
        ("shuffles 1.safetensors --data shapes", &["equal shape", "cifar_resnet8"]),
        ("paths 3.safetensors --data shapes", &["residual blocks"]),
        ("connection-strength 1.safetensors", &["dense blocks", "cifar_resnet8", "lesions"]),
        ("lesions 1.safetensors", &["--data"]),
        ("lesions 1.safetensors --data nowhere", &["nowhere"]),
        ("lesions 1.safetensors --data shapes --blocks layer9.0", &["layer9.0", "layer1.0, layer2.0"]),
        ("lesions nothing.safetensors --data shapes", &["nothing.safetensors"]),
        ("lesions 1.safetensors --data shapes --limit 0", &["--limit"]),
        ("features 1.safetensors --data shapes --layer layer9", &["layer9", "avgpool"]),
        ("features 1.safetensors --data shapes --limit 2", &["at least 4"]),
        ("receptive-field 1.safetensors --data shapes --layer layer9", &["layer9", "layer1"]),
        ("receptive-field 1.safetensors --data shapes --layer fc", &["fc", "layer1"]),
        ("landscape 1.safetensors --data shapes --to 4.safetensors", &["cifar_resnet8", "cifar_resnet20"]),
        ("landscape 1.safetensors --data shapes --points 2", &["--points"]),
        ("landscape 1.safetensors --data shapes --to 1.safetensors --plane", &["--plane"]),
        (
            "responses 1.safetensors 2.safetensors 4.safetensors --data shapes --model a --model b",
            &["--model"],
        ),
        ("lesion 1.safetensors", &["grad-cam", "lesions", "found lesion"]),
        ("grad-cam 1.safetensors", &["IMAGE"]),
    ] {
        let output = run(&folder, &format!("explain {arguments}"));
        refused(output, arguments, parts);
        assert!(!folder.path().join("explanations").exists(), "{arguments}");
    }
}

#[test]
fn images_are_still_explained_by_the_same_verb() {
    let folder = place(&["cifar_resnet8"]);
    let output = run(&folder, "explain filters,maximise 1.safetensors --samples 3");
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    for file in ["cifar_resnet8.filters.png", "cifar_resnet8.maximise.npy"] {
        assert!(folder.path().join("explanations").join(file).exists(), "{file}");
    }
}

#[test]
fn a_signal_ends_the_work_and_what_was_found_is_written() {
    let folder = place(&["cifar_resnet20"]);
    let study = "explain landscape 1.safetensors --data shapes --limit 64 --points 1001";
    let child = command(folder.path(), study).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", errors(&output));
    let file = folder.path().join("explanations/cifar_resnet20.landscape.csv");
    if errors(&output).contains("nothing is written") {
        assert!(!file.exists());
    } else {
        let lines = std::fs::read_to_string(file).unwrap().lines().count();
        assert!((2..1002).contains(&lines), "{lines}");
    }
}
