//! A network compiled for answering.

use std::collections::HashMap;

use residuum_graph::{Graph, Quantization, Weights};
use residuum_tensor::Tensor;

use crate::engine::{Engine, InputShape, find_taps};
use crate::error::EngineError;
use crate::lower::lower_inference;
use crate::plan::PlanSummary;
use crate::profile::StepTime;
use crate::program::{Feed, Program};
use crate::step::ValueId;

/// A network that answers batches of one size.
#[derive(Debug)]
pub struct Inference {
    program: Program,
    shape: InputShape,
    answer: ValueId,
    taps: HashMap<String, ValueId>,
}

impl Inference {
    pub(crate) fn compile(
        engine: &Engine,
        graph: &Graph,
        weights: &Weights,
        quantization: Option<&Quantization>,
        shape: InputShape,
        taps: &[String],
    ) -> Result<Self, EngineError> {
        let tapped = find_taps(graph, taps)?;
        let kept = tapped.iter().copied().chain([graph.output()]).collect();
        let lowered =
            engine.threads().run(|| lower_inference(engine, graph, weights, quantization, shape, &kept))?;
        let taps = taps.iter().cloned().zip(tapped.iter().map(|id| lowered.value_of[id])).collect();
        let answer = lowered.value_of[&graph.output()];
        Ok(Self { program: Program::led(engine, lowered)?, shape, answer, taps })
    }

    /// The size of the batches.
    pub fn shape(&self) -> InputShape {
        self.shape
    }

    /// Numbers in the answer for one image.
    pub fn classes(&self) -> usize {
        self.program.layout(self.answer).c
    }

    /// Answers a batch: `images` is `[n, c, h, w]`, the answer `[n, classes]`.
    ///
    /// # Panics
    /// When `images` has another length than the compiled size says.
    pub fn run(&mut self, images: &[f32]) -> &[f32] {
        self.program.run(&Feed::images(images));
        self.program.value(self.answer)
    }

    /// The value of a tap after the last run: `[n, c, h, w]`, or `[n, c]` for what is no map.
    pub fn tap(&self, name: &str) -> Option<Tensor> {
        self.taps.get(name).map(|&value| self.program.tensor(value))
    }

    /// Runs a batch and times every step.
    ///
    /// # Panics
    /// As [`Inference::run`].
    pub fn profile(&mut self, images: &[f32]) -> Vec<StepTime> {
        self.program.profile(&Feed::images(images))
    }

    /// Memory that the program holds.
    pub fn summary(&self) -> PlanSummary {
        self.program.summary()
    }
}
