use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::augment::Padding;
use crate::erasing::{Erased, Erasing};
use crate::rand_augment::RandAugment;

const COUNT: usize = 103;

fn data() -> Dataset {
    let bytes = (0..COUNT * 3072).map(|i| (i * 7 + i / 3072) as u8).collect();
    let labels = (0..COUNT as u32).map(|i| i % 10).collect();
    Dataset::from_pixels("test", (0..10).map(|c| c.to_string()).collect(), labels, (32, 32), bytes).unwrap()
}

fn training(threads: usize) -> LoaderOptions {
    let augment = Augment::Crop { pad: 4, padding: Padding::Black };
    LoaderOptions { threads, ..LoaderOptions::training(10, augment, 5, 2) }
}

fn run(options: LoaderOptions) -> Vec<Batch> {
    Loader::new(&data(), &Preprocess::cifar10(), options).unwrap().map(Result::unwrap).collect()
}

#[test]
fn order_and_bits_do_not_depend_on_threads_or_prefetch() {
    let one = run(training(1));
    assert_eq!(one.len(), 11);
    assert_eq!(one[10].images.shape(), [3, 3, 32, 32]);
    for threads in [2, 3] {
        for prefetch in [1, 2, 20] {
            assert!(run(LoaderOptions { prefetch, ..training(threads) }) == one);
        }
    }
    let mut seen: Vec<usize> = one.iter().flat_map(|batch| batch.indices.clone()).collect();
    assert_ne!(seen, (0..COUNT).collect::<Vec<_>>());
    assert!(one.iter().all(|b| b.indices.iter().zip(&b.labels).all(|(i, l)| i % 10 == *l as usize)));
    seen.sort_unstable();
    assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
}

/// Each picture four times in a row, never twice the same; as many samples as before.
#[test]
fn repeated_pictures_are_changed_anew_each_time() {
    let repeated = LoaderOptions { repeats: 4, ..training(2) };
    let batches = run(repeated.clone());
    let indices: Vec<usize> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
    let once: Vec<usize> = run(training(2)).iter().flat_map(|batch| batch.indices.clone()).collect();
    assert_eq!(indices.len(), COUNT);
    assert!(indices.iter().enumerate().all(|(place, index)| *index == once[place / 4]));
    let picture = |place: usize| {
        let images = &batches[place / 10].images;
        images.data()[place % 10 * 3072..][..3072].to_vec()
    };
    let differ = |a: usize, b: usize| usize::from(picture(a) != picture(b));
    // A change by chance can come twice: 81 crops, mirrored or not.
    let different: usize = (0..25).map(|i| differ(4 * i, 4 * i + 1) + differ(4 * i + 1, 4 * i + 2)).sum();
    assert!(different >= 46, "{different}");
    assert!(run(LoaderOptions { first_batch: 3, ..repeated }) == batches[3..]);
}

#[test]
fn an_epoch_goes_on_at_any_batch() {
    let whole = run(training(2));
    for first_batch in [0, 1, 7, 10, 11] {
        assert!(run(LoaderOptions { first_batch, ..training(3) }) == whole[first_batch..]);
    }
}

#[test]
fn every_change_at_once_gives_the_same_bits_from_anywhere() {
    let all = |threads| LoaderOptions {
        augment: Augment::Crop { pad: 4, padding: Padding::Reflect },
        distortion: Distortion {
            trivial_augment: true,
            rand_augment: Some(RandAugment { operations: 2, magnitude: 7.0, deviation: 0.5 }),
            jitter: 0.4,
            colour_shift: 0.1,
            erasing: Some(Erasing { probability: 0.5, value: Erased::Noise }),
        },
        mix: Mix { mixup: 0.2, cutmix: 1.0 },
        ..training(threads)
    };
    let one = run(all(1));
    assert!(run(all(3)) == one);
    for first_batch in [1, 7, 10] {
        assert!(run(LoaderOptions { first_batch, ..all(2) }) == one[first_batch..]);
    }
    for batch in &one {
        let mixed = batch.mixed.as_ref().unwrap();
        assert_eq!(mixed.labels[0], *batch.labels.last().unwrap());
        assert_eq!(mixed.labels[1..], batch.labels[..batch.labels.len() - 1]);
        assert!(mixed.shares.iter().all(|share| (0.0..=1.0).contains(share)));
    }
    let shares: std::collections::HashSet<u32> =
        one.iter().map(|batch| batch.mixed.as_ref().unwrap().shares[0].to_bits()).collect();
    assert!(shares.len() > 5, "{shares:?}");
    assert!(run(training(1)).iter().all(|batch| batch.mixed.is_none()));
    assert!(run(LoaderOptions { epoch: 3, ..all(2) }) != one);
}

#[test]
fn seed_and_epoch_change_the_order() {
    let base = run(training(2));
    assert!(run(LoaderOptions { epoch: 3, ..training(2) })[0].indices != base[0].indices);
    assert!(run(LoaderOptions { seed: 6, ..training(2) })[0].indices != base[0].indices);
}

#[test]
fn evaluation_gives_every_sample_in_order_and_unchanged() {
    let batches = run(LoaderOptions::evaluation(50));
    let indices: Vec<usize> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
    assert_eq!(indices, (0..COUNT).collect::<Vec<_>>());
    let expected = Preprocess::cifar10().apply(&data().image(51).unwrap());
    assert_eq!(&batches[1].images.data()[3072..6144], expected);
    let dropped = run(LoaderOptions { drop_last: true, ..LoaderOptions::evaluation(50) });
    assert!(dropped == batches[..2]);
}

#[test]
fn settings_without_sense_are_refused() {
    for options in [
        LoaderOptions::evaluation(0),
        LoaderOptions { threads: 0, ..training(1) },
        LoaderOptions { prefetch: 0, ..training(1) },
        LoaderOptions { first_batch: 12, ..training(1) },
        LoaderOptions { drop_last: true, ..LoaderOptions::evaluation(COUNT + 1) },
    ] {
        assert!(Loader::new(&data(), &Preprocess::cifar10(), options).is_err());
    }
}

/// Folder of 20 pictures of which every third is no picture.
fn damaged() -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("class")).unwrap();
    for i in 0..20 {
        let path = folder.path().join(format!("class/{i:02}.png"));
        if i % 3 == 0 {
            std::fs::write(path, "<html>").unwrap();
        } else {
            ::image::RgbImage::from_pixel(32, 32, ::image::Rgb([i, 0, 0])).save(path).unwrap();
        }
    }
    let data =
        crate::open(folder.path().to_str().unwrap(), crate::Split::Train, &crate::OpenOptions::default())
            .unwrap();
    (folder, data)
}

#[test]
fn a_bad_picture_fails_its_batch_or_is_skipped_and_named() {
    let (_folder, data) = damaged();
    let options = LoaderOptions { first_batch: 1, ..LoaderOptions::evaluation(1) };
    let mut loader = Loader::new(&data, &Preprocess::cifar10(), options.clone()).unwrap();
    assert_eq!(loader.next().unwrap().unwrap().indices, [1]);
    assert_eq!(loader.next().unwrap().unwrap().indices, [2]);
    let error = loader.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("03.png") && error.contains("<html>"), "{error}");
    assert!(loader.next().is_none());

    let options = LoaderOptions { on_bad_image: OnBadImage::Skip, first_batch: 0, ..options };
    for batch_size in [1, 6] {
        let options = LoaderOptions { batch_size, ..options.clone() };
        let mut loader = Loader::new(&data, &Preprocess::cifar10(), options).unwrap();
        let indices: Vec<usize> = loader.by_ref().flat_map(|batch| batch.unwrap().indices).collect();
        assert_eq!(indices, (0..20).filter(|i| i % 3 != 0).collect::<Vec<_>>());
        assert_eq!(loader.skipped().iter().map(|s| s.index).collect::<Vec<_>>(), [0, 3, 6, 9, 12, 15, 18]);
        assert!(loader.skipped()[1].reason.contains("03.png"));
    }
}

#[test]
fn dropping_a_loader_stops_its_threads() {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        for taken in 0..4 {
            let mut loader = Loader::new(&data(), &Preprocess::cifar10(), training(3)).unwrap();
            (0..taken).for_each(|_| drop(loader.next().unwrap().unwrap()));
            drop(loader);
        }
        done.send(()).unwrap();
    });
    wait.recv_timeout(Duration::from_mins(1)).expect("the loader's threads end");
}

#[test]
fn views_are_those_of_every_preparation() {
    let preparations = [
        Preprocess { resize: Some(36), ..Preprocess::cifar10() },
        Preprocess { resize: Some(24), crop: 20, ..Preprocess::cifar10() },
    ];
    let views = Views { crops: crate::Crops::Ten, flip: false };
    let options = LoaderOptions { threads: 3, ..LoaderOptions::evaluation(50) };
    let batches: Vec<_> =
        Loader::views(&data(), &preparations, &views, options).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.len(), 3);
    assert_eq!(batches[2].indices, [100, 101, 102]);
    for (preprocess, stacks) in preparations.iter().zip(&batches[2].images) {
        let mut expected = Vec::new();
        (100..COUNT).for_each(|i| views.add(&data().image(i).unwrap(), preprocess, 3, &mut expected));
        assert!(*stacks == expected);
        assert_eq!(stacks[0].pixels.len(), 3 * 10 * preprocess.len());
    }
    let scales = Views { crops: crate::Crops::Scales(vec![24]), flip: false };
    let new = |views, augment, batch_size| {
        let options = LoaderOptions { augment, ..LoaderOptions::evaluation(batch_size) };
        Loader::views(&data(), &preparations, views, options)
    };
    assert!(new(&scales, Augment::None, 1).is_ok());
    assert!(new(&scales, Augment::None, 2).is_err());
    assert!(new(&views, Augment::CIFAR, 2).is_err());
    assert!(Loader::views(&data(), &[Preprocess::cifar10()], &views, LoaderOptions::evaluation(2)).is_err());
}
