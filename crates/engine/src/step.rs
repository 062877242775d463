//! One step of a compiled network: a kernel with its operands.

use std::ops::Range;

use residuum_graph::Dropout;
use residuum_kernels::conv::{
    ConvBackwardData, ConvBackwardWeights, ConvForward, Epilogue, Extras, NormOutput, Normalization,
    WorkingMemory,
};
use residuum_kernels::loss::{Loss, Targets};
use residuum_kernels::{
    BlurShape, Draws, Isa, PoolShape, conv, elementwise, gate, int8, loss, norm, pool, rearrange,
};
use residuum_tensor::{MapLayout, Quantizer, bytes_mut};

use crate::int8::Int8;
use crate::memory::{Others, write};
use crate::plan::Plan;

/// A value of the program, made by one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ValueId(pub(crate) usize);

/// A place in the store of parameters and constants.
pub(crate) type Place = Range<usize>;

/// Rows of the value that [`Action::Moments`] makes, `c` floats each.
pub(crate) const MOMENT_ROWS: usize = 5;
/// Rows of the value that [`Action::NormSums`] makes, `c` floats each: the gradients of shift and scale, and three
/// coefficients.
pub(crate) const SUM_ROWS: usize = 5;

/// Where a scale and shift per channel come from.
#[derive(Clone, Debug)]
pub(crate) enum Coefficients {
    /// Constants, or parameters: scale, shift.
    Stored(Place, Place),
    /// The last two rows of the moments of the batch.
    Moments(ValueId),
}

impl Coefficients {
    fn moments(&self) -> Option<ValueId> {
        match self {
            Self::Stored(..) => None,
            Self::Moments(value) => Some(*value),
        }
    }

    /// Scale and shift of `c` channels.
    fn of<'a>(&self, store: &'a [f32], inputs: Inputs<'a>, c: usize) -> [&'a [f32]; 2] {
        match self {
            Self::Stored(scale, shift) => [&store[scale.clone()], &store[shift.clone()]],
            Self::Moments(value) => [3, 4].map(|row| inputs.row(*value, row, c)),
        }
    }
}

/// Batch norm's parameters in the store.
#[derive(Clone, Debug)]
pub(crate) struct NormPlaces {
    pub(crate) weight: Place,
    pub(crate) bias: Place,
    pub(crate) running_mean: Place,
    pub(crate) running_var: Place,
    pub(crate) eps: f32,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Action {
    Load,
    LoadSeed,
    Conv {
        kernel: ConvForward,
        x: ValueId,
        norm: Option<InputNorm>,
        filters: Filters,
        bias: Option<Place>,
        residual: Option<ValueId>,
        relu: bool,
        /// Where in the working memory it leaves sums for the step behind, which takes the moments of its value.
        sums: Option<Place>,
    },
    ConvBackwardData {
        kernel: ConvBackwardData,
        dy: ValueId,
        filters: Filters,
        residual: Option<ValueId>,
        mask: Option<ValueId>,
        norm: Option<GradientSums>,
    },
    ConvBackwardWeights {
        kernel: ConvBackwardWeights,
        x: ValueId,
        norm: Option<InputNorm>,
        dy: ValueId,
    },
    BiasBackward {
        dy: ValueId,
    },
    Affine {
        x: ValueId,
        coefficients: Coefficients,
        residual: Option<ValueId>,
        relu: bool,
    },
    Moments {
        x: ValueId,
        norm: NormPlaces,
        /// Moments of the first channels, which another norm has taken already.
        known: Option<ValueId>,
        /// Where in the working memory the convolution before has left the sums of the other channels.
        sums: Option<Place>,
    },
    NormSums {
        dy: ValueId,
        mask: Option<ValueId>,
        x: ValueId,
        moments: ValueId,
        /// Where in the working memory the step before, which made `dy`, has left sums of its blocks.
        sums: Option<Place>,
    },
    NormBackward {
        dy: ValueId,
        mask: Option<ValueId>,
        x: ValueId,
        sums: ValueId,
        residual: Option<ValueId>,
    },
    Relu {
        x: ValueId,
    },
    ReluBackward {
        dy: ValueId,
        y: ValueId,
    },
    Add {
        a: ValueId,
        b: ValueId,
        relu: bool,
    },
    MaxPool {
        x: ValueId,
        shape: PoolShape,
    },
    MaxPoolBackward {
        dy: ValueId,
        x: ValueId,
        shape: PoolShape,
    },
    AvgPool {
        x: ValueId,
        shape: PoolShape,
        count_padding: bool,
    },
    AvgPoolBackward {
        dy: ValueId,
        shape: PoolShape,
        count_padding: bool,
    },
    GlobalAvgPool {
        x: ValueId,
    },
    GlobalAvgPoolBackward {
        dy: ValueId,
    },
    SubsamplePad {
        x: ValueId,
        stride: usize,
        before: usize,
    },
    SubsamplePadBackward {
        dy: ValueId,
        stride: usize,
        before: usize,
    },
    /// Copies values to their first channels of the output.
    Concat {
        parts: Vec<(ValueId, usize)>,
    },
    Copy {
        x: ValueId,
    },
    Mul {
        x: ValueId,
        gate: ValueId,
        residual: Option<ValueId>,
        relu: bool,
    },
    MulBackward {
        dy: ValueId,
        x: ValueId,
    },
    Sigmoid {
        x: ValueId,
    },
    SigmoidBackward {
        dy: ValueId,
        y: ValueId,
    },
    Dropout {
        x: ValueId,
        dropout: Dropout,
    },
    /// Multiplies every image by what a gate draws for it.
    ScaleImages {
        x: ValueId,
        gate: usize,
    },
    Blur {
        x: ValueId,
        shape: BlurShape,
    },
    BlurBackward {
        dy: ValueId,
        shape: BlurShape,
    },
    Loss {
        logits: ValueId,
    },
    /// Works on bytes.
    Int8(Int8),
}

/// A norm that a convolution does to its input as it reads it.
#[derive(Clone, Debug)]
pub(crate) struct InputNorm {
    pub(crate) coefficients: Coefficients,
    /// Whether a ReLU follows.
    pub(crate) relu: bool,
}

/// A norm by the moments of its input, the gradient of whose output a convolution makes and sums.
#[derive(Clone, Debug)]
pub(crate) struct GradientSums {
    pub(crate) x: ValueId,
    pub(crate) moments: ValueId,
    /// Whether the gradient is that of a ReLU behind the norm, through which it has yet to go.
    pub(crate) relu: bool,
    /// Where in the working memory sums of blocks go, for the step behind.
    pub(crate) sums: Place,
}

/// What a step does when a branch with stochastic depth is dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WhenClosed {
    /// Nothing; a gradient of parameters that it would have made is zero.
    Skip,
    /// Everything but its own computation: what is added to it passes.
    ResidualOnly,
    /// Its own computation, to which nothing is added.
    WithoutResidual,
    /// The value of the operand that remains passes.
    Copy(ValueId),
}

/// The gate that a step waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gated {
    pub(crate) gate: usize,
    pub(crate) then: WhenClosed,
}

/// Filters of a convolution.
#[derive(Clone, Debug)]
pub(crate) enum Filters {
    /// They never change: the place of their packed form.
    Packed(Place),
    /// They are learned: their place in the store. They are packed into the working memory where they are used.
    Stored(Place),
}

impl Filters {
    /// The packed form, made now by `pack` where filters may have changed.
    fn pack<'a>(
        &self,
        memory: &'a mut FilterMemory<'_>,
        len: usize,
        pack: impl FnOnce(&[f32], &mut [f32]),
    ) -> &'a [f32] {
        match self {
            Self::Packed(place) => &memory.packed[place.clone()],
            Self::Stored(place) => {
                let packed = &mut memory.scratch[..len];
                pack(&memory.store[place.clone()], packed);
                packed
            }
        }
    }
}

/// Where filters lie, packed or not, and where they can be packed.
struct FilterMemory<'a> {
    store: &'a [f32],
    packed: &'a [f32],
    scratch: &'a mut [f32],
}

impl FilterMemory<'_> {
    /// The memory before a place of the working memory, and that place, if there is one.
    fn split(&mut self, place: Option<&Place>) -> (FilterMemory<'_>, Option<&mut [f32]>) {
        let (before, after) =
            self.scratch.split_at_mut(place.map_or(self.scratch.len(), |place| place.start));
        let memory = FilterMemory { store: self.store, packed: self.packed, scratch: before };
        (memory, place.map(|place| &mut after[..place.len()]))
    }
}

/// An action and the value it makes.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) action: Action,
    pub(crate) out: ValueId,
    pub(crate) multiply_adds: u64,
    pub(crate) gated: Option<Gated>,
}

/// What is fed to a run, and what comes out beside the values.
pub(crate) struct Run<'a> {
    pub(crate) isa: Isa,
    pub(crate) plan: &'a Plan,
    /// Which group of images of its stage a step sees.
    pub(crate) group: usize,
    pub(crate) arena: &'a mut [f32],
    pub(crate) store: &'a mut [f32],
    pub(crate) packed: &'a [f32],
    pub(crate) scratch: &'a mut [f32],
    pub(crate) images: &'a [f32],
    pub(crate) seed: &'a [f32],
    pub(crate) targets: Targets<'a>,
    pub(crate) compares: Loss,
    pub(crate) label_smoothing: f32,
    pub(crate) norm_momentum: f32,
    pub(crate) draws: Draws,
    /// For each gate, what it multiplies the images by.
    pub(crate) gates: &'a [Vec<f32>],
    /// Mean loss and number of right answers.
    pub(crate) loss: (f64, usize),
}

/// The values that a step reads.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    others: Others<'a>,
    plan: &'a Plan,
    group: usize,
    /// Whether what is to be added exists.
    has_residual: bool,
}

impl<'a> Inputs<'a> {
    pub(crate) fn map(&self, value: ValueId) -> (&'a [f32], MapLayout) {
        let slot = self.plan.slot_of(value, self.group);
        (self.others.read(&slot), slot.layout)
    }

    /// The grid of a value in bytes.
    pub(crate) fn grid(&self, value: ValueId) -> Option<Quantizer> {
        self.plan.slot(value).grid
    }

    fn optional(&self, value: Option<ValueId>) -> Option<(&'a [f32], MapLayout)> {
        value.map(|value| self.map(value))
    }

    fn residual(&self, value: Option<ValueId>) -> Option<(&'a [f32], MapLayout)> {
        self.optional(value.filter(|_| self.has_residual))
    }

    /// Row `index` of a value that holds one row of `c` floats after another.
    fn row(&self, value: ValueId, index: usize, c: usize) -> &'a [f32] {
        &self.map(value).0[index * c..(index + 1) * c]
    }
}

impl Step {
    /// What the step does and how, for profiles.
    pub(crate) fn kind(&self) -> String {
        let fused = |residual: bool, relu: bool| {
            format!("{}{}", if residual { " + add" } else { "" }, if relu { " + relu" } else { "" })
        };
        let of_norm = |norm: &Option<InputNorm>| if norm.is_some() { " of norm" } else { "" };
        match &self.action {
            Action::Load => "load images".into(),
            Action::LoadSeed => "load seed".into(),
            Action::Conv { kernel, norm, residual, relu, sums, .. } => {
                let sums = if sums.is_some() { " + sums" } else { "" };
                let fused = fused(residual.is_some(), *relu);
                format!("conv, {}{}{fused}{sums}", kernel.algorithm(), of_norm(norm))
            }
            Action::ConvBackwardData { kernel, residual, mask, norm, .. } => {
                let relu = mask.is_some() || norm.as_ref().is_some_and(|norm| norm.relu);
                let sums = if norm.is_some() { " + sums" } else { "" };
                let fused = fused(residual.is_some(), relu);
                format!("conv backward data, {}{fused}{sums}", kernel.algorithm())
            }
            Action::ConvBackwardWeights { kernel, norm, .. } => {
                format!("conv backward weights, {}{}", kernel.algorithm(), of_norm(norm))
            }
            Action::BiasBackward { .. } => "bias backward".into(),
            Action::Affine { residual, relu, .. } => format!("normalize{}", fused(residual.is_some(), *relu)),
            Action::Moments { sums, .. } => if sums.is_some() { "moments of sums" } else { "moments" }.into(),
            Action::NormSums { sums: Some(_), .. } => "norm backward sums of sums".into(),
            Action::NormSums { .. } => "norm backward sums".into(),
            Action::NormBackward { .. } => "norm backward".into(),
            Action::Relu { .. } => "relu".into(),
            Action::ReluBackward { .. } => "relu backward".into(),
            Action::Add { relu, .. } => format!("add{}", fused(false, *relu)),
            Action::MaxPool { .. } => "max pool".into(),
            Action::MaxPoolBackward { .. } => "max pool backward".into(),
            Action::AvgPool { .. } => "average pool".into(),
            Action::AvgPoolBackward { .. } => "average pool backward".into(),
            Action::GlobalAvgPool { .. } => "global average pool".into(),
            Action::GlobalAvgPoolBackward { .. } => "global average pool backward".into(),
            Action::SubsamplePad { .. } => "subsample and pad".into(),
            Action::SubsamplePadBackward { .. } => "subsample and pad backward".into(),
            Action::Concat { .. } => "concat".into(),
            Action::Copy { .. } => "copy".into(),
            Action::Mul { residual, relu, .. } => format!("multiply{}", fused(residual.is_some(), *relu)),
            Action::MulBackward { .. } => "multiply backward".into(),
            Action::Sigmoid { .. } => "sigmoid".into(),
            Action::SigmoidBackward { .. } => "sigmoid backward".into(),
            Action::Dropout { .. } => "dropout".into(),
            Action::ScaleImages { .. } => "drop path".into(),
            Action::Blur { .. } => "blur".into(),
            Action::BlurBackward { .. } => "blur backward".into(),
            Action::Loss { .. } => "loss".into(),
            Action::Int8(action) => action.kind(),
        }
    }

    /// The values that the step reads.
    pub(crate) fn reads(&self) -> Vec<ValueId> {
        let some = |values: &[Option<ValueId>]| values.iter().flatten().copied().collect();
        let moments = |norm: Option<&InputNorm>| norm.and_then(|norm| norm.coefficients.moments());
        match &self.action {
            Action::Load | Action::LoadSeed => Vec::new(),
            Action::Conv { x, norm, residual, .. } => some(&[Some(*x), moments(norm.as_ref()), *residual]),
            Action::ConvBackwardData { dy, residual, mask, norm, .. } => {
                let [x, moments] = norm.as_ref().map_or([None; 2], |norm| [norm.x, norm.moments].map(Some));
                some(&[Some(*dy), *residual, *mask, x, moments])
            }
            Action::ConvBackwardWeights { x, norm, dy, .. } => {
                some(&[Some(*x), moments(norm.as_ref()), Some(*dy)])
            }
            Action::Affine { x, coefficients, residual, .. } => {
                some(&[Some(*x), coefficients.moments(), *residual])
            }
            Action::NormSums { moments, sums: Some(_), .. } => vec![*moments],
            Action::NormSums { dy, mask, x, moments, .. } => {
                some(&[Some(*dy), *mask, Some(*x), Some(*moments)])
            }
            Action::NormBackward { dy, mask, x, sums, residual } => {
                some(&[Some(*dy), *mask, Some(*x), Some(*sums), *residual])
            }
            Action::Mul { x, gate, residual, .. } => some(&[Some(*x), Some(*gate), *residual]),
            Action::ReluBackward { dy, y } | Action::SigmoidBackward { dy, y } => vec![*dy, *y],
            Action::Add { a, b, .. } => vec![*a, *b],
            Action::Moments { x, known, .. } => some(&[Some(*x), *known]),
            Action::MaxPoolBackward { dy, x, .. } | Action::MulBackward { dy, x } => vec![*dy, *x],
            Action::Concat { parts } => parts.iter().map(|(value, _)| *value).collect(),
            Action::Relu { x }
            | Action::MaxPool { x, .. }
            | Action::AvgPool { x, .. }
            | Action::GlobalAvgPool { x }
            | Action::Copy { x }
            | Action::Sigmoid { x }
            | Action::Dropout { x, .. }
            | Action::ScaleImages { x, .. }
            | Action::Blur { x, .. }
            | Action::SubsamplePad { x, .. } => vec![*x],
            Action::BlurBackward { dy, .. }
            | Action::BiasBackward { dy }
            | Action::AvgPoolBackward { dy, .. }
            | Action::GlobalAvgPoolBackward { dy }
            | Action::SubsamplePadBackward { dy, .. } => vec![*dy],
            Action::Loss { logits } => vec![*logits],
            Action::Int8(action) => action.reads(),
        }
    }

    /// Bytes of filters that the step itself holds.
    pub(crate) fn packed_bytes(&self) -> usize {
        if let Action::Int8(Int8::Conv { kernel, .. }) = &self.action { kernel.packed_bytes() } else { 0 }
    }

    /// What the threads work in.
    pub(crate) fn working_memory(&self) -> WorkingMemory {
        match &self.action {
            Action::Conv { kernel, .. } => kernel.working_memory(),
            Action::ConvBackwardData { kernel, .. } => kernel.working_memory(),
            Action::ConvBackwardWeights { kernel, .. } => kernel.working_memory(),
            _ => WorkingMemory::default(),
        }
    }

    /// Runs the step.
    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let closed = self.gated.filter(|gated| run.gates[gated.gate].first() == Some(&0.0));
        let closed = closed.map(|gated| gated.then);
        let slot = run.plan.slot_of(self.out, run.group);
        let (others, value) = write(run.arena, &slot);
        if matches!(closed, Some(WhenClosed::Skip)) {
            if self.makes_gradients() {
                value.fill(0.0);
            }
            return;
        }
        let has_residual = !matches!(closed, Some(WhenClosed::WithoutResidual));
        let inputs = Inputs { others, plan: run.plan, group: run.group, has_residual };
        if slot.clears_border {
            match slot.grid {
                Some(grid) => int8::fill_border(bytes_mut(value), slot.layout, grid.zero_point),
                None => rearrange::zero_border(value, slot.layout),
            }
        }
        if let Some(WhenClosed::ResidualOnly | WhenClosed::Copy(_)) = closed {
            return self.pass_residual(run.isa, closed, inputs, value, slot.layout);
        }
        match &self.action {
            Action::Dropout { x, dropout: Dropout { rate, stream } } => {
                let (x, xl) = inputs.map(*x);
                gate::dropout(run.isa, run.draws, *stream, *rate, x, xl, value, slot.layout);
            }
            Action::ScaleImages { x, gate } => {
                let (x, xl) = inputs.map(*x);
                gate::scale_images(run.isa, x, xl, &run.gates[*gate], value, slot.layout);
            }
            Action::Load => {
                let len = slot.layout.pixels() * slot.layout.c;
                rearrange::to_map(&run.images[run.group * len..][..len], value, slot.layout);
            }
            Action::Int8(action) => action.run(run.isa, run.images, inputs, value, &slot),
            Action::LoadSeed => rearrange::to_map(run.seed, value, slot.layout),
            Action::Loss { logits } => {
                let (logits, layout) = inputs.map(*logits);
                let smoothing = run.label_smoothing;
                let (compares, targets) = (run.compares, run.targets);
                run.loss = loss::cross_entropy(compares, logits, targets, layout.c, smoothing, Some(value));
            }
            Action::Moments { x, norm, known, sums } => {
                let of = Moments {
                    isa: run.isa,
                    x: inputs.map(*x),
                    known: inputs.optional(*known).map(|(rows, layout)| (rows, layout.c / MOMENT_ROWS)),
                    sums: sums.as_ref().map(|place| &run.scratch[place.clone()]),
                };
                of.run(norm, run.store, run.norm_momentum, value);
            }
            Action::NormSums { dy, mask, x, moments, sums } => {
                let layout = run.plan.slot(*x).layout;
                let rows = |index: usize| inputs.row(*moments, index, layout.c);
                let (mean, inv_std) = (rows(0), rows(2));
                let (found, coefficients) = value.split_at_mut(2 * layout.c);
                if let Some(place) = sums {
                    // The maps may be gone.
                    conv::norm_backward_sums(&run.scratch[place.clone()], inv_std, found);
                } else {
                    let ((dy, dyl), (x, xl), mask) =
                        (inputs.map(*dy), inputs.map(*x), inputs.optional(*mask));
                    norm::norm_backward_sums(run.isa, dy, dyl, mask, x, xl, mean, inv_std, found);
                }
                gradient_coefficients(found, [mean, inv_std, rows(3)], layout.pixels(), coefficients);
            }
            _ => {
                let Run { isa, store, packed, scratch, .. } = run;
                let mut memory = FilterMemory { store, packed, scratch };
                self.run_for_value(*isa, &mut memory, inputs, value, slot.layout);
            }
        }
    }

    /// Whether the value holds gradients of parameters.
    fn makes_gradients(&self) -> bool {
        let action = &self.action;
        matches!(
            action,
            Action::ConvBackwardWeights { .. } | Action::BiasBackward { .. } | Action::NormSums { .. }
        )
    }

    /// What is left of a step whose own computation belongs to a dropped branch.
    fn pass_residual(
        &self,
        isa: Isa,
        closed: Option<WhenClosed>,
        inputs: Inputs<'_>,
        out: &mut [f32],
        layout: MapLayout,
    ) {
        let (residual, relu, mask) = match &self.action {
            Action::Conv { residual, relu, .. }
            | Action::Affine { residual, relu, .. }
            | Action::Mul { residual, relu, .. } => (*residual, *relu, None),
            Action::ConvBackwardData { residual, mask, .. } => (*residual, false, *mask),
            Action::NormBackward { residual, .. } => (*residual, false, None),
            Action::Add { relu, .. } => (None, *relu, None),
            _ => (None, false, None),
        };
        let operand = if let Some(WhenClosed::Copy(other)) = closed { Some(other) } else { residual };
        let Some((x, xl)) = inputs.optional(operand) else { unreachable!("{} adds nothing", self.name) };
        match inputs.optional(mask) {
            Some((y, yl)) => elementwise::relu_backward(isa, x, xl, y, yl, None, out, layout),
            None if relu => elementwise::relu(isa, x, xl, out, layout),
            None => elementwise::copy(isa, x, xl, out, layout),
        }
    }

    /// Runs a step that makes its value of others and of what is stored.
    fn run_for_value(
        &self,
        isa: Isa,
        memory: &mut FilterMemory<'_>,
        inputs: Inputs<'_>,
        out: &mut [f32],
        layout: MapLayout,
    ) {
        let store = memory.store;
        match &self.action {
            Action::Conv { .. } | Action::ConvBackwardData { .. } | Action::ConvBackwardWeights { .. } => {
                self.run_conv(memory, inputs, out);
            }
            Action::BiasBackward { dy } => {
                let (dy, layout) = inputs.map(*dy);
                norm::column_sums(isa, dy, layout, out);
            }
            Action::Affine { x, coefficients, residual, relu } => {
                let (x, xl) = inputs.map(*x);
                let [scale, shift] = coefficients.of(store, inputs, xl.c);
                norm::affine(isa, x, xl, scale, shift, inputs.residual(*residual), *relu, out, layout);
            }
            Action::NormBackward { dy, mask, x, sums, residual } => {
                let ((dy, dyl), (x, xl)) = (inputs.map(*dy), inputs.map(*x));
                let [a, b, d] = [2, 3, 4].map(|row| inputs.row(*sums, row, xl.c));
                let (mask, residual) = (inputs.optional(*mask), inputs.residual(*residual));
                norm::norm_backward_apply(isa, dy, dyl, mask, x, xl, a, b, d, residual, None, out, layout);
            }
            Action::Relu { x } => {
                let (x, xl) = inputs.map(*x);
                elementwise::relu(isa, x, xl, out, layout);
            }
            Action::ReluBackward { dy, y } => {
                let ((dy, dyl), (y, yl)) = (inputs.map(*dy), inputs.map(*y));
                elementwise::relu_backward(isa, dy, dyl, y, yl, None, out, layout);
            }
            Action::Copy { x } => {
                let (x, xl) = inputs.map(*x);
                elementwise::copy(isa, x, xl, out, layout);
            }
            Action::Concat { parts } => {
                for &(part, channel) in parts {
                    let (x, xl) = inputs.map(part);
                    let layout = MapLayout { c: xl.c, ..layout };
                    elementwise::copy(isa, x, xl, &mut out[channel..], layout);
                }
            }
            Action::Mul { x, gate, residual, relu } => {
                let ((x, xl), (g, gl)) = (inputs.map(*x), inputs.map(*gate));
                gate::mul(isa, x, xl, g, gl, inputs.residual(*residual), *relu, out, layout);
            }
            Action::MulBackward { dy, x } => {
                let ((dy, dyl), (x, xl)) = (inputs.map(*dy), inputs.map(*x));
                gate::mul_backward(isa, dy, dyl, x, xl, out, layout);
            }
            Action::Sigmoid { x } => {
                let (x, xl) = inputs.map(*x);
                gate::sigmoid(x, xl, out, layout);
            }
            Action::SigmoidBackward { dy, y } => {
                let ((dy, dyl), (y, yl)) = (inputs.map(*dy), inputs.map(*y));
                gate::sigmoid_backward(isa, dy, dyl, y, yl, out, layout);
            }
            Action::Add { a, b, relu } => {
                let ((a, al), (b, bl)) = (inputs.map(*a), inputs.map(*b));
                elementwise::add(isa, a, al, b, bl, *relu, out, layout);
            }
            _ => self.run_pool(isa, inputs, out, layout),
        }
    }

    /// Runs a convolution or one of its gradients.
    fn run_conv(&self, memory: &mut FilterMemory<'_>, inputs: Inputs<'_>, out: &mut [f32]) {
        let store = memory.store;
        match &self.action {
            Action::Conv { kernel, x, norm, filters, bias, residual, relu, sums } => {
                let epilogue = Epilogue {
                    bias: bias.as_ref().map(|place| &store[place.clone()]),
                    residual: inputs.residual(*residual),
                    relu: *relu,
                    ..Epilogue::default()
                };
                let (mut memory, sums) = memory.split(sums.as_ref());
                let pack = |w: &[f32], packed: &mut [f32]| kernel.pack(w, packed);
                let filters = filters.pack(&mut memory, kernel.packed_len(), pack);
                let (x, layout) = inputs.map(*x);
                let norm = norm.as_ref().map(|norm| norm.of(store, inputs, layout.c));
                kernel.run_with(x, filters, &epilogue, out, Extras { norm, sums });
            }
            Action::ConvBackwardData { kernel, dy, filters, residual, mask, norm } => {
                let epilogue = Epilogue {
                    residual: inputs.residual(*residual),
                    mask: inputs.optional(*mask),
                    ..Epilogue::default()
                };
                let (mut memory, sums) = memory.split(norm.as_ref().map(|norm| &norm.sums));
                let pack = |w: &[f32], packed: &mut [f32]| kernel.pack(w, packed);
                let filters = filters.pack(&mut memory, kernel.packed_len(), pack);
                let norm = norm.as_ref().map(|norm| norm.output(inputs));
                kernel.run_with(inputs.map(*dy).0, filters, &epilogue, out, norm.as_ref().zip(sums));
            }
            Action::ConvBackwardWeights { kernel, x, norm, dy } => {
                let scratch = &mut memory.scratch[..kernel.scratch_len()];
                let (x, layout) = inputs.map(*x);
                let norm = norm.as_ref().map(|norm| norm.of(store, inputs, layout.c));
                kernel.run_with(x, norm, inputs.map(*dy).0, scratch, out);
            }
            action => unreachable!("{action:?} is no convolution"),
        }
    }

    /// Runs a step that moves between resolutions.
    fn run_pool(&self, isa: Isa, inputs: Inputs<'_>, out: &mut [f32], layout: MapLayout) {
        match &self.action {
            Action::MaxPool { x, shape } => {
                let (x, xl) = inputs.map(*x);
                pool::max_pool(isa, x, xl, shape, out, layout);
            }
            Action::MaxPoolBackward { dy, x, shape } => {
                let ((dy, dyl), (x, xl)) = (inputs.map(*dy), inputs.map(*x));
                pool::max_pool_backward(isa, dy, dyl, x, xl, shape, out, layout);
            }
            Action::AvgPool { x, shape, count_padding } => {
                let (x, xl) = inputs.map(*x);
                pool::avg_pool(isa, x, xl, shape, *count_padding, out, layout);
            }
            Action::AvgPoolBackward { dy, shape, count_padding } => {
                let (dy, dyl) = inputs.map(*dy);
                pool::avg_pool_backward(isa, dy, dyl, shape, *count_padding, out, layout);
            }
            Action::GlobalAvgPool { x } => {
                let (x, xl) = inputs.map(*x);
                pool::global_avg_pool(isa, x, xl, out, layout);
            }
            Action::GlobalAvgPoolBackward { dy } => {
                let (dy, dyl) = inputs.map(*dy);
                pool::global_avg_pool_backward(dy, dyl, out, layout);
            }
            Action::Blur { x, shape } => {
                let (x, xl) = inputs.map(*x);
                pool::blur(isa, x, xl, shape, out, layout);
            }
            Action::BlurBackward { dy, shape } => {
                let (dy, dyl) = inputs.map(*dy);
                pool::blur_backward(isa, dy, dyl, shape, out, layout);
            }
            Action::SubsamplePad { x, stride, before } => {
                let (x, xl) = inputs.map(*x);
                rearrange::subsample_pad(x, xl, *stride, *before, out, layout);
            }
            Action::SubsamplePadBackward { dy, stride, before } => {
                let (dy, dyl) = inputs.map(*dy);
                rearrange::subsample_pad_backward(dy, dyl, *stride, *before, out, layout);
            }
            action => unreachable!("{action:?} makes no value this way"),
        }
    }
}

/// The mean and the variance of every channel over a batch.
struct Moments<'a> {
    isa: Isa,
    x: (&'a [f32], MapLayout),
    /// The rows of the first channels, and how many these are.
    known: Option<(&'a [f32], usize)>,
    /// What the convolution that made the others has summed.
    sums: Option<&'a [f32]>,
}

impl Moments<'_> {
    /// Writes the rows mean, variance, 1/√(variance + eps), scale and shift, and moves the running statistics.
    fn run(&self, places: &NormPlaces, store: &mut [f32], momentum: f32, rows: &mut [f32]) {
        let layout = self.x.1;
        let c = layout.c;
        let (mean, rest) = rows.split_at_mut(c);
        let (var, rest) = rest.split_at_mut(c);
        self.take(mean, var);
        for channel in 0..c {
            let inv_std = 1.0 / (var[channel] + places.eps).sqrt();
            let scale = store[places.weight.start + channel] * inv_std;
            rest[channel] = inv_std;
            rest[c + channel] = scale;
            rest[2 * c + channel] = store[places.bias.start + channel] - mean[channel] * scale;
        }
        // PyTorch keeps the unbiased variance.
        let count = layout.pixels() as f32;
        let unbiased = count / (count - 1.0);
        for channel in 0..c {
            let running_mean = &mut store[places.running_mean.start + channel];
            *running_mean += momentum * (mean[channel] - *running_mean);
            let running_var = &mut store[places.running_var.start + channel];
            *running_var += momentum * (var[channel] * unbiased - *running_var);
        }
    }

    /// Writes mean and variance, from the map itself only where there is nothing else.
    fn take(&self, mean: &mut [f32], var: &mut [f32]) {
        let (x, layout) = self.x;
        let first = self.known.map_or(0, |(_, channels)| channels);
        if let Some((rows, _)) = self.known {
            mean[..first].copy_from_slice(&rows[..first]);
            var[..first].copy_from_slice(&rows[first..2 * first]);
        }
        let (mean, var) = (&mut mean[first..], &mut var[first..]);
        if let Some(sums) = self.sums {
            conv::moments(sums, mean, var);
        } else if first < layout.c {
            norm::moments(self.isa, &x[first..], MapLayout { c: layout.c - first, ..layout }, mean, var);
        }
    }
}

impl InputNorm {
    fn of<'a>(&self, store: &'a [f32], inputs: Inputs<'a>, c: usize) -> Normalization<'a> {
        let [scale, shift] = self.coefficients.of(store, inputs, c);
        Normalization { scale, shift, relu: self.relu }
    }
}

impl GradientSums {
    fn output<'a>(&self, inputs: Inputs<'a>) -> NormOutput<'a> {
        let x = inputs.map(self.x);
        let row = |index| inputs.row(self.moments, index, x.1.c);
        NormOutput { x, mean: row(0), relu: self.relu.then(|| [3, 4].map(row)) }
    }
}

/// The coefficients of `dx = a·g + b·x + d`, row by row, from the sums over `pixels` and the rows mean, 1/√(variance + eps)
/// and scale of the moments.
fn gradient_coefficients(
    sums: &[f32],
    [mean, inv_std, scale]: [&[f32]; 3],
    pixels: usize,
    coefficients: &mut [f32],
) {
    let (c, count) = (mean.len(), pixels as f32);
    for channel in 0..c {
        let b = -scale[channel] * inv_std[channel] * sums[c + channel] / count;
        coefficients[channel] = scale[channel];
        coefficients[c + channel] = b;
        coefficients[2 * c + channel] = -scale[channel] * sums[channel] / count - b * mean[channel];
    }
}
