//! Parameters: named tensors that a network owns, and how they start.

use std::collections::BTreeMap;

use residuum_tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Values of parameters by name, in PyTorch's layouts.
pub type Weights = BTreeMap<String, Tensor>;

/// What a parameter is for. It decides whether it is learned, decayed and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Filters of a convolution, OIHW.
    ConvWeight,
    /// Matrix of a linear layer, `[out, in]`.
    LinearWeight,
    /// Bias of a convolution or linear layer.
    Bias,
    /// Scale of a batch norm (PyTorch's `weight`).
    NormWeight,
    /// Shift of a batch norm (PyTorch's `bias`).
    NormBias,
    /// Running mean of a batch norm.
    RunningMean,
    /// Running variance of a batch norm.
    RunningVar,
}

impl Role {
    /// True for what gradient descent changes; running statistics are measured instead.
    pub const fn is_learned(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVar)
    }
}

/// The number that a filter's spread is scaled by (He et al. 2015, "Delving deep into rectifiers", §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fan {
    /// Inputs to one output: `c_in · k · k`, Caffe's default.
    In,
    /// Outputs that one input reaches: `c_out · k · k`, torchvision's choice.
    Out,
}

/// Start value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Every element the same.
    Constant(f32),
    /// Normal with mean 0 and standard deviation `sqrt(2 / fan)`.
    HeNormal(Fan),
    /// Uniform on `[low, high)`.
    Uniform {
        /// Least value.
        low: f32,
        /// Bound from above.
        high: f32,
    },
}

/// A named tensor of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// PyTorch's name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// How it starts.
    pub init: Init,
}

impl Param {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True where a side of the shape is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inputs to one output, for filters and matrices: the product of all sides but the first.
    pub fn fan_in(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Outputs that one input reaches, for filters and matrices.
    pub fn fan_out(&self) -> usize {
        self.shape.first().copied().unwrap_or(1) * self.shape.iter().skip(2).product::<usize>()
    }
}
