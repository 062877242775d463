//! A network compiled for learning.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use residuum_graph::{Differentiation, Graph, Kind, NodeId, Op, ParamId, Role, Weights};
use residuum_kernels::loss::{Loss, Targets};
use residuum_kernels::{Draws, Parameter, euclidean_norm};
use residuum_tensor::{AlignedBuffer, Tensor};

use crate::engine::{Engine, InputShape, find_taps};
use crate::error::EngineError;
use crate::lower::lower_training;
use crate::memory::allocate;
use crate::optimiser::{Memory, OptimiserKind, OptimiserStep};
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
    /// All but scales and shifts of batch norms (torchvision's `norm_weight_decay` of 0).
    AllButNorms,
    /// Filters and matrices only.
    Filters,
}

/// How a network learns, as far as the compiled program is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingOptions {
    /// What the logits are compared with the targets by.
    pub loss: Loss,
    /// Share of the target that is spread over all classes.
    pub label_smoothing: f32,
    /// Weight of a batch in the running statistics (PyTorch's `momentum`).
    pub norm_momentum: f32,
    /// Names of parameters that stay as they are. A batch norm with a frozen scale uses its running
    /// statistics and leaves them alone.
    pub frozen: Vec<String>,
    /// By which rule weights follow gradients.
    pub optimiser: OptimiserKind,
    /// Which parameters weight decay pulls towards zero.
    pub decay: Decay,
    /// Names of layers whose values, and the loss's gradients with respect to them, can be read.
    pub taps: Vec<String>,
    /// Which values are kept for the backward pass. It changes memory and time, never a bit of the result.
    pub recompute: Recompute,
    /// Seed of dropout and stochastic depth.
    pub seed: u64,
}

/// Normalised activations that take no more memory than this are kept.
const SPARE_BYTES: usize = 100 << 20;

/// Which values are computed again for the backward pass instead of being kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recompute {
    /// Normalised activations, in networks that concatenate, where they would grow with the square of the depth, and
    /// where all together they would take more than 100 MiB. A pass over memory for each saves a fifth to a quarter of
    /// the memory.
    #[default]
    WhereLarge,
    /// Normalised activations, in every network.
    Normalised,
    /// Nothing.
    Nothing,
}

impl Recompute {
    fn applies_to(self, graph: &Graph, shape: InputShape) -> Result<bool, EngineError> {
        Ok(match self {
            Self::WhereLarge => {
                let concatenates = graph.nodes().iter().any(|node| node.op == Op::Concat);
                concatenates || normalised_bytes(graph, shape)? > SPARE_BYTES
            }
            Self::Normalised => true,
            Self::Nothing => false,
        })
    }
}

/// Bytes of the activations right behind a norm.
fn normalised_bytes(graph: &Graph, shape: InputShape) -> Result<usize, EngineError> {
    let extents = graph.extents(shape.h, shape.w)?;
    let floats = |id: NodeId| {
        let node = graph.node(id);
        let is_normalised = node.op == Op::Relu && matches!(graph.node(node.inputs[0]).op, Op::BatchNorm(_));
        match node.kind {
            Kind::Map { channels } if is_normalised => {
                let [h, w] = extents[id.index()];
                shape.n * h * w * channels
            }
            _ => 0,
        }
    };
    Ok(size_of::<f32>() * graph.ids().map(floats).sum::<usize>())
}

impl Default for TrainingOptions {
    fn default() -> Self {
        Self {
            loss: Loss::Softmax,
            label_smoothing: 0.0,
            norm_momentum: 0.1,
            frozen: Vec::new(),
            optimiser: OptimiserKind::default(),
            decay: Decay::All,
            taps: Vec::new(),
            recompute: Recompute::default(),
            seed: 0,
        }
    }
}

/// What one step of training found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// Mean loss of the batch before the update.
    pub loss: f64,
    /// Images of the batch whose largest logit was their label's, of two labels the one with the larger
    /// share.
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
    memory: Memory,
    /// Running average of the store, where one is kept.
    average: Option<AlignedBuffer>,
    taps: HashMap<String, Tap>,
    /// Steps done, which random numbers and the optimiser's corrections depend on.
    iteration: u64,
    /// Whether each branch with stochastic depth survives, where that is not drawn.
    gates: Option<Vec<bool>>,
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
    /// Where it is learned.
    gradient: Option<ValueId>,
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
        let recomputes = options.recompute.applies_to(graph, shape)?;
        let training = graph.differentiate(&Differentiation { frozen, recomputes })?;
        let learned: HashSet<ParamId> = training.gradients.iter().map(|gradient| gradient.param).collect();
        let order = store_order(graph, &learned);
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
                gradient: lowered.gradients.get(&id).copied(),
            })
            .collect();
        let learned = |(param, &id): (&PlacedParam, &ParamId)| {
            let decays = decays(graph, id, options.decay);
            param.gradient.is_some().then(|| Parameter { place: param.place.clone(), decays })
        };
        let table: Vec<Parameter> = params.iter().zip(&order).filter_map(learned).collect();
        let memory = Memory::new(options.optimiser, table)?;
        let program = Program::new(engine, lowered)?;
        Ok(Self {
            program,
            options: options.clone(),
            shape,
            logits,
            params,
            memory,
            average: None,
            taps,
            iteration: 0,
            gates: None,
        })
    }

    /// The size of the batches.
    pub fn shape(&self) -> InputShape {
        self.shape
    }

    /// Continues at another step: dropout and stochastic depth draw what they would have drawn there, and the
    /// optimiser corrects its moments as there.
    pub fn set_iteration(&mut self, iteration: u64) {
        self.iteration = iteration;
    }

    /// Decides which branches with stochastic depth survive, in the order of the network's nodes, from now
    /// on; `None` leaves it to chance again.
    ///
    /// # Panics
    /// When their number is another one.
    pub fn set_gates(&mut self, gates: Option<Vec<bool>>) {
        if let Some(gates) = &gates {
            assert_eq!(gates.len(), self.program.gates(), "one decision for each branch");
        }
        self.gates = gates;
    }

    /// Loss and gradients of a batch: `images` is `[n, c, h, w]`, the targets one class for each,
    /// or two and a share. The running statistics of batch norms move; nothing else does.
    ///
    /// # Panics
    /// When a length does not fit the compiled size, a label is no class, or a share not between 0 and 1.
    pub fn forward_backward<'a>(&mut self, images: &[f32], targets: impl Into<Targets<'a>>) -> StepResult {
        let targets = targets.into();
        targets.check(self.shape.n);
        let feed = feed(&self.options, self.iteration, self.gates.as_deref(), images, targets);
        let (loss, correct) = self.program.run(&feed);
        self.iteration += 1;
        StepResult { loss, correct }
    }

    /// Moves the learned parameters along the gradients of the last batch.
    ///
    /// # Panics
    /// When it is the step of another optimiser than [`TrainingOptions::optimiser`].
    pub fn update(&mut self, step: impl Into<OptimiserStep>) {
        let Self { program, memory, params, iteration, .. } = self;
        let (isa, threads, step) = (program.isa(), program.threads().clone(), step.into());
        let (store, value) = program.store_and_values();
        let gradients: Vec<&[f32]> = gradients(params, value).collect();
        threads.run(|| memory.step(isa, store, &gradients, &step, (*iteration).max(1)));
    }

    /// [`Training::forward_backward`], then [`Training::update`].
    ///
    /// # Panics
    /// As [`Training::forward_backward`].
    pub fn step<'a>(
        &mut self,
        images: &[f32],
        targets: impl Into<Targets<'a>>,
        step: impl Into<OptimiserStep>,
    ) -> StepResult {
        let result = self.forward_backward(images, targets);
        self.update(step);
        result
    }

    /// Answers to the last batch in training mode, `[n, classes]`.
    pub fn logits(&self) -> &[f32] {
        self.program.value(self.logits)
    }

    /// Gradient of a learned parameter for the last batch.
    pub fn gradient(&self, name: &str) -> Option<Tensor> {
        let param = self.params.iter().find(|param| param.name == name)?;
        let gradient = self.program.value(param.gradient?);
        Some(Tensor::from_fn(param.shape.clone(), |index| gradient[index]))
    }

    /// The value of a tapped layer for the last batch: `[n, c, h, w]`, or `[n, c]` for what is no map. A layer
    /// of a branch that stochastic depth dropped was not computed and holds no value of that batch.
    pub fn tap(&self, name: &str) -> Option<Tensor> {
        Some(self.program.tensor(self.taps.get(name)?.value))
    }

    /// The gradient of the loss with respect to a tapped layer, where something to learn lies behind it.
    pub fn tap_gradient(&self, name: &str) -> Option<Tensor> {
        Some(self.program.tensor(self.taps.get(name)?.gradient?))
    }

    /// Euclidean norm of all gradients together.
    pub fn gradient_norm(&self) -> f64 {
        let gradients: Vec<&[f32]> = gradients(&self.params, |id| self.program.value(id)).collect();
        self.program.threads().run(|| euclidean_norm(self.program.isa(), &gradients))
    }

    /// All parameters as they are now, running statistics included.
    pub fn weights(&self) -> Weights {
        self.params.iter().map(|param| (param.name.clone(), param.tensor(&self.program.store))).collect()
    }

    /// The optimiser's velocities, or first moments, by the names of the learned parameters.
    pub fn velocity(&self) -> Weights {
        self.of_learned(&self.memory.first)
    }

    /// The second moments, where the optimiser has them.
    pub fn second_moments(&self) -> Option<Weights> {
        self.memory.second.as_ref().map(|second| self.of_learned(second))
    }

    /// Sets the optimiser's velocities, or first moments.
    ///
    /// # Errors
    /// When one is missing or of another shape.
    pub fn set_velocity(&mut self, velocity: &Weights) -> Result<(), EngineError> {
        put(learned(&self.params), velocity, &mut self.memory.first)
    }

    /// Sets the second moments; does nothing where the optimiser has none.
    ///
    /// # Errors
    /// As [`Training::set_velocity`].
    pub fn set_second_moments(&mut self, moments: &Weights) -> Result<(), EngineError> {
        let Some(second) = &mut self.memory.second else { return Ok(()) };
        put(learned(&self.params), moments, second)
    }

    fn of_learned(&self, buffer: &[f32]) -> Weights {
        learned(&self.params).map(|param| (param.name.clone(), param.tensor(buffer))).collect()
    }

    /// Begins a running average of all parameters, running statistics included, with these values.
    ///
    /// # Errors
    /// When one is missing or of another shape, or memory is short.
    pub fn begin_average(&mut self, values: &Weights) -> Result<(), EngineError> {
        let mut average = allocate("the average of the weights", self.program.store.len())?;
        average.copy_from_slice(&self.program.store);
        put(self.params.iter(), values, &mut average)?;
        self.average = Some(average);
        Ok(())
    }

    /// Moves the average towards the parameters: `average ← keep · average + (1 − keep) · parameter`
    /// (Polyak and Juditsky 1992; torchvision's `ExponentialMovingAverage`), buffers too. Does nothing where
    /// no average was begun.
    pub fn update_average(&mut self, keep: f64) {
        const CHUNK: usize = 1 << 14;
        let Self { program, average: Some(average), .. } = self else { return };
        let (store, threads) = (&program.store, program.threads().clone());
        let average: &mut [f32] = average;
        threads.run(|| {
            let chunks = average.par_chunks_mut(CHUNK).zip(store.par_chunks(CHUNK));
            chunks.for_each(|(average, values)| {
                for (average, &value) in average.iter_mut().zip(values) {
                    *average = (keep * f64::from(*average) + (1.0 - keep) * f64::from(value)) as f32;
                }
            });
        });
    }

    /// The average of the parameters, where one was begun.
    pub fn average(&self) -> Option<Weights> {
        let average = self.average.as_ref()?;
        Some(self.params.iter().map(|param| (param.name.clone(), param.tensor(average))).collect())
    }

    /// [`Training::forward_backward`] with every step timed.
    ///
    /// # Panics
    /// As [`Training::forward_backward`].
    pub fn profile(&mut self, images: &[f32], labels: &[u32]) -> Vec<StepTime> {
        let feed = feed(&self.options, self.iteration, self.gates.as_deref(), images, labels.into());
        self.program.profile(&feed)
    }

    /// Memory that the program holds.
    pub fn summary(&self) -> PlanSummary {
        let mut summary = self.program.summary();
        let average = self.average.as_ref().map_or(0, |average| average.len());
        summary.parameters_bytes += 4 * (self.memory.len() + average);
        summary
    }
}

impl PlacedParam {
    fn tensor(&self, buffer: &[f32]) -> Tensor {
        let values = &buffer[self.place.clone()];
        Tensor::from_fn(self.shape.clone(), |index| values[index])
    }
}

fn learned(params: &[PlacedParam]) -> impl Iterator<Item = &PlacedParam> {
    params.iter().filter(|param| param.gradient.is_some())
}

/// The gradients of all learned parameters, in their order.
fn gradients<'a>(
    params: &[PlacedParam],
    value: impl Fn(ValueId) -> &'a [f32],
) -> impl Iterator<Item = &'a [f32]> {
    params.iter().filter_map(move |param| Some(&value(param.gradient?)[..param.place.len()]))
}

/// Copies values to the parameters' places in a buffer.
fn put<'a>(
    params: impl Iterator<Item = &'a PlacedParam>,
    values: &Weights,
    buffer: &mut [f32],
) -> Result<(), EngineError> {
    for param in params {
        let (name, expected) = (param.name.clone(), param.shape.clone());
        let Some(found) = values.get(&param.name) else {
            return Err(EngineError::MissingWeight { name, shape: expected });
        };
        if found.shape() != param.shape {
            return Err(EngineError::WeightShape { name, expected, found: found.shape().to_vec() });
        }
        buffer[param.place.clone()].copy_from_slice(found.data());
    }
    Ok(())
}

fn feed<'a>(
    options: &TrainingOptions,
    iteration: u64,
    gates: Option<&'a [bool]>,
    images: &'a [f32],
    targets: Targets<'a>,
) -> Feed<'a> {
    let TrainingOptions { loss, label_smoothing, norm_momentum, seed, .. } = *options;
    Feed {
        images,
        seed: &[],
        targets,
        loss,
        label_smoothing,
        norm_momentum,
        draws: Draws::new(seed, iteration),
        gates,
    }
}

fn decays(graph: &Graph, id: ParamId, decay: Decay) -> bool {
    let role = graph.param(id).role;
    match decay {
        Decay::All => true,
        Decay::AllButNorms => !matches!(role, Role::NormWeight | Role::NormBias),
        Decay::Filters => matches!(role, Role::ConvWeight | Role::LinearWeight),
    }
}

/// Learned parameters first.
fn store_order(graph: &Graph, learned: &HashSet<ParamId>) -> Vec<ParamId> {
    let mut order: Vec<ParamId> = graph.param_ids().collect();
    order.sort_by_key(|&id| (!learned.contains(&id), id));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_computed_again_where_they_concatenate_or_are_large() {
        let applies = |recompute: Recompute, name: &str, n: usize, side: usize| {
            let graph = residuum_models::build(name, None).unwrap().graph;
            recompute.applies_to(&graph, InputShape { n, h: side, w: side }).unwrap()
        };
        // Behind norms ResNet-50 has 3,562,496 numbers an image, so 95 MiB for seven.
        for (n, large) in [(7, false), (8, true)] {
            assert_eq!(applies(Recompute::WhereLarge, "resnet50", n, 224), large, "{n} images");
        }
        assert!(applies(Recompute::WhereLarge, "densenet_bc_100_12", 1, 32));
        assert!(applies(Recompute::Normalised, "resnet50", 1, 224));
        assert!(!applies(Recompute::Nothing, "densenet_bc_100_12", 64, 32));
    }
}
