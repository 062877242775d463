//! Bytes ↔ named tensors and metadata, and the one door to the disk.
//!
//! [`read_weights`] reads whatever weights file it is given, by looking into it: [safetensors],
//! or PyTorch's [`.pth`](pth) in its zip form and its older stream form. [`npy`] reads and writes `numpy`
//! arrays, [`caffe`] the definitions and weights of Caffe's networks. All of them answer with [`NamedTensors`] or [`RawTensor`]s whose bytes stay in the mapped file
//! until they are used. [`disk`] is the only place of the project that opens, writes or renames files.
//!
//! A file is data here and never a program: reading one runs no code, follows no path named inside it, and
//! allocates by what the file holds, not by what it claims. What is wrong is said in one [`FormatError`].

mod archive;
mod bytes;
pub mod caffe;
pub mod disk;
mod error;
mod named;
pub mod npy;
pub mod pth;
pub mod safetensors;
mod strided;
mod weights;
mod wire;

pub use bytes::Bytes;
pub use error::{ErrorKind, FormatError, Result};
pub use named::{NamedTensors, RawTensor};
pub use weights::{read_weights, read_weights_bytes};
