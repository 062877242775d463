//! The ground that every other crate stands on: element types, shapes, aligned buffers, tensors in
//! PyTorch's order, and the rule by which the engine's activation maps are laid out in memory.
#![forbid(unsafe_code)]

mod aligned;
mod dtype;
mod layout;
mod tensor;

pub use aligned::AlignedBuffer;
pub use dtype::DType;
pub use layout::MapLayout;
pub use tensor::{ShapeError, Tensor, element_count};
