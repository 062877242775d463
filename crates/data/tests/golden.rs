//! Real pictures against what Pillow and PyTorch's tools made of them. `RESIDUUM_DATA` is the folder that
//! holds `data/` and `golden/`.

use std::path::PathBuf;

use residuum_data::{Interpolation, Limits, OpenOptions, Preprocess, RgbImage, Split, decode, open, resize};
use residuum_formats::npy;
use serde_json::Value;

fn shared(path: &str) -> PathBuf {
    let root = std::env::var_os("RESIDUUM_DATA")
        .expect("set RESIDUUM_DATA to the folder that holds data/ and golden/");
    PathBuf::from(root).join(path)
}

fn picture(path: &str) -> RgbImage {
    decode(&std::fs::read(shared(path)).unwrap(), &Limits::default())
        .unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(shared(path)).unwrap()).unwrap()
}

fn size(value: &Value, key: &str) -> usize {
    value[key].as_u64().unwrap() as usize
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn every_stored_resize_equals_pillow_s_byte_for_byte() {
    let arrays = npy::read_npz(shared("golden/resize/resized.npz")).unwrap();
    let index = json("golden/resize/index.json");
    let mut wrong = Vec::new();
    for (key, case) in index.as_object().unwrap() {
        let image = picture(&format!("golden/resize/{}", case["file"].as_str().unwrap()));
        let filter = match case["filter"].as_str().unwrap() {
            "bicubic" => Interpolation::Bicubic,
            _ => Interpolation::Bilinear,
        };
        let found = resize(&image, size(case, "width"), size(case, "height"), filter);
        let expected = arrays.require(key).unwrap();
        assert_eq!(expected.shape(), [found.height(), found.width(), 3], "{key}");
        if expected.to_u8().unwrap().data() != found.pixels() {
            wrong.push(key);
        }
    }
    assert_eq!(index.as_object().unwrap().len(), arrays.len());
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Decoders round differently: means may be off by half a grey level, means of 28 x 28 pixels by one.
#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn crops_of_all_photographs_agree_with_pillow_s() {
    let preprocess = Preprocess::imagenet();
    let golden = json("golden/photos.json");
    let photos = golden["photos"].as_array().unwrap();
    assert_eq!(photos.len(), 100);
    for photo in photos {
        let file = photo["file"].as_str().unwrap();
        let image = picture(&format!("data/photos/{file}"));
        assert_eq!((image.width(), image.height()), (size(photo, "width"), size(photo, "height")), "{file}");
        let crop = preprocess.view(&image);
        for c in 0..3 {
            let mean = |left, top, side| {
                let part = crop.crop(left, top, side, side);
                let sum: u64 = part.pixels()[c..].iter().step_by(3).map(|&v| u64::from(v)).sum();
                sum as f64 / (side * side) as f64
            };
            let off = (mean(0, 0, 224) - photo["crop_mean"][c].as_f64().unwrap()).abs();
            assert!(off < 0.5, "{file}, colour {c}: the mean is off by {off}");
            for (i, j) in (0..64).map(|tile| (tile / 8, tile % 8)) {
                let off = (mean(28 * j, 28 * i, 28) - photo["crop_8x8"][i][j][c].as_f64().unwrap()).abs();
                assert!(off < 1.0, "{file}, colour {c}, tile {i} {j}: the mean is off by {off}");
            }
        }
    }
}

#[test]
#[ignore = "needs RESIDUUM_DATA"]
fn cifar10_is_read_from_parquet_in_the_official_order() {
    let path = shared("data/cifar10");
    let read = |split| open(path.to_str().unwrap(), split, &OpenOptions::default()).unwrap();
    let (test, train) = (read(Split::Test), read(Split::Train));
    assert_eq!((test.len(), train.len(), test.name()), (10_000, 2_000, "cifar10"));
    assert_eq!((test.classes().len(), test.classes()[3].as_str()), (10, "cat"));
    assert_eq!((0..10).map(|i| test.label(i)).collect::<Vec<_>>(), [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]);
    assert_eq!((0..10).map(|i| train.label(i)).collect::<Vec<_>>(), [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]);
    let image = test.image(9_999).unwrap();
    assert_eq!((image.width(), image.height()), (32, 32));
}
