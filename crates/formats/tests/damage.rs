//! Whatever the bytes: an answer or one error, never a panic, never memory by a number in the file.

#[path = "support/caffe.rs"]
mod caffe_file;

use std::path::Path;

use caffe_file::{Encoding, LayerFile, caffemodel};
use proptest::prelude::*;
use proptest::sample::select;
use residuum_formats::{Bytes, NamedTensors, RawTensor, caffe, disk, npy, read_weights_bytes, safetensors};
use residuum_tensor::Tensor;

fn fixture(name: &str) -> Vec<u8> {
    disk::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name), 100_000).unwrap()
}

/// Valid files of every format.
fn valid_files() -> Vec<Vec<u8>> {
    let mut named = NamedTensors::new();
    named.insert("a", RawTensor::from_f32(&Tensor::from_fn([2, 3], |i| i as f32)));
    named.insert("b", RawTensor::from_i64(&Tensor::from_fn([], |_| 1)));
    let names =
        ["bare_zip.pth", "bare_legacy.pth", "nested_zip.pth", "nested_legacy.pth", "parameter_protocol4.pth"];
    let arrays = ["fortran.npy", "stored.npz", "deflated.npz"];
    let mut files: Vec<_> = names.into_iter().chain(arrays).map(fixture).collect();
    let blobs = vec![(vec![2, 1, 1, 2], vec![1.0, 2.0, 3.0, 4.0]), (vec![2], vec![5.0, 6.0])];
    let layers = [LayerFile { name: "conv1".into(), kind: "Convolution".into(), blobs }];
    files.extend([Encoding::New, Encoding::Old].map(|encoding| caffemodel("net", &layers, encoding)));
    files.push(DEFINITION.as_bytes().to_vec());
    files.push(safetensors::write_to_vec(&named).unwrap());
    files
}

const DEFINITION: &str = r#"input: "data" input_shape { dim: [1, 3, 8, 8] } # comment
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE kernel_size: 8 stride: 1 } }
layer { name: "f" type: "InnerProduct" bottom: "p" top: 'f' inner_product_param < num_output: 2 > }"#;

/// Gives the bytes to every reader, and what a reader accepts to every conversion.
fn read_all(bytes: Vec<u8>) {
    let bytes = Bytes::from(bytes);
    let readers =
        [read_weights_bytes, safetensors::read_bytes, residuum_formats::pth::read_bytes, npy::read_npz_bytes];
    let named = readers.into_iter().filter_map(|read| read(&bytes).ok());
    let arrays: Vec<RawTensor> =
        named.flat_map(|named| named.iter().map(|(_, tensor)| tensor.clone()).collect::<Vec<_>>()).collect();
    let layers = caffe::read_weights_bytes(&bytes).into_iter().flat_map(|net| net.layers);
    let blobs = layers.flat_map(|layer| layer.blobs).chain(caffe::read_mean_bytes(&bytes));
    if let Ok(text) = std::str::from_utf8(&bytes) {
        let _ = caffe::parse_definition(text);
    }
    for tensor in arrays.into_iter().chain(npy::read_bytes(&bytes)).chain(blobs) {
        let numbers = tensor.to_f32().unwrap();
        assert_eq!(numbers.shape(), tensor.shape());
    }
}

/// A change to a file: a place and what is done there.
#[derive(Clone, Debug)]
enum Damage {
    Flip(usize, u8),
    Put(usize, Vec<u8>),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let long_lengths = select(vec![vec![0xff; 4], vec![0xff; 8], vec![0; 8], vec![0xff, 0xff, 0xff, 0x7f]]);
    let instructions = select(b"().012NRbaesutQqhrjc}]\x85\x86\x93\x94\x8a\x8d".to_vec());
    prop_oneof![
        4 => (any::<usize>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        2 => (any::<usize>(), long_lengths).prop_map(|(at, bytes)| Damage::Put(at, bytes)),
        4 => (any::<usize>(), instructions).prop_map(|(at, byte)| Damage::Put(at, vec![byte])),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Put(at, vec![byte])),
        1 => any::<usize>().prop_map(Damage::Cut),
        1 => (any::<usize>(), 1usize..40).prop_map(|(at, len)| Damage::Remove(at, len)),
        1 => (any::<usize>(), 1usize..40).prop_map(|(at, len)| Damage::Repeat(at, len)),
    ]
}

fn apply(file: &mut Vec<u8>, damage: &Damage) {
    if file.is_empty() {
        return;
    }
    let len = file.len();
    match damage {
        Damage::Flip(at, bit) => file[at % len] ^= 1 << bit,
        Damage::Put(at, bytes) => {
            for (byte, new) in file[at % len..].iter_mut().zip(bytes) {
                *byte = *new;
            }
        }
        Damage::Cut(at) => file.truncate(at % len),
        Damage::Remove(at, count) => drop(file.drain(at % len..(at % len + count).min(len))),
        Damage::Repeat(at, count) => {
            let piece = file[at % len..(at % len + count).min(len)].to_vec();
            file.splice(at % len..at % len, piece);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_are_read_or_refused(file in select(valid_files()), damages in prop::collection::vec(damage(), 1..6)) {
        let mut file = file;
        for damage in &damages {
            apply(&mut file, damage);
        }
        read_all(file);
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(
        start in select(vec![b"".to_vec(), b"PK\x03\x04".to_vec(), b"\x80\x02".to_vec(), b"\x93NUMPY\x01\x00".to_vec()]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        read_all([start, rest].concat());
    }

    #[test]
    fn our_safetensors_reader_agrees_with_the_formats_own(damages in prop::collection::vec(damage(), 1..3)) {
        let mut file = valid_files().pop().unwrap();
        for damage in &damages {
            apply(&mut file, damage);
        }
        if let Ok(ours) = safetensors::read_bytes(&file.clone().into()) {
            let theirs = ::safetensors::SafeTensors::deserialize(&file).unwrap();
            prop_assert_eq!(ours.len(), theirs.len());
            for (name, tensor) in ours.iter() {
                let view = theirs.tensor(name).unwrap();
                prop_assert_eq!((tensor.shape(), &tensor.data()[..]), (view.shape(), view.data()));
            }
        }
    }
}
