//! Writing a network for us or for PyTorch, by the ending of the file's name.

use std::path::Path;

use residuum_classify::{Loaded, ModelFile};
use residuum_formats::pth;
use residuum_graph::Weights;
use residuum_tensor::DType;

use crate::error::{ConvertError, Result};

/// What a network can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Our model file (`.safetensors`): everything that an answer needs.
    Safetensors,
    /// PyTorch's file (`.pth`, `.pt`): a plain state dict, nothing beside the tensors.
    Pth,
}

impl Format {
    /// The format of a file's ending.
    ///
    /// # Errors
    /// When the ending is none of these.
    pub fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("safetensors") => Ok(Self::Safetensors),
            Some("pth" | "pt") => Ok(Self::Pth),
            _ => Err(ConvertError::file(path, "expected a name that ends in .safetensors, .pth or .pt")),
        }
    }
}

/// [`save_as`] with all tensors as they are.
///
/// # Errors
/// As [`save_as`].
pub fn save(loaded: &Loaded, path: impl AsRef<Path>) -> Result<()> {
    save_as(loaded, path, DType::F32)
}

/// Writes a network, its filters and matrices in a type of floats (see [`ModelFile::save_as`]), so that `path` holds either what it held before or all of this.
///
/// # Errors
/// When the ending is unknown, a number is too large for the type, or the disk refuses.
pub fn save_as(loaded: &Loaded, path: impl AsRef<Path>, dtype: DType) -> Result<()> {
    let path = path.as_ref();
    let format = Format::of(path)?;
    let file = ModelFile { weights: loaded.weights.clone(), info: loaded.info.clone() };
    match format {
        Format::Safetensors => Ok(file.save_as(path, dtype)?),
        Format::Pth => Ok(pth::write(path, &file.to_tensors_as(dtype)?)?),
    }
}

/// Weights as they come back from a file that [`save_as`] wrote.
///
/// # Errors
/// When a number is too large for the type.
pub fn round(loaded: &Loaded, dtype: DType) -> Result<Weights> {
    let file = ModelFile { weights: loaded.weights.clone(), info: loaded.info.clone() };
    let named = file.to_tensors_as(dtype)?;
    let back = |name: &String| Ok((name.clone(), named.require(name)?.to_f32()?));
    loaded.weights.keys().map(back).collect()
}
