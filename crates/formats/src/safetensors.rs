//! safetensors: eight bytes with the header's length, a JSON header, the tensors' bytes.
//!
//! The types of the header are those of the `safetensors` crate; the rules are checked here, one by one, so
//! that a message can name the tensor: names are unique, ranges follow each other without hole or overlap
//! and cover the file to its end, and each range is as long as shape and type say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use residuum_tensor::{DType, element_count};
use safetensors::tensor::{Dtype, TensorInfo};

use crate::bytes::Bytes;
use crate::disk;
use crate::error::{FormatError, Result};
use crate::named::{NamedTensors, RawTensor};

mod header;

use header::Header;

const LENGTH_BYTES: usize = 8;
const MAX_HEADER_BYTES: usize = 16 << 20;

/// Reads a file. The tensors' bytes stay in the mapped file.
///
/// # Errors
/// When the file cannot be mapped or breaks a rule of the format, has a header of more than 16 MiB, more
/// than 100 000 tensors, or an element type that [`DType`] does not have.
pub fn read(path: impl AsRef<Path>) -> Result<NamedTensors> {
    let path = path.as_ref();
    read_bytes(&disk::map(path)?.into()).map_err(|e| e.in_file(path))
}

/// [`read`] from memory.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(file: &Bytes) -> Result<NamedTensors> {
    let header_end = header_end(file)?;
    let data = file.slice(header_end..file.len()).unwrap_or_else(|| Vec::new().into());
    let Header { metadata, mut tensors } = header::parse(&file[LENGTH_BYTES..header_end])?;
    tensors.sort_by_key(|(_, info)| info.data_offsets);

    let mut named = NamedTensors::new();
    named.metadata = metadata;
    let mut covered = 0;
    for (name, info) in tensors {
        let (start, end) = info.data_offsets;
        if start != covered || end < start {
            let wrong = if start > covered { "leaves a hole after" } else { "overlaps what ends at" };
            let message = format!("bytes {start}..{end}: the range {wrong} byte {covered}");
            return Err(FormatError::malformed(name, message));
        }
        let tensor = tensor(&name, &info, &data)?;
        covered = end;
        named.insert(name, tensor);
    }
    if covered != data.len() {
        let message = format!("the header describes {covered} bytes of data, the file holds {}", data.len());
        return Err(FormatError::malformed("data", message));
    }
    Ok(named)
}

/// Where the header ends, checked against the file's length.
fn header_end(file: &[u8]) -> Result<usize> {
    let Some(length) = file.first_chunk::<LENGTH_BYTES>() else {
        let message = format!("expected at least {LENGTH_BYTES} bytes, found {}", file.len());
        return Err(FormatError::truncated("header length", message));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES as u64 {
        let message =
            format!("{length} bytes, at most {MAX_HEADER_BYTES} are allowed; is this a safetensors file?");
        return Err(FormatError::limit("header length", message));
    }
    let end = LENGTH_BYTES + length as usize;
    match file.get(LENGTH_BYTES..end) {
        Some([b'{', ..]) => Ok(end),
        Some(_) => Err(FormatError::malformed("header", "expected JSON beginning with `{`")),
        None => {
            let message =
                format!("{length} bytes announced, the file ends after {}", file.len() - LENGTH_BYTES);
            Err(FormatError::truncated("header", message))
        }
    }
}

fn tensor(name: &str, info: &TensorInfo, data: &Bytes) -> Result<RawTensor> {
    let dtype = dtype(info.dtype).ok_or_else(|| {
        FormatError::unsupported(name, format!("element type {} is not read here", info.dtype))
    })?;
    let (start, end) = info.data_offsets;
    let expected = element_count(&info.shape).and_then(|count| count.checked_mul(dtype.size_bytes()));
    if expected != Some(end - start) {
        let message =
            format!("{dtype} of shape {:?} does not take the {} bytes of its range", info.shape, end - start);
        return Err(FormatError::malformed(name, message));
    }
    let bytes = data.slice(start..end).ok_or_else(|| {
        let message = format!("bytes {start}..{end} announced, the file holds {} bytes of data", data.len());
        FormatError::truncated(name, message)
    })?;
    RawTensor::new(dtype, info.shape.clone(), bytes).map_err(|e| e.within(name))
}

fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U8 => DType::U8,
        Dtype::BOOL => DType::Bool,
        _ => return None,
    })
}

/// Writes a file, whole or not at all. The header lists the tensors by name; their bytes lie with the
/// widest element types first, so that each begins at a multiple of its element's size. `format=pt` is
/// always among the metadata, as other readers expect.
///
/// # Errors
/// When a tensor is called `__metadata__`, the header would be too long, or the disk refuses.
pub fn write(path: impl AsRef<Path>, named: &NamedTensors) -> Result<()> {
    let path = path.as_ref();
    let order = data_order(named);
    let header = compose_header(named, &order).map_err(|e| e.in_file(path))?;
    disk::write_atomic(path, |writer| {
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(header.as_bytes())?;
        order.iter().try_for_each(|(_, tensor)| writer.write_all(tensor.data()))
    })
}

/// [`write()`] into memory.
///
/// # Errors
/// When a tensor is called `__metadata__` or the header would be too long.
pub fn write_to_vec(named: &NamedTensors) -> Result<Vec<u8>> {
    let order = data_order(named);
    let header = compose_header(named, &order)?;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    for (_, tensor) in order {
        file.extend_from_slice(tensor.data());
    }
    Ok(file)
}

fn data_order(named: &NamedTensors) -> Vec<(&str, &RawTensor)> {
    let mut order: Vec<_> = named.iter().collect();
    order.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype().size_bytes()));
    order
}

fn compose_header(named: &NamedTensors, order: &[(&str, &RawTensor)]) -> Result<String> {
    let mut starts = BTreeMap::new();
    let mut end = 0;
    for (name, tensor) in order {
        starts.insert(*name, end);
        end += tensor.data().len();
    }
    let mut metadata = named.metadata.clone();
    metadata.insert("format".to_owned(), "pt".to_owned());
    let mut header = format!("{{\"{}\":{}", header::METADATA, json(&metadata)?);
    for (name, tensor) in named.iter() {
        if name == header::METADATA {
            return Err(FormatError::refused(
                name,
                "the format keeps this name for itself; rename the tensor",
            ));
        }
        let start = starts[name];
        let (dtype, shape, stop) = (tensor.dtype(), json(tensor.shape())?, start + tensor.data().len());
        let name = json(name)?;
        // Writing to a `String` cannot fail.
        let _ = write!(
            header,
            ",{name}:{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{start},{stop}]}}"
        );
    }
    header.push('}');
    while !header.len().is_multiple_of(LENGTH_BYTES) {
        header.push(' ');
    }
    if header.len() > MAX_HEADER_BYTES {
        let message = format!("{} bytes, at most {MAX_HEADER_BYTES} are allowed", header.len());
        return Err(FormatError::limit("header", message));
    }
    Ok(header)
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| FormatError::malformed("header", e.to_string()))
}
