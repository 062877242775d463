//! `residuum eval`: views, ensembles, tables and files.

mod support;

use std::path::Path;

use residuum::classify::{ModelFile, ModelInfo};
use residuum::data::Preprocess;
use residuum::models::{build, initialise};
use serde_json::Value;
use tempfile::TempDir;

use support::{bmp, printed, refused, run};

/// A folder with two models of one set of classes, one of another, and twelve pictures.
fn place() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let resized = Preprocess { resize: Some(20), crop: 16, ..Preprocess::cifar10() };
    model(folder.path(), "a", &["cat", "dog"], 1, resized);
    model(folder.path(), "b", &["cat", "dog"], 2, Preprocess::cifar10());
    model(folder.path(), "c", &["cat", "dog", "emu"], 3, Preprocess::cifar10());
    for i in 0..12u32 {
        let class = folder.path().join("pictures").join(["cat", "dog"][i as usize % 2]);
        std::fs::create_dir_all(&class).unwrap();
        std::fs::write(class.join(format!("{i:02}.bmp")), bmp(24 + i, 30, i)).unwrap();
    }
    folder
}

fn model(folder: &Path, name: &str, classes: &[&str], seed: u64, preprocess: Preprocess) {
    let model = build("cifar_resnet8", Some(classes.len())).unwrap();
    let names = classes.iter().map(|&class| class.to_owned()).collect();
    let info = ModelInfo::new(&model.name, names, preprocess);
    let file = ModelFile { weights: initialise(&model.graph, seed), info };
    file.save(folder.join(format!("{name}.safetensors"))).unwrap();
}

fn json(folder: &TempDir, arguments: &str) -> Vec<Value> {
    let text = printed(folder, &format!("{arguments} --json"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn views_change_the_loss_and_keep_the_form() {
    let folder = place();
    let losses: Vec<f64> = [
        "",
        " --flip",
        " --crops 10",
        " --crops 10 --average logits",
        " --crops multi-scale --scales 16,24",
        " --crops multi-scale --scales 16,24 --positions whole",
        " --crops multi-scale --scales 16,24 --flip",
    ]
    .iter()
    .map(|flags| {
        let found = json(&folder, &format!("eval a.safetensors --data pictures{flags}"));
        assert_eq!((found.len(), &found[0]["images"]), (1, &12.into()));
        let sum = found[0]["top1"].as_f64().unwrap() + found[0]["top1_error"].as_f64().unwrap();
        assert!((sum - 100.0).abs() < 1e-9);
        found[0]["loss"].as_f64().unwrap()
    })
    .collect();
    for (i, a) in losses.iter().enumerate() {
        assert!(losses[..i].iter().all(|b| a.to_bits() != b.to_bits()), "{losses:?}");
    }
}

#[test]
fn several_models_are_an_ensemble_with_each_beside() {
    let folder = place();
    let found = json(&folder, "eval a.safetensors b.safetensors --data pictures --confusion table.csv");
    let names: Vec<&str> = found.iter().map(|result| result["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.safetensors", "b.safetensors", "ensemble"]);
    let alone = json(&folder, "eval b.safetensors --data pictures");
    assert_eq!(found[1]["correct"], alone[0]["correct"]);
    assert_eq!(found[1]["loss"], alone[0]["loss"]);

    let table = std::fs::read_to_string(folder.path().join("table.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((rows.len(), &rows[0][..]), (3, &["class", "cat", "dog"][..]));
    let count = |row: usize, column: usize| rows[row][column].parse::<u64>().unwrap();
    assert_eq!((count(1, 1) + count(1, 2), count(2, 1) + count(2, 2)), (6, 6));
    assert_eq!(Some(count(1, 1) + count(2, 2)), found[2]["correct"].as_u64());

    let text = printed(&folder, "eval a.safetensors b.safetensors --data pictures");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 4 && lines[0].contains("error %") && lines[3].starts_with("ensemble"), "{text}");
}

#[test]
fn classes_are_printed_on_demand_the_worst_first() {
    let folder = place();
    assert!(!printed(&folder, "eval a.safetensors --data pictures").contains("dog"));
    let text = printed(&folder, "eval a.safetensors --data pictures --per-class");
    let rows: Vec<&str> =
        text.lines().filter(|line| line.starts_with("cat") || line.starts_with("dog")).collect();
    let accuracy = |row: &str| row.split_whitespace().last().unwrap().parse::<f64>().unwrap();
    assert_eq!(rows.len(), 2);
    assert!(accuracy(rows[0]) <= accuracy(rows[1]), "{text}");
}

#[test]
fn what_cannot_be_is_refused_on_one_line() {
    let folder = place();
    for (arguments, part) in [
        ("b.safetensors --crops 10", "without a resize"),
        ("b.safetensors --crops multi-scale", "without a resize"),
        ("a.safetensors --crops 10 --flip", "mirror"),
        ("a.safetensors --crops 12", "12"),
        ("a.safetensors --average medians", "medians"),
        ("a.safetensors --scales 16", "multi-scale"),
        ("a.safetensors --positions whole", "multi-scale"),
        ("a.safetensors --crops multi-scale --scales 0", "4096"),
        ("a.safetensors --crops multi-scale --scales 8", "window"),
        ("a.safetensors c.safetensors", "classes"),
        ("a.safetensors --model resnet8 --model resnet8", "--model"),
        ("a.safetensors --confusion none/table.csv", "none"),
        ("a.safetensors b.safetensors --confusion a.safetensors", "exists"),
    ] {
        let output = run(&folder, &format!("eval --data pictures {arguments}"));
        refused(output, arguments, &[part]);
    }
}

#[test]
fn an_accuracy_that_is_missed_ends_with_one() {
    let folder = place();
    let output = run(&folder, "eval a.safetensors b.safetensors --data pictures --require-top1 100");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ensemble: top-1"));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 4);
}
