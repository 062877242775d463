//! From a network and its weights to another network that computes the same.
//!
//! All functions take a graph with its weights and return both. Nodes are recognised by what they compute,
//! never by their names. Arithmetic is in `f64` and every number is rounded to `f32` once, at the end. All
//! statements hold in evaluation mode.
//!
//! - [`fold_norm`]: batch norm goes into the convolution before it.
//! - [`fold_residual`]: residual units become plain layers that carry the shortcut in extra channels.
//! - [`unfold`]: plain nets get a residual form; [`deepen`]: blocks that compute the identity.

mod assembler;
mod deepen;
mod element;
mod error;
mod fold;
mod layer;
mod matrix;
mod norm;
mod shortcut;
mod source;
mod unfold;

pub use deepen::{Moments, deepen, stage_ends};
pub use element::{Element, Rewritten};
pub use error::RewriteError;
pub use fold::{fold_residual, fold_residual_as};
pub use norm::{fold_norm, fold_norm_as};
pub use unfold::{Form, unfold, unfold_as};
