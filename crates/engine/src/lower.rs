//! From groups of nodes to steps with kernels, operands and places.

use std::collections::{BTreeSet, HashMap, HashSet};

use residuum_graph::{
    BatchNorm, Blur, Conv2d, DropPath, Graph, Kind, Linear, MaxPool, Node, NodeId, Op, ParamId, Quantization,
    TrainingGraph, Weights,
};
use residuum_kernels::conv::{
    ConvAlgorithm, ConvBackwardData, ConvBackwardWeights, ConvForward, Pass, Zeros,
};
use residuum_kernels::{BlurShape, ConvShape, Isa, PoolShape};
use residuum_tensor::{AlignedBuffer, MapLayout};

use crate::engine::{Engine, InputShape};
use crate::error::EngineError;
use crate::fuse::{Fusion, Group, NormBefore, fuse};
use crate::gates::{Idle, gate_index, gates};
use crate::geometry::{blur_shape, conv_shape, pool_shape};
use crate::plan::{Storage, View};
use crate::seats::{Seats, slice_of};
use crate::stages::{Schedule, Stage};
use crate::step::{
    Action, Coefficients, Filters, Gated, GradientSums, InputNorm, MOMENT_ROWS, NormPlaces, Place, SUM_ROWS,
    Step, ValueId, WhenClosed,
};

mod constants;
mod int8;
mod staging;

use constants::Constants;
pub use int8::calibrated;

/// Pixels of a map, those of all images, from which on the statistics of a channel are steady enough that a forward
/// pass of training may round as Winograd's filtering does. With 256, ReLUs of deep networks change sides
/// beyond what PyTorch's own rounding explains (`tests/golden.rs`).
const STEADY_PIXELS: usize = 384;
/// The same where windows have a stride: their filtering rounds two to three times as much.
const STEADY_STRIDED_PIXELS: usize = 8192;

/// A network as steps, before its values have places.
pub(crate) struct Lowered {
    pub(crate) steps: Vec<Step>,
    /// Memory that values lie in.
    pub(crate) storages: Vec<Storage>,
    pub(crate) views: Vec<View>,
    /// The value of each node that has one.
    pub(crate) value_of: HashMap<NodeId, ValueId>,
    /// Parameters and constants.
    pub(crate) store: Vec<f32>,
    /// Where each parameter lies in the store; folded ones are not there.
    pub(crate) places: Vec<Option<Place>>,
    /// The gradients of learned parameters; they are there to the end.
    pub(crate) gradients: HashMap<ParamId, ValueId>,
    /// Filters that never change, packed.
    pub(crate) packed: AlignedBuffer,
    /// The most scratch memory that a step wants.
    pub(crate) scratch_len: usize,
    /// The steps in the order in which groups of images run through them.
    pub(crate) stages: Vec<Stage>,
    /// Branches with stochastic depth.
    pub(crate) gates: Vec<DropPath>,
}

/// Lowers a network for inference: norms folded, everything constant, in bytes where there is a grid for them.
pub(crate) fn lower_inference(
    engine: &Engine,
    graph: &Graph,
    weights: &Weights,
    quantization: Option<&Quantization>,
    shape: InputShape,
    kept: &HashSet<NodeId>,
) -> Result<Lowered, EngineError> {
    let (graph, stands_for) = graph.bypass(identity);
    let kept = kept.iter().map(|id| stands_for[id.index()]).collect();
    let mut fusion = fuse(&graph, &stands_for, &kept, true);
    let mut lowering = Lowering::new(engine, &graph, weights, shape, &kept)?;
    if quantization.is_none() {
        lowering.hand_over_norms(&mut fusion, &stands_for);
    }
    lowering.int8 = quantization.map(|quantization| int8::Plan::new(&graph, &fusion, quantization));
    lowering.in_groups = quantization.is_none();
    lowering.run(&fusion, &stands_for)
}

/// The input that stands for a node which evaluation leaves as it is.
fn identity(node: &Node) -> Option<usize> {
    let is_identity = match node.op {
        Op::Dropout(_) => true,
        Op::DropPath(path) => path.is_identity_in_evaluation(),
        _ => false,
    };
    is_identity.then_some(0)
}

/// Lowers the graph of a sensitivity: constant norms stay norms, since their gradients are asked for.
pub(crate) fn lower_sensitivity(
    engine: &Engine,
    graph: &Graph,
    weights: &Weights,
    shape: InputShape,
    kept: &HashSet<NodeId>,
) -> Result<Lowered, EngineError> {
    let (graph, stands_for) = graph.bypass(identity);
    let kept = kept.iter().map(|id| stands_for[id.index()]).collect();
    let fusion = fuse(&graph, &stands_for, &kept, false);
    let mut lowering = Lowering::new(engine, &graph, weights, shape, &kept)?;
    // Transforms spread rounding over a tile; where nothing has an influence the gradient is to be zero.
    if lowering.algorithm == ConvAlgorithm::Auto {
        lowering.algorithm = ConvAlgorithm::Direct;
    }
    lowering.run(&fusion, &stands_for)
}

/// Lowers the graph of a training step. `order` lists the parameters as they shall lie in the store.
pub(crate) fn lower_training(
    engine: &Engine,
    training: &TrainingGraph,
    weights: &Weights,
    shape: InputShape,
    order: &[ParamId],
    kept: &HashSet<NodeId>,
) -> Result<Lowered, EngineError> {
    let idle = Idle::new(&training.graph);
    // A gate that steps are left out for does nothing to what passes it.
    let skips = |node: &Node| matches!(node.op, Op::Gate(path) if idle.skipping.contains(&path.stream));
    let (graph, stands_for) = training.graph.bypass(|node| skips(node).then_some(0));
    let kept = kept.iter().map(|id| stands_for[id.index()]).collect();
    let mut fusion = fuse(&graph, &stands_for, &kept, false);
    let mut lowering = Lowering::new(engine, &graph, weights, shape, &kept)?;
    lowering.is_training = true;
    lowering.idle = idle;
    lowering.hand_over_norms(&mut fusion, &stands_for);
    lowering.learned = training.gradients.iter().map(|gradient| gradient.param).collect();
    for &param in order {
        let values = lowering.weight(param)?.to_vec();
        lowering.places[param.index()] = Some(lowering.keep(&values));
    }
    lowering.run(&fusion, &stands_for)
}

/// A scale and a shift for each channel.
type ScaleAndShift = (Vec<f64>, Vec<f64>);

struct Lowering<'a> {
    isa: Isa,
    threads: usize,
    algorithm: ConvAlgorithm,
    graph: &'a Graph,
    weights: &'a Weights,
    /// Images of a batch.
    batch: usize,
    /// Images that the steps of the stage see at a time.
    n: usize,
    stages: Vec<Stage>,
    schedule: Schedule,
    extents: Vec<[usize; 2]>,
    kept: &'a HashSet<NodeId>,
    /// The gradients of learned parameters, as far as there are steps for them.
    gradients: HashMap<ParamId, ValueId>,
    /// Parameters that are learned.
    learned: BTreeSet<ParamId>,
    /// Border that the readers of a node's value want around it.
    borders: Vec<usize>,
    seats: Seats,
    idle: Idle,
    lowered: Vec<Step>,
    storages: Vec<Storage>,
    /// The storage of each node that is not seated in a concatenation.
    storage_of: HashMap<NodeId, usize>,
    views: Vec<View>,
    value_of: HashMap<NodeId, ValueId>,
    /// Moments that have been taken of a storage from a channel on: of how many channels, and where they are.
    moments_of: HashMap<(usize, usize), Vec<(usize, ValueId)>>,
    store: Vec<f32>,
    places: Vec<Option<Place>>,
    constants: Constants<'a>,
    scratch_len: usize,
    /// Whether filters change from step to step.
    is_training: bool,
    /// Whether images may go through the steps in groups, one after the other.
    in_groups: bool,
    /// Which values are kept in bytes, in a network that is quantised.
    int8: Option<int8::Plan<'a>>,
}

impl<'a> Lowering<'a> {
    fn new(
        engine: &Engine,
        graph: &'a Graph,
        weights: &'a Weights,
        shape: InputShape,
        kept: &'a HashSet<NodeId>,
    ) -> Result<Self, EngineError> {
        let lowering = Self {
            isa: engine.isa(),
            threads: engine.threads().count(),
            algorithm: engine.conv(),
            graph,
            weights,
            batch: shape.n,
            n: shape.n,
            stages: Vec::new(),
            schedule: Schedule::default(),
            extents: graph.extents(shape.h, shape.w)?,
            kept,
            gradients: HashMap::new(),
            learned: BTreeSet::new(),
            borders: vec![0; graph.nodes().len()],
            seats: Seats::default(),
            idle: Idle::none(graph),
            lowered: Vec::new(),
            storages: Vec::new(),
            storage_of: HashMap::new(),
            views: Vec::new(),
            value_of: HashMap::new(),
            moments_of: HashMap::new(),
            store: Vec::new(),
            places: vec![None; graph.params().len()],
            constants: Constants::default(),
            scratch_len: 0,
            is_training: false,
            in_groups: false,
            int8: None,
        };
        graph.param_ids().try_for_each(|id| lowering.weight(id).map(|_| ()))?;
        Ok(lowering)
    }

    fn hand_over_norms(&self, fusion: &mut Fusion, stands_for: &[NodeId]) {
        let can_normalize = |reader: NodeId| self.can_normalize(reader);
        fusion.hand_over_norms(self.graph, stands_for, self.kept, &self.idle, can_normalize);
    }

    fn run(mut self, fusion: &Fusion, stands_for: &[NodeId]) -> Result<Lowered, EngineError> {
        self.seats = Seats::new(self.graph, fusion);
        self.measure_borders(fusion);
        self.schedule = self.scheduled(fusion);
        for (index, group) in fusion.groups.iter().enumerate() {
            self.enter_stage(self.schedule.images(index));
            self.group(group, fusion)?;
        }
        self.enter_stage(self.batch);
        self.end_stage();
        self.measure_lifetimes();
        for id in self.graph.ids() {
            if let Some(&value) = self.value_of.get(&stands_for[id.index()]) {
                self.value_of.insert(id, value);
            }
        }
        let packed = self.constants.pack(&self.lowered)?;
        Ok(Lowered {
            gates: gates(self.graph),
            steps: self.lowered,
            storages: self.storages,
            views: self.views,
            value_of: self.value_of,
            store: self.store,
            places: self.places,
            gradients: self.gradients,
            packed,
            scratch_len: self.scratch_len,
            stages: self.stages,
        })
    }

    /// The border around a value is the widest that one of its readers wants.
    fn measure_borders(&mut self, fusion: &Fusion) {
        for group in &fusion.groups {
            let node = self.graph.node(group.root);
            let (input, border) = match node.op {
                Op::Conv2d(conv) | Op::ConvBackwardWeights(conv) => {
                    (node.inputs[0], self.conv_shape(&conv, node.inputs[0]).input_border())
                }
                Op::ConvBackwardData { conv, like } => {
                    (node.inputs[0], self.conv_shape(&conv, like).gradient_border())
                }
                _ => continue,
            };
            let wanted = &mut self.borders[fusion.read(self.graph, input).index()];
            *wanted = (*wanted).max(border);
        }
        // The values of one map share its border.
        let root = |id| self.seats.root(slice_of(self.graph, id)).0.index();
        let roots: Vec<usize> = self.graph.ids().map(root).collect();
        for (index, &root) in roots.iter().enumerate() {
            self.borders[root] = self.borders[root].max(self.borders[index]);
        }
        for (index, &root) in roots.iter().enumerate() {
            self.borders[index] = self.borders[root];
        }
    }

    /// The values of a parameter, of the shape that the network wants.
    fn weight(&self, id: ParamId) -> Result<&'a [f32], EngineError> {
        let param = self.graph.param(id);
        let (name, expected) = (&param.name, &param.shape);
        match self.weights.get(name) {
            Some(found) if found.shape() == expected => Ok(found.data()),
            Some(found) => Err(EngineError::WeightShape {
                name: name.clone(),
                expected: expected.clone(),
                found: found.shape().to_vec(),
            }),
            None => Err(EngineError::MissingWeight { name: name.clone(), shape: expected.clone() }),
        }
    }

    /// Puts constants into the store, each on a cache line of its own.
    fn keep(&mut self, constants: &[f32]) -> Place {
        let start = self.store.len().next_multiple_of(16);
        self.store.resize(start, 0.0);
        self.store.extend_from_slice(constants);
        start..start + constants.len()
    }

    /// The place of a parameter, made now if it has none.
    fn place(&mut self, id: ParamId) -> Result<Place, EngineError> {
        if let Some(place) = &self.places[id.index()] {
            return Ok(place.clone());
        }
        let place = self.keep(self.weight(id)?);
        self.places[id.index()] = Some(place.clone());
        Ok(place)
    }

    /// The value of a node, in floats where it has them.
    fn value(&self, id: NodeId) -> ValueId {
        let floats = self.int8.as_ref().and_then(|plan| plan.floats(id));
        floats.unwrap_or_else(|| self.value_of[&id])
    }

    fn layout_of(&self, id: NodeId) -> MapLayout {
        let [h, w] = self.extents[id.index()];
        match self.graph.node(id).kind {
            Kind::Map { channels } => MapLayout::new(self.n, h, w, channels, self.borders[id.index()]),
            Kind::Vector { features } => MapLayout::new(self.n, 1, 1, features, 0),
            Kind::Statistics { channels } => {
                let rows =
                    if matches!(self.graph.node(id).op, Op::Moments(_)) { MOMENT_ROWS } else { SUM_ROWS };
                MapLayout::new(1, 1, 1, rows * channels, 0)
            }
            Kind::Gradient(param) => {
                MapLayout::new(1, 1, 1, self.graph.param(param).shape.iter().product(), 0)
            }
            Kind::Scalar => MapLayout::new(1, 1, 1, 1, 0),
        }
    }

    fn layout(&self, value: ValueId) -> MapLayout {
        self.views[value.0].layout
    }

    fn conv_shape(&self, conv: &Conv2d, x: NodeId) -> ConvShape {
        conv_shape(conv, self.n, self.extents[x.index()])
    }

    fn linear_shape(&self, linear: &Linear) -> ConvShape {
        ConvShape {
            n: self.n,
            h: 1,
            w: 1,
            c_in: linear.inputs,
            c_out: linear.outputs,
            kernel: [1; 2],
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
            groups: 1,
        }
    }

    fn pool_shape(&self, pool: &MaxPool, x: NodeId) -> PoolShape {
        pool_shape(pool, self.n, self.layout_of(x).c, self.extents[x.index()])
    }

    fn blur_shape(&self, blur: &Blur, x: NodeId) -> BlurShape {
        blur_shape(blur, self.n, self.layout_of(x).c, self.extents[x.index()])
    }

    /// Scale and shift per channel that a group's norm and factor amount to, where it has any.
    fn folded(&self, group: &Group, channels: usize) -> Result<Option<ScaleAndShift>, EngineError> {
        let factor = group.factor.map(f64::from);
        Ok(match (&group.norm, factor) {
            (Some(norm), factor) => {
                let (mut scale, mut shift) = self.scale_and_shift(norm)?;
                scale.iter_mut().chain(&mut shift).for_each(|value| *value *= factor.unwrap_or(1.0));
                Some((scale, shift))
            }
            (None, Some(factor)) => Some((vec![factor; channels], vec![0.0; channels])),
            (None, None) => None,
        })
    }

    /// Scale and shift that a norm by running statistics amounts to, computed in `f64`.
    fn scale_and_shift(&self, norm: &BatchNorm) -> Result<ScaleAndShift, EngineError> {
        let gamma = self.weight(norm.weight)?;
        let beta = self.weight(norm.bias)?;
        let mean = self.weight(norm.running_mean)?;
        let var = self.weight(norm.running_var)?;
        let scale: Vec<f64> = gamma
            .iter()
            .zip(var)
            .map(|(&gamma, &var)| f64::from(gamma) / (f64::from(var) + f64::from(norm.eps)).sqrt())
            .collect();
        let shift = (0..norm.channels).map(|c| f64::from(beta[c]) - f64::from(mean[c]) * scale[c]).collect();
        Ok((scale, shift))
    }

    fn push(&mut self, group: &Group, action: Action, multiply_adds: usize) {
        let out = self.value_of[&group.last];
        let name = self.graph.node(group.last).name.clone();
        let gated = self.gated(group);
        let multiply_adds = (multiply_adds * (self.batch / self.n)) as u64;
        self.lowered.push(Step { name, action, out, multiply_adds, gated });
    }

    /// What becomes of a group when a gate is closed.
    fn gated(&self, group: &Group) -> Option<Gated> {
        let gate = |id: NodeId| self.idle.gate_of(id);
        let root = self.graph.node(group.root);
        let closed = |gate, then| Some(Gated { gate, then });
        if let Some(gate) = gate(group.last) {
            return closed(gate, WhenClosed::Skip);
        }
        if let Some(gate) = gate(group.root) {
            return closed(gate, WhenClosed::ResidualOnly);
        }
        if let Some(gate) = group.residual.and_then(gate) {
            return closed(gate, WhenClosed::WithoutResidual);
        }
        if root.op == Op::Add {
            let [a, b] = [0, 1].map(|index| root.inputs[index]);
            let other = |idle: NodeId, other: NodeId| {
                gate(idle).map(|gate| Gated { gate, then: WhenClosed::Copy(self.value(other)) })
            };
            return other(a, b).or_else(|| other(b, a));
        }
        None
    }

    /// The value that a group makes: a storage of its own, or its channels in that of a concatenation.
    fn new_value(&mut self, group: &Group) -> ValueId {
        let (root, channel) = self.seats.root(group.last);
        let step = self.lowered.len();
        let known = self.storage_of.get(&root).copied();
        let storage = known.unwrap_or_else(|| {
            let mut layout = self.layout_of(root);
            if self.schedule.is_whole(root) {
                layout.n = self.batch;
            }
            self.storages.push(Storage { layout, grid: None, first: step, last: step });
            self.storage_of.insert(root, self.storages.len() - 1);
            self.storages.len() - 1
        });
        let pitch = self.storages[storage].layout.pitch;
        let layout = MapLayout { pitch, ..self.layout_of(group.last) };
        self.view(group.last, View { storage, channel, layout, grid: None })
    }

    fn view(&mut self, id: NodeId, view: View) -> ValueId {
        let value = ValueId(self.views.len());
        self.views.push(view);
        self.value_of.insert(id, value);
        value
    }

    /// Some of the channels of the first input, where they lie.
    fn look_into(&mut self, group: &Group, channel: usize) {
        let source = self.views[self.value(self.graph.node(group.root).inputs[0]).0];
        let layout = MapLayout {
            pitch: source.layout.pitch,
            border: source.layout.border,
            ..self.layout_of(group.last)
        };
        let channel = source.channel + channel;
        self.view(group.last, View { storage: source.storage, channel, layout, grid: source.grid });
    }

    fn group(&mut self, group: &Group, fusion: &Fusion) -> Result<(), EngineError> {
        let node = self.graph.node(group.root).clone();
        if self.int8.is_some() {
            if self.int8_group(group, &node)? {
                return Ok(());
            }
            self.operands_as_floats(group, &node);
        }
        match node.op {
            Op::SliceChannels { start } => {
                self.look_into(group, start);
                return Ok(());
            }
            Op::Flatten if self.layout(self.value(node.inputs[0])).border == 0 => {
                self.look_into(group, 0);
                return Ok(());
            }
            Op::Concat => {
                self.concat(group, &node.inputs);
                return Ok(());
            }
            _ => {}
        }
        let out = self.new_value(group);
        if let Kind::Gradient(param) = node.kind {
            self.gradients.insert(param, out);
        }
        let input = |index: usize| node.inputs[index];
        let residual = group.residual.map(|id| self.value(id));
        let mut multiply_adds = 0;
        let action = match node.op {
            Op::Input => Action::Load,
            Op::Seed { .. } => Action::LoadSeed,
            Op::Conv2d(conv) => {
                let shape = self.conv_shape(&conv, input(0));
                multiply_adds = shape.macs();
                let x = self.input(input(0), fusion)?;
                self.conv(group, &shape, conv.weight, conv.bias, x)?
            }
            Op::Linear(linear) => {
                let shape = self.linear_shape(&linear);
                multiply_adds = shape.macs();
                let x = (self.value(input(0)), None);
                self.conv(group, &shape, linear.weight, linear.bias, x)?
            }
            Op::BatchNorm(_)
            | Op::BatchNormBackward(_)
            | Op::Normalize(_)
            | Op::Scale { .. }
            | Op::DropPath(_) => self.affine(group, &node)?,
            Op::Moments(norm) => self.moments(group, &norm, input(0))?,
            Op::ConvBackwardData { conv, like } => {
                let shape = self.conv_shape(&conv, like);
                multiply_adds = shape.macs();
                self.backward_data(group, &shape, conv.weight, input(0))?
            }
            Op::LinearBackwardData(linear) => {
                let shape = self.linear_shape(&linear);
                multiply_adds = shape.macs();
                self.backward_data(group, &shape, linear.weight, input(0))?
            }
            Op::ConvBackwardWeights(conv) => {
                let shape = self.conv_shape(&conv, input(0));
                multiply_adds = shape.macs();
                let x = self.input(input(0), fusion)?;
                self.backward_weights(&shape, x, input(1))
            }
            Op::LinearBackwardWeights(linear) => {
                let shape = self.linear_shape(&linear);
                multiply_adds = shape.macs();
                self.backward_weights(&shape, (self.value(input(0)), None), input(1))
            }
            Op::BiasBackward { .. } => Action::BiasBackward { dy: self.value(input(0)) },
            Op::NormalizeBackwardSums(norm) => {
                let (dy, mask) = self.masked(input(0), fusion);
                self.look_at_gradients(&norm, out);
                let [x, moments] = [1, 2].map(|index| self.value(input(index)));
                let sums = self.sums_before(dy, moments);
                Action::NormSums { dy, mask, x, moments, sums }
            }
            Op::NormalizeBackward(_) => {
                let (dy, mask) = self.masked(input(0), fusion);
                Action::NormBackward {
                    dy,
                    mask,
                    x: self.value(input(1)),
                    sums: self.value(input(3)),
                    residual,
                }
            }
            Op::CrossEntropy | Op::CrossEntropyBackward => Action::Loss { logits: self.value(input(0)) },
            _ => self.simple(group, &node.op, &node.inputs),
        };
        self.push(group, action, multiply_adds);
        Ok(())
    }

    /// The first two rows of a norm's sums are the gradients of its parameters.
    fn look_at_gradients(&mut self, norm: &BatchNorm, sums: ValueId) {
        let layout = MapLayout::new(1, 1, 1, norm.channels, 0);
        for (row, param) in [norm.bias, norm.weight].into_iter().enumerate() {
            if self.learned.contains(&param) {
                let View { storage, channel, .. } = self.views[sums.0];
                self.gradients.insert(param, ValueId(self.views.len()));
                self.views.push(View { storage, channel: channel + row * layout.c, layout, grid: None });
            }
        }
    }

    /// Copies what does not lie in the concatenation's map already.
    fn concat(&mut self, group: &Group, inputs: &[NodeId]) {
        self.new_value(group);
        let (mut channel, mut parts) = (0, Vec::new());
        for &input in inputs {
            let value = self.value(input);
            if !self.seats.is_seated(input, group.last) {
                parts.push((value, channel));
            }
            channel += self.layout(value).c;
        }
        if !parts.is_empty() {
            self.push(group, Action::Concat { parts }, 0);
        }
    }

    /// A scale and a shift for each channel, constant or by the moments of the batch.
    fn coefficients(&mut self, group: &Group, node: &Node) -> Result<Coefficients, EngineError> {
        let channels = self.layout_of(node.inputs[0]).c;
        let alike = |value: f32| vec![f64::from(value); channels];
        let constants = match node.op {
            Op::BatchNorm(norm) => Some(self.scale_and_shift(&norm)?),
            Op::BatchNormBackward(norm) => Some((self.scale_and_shift(&norm)?.0, alike(0.0))),
            Op::Scale { factor, offset } => Some((alike(factor), alike(offset))),
            Op::DropPath(path) => Some((alike(path.evaluation_factor()), alike(0.0))),
            _ => None,
        };
        Ok(if let Some((mut scale, mut shift)) = constants {
            let factor = group.factor.map_or(1.0, f64::from);
            scale.iter_mut().chain(&mut shift).for_each(|value| *value *= factor);
            self.constant_coefficients(&scale, &shift)
        } else {
            Coefficients::Moments(self.value(node.inputs[1]))
        })
    }

    fn affine(&mut self, group: &Group, node: &Node) -> Result<Action, EngineError> {
        let coefficients = self.coefficients(group, node)?;
        let (x, residual) = (self.value(node.inputs[0]), group.residual.map(|id| self.value(id)));
        Ok(Action::Affine { x, coefficients, residual, relu: group.relu })
    }

    /// Steps without parameters.
    fn simple(&self, group: &Group, op: &Op, inputs: &[NodeId]) -> Action {
        let x = self.value(inputs[0]);
        let partner = group.partner.map(|id| self.graph.node(id).op);
        match *op {
            Op::Relu => Action::Relu { x },
            Op::ReluBackward => Action::ReluBackward { dy: x, y: self.value(inputs[1]) },
            Op::Add => Action::Add { a: x, b: self.value(inputs[1]), relu: group.relu },
            Op::MaxPool(pool) => Action::MaxPool { x, shape: self.pool_shape(&pool, inputs[0]) },
            Op::MaxPoolBackward(pool) => {
                let shape = self.pool_shape(&pool, inputs[1]);
                Action::MaxPoolBackward { dy: x, x: self.value(inputs[1]), shape }
            }
            Op::AvgPool(pool) => Action::AvgPool {
                x,
                shape: self.pool_shape(&pool.window, inputs[0]),
                count_padding: pool.count_include_pad,
            },
            Op::AvgPoolBackward { pool, like } => Action::AvgPoolBackward {
                dy: x,
                shape: self.pool_shape(&pool.window, like),
                count_padding: pool.count_include_pad,
            },
            Op::GlobalAvgPool => Action::GlobalAvgPool { x },
            Op::GlobalAvgPoolBackward { .. } => Action::GlobalAvgPoolBackward { dy: x },
            Op::Subsample { .. } | Op::PadChannels { .. } => {
                let (stride, before) = self.subsampling(group, op);
                Action::SubsamplePad { x, stride, before }
            }
            Op::PadChannelsBackward { before, .. } => {
                let stride =
                    if let Some(Op::SubsampleBackward { stride, .. }) = partner { stride } else { 1 };
                Action::SubsamplePadBackward { dy: x, stride, before }
            }
            Op::SubsampleBackward { stride, .. } => Action::SubsamplePadBackward { dy: x, stride, before: 0 },
            Op::Mul => {
                let residual = group.residual.map(|id| self.value(id));
                Action::Mul { x, gate: self.value(inputs[1]), residual, relu: group.relu }
            }
            Op::MulBackward { .. } => Action::MulBackward { dy: x, x: self.value(inputs[1]) },
            Op::Sigmoid => Action::Sigmoid { x },
            Op::SigmoidBackward => Action::SigmoidBackward { dy: x, y: self.value(inputs[1]) },
            Op::Flatten => Action::Copy { x },
            Op::Mask(dropout) => Action::Dropout { x, dropout },
            Op::Gate(path) => Action::ScaleImages { x, gate: gate_index(self.graph, &path) },
            Op::Blur(blur) => Action::Blur { x, shape: self.blur_shape(&blur, inputs[0]) },
            Op::BlurBackward { blur, like } => {
                Action::BlurBackward { dy: x, shape: self.blur_shape(&blur, like) }
            }
            ref other => unreachable!("{} has parameters", other.name()),
        }
    }

    /// The stride of a subsampling or padding of channels, and the channels before.
    fn subsampling(&self, group: &Group, op: &Op) -> (usize, usize) {
        let partner = group.partner.map(|id| self.graph.node(id).op);
        match (*op, partner) {
            (Op::Subsample { stride }, Some(Op::PadChannels { before, .. })) => (stride, before),
            (Op::Subsample { stride }, _) => (stride, 0),
            (Op::PadChannels { before, .. }, _) => (1, before),
            _ => (1, 0),
        }
    }

    /// The gradient that a norm's backward steps read, and the ReLU output to mask it by.
    fn masked(&self, dy: NodeId, fusion: &Fusion) -> (ValueId, Option<ValueId>) {
        match fusion.masked.get(&dy) {
            Some(&(dy, y)) => (self.value(dy), Some(self.value(y))),
            None => (self.value(dy), None),
        }
    }

    fn constant_coefficients(&mut self, scale: &[f64], shift: &[f64]) -> Coefficients {
        let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        Coefficients::Stored(self.keep(&single(scale)), self.keep(&single(shift)))
    }

    fn moments(&mut self, group: &Group, norm: &BatchNorm, x: NodeId) -> Result<Action, EngineError> {
        let x = self.value(x);
        if self.layout(x).pixels() < 2 {
            let node = self.graph.node(group.last).name.trim_end_matches(".moments").to_owned();
            return Err(EngineError::OneValuePerChannel { node });
        }
        let norm = NormPlaces {
            weight: self.place(norm.weight)?,
            bias: self.place(norm.bias)?,
            running_mean: self.place(norm.running_mean)?,
            running_var: self.place(norm.running_var)?,
            eps: norm.eps,
        };
        let known = self.known_moments(group, x);
        let sums = self.sums_on_the_way(group, x, known);
        Ok(Action::Moments { x, norm, known, sums })
    }

    /// Where the step before leaves sums of the channels of `x` that are not known, if it is the convolution that makes
    /// these: while it writes them, its outputs are in the cache.
    fn sums_on_the_way(&mut self, group: &Group, x: ValueId, known: Option<ValueId>) -> Option<Place> {
        let first = known.map_or(0, |rows| self.layout(rows).c / MOMENT_ROWS);
        let [written, all] = [self.lowered.last()?.out, x].map(|value| self.views[value.0]);
        if (written.storage, written.channel, first + written.layout.c)
            != (all.storage, all.channel + first, all.layout.c)
        {
            return None;
        }
        // Both run, or neither does.
        let skips =
            |gated: Option<Gated>| gated.map(|Gated { gate, then }| (gate, matches!(then, WhenClosed::Skip)));
        let gated = skips(self.gated(group)).filter(|&(_, skips)| skips);
        let step = self.lowered.last_mut().filter(|step| skips(step.gated) == gated)?;
        let Action::Conv { kernel, sums, .. } = &mut step.action else { return None };
        // Behind the filters that it packs.
        let place = kernel.packed_len()..kernel.packed_len() + kernel.sums_len();
        *sums = Some(place.clone());
        self.scratch_len = self.scratch_len.max(place.end);
        Some(place)
    }

    /// Where the step that has made `dy` has left the sums of a norm by these moments, if it has.
    fn sums_before(&self, dy: ValueId, moments: ValueId) -> Option<Place> {
        let step = self.lowered.iter().rfind(|step| step.out == dy)?;
        let Action::ConvBackwardData { norm, .. } = &step.action else { return None };
        norm.as_ref().filter(|norm| norm.moments == moments).map(|norm| norm.sums.clone())
    }

    /// The moments of as many of the first channels of `x` as a norm before has taken them of: in a dense block, of all
    /// but the newest. From here on, those of the group's are known.
    fn known_moments(&mut self, group: &Group, x: ValueId) -> Option<ValueId> {
        // A step that is left out takes none.
        if self.gated(group).is_some() {
            return None;
        }
        let View { storage, channel, layout, .. } = self.views[x.0];
        let known = self.moments_of.entry((storage, channel)).or_default();
        let found =
            known.iter().copied().filter(|&(channels, _)| channels <= layout.c).max_by_key(|&(c, _)| c);
        known.push((layout.c, self.value_of[&group.last]));
        found.map(|(_, moments)| moments)
    }

    /// The algorithm of a forward pass that reads `x`: that of the whole batch, also where groups of images run through it.
    fn forward_algorithm(&self, shape: &ConvShape, x: NodeId) -> ConvAlgorithm {
        let shape = ConvShape { n: self.batch, ..*shape };
        // Norms by the statistics of few values amplify what rounding does to a forward pass, layer by layer;
        // gradients only pass it on.
        let least = if shape.stride == [1; 2] { STEADY_PIXELS } else { STEADY_STRIDED_PIXELS };
        let is_steady = shape.n * shape.out_h() * shape.out_w() >= least;
        let algorithm = match self.algorithm {
            ConvAlgorithm::Auto if self.is_training && !is_steady => ConvAlgorithm::Direct,
            algorithm => algorithm,
        };
        let zeros = if self.algorithm == ConvAlgorithm::Auto { self.zeros(x) } else { Zeros::Few };
        // For the same reason, training has the bits of the direct way where zeros are left out.
        let sparse = if self.is_training { ConvAlgorithm::SparseInOrder } else { ConvAlgorithm::Sparse };
        algorithm.of_input(sparse, self.isa, &shape, zeros).chosen(self.isa, Pass::Forward, &shape)
    }

    /// The zeros that the value of a node is expected to hold.
    fn zeros(&self, id: NodeId) -> Zeros {
        let node = self.graph.node(id);
        if node.op != Op::Relu {
            return Zeros::Few;
        }
        let before = self.graph.node(node.inputs[0]);
        // A projection is around zero, as the branch is; any other shortcut has gone through a ReLU.
        let is_projected = |id: &NodeId| {
            matches!(self.graph.node(*id).op, Op::BatchNorm(_) | Op::Normalize(_) | Op::Conv2d(_))
        };
        if before.op == Op::Add && !before.inputs.iter().all(is_projected) {
            Zeros::Several
        } else {
            Zeros::Half
        }
    }

    /// Whether a convolution, or the gradient of its weights, can normalise its input.
    fn can_normalize(&self, reader: NodeId) -> bool {
        let node = self.graph.node(reader);
        match node.op {
            Op::Conv2d(conv) => {
                let shape = self.conv_shape(&conv, node.inputs[0]);
                self.forward_algorithm(&shape, node.inputs[0]).normalizes(self.isa, Pass::Forward, &shape)
            }
            Op::ConvBackwardWeights(conv) => {
                let shape = self.conv_shape(&conv, node.inputs[0]);
                self.algorithm.normalizes(self.isa, Pass::BackwardWeights, &shape)
            }
            _ => false,
        }
    }

    fn conv(
        &mut self,
        group: &Group,
        shape: &ConvShape,
        weight: ParamId,
        bias: Option<ParamId>,
        (x, norm): (ValueId, Option<InputNorm>),
    ) -> Result<Action, EngineError> {
        let out = self.value(group.last);
        let algorithm = self.forward_algorithm(shape, self.graph.node(group.root).inputs[0]);
        let kernel =
            ConvForward::with_algorithm(self.isa, algorithm, shape, self.layout(x), self.layout(out));
        let kernel = if norm.is_some() { kernel.normalizing() } else { kernel };
        let folded = self.folded(group, shape.c_out)?;
        let bias = match &folded {
            Some(folded) => Some(self.folded_bias(folded, bias)?),
            None => bias.map(|bias| self.place(bias)).transpose()?,
        };
        let filters = self.filters(weight, folded.map(|(scale, _)| scale), kernel.packed_len())?;
        let residual = group.residual.map(|id| self.value(id));
        Ok(Action::Conv { kernel, x, norm, filters, bias, residual, relu: group.relu, sums: None })
    }

    /// What a convolution reads for a node, and the norm that it does on the way.
    fn input(&mut self, id: NodeId, fusion: &Fusion) -> Result<(ValueId, Option<InputNorm>), EngineError> {
        let Some(group) = fusion.normalized.get(&id) else { return Ok((self.value(id), None)) };
        let node = self.graph.node(group.root);
        let norm = InputNorm { coefficients: self.coefficients(group, node)?, relu: group.relu };
        Ok((self.value(node.inputs[0]), Some(norm)))
    }

    /// The bias that a norm leaves when its scale goes into the filters.
    fn folded_bias(
        &mut self,
        (scale, shift): &ScaleAndShift,
        bias: Option<ParamId>,
    ) -> Result<Place, EngineError> {
        let bias = bias.map(|bias| self.weight(bias)).transpose()?;
        let folded: Vec<f32> = (0..scale.len())
            .map(|c| (shift[c] + scale[c] * bias.map_or(0.0, |bias| f64::from(bias[c]))) as f32)
            .collect();
        Ok(self.keep(&folded))
    }

    /// Learned filters, in the store, or constant ones, with the scale of the norm behind them folded in.
    fn filters(
        &mut self,
        weight: ParamId,
        scale: Option<Vec<f64>>,
        packed_len: usize,
    ) -> Result<Filters, EngineError> {
        if self.is_training {
            self.scratch_len = self.scratch_len.max(packed_len);
            return Ok(Filters::Stored(self.place(weight)?));
        }
        let weights = self.weight(weight)?;
        Ok(Filters::Packed(self.constants.add(self.lowered.len(), weights, scale, packed_len)))
    }

    fn backward_data(
        &mut self,
        group: &Group,
        shape: &ConvShape,
        weight: ParamId,
        dy: NodeId,
    ) -> Result<Action, EngineError> {
        let (dy, out) = (self.value(dy), self.value(group.last));
        let kernel = ConvBackwardData::with_algorithm(
            self.isa,
            self.algorithm,
            shape,
            self.layout(dy),
            self.layout(out),
        );
        let filters = self.filters(weight, None, kernel.packed_len())?;
        let (residual, mask) = (group.residual.map(|id| self.value(id)), group.mask.map(|id| self.value(id)));
        let norm = group.before.map(|NormBefore { x, moments, relu }| {
            // Behind the filters that it packs.
            let sums = kernel.packed_len()..kernel.packed_len() + kernel.sums_len();
            self.scratch_len = self.scratch_len.max(sums.end);
            GradientSums { x: self.value(x), moments: self.value(moments), relu, sums }
        });
        Ok(Action::ConvBackwardData { kernel, dy, filters, residual, mask, norm })
    }

    fn backward_weights(
        &mut self,
        shape: &ConvShape,
        (x, norm): (ValueId, Option<InputNorm>),
        dy: NodeId,
    ) -> Action {
        let dy = self.value(dy);
        let kernel = ConvBackwardWeights::with_algorithm(
            self.isa,
            self.algorithm,
            shape,
            self.layout(x),
            self.layout(dy),
        );
        let kernel = if norm.is_some() { kernel.normalizing() } else { kernel };
        self.scratch_len = self.scratch_len.max(kernel.scratch_len());
        Action::ConvBackwardWeights { kernel, x, norm, dy }
    }
}
