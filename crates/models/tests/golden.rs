//! The reference's files: names and number of parameters of every network, and the formula's vectors.
//!
//! The files lie in `tests/golden/formula` and are named after the registered name of their network; the
//! environment variable `RESIDUUM_GOLDEN` names another folder.

use std::path::PathBuf;

use residuum_models::{build, formula};
use serde_json::Value;

fn folder() -> PathBuf {
    let ours = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/formula"));
    std::env::var_os("RESIDUUM_GOLDEN").map_or_else(ours, PathBuf::from)
}

fn read(path: &std::path::Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is wrong with the network of a golden file.
fn fault(name: &str, golden: &Value) -> Option<String> {
    let (Some(classes), Some(gradients)) = (golden["classes"].as_u64(), golden["gradients"].as_object())
    else {
        return Some("the file has no classes or no gradients".into());
    };
    let graph = match build(name, Some(classes as usize)) {
        Ok(model) => model.graph,
        Err(error) => return Some(error.to_string()),
    };
    if Some(graph.parameter_count()) != golden["parameters"].as_u64() {
        return Some(format!("{} parameters, not {}", graph.parameter_count(), golden["parameters"]));
    }
    let learned = graph.params().iter().filter(|param| param.role.is_learned());
    // A branch that the reference's training pass dropped has no gradients.
    let is_recorded = |name: &str| {
        let block = name.rsplitn(3, '.').nth(2).unwrap_or(name);
        let is_dropped = graph.find(&format!("{block}.drop_path")).is_some();
        !is_dropped || gradients.contains_key(&format!("{block}.conv1.weight"))
    };
    let mut ours: Vec<&str> =
        learned.map(|param| param.name.as_str()).filter(|name| is_recorded(name)).collect();
    let mut theirs: Vec<&String> = gradients.keys().collect();
    ours.sort_unstable();
    theirs.sort_unstable();
    (ours != theirs).then(|| format!("parameters {ours:?}, not {theirs:?}"))
}

#[test]
fn parameters_are_named_as_the_reference_names_them() {
    let mut faults = Vec::new();
    let mut networks = 0;
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|ending| ending == "json") && name != "vectors" {
            networks += 1;
            faults.extend(fault(&name, &read(&path)).map(|fault| format!("{name}: {fault}")));
        }
    }
    assert!(networks > 0, "no golden files in {}", folder().display());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_formula_makes_the_references_numbers() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/formula/vectors.json"));
    let vectors = read(&path);
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let mut names = 0;
    for (name, vector) in vectors.as_object().unwrap().iter().filter(|(_, vector)| vector.is_object()) {
        let expected = numbers(&vector["symmetric"]);
        assert_eq!(formula::symmetric(name, expected.len()), expected, "{name}");
        names += 1;
    }
    assert_eq!(names, 7);
    let labels: Vec<f64> = formula::labels(8, 10).into_iter().map(f64::from).collect();
    assert_eq!(labels, numbers(&vectors["labels 8 of 10"]));
    let input = formula::input("input", &[1, 3, 2, 2]);
    let input: Vec<f64> = input.data().iter().map(|&x| f64::from(x)).collect();
    assert_eq!(input, numbers(&vectors["input (1,3,2,2)"]));
}

#[test]
fn the_formulas_weights_follow_the_role_of_a_parameter() {
    let graph = build("resnet18", Some(10)).unwrap().graph;
    let weights = formula::weights(&graph);
    assert_eq!(weights.len(), graph.params().len());
    let check = |name: &str, value: &dyn Fn(f64) -> f64| {
        let tensor = &weights[name];
        let expected: Vec<f32> =
            formula::symmetric(name, tensor.len()).into_iter().map(|r| value(r) as f32).collect();
        assert_eq!(tensor.data(), expected, "{name}");
    };
    check("conv1.weight", &|r| r * f64::sqrt(6.0 / 147.0));
    check("layer2.0.downsample.0.weight", &|r| r * f64::sqrt(6.0 / 64.0));
    check("fc.weight", &|r| r * f64::sqrt(6.0 / 512.0));
    check("fc.bias", &|r| 0.1 * r);
    check("bn1.weight", &|r| 0.75 + 0.5 * f64::midpoint(r, 1.0));
    check("bn1.bias", &|r| 0.2 * r);
    check("bn1.running_mean", &|_| 0.0);
    check("bn1.running_var", &|_| 1.0);
}
