//! Networks as data.
//!
//! A [`Graph`] is a list of nodes in topological order, each an operation of the closed set [`Op`] with
//! its inputs and the name that PyTorch would give it; parameters are named tensors in PyTorch's layouts.
//! Whatever is done with a network (training, inference, counting, drawing) is a function of this list.
//!
//! The path through the crate: [`Builder`] makes a graph, [`Graph::extents`] fixes its spatial sizes,
//! [`Graph::count`] counts it, [`Graph::differentiate`] turns it into the graph of one training step,
//! [`Graph::with_drop_path`] into a network whose branches are dropped in training,
//! [`Graph::fully_convolutional`] into one that answers at every position of a large image, and
//! [`Graph::outline`] finds stages, blocks and shortcuts in it, [`Graph::to_text`] and [`Graph::to_dot`] print it; [`Graph::to_json`] and [`Graph::from_json`] store it, and
//! [`rewrite`] makes other networks of it.
#![forbid(unsafe_code)]

mod builder;
mod count;
mod differentiate;
mod drop_path;
mod error;
mod extent;
mod fully_convolutional;
mod graph;
mod op;
mod outline;
mod param;
mod print;
mod quantization;
mod receptive;
mod residual;
pub mod rewrite;
mod text;
mod verify;

pub use builder::{Builder, ConvSpec, NormSpec};
pub use count::{Counts, NodeCounts};
pub use differentiate::{
    Differentiation, ParamGradient, ReluRule, Sensitivities, SensitivityGraph, TrainingGraph,
};
pub use error::GraphError;
pub use graph::{Graph, Kind, Node, NodeId, ParamId};
pub use op::{AvgPool, BatchNorm, Blur, Conv2d, DropPath, DropRule, Dropout, Linear, MaxPool, Op};
pub use outline::{Arc, Outline, Part, Stage, StageRole, Step, StepKind};
pub use param::{Fan, Init, Param, Role, Weights};
pub use quantization::{LARGEST_WEIGHT, Quantization, multiple};
pub use receptive::ReceptiveField;
pub use residual::Block;
