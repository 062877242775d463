//! The one place that tells the formats of weights apart, by looking, never by a file's name.

use std::path::Path;

use crate::bytes::Bytes;
use crate::disk;
use crate::error::{FormatError, Result};
use crate::named::NamedTensors;
use crate::{caffe, pth, safetensors};

/// Reads a file of weights: safetensors, or PyTorch's `.pth` in either form.
///
/// # Errors
/// When the file cannot be mapped, is of none of these formats, or breaks its format's rules.
pub fn read_weights(path: impl AsRef<Path>) -> Result<NamedTensors> {
    let path = path.as_ref();
    read_weights_bytes(&disk::map(path)?.into()).map_err(|e| e.in_file(path))
}

/// [`read_weights`] from memory.
///
/// # Errors
/// As [`read_weights`].
pub fn read_weights_bytes(file: &Bytes) -> Result<NamedTensors> {
    if pth::is_pth(file) {
        pth::read_bytes(file)
    } else if file.get(8) == Some(&b'{') {
        safetensors::read_bytes(file)
    } else if caffe::is_caffemodel(file) {
        let message = "a Caffe model, which needs its definition (.prototxt) to answer; convert it first: \
                       residuum convert FILE.caffemodel OUT.safetensors";
        Err(FormatError::unsupported("", message))
    } else {
        let found = match file.first_chunk::<8>() {
            None => format!("only {} bytes", file.len()),
            Some(start) => format!("a file that begins with `{}`", start.escape_ascii()),
        };
        let message =
            format!("expected safetensors, or PyTorch's .pth (zip or the older stream); found {found}");
        Err(FormatError::unsupported("", message))
    }
}
