//! The oracles: every operation and every gradient as a simple safe loop over dense NCHW slices.
//!
//! They define what the fast kernels must compute, in `f32` or `f64`. Results do not depend on the number
//! of threads: work is divided by planes of the output and each sum is added up in one fixed order.
//! Outputs are overwritten, whatever they held. A slice whose length does not fit its shape is a
//! programming error: every function here panics with the slice's name, the length and the one expected.

mod conv;
mod elementwise;
mod gate;
mod lamb;
mod linear;
mod loss;
mod norm;
mod pool;
mod real;
mod sgd;

pub use conv::{conv2d, conv2d_backward_data, conv2d_backward_weights};
pub use elementwise::{
    add, pad_channels, pad_channels_backward, relu, relu_backward, subsample, subsample_backward,
};
pub use gate::{
    concat, dropout, mul, mul_backward, scale, scale_images, sigmoid, sigmoid_backward, slice_channels,
};
pub use lamb::lamb_step;
pub use linear::{linear, linear_backward_bias, linear_backward_data, linear_backward_weights};
pub use loss::{softmax_cross_entropy, softmax_cross_entropy_backward};
pub use norm::{
    affine_norm, affine_norm_backward, channel_sums, moments, normalize, normalize_backward,
    normalize_backward_sums,
};
pub use pool::{
    avg_pool, avg_pool_backward, blur, blur_backward, global_avg_pool, global_avg_pool_backward, max_pool,
    max_pool_backward,
};
pub use real::Real;
pub use sgd::sgd_step;
