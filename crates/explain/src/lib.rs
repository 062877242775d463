//! Looking inside residual networks.
//!
//! A [`Subject`] is a network with its weights on an engine. Everything else here asks it questions and
//! answers in arrays; pictures are made of them elsewhere.
//!
//! | question | functions |
//! |---|---|
//! | which pixels matter | [`saliency`], [`smooth_grad`], [`integrated_gradients`], [`input_gradient`] with a [`ReluRule`], [`occlusion`] |
//! | which places matter | [`class_map`] with a [`CamMethod`] |
//! | what a unit or a class looks for | [`maximise`], [`invert`], [`Survey`] with [`UnitGradient`] |
//! | what each layer does | [`response_std`], [`channel_moments`], [`refinement`] |
//! | what each block and path contributes | [`Subject::score_without`], [`reorder`], [`path_gradient_norm`] |
//! | how far a unit sees | [`receptive_field`], [`effective_receptive_field`] |
//! | how the loss lies | [`landscape`], [`interpolation`] |
//! | how features lie | [`features`], [`Pca`], [`tsne`], [`nearest_neighbours`] |
//! | what a dense net reuses | [`connection_strength`] |
//!
//! Images are batches `[n, 3, h, w]` after normalisation; a class's score is its logit, not its probability
//! (Simonyan, Vedaldi & Zisserman 2013). Networks are in evaluation mode.
#![forbid(unsafe_code)]

mod attribution;
mod batches;
mod blocks;
mod class_map;
mod connection;
mod eigen;
mod ensemble;
mod error;
mod features;
mod landscape;
mod moments;
mod occlusion;
mod random;
mod receptive;
mod responses;
mod score;
mod stages;
mod subject;
mod survey;
mod synthesis;
mod tsne;

pub use attribution::{
    Integrated, UnitGradient, input_gradient, integrated_gradients, saliency, smooth_grad, times_input,
};
pub use blocks::{delete_blocks, identity_path_gradient, permute_modules};
pub use class_map::{CamMethod, class_map, default_layer, upsample};
pub use connection::{BlockConnections, connection_strength};
pub use ensemble::{
    interchangeable, path_count, path_gradient_norm, random_blocks, rank_correlation, reorder, shuffled_order,
};
pub use error::{ExplainError, Result};
pub use features::{Pca, feature_layer, features, nearest_neighbours};
pub use landscape::{Direction, interpolated, interpolation, landscape, shifted};
pub use moments::channel_moments;
pub use occlusion::{Patch, occlusion};
pub use random::gaussian;
pub use receptive::{effective_receptive_field, effective_side, receptive_field};
pub use residuum_engine::ReluRule;
pub use residuum_graph::{Block, ReceptiveField};
pub use responses::{Refinement, Response, refinement, response_std};
pub use score::Score;
pub use stages::{Stage, StageBlock, stages};
pub use subject::{Subject, batch_size};
pub use survey::{BEST, Excited, Survey, Surveyor};
pub use synthesis::{
    Goal, Inversion, Maximisation, Objective, Synthesised, inversion_objective, invert, maximise,
};
pub use tsne::{Tsne, tsne};
