//! Looking inside residual networks.
//!
//! A [`Subject`] is a network with its weights on an engine. Everything else here asks it questions and
//! answers in arrays; pictures are made of them elsewhere.
//!
//! | question | functions |
//! |---|---|
//! | which pixels matter | [`saliency`], [`smooth_grad`], [`integrated_gradients`], [`input_gradient`] with a [`ReluRule`], [`occlusion`] |
//! | which places matter | [`class_map`] with a [`CamMethod`] |
//! | what a unit or a class looks for | [`maximise`], [`invert`], [`strongest`] |
//! | what each layer does | [`response_std`], [`channel_moments`], [`delete_block`], [`swap_modules`], [`refinement`] |
//! | how far a unit sees | [`receptive_field`], [`effective_receptive_field`] |
//! | how the loss lies | [`landscape`] |
//! | how features lie | [`Pca`], [`tsne`], [`nearest_neighbours`] |
//! | what a dense net reuses | [`connection_strength`] |
//!
//! Images are batches `[n, 3, h, w]` after normalisation; a class's score is its logit, not its probability
//! (Simonyan, Vedaldi & Zisserman 2013). Networks are in evaluation mode.
#![forbid(unsafe_code)]

mod attribution;
mod blocks;
mod class_map;
mod connection;
mod eigen;
mod error;
mod features;
mod landscape;
mod moments;
mod occlusion;
mod random;
mod receptive;
mod responses;
mod subject;
mod synthesis;
mod tsne;

pub use attribution::{Integrated, input_gradient, integrated_gradients, saliency, smooth_grad, times_input};
pub use blocks::{Block, blocks, delete_block, identity_path_gradient, swap_modules};
pub use class_map::{CamMethod, class_map, default_layer, upsample};
pub use connection::{BlockConnections, connection_strength};
pub use error::{ExplainError, Result};
pub use features::{Pca, nearest_neighbours};
pub use landscape::{Direction, landscape, shifted};
pub use moments::channel_moments;
pub use occlusion::{Patch, occlusion};
pub use random::gaussian;
pub use receptive::{ReceptiveField, effective_receptive_field, receptive_field};
pub use residuum_engine::ReluRule;
pub use responses::{Refinement, Response, refinement, response_std, strongest};
pub use subject::Subject;
pub use synthesis::{Inversion, Maximisation, Objective, Synthesised, inversion_objective, invert, maximise};
pub use tsne::{Tsne, tsne};
