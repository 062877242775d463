//! Real files: weights trained elsewhere and arrays made by PyTorch and Pillow.

use std::path::PathBuf;

use residuum_formats::{npy, read_weights, safetensors};
use residuum_tensor::DType;

fn shared(path: &str) -> PathBuf {
    let root = std::env::var_os("RESIDUUM_DATA").expect("RESIDUUM_DATA must name the folder of shared data");
    PathBuf::from(root).join(path)
}

fn trained_parameters(file: &str) -> (usize, usize, String) {
    let named = read_weights(shared(file)).unwrap();
    assert!(named.names().all(|name| !name.starts_with("module.")));
    assert_eq!(named.require("conv1.weight").unwrap().shape(), [16, 3, 3, 3]);
    assert_eq!(named.require("linear.weight").unwrap().shape(), [10, 64]);
    let count = |is_running: bool| {
        let wanted = named.iter().filter(|(name, _)| name.contains(".running_") == is_running);
        wanted.map(|(_, tensor)| tensor.len()).sum()
    };
    assert!(named.iter().all(|(_, tensor)| tensor.to_f32().unwrap().data().iter().all(|x| x.is_finite())));
    (count(false), count(true), named.metadata["best_prec1"].clone())
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn trained_cifar_nets_are_read_whole() {
    let (parameters, running, accuracy) = trained_parameters("data/weights/resnet20-12fca82f.th");
    assert_eq!((parameters, running), (269_722, 2 * 688));
    assert!((accuracy.parse::<f64>().unwrap() - 91.78).abs() < 0.001, "{accuracy}");
    let (parameters, ..) = trained_parameters("data/weights/resnet56-4bfd9763.th");
    assert_eq!(parameters, 853_018);
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn golden_safetensors_hold_the_same_names_as_the_trained_net() {
    let golden = safetensors::read(shared("golden/one_step.safetensors")).unwrap();
    let trained = read_weights(shared("data/weights/resnet20-12fca82f.th")).unwrap();
    for (name, tensor) in trained.iter() {
        assert_eq!(golden.require(name).unwrap().shape(), tensor.shape(), "{name}");
    }
    let again = safetensors::read_bytes(&safetensors::write_to_vec(&golden).unwrap().into()).unwrap();
    assert!(golden.iter().eq(again.iter()));
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn golden_arrays_are_read() {
    let predicted = npy::read(shared("golden/resnet20.predicted.npy")).unwrap().to_u8().unwrap();
    assert_eq!(predicted.shape(), [10_000]);
    assert!(predicted.data().iter().all(|&class| class < 10));
    let logits = npy::read(shared("golden/resnet56.logits100.npy")).unwrap();
    assert_eq!((logits.shape(), logits.dtype()), ([100, 10].as_slice(), DType::F32));
    let logits = logits.to_f32().unwrap();
    assert!(logits.data().iter().all(|x| x.is_finite()));
    let resized = npy::read_npz(shared("golden/resize/resized.npz")).unwrap();
    assert_eq!(resized.require("0_ramp_check_1x1_bilinear").unwrap().shape(), [1, 1, 3]);
    assert!(resized.iter().all(|(_, image)| image.dtype() == DType::U8 && image.shape()[2] == 3));
}
