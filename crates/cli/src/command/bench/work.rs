//! What is measured: an inference, or a training step, on made-up images.

use anyhow::Result;
use residuum::classify::Loaded;
use residuum::engine::{
    Engine, Inference, InputShape, PlanSummary, SgdStep, StepTime, Training, TrainingOptions,
};
use residuum::models::formula;

/// A compiled program with its input.
pub(super) struct Work {
    program: Program,
    images: Vec<f32>,
    labels: Vec<u32>,
}

enum Program {
    Inference(Box<Inference>),
    Training(Box<Training>),
}

/// Small steps, so that no number of them leads astray.
const STEP: SgdStep = SgdStep { lr: 1e-4, momentum: 0.9, nesterov: false, weight_decay: 1e-4 };

impl Work {
    pub(super) fn new(
        engine: &Engine,
        loaded: &Loaded,
        shape: InputShape,
        is_training: bool,
    ) -> Result<Self> {
        let (graph, weights) = (&loaded.model.graph, &loaded.weights);
        let program = if is_training {
            let options = TrainingOptions::default();
            loaded.require_floats("training")?;
            Program::Training(Box::new(engine.training(graph, weights, shape, &options)?))
        } else {
            Program::Inference(Box::new(loaded.compile(engine, shape, &[])?))
        };
        let images = formula::input("input", &[shape.n, 3, shape.h, shape.w]).into_data();
        let labels = formula::labels(shape.n, graph.output_features());
        Ok(Self { program, images, labels })
    }

    pub(super) fn run(&mut self) {
        match &mut self.program {
            Program::Inference(program) => {
                program.run(&self.images);
            }
            Program::Training(program) => {
                program.step(&self.images, &self.labels, &STEP);
            }
        }
    }

    pub(super) fn profile(&mut self) -> Vec<StepTime> {
        match &mut self.program {
            Program::Inference(program) => program.profile(&self.images),
            Program::Training(program) => program.profile(&self.images, &self.labels),
        }
    }

    pub(super) fn summary(&self) -> PlanSummary {
        match &self.program {
            Program::Inference(program) => program.summary(),
            Program::Training(program) => program.summary(),
        }
    }
}
