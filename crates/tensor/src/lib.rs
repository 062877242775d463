//! The ground that every other crate stands on: element types, shapes, aligned buffers, tensors in
//! PyTorch's order, and the rule by which the engine's activation maps are laid out in memory.
#![forbid(unsafe_code)]

mod aligned;
mod dtype;
mod layout;
mod quantizer;
mod tensor;

pub use aligned::{AlignedBuffer, bytes, bytes_mut, floats};
pub use dtype::DType;
pub use layout::MapLayout;
pub use quantizer::Quantizer;
pub use tensor::{ShapeError, SharedElements, Tensor, element_count};
