//! `.npy` arrays of `numpy` and `.npz` collections of them.
//!
//! Read: format versions 1 to 3, little-endian floats of 2, 4 and 8 bytes, signed integers, bytes and truth
//! values. Arrays in Fortran order come out in C order. Written: `f32` and `u8`, version 1, C order.

mod header;

use std::path::Path;

use residuum_tensor::{DType, Tensor, element_count};

use crate::archive::Archive;
use crate::bytes::Bytes;
use crate::disk;
use crate::error::{ErrorKind, FormatError, Result};
use crate::named::{NamedTensors, RawTensor};
use crate::strided::{Strided, copy_budget};

/// Reads an array. Its bytes stay in the mapped file where it is in C order.
///
/// # Errors
/// When the file cannot be mapped, is no `.npy` file, is longer or shorter than its header says, or has an
/// element type that is not read here (big endian, unsigned of more than a byte, complex, records, objects).
pub fn read(path: impl AsRef<Path>) -> Result<RawTensor> {
    let path = path.as_ref();
    read_bytes(&disk::map(path)?.into()).map_err(|e| e.in_file(path))
}

/// [`read`] from memory.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(file: &Bytes) -> Result<RawTensor> {
    let (header, start) = header::parse(file)?;
    let header::Header { dtype, is_fortran, shape } = header;
    let data = file.slice(start..file.len()).unwrap_or_else(|| Vec::new().into());
    let expected = element_count(&shape).and_then(|count| count.checked_mul(dtype.size_bytes()));
    if expected != Some(data.len()) {
        let kind = if expected.is_some_and(|len| len < data.len()) {
            ErrorKind::Malformed
        } else {
            ErrorKind::Truncated
        };
        let expected = expected.map_or("more than can be counted".to_owned(), |len| format!("{len} bytes"));
        let message = format!("{dtype} of shape {shape:?} takes {expected}, found {}", data.len());
        return Err(FormatError::new(kind, "data", message));
    }
    let data = if is_fortran { to_c_order(&data, dtype, &shape)? } else { data };
    RawTensor::new(dtype, shape, data)
}

fn to_c_order(data: &Bytes, dtype: DType, shape: &[usize]) -> Result<Bytes> {
    let mut stride = 1usize;
    let mut strides = Vec::new();
    for &side in shape {
        strides.push(stride);
        stride = stride.saturating_mul(side);
    }
    let window = Strided { offset: 0, shape, strides: &strides };
    window.gather(data, dtype.size_bytes(), &mut copy_budget(data.len()), "data")
}

/// Reads a collection of arrays; their names are those of the records without `.npy`.
///
/// # Errors
/// When the file cannot be mapped, is no zip archive or a dangerous one, or one of the arrays cannot be read.
pub fn read_npz(path: impl AsRef<Path>) -> Result<NamedTensors> {
    let path = path.as_ref();
    read_npz_bytes(&disk::map(path)?.into()).map_err(|e| e.in_file(path))
}

/// [`read_npz`] from memory.
///
/// # Errors
/// As [`read_npz`].
pub fn read_npz_bytes(file: &Bytes) -> Result<NamedTensors> {
    let mut archive = Archive::open(file)?;
    let names: Vec<String> =
        archive.names().filter_map(|name| name.strip_suffix(".npy")).map(str::to_owned).collect();
    let mut named = NamedTensors::new();
    for name in names {
        if let Some(bytes) = archive.record(&format!("{name}.npy"))? {
            let array = read_bytes(&bytes).map_err(|e| e.within(&name))?;
            named.insert(name, array);
        }
    }
    Ok(named)
}

/// Writes an array of `f32`, whole or not at all.
///
/// # Errors
/// When the disk refuses.
pub fn write_f32(path: impl AsRef<Path>, tensor: &Tensor<f32>) -> Result<()> {
    write(path.as_ref(), "<f4", &RawTensor::from_f32(tensor))
}

/// Writes an array of bytes, whole or not at all.
///
/// # Errors
/// When the disk refuses.
pub fn write_u8(path: impl AsRef<Path>, tensor: &Tensor<u8>) -> Result<()> {
    write(path.as_ref(), "|u1", &RawTensor::from_u8(tensor))
}

fn write(path: &Path, descr: &str, tensor: &RawTensor) -> Result<()> {
    let header = header::compose(descr, tensor.shape()).map_err(|e| e.in_file(path))?;
    disk::write_atomic(path, |writer| {
        writer.write_all(&header)?;
        writer.write_all(tensor.data())
    })
}
