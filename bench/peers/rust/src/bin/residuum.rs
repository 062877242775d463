//! This project, through its façade.

use anyhow::Result;
use peers::{Task, peak_mb, reply};
use residuum::classify::{LoadOptions, load_model};
use residuum::engine::peak::Limits;
use residuum::engine::{Engine, EngineOptions, InputShape, SgdStep, StepTime, TrainingOptions};
use serde_json::json;

const STEP: SgdStep = SgdStep { lr: 0.001, momentum: 0.9, nesterov: false, weight_decay: 0.0 };

fn main() -> Result<()> {
    let task = Task::from_args()?;
    let [n, _, h, w] = task.shape;
    let shape = InputShape { n, h, w };
    let engine = Engine::new(&EngineOptions { threads: Some(task.threads), ..EngineOptions::default() })?;
    let options = LoadOptions { model: Some(&task.network), ..LoadOptions::default() };
    let loaded = load_model(task.folder.join("weights.safetensors"), &options)?;
    let graph = &loaded.model.graph;
    if task.is_training {
        let mut program = engine.training(graph, &loaded.weights, shape, &TrainingOptions::default())?;
        let labels = task.labels(loaded.classes());
        drop(loaded);
        task.requests(|| Ok(vec![program.step(&task.images, &labels, &STEP).loss as f32]))?;
        let (peak, bytes) = (peak_mb()?, program.summary().peak_bytes());
        return end(peak, &engine, bytes, &program.profile(&task.images, &labels));
    }
    let mut program = engine.inference(graph, &loaded.weights, shape, &[])?;
    drop(loaded);
    task.requests(|| Ok(program.run(&task.images).to_vec()))?;
    let (peak, bytes) = (peak_mb()?, program.summary().peak_bytes());
    end(peak, &engine, bytes, &program.profile(&task.images))
}

/// The last reply: memory, and the least time that the chosen algorithms could take, as `residuum bench` has it.
fn end(peak_mb: f64, engine: &Engine, bytes: usize, steps: &[StepTime]) -> Result<()> {
    let limits = engine.threads().run(|| Limits::measure(engine.isa(), bytes));
    let least = |step: &StepTime| limits.least_seconds(step.cost.multiply_adds, step.cost.bytes);
    let limit_ms = 1000.0 * steps.iter().map(least).sum::<f64>();
    reply(&json!({"peak_mb": peak_mb, "limit_ms": limit_ms}));
    Ok(())
}
