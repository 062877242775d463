//! A network compiled for looking inside: how one value depends on others.

use std::collections::HashMap;

use residuum_graph::{Graph, NodeId, ReluRule, Sensitivities, Weights};
use residuum_tensor::Tensor;

use crate::engine::{Engine, InputShape, find_taps};
use crate::error::EngineError;
use crate::lower::lower_sensitivity;
use crate::plan::PlanSummary;
use crate::program::{Feed, Program};
use crate::step::ValueId;

/// What depends on what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SensitivityOptions {
    /// Name of the layer that is looked at; the network's answer if not said.
    pub of: Option<String>,
    /// Names of layers with respect to whose values gradients are wanted; `input` for the images.
    pub to: Vec<String>,
    /// Names of other layers whose values can be read.
    pub taps: Vec<String>,
    /// What ReLUs do to gradients.
    pub rule: ReluRule,
    /// Operands of additions, by name and place, that no gradient goes on to.
    pub cut: Vec<(String, usize)>,
}

/// A network in evaluation mode whose gradients can be followed back: [`Sensitivity::forward`] computes the
/// values, then any number of [`Sensitivity::backward`] the gradients of weighted sums of one of them.
#[derive(Debug)]
pub struct Sensitivity {
    program: Program,
    shape: InputShape,
    of: ValueId,
    /// The step that loads the seed: the ones before it are the forward pass.
    seed_step: usize,
    values: HashMap<String, ValueId>,
    gradients: HashMap<String, Option<ValueId>>,
}

impl Sensitivity {
    pub(crate) fn compile(
        engine: &Engine,
        graph: &Graph,
        weights: &Weights,
        shape: InputShape,
        options: &SensitivityOptions,
    ) -> Result<Self, EngineError> {
        let find = |names: &[String]| find_taps(graph, names);
        let of = match &options.of {
            Some(name) => find(std::slice::from_ref(name))?[0],
            None => graph.output(),
        };
        let (to, taps) = (find(&options.to)?, find(&options.taps)?);
        let (names, operands): (Vec<String>, Vec<usize>) = options.cut.iter().cloned().unzip();
        let cut = find(&names)?.into_iter().zip(operands).collect();
        let wanted = Sensitivities { of, to: to.clone(), rule: options.rule, cut };
        let sensitivity = graph.sensitivity(&wanted)?;
        let gradients = sensitivity.gradients.iter().flatten();
        let kept = to.iter().chain(&taps).chain(gradients).copied().chain([of]).collect();
        let lowered =
            engine.threads().run(|| lower_sensitivity(engine, &sensitivity.graph, weights, shape, &kept))?;
        let value = |id: &NodeId| lowered.value_of[id];
        let names = options.to.iter().chain(&options.taps).cloned();
        let values = names.zip(to.iter().chain(&taps).map(value)).collect();
        let gradients = sensitivity.gradients.iter().map(|id| id.as_ref().map(value));
        let gradients = options.to.iter().cloned().zip(gradients).collect();
        let seed = value(&sensitivity.seed);
        let of = value(&of);
        let seed_step = lowered.steps.iter().position(|step| step.out == seed).unwrap_or(0);
        let program = Program::new(engine, lowered)?;
        Ok(Self { program, shape, of, seed_step, values, gradients })
    }

    /// The size of the batches.
    pub fn shape(&self) -> InputShape {
        self.shape
    }

    /// Computes all values for a batch of images, `[n, c, h, w]`.
    ///
    /// # Panics
    /// When `images` has another length than the compiled size says.
    pub fn forward(&mut self, images: &[f32]) {
        self.program.run_steps(&Feed::images(images), 0..self.seed_step);
    }

    /// The value that is looked at: `[n, c, h, w]`, or `[n, c]` for what is no map.
    pub fn value(&self) -> Tensor {
        self.program.tensor(self.of)
    }

    /// The value of a layer among those named in the options.
    pub fn tap(&self, name: &str) -> Option<Tensor> {
        self.values.get(name).map(|&value| self.program.tensor(value))
    }

    /// Computes the gradients of `Σ seed · value`; the seed has the shape of [`Sensitivity::value`].
    ///
    /// # Panics
    /// When the seed has another length.
    pub fn backward(&mut self, seed: &[f32]) {
        self.program.run_steps(&Feed { seed, ..Feed::images(&[]) }, self.seed_step..usize::MAX);
    }

    /// The gradient with respect to a layer named in the options, as the last [`Sensitivity::backward`]
    /// found it; zeros where the layer has no influence.
    pub fn gradient(&self, name: &str) -> Option<Tensor> {
        let gradient = self.gradients.get(name)?;
        let value = self.tap(name)?;
        Some(gradient.map_or_else(
            || Tensor::filled(value.shape().to_vec(), 0.0),
            |gradient| self.program.tensor(gradient),
        ))
    }

    /// Memory that the program holds.
    pub fn summary(&self) -> PlanSummary {
        self.program.summary()
    }
}
