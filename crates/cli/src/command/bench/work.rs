//! What is measured: an inference, or a training step, on made-up images.

use anyhow::Result;
use residuum::engine::{
    Engine, Inference, InputShape, PlanSummary, SgdStep, StepTime, Training, TrainingOptions,
};
use residuum::models::{Model, formula, initialise};

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
    pub(super) fn new(engine: &Engine, model: &Model, shape: InputShape, is_training: bool) -> Result<Self> {
        let weights = initialise(&model.graph, 0);
        let program = if is_training {
            let options = TrainingOptions::default();
            Program::Training(Box::new(engine.training(&model.graph, &weights, shape, &options)?))
        } else {
            Program::Inference(Box::new(engine.inference(&model.graph, &weights, shape, &[])?))
        };
        let images = formula::input("input", &[shape.n, 3, shape.h, shape.w]).into_data();
        let labels = formula::labels(shape.n, model.graph.output_features());
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
