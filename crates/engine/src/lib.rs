//! From a graph to answers: compiles a network for one size of batch and runs it on the CPU.
//!
//! ```text
//! graph ─▶ fuse ─▶ lower ─▶ plan ─▶ Inference::run / Training::step
//!          groups  steps    one arena
//! ```
//!
//! [`Engine`] holds the threads and the instruction set and compiles; [`Inference`] answers; [`Training`]
//! does whole steps: forward, backward, update; [`Sensitivity`]
//! follows gradients of any layer back to others. [`mod@reference`] evaluates the same graphs node by node
//! with the plain kernels, in `f64` if wanted: what everything else here is compared with.
#![forbid(unsafe_code)]

mod engine;
mod error;
mod fuse;
mod gates;
mod geometry;
mod inference;
mod int8;
mod lower;
mod memory;
mod norms;
mod optimiser;
mod plan;
mod profile;
mod program;
pub mod reference;
mod seats;
mod sensitivity;
mod stages;
mod step;
mod threads;
mod training;

pub use engine::{Engine, EngineOptions, InputShape};
pub use error::EngineError;
pub use geometry::{ConvLayers, conv_layers};
pub use inference::Inference;
pub use lower::calibrated;
pub use optimiser::{OptimiserKind, OptimiserStep};
pub use plan::PlanSummary;
pub use profile::{Cost, StepTime};
pub use residuum_graph::ReluRule;
pub use residuum_kernels::conv::ConvAlgorithm;
pub use residuum_kernels::loss::{Loss, Mixed, Targets};
pub use residuum_kernels::{ConvShape, Draws, Isa, LambStep, SgdStep, peak, trial};
pub use sensitivity::{Sensitivity, SensitivityOptions};
pub use threads::Threads;
pub use training::{Decay, Recompute, StepResult, Training, TrainingOptions};
