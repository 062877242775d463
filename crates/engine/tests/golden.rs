//! Every network of the golden folder, computed by formula weights, against PyTorch's values.
//!
//! `RESIDUUM_GOLDEN` names another folder; a file's stem is the registered name of its network. Tolerances
//! come from the error of PyTorch's own `f32` pass, which each file records.

use std::collections::BTreeMap;
use std::path::PathBuf;

use residuum_engine::{Engine, EngineOptions, InputShape, TrainingOptions, reference};
use residuum_graph::{Differentiation, Graph};
use residuum_models::formula;
use serde_json::Value;

/// Least tolerance, relative: what rounding alone may do.
const FLOOR: f64 = 1e-5;
/// How much worse than PyTorch's `f32` pass ours may be.
const FACTOR: f64 = 10.0;
/// Gradients smaller than this are nothing but rounding.
const NOTHING: f64 = 1e-9;

fn folder() -> PathBuf {
    std::env::var_os("RESIDUUM_GOLDEN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/formula")),
        PathBuf::from,
    )
}

struct Golden {
    name: String,
    record: Value,
}

impl Golden {
    fn all() -> Vec<Self> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
            .expect("the golden folder is there")
            .map(|entry| entry.expect("its entries can be listed").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .filter(|path| path.file_stem().is_some_and(|stem| stem != "vectors"))
            .collect();
        files.sort();
        files
            .iter()
            .map(|path| Self {
                name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
                record: serde_json::from_slice(&std::fs::read(path).unwrap()).expect("goldens are JSON"),
            })
            .collect()
    }

    fn input(&self) -> Vec<usize> {
        self.record["input"].as_array().unwrap().iter().map(|side| side.as_u64().unwrap() as usize).collect()
    }

    fn classes(&self) -> usize {
        self.record["classes"].as_u64().unwrap() as usize
    }

    fn graph(&self) -> Graph {
        residuum_models::build(&self.name, Some(self.classes())).expect("the file's stem is a network").graph
    }

    fn matrix(&self, key: &str) -> Vec<f64> {
        let rows = self.record[key].as_array().unwrap().iter();
        rows.flat_map(|row| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap())).collect()
    }

    fn logits_tolerance(&self, key: &str) -> f64 {
        (FACTOR * self.record["f32_error"][key].as_f64().unwrap()).max(FLOOR)
    }

    fn gradients(&self) -> &serde_json::Map<String, Value> {
        self.record["gradients"].as_object().unwrap()
    }

    fn median_gradient_error(&self) -> f64 {
        let mut errors: Vec<f64> =
            self.gradients().values().map(|g| g["f32_error"].as_f64().unwrap()).collect();
        errors.sort_by(f64::total_cmp);
        errors[errors.len() / 2]
    }

    /// Complaints about a gradient; empty where it is right.
    fn check_gradient(&self, name: &str, gradient: &[f64], tolerance: f64) -> Option<String> {
        let want = &self.gradients()[name];
        let (norm, probe) = (want["norm"].as_f64().unwrap(), want["probe"].as_f64().unwrap());
        if norm < NOTHING {
            println!("{}: gradient of {name} is nothing but rounding, skipped", self.name);
            return None;
        }
        let found = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let weights = formula::symmetric(&format!("grad.{name}"), gradient.len());
        let found_probe: f64 = gradient.iter().zip(&weights).map(|(g, w)| g * w).sum();
        let (norm_error, probe_error) = ((found - norm).abs() / norm, (found_probe - probe).abs() / norm);
        (norm_error > tolerance || probe_error > tolerance).then(|| {
            format!("{}: gradient of {name} is off by {norm_error:.1e} (norm) and {probe_error:.1e} (probe), allowed {tolerance:.1e}", self.name)
        })
    }

    fn check_logits(&self, key: &str, found: &[f64], tolerance: f64) -> Option<String> {
        let want = self.matrix(key);
        assert_eq!(found.len(), want.len());
        let largest = want.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        let error = found.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest;
        (error > tolerance || error.is_nan())
            .then(|| format!("{}: {key} are off by {error:.1e}, allowed {tolerance:.1e}", self.name))
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn the_engine_computes_what_pytorch_computes() {
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let mut complaints = Vec::new();
    let goldens = Golden::all();
    assert!(!goldens.is_empty(), "no goldens in {}", folder().display());
    for golden in &goldens {
        let (graph, input) = (golden.graph(), golden.input());
        let shape = InputShape { n: input[0], h: input[2], w: input[3] };
        let labels = formula::labels(input[0], golden.classes());
        let options = TrainingOptions { norm_momentum: 1.0, ..TrainingOptions::default() };
        let mut training = engine.training(&graph, &formula::weights(&graph), shape, &options).unwrap();
        let result = training.forward_backward(formula::input("input", &input).data(), &labels);

        let train_tolerance = golden.logits_tolerance("train_logits");
        complaints.extend(golden.check_logits("train_logits", &wide(training.logits()), train_tolerance));
        let loss = golden.record["loss"].as_f64().unwrap();
        // The loss moves as its logits do.
        let allowed = train_tolerance * golden.matrix("train_logits").iter().fold(1.0, |m: f64, x| m.max(x.abs()));
        if (result.loss - loss).abs() > allowed {
            complaints.push(format!("{}: loss {} instead of {loss}, allowed ±{allowed:.1e}", golden.name, result.loss));
        }
        let median = golden.median_gradient_error();
        for (name, want) in golden.gradients() {
            let tolerance = (FACTOR * want["f32_error"].as_f64().unwrap().max(median)).max(FLOOR);
            let gradient = training.gradient(name).unwrap_or_else(|| panic!("{}: no gradient of {name}", golden.name));
            complaints.extend(golden.check_gradient(name, &wide(gradient.data()), tolerance));
        }

        let mut inference = engine.inference(&graph, &training.weights(), shape, &[]).unwrap();
        let logits = wide(inference.run(formula::input("input2", &input).data()));
        complaints.extend(golden.check_logits("eval_logits", &logits, golden.logits_tolerance("eval_logits")));
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// In `f64` there is no rounding to hide behind: derivative rules and plain kernels must agree with
/// PyTorch's to the digits that the files keep. Large networks are left to the test above.
#[test]
fn the_reference_agrees_with_pytorch_in_f64() {
    const MOST_PARAMETERS: u64 = 1_000_000;
    const DIGITS: f64 = 1e-7;
    let mut complaints = Vec::new();
    let goldens: Vec<Golden> = Golden::all()
        .into_iter()
        .filter(|golden| {
            golden.graph().parameter_count() < MOST_PARAMETERS || golden.name == "resnet18a" || golden.name == "resnet50.caffe"
        })
        .collect();
    assert!(!goldens.is_empty());
    for golden in &goldens {
        let (graph, input) = (golden.graph(), golden.input());
        let training = graph.differentiate(&Differentiation::default()).unwrap();
        let weights: BTreeMap<String, Vec<f64>> =
            formula::weights(&graph).iter().map(|(name, tensor)| (name.clone(), wide(tensor.data()))).collect();
        let labels = formula::labels(input[0], golden.classes());
        let feed = reference::Feed {
            weights: &weights,
            images: &wide(formula::input("input", &input).data()),
            shape: [input[0], input[2], input[3]],
            labels: &labels,
            label_smoothing: 0.0,
        };
        let values = reference::evaluate(&training.graph, &feed).unwrap();
        complaints.extend(golden.check_logits("train_logits", &values[training.logits.index()], DIGITS));
        for gradient in &training.gradients {
            let name = &graph.param(gradient.param).name;
            let value = &values[gradient.node.index()];
            let value = gradient.row.map_or(&value[..], |row| {
                let len = graph.param(gradient.param).len();
                &value[row * len..(row + 1) * len]
            });
            complaints.extend(golden.check_gradient(name, value, DIGITS));
        }
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}
