//! Lowering to bytes: which values are kept in bytes, which steps work on them, and what is converted for the others.
//!
//! Convolutions and linear layers read bytes. Their inputs are wanted in bytes therefore, and so is whatever ends
//! in the same sum. A convolution, the load of the images, and the operations that only order or move bytes
//! make them; everything else makes floats, which are converted where bytes are wanted, and the other way round.

use std::collections::{HashMap, HashSet};

use residuum_graph::{Graph, Node, NodeId, Op, ParamId, Quantization};
use residuum_kernels::ConvShape;
use residuum_kernels::conv::{ByteFilters, ConvInt8, MOST_STEPS};
use residuum_tensor::Quantizer;

use super::{Lowering, identity};
use crate::error::EngineError;
use crate::fuse::{Fusion, Group, fuse};
use crate::int8::Int8;
use crate::plan::{Storage, View};
use crate::step::{Action, Step, ValueId};

/// Names of the nodes whose values an inference in bytes keeps in bytes, each on a grid of its own: those to be
/// calibrated. Values that are only moved stay on the grid of their source, which is named once.
pub fn calibrated(graph: &Graph) -> Vec<String> {
    let (graph, stands_for) = graph.bypass(identity);
    let fusion = fuse(&graph, &stands_for, &HashSet::from([graph.output()]), true);
    let wanted = wanted(&graph, &fusion, |_, _| true);
    let sources = sources(&graph, &fusion, &wanted);
    let name = |id: NodeId| graph.node(id).name.clone();
    graph.ids().filter(|id| wanted.contains(id) && sources[id] == *id).map(name).collect()
}

/// Whether the group is a convolution or linear layer that can be computed in bytes, and with which filters.
fn filters_of(graph: &Graph, group: &Group) -> Option<(ParamId, usize)> {
    if group.norm.is_some() || group.factor.is_some() {
        return None;
    }
    match graph.node(group.root).op {
        Op::Conv2d(conv) => Some((conv.weight, conv.kernel[0] * conv.kernel[1] * conv.c_in / conv.groups)),
        Op::Linear(linear) => Some((linear.weight, linear.inputs)),
        _ => None,
    }
    .filter(|&(_, steps)| steps <= MOST_STEPS)
}

/// Whether an operation only orders or moves what it reads, apart from zeros.
fn is_moving(op: &Op) -> bool {
    matches!(op, Op::MaxPool(_) | Op::Subsample { .. } | Op::PadChannels { .. } | Op::Flatten)
}

/// Values that are wanted in bytes; `allowed` says of the weights of a layer and of its input whether there are grids.
fn wanted(graph: &Graph, fusion: &Fusion, allowed: impl Fn(ParamId, NodeId) -> bool) -> HashSet<NodeId> {
    let mut wanted = HashSet::new();
    let users = graph.users();
    let is_product = |id: NodeId| {
        let maker = fusion.groups.iter().find(|group| group.last == id);
        maker.is_some_and(|group| filters_of(graph, group).is_some())
    };
    for group in fusion.groups.iter().rev() {
        let node = graph.node(group.root);
        let is_out = wanted.contains(&group.last);
        if let Some((weight, _)) = filters_of(graph, group) {
            if allowed(weight, node.inputs[0]) {
                wanted.insert(node.inputs[0]);
                wanted.extend(group.residual.filter(|_| is_out));
            }
        } else if is_out && is_moving(&node.op) {
            wanted.insert(node.inputs[0]);
        } else if is_out && node.op == Op::GlobalAvgPool {
            // A mean can be taken of floats as well; bytes are for the map that nobody else reads.
            let input = node.inputs[0];
            if users[input.index()].len() == 1 && is_product(input) {
                wanted.insert(input);
            }
        }
    }
    wanted
}

/// For every value, the one whose grid it lies on.
fn sources(graph: &Graph, fusion: &Fusion, wanted: &HashSet<NodeId>) -> HashMap<NodeId, NodeId> {
    let mut sources: HashMap<NodeId, NodeId> = HashMap::new();
    for group in &fusion.groups {
        let node = graph.node(group.root);
        let moved = node.inputs.first().filter(|_| is_moving(&node.op) && wanted.contains(&group.last));
        let source = moved.map_or(group.last, |input| sources[input]);
        sources.insert(group.last, source);
    }
    sources
}

/// What lowering to bytes knows.
pub(super) struct Plan<'a> {
    quantization: &'a Quantization,
    /// The grids of the values that are wanted in bytes.
    grids: HashMap<NodeId, Quantizer>,
    /// Values that were converted.
    bytes: HashMap<NodeId, ValueId>,
    floats: HashMap<NodeId, ValueId>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(graph: &Graph, fusion: &Fusion, quantization: &'a Quantization) -> Self {
        // Where a value lies depends on what is wanted, so that first all layers are taken to be in bytes.
        let everything = wanted(graph, fusion, |_, _| true);
        let sources = sources(graph, fusion, &everything);
        let grid = |id: &NodeId| {
            let name = &graph.node(*sources.get(id)?).name;
            quantization.activations.get(name).copied().filter(Quantizer::is_valid)
        };
        let has_scales = |weight: ParamId| quantization.weights.contains_key(&graph.param(weight).name);
        let wanted = wanted(graph, fusion, |weight, input| has_scales(weight) && grid(&input).is_some());
        let grids = wanted.iter().filter_map(|id| Some((*id, grid(id)?))).collect();
        Self { quantization, grids, bytes: HashMap::new(), floats: HashMap::new() }
    }

    pub(super) fn floats(&self, id: NodeId) -> Option<ValueId> {
        self.floats.get(&id).copied()
    }
}

impl<'a> Lowering<'a> {
    /// Lowers a group that works on bytes; false where it does not.
    pub(super) fn int8_group(&mut self, group: &Group, node: &Node) -> Result<bool, EngineError> {
        let out = self.bytes_out(group.last);
        if let Some((weight, _)) = filters_of(self.graph, group) {
            return self.int8_conv(group, node, weight, out);
        }
        let Some(&input) = node.inputs.first() else {
            if let (Op::Input, Some(grid)) = (node.op, out) {
                self.make_bytes(group, grid, Int8::Load, 0);
                return Ok(true);
            }
            return Ok(false);
        };
        let in_bytes = self.views[self.value_of[&input].0].grid.is_some();
        match (node.op, out) {
            (Op::GlobalAvgPool, _) if in_bytes => {
                let x = self.bytes(input);
                self.new_value(group);
                self.push(group, Action::Int8(Int8::GlobalAvgPool { x }), 0);
            }
            (Op::Flatten, Some(_)) if in_bytes && self.layout_of(input).border == 0 => {
                self.look_into_bytes(group, input);
            }
            (Op::MaxPool(pool), Some(grid)) if self.has_bytes(input) => {
                let shape = self.pool_shape(&pool, input);
                let x = self.bytes(input);
                self.make_bytes(group, grid, Int8::MaxPool { x, shape }, 0);
            }
            (Op::Subsample { .. } | Op::PadChannels { .. }, Some(grid)) if self.has_bytes(input) => {
                let x = self.bytes(input);
                let (stride, before) = self.subsampling(group, &node.op);
                self.make_bytes(group, grid, Int8::SubsamplePad { x, stride, before }, 0);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Makes floats of all that a group reads.
    pub(super) fn operands_as_floats(&mut self, group: &Group, node: &Node) {
        for id in node.inputs.iter().copied().chain(group.residual) {
            self.floats(id);
        }
    }

    fn plan(&mut self) -> &mut Plan<'a> {
        self.int8.as_mut().expect("the network is quantised")
    }

    /// The grid that the value of a node is made on, where it is made in bytes: wanted so, not the answer, and not a
    /// part of a concatenation, which is in floats.
    fn bytes_out(&self, id: NodeId) -> Option<Quantizer> {
        let grid = self.int8.as_ref()?.grids.get(&id).copied()?;
        (id != self.graph.output() && self.seats.root(id).0 == id).then_some(grid)
    }

    /// Whether bytes are to be had: the value is made in them, or wanted in them.
    fn has_bytes(&self, id: NodeId) -> bool {
        let is_native = self.views[self.value_of[&id].0].grid.is_some();
        is_native || self.int8.as_ref().is_some_and(|plan| plan.grids.contains_key(&id))
    }

    /// A value in bytes, converted if it is not made in them.
    fn bytes(&mut self, id: NodeId) -> ValueId {
        let native = self.value_of[&id];
        if self.views[native.0].grid.is_some() {
            return native;
        }
        if let Some(&value) = self.plan().bytes.get(&id) {
            return value;
        }
        let grid = self.plan().grids[&id];
        let out = self.new_storage(id, Some(grid));
        self.convert(id, Int8::Quantize { x: native }, out);
        self.plan().bytes.insert(id, out);
        out
    }

    /// A value in floats, converted if it is not made in them.
    fn floats(&mut self, id: NodeId) {
        let native = self.value_of[&id];
        if self.views[native.0].grid.is_none() || self.plan().floats.contains_key(&id) {
            return;
        }
        let out = self.new_storage(id, None);
        self.convert(id, Int8::Dequantize { x: native }, out);
        self.plan().floats.insert(id, out);
    }

    /// A value beside a node's own, with memory of its own.
    fn new_storage(&mut self, id: NodeId, grid: Option<Quantizer>) -> ValueId {
        let (layout, step) = (self.layout_of(id), self.lowered.len());
        self.storages.push(Storage { layout, grid, first: step, last: step });
        self.views.push(View { storage: self.storages.len() - 1, channel: 0, layout, grid });
        ValueId(self.views.len() - 1)
    }

    fn convert(&mut self, id: NodeId, action: Int8, out: ValueId) {
        let name = self.graph.node(id).name.clone();
        let action = Action::Int8(action);
        self.lowered.push(Step { name, action, out, multiply_adds: 0, gated: None });
    }

    /// The step that makes a group's value in bytes.
    fn make_bytes(&mut self, group: &Group, grid: Quantizer, action: Int8, multiply_adds: usize) {
        let out = self.new_storage(group.last, Some(grid));
        self.value_of.insert(group.last, out);
        self.push(group, Action::Int8(action), multiply_adds);
    }

    fn look_into_bytes(&mut self, group: &Group, input: NodeId) {
        let source = self.bytes(input);
        let view = View { layout: self.layout_of(group.last), ..self.views[source.0] };
        self.view(group.last, view);
    }

    /// A convolution or linear layer whose input and filters have grids.
    fn int8_conv(
        &mut self,
        group: &Group,
        node: &Node,
        weight: ParamId,
        out: Option<Quantizer>,
    ) -> Result<bool, EngineError> {
        let input = node.inputs[0];
        let Some(grid) = self.plan().grids.get(&input).copied() else { return Ok(false) };
        let out = out.filter(|_| group.residual.is_none_or(|id| self.has_bytes(id)));
        let name = &self.graph.param(weight).name;
        let quantization = self.int8.as_ref().map(|plan| plan.quantization);
        let scales = quantization.and_then(|quantization| quantization.weights.get(name));
        let values = self.weights.get(name);
        let multiples = quantization.zip(values).and_then(|(q, values)| q.multiples(name, values));
        let (Some(scales), Some(multiples)) = (scales.cloned(), multiples) else { return Ok(false) };

        let (shape, bias) = match node.op {
            Op::Linear(linear) => (self.linear_shape(&linear), linear.bias),
            Op::Conv2d(conv) => (self.conv_shape(&conv, input), conv.bias),
            _ => return Ok(false),
        };
        let x = self.bytes(input);
        // Operands come before the value that is made of them, in the order of the steps.
        let residual = match (group.residual, out) {
            (Some(id), Some(_)) => Some(self.bytes(id)),
            (Some(id), None) => {
                self.floats(id);
                Some(self.value(id))
            }
            (None, _) => None,
        };
        let bias = bias.map(|bias| self.weight(bias)).transpose()?;
        let filters = Filters { multiples, scales, bias, grid, out };
        let value = match out {
            Some(grid) => {
                let value = self.new_storage(group.last, Some(grid));
                self.value_of.insert(group.last, value);
                value
            }
            None => self.new_value(group),
        };
        let kernel = filters.kernel(self, &shape, x, value)?;
        let conv = Int8::Conv { kernel: Box::new(kernel), x, residual, relu: group.relu };
        self.push(group, Action::Int8(conv), shape.macs());
        Ok(true)
    }
}

/// Filters with what brings their sums to the units of the output.
struct Filters<'a> {
    multiples: Vec<i8>,
    scales: Vec<f32>,
    bias: Option<&'a [f32]>,
    grid: Quantizer,
    out: Option<Quantizer>,
}

impl Filters<'_> {
    fn kernel(
        &self,
        lowering: &Lowering<'_>,
        shape: &ConvShape,
        x: ValueId,
        out: ValueId,
    ) -> Result<ConvInt8, EngineError> {
        // What a unit of each channel's sum stands for.
        let units: Vec<f64> =
            self.scales.iter().map(|&s| f64::from(self.grid.scale) * f64::from(s)).collect();
        let target = self.out.map_or(1.0, |out| f64::from(out.scale));
        let multipliers: Vec<f32> = units.iter().map(|unit| (unit / target) as f32).collect();
        let limit = f64::from(1 << 30);
        let bias: Vec<i32> = (0..units.len())
            .map(|c| {
                let bias = self.bias.map_or(0.0, |bias| f64::from(bias[c]));
                (bias / units[c]).round_ties_even().clamp(-limit, limit) as i32
            })
            .collect();
        let filters = ByteFilters {
            weights: &self.multiples,
            bias: &bias,
            multipliers: &multipliers,
            zero_point: self.grid.zero_point,
        };
        let (x, out) = (lowering.layout(x), lowering.layout(out));
        ConvInt8::new(lowering.isa, shape, x, out, &filters).map_err(|_| EngineError::OutOfMemory {
            what: "the packed filters",
            mib: shape.weight_len().div_ceil(1 << 20),
        })
    }
}
