//! The arithmetic: kernels over plain slices, written once and compiled for each instruction set.
//!
//! Activations are NHWC with a zero border ([`residuum_tensor::MapLayout`]). Threads are those of the [`Crew`] that
//! the caller leads, or else of the rayon pool that it is in; results do not depend on how many there are.
#![allow(unsafe_code, reason = "vector instructions, and maps that threads write in disjoint parts")]
#![allow(
    clippy::inline_always,
    reason = "a kernel and all it calls have to be compiled for one instruction set"
)]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers are unrolled, and read best with an index"
)]

mod check;
pub mod conv;
mod conv_shape;
mod crew;
pub mod elementwise;
pub mod gate;
pub mod int8;
pub mod isa;
mod lamb;
pub mod loss;
pub mod norm;
pub mod peak;
pub mod plain;
pub mod pool;
pub mod random;
pub mod rearrange;
mod sgd;
mod sweep;
pub mod trial;

pub use conv_shape::ConvShape;
pub use crew::Crew;
pub use isa::Isa;
pub use lamb::{LambStep, Parameter, euclidean_norm, lamb_step};
pub use pool::{BlurShape, PoolShape};
pub use random::Draws;
pub use sgd::{SgdStep, sgd_step};
