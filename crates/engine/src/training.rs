//! A network compiled for learning.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use residuum_graph::{Differentiation, Graph, NodeId, ParamId, Role, Weights};
use residuum_kernels::{SgdStep, sgd_step};
use residuum_tensor::{AlignedBuffer, Tensor};

use crate::engine::{Engine, InputShape, find_taps};
use crate::error::EngineError;
use crate::lower::lower_training;
use crate::memory::allocate;
use crate::plan::PlanSummary;
use crate::profile::StepTime;
use crate::program::{Feed, Program};
use crate::step::{Place, ValueId};

/// Which parameters weight decay pulls towards zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decay {
    /// All that are learned (He et al. 2015 as fb.resnet.torch and PyTorch's examples do it).
    #[default]
    All,
    /// Filters and matrices only.
    Filters,
}

/// How a network learns, as far as the compiled program is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingOptions {
    /// Share of the target that is spread over all classes.
    pub label_smoothing: f32,
    /// Weight of a batch in the running statistics (PyTorch's `momentum`).
    pub norm_momentum: f32,
    /// Names of parameters that stay as they are. A batch norm with a frozen scale uses its running
    /// statistics and leaves them alone.
    pub frozen: Vec<String>,
    /// Which parameters weight decay pulls towards zero.
    pub decay: Decay,
    /// Names of layers whose values, and the loss's gradients with respect to them, can be read.
    pub taps: Vec<String>,
}

impl Default for TrainingOptions {
    fn default() -> Self {
        Self {
            label_smoothing: 0.0,
            norm_momentum: 0.1,
            frozen: Vec::new(),
            decay: Decay::All,
            taps: Vec::new(),
        }
    }
}

/// What one step of training found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// Mean loss of the batch before the update.
    pub loss: f64,
    /// Images of the batch whose largest logit was their label's.
    pub correct: usize,
}

/// A network that learns from batches of one size.
#[derive(Debug)]
pub struct Training {
    program: Program,
    options: TrainingOptions,
    shape: InputShape,
    logits: ValueId,
    params: Vec<PlacedParam>,
    velocity: AlignedBuffer,
    /// Ranges of the store that are updated alike, and whether they decay.
    updates: Vec<(Range<usize>, bool)>,
    taps: HashMap<String, Tap>,
}

#[derive(Clone, Copy, Debug)]
struct Tap {
    value: ValueId,
    gradient: Option<ValueId>,
}

#[derive(Clone, Debug)]
struct PlacedParam {
    name: String,
    shape: Vec<usize>,
    place: Place,
    is_learned: bool,
}

impl Training {
    pub(crate) fn compile(
        engine: &Engine,
        graph: &Graph,
        weights: &Weights,
        shape: InputShape,
        options: &TrainingOptions,
    ) -> Result<Self, EngineError> {
        let frozen = options.frozen.iter().filter_map(|name| graph.find_param(name)).collect();
        let training = graph.differentiate(&Differentiation { frozen })?;
        let learned: HashSet<ParamId> = training.gradients.iter().map(|gradient| gradient.param).collect();
        let order = store_order(graph, &learned, options.decay);
        // The training graph keeps the layers' names but not their places.
        let in_training = |id: NodeId| training.graph.find(&graph.node(id).name).unwrap_or(id);
        let tapped: Vec<NodeId> = find_taps(graph, &options.taps)?.into_iter().map(in_training).collect();
        let gradient_of = |id: &NodeId| training.node_gradients[id.index()];
        let kept =
            tapped.iter().copied().chain(tapped.iter().filter_map(gradient_of)).chain([training.logits]);
        let kept = kept.collect();
        let lowered =
            engine.threads().run(|| lower_training(engine, &training, weights, shape, &order, &kept))?;
        let logits = lowered.value_of[&training.logits];
        let tap = |id: &NodeId| Tap {
            value: lowered.value_of[id],
            gradient: gradient_of(id).map(|gradient| lowered.value_of[&gradient]),
        };
        let taps = options.taps.iter().cloned().zip(tapped.iter().map(tap)).collect();
        let params: Vec<PlacedParam> = order
            .iter()
            .map(|&id| PlacedParam {
                name: graph.param(id).name.clone(),
                shape: graph.param(id).shape.clone(),
                place: lowered.places[id.index()].clone().unwrap_or(0..0),
                is_learned: learned.contains(&id),
            })
            .collect();
        let end = |wanted: &dyn Fn(ParamId) -> bool| {
            let places = order.iter().zip(&params).filter(|(id, _)| wanted(**id));
            places.map(|(_, param)| param.place.end).max().unwrap_or(0)
        };
        let learned_end = end(&|id| learned.contains(&id));
        let decayed_end = end(&|id| learned.contains(&id) && decays(graph, id, options.decay));
        let velocity = allocate("the velocities", learned_end)?;
        let updates = vec![(0..decayed_end, true), (decayed_end..learned_end, false)];
        let program = Program::new(engine, lowered, learned_end)?;
        Ok(Self { program, options: options.clone(), shape, logits, params, velocity, updates, taps })
    }

    /// The size of the batches.
    pub fn shape(&self) -> InputShape {
        self.shape
    }

    /// Loss and gradients of a batch: `images` is `[n, c, h, w]`, `labels` one class for each. The running
    /// statistics of batch norms move; nothing else does.
    ///
    /// # Panics
    /// When a length does not fit the compiled size, or a label is no class.
    pub fn forward_backward(&mut self, images: &[f32], labels: &[u32]) -> StepResult {
        assert_eq!(labels.len(), self.shape.n, "one label for each image");
        self.program.pack_filters();
        let (loss, correct) = self.program.run(&feed(&self.options, images, labels));
        StepResult { loss, correct }
    }

    /// Moves the learned parameters along the gradients of the last batch.
    pub fn update(&mut self, step: &SgdStep) {
        let Self { program, velocity, updates, .. } = self;
        let (isa, threads) = (program.isa(), program.threads().clone());
        let (store, gradients) = (&mut program.store, &program.gradients);
        threads.run(|| {
            for (range, decays) in updates.iter() {
                let weight_decay = if *decays { step.weight_decay } else { 0.0 };
                let step = SgdStep { weight_decay, ..*step };
                let (weights, gradients) = (&mut store[range.clone()], &gradients[range.clone()]);
                sgd_step(isa, weights, gradients, &mut velocity[range.clone()], &step);
            }
        });
    }

    /// [`Training::forward_backward`], then [`Training::update`].
    ///
    /// # Panics
    /// As [`Training::forward_backward`].
    pub fn step(&mut self, images: &[f32], labels: &[u32], step: &SgdStep) -> StepResult {
        let result = self.forward_backward(images, labels);
        self.update(step);
        result
    }

    /// Answers to the last batch in training mode, `[n, classes]`.
    pub fn logits(&self) -> &[f32] {
        self.program.value(self.logits)
    }

    /// Gradient of a learned parameter for the last batch.
    pub fn gradient(&self, name: &str) -> Option<Tensor> {
        let param = self.params.iter().find(|param| param.is_learned && param.name == name)?;
        Some(param.tensor(&self.program.gradients))
    }

    /// The value of a tapped layer for the last batch: `[n, c, h, w]`, or `[n, c]` for what is no map.
    pub fn tap(&self, name: &str) -> Option<Tensor> {
        Some(self.program.tensor(self.taps.get(name)?.value))
    }

    /// The gradient of the loss with respect to a tapped layer, where something to learn lies behind it.
    pub fn tap_gradient(&self, name: &str) -> Option<Tensor> {
        Some(self.program.tensor(self.taps.get(name)?.gradient?))
    }

    /// Euclidean norm of all gradients together.
    pub fn gradient_norm(&self) -> f64 {
        self.program.gradients.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt()
    }

    /// All parameters as they are now, running statistics included.
    pub fn weights(&self) -> Weights {
        self.params.iter().map(|param| (param.name.clone(), param.tensor(&self.program.store))).collect()
    }

    /// The optimiser's velocities by the names of the learned parameters.
    pub fn velocity(&self) -> Weights {
        let learned = self.params.iter().filter(|param| param.is_learned);
        learned.map(|param| (param.name.clone(), param.tensor(&self.velocity))).collect()
    }

    /// Sets the optimiser's velocities.
    ///
    /// # Errors
    /// When one is missing or of another shape.
    pub fn set_velocity(&mut self, velocity: &Weights) -> Result<(), EngineError> {
        for param in self.params.iter().filter(|param| param.is_learned) {
            let (name, expected) = (param.name.clone(), param.shape.clone());
            let Some(found) = velocity.get(&param.name) else {
                return Err(EngineError::MissingWeight { name, shape: expected });
            };
            if found.shape() != param.shape {
                return Err(EngineError::WeightShape { name, expected, found: found.shape().to_vec() });
            }
            self.velocity[param.place.clone()].copy_from_slice(found.data());
        }
        Ok(())
    }

    /// [`Training::forward_backward`] with every step timed.
    ///
    /// # Panics
    /// As [`Training::forward_backward`].
    pub fn profile(&mut self, images: &[f32], labels: &[u32]) -> Vec<StepTime> {
        self.program.pack_filters();
        self.program.profile(&feed(&self.options, images, labels))
    }

    /// Memory that the program holds.
    pub fn summary(&self) -> PlanSummary {
        let mut summary = self.program.summary();
        summary.parameters_bytes += 4 * self.velocity.len();
        summary
    }
}

impl PlacedParam {
    fn tensor(&self, buffer: &[f32]) -> Tensor {
        let values = &buffer[self.place.clone()];
        Tensor::from_fn(self.shape.clone(), |index| values[index])
    }
}

fn feed<'a>(options: &TrainingOptions, images: &'a [f32], labels: &'a [u32]) -> Feed<'a> {
    let TrainingOptions { label_smoothing, norm_momentum, .. } = *options;
    Feed { images, labels, label_smoothing, norm_momentum }
}

fn decays(graph: &Graph, id: ParamId, decay: Decay) -> bool {
    decay == Decay::All || matches!(graph.param(id).role, Role::ConvWeight | Role::LinearWeight)
}

/// Learned parameters that decay, then learned ones that do not, then the rest: an update is two sweeps.
fn store_order(graph: &Graph, learned: &HashSet<ParamId>, decay: Decay) -> Vec<ParamId> {
    let mut order: Vec<ParamId> = graph.param_ids().collect();
    order.sort_by_key(|&id| (!learned.contains(&id), !decays(graph, id, decay), id));
    order
}
