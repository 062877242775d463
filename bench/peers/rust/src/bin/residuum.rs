//! This project, through its façade.

use anyhow::Result;
use peers::Task;
use residuum::classify::{LoadOptions, load_model};
use residuum::engine::{Engine, EngineOptions, InputShape, SgdStep, TrainingOptions};

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
        let classes = loaded.classes();
        let labels: Vec<u32> = (0..n).map(|i| (i % classes) as u32).collect();
        drop(loaded);
        let step = SgdStep { lr: 0.001, momentum: 0.9, nesterov: false, weight_decay: 0.0 };
        return task.serve(|| Ok(vec![program.step(&task.images, &labels, &step).loss as f32]));
    }
    let mut program = engine.inference(graph, &loaded.weights, shape, &[])?;
    drop(loaded);
    task.serve(|| Ok(program.run(&task.images).to_vec()))
}
