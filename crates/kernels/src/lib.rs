//! The arithmetic: kernels over plain slices, written once and compiled for each instruction set.
//!
//! Activations are NHWC with a zero border ([`residuum_tensor::MapLayout`]). Threads are those of the rayon
//! pool that the caller is in; results do not depend on how many there are.
#![allow(unsafe_code)]

mod check;
pub mod conv;
mod conv_shape;
pub mod elementwise;
pub mod isa;
pub mod loss;
pub mod norm;
pub mod peak;
pub mod plain;
pub mod pool;
pub mod rearrange;
mod sgd;
mod sweep;

pub use conv_shape::ConvShape;
pub use isa::Isa;
pub use pool::PoolShape;
pub use sgd::{SgdStep, sgd_step};
