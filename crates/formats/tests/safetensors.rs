//! safetensors: round trips, agreement with the format's own crate, and files made to do harm.

use residuum_formats::{Bytes, ErrorKind, NamedTensors, RawTensor, Result, read_weights, safetensors};
use residuum_tensor::{DType, Tensor};

fn file(header: &str, data: &[u8]) -> Bytes {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat().into()
}

fn read(header: &str, data: &[u8]) -> Result<NamedTensors> {
    safetensors::read_bytes(&file(header, data))
}

fn sample() -> NamedTensors {
    let mut named = NamedTensors::new();
    named.insert("conv.weight", RawTensor::from_f32(&Tensor::from_fn([2, 3], |i| i as f32 - 0.5)));
    named.insert("bn.num_batches_tracked", RawTensor::from_i64(&Tensor::from_fn([], |_| -7)));
    named.insert("mask", RawTensor::from_u8(&Tensor::from_fn([3], |i| i as u8)));
    named.insert("empty", RawTensor::new(DType::F16, [0, 4], Vec::new()).unwrap());
    named.insert("\"quoted\" \u{1f980}\n", RawTensor::new(DType::BF16, [1], vec![1, 2]).unwrap());
    named.metadata.insert("residuum.class_names".to_owned(), "[\"cat\",\"dog\"]".to_owned());
    named
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let named = sample();
    safetensors::write(&path, &named).unwrap();
    let mut expected = named.clone();
    expected.metadata.insert("format".to_owned(), "pt".to_owned());
    assert_eq!(safetensors::read(&path).unwrap(), expected);
    assert_eq!(read_weights(&path).unwrap(), expected);
    assert_eq!(
        residuum_formats::disk::read(&path, 10_000).unwrap(),
        safetensors::write_to_vec(&named).unwrap()
    );
}

#[test]
fn a_file_may_be_replaced_while_its_tensors_are_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    safetensors::write(&path, &sample()).unwrap();
    let mut named = safetensors::read(&path).unwrap();
    named.remove("mask");
    safetensors::write(&path, &named).unwrap();
    assert_eq!(safetensors::read(&path).unwrap(), named);
}

#[test]
fn the_formats_own_crate_reads_what_is_written_and_finds_it_aligned() {
    let bytes = safetensors::write_to_vec(&sample()).unwrap();
    let theirs = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.len(), sample().len());
    for (name, tensor) in sample().iter() {
        let view = theirs.tensor(name).unwrap();
        assert_eq!((view.shape(), view.data()), (tensor.shape(), &tensor.data()[..]));
        let offset = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(offset % tensor.dtype().size_bytes(), 0, "{name}");
    }
}

#[test]
fn the_reserved_name_is_not_written() {
    let mut named = sample();
    named.insert("__metadata__", RawTensor::from_u8(&Tensor::from_fn([1], |_| 0)));
    assert_eq!(safetensors::write_to_vec(&named).unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn header_lengths_that_lie_are_refused() {
    for (bytes, kind) in [
        (b"".to_vec(), ErrorKind::Truncated),
        (vec![7, 0, 0], ErrorKind::Truncated),
        (0u64.to_le_bytes().to_vec(), ErrorKind::Malformed),
        ([&7u64.to_le_bytes(), b"{}".as_slice()].concat(), ErrorKind::Truncated),
        ([&(1u64 << 63).to_le_bytes(), b"{}".as_slice()].concat(), ErrorKind::Limit),
        ([&u64::MAX.to_le_bytes(), b"{}".as_slice()].concat(), ErrorKind::Limit),
        ([&2u64.to_le_bytes(), b"[]".as_slice()].concat(), ErrorKind::Malformed),
        ([&2u64.to_le_bytes(), b"{\xff".as_slice()].concat(), ErrorKind::Malformed),
    ] {
        let error = safetensors::read_bytes(&bytes.clone().into()).unwrap_err();
        assert_eq!(error.kind(), kind, "{}: {error}", bytes.escape_ascii());
    }
}

#[test]
fn headers_that_contradict_the_data_are_refused_and_the_tensor_named() {
    let tensor = |dtype: &str, shape: &str, start: u64, end: u64| {
        format!("{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}")
    };
    let one = tensor("F32", "[2]", 0, 8);
    assert_eq!(read(&format!("{{\"a\":{one}}}"), &[0; 8]).unwrap().len(), 1);
    for (header, kind, part) in [
        (format!("{{\"a\":{one},\"a\":{one}}}"), ErrorKind::Malformed, "twice"),
        (format!("{{\"a\":{one},\"b\":{one}}}"), ErrorKind::Malformed, "overlaps"),
        (format!("{{\"a\":{}}}", tensor("F32", "[1]", 4, 8)), ErrorKind::Malformed, "hole"),
        (format!("{{\"a\":{}}}", tensor("F32", "[1]", 0, 4)), ErrorKind::Malformed, "describes"),
        (format!("{{\"a\":{}}}", tensor("F32", "[3]", 0, 12)), ErrorKind::Truncated, "a:"),
        (format!("{{\"a\":{}}}", tensor("F32", "[3]", 0, 8)), ErrorKind::Malformed, "a:"),
        (format!("{{\"a\":{}}}", tensor("F32", "[2]", 8, 0)), ErrorKind::Malformed, "a:"),
        (format!("{{\"a\":{}}}", tensor("F32", "[4611686018427387904,4]", 0, 8)), ErrorKind::Malformed, "a:"),
        (
            format!("{{\"a\":{}}}", tensor("U8", "[18446744073709551615]", 0, u64::MAX)),
            ErrorKind::Truncated,
            "a:",
        ),
        (format!("{{\"a\":{}}}", tensor("F32", "[-2]", 0, 8)), ErrorKind::Malformed, "header"),
        (format!("{{\"a\":{}}}", tensor("F99", "[2]", 0, 8)), ErrorKind::Malformed, "F99"),
        (format!("{{\"a\":{}}}", tensor("U64", "[1]", 0, 8)), ErrorKind::Unsupported, "U64"),
        (format!("{{\"__metadata__\":{{\"k\":1}},\"a\":{one}}}"), ErrorKind::Malformed, "string"),
        (
            format!("{{\"__metadata__\":{{\"k\":\"\",\"k\":\"\"}},\"a\":{one}}}"),
            ErrorKind::Malformed,
            "twice",
        ),
        (
            format!("{{\"__metadata__\":{{}},\"__metadata__\":{{}},\"a\":{one}}}"),
            ErrorKind::Malformed,
            "twice",
        ),
        (format!("{{\"a\":{one}}} x"), ErrorKind::Malformed, "header"),
        (format!("{{\"a\":{}}}", "[".repeat(100_000)), ErrorKind::Malformed, "header"),
    ] {
        let error = read(&header, &[0; 8]).unwrap_err();
        assert_eq!(error.kind(), kind, "{header:.100}: {error}");
        assert!(error.to_string().contains(part), "{header:.100}: {error}");
    }
}

#[test]
fn too_many_names_are_refused() {
    let names: Vec<String> = (0..=100_000)
        .map(|i| format!("\"{i}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}"))
        .collect();
    let error = read(&format!("{{{}}}", names.join(",")), &[]).unwrap_err();
    assert!(error.message().contains("100000"), "{error}");
}

#[test]
fn nan_weights_are_loaded() {
    let header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    let named = read(header, &f32::NAN.to_le_bytes()).unwrap();
    assert!(named.get("a").unwrap().to_f32().unwrap().data()[0].is_nan());
}
