//! Real weights on real images, and real photographs through formula weights, against PyTorch's answers.
//!
//! The environment variable `RESIDUUM_DATA` names the folder that holds `data/` and `golden/`.
#![allow(clippy::print_stdout)] // What was measured is worth reading beside the verdict.

use std::path::PathBuf;

use residuum_classify::{
    Average, Classifier, EvaluateOptions, Head, LoadOptions, Loaded, evaluate, load_model, numbers,
};
use residuum_data::{Crops, Dataset, Limits, OpenOptions, Preprocess, RgbImage, Split, Views, decode, open};
use residuum_engine::{Engine, EngineOptions, InputShape, TrainingOptions};
use residuum_formats::{disk, npy};
use residuum_models::{build, formula};
use serde_json::Value;

fn shared(path: &str) -> PathBuf {
    let folder =
        std::env::var_os("RESIDUUM_DATA").expect("RESIDUUM_DATA names the folder with data/ and golden/");
    PathBuf::from(folder).join(path)
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&disk::read(shared(path), 64 << 20).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn engine() -> Engine {
    Engine::new(&EngineOptions::default()).unwrap()
}

/// Largest difference over largest magnitude of the reference.
fn deviation(ours: &[f32], reference: &[f32]) -> f32 {
    assert_eq!(ours.len(), reference.len());
    let difference = ours.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    difference / reference.iter().map(|x| x.abs()).fold(0.0, f32::max)
}

fn cifar10() -> Dataset {
    let path = shared("data/cifar10/plain_text");
    open(path.to_str().unwrap(), Split::Test, &OpenOptions::default()).unwrap()
}

fn real(net: &str, model: &str) {
    let golden = &json("golden/real.json")["nets"][net];
    let weights = shared("data/weights").join(golden["weights"].as_str().unwrap());
    let loaded = load_model(weights, &LoadOptions { model: Some(model), head: Head::Keep }).unwrap();
    let mut classifier = Classifier::new(engine(), loaded);
    let data = cifar10();

    let first: Vec<RgbImage> = (0..100).map(|i| data.image(i).unwrap()).collect();
    let logits = classifier.logits(&first).unwrap();
    let reference = npy::read(shared(&format!("golden/{net}.logits100.npy"))).unwrap().to_f32().unwrap();
    let off = deviation(&logits, reference.data());

    let options = EvaluateOptions { batch_size: 96, ..EvaluateOptions::default() };
    let evaluation = classifier.evaluate(&data, &options, |_| ()).unwrap();
    let predicted = npy::read(shared(&format!("golden/{net}.predicted.npy"))).unwrap().to_u8().unwrap();
    let ours = evaluation.predicted.iter().map(|class| class.unwrap());
    let equal = ours.zip(predicted.data()).filter(|&(ours, &theirs)| ours == u32::from(theirs)).count();
    let (correct, expected) = (evaluation.correct as i64, golden["correct"].as_i64().unwrap());
    let loss = golden["cross_entropy"].as_f64().unwrap();
    let report =
        format!("{net}: {correct} correct, {equal} equal, logits off by {off:.1e}, loss {}", evaluation.loss);
    println!("{report}");
    assert_eq!(evaluation.images, 10_000);
    assert!((correct - expected).abs() <= 2 && equal >= 9_998 && off < 1e-3, "{report}");
    assert!((evaluation.loss - loss).abs() < 1e-4, "{report}, reference {loss}");
    let per_class = evaluation.classes.iter().zip(golden["per_class_correct"].as_array().unwrap());
    for (class, expected) in per_class {
        assert!((class.correct as i64 - expected.as_i64().unwrap()).abs() <= 2, "{}", class.name);
    }
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn resnet20_answers_as_in_pytorch() {
    real("resnet20", "cifar_resnet20.akamaster");
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn resnet56_answers_as_in_pytorch() {
    real("resnet56", "cifar_resnet56.akamaster");
}

/// A network with formula weights whose running statistics come from one training pass over the formula batch.
fn formula_classifier(name: &str) -> Classifier {
    let engine = engine();
    let model = build(name, Some(10)).unwrap();
    let shape = InputShape { n: 4, h: 64, w: 64 };
    let options = TrainingOptions { norm_momentum: 1.0, ..TrainingOptions::default() };
    let mut training =
        engine.training(&model.graph, &formula::weights(&model.graph), shape, &options).unwrap();
    let images = formula::input("input", &[4, 3, 64, 64]);
    training.forward_backward(images.data(), &formula::labels(4, 10));
    let weights = training.weights();
    Classifier::new(engine, Loaded::new(model, weights, numbers(10), Preprocess::imagenet()))
}

fn photographs(name: &str, key: &str) {
    let golden = json("golden/photos.json");
    let photos = golden["photos"].as_array().unwrap();
    let images: Vec<RgbImage> = photos
        .iter()
        .map(|photo| {
            let file = shared("data/photos").join(photo["file"].as_str().unwrap());
            decode(&disk::read(file, 64 << 20).unwrap(), &Limits::default()).unwrap()
        })
        .collect();
    let mut classifier = formula_classifier(name);
    let mut worst = (0.0, "");
    for (part, (images, photos)) in images.chunks(20).zip(photos.chunks(20)).enumerate() {
        let logits = classifier.logits(images).unwrap();
        for (i, (logits, photo)) in logits.chunks_exact(10).zip(photos).enumerate() {
            let off = deviation(logits, &floats(&golden[key]["logits"][part * 20 + i]));
            if off > worst.0 {
                worst = (off, photo["file"].as_str().unwrap());
            }
        }
    }
    println!("{name}: off by at most {:.1e}, {}", worst.0, worst.1);
    assert_eq!(images.len(), 100);
    assert!(worst.0 < 0.01, "{name}: {worst:?}");
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn resnet18_sees_photographs_as_in_pytorch() {
    photographs("resnet18", "formula_resnet18");
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn resnet50_sees_photographs_as_in_pytorch() {
    photographs("resnet50.tv", "formula_resnet50");
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn the_same_pixels_in_a_png_give_the_same_logits() {
    let folder = tempfile::tempdir().unwrap();
    let mut classifier = formula_classifier("resnet18");
    for photo in &json("golden/photos.json")["photos"].as_array().unwrap()[..5] {
        let jpeg = shared("data/photos").join(photo["file"].as_str().unwrap());
        let decoded = decode(&disk::read(&jpeg, 64 << 20).unwrap(), &Limits::default()).unwrap();
        let path = folder.path().join("same.png");
        std::fs::write(&path, png(&decoded)).unwrap();
        let answers = classifier.predict_files(&[jpeg, path], 10).unwrap();
        let [from_jpeg, from_png] = &answers[..] else { panic!("two answers") };
        assert_eq!(from_jpeg.as_ref().unwrap(), from_png.as_ref().unwrap(), "{photo}");
    }
}

/// An uncompressed PNG.
fn png(image: &RgbImage) -> Vec<u8> {
    let raw: Vec<u8> =
        (0..image.height()).flat_map(|y| std::iter::once(0).chain(image.row(y).iter().copied())).collect();
    let mut data = b"IDAT\x78\x01".to_vec();
    let blocks = raw.chunks(65_535);
    let last = blocks.len() - 1;
    for (i, block) in blocks.enumerate() {
        let len = block.len() as u16;
        data.push(u8::from(i == last));
        data.extend(len.to_le_bytes());
        data.extend((!len).to_le_bytes());
        data.extend(block);
    }
    let (a, b) = raw.iter().fold((1u32, 0u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    data.extend((b << 16 | a).to_be_bytes());
    let mut header = b"IHDR".to_vec();
    header.extend((image.width() as u32).to_be_bytes());
    header.extend((image.height() as u32).to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for chunk in [&header[..], &data[..], b"IEND"] {
        file.extend((chunk.len() as u32 - 4).to_be_bytes());
        file.extend(chunk);
        file.extend(crc32(chunk).to_be_bytes());
    }
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn two_networks_together_are_better_than_each() {
    let member = |net: &str| {
        let file = json("golden/real.json")["nets"][net]["weights"].as_str().unwrap().to_owned();
        let model = format!("cifar_{net}.akamaster");
        let options = LoadOptions { model: Some(&model), head: Head::Keep };
        Classifier::new(engine(), load_model(shared("data/weights").join(file), &options).unwrap())
    };
    let mut members = [member("resnet20"), member("resnet56")];
    let found = evaluate(&mut members, &cifar10(), &EvaluateOptions::default(), |_| ()).unwrap();
    let together = found.ensemble.unwrap();
    let correct: Vec<usize> = found.members.iter().map(|member| member.correct).collect();
    println!(
        "resnet20 and resnet56: {correct:?} correct, together {}, loss {}",
        together.correct, together.loss
    );
    assert!(correct[0].abs_diff(9173) <= 2 && correct[1].abs_diff(9339) <= 2, "{correct:?}");
    assert!(together.correct > 9339 && together.loss < found.members[1].loss);
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn photographs_have_ten_crops() {
    let folder = tempfile::tempdir().unwrap();
    let photos = json("golden/photos.json")["photos"].as_array().unwrap().clone();
    for (i, photo) in photos[..20].iter().enumerate() {
        let name = photo["file"].as_str().unwrap();
        let class = folder.path().join((i % 10).to_string());
        std::fs::create_dir_all(&class).unwrap();
        std::fs::copy(shared("data/photos").join(name), class.join(name)).unwrap();
    }
    let data = open(folder.path().to_str().unwrap(), Split::Test, &OpenOptions::default()).unwrap();
    let mut classifier = formula_classifier("resnet18");
    let views = Views { crops: Crops::Ten, flip: false };
    let options = EvaluateOptions { batch_size: 20, views, average: Average::Logits, ..Default::default() };
    let found = classifier.evaluate(&data, &options, |_| ()).unwrap();
    assert_eq!(found.images, 20);
    // One of them by hand: the mean logits of five crops and their mirror images.
    let image = data.image(7).unwrap();
    let views = options.views.frames(&Preprocess::imagenet(), image.width(), image.height());
    let (w, h) = views[0].resized;
    let whole = residuum_data::resize(&image, w, h, residuum_data::Interpolation::Bilinear);
    let crops = views.iter().map(|frame| whole.crop(frame.window.left, frame.window.top, 224, 224));
    let crops: Vec<RgbImage> = crops.flat_map(|crop| [crop.clone(), crop.flip()]).collect();
    classifier = {
        let mut loaded = classifier.loaded().clone();
        loaded.info.preprocess.resize = None;
        Classifier::new(engine(), loaded)
    };
    let logits = classifier.logits(&crops).unwrap();
    let mean = |class: usize| logits.iter().skip(class).step_by(10).sum::<f32>();
    let best = (0..10).max_by(|&a, &b| mean(a).total_cmp(&mean(b))).unwrap();
    assert_eq!(found.predicted[7], Some(best as u32));
}
