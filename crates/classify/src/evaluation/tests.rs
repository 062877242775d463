use residuum_data::{Crops, RgbImage};
use residuum_engine::{Engine, EngineOptions};
use residuum_models::{build, initialise};

use super::*;
use crate::load::Loaded;
use crate::score::{cross_entropy, softmax, top, widen};

const CLASSES: [&str; 6] = ["ant", "bee", "cat", "dog", "eel", "fox"];

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

/// Larger pictures than the network's, another in every corner and direction.
fn data() -> Dataset {
    let (w, h, count) = (37, 29, 14);
    let value = |i: usize| (i * 131 + (i / 3 % w) * (i / (3 * w * h) + 3) * 17 + (i >> 7) * 29) as u8;
    let bytes = (0..3 * w * h * count).map(value).collect();
    let labels = (0..count as u32).map(|i| i * 5 % 6).collect();
    Dataset::from_pixels("uneven", names(&CLASSES), labels, (w, h), bytes).unwrap()
}

fn preprocess(resize: usize, crop: usize) -> Preprocess {
    Preprocess { resize: Some(resize), crop, ..Preprocess::cifar10() }
}

fn classifier(seed: u64, classes: &[&str], preprocess: Preprocess) -> Classifier {
    let model = build("cifar_resnet8", Some(classes.len())).unwrap();
    let weights = initialise(&model.graph, seed);
    let engine = Engine::new(&EngineOptions { threads: Some(2), ..EngineOptions::default() }).unwrap();
    Classifier::new(engine, Loaded::new(model, weights, names(classes), preprocess))
}

fn options(crops: Crops, flip: bool, average: Average, positions: Positions) -> EvaluateOptions {
    let views = Views { crops, flip };
    EvaluateOptions { batch_size: 24, views, average, positions, ..EvaluateOptions::default() }
}

/// The network's logits for a prepared picture of any size.
fn logits(classifier: &Classifier, pixels: &[f32], h: usize, w: usize) -> Vec<f64> {
    let Loaded { model, weights, .. } = classifier.loaded();
    let shape = residuum_engine::InputShape { n: 1, h, w };
    widen(classifier.engine().inference(&model.graph, weights, shape, &[]).unwrap().run(pixels))
}

fn mean(answers: &[Vec<f64>]) -> Vec<f64> {
    (0..answers[0].len()).map(|i| answers.iter().map(|a| a[i]).sum::<f64>() / answers.len() as f64).collect()
}

/// Classes and loss of scores for every picture of the data, which must be those of an evaluation.
fn assert_is(evaluation: &Evaluation, data: &Dataset, scores: impl Fn(&RgbImage) -> Vec<f64>) {
    let mut loss = 0.0;
    for i in 0..data.len() {
        let scores = scores(&data.image(i).unwrap());
        assert_eq!(evaluation.predicted[i], Some(top(&scores, 1)[0] as u32), "picture {i}");
        loss += cross_entropy(&scores, data.label(i) as usize) / data.len() as f64;
    }
    assert!((evaluation.loss - loss).abs() < 1e-5, "{} is not {loss}", evaluation.loss);
}

fn normalised(preprocess: &Preprocess, image: &RgbImage) -> Vec<f32> {
    let mut out = vec![0.0; image.pixels().len()];
    preprocess.normalise(image, &mut out);
    out
}

fn resized(image: &RgbImage, w: usize, h: usize) -> RgbImage {
    residuum_data::resize(image, w, h, residuum_data::Interpolation::Bilinear)
}

#[test]
fn ten_crops_are_averaged_as_logits_or_as_probabilities() {
    let (data, prepared) = (data(), preprocess(24, 16));
    let mut network = classifier(1, &CLASSES, prepared.clone());
    for average in [Average::Logits, Average::Probabilities] {
        let options = options(Crops::Ten, false, average, Positions::default());
        let found = network.evaluate(&data, &options, |_| ()).unwrap();
        assert_is(&found, &data, |image| {
            // Shorter side 24: 30 x 24, of which 14 and 8 are too many.
            let whole = resized(image, 30, 24);
            let corners = [(0, 0), (14, 0), (0, 8), (14, 8), (7, 4)];
            let parts = corners.map(|(x, y)| whole.crop(x, y, 16, 16));
            let answers = parts.iter().flat_map(|part| [part.clone(), part.flip()]).map(|view| {
                let logits = logits(&network, &normalised(&prepared, &view), 16, 16);
                if average == Average::Logits { logits } else { softmax(&logits) }
            });
            let mean = mean(&answers.collect::<Vec<_>>());
            if average == Average::Logits { mean } else { mean.iter().map(|p| p.ln()).collect() }
        });
    }
}

#[test]
fn scales_are_those_of_each_size_alone() {
    let (data, prepared) = (data(), preprocess(20, 16));
    let mut network = classifier(2, &CLASSES, prepared.clone());
    let crops = Crops::Scales(vec![16, 24]);
    let options = options(crops, true, Average::Logits, Positions::Whole);
    let found = network.evaluate(&data, &options, |_| ()).unwrap();
    assert_is(&found, &data, |image| {
        let wholes = [resized(image, 20, 16), resized(image, 30, 24)];
        let views = wholes.iter().flat_map(|whole| [whole.clone(), whole.flip()]);
        let answers = views.map(|v| logits(&network, &normalised(&prepared, &v), v.height(), v.width()));
        mean(&answers.collect::<Vec<_>>())
    });
}

#[test]
fn windows_answer_at_every_position_of_the_last_map() {
    let (data, prepared) = (data(), preprocess(20, 16));
    let mut network = classifier(3, &CLASSES, prepared.clone());
    // At 16 the last map is 4 x 4, at 24 x 30 it is 6 x 8: three by five windows.
    for average in [Average::Logits, Average::Probabilities] {
        let crops = Crops::Scales(vec![24]);
        let found =
            network.evaluate(&data, &options(crops, false, average, Positions::Windows), |_| ()).unwrap();
        let Loaded { model, weights, .. } = network.loaded();
        let shape = residuum_engine::InputShape { n: 1, h: 24, w: 30 };
        let taps = ["layer3".to_owned()];
        assert_is(&found, &data, |image| {
            let mut program = network.engine().inference(&model.graph, weights, shape, &taps).unwrap();
            program.run(&normalised(&prepared, &resized(image, 30, 24)));
            let map = program.tap("layer3").unwrap();
            assert_eq!(map.shape(), [1, 64, 6, 8]);
            let (matrix, bias) = (weights["fc.weight"].data(), weights["fc.bias"].data());
            let answer = |top: usize, left: usize| -> Vec<f64> {
                let feature = |c: usize| {
                    let places = (0..16).map(|i| c * 48 + (top + i / 4) * 8 + left + i % 4);
                    places.map(|place| f64::from(map.data()[place])).sum::<f64>() / 16.0
                };
                let features: Vec<f64> = (0..64).map(feature).collect();
                let class = |k: usize| {
                    let row = &matrix[k * 64..][..64];
                    row.iter().zip(&features).map(|(&w, x)| f64::from(w) * x).sum::<f64>()
                        + f64::from(bias[k])
                };
                let logits: Vec<f64> = (0..6).map(class).collect();
                if average == Average::Logits { logits } else { softmax(&logits) }
            };
            let answers: Vec<Vec<f64>> = (0..15).map(|i| answer(i / 5, i % 5)).collect();
            let mean = mean(&answers);
            if average == Average::Logits { mean } else { mean.iter().map(|p| p.ln()).collect() }
        });
    }
    let below = options(Crops::Scales(vec![8]), false, Average::Logits, Positions::Windows);
    let error = network.evaluate(&data, &below, |_| ()).unwrap_err().to_string();
    assert!(error.contains("window"), "{error}");
}

#[test]
fn a_square_picture_of_the_own_size_has_one_position() {
    let data = data();
    let square = data.image(0).unwrap().crop(0, 0, 20, 20);
    let data = Dataset::from_pixels("one", names(&CLASSES), vec![2], (20, 20), square.into_pixels()).unwrap();
    let mut network = classifier(4, &CLASSES, preprocess(16, 16));
    let single = network.evaluate(&data, &EvaluateOptions::default(), |_| ()).unwrap();
    for positions in [Positions::Windows, Positions::Whole] {
        let scales = options(Crops::Scales(vec![16]), false, Average::Probabilities, positions);
        let found = network.evaluate(&data, &scales, |_| ()).unwrap();
        assert!((found.loss - single.loss).abs() < 1e-5, "{positions:?}");
    }
}

#[test]
fn a_network_together_with_itself_is_itself() {
    let data = data();
    let network = || classifier(5, &CLASSES, preprocess(20, 16));
    let found = evaluate(&mut [network(), network()], &data, &EvaluateOptions::default(), |_| ()).unwrap();
    let together = found.ensemble.unwrap();
    let alone = network().evaluate(&data, &EvaluateOptions::default(), |_| ()).unwrap();
    for member in &found.members {
        assert_eq!((member.loss, &member.predicted), (alone.loss, &alone.predicted));
    }
    assert_eq!(together.predicted, alone.predicted);
    assert_eq!((together.correct, together.correct5), (alone.correct, alone.correct5));
    assert!((together.loss - alone.loss).abs() < 1e-12);
}

#[test]
fn an_ensemble_averages_probabilities_whatever_its_members_sizes_and_orders() {
    let data = data();
    let turned = ["fox", "ant", "bee", "cat", "dog", "eel"];
    let prepared = [preprocess(20, 16), preprocess(32, 24), preprocess(20, 16)];
    let mut members = [
        classifier(6, &CLASSES, prepared[0].clone()),
        classifier(7, &turned, prepared[1].clone()),
        classifier(8, &["0", "1", "2", "3", "4", "5"], prepared[2].clone()),
    ];
    let mut last = None;
    let options = EvaluateOptions { batch_size: 4, ..EvaluateOptions::default() };
    let found = evaluate(&mut members, &data, &options, |progress| last = Some(progress)).unwrap();
    let together = found.ensemble.unwrap();
    let reached = last.unwrap();
    assert_eq!((reached.images, reached.total, reached.correct), (14, 14, together.correct));
    assert_is(&together, &data, |image| {
        let answers = members.iter().zip(&prepared).enumerate().map(|(i, (member, prepared))| {
            let mut p = softmax(&logits(member, &prepared.apply(image), prepared.crop, prepared.crop));
            if i == 1 {
                p.rotate_left(1);
            }
            p
        });
        mean(&answers.collect::<Vec<_>>()).iter().map(|p| p.ln()).collect()
    });
    for (member, alone) in members.iter_mut().zip(&found.members) {
        let again = member.evaluate(&data, &EvaluateOptions::default(), |_| ()).unwrap();
        assert_eq!((again.correct, &again.predicted), (alone.correct, &alone.predicted));
    }
}

#[test]
fn the_confusion_sums_to_the_images_and_its_diagonal_to_the_correct() {
    let data = data();
    let found = classifier(9, &CLASSES, preprocess(20, 16))
        .evaluate(&data, &options(Crops::One, true, Average::Logits, Positions::default()), |_| ())
        .unwrap();
    for (class, row) in found.classes.iter().zip(&found.confusion) {
        assert_eq!(row.iter().sum::<u64>(), class.images as u64);
    }
    let diagonal: u64 = (0..6).map(|i| found.confusion[i][i]).sum();
    assert_eq!((found.images, diagonal), (14, found.correct as u64));
    assert_eq!(found.classes.iter().map(|class| class.correct).sum::<usize>(), found.correct);
}

#[test]
fn members_with_other_classes_are_refused() {
    let data = data();
    let mut more = CLASSES.to_vec();
    more.push("gnu");
    let mut members = [classifier(1, &CLASSES, preprocess(20, 16)), classifier(1, &more, preprocess(20, 16))];
    let error = evaluate(&mut members, &data, &EvaluateOptions::default(), |_| ()).unwrap_err().to_string();
    assert!(error.contains("one by one") && error.contains('7'), "{error}");
    assert!(evaluate(&mut [], &data, &EvaluateOptions::default(), |_| ()).is_err());
}
