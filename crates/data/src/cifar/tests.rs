use super::*;
use crate::open as open_path;

fn record(labels: &[u8], value: u8) -> Vec<u8> {
    let planes = [value, value + 1, value + 2].into_iter().flat_map(|v| [v; PIXELS]);
    labels.iter().copied().chain(planes).collect()
}

fn write(folder: &Path, name: &str, records: &[Vec<u8>]) {
    std::fs::write(folder.join(name), records.concat()).unwrap();
}

fn open_it(folder: &Path, split: Split) -> Result<Dataset> {
    open_path(folder.to_str().unwrap(), split, &Default::default())
}

#[test]
fn cifar10_batches_are_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("cifar-10-batches-bin");
    std::fs::create_dir(&inner).unwrap();
    write(&inner, "data_batch_1.bin", &[record(&[3], 10), record(&[9], 20)]);
    write(&inner, "data_batch_2.bin", &[record(&[0], 30)]);
    write(&inner, "test_batch.bin", &[record(&[7], 40)]);
    for place in [folder.path(), &inner] {
        let train = open_it(place, Split::Train).unwrap();
        assert_eq!((train.name(), train.len(), train.classes()[3].as_str()), ("cifar10", 3, "cat"));
        assert_eq!([0, 1, 2].map(|i| train.label(i)), [3, 9, 0]);
        assert_eq!(train.image(2).unwrap(), crate::RgbImage::from_fn(32, 32, |_, _| [30, 31, 32]));
        assert_eq!(open_it(place, Split::Test).unwrap().label(0), 7);
    }
    std::fs::write(inner.join("batches.meta.txt"), "a\r\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n").unwrap();
    assert_eq!(open_it(&inner, Split::Test).unwrap().classes()[0], "a");
    std::fs::write(inner.join("batches.meta.txt"), "a\nb\n").unwrap();
    assert!(open_it(&inner, Split::Test).unwrap_err().to_string().contains("10 classes, found 2"));
}

#[test]
fn the_position_of_pixels_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = vec![1];
    bytes.extend((0..3 * PIXELS).map(|i| (i % 251) as u8));
    write(folder.path(), "test_batch.bin", &[bytes]);
    let image = open_it(folder.path(), Split::Test).unwrap().image(0).unwrap();
    let at = |plane: usize, x: usize, y: usize| ((plane * PIXELS + y * 32 + x) % 251) as u8;
    assert_eq!(image, crate::RgbImage::from_fn(32, 32, |x, y| [0, 1, 2].map(|plane| at(plane, x, y))));
}

#[test]
fn cifar100_counts_the_fine_label() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "train.bin", &[record(&[19, 99], 1), record(&[0, 42], 2)]);
    let train = open_it(folder.path(), Split::Train).unwrap();
    assert_eq!((train.name(), train.label(0), train.classes()[42].as_str()), ("cifar100", 99, "leopard"));
    assert!(open_it(folder.path(), Split::Test).unwrap_err().to_string().contains("test.bin"));
    write(folder.path(), "train.bin", &[record(&[19, 100], 1)]);
    assert!(open_it(folder.path(), Split::Train).unwrap_err().to_string().contains("below 100, found 100"));
}

#[test]
fn damage_is_refused_with_the_number_of_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let error = || open_it(folder.path(), Split::Test).unwrap_err().to_string();
    write(folder.path(), "test_batch.bin", &[record(&[3], 1), record(&[10], 1)]);
    assert!(error().contains("record 1: expected a label below 10, found 10"), "{}", error());
    write(folder.path(), "test_batch.bin", &[record(&[3], 1), record(&[3], 1)[..100].to_vec()]);
    assert!(error().contains("record 1: expected 3073 bytes, found 100"), "{}", error());
    write(folder.path(), "test_batch.bin", &[]);
    assert!(error().contains("record 0: expected 3073 bytes, found 0"), "{}", error());
}

#[test]
fn a_gap_in_the_batches_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "data_batch_1.bin", &[record(&[3], 1)]);
    write(folder.path(), "data_batch_3.bin", &[record(&[3], 1)]);
    let error = open_it(folder.path(), Split::Train).unwrap_err().to_string();
    assert!(error.contains("data_batch_2.bin"), "{error}");
}
