//! Every network of the golden folder, computed by formula weights, against PyTorch's values.
//!
//! `RESIDUUM_GOLDEN` names another folder; a file's stem is the registered name of its network. Tolerances
//! come from the error of PyTorch's own `f32` pass, which each file records.

#![allow(clippy::print_stdout, reason = "what was skipped is worth reading")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use residuum_engine::{Draws, Engine, EngineOptions, InputShape, Training, TrainingOptions, reference};
use residuum_graph::{Differentiation, Graph, NodeId, Op, ParamGradient};
use residuum_models::formula;
use serde_json::Value;

/// Least tolerance, relative: what rounding alone may do.
const FLOOR: f64 = 1e-5;
/// How much worse than PyTorch's `f32` pass ours may be.
const FACTOR: f64 = 10.0;
/// Distance from zero, relative to the largest value of the map, within which rounding chooses the sign.
const ROUNDING: f64 = 1e-5;
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

    fn gradient_tolerance(&self, name: &str) -> f64 {
        let own = self.gradients()[name]["f32_error"].as_f64().unwrap();
        (FACTOR * own.max(self.median_gradient_error())).max(FLOOR)
    }

    /// A value within rounding of zero may leave its ReLU on the other side than in `f64`, and with it every
    /// gradient below. So where gradients are `off`, they are compared with those that `f64` gives when its
    /// ReLUs take our sides, after checking that only values within rounding of zero changed sides.
    fn check_on_the_same_side(
        &self,
        graph: &Graph,
        training: &Training,
        gradients: &BTreeMap<String, Vec<f64>>,
        mut off: Vec<String>,
    ) -> Vec<String> {
        let derived = graph.differentiate(&Differentiation::default()).unwrap();
        let (mut changed, mut far) = (0, Vec::new());
        let idle = self.idle_relus(graph);
        let values = self.in_f64(graph, &derived.graph, |id, value| {
            let node = derived.graph.node(id);
            if node.op != Op::Relu || idle.contains(&node.name.as_str()) {
                return;
            }
            let largest = value.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
            let ours = training.tap(&node.name).expect("every ReLU is tapped");
            for (index, (value, &ours)) in value.iter_mut().zip(ours.data()).enumerate() {
                if (*value > 0.0) == (ours > 0.0) {
                    continue;
                }
                changed += 1;
                // One of the two is zero, so their difference is the distance from zero.
                if (*value - f64::from(ours)).abs() > ROUNDING * largest {
                    far.push(format!("{}: {} is {ours} at {index} instead of {value}", self.name, node.name));
                }
                *value = if ours > 0.0 { f64::MIN_POSITIVE } else { 0.0 };
            }
        });
        if changed == 0 || !far.is_empty() {
            off.extend(far);
            return off;
        }
        println!("{}: {changed} values within rounding of zero changed sides", self.name);
        let check = |gradient: &ParamGradient| {
            let name = &graph.param(gradient.param).name;
            let exact = gradient_value(graph, gradient, &values);
            let norm = exact.iter().map(|g| g * g).sum::<f64>().sqrt();
            let error =
                exact.iter().zip(&gradients[name]).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
            let (error, tolerance) = (error / norm, self.gradient_tolerance(name));
            (norm > NOTHING && error > tolerance).then(|| {
                format!(
                    "{}: gradient of {name} is off by {error:.1e} on the same side, allowed {tolerance:.1e}",
                    self.name
                )
            })
        };
        let recorded = |gradient: &&ParamGradient| gradients.contains_key(&graph.param(gradient.param).name);
        derived.gradients.iter().filter(recorded).filter_map(check).collect()
    }

    /// Whether each branch with stochastic depth is open, in the order of the nodes; nothing in nets without.
    /// The file has no gradients of a closed one.
    fn gates(&self, graph: &Graph) -> Option<Vec<bool>> {
        let is_open = |block: &str| self.gradients().contains_key(&format!("{block}.conv1.weight"));
        let gates: Vec<bool> = dropped_blocks(graph).map(is_open).collect();
        (!gates.is_empty()).then_some(gates)
    }

    /// The ReLUs inside of closed branches, which the engine does not compute.
    fn idle_relus<'a>(&self, graph: &'a Graph) -> Vec<&'a str> {
        let Some(gates) = self.gates(graph) else { return Vec::new() };
        let mut idle = Vec::new();
        for (block, _) in dropped_blocks(graph).zip(gates).filter(|(_, is_open)| !is_open) {
            let of_block = graph.nodes().iter().filter(|node| node.name.starts_with(&format!("{block}.")));
            let in_branch = of_block.take_while(|node| !matches!(node.op, Op::DropPath(_)));
            idle.extend(in_branch.filter(|node| node.op == Op::Relu).map(|node| node.name.as_str()));
        }
        idle
    }

    /// A closed branch learns nothing, and its running statistics stay where they were.
    fn check_closed_branches(&self, graph: &Graph, training: &Training) -> Vec<String> {
        let Some(gates) = self.gates(graph) else { return Vec::new() };
        let closed = dropped_blocks(graph).zip(gates).filter(|(_, is_open)| !is_open);
        let (start, weights) = (formula::weights(graph), training.weights());
        let mut complaints = Vec::new();
        for (block, _) in closed {
            let ours = graph.params().iter().filter(|param| param.name.starts_with(&format!("{block}.")));
            for name in ours.map(|param| &param.name) {
                let moved = weights[name] != start[name];
                let learns = training.gradient(name).is_some_and(|g| g.data().iter().any(|&g| g != 0.0));
                if moved || learns {
                    complaints.push(format!("{}: {name} of a closed branch moves or learns", self.name));
                }
            }
        }
        complaints
    }

    /// Every value of a network's training graph on the formula batch.
    fn in_f64(
        &self,
        network: &Graph,
        graph: &Graph,
        adjust: impl FnMut(NodeId, &mut [f64]),
    ) -> Vec<Vec<f64>> {
        let input = self.input();
        let gates = self.gates(network);
        let weights: BTreeMap<String, Vec<f64>> = formula::weights(graph)
            .iter()
            .map(|(name, tensor)| (name.clone(), wide(tensor.data())))
            .collect();
        let feed = reference::Feed {
            weights: &weights,
            images: &wide(formula::input("input", &input).data()),
            shape: [input[0], input[2], input[3]],
            labels: &formula::labels(input[0], self.classes()),
            label_smoothing: 0.0,
            seed: &[],
            draws: Draws::new(0, 0),
            gates: gates.as_deref(),
        };
        reference::evaluate_with(graph, &feed, adjust).unwrap()
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

/// Names of the blocks with stochastic depth.
fn dropped_blocks(graph: &Graph) -> impl Iterator<Item = &str> {
    let paths = graph.nodes().iter().filter(|node| matches!(node.op, Op::DropPath(_)));
    paths.filter_map(|node| node.name.strip_suffix(".drop_path"))
}

fn relu_names(graph: &Graph) -> Vec<String> {
    graph.nodes().iter().filter(|node| node.op == Op::Relu).map(|node| node.name.clone()).collect()
}

/// A parameter's gradient among the values of a training graph.
fn gradient_value<'a>(graph: &Graph, gradient: &ParamGradient, values: &'a [Vec<f64>]) -> &'a [f64] {
    let value = &values[gradient.node.index()];
    gradient.row.map_or(value, |row| {
        let len = graph.param(gradient.param).len();
        &value[row * len..(row + 1) * len]
    })
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
        let relus = relu_names(&graph);
        let options = TrainingOptions { norm_momentum: 1.0, taps: relus, ..TrainingOptions::default() };
        let mut training = engine.training(&graph, &formula::weights(&graph), shape, &options).unwrap();
        training.set_gates(golden.gates(&graph));
        let result = training.forward_backward(formula::input("input", &input).data(), &labels);

        let train_tolerance = golden.logits_tolerance("train_logits");
        complaints.extend(golden.check_logits("train_logits", &wide(training.logits()), train_tolerance));
        let loss = golden.record["loss"].as_f64().unwrap();
        // The loss moves as its logits do.
        let allowed =
            train_tolerance * golden.matrix("train_logits").iter().fold(1.0, |m: f64, x| m.max(x.abs()));
        if (result.loss - loss).abs() > allowed {
            complaints.push(format!(
                "{}: loss {} instead of {loss}, allowed ±{allowed:.1e}",
                golden.name, result.loss
            ));
        }
        let gradients: BTreeMap<String, Vec<f64>> = golden
            .gradients()
            .keys()
            .map(|name| {
                let gradient = training.gradient(name);
                let gradient = gradient.unwrap_or_else(|| panic!("{}: no gradient of {name}", golden.name));
                (name.clone(), wide(gradient.data()))
            })
            .collect();
        let check = |(name, gradient): (&String, &Vec<f64>)| {
            golden.check_gradient(name, gradient, golden.gradient_tolerance(name))
        };
        let off: Vec<String> = gradients.iter().filter_map(check).collect();
        if !off.is_empty() {
            complaints.extend(golden.check_on_the_same_side(&graph, &training, &gradients, off));
        }
        complaints.extend(golden.check_closed_branches(&graph, &training));

        let mut inference = engine.inference(&graph, &training.weights(), shape, &[]).unwrap();
        let logits = wide(inference.run(formula::input("input2", &input).data()));
        complaints.extend(golden.check_logits(
            "eval_logits",
            &logits,
            golden.logits_tolerance("eval_logits"),
        ));
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
            golden.graph().parameter_count() < MOST_PARAMETERS
                || golden.name == "resnet18a"
                || golden.name == "resnet50.caffe"
        })
        .collect();
    assert!(!goldens.is_empty());
    for golden in &goldens {
        let graph = golden.graph();
        let training = graph.differentiate(&Differentiation::default()).unwrap();
        let values = golden.in_f64(&graph, &training.graph, |_, _| {});
        complaints.extend(golden.check_logits("train_logits", &values[training.logits.index()], DIGITS));
        for gradient in &training.gradients {
            let name = &graph.param(gradient.param).name;
            let value = gradient_value(&graph, gradient, &values);
            if !golden.gradients().contains_key(name) {
                assert!(value.iter().all(|&g| g == 0.0), "{}: {name} of a closed branch learns", golden.name);
                continue;
            }
            complaints.extend(golden.check_gradient(name, value, DIGITS));
        }
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}
