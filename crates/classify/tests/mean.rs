//! A network whose pictures are prepared with a mean image answers as in PyTorch, and its file stands alone.

use residuum_classify::{Classifier, LoadOptions, ModelFile, ModelInfo, load_model, numbers};
use residuum_data::{Mean, MeanImage, Preprocess, RgbImage};
use residuum_engine::{Engine, EngineOptions};
use residuum_formats::safetensors;
use residuum_models::{build, formula};

/// Numbers in [0, 1) from a name, as `tests/reference/formula.py` makes them.
fn unit(name: &str) -> Vec<f64> {
    formula::symmetric(name, 32 * 32 * 3).into_iter().map(|r| f64::midpoint(r, 1.0)).collect()
}

fn picture() -> RgbImage {
    let values = unit("picture");
    RgbImage::from_fn(32, 32, |x, y| [0, 1, 2].map(|c| (256.0 * values[3 * (32 * y + x) + c]) as u8))
}

fn file() -> ModelFile {
    let model = build("cifar_resnet20", Some(10)).unwrap();
    let pixels = unit("mean").chunks(3).map(|u| [u[0] as f32, u[1] as f32, u[2] as f32]).collect();
    let image = MeanImage::new(32, pixels).unwrap();
    let preprocess = Preprocess { mean: Mean::Image(image), std: [1.0 / 255.0; 3], ..Preprocess::cifar10() };
    let info = ModelInfo::new(model.name.clone(), numbers(10), preprocess);
    ModelFile { weights: formula::weights(&model.graph), info }
}

/// PyTorch's logits in `f64` for `he.cifar(20)` with formula weights: of `(picture / 255 - mean) * 255`, where
/// the picture is `floor(256 u)` and the mean `u`, of shape `[32, 32, 3]`.
#[test]
fn answers_are_those_of_pytorch() {
    const EXPECTED: [f32; 10] = [
        -341.2515, -4142.614, 2200.153, 2957.567, -4046.733, -1416.688, 4154.176, -4778.643, -3436.833,
        942.8077,
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let file = file();
    file.save(&path).unwrap();
    assert_eq!(ModelFile::load(&path).unwrap(), file);

    let loaded = load_model(&path, &LoadOptions::default()).unwrap();
    assert!(loaded.info.preprocess == file.info.preprocess);
    for threads in [1, 3] {
        let options = EngineOptions { threads: Some(threads), ..EngineOptions::default() };
        let mut classifier = Classifier::new(Engine::new(&options).unwrap(), loaded.clone());
        let logits = classifier.logits(&[picture()]).unwrap();
        for (found, expected) in logits.iter().zip(EXPECTED) {
            assert!((found - expected).abs() < 1e-4 * 4778.6, "{logits:?}");
        }
    }
}

#[test]
fn a_mean_of_another_shape_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let good = file().to_tensors().unwrap();
    for (from, to, told) in [
        ("\"crop\":32", "\"crop\":24", "the crop's 24 x 24 pixels, found 32 x 32"),
        ("\"mean\":[[[", "\"mean\":[[[1e39,0.0,0.0],[", "32 x 32 pixels, found a row of 33"),
        ("\"mean\":[[[", "\"mean\":[[[null,", "rows of pixels"),
    ] {
        let mut named = good.clone();
        let text = named.metadata.get_mut("residuum.preprocess").unwrap();
        assert!(text.contains(from));
        *text = text.replacen(from, to, 1);
        safetensors::write(&path, &named).unwrap();
        let error = load_model(&path, &LoadOptions::default()).unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("preprocess") && !error.contains('\n'), "{error}");
    }
}
