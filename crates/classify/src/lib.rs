//! A network that answers: model files, prediction, evaluation.
//!
//! The path through the crate: [`load_model`] turns what a user calls MODEL (a run folder, a model file of
//! ours, a foreign file with a name) into a [`Loaded`] network with weights, preparation and class names; a
//! [`Classifier`] compiles it and answers, for single pictures with [`Classifier::predict`] and for a
//! labelled data set with [`Classifier::evaluate`], or several together with [`evaluate`]. [`ModelFile`] is what is written to the disk.
#![forbid(unsafe_code)]

mod agreement;
mod classes;
mod classifier;
mod error;
mod evaluation;
mod load;
mod model_file;
mod score;

pub use agreement::Agreement;
pub use classes::{are_numbers, correspondence, numbers};
pub use classifier::{Classifier, Prediction, read_image};
pub use error::{ClassifyError, Result};
pub use evaluation::{ClassResult, EvaluateOptions, Evaluation, Evaluations, Positions, Progress, evaluate};
pub use load::{Head, LoadOptions, Loaded, load_model, stored_model};
pub use model_file::{ModelFile, ModelInfo};
pub use score::Average;
