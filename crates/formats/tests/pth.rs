//! PyTorch's files: what PyTorch itself wrote in both forms, and files made to do harm.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use residuum_formats::{
    Bytes, ErrorKind, FormatError, NamedTensors, RawTensor, disk, pth, read_weights, read_weights_bytes,
};
use residuum_tensor::DType;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn floats(named: &NamedTensors, name: &str) -> Vec<f32> {
    named.require(name).unwrap().to_f32().unwrap().into_data()
}

#[test]
fn a_bare_state_dict_of_every_type_is_read_in_both_forms() {
    for file in ["bare_zip.pth", "bare_legacy.pth"] {
        let named = read_weights(fixture(file)).unwrap();
        assert_eq!(named.len(), 10, "{file}");
        assert_eq!(floats(&named, "f32"), [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]);
        assert_eq!(named.get("f32").unwrap().shape(), [2, 3]);
        assert_eq!(floats(&named, "f16"), [1.5, -2.0, 0.25]);
        assert_eq!(floats(&named, "bf16"), [1.5, -2.0, 0.25]);
        assert_eq!(named.get("bf16").unwrap().dtype(), DType::BF16);
        assert_eq!(named.get("f64").unwrap().data()[..], 0.1f64.to_le_bytes());
        assert!(named.get("f64").unwrap().shape().is_empty());
        assert_eq!(named.get("i64").unwrap().to_i64().unwrap().data(), [7]);
        assert_eq!(floats(&named, "bool"), [1.0, 0.0]);
        assert_eq!(named.get("transposed").unwrap().shape(), [3, 2]);
        assert_eq!(floats(&named, "transposed"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(floats(&named, "shared_a"), [2.0, 3.0, 4.0, 5.0]);
        assert_eq!(floats(&named, "shared_b"), [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
        assert_eq!(named.get("empty").unwrap().shape(), [0, 3]);
        assert!(named.metadata.is_empty());
    }
}

#[test]
fn a_nested_state_dict_is_found_and_what_lies_beside_it_is_kept_as_text() {
    for file in ["nested_zip.pth", "nested_legacy.pth"] {
        let named = read_weights(fixture(file)).unwrap();
        let names: Vec<_> = named.names().collect();
        let expected = [
            "0.bias",
            "0.weight",
            "1.bias",
            "1.num_batches_tracked",
            "1.running_mean",
            "1.running_var",
            "1.weight",
        ];
        assert_eq!(names, expected, "wrappers' prefixes are gone");
        let metadata: Vec<_> =
            named.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            metadata,
            [("arch", "resnet20"), ("best_prec1", "91.5"), ("done", "true"), ("epoch", "3")]
        );
        assert_eq!(floats(&named, "1.running_var"), [1.0, 1.0]);
    }
}

#[test]
fn version_numbers_on_a_state_dict_and_newer_protocols_are_read() {
    assert_eq!(read_weights(fixture("module_zip.pth")).unwrap().len(), 7);
    assert_eq!(floats(&read_weights(fixture("parameter_protocol4.pth")).unwrap(), "w"), [1.0; 4]);
}

#[test]
fn a_whole_model_and_a_program_are_refused_with_advice() {
    let model = read_weights(fixture("whole_model.pth")).unwrap_err();
    assert_eq!(model.kind(), ErrorKind::Refused);
    let text = model.to_string();
    for part in ["whole_model.pth", "torch.nn.modules", "state_dict"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains('\n'), "one line: {text}");
    let script = read_weights(fixture("torchscript.pt")).unwrap_err();
    assert_eq!(script.kind(), ErrorKind::Unsupported);
    assert!(script.message().contains("TorchScript"), "{script}");
}

#[test]
fn unknown_content_is_said_in_one_line() {
    for content in
        [b"".as_slice(), b"x", b"<html><body>", b"\x89PNG\r\n\x1a\n", b"\x80\x01\x00\x00\x00\x00\x00\x00\x00"]
    {
        let error = read_weights_bytes(&content.to_vec().into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("safetensors") && error.message().contains(".pth"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let disguised = folder.path().join("weights.safetensors");
    disk::write_bytes(&disguised, &disk::read(fixture("bare_zip.pth"), 10_000).unwrap()).unwrap();
    assert_eq!(read_weights(&disguised).unwrap().len(), 10, "the name does not matter");
}

#[test]
fn every_truncation_is_an_error() {
    for file in ["bare_zip.pth", "bare_legacy.pth", "nested_legacy.pth"] {
        let whole = disk::read(fixture(file), 10_000).unwrap();
        for len in 0..whole.len() {
            assert!(read_weights_bytes(&whole[..len].to_vec().into()).is_err(), "{file} cut to {len}");
        }
    }
}

/// `(0x80, 2)`, the instructions, `STOP`.
fn pickle(body: &[u8]) -> Vec<u8> {
    [b"\x80\x02", body, b"."].concat()
}

/// `BINPERSID` of a storage of `len` elements.
fn storage(kind: &str, key: &str, len: u32) -> Vec<u8> {
    let mut code = b"(U\x07storage".to_vec();
    code.extend(format!("ctorch\n{kind}\n").bytes());
    code.extend([&[b'U', key.len() as u8], key.as_bytes(), b"U\x03cpuJ"].concat());
    code.extend(len.to_le_bytes());
    code.extend(b"tQ");
    code
}

/// A map of one tensor `w`; `numbers` are the instructions for offset, shape and strides.
fn one_tensor(storage: &[u8], numbers: &[u8]) -> Vec<u8> {
    let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n(".as_slice();
    pickle(&[b"}U\x01w", rebuild, storage, numbers, b"\x89NtRs"].concat())
}

/// The stream form around an object, with one storage `0`.
fn legacy(object: &[u8], count: u64, data: &[u8]) -> Bytes {
    let magic = pickle(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
    let machine = pickle(b"}U\x0dlittle_endian\x88s");
    let keys = pickle(b"]U\x010a");
    [magic, pickle(b"M\xe9\x03"), machine, object.to_vec(), keys, count.to_le_bytes().to_vec(), data.to_vec()]
        .concat()
        .into()
}

fn legacy_error(numbers: &[u8], len: u32, count: u64, data: &[u8]) -> FormatError {
    pth::read_bytes(&legacy(&one_tensor(&storage("FloatStorage", "0", len), numbers), count, data))
        .unwrap_err()
}

const TWO_BY_TWO: &[u8] = b"K\x00K\x02K\x02\x86K\x02K\x01\x86";

#[test]
fn the_hand_made_stream_is_read_before_it_is_broken() {
    let object = one_tensor(&storage("FloatStorage", "0", 4), TWO_BY_TWO);
    let named = pth::read_bytes(&legacy(&object, 4, &[0; 16])).unwrap();
    assert_eq!(floats(&named, "w"), [0.0; 4]);
}

#[test]
fn tensors_beyond_their_storage_are_refused() {
    let big = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f".as_slice();
    let numbers = [
        b"K\x01K\x02K\x02\x86K\x02K\x01\x86".to_vec(),
        b"K\x00K\x05\x85K\x01\x85".to_vec(),
        b"K\x00K\x02\x85K\x04\x85".to_vec(),
        [b"K\x00K\x02\x85", big, b"\x85"].concat(),
        [big, b"K\x02\x85K\x01\x85"].concat(),
        [b"K\x00", big, big, b"\x86K\x00K\x00\x86"].concat(),
        b"K\x00K\x02\x85J\xff\xff\xff\xff\x85".to_vec(),
        b"J\xff\xff\xff\xffK\x02\x85K\x01\x85".to_vec(),
        b"K\x00K\x02K\x02\x86K\x01\x85".to_vec(),
        b"K\x00G\x3f\xf0\x00\x00\x00\x00\x00\x00\x85K\x01\x85".to_vec(),
    ];
    for numbers in numbers {
        let error = legacy_error(&numbers, 4, 4, &[0; 16]);
        assert_eq!(error.kind(), ErrorKind::Malformed, "{}: {error}", numbers.escape_ascii());
    }
    // 2^40 elements out of one.
    let broadcast = legacy_error(b"K\x00\x8a\x06\x00\x00\x00\x00\x00\x01\x85K\x00\x85", 4, 4, &[0; 16]);
    assert_eq!(broadcast.kind(), ErrorKind::Limit);
}

#[test]
fn storages_that_lie_about_their_length_are_refused() {
    assert_eq!(legacy_error(TWO_BY_TWO, 4, 4, &[0; 15]).kind(), ErrorKind::Truncated);
    assert_eq!(legacy_error(TWO_BY_TWO, 4, u64::MAX, &[0; 16]).kind(), ErrorKind::Truncated);
    assert_eq!(legacy_error(TWO_BY_TWO, 4, 1 << 62, &[0; 16]).kind(), ErrorKind::Truncated);
    assert_eq!(legacy_error(TWO_BY_TWO, 5, 4, &[0; 16]).kind(), ErrorKind::Malformed);
    assert_eq!(legacy_error(TWO_BY_TWO, 4, 4, &[0; 17]).kind(), ErrorKind::Malformed);
    let elsewhere = one_tensor(&storage("FloatStorage", "1", 4), TWO_BY_TWO);
    assert!(pth::read_bytes(&legacy(&elsewhere, 4, &[0; 16])).is_err());
}

#[test]
fn one_storage_of_two_types_is_refused() {
    let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n(".as_slice();
    let tensor = |kind| [rebuild, &storage(kind, "0", 4), TWO_BY_TWO, b"\x89NtRs"].concat();
    let object = |a, b| pickle(&[b"}U\x01a", tensor(a).as_slice(), b"U\x01b", &tensor(b)].concat());
    assert_eq!(
        pth::read_bytes(&legacy(&object("FloatStorage", "FloatStorage"), 4, &[0; 16])).unwrap().len(),
        2
    );
    let error = pth::read_bytes(&legacy(&object("FloatStorage", "IntStorage"), 4, &[0; 16])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn other_pickles_and_other_machines_are_refused() {
    let error = pth::read_bytes(&pickle(b"}").into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let magic = pickle(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
    let big_endian = [magic.clone(), pickle(b"M\xe9\x03"), pickle(b"}U\x0dlittle_endian\x89s")].concat();
    assert!(pth::read_bytes(&big_endian.into()).unwrap_err().message().contains("big endian"));
    let protocol = [magic, pickle(b"M\xe8\x03")].concat();
    assert_eq!(pth::read_bytes(&protocol.into()).unwrap_err().kind(), ErrorKind::Unsupported);
    let attack = legacy(&pickle(b"cos\nsystem\nU\x04true\x85R"), 0, b"");
    let error = pth::read_bytes(&attack).unwrap_err();
    assert!(error.kind() == ErrorKind::Refused && error.message().contains("os.system"), "{error}");
    let empty = pth::read_bytes(&legacy(&pickle(b"}U\x05epochK\x03s"), 0, b"")).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::Malformed, "a key that no tensor speaks of: {empty}");
}

/// A zip archive of these records, stored unless told otherwise.
fn archive(records: &[(&str, &[u8], CompressionMethod)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data, method) in records {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(*method)).unwrap();
        writer.write_all(data).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

const STORED: CompressionMethod = CompressionMethod::Stored;
const DEFLATED: CompressionMethod = CompressionMethod::Deflated;

fn zip_error(records: &[(&str, &[u8], CompressionMethod)]) -> FormatError {
    pth::read_bytes(&archive(records).into()).unwrap_err()
}

#[test]
fn the_hand_made_zip_is_read_before_it_is_broken() {
    let object = one_tensor(&storage("FloatStorage", "0", 4), TWO_BY_TWO);
    for method in [STORED, DEFLATED] {
        let file = archive(&[("a/data.pkl", &object, method), ("a/data/0", &[0; 16], method)]);
        assert_eq!(floats(&pth::read_bytes(&file.into()).unwrap(), "w"), [0.0; 4]);
    }
}

#[test]
fn zip_records_that_are_missing_wrong_or_hostile_are_refused() {
    let object = one_tensor(&storage("FloatStorage", "0", 4), TWO_BY_TWO);
    let pickle = ("a/data.pkl", object.as_slice(), STORED);
    let data = ("a/data/0", [0; 16].as_slice(), STORED);
    for (records, kind) in [
        (vec![pickle], ErrorKind::Truncated),
        (vec![data], ErrorKind::Unsupported),
        (vec![pickle, ("a/data/0", &[0; 15], STORED)], ErrorKind::Malformed),
        (vec![pickle, ("b/data.pkl", &object, STORED), data], ErrorKind::Malformed),
        (vec![pickle, data, ("a/byteorder", b"big", STORED)], ErrorKind::Unsupported),
        (vec![pickle, data, ("a/../../x", b"", STORED)], ErrorKind::Refused),
        (vec![pickle, data, ("/etc/passwd", b"", STORED)], ErrorKind::Refused),
        (vec![pickle, data, ("a\\b", b"", STORED)], ErrorKind::Refused),
        (vec![pickle, data, ("a/code/x.py", b"", STORED)], ErrorKind::Unsupported),
    ] {
        let error = zip_error(&records);
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(pth::read_bytes(&b"PK\x03\x04".to_vec().into()).unwrap_err().kind(), ErrorKind::Malformed);
}

#[test]
fn zip_bombs_are_refused_by_their_ratio_and_by_their_size() {
    let object = one_tensor(&storage("FloatStorage", "0", 25 << 20), b"K\x00K\x01\x85K\x01\x85");
    let mut data = vec![0; 100 << 20];
    let error = zip_error(&[("a/data.pkl", &object, STORED), ("a/data/0", &data, DEFLATED)]);
    assert!(error.kind() == ErrorKind::Limit && error.message().contains("times"), "{error}");
    // A kilobyte of noise in each megabyte brings the ratio below the limit.
    for chunk in data.chunks_mut(1 << 20) {
        let mut noise = 1u32;
        for byte in &mut chunk[..1024] {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (noise >> 24) as u8;
        }
    }
    let error = zip_error(&[("a/data.pkl", &object, STORED), ("a/data/0", &data, DEFLATED)]);
    assert!(error.kind() == ErrorKind::Limit && error.message().contains("unpack"), "{error}");
}

#[test]
fn a_flipped_bit_in_the_elements_of_a_zip_is_found() {
    let mut file = disk::read(fixture("bare_zip.pth"), 10_000).unwrap();
    let needle: Vec<u8> = [-2.5f32, -1.5].iter().flat_map(|x| x.to_le_bytes()).collect();
    let at = file.windows(needle.len()).position(|window| window == needle).unwrap();
    file[at] ^= 1;
    let error = pth::read_bytes(&file.into()).unwrap_err();
    assert!(error.kind() == ErrorKind::Malformed && error.message().contains("checksum"), "{error}");
}

#[test]
fn what_is_written_comes_back_whatever_the_type_and_shape() {
    let mut named = NamedTensors::new();
    let types = [
        DType::F32,
        DType::F64,
        DType::F16,
        DType::BF16,
        DType::I64,
        DType::I32,
        DType::I16,
        DType::I8,
        DType::U8,
        DType::Bool,
    ];
    for (i, dtype) in types.into_iter().enumerate() {
        let bytes: Vec<u8> = (0..6 * dtype.size_bytes()).map(|byte| (byte % 2) as u8).collect();
        named.insert(format!("layer1.{i}.wéight"), RawTensor::new(dtype, [2, 3], bytes).unwrap());
    }
    named.insert("scalar", RawTensor::new(DType::I64, [], 7i64.to_le_bytes().to_vec()).unwrap());
    named.insert("empty", RawTensor::new(DType::F32, [0, 3], Vec::new()).unwrap());
    named.metadata.insert("left".into(), "out".into());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    pth::write(&path, &named).unwrap();
    named.metadata.clear();
    assert_eq!(read_weights(&path).unwrap(), named);

    let first = std::fs::read(&path).unwrap();
    pth::write(&path, &named).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), first, "the same tensors make the same file");
    let mut archive = zip::ZipArchive::new(Cursor::new(first)).unwrap();
    for index in 0..archive.len() {
        let record = archive.by_index(index).unwrap();
        let name = record.name().unwrap();
        assert!(name.starts_with("archive/"), "{name}");
        assert_eq!(record.data_start().unwrap() % 64, 0, "{name} can be mapped");
    }
}
