use super::*;

fn floats(data: &Dataset) -> (Vec<[f32; PIXELS * 3]>, Vec<usize>) {
    let row = |i| {
        let image = data.image(i).unwrap();
        std::array::from_fn(|k| f32::from(image.pixels()[k]) / 127.5 - 1.0)
    };
    ((0..data.len()).map(row).collect(), (0..data.len()).map(|i| data.label(i) as usize).collect())
}

#[test]
fn classes_are_balanced_and_pictures_differ() {
    let train = shapes(0, Split::Train);
    let test = shapes(0, Split::Test);
    assert_eq!((train.len(), test.len(), train.classes().len()), (10_000, 2_000, 10));
    for data in [&train, &test] {
        let mut count = [0; 10];
        (0..data.len()).for_each(|i| count[data.label(i) as usize] += 1);
        assert!(count.iter().all(|&c| c == data.len() / 10));
    }
    let all =
        |data: &Dataset| (0..data.len()).map(|i| data.image(i).unwrap().into_pixels()).collect::<Vec<_>>();
    let mut pictures = [all(&train), all(&test)].concat();
    pictures.sort();
    pictures.dedup();
    assert_eq!(pictures.len(), 12_000);
    assert_ne!(shapes(1, Split::Test).digest(), test.digest());
}

/// What a user's figures refer to: these very pictures, on any machine, with any number of threads.
#[test]
fn the_pictures_are_always_the_same() {
    let digest = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| shapes(0, Split::Test).digest().to_owned())
    };
    assert_eq!(digest(1), digest(3));
    assert_eq!(digest(1), "dfc1041677f4702554d372fd55645c0161cad778dfd75fb0840ab85d9b1829bb");
}

/// Softmax regression on pixels, plain SGD; long enough that more epochs do not help.
#[test]
fn a_linear_classifier_fails() {
    let (images, labels) = floats(&shapes(0, Split::Train));
    let mut weights = vec![[0f32; 10]; PIXELS * 3 + 1];
    for epoch in 0..4 {
        let mut order: Vec<usize> = (0..images.len()).collect();
        Stream::new(0, Purpose::Shuffle, epoch, 0).shuffle(&mut order);
        for i in order {
            let mut slope = scores(&weights, &images[i]);
            let top = slope.iter().copied().fold(f32::MIN, f32::max);
            slope = slope.map(|s| (s - top).exp());
            let sum: f32 = slope.iter().sum();
            slope = slope.map(|s| s / sum);
            slope[labels[i]] -= 1.0;
            for (row, x) in weights.iter_mut().zip(images[i].iter().chain(&[1.0])) {
                row.iter_mut().zip(slope).for_each(|(w, s)| *w -= 3e-4 * s * x);
            }
        }
    }
    let accuracy = |images: &[[f32; PIXELS * 3]], labels: &[usize]| {
        let right = images.iter().zip(labels).filter(|(image, label)| {
            let scores = scores(&weights, image);
            (0..10).all(|c| scores[c] <= scores[**label])
        });
        right.count() as f32 / labels.len() as f32
    };
    let (test_images, test_labels) = floats(&shapes(0, Split::Test));
    let (train, test) = (accuracy(&images, &labels), accuracy(&test_images, &test_labels));
    assert!(train > 0.12, "the classifier did not learn at all: {train}");
    assert!(test < 0.6, "a linear classifier reaches {test} on test pictures, {train} on training pictures");
}

fn scores(weights: &[[f32; 10]], image: &[f32; PIXELS * 3]) -> [f32; 10] {
    let mut sums = [0.0; 10];
    for (row, x) in weights.iter().zip(image.iter().chain(&[1.0])) {
        sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += w * x);
    }
    sums
}
