//! Writes the zip form: a plain state dict, as `torch.save(model.state_dict(), …)` does.
//!
//! The pickle is the smallest that says it: an ordered map whose values are calls of
//! `torch._utils._rebuild_tensor_v2`, one storage for each tensor. Nothing else is in it, so that PyTorch
//! takes it with `weights_only=True`.

use std::io::{Seek, Write};

use residuum_tensor::DType;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::{FormatError, Result};
use crate::named::{NamedTensors, RawTensor};

/// The folder inside the archive that PyTorch takes.
const FOLDER: &str = "archive";
/// What PyTorch aligns storages to, so that they can be mapped.
const ALIGNMENT: u16 = 64;

/// Writes all records.
pub(super) fn write(named: &NamedTensors, pickle: &[u8], out: impl Write + Seek) -> std::io::Result<()> {
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(ALIGNMENT);
    let mut zip = ZipWriter::new(out);
    let mut record = |name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let is_large = bytes.len() as u64 >= u64::from(u32::MAX);
        zip.start_file(format!("{FOLDER}/{name}"), options.large_file(is_large))?;
        zip.write_all(bytes)
    };
    record("data.pkl", pickle)?;
    record("byteorder", b"little")?;
    for (key, (_, tensor)) in named.iter().enumerate() {
        record(&format!("data/{key}"), tensor.data())?;
    }
    record("version", b"3\n")?;
    zip.finish()?.flush()
}

/// The program that builds the map.
pub(super) fn pickle(named: &NamedTensors) -> Result<Vec<u8>> {
    // Protocol 2; an empty ordered map; a mark; names and tensors; put them into the map; the end.
    let mut program = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (key, (name, tensor)) in named.iter().enumerate() {
        push_text(&mut program, name)?;
        push_tensor(&mut program, key, tensor).map_err(|e| e.within(name))?;
    }
    program.extend_from_slice(b"u.");
    Ok(program)
}

/// `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`.
fn push_tensor(program: &mut Vec<u8>, key: usize, tensor: &RawTensor) -> Result<()> {
    program.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    push_text(program, "storage")?;
    program.extend_from_slice(format!("ctorch\n{}\n", storage(tensor.dtype())).as_bytes());
    push_text(program, &key.to_string())?;
    push_text(program, "cpu")?;
    push_number(program, tensor.len());
    program.extend_from_slice(b"tQ");
    push_number(program, 0);
    push_tuple(program, tensor.shape());
    push_tuple(program, &strides(tensor.shape()));
    program.extend_from_slice(b"\x89ccollections\nOrderedDict\n)RtR");
    Ok(())
}

/// Distances of neighbours along each side, in elements, row-major.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i].max(1);
    }
    strides
}

fn push_tuple(program: &mut Vec<u8>, numbers: &[usize]) {
    program.push(b'(');
    for &number in numbers {
        push_number(program, number);
    }
    program.push(b't');
}

fn push_text(program: &mut Vec<u8>, text: &str) -> Result<()> {
    let len = u32::try_from(text.len());
    let len = len.map_err(|_| FormatError::limit("", format!("a name of {} bytes", text.len())))?;
    program.push(b'X');
    program.extend_from_slice(&len.to_le_bytes());
    program.extend_from_slice(text.as_bytes());
    Ok(())
}

/// A number of 31 bits, or one of 8 bytes with their count.
fn push_number(program: &mut Vec<u8>, number: usize) {
    if let Ok(small) = i32::try_from(number) {
        program.push(b'J');
        program.extend_from_slice(&small.to_le_bytes());
    } else {
        program.extend_from_slice(b"\x8a\x08");
        program.extend_from_slice(&(number as u64).to_le_bytes());
    }
}

/// The name of the class whose instances hold elements of a type.
fn storage(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "FloatStorage",
        DType::F64 => "DoubleStorage",
        DType::F16 => "HalfStorage",
        DType::BF16 => "BFloat16Storage",
        DType::I64 => "LongStorage",
        DType::I32 => "IntStorage",
        DType::I16 => "ShortStorage",
        DType::I8 => "CharStorage",
        DType::U8 => "ByteStorage",
        DType::Bool => "BoolStorage",
    }
}
