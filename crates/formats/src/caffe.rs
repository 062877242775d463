//! Caffe's networks as their authors published them: a definition in protobuf's text form (`.prototxt`), the
//! weights in its wire form (`.caffemodel`), and the mean of the images (`.binaryproto`).
//!
//! [`read_definition`] gives the layers in the order of the file, with the defaults of Caffe's schema filled
//! in; [`read_weights`] the numbers of each layer, which stay in the mapped file. The two belong together by the layers'
//! names. Both encodings of layers are read, today's (`layer`, types as text) and the one before it
//! (`layers`, types as numbers); the one before that has to be upgraded by Caffe's own tool.
//!
//! What a field asks for and is not understood here is an error, never passed over: a network that computes
//! something else than its file says is worse than none.

mod definition;
mod read;
mod text;
mod weights;

use std::path::Path;

pub use definition::{
    Convolution, Definition, Eltwise, EltwiseOperation, InnerProduct, Input, Layer, Operation, Pool, Pooling,
    Scale,
};
pub(crate) use weights::is_caffemodel;
pub use weights::{CaffeWeights, LayerWeights};

use crate::bytes::Bytes;
use crate::disk;
use crate::error::{FormatError, Result};
use crate::named::RawTensor;

/// Longest definition that is read; the longest of the published ones has 98 kB.
const MAX_DEFINITION_BYTES: usize = 2 << 20;
/// Most layers of a network.
const MAX_LAYERS: usize = 10_000;

/// Reads a definition (`.prototxt`), as it holds while testing: layers that are for training only are left
/// out.
///
/// # Errors
/// When the file cannot be read, is no text of protobuf's form, has two layers of one name, or has a field
/// that is not understood; the message names the line or the layer.
pub fn read_definition(path: impl AsRef<Path>) -> Result<Definition> {
    let path = path.as_ref();
    let text = disk::read_text(path, MAX_DEFINITION_BYTES)?;
    parse_definition(&text).map_err(|e| e.in_file(path))
}

/// [`read_definition`] from memory.
///
/// # Errors
/// As [`read_definition`].
pub fn parse_definition(text: &str) -> Result<Definition> {
    if text.len() > MAX_DEFINITION_BYTES {
        let message = format!("{} bytes, at most {MAX_DEFINITION_BYTES} are allowed", text.len());
        return Err(FormatError::limit("", message));
    }
    read::definition(&text::parse(text)?)
}

/// Reads the weights of a network (`.caffemodel`). The numbers stay in the mapped file.
///
/// # Errors
/// When the file cannot be mapped, is no network in protobuf's wire form, mixes the two encodings of layers
/// or uses the oldest, has two layers of one name with weights, or a blob's shape is not that of its data.
pub fn read_weights(path: impl AsRef<Path>) -> Result<CaffeWeights> {
    let path = path.as_ref();
    read_weights_bytes(&disk::map(path)?.into()).map_err(|e| e.in_file(path))
}

/// [`read_weights`] from memory.
///
/// # Errors
/// As [`read_weights`].
pub fn read_weights_bytes(file: &Bytes) -> Result<CaffeWeights> {
    weights::read(file)
}

/// Reads the mean of the images (`.binaryproto`): one blob, the colours blue, green, red, each a plane;
/// `[1, 3, h, w]` as a rule.
///
/// # Errors
/// When the file cannot be mapped, is no blob, or its shape is not that of its data.
pub fn read_mean(path: impl AsRef<Path>) -> Result<RawTensor> {
    let path = path.as_ref();
    read_mean_bytes(&disk::map(path)?.into()).map_err(|e| e.in_file(path))
}

/// [`read_mean`] from memory.
///
/// # Errors
/// As [`read_mean`].
pub fn read_mean_bytes(file: &Bytes) -> Result<RawTensor> {
    weights::blob(file)
}
