//! PyTorch's `.pth`, `.pt`, `.th`, `.pth.tar`: the zip form (since 1.6) and the older stream form.
//!
//! Both hold a pickle, which is a program for a small machine, and the elements of the tensors apart from
//! it. The machine here (`pickle`) builds only data: numbers, text, lists, maps and descriptions of
//! tensors; it knows the handful of names that a state dict needs and refuses a file that asks for any
//! other. Weights saved as a whole model therefore cannot be read; their owner can save the state dict.

mod legacy;
mod pickle;
pub mod plain;
mod state_dict;
mod storage;
mod value;
mod write;
mod zip;

use std::path::Path;

use crate::bytes::Bytes;
use crate::disk;
use crate::error::Result;
use crate::named::NamedTensors;

/// Reads the state dict of a file. Contiguous tensors stay in the mapped file.
///
/// The state dict is the file's map itself, or lies in it under `state_dict`, `model`, `model_state_dict`,
/// `state_dict_ema`, `model_ema`, `net` or the like. Numbers, texts and truth values beside it become
/// metadata, as text; whatever else lies beside the tensors is passed over. The prefixes `module.` and `_orig_mod.`, left by wrappers, are removed where every
/// name has them.
///
/// # Errors
/// When the file is of neither form, is damaged, asks for a name off the list, describes a tensor beyond its
/// storage, is big endian, has an element type that [`residuum_tensor::DType`] does not have, or holds no
/// state dict.
pub fn read(path: impl AsRef<Path>) -> Result<NamedTensors> {
    let path = path.as_ref();
    read_bytes(&disk::map(path)?.into()).map_err(|e| e.in_file(path))
}

/// [`read`] from memory.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(file: &Bytes) -> Result<NamedTensors> {
    if file.starts_with(ZIP_MAGIC) { zip::read(file) } else { legacy::read(file) }
}

/// Writes a plain state dict in the zip form, whole or not at all; `torch.load` takes it with
/// `weights_only=True`. The form has no place for metadata beside the tensors; those are left out.
///
/// # Errors
/// When a name is longer than 4 GiB or the disk refuses.
pub fn write(path: impl AsRef<Path>, named: &NamedTensors) -> Result<()> {
    let path = path.as_ref();
    let pickle = write::pickle(named).map_err(|e| e.in_file(path))?;
    disk::write_atomic(path, |file| write::write(named, &pickle, file))
}

const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
const PICKLE_PROTO: u8 = 0x80;

/// True where the bytes begin as one of the two forms does.
pub(crate) fn is_pth(file: &[u8]) -> bool {
    file.starts_with(ZIP_MAGIC)
        || (file.first() == Some(&PICKLE_PROTO) && file.get(1).is_some_and(|&p| (2..=5).contains(&p)))
}
