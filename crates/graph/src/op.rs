//! The closed set of operations.
//!
//! The first group is what networks are written in; the second appears only in graphs that
//! differentiation made. Formulas and layouts are PyTorch's.

use serde::{Deserialize, Serialize};

use crate::graph::{NodeId, ParamId};

/// A convolution: `[n, c_in, h, w]` to `[n, c_out, h', w']`, filters OIHW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Filters.
    pub weight: ParamId,
    /// One number for each output channel.
    pub bias: Option<ParamId>,
    /// Channels read.
    pub c_in: usize,
    /// Channels made.
    pub c_out: usize,
    /// Rows and columns of a filter.
    pub kernel: [usize; 2],
    /// Steps between windows.
    pub stride: [usize; 2],
    /// Zeros around the map.
    pub padding: [usize; 2],
    /// Distance of a filter's neighbouring taps.
    pub dilation: [usize; 2],
    /// Independent groups of channels.
    pub groups: usize,
}

/// Batch normalisation over all positions of a channel (Ioffe & Szegedy 2015).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Scale.
    pub weight: ParamId,
    /// Shift.
    pub bias: ParamId,
    /// Mean used in evaluation.
    pub running_mean: ParamId,
    /// Variance used in evaluation.
    pub running_var: ParamId,
    /// Added to the variance.
    pub eps: f32,
    /// Channels.
    pub channels: usize,
}

/// Maximum over windows; what lies outside the map never wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool {
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Steps between windows.
    pub stride: [usize; 2],
    /// Positions outside the map that windows may start at.
    pub padding: [usize; 2],
    /// Round the number of windows up (Caffe) instead of down.
    pub ceil: bool,
}

/// Mean over windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool {
    /// The windows.
    pub window: MaxPool,
    /// Divide by the whole window, padding included (PyTorch's default).
    pub count_include_pad: bool,
}

/// `y = W x + b` on `[n, in]`, the matrix `[out, in]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Matrix.
    pub weight: ParamId,
    /// One number for each output.
    pub bias: Option<ParamId>,
    /// Numbers read.
    pub inputs: usize,
    /// Numbers made.
    pub outputs: usize,
}

/// Inverted dropout (Hinton et al. 2012): in training every element is zero with probability `rate` and
/// otherwise divided by `1 - rate`; in evaluation the identity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability of zero.
    pub rate: f32,
    /// Tells the random numbers of this node from those of the others.
    pub stream: u32,
}

/// How the branch of a residual block is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropRule {
    /// Huang et al. 2016, "Deep networks with stochastic depth", §3: one draw for the mini-batch; a dropped
    /// branch is not computed, a surviving one is used as it is, and evaluation multiplies by the
    /// probability of survival.
    Paper,
    /// One draw for the mini-batch; a survivor is divided by the probability of survival, and evaluation
    /// uses the branch as it is.
    Batch,
    /// As [`DropRule::Batch`] with one draw for every image.
    Sample,
}

/// Stochastic depth of one residual branch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropPath {
    /// Probability that the branch survives.
    pub survival: f32,
    /// What is drawn, and how it is compensated.
    pub rule: DropRule,
    /// Tells the random numbers of this node from those of the others.
    pub stream: u32,
}

impl DropPath {
    /// Whether evaluation uses the branch as it is.
    pub const fn is_identity_in_evaluation(&self) -> bool {
        matches!(self.rule, DropRule::Batch | DropRule::Sample)
    }

    /// What evaluation multiplies the branch by.
    pub const fn evaluation_factor(&self) -> f32 {
        match self.rule {
            DropRule::Paper => self.survival,
            DropRule::Batch | DropRule::Sample => 1.0,
        }
    }
}

/// A fixed low-pass filter before subsampling (Zhang 2019, "Making convolutional networks shift-invariant
/// again"): the outer product of binomial coefficients, channel by channel, on a map that is padded by
/// reflection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blur {
    /// Side of the filter.
    pub size: usize,
    /// Step between windows.
    pub stride: usize,
}

impl Blur {
    /// Pixels of reflection around the map.
    pub const fn padding(&self) -> usize {
        (self.stride - 1 + self.size - 1) / 2
    }
}

/// An operation. Inputs are listed in the order in which a node holds them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The batch of images.
    Input,
    /// Convolution of the map.
    Conv2d(Conv2d),
    /// Normalisation by the running statistics; differentiation replaces it by [`Op::Moments`] and
    /// [`Op::Normalize`] unless it is frozen.
    BatchNorm(BatchNorm),
    /// `max(x, 0)`.
    Relu,
    /// Sum of two values of the same shape.
    Add,
    /// Maximum over windows.
    MaxPool(MaxPool),
    /// Mean over windows.
    AvgPool(AvgPool),
    /// Mean over all positions: `[n, c, h, w]` to `[n, c]`.
    GlobalAvgPool,
    /// Every `stride`-th row and column, from the first.
    Subsample {
        /// Distance of the rows and columns kept.
        stride: usize,
    },
    /// Channels of zeros before and after the given ones.
    PadChannels {
        /// Channels added before.
        before: usize,
        /// Channels added after.
        after: usize,
    },
    /// Matrix product.
    Linear(Linear),
    /// `factor · x + offset`.
    Scale {
        /// Multiplies.
        factor: f32,
        /// Is added.
        offset: f32,
    },
    /// Product of a map and a gate with the same channels: `x`, gate. A gate of one pixel applies to all.
    Mul,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The channels of all inputs, one input after the other.
    Concat,
    /// A map of one pixel as a vector, or the other way round.
    Flatten,
    /// The identity; differentiation replaces it by [`Op::Mask`].
    Dropout(Dropout),
    /// [`DropPath::evaluation_factor`] times the branch; differentiation replaces it by [`Op::Gate`].
    DropPath(DropPath),
    /// Fixed low-pass filter and subsampling.
    Blur(Blur),

    /// The gradient of the value whose sensitivities are asked for: given from outside.
    Seed {
        /// The value.
        like: NodeId,
    },
    /// Dropout as training does it, and its own gradient: the mask depends on stream and step only.
    Mask(Dropout),
    /// Stochastic depth as training does it, and its own gradient.
    Gate(DropPath),
    /// Mean and biased variance of each channel of the batch: `x` to `[2, c]`.
    Moments(BatchNorm),
    /// Batch norm by the batch's own statistics: `x`, moments.
    Normalize(BatchNorm),
    /// Mean cross-entropy of softmax against the labels: logits to a scalar.
    CrossEntropy,
    /// Gradient of [`Op::CrossEntropy`]: logits.
    CrossEntropyBackward,
    /// Gradient with respect to a convolution's input: `dy`.
    ConvBackwardData {
        /// The convolution.
        conv: Conv2d,
        /// Its input, for the size only.
        like: NodeId,
    },
    /// Gradient with respect to a convolution's filters: `x`, `dy`.
    ConvBackwardWeights(Conv2d),
    /// Gradient with respect to a bias: the sum of `dy` over everything but channels.
    BiasBackward {
        /// The bias.
        bias: ParamId,
    },
    /// Gradient with respect to a linear layer's input: `dy`.
    LinearBackwardData(Linear),
    /// Gradient with respect to a linear layer's matrix: `x`, `dy`.
    LinearBackwardWeights(Linear),
    /// `[Σ dy, Σ dy·x̂]` of each channel, the gradients of shift and scale: `dy`, `x`, moments.
    NormalizeBackwardSums(BatchNorm),
    /// Gradient with respect to the input of [`Op::Normalize`]: `dy`, `x`, moments, sums.
    NormalizeBackward(BatchNorm),
    /// Gradient through a frozen batch norm, a constant scale: `dy`.
    BatchNormBackward(BatchNorm),
    /// `dy` where the ReLU's output is positive, else 0: `dy`, `y`.
    ReluBackward,
    /// Gradient of a maximum pool: `dy`, `x`. The first of equal maxima takes all.
    MaxPoolBackward(MaxPool),
    /// Gradient of an average pool: `dy`.
    AvgPoolBackward {
        /// The pool.
        pool: AvgPool,
        /// Its input, for the size only.
        like: NodeId,
    },
    /// Gradient of the global mean: `dy`.
    GlobalAvgPoolBackward {
        /// The pool's input, for the size only.
        like: NodeId,
    },
    /// Gradient of a subsampling, zero between the kept positions: `dy`.
    SubsampleBackward {
        /// Distance of the rows and columns kept.
        stride: usize,
        /// The subsampling's input, for the size only.
        like: NodeId,
    },
    /// Gradient of a gate: `dy`, `x`; the sum over all pixels where the gate has one pixel.
    MulBackward {
        /// The gate, for the size only.
        like: NodeId,
    },
    /// Gradient of a sigmoid: `dy`, `y`.
    SigmoidBackward,
    /// Some of the channels: the gradient of one input of a concatenation.
    SliceChannels {
        /// First channel taken.
        start: usize,
    },
    /// Gradient of a blur: `dy`.
    BlurBackward {
        /// The blur.
        blur: Blur,
        /// Its input, for the size only.
        like: NodeId,
    },
    /// Gradient of a channel padding: the carried channels of `dy`.
    PadChannelsBackward {
        /// Channels dropped before.
        before: usize,
        /// Channels dropped after.
        after: usize,
    },
}

impl Op {
    /// Name of the operation in prints and profiles.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Conv2d(_) => "conv",
            Self::BatchNorm(_) => "batch norm",
            Self::Relu => "relu",
            Self::Add => "add",
            Self::MaxPool(_) => "max pool",
            Self::AvgPool(_) => "average pool",
            Self::GlobalAvgPool => "global average pool",
            Self::Subsample { .. } => "subsample",
            Self::PadChannels { .. } => "pad channels",
            Self::Linear(_) => "linear",
            Self::Scale { .. } => "scale",
            Self::Mul => "multiply",
            Self::Sigmoid => "sigmoid",
            Self::Concat => "concat",
            Self::Flatten => "flatten",
            Self::Dropout(_) => "dropout",
            Self::DropPath(_) => "drop path",
            Self::Blur(_) => "blur",
            Self::Seed { .. } => "seed",
            Self::Mask(_) => "dropout mask",
            Self::Gate(_) => "drop path gate",
            Self::Moments(_) => "moments",
            Self::Normalize(_) => "normalize",
            Self::CrossEntropy => "cross entropy",
            Self::CrossEntropyBackward => "cross entropy backward",
            Self::ConvBackwardData { .. } => "conv backward data",
            Self::ConvBackwardWeights(_) => "conv backward weights",
            Self::BiasBackward { .. } => "bias backward",
            Self::LinearBackwardData(_) => "linear backward data",
            Self::LinearBackwardWeights(_) => "linear backward weights",
            Self::NormalizeBackwardSums(_) => "normalize backward sums",
            Self::NormalizeBackward(_) => "normalize backward",
            Self::BatchNormBackward(_) => "batch norm backward",
            Self::ReluBackward => "relu backward",
            Self::MaxPoolBackward(_) => "max pool backward",
            Self::AvgPoolBackward { .. } => "average pool backward",
            Self::GlobalAvgPoolBackward { .. } => "global average pool backward",
            Self::SubsampleBackward { .. } => "subsample backward",
            Self::MulBackward { .. } => "multiply backward",
            Self::SigmoidBackward => "sigmoid backward",
            Self::SliceChannels { .. } => "slice channels",
            Self::BlurBackward { .. } => "blur backward",
            Self::PadChannelsBackward { .. } => "pad channels backward",
        }
    }
}
