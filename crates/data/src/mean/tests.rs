use super::*;
use crate::image::RgbImage;
use crate::views::{Crops, Views};

const COUNT: usize = 600;

/// Pictures of noise, with a bright corner.
fn data() -> Dataset {
    let byte = |i: usize| {
        let corner = i % 3072 < 300;
        (i.wrapping_mul(2_654_435_761) >> 13) as u8 / 2 + if corner { 128 } else { 0 }
    };
    let bytes = (0..COUNT * 3072).map(byte).collect();
    Dataset::from_pixels("noise", vec!["a".into()], vec![0; COUNT], (32, 32), bytes).unwrap()
}

fn image() -> MeanImage {
    MeanImage::of(&data(), &Preprocess::cifar10(), 2, |_| true).unwrap().unwrap()
}

fn prepared() -> Preprocess {
    Preprocess { mean: Mean::Image(image()), std: [0.2, 0.25, 0.3], ..Preprocess::cifar10() }
}

#[test]
fn the_image_is_the_mean_of_every_pixel() {
    let data = data();
    let mut sums = vec![0.0f64; 3072];
    for i in 0..COUNT {
        let picture = data.image(i).unwrap();
        sums.iter_mut().zip(picture.pixels()).for_each(|(sum, &byte)| *sum += f64::from(byte) / 255.0);
    }
    let found = image();
    for (pixel, sums) in found.pixels().iter().zip(sums.chunks_exact(3)) {
        for (value, sum) in pixel.iter().zip(sums) {
            assert!((f64::from(*value) - sum / COUNT as f64).abs() < 1e-7);
        }
    }
    let mean = sums.iter().step_by(3).sum::<f64>() / (1024 * COUNT) as f64;
    assert!((f64::from(found.colours()[0]) - mean).abs() < 1e-7);
    assert!(found.pixels()[0][0] > found.pixels()[1023][0] + 0.4, "the corner is seen");
    for threads in [1, 3, 7] {
        let other = MeanImage::of(&data, &Preprocess::cifar10(), threads, |_| true).unwrap().unwrap();
        assert!(other == found, "{threads} threads");
    }
    // Of part of the pictures; stopped in between.
    let half = data.subset(&(0..COUNT / 2).collect::<Vec<_>>());
    assert!(MeanImage::of(&half, &Preprocess::cifar10(), 2, |_| true).unwrap().unwrap() != found);
    let mut heard = Vec::new();
    let stopped = MeanImage::of(&data, &Preprocess::cifar10(), 2, |done| {
        heard.push(done);
        done < 2 * PORTION
    });
    assert_eq!((stopped.unwrap(), heard), (None, vec![PORTION, 2 * PORTION]));
}

#[test]
fn the_image_is_subtracted_and_added_again() {
    let (picture, preprocess) = (data().image(7).unwrap(), prepared());
    preprocess.check().unwrap();
    let values = preprocess.apply(&picture);
    for (i, value) in values.iter().enumerate() {
        let (plane, at) = (i / 1024, i % 1024);
        let byte = f32::from(picture.pixels()[3 * at + plane]);
        let expected = (byte / 255.0 - image().pixels()[at][plane]) / preprocess.std[plane];
        assert_eq!(value.to_bits(), expected.to_bits(), "{i}");
    }
    assert!(preprocess.restore(&values) == picture);
    let bgr = Preprocess { channels: crate::preprocess::ChannelOrder::Bgr, ..preprocess.clone() };
    let turned = bgr.apply(&picture);
    assert!(turned[..1024] == values[2048..] && turned[1024..2048] == values[1024..2048]);
    assert!(bgr.restore(&turned) == picture);

    // At another size the mean of each colour stands for the image.
    let small = preprocess.with_crop(24);
    assert_eq!(small.mean, Mean::Colours(image().colours()));
    let mut found = vec![0.0; 3 * 24 * 24];
    let view = small.view(&picture);
    preprocess.normalise(&view, &mut found);
    assert!(found == small.apply(&picture));
    assert_eq!(preprocess.with_crop(32), preprocess);
}

#[test]
fn a_mirror_image_takes_its_mean_along() {
    let picture = data().image(3).unwrap();
    let resized = Preprocess { resize: Some(36), ..prepared() };
    for (preprocess, crops) in [(prepared(), Crops::One), (resized, Crops::Ten)] {
        let views = Views { flip: crops == Crops::One, crops };
        let mut stacks = Vec::new();
        views.add(&picture, &preprocess, 1, &mut stacks);
        let pixels: Vec<&[f32]> = stacks[0].pixels.chunks_exact(3072).collect();
        assert_eq!(pixels.len(), views.count());
        let frames = views.frames(&preprocess, 32, 32);
        for (pair, frame) in pixels.chunks_exact(2).zip(frames) {
            let mut upright = vec![0.0; 3072];
            preprocess.normalise(&frame.cut(&picture, preprocess.interpolation), &mut upright);
            assert!(pair[0] == upright);
            upright.chunks_exact_mut(32).for_each(<[f32]>::reverse);
            assert!(pair[1] == upright);
        }
    }
}

#[test]
fn what_is_written_comes_back_to_the_bit() {
    for mean in [Mean::Image(image()), [0.1, 1.0 / 3.0, 0.5].into()] {
        let preprocess = Preprocess { mean, ..prepared() };
        assert!(Preprocess::from_json(&preprocess.to_json()).unwrap() == preprocess);
    }
    let asked = Preprocess { mean: Mean::PerPixel, ..prepared() };
    assert!(asked.to_json().contains(r#""mean":"per-pixel""#));
    assert_eq!(serde_json::from_str::<Preprocess>(&asked.to_json()).unwrap(), asked);
    assert_eq!(asked.settled(Some(&image())), prepared());
    assert_eq!(asked.settled(None), asked);
}

#[test]
fn a_hostile_mean_is_told_in_one_line() {
    let json = |mean: &str| format!(r#"{{"resize":null,"crop":2,"mean":{mean},"std":[1.0,1.0,1.0]}}"#);
    let pixel = "[0.5,0.5,0.5]";
    let row = format!("[{pixel},{pixel}]");
    assert!(Preprocess::from_json(&json(&format!("[{row},{row}]"))).is_ok());
    for (mean, part) in [
        (format!("[{row},{row},{row}]"), "3 x 3 pixels, found a row of 2"),
        (format!("[{row},[{pixel}]]"), "2 x 2 pixels, found a row of 1"),
        (format!("[[{pixel}]]"), "crop's 2 x 2 pixels, found 1 x 1"),
        (format!("[{row},[[0.5,0.5],{pixel}]]"), "rows of pixels of three numbers"),
        (format!("[{row},[[0.5,0.5,null],{pixel}]]"), "rows of pixels of three numbers"),
        (
            format!("[{row},[[0.5,0.5,1e39],{pixel}]]"),
            "finite numbers, found [0.5, 0.5, inf] at column 0, row 1",
        ),
        ("[0.5,1e39,0.5]".into(), "finite numbers"),
        ("[]".into(), "0 x 0 pixels"),
        ("\"per-pixel\"".into(), "which a recipe alone"),
        ("\"per-picture\"".into(), "\"per-pixel\""),
        ("{}".into(), "three numbers"),
    ] {
        let error = Preprocess::from_json(&json(&mean)).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{mean}: {error}");
    }
    assert!(MeanImage::new(2, vec![[0.0; 3]; 3]).is_err());
    assert!(MeanImage::new(usize::MAX, vec![]).is_err());
}

/// Whatever the picture of the loader was, a picture that is its own mean becomes zeros, moved or not.
#[test]
fn a_picture_that_is_the_mean_becomes_zeros() {
    let picture = RgbImage::from_fn(32, 32, |x, y| [x as u8 * 7, y as u8 * 5, (x * y) as u8]);
    let same = Dataset::from_pixels("one", vec!["a".into()], vec![0], (32, 32), picture.pixels().to_vec());
    let same = same.unwrap();
    let image = MeanImage::of(&same, &Preprocess::cifar10(), 1, |_| true).unwrap().unwrap();
    let preprocess = Preprocess { mean: Mean::Image(image), ..prepared() };
    for augment in [
        crate::Augment::None,
        crate::Augment::CIFAR,
        crate::Augment::Crop { pad: 4, padding: crate::Padding::Reflect },
    ] {
        for epoch in 0..8 {
            let options = LoaderOptions::training(1, augment, 1, epoch);
            let batch = Loader::new(&same, &preprocess, options).unwrap().next().unwrap().unwrap();
            assert!(batch.images.data().iter().all(|x| x.abs() < 1e-6), "{augment:?}");
        }
    }
}
