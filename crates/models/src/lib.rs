//! The papers' networks as code, one file a paper, and the registry of their names.
//!
//! The path through the crate: [`build`] finds a name such as `cifar_resnet20` among the [`entries`] and
//! makes a [`Model`], whose graph the module of its paper writes ([`resnet`], [`preact`], [`wide`],
//! [`densenet`], [`stochastic`], [`kin`] …); [`initialise`] gives its weights their
//! start values, and [`match_names`] compares a file's tensors with its parameters. [`formula`] makes
//! weights from their names alone, for checks against a reference.
#![forbid(unsafe_code)]

pub mod bag_of_tricks;
mod block;
pub mod blur_pool;
pub mod densenet;
mod error;
pub mod formula;
mod glob;
mod hash;
mod init;
pub mod kin;
mod names;
pub mod preact;
mod registry;
pub mod resnet;
pub mod resnetv2;
pub mod resnext;
pub mod squeeze_excite;
pub mod stochastic;
pub mod wide;

pub use error::ModelError;
pub use glob::glob_matches;
pub use init::{initialise, zero_last_norm};
pub use names::{Difference, MatchError, Matching, fitting, head_params, match_names};
pub use registry::{Entry, Family, Model, build, entries, find, matching, small_image_warning};
