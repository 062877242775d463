//! From other programs' files to networks with weights, and back, each conversion verified by numbers.
//!
//! [`load`] takes whatever can be converted: what [`residuum_classify::load_model`] loads, and Caffe's models.
//! [`save`] writes by the file's ending, and [`verify`] reads what was written and compares its answers with
//! those of the source on random images. [`quantize`] makes a network of bytes by the look of pictures. [`caffe`] is the way from a Caffe definition to a graph. What the
//! bytes mean is known by `residuum_formats` alone.
#![forbid(unsafe_code)]

pub mod caffe;
mod error;
mod load;
mod quantize;
mod same;
mod save;
mod verify;

pub use error::{ConvertError, Result};
pub use load::{ConvertOptions, Mean, Source, load};
pub use quantize::{LayerNoise, Method, QuantizeOptions, Quantized, quantize};
pub use same::same_function;
pub use save::{Format, round, save, save_as};
pub use verify::{Verification, verify};
