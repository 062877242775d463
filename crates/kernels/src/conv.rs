//! Convolution and its two gradients, `f32`, over NHWC maps with a zero border.
//!
//! Forward pass and gradient of the input are one matrix product whose left factor is never built: with the
//! border in place, a row of it (the window of one pixel) is a few runs of contiguous floats of the map.
//!
//! ```text
//! task       = rows (pixels) x panels (16 or more output channels)      threads share the tasks
//!   chunk    of at most 256 steps of the sum; partial sums wait in the output
//!     panel  of packed weights, small enough for the first-level cache
//!       tile of 6 rows x 16 columns (AVX2), held in registers; the last chunk adds the epilogue
//! ```
//!
//! The gradient of the weights is the product summed over pixels; see [`ConvBackwardWeights`].
//!
//! Windows of 3 x 3 at a stride of 1 can also be computed with fewer multiplications and four times the memory
//! for filters, by Winograd's minimal filtering; forward and for the gradient of the weights so can windows of 3 x 3 and
//! 7 x 7 at a stride of 2, with more memory for filters. Its rounding is several times that of the sums as they are
//! defined, and still of the order of 1e-6. [`ConvAlgorithm`] says whether that is wanted.
//!
//! Windows of one pixel can be computed with an eighth fewer multiplications by Strassen's algorithm; their rounding is about twice
//! that of the sums as they are defined.
//!
//! Where the input holds many zeros, a forward pass can leave their products out, in the order of the sums as they are defined or,
//! faster, in another; see [`Zeros`].
//!
//! A convolution is prepared once for its shape and layouts, its weights are packed when they change, and
//! then it runs without allocating. Every result has the same bits for any number of threads.

mod algorithm;
mod backward_data;
mod backward_weights;
mod choose;
mod forward;
mod gemm;
mod int8;
mod normalize;
mod outer;
mod reduce;
mod shape;
mod sparse;
mod strassen;
mod sums;
mod tasks;
mod tile;
mod walk;
mod way;
mod winograd;

pub use algorithm::{CONV_VARIABLE, ConvAlgorithm, UnknownAlgorithm, Zeros};
pub use backward_data::ConvBackwardData;
pub use backward_weights::ConvBackwardWeights;
pub use choose::Pass;
pub use forward::{ConvForward, Extras};
pub use gemm::Epilogue;
pub use int8::{ByteFilters, ByteFinish, ConvInt8, FloatFinish, MOST_STEPS, SLACK};
pub use normalize::Normalization;
pub use sums::{NormOutput, moments, norm_backward_sums};
pub use tasks::WorkingMemory;
#[cfg(test)]
pub(crate) use tasks::kept_by;
