//! From groups of nodes to steps with kernels, operands and places.

use std::collections::{BTreeSet, HashMap, HashSet};

use residuum_graph::{
    BatchNorm, Conv2d, Graph, Kind, Linear, MaxPool, NodeId, Op, ParamId, TrainingGraph, Weights,
};
use residuum_kernels::conv::{ConvAlgorithm, ConvBackwardData, ConvBackwardWeights, ConvForward};
use residuum_kernels::{ConvShape, Isa, PoolShape};
use residuum_tensor::{AlignedBuffer, MapLayout};

use crate::engine::{Engine, InputShape};
use crate::error::EngineError;
use crate::fuse::{Fusion, Group, fuse};
use crate::geometry::{conv_shape, pool_shape};
use crate::memory::allocate;
use crate::plan::Value;
use crate::step::{Action, Coefficients, Filters, MOMENT_ROWS, NormPlaces, Place, SUM_ROWS, Step, ValueId};

/// A network as steps, before its values have places.
pub(crate) struct Lowered {
    pub(crate) steps: Vec<Step>,
    pub(crate) values: Vec<Value>,
    /// The value of each node that has one.
    pub(crate) value_of: HashMap<NodeId, ValueId>,
    /// Parameters and constants.
    pub(crate) store: Vec<f32>,
    /// Where each parameter lies in the store; folded ones are not there.
    pub(crate) places: Vec<Option<Place>>,
    /// Packed filters; in training they are packed anew before every step.
    pub(crate) packed: Vec<AlignedBuffer>,
    /// The most scratch memory that a step wants.
    pub(crate) scratch_len: usize,
}

/// Lowers a network for inference: norms folded, everything constant.
pub(crate) fn lower_inference(
    engine: &Engine,
    graph: &Graph,
    weights: &Weights,
    shape: InputShape,
    kept: &HashSet<NodeId>,
) -> Result<Lowered, EngineError> {
    let fusion = fuse(graph, kept, true);
    Lowering::new(engine, graph, weights, shape, kept)?.run(&fusion)
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
    let fusion = fuse(&training.graph, kept, false);
    let mut lowering = Lowering::new(engine, &training.graph, weights, shape, kept)?;
    lowering.is_training = true;
    lowering.gradients = training.gradients.iter().map(|gradient| gradient.param).collect();
    for &param in order {
        let values = lowering.weight(param)?.to_vec();
        lowering.places[param.index()] = Some(lowering.keep(&values));
    }
    lowering.run(&fusion)
}

struct Lowering<'a> {
    isa: Isa,
    algorithm: ConvAlgorithm,
    graph: &'a Graph,
    weights: &'a Weights,
    n: usize,
    extents: Vec<[usize; 2]>,
    kept: &'a HashSet<NodeId>,
    /// Parameters that are learned.
    gradients: BTreeSet<ParamId>,
    /// Border that the readers of a node's value want around it.
    borders: Vec<usize>,
    lowered: Vec<Step>,
    values: Vec<Value>,
    value_of: HashMap<NodeId, ValueId>,
    store: Vec<f32>,
    places: Vec<Option<Place>>,
    packed: Vec<AlignedBuffer>,
    scratch_len: usize,
    /// Whether filters change from step to step.
    is_training: bool,
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
            algorithm: engine.conv(),
            graph,
            weights,
            n: shape.n,
            extents: graph.extents(shape.h, shape.w)?,
            kept,
            gradients: BTreeSet::new(),
            borders: vec![0; graph.nodes().len()],
            lowered: Vec::new(),
            values: Vec::new(),
            value_of: HashMap::new(),
            store: Vec::new(),
            places: vec![None; graph.params().len()],
            packed: Vec::new(),
            scratch_len: 0,
            is_training: false,
        };
        graph.param_ids().try_for_each(|id| lowering.weight(id).map(|_| ()))?;
        Ok(lowering)
    }

    fn run(mut self, fusion: &Fusion) -> Result<Lowered, EngineError> {
        self.measure_borders(fusion);
        for group in &fusion.groups {
            self.group(group, fusion)?;
        }
        self.measure_lifetimes();
        Ok(Lowered {
            steps: self.lowered,
            values: self.values,
            value_of: self.value_of,
            store: self.store,
            places: self.places,
            packed: self.packed,
            scratch_len: self.scratch_len,
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
            let wanted = &mut self.borders[input.index()];
            *wanted = (*wanted).max(border);
        }
    }

    /// A value lives from its step to its last reader; what was asked for lives to the end.
    fn measure_lifetimes(&mut self) {
        for (index, step) in self.lowered.iter().enumerate() {
            for value in step.reads() {
                self.values[value.0].last = index;
            }
        }
        let end = self.lowered.len();
        for node in self.kept {
            if let Some(value) = self.value_of.get(node) {
                self.values[value.0].last = end;
            }
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

    /// The place of the gradient of a learned parameter: gradients lie as the parameters do.
    fn gradient(&self, id: ParamId) -> Option<Place> {
        self.gradients.contains(&id).then(|| self.places[id.index()].clone()).flatten()
    }

    fn value(&self, id: NodeId) -> ValueId {
        self.value_of[&id]
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
            Kind::Gradient(_) | Kind::Scalar => MapLayout::new(1, 1, 1, 1, 0),
        }
    }

    fn layout(&self, value: ValueId) -> MapLayout {
        self.values[value.0].layout
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

    /// Scale and shift that a norm by running statistics amounts to, computed in `f64`.
    fn scale_and_shift(&self, norm: &BatchNorm) -> Result<(Vec<f64>, Vec<f64>), EngineError> {
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
        let makes_value = !matches!(action, Action::ConvBackwardWeights { .. } | Action::BiasBackward { .. });
        let out = makes_value.then(|| self.value_of[&group.last]);
        let name = self.graph.node(group.last).name.clone();
        self.lowered.push(Step { name, action, out, multiply_adds: multiply_adds as u64 });
    }

    fn new_value(&mut self, group: &Group) -> ValueId {
        let id = ValueId(self.values.len());
        let (layout, step) = (self.layout_of(group.last), self.lowered.len());
        self.values.push(Value { layout, first: step, last: step });
        self.value_of.insert(group.last, id);
        id
    }

    fn group(&mut self, group: &Group, fusion: &Fusion) -> Result<(), EngineError> {
        let node = self.graph.node(group.root).clone();
        if !matches!(node.kind, Kind::Gradient(_)) {
            self.new_value(group);
        }
        let input = |index: usize| node.inputs[index];
        let residual = group.residual.map(|id| self.value(id));
        let mut multiply_adds = 0;
        let action = match node.op {
            Op::Input => Action::Load,
            Op::Conv2d(conv) => {
                let shape = self.conv_shape(&conv, input(0));
                multiply_adds = shape.macs();
                self.conv(group, &shape, conv.weight, conv.bias, input(0))?
            }
            Op::Linear(linear) => {
                let shape = self.linear_shape(&linear);
                multiply_adds = shape.macs();
                self.conv(group, &shape, linear.weight, linear.bias, input(0))?
            }
            Op::BatchNorm(norm) => {
                let (scale, shift) = self.scale_and_shift(&norm)?;
                let coefficients = self.constant_coefficients(&scale, &shift);
                Action::Affine { x: self.value(input(0)), coefficients, residual, relu: group.relu }
            }
            Op::BatchNormBackward(norm) => {
                let (scale, _) = self.scale_and_shift(&norm)?;
                let coefficients = self.constant_coefficients(&scale, &vec![0.0; norm.channels]);
                Action::Affine { x: self.value(input(0)), coefficients, residual, relu: false }
            }
            Op::Normalize(_) => {
                let coefficients = Coefficients::Moments(self.value(input(1)));
                Action::Affine { x: self.value(input(0)), coefficients, residual, relu: group.relu }
            }
            Op::Moments(norm) => self.moments(&node.name, &norm, input(0))?,
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
                self.backward_weights(&shape, conv.weight, input(0), input(1))?
            }
            Op::LinearBackwardWeights(linear) => {
                let shape = self.linear_shape(&linear);
                multiply_adds = shape.macs();
                self.backward_weights(&shape, linear.weight, input(0), input(1))?
            }
            Op::BiasBackward { bias } => {
                Action::BiasBackward { dy: self.value(input(0)), gradient: self.place(bias)? }
            }
            Op::NormalizeBackwardSums(norm) => {
                let (dy, mask) = self.masked(input(0), fusion);
                Action::NormSums {
                    dy,
                    mask,
                    x: self.value(input(1)),
                    moments: self.value(input(2)),
                    weight: self.gradient(norm.weight),
                    bias: self.gradient(norm.bias),
                }
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
            Op::Subsample { stride } => {
                let before = if let Some(Op::PadChannels { before, .. }) = partner { before } else { 0 };
                Action::SubsamplePad { x, stride, before }
            }
            Op::PadChannels { before, .. } => Action::SubsamplePad { x, stride: 1, before },
            Op::PadChannelsBackward { before, .. } => {
                let stride =
                    if let Some(Op::SubsampleBackward { stride, .. }) = partner { stride } else { 1 };
                Action::SubsamplePadBackward { dy: x, stride, before }
            }
            Op::SubsampleBackward { stride, .. } => Action::SubsamplePadBackward { dy: x, stride, before: 0 },
            ref other => unreachable!("{} has parameters", other.name()),
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

    fn moments(&mut self, name: &str, norm: &BatchNorm, x: NodeId) -> Result<Action, EngineError> {
        let x = self.value(x);
        if self.layout(x).pixels() < 2 {
            let node = name.trim_end_matches(".moments").to_owned();
            return Err(EngineError::OneValuePerChannel { node });
        }
        let norm = NormPlaces {
            weight: self.place(norm.weight)?,
            bias: self.place(norm.bias)?,
            running_mean: self.place(norm.running_mean)?,
            running_var: self.place(norm.running_var)?,
            eps: norm.eps,
        };
        Ok(Action::Moments { x, norm })
    }

    fn conv(
        &mut self,
        group: &Group,
        shape: &ConvShape,
        weight: ParamId,
        bias: Option<ParamId>,
        x: NodeId,
    ) -> Result<Action, EngineError> {
        let (x, out) = (self.value(x), self.value(group.last));
        let kernel =
            ConvForward::with_algorithm(self.isa, self.algorithm, shape, self.layout(x), self.layout(out));
        let bias = match &group.norm {
            Some(norm) => Some(self.folded_bias(norm, bias)?),
            None => bias.map(|bias| self.place(bias)).transpose()?,
        };
        let filters = if self.is_training {
            self.filters(weight, kernel.packed_len())?
        } else {
            self.constant_filters(&kernel, group.norm.as_ref(), weight)?
        };
        let residual = group.residual.map(|id| self.value(id));
        Ok(Action::Conv { kernel, x, filters, bias, residual, relu: group.relu })
    }

    /// The bias that a norm leaves when its scale goes into the filters.
    fn folded_bias(&mut self, norm: &BatchNorm, bias: Option<ParamId>) -> Result<Place, EngineError> {
        let (scale, shift) = self.scale_and_shift(norm)?;
        let bias = bias.map(|bias| self.weight(bias)).transpose()?;
        let folded: Vec<f32> = (0..norm.channels)
            .map(|c| (shift[c] + scale[c] * bias.map_or(0.0, |bias| f64::from(bias[c]))) as f32)
            .collect();
        Ok(self.keep(&folded))
    }

    /// Filters that never change, packed now, with the norm behind them folded in (rounded once from `f64`).
    fn constant_filters(
        &mut self,
        kernel: &ConvForward,
        norm: Option<&BatchNorm>,
        weight: ParamId,
    ) -> Result<Filters, EngineError> {
        let mut packed = allocate("the packed filters", kernel.packed_len())?;
        let filters = self.weight(weight)?;
        if let Some(norm) = norm {
            let scale = self.scale_and_shift(norm)?.0;
            let taps = filters.len() / norm.channels;
            let scaled = |(filter, &scale): (&[f32], &f64)| {
                filter.iter().map(|&w| (f64::from(w) * scale) as f32).collect::<Vec<f32>>()
            };
            let folded: Vec<f32> = filters.chunks(taps).zip(&scale).flat_map(scaled).collect();
            kernel.pack(&folded, &mut packed);
        } else {
            kernel.pack(filters, &mut packed);
        }
        self.packed.push(packed);
        Ok(Filters { place: 0..0, packed: self.packed.len() - 1 })
    }

    /// Filters in the store, and room for their packed form.
    fn filters(&mut self, weight: ParamId, packed_len: usize) -> Result<Filters, EngineError> {
        self.packed.push(allocate("the packed filters", packed_len)?);
        Ok(Filters { place: self.place(weight)?, packed: self.packed.len() - 1 })
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
        let filters = self.filters(weight, kernel.packed_len())?;
        let (residual, mask) = (group.residual.map(|id| self.value(id)), group.mask.map(|id| self.value(id)));
        Ok(Action::ConvBackwardData { kernel, dy, filters, residual, mask })
    }

    fn backward_weights(
        &mut self,
        shape: &ConvShape,
        weight: ParamId,
        x: NodeId,
        dy: NodeId,
    ) -> Result<Action, EngineError> {
        let (x, dy) = (self.value(x), self.value(dy));
        let kernel = ConvBackwardWeights::with_algorithm(
            self.isa,
            self.algorithm,
            shape,
            self.layout(x),
            self.layout(dy),
        );
        self.scratch_len = self.scratch_len.max(kernel.scratch_len());
        Ok(Action::ConvBackwardWeights { kernel, x, dy, gradient: self.place(weight)? })
    }
}
