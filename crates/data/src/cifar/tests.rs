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
    open_path(folder.to_str().unwrap(), split, &crate::OpenOptions::default())
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

/// A batch as Python 2 pickled it, protocol 2, with `rows` pictures.
fn python_batch(labels_key: &str, labels: &[u8], data: &[u8]) -> Vec<u8> {
    let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    let rows = (data.len() / 3072) as u8;
    let list: Vec<u8> = labels.iter().flat_map(|&label| [b'K', label]).collect();
    [
        b"\x80\x02}(".to_vec(),
        text("data"),
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R".to_vec(),
        vec![b'(', b'K', 1, b'K', rows, b'M', 0x00, 0x0c, 0x86],
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R".to_vec(),
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T".to_vec(),
        (data.len() as u32).to_le_bytes().to_vec(),
        data.to_vec(),
        b"tb".to_vec(),
        text(labels_key),
        [b"](", &list[..], b"e"].concat(),
        b"u.".to_vec(),
    ]
    .concat()
}

#[test]
fn python_batches_hold_the_same_as_binary_ones() {
    let (binary, python) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let records = [record(&[3], 100), record(&[9], 250)];
    write(binary.path(), "test_batch.bin", &records);
    let data: Vec<u8> = records.iter().flat_map(|record| record[1..].to_vec()).collect();
    write(python.path(), "test_batch", &[python_batch("labels", &[3, 9], &data)]);
    let [a, b] = [&binary, &python].map(|folder| open_it(folder.path(), Split::Test).unwrap());
    assert_eq!((a.len(), a.digest()), (b.len(), b.digest()));

    let error = |batch| {
        write(python.path(), "test_batch", &[batch]);
        open_it(python.path(), Split::Test).unwrap_err().to_string()
    };
    let found = error(python_batch("labels", &[3, 10], &data));
    assert!(found.contains("record 1: expected a label below 10, found 10"), "{found}");
    let found = error(python_batch("labels", &[3], &data));
    assert!(found.contains("[1, 3072], found [2, 3072]"), "{found}");
    let found = error(python_batch("other", &[3, 9], &data));
    assert!(found.contains("the keys data, other"), "{found}");
    let found = error(b"\x80\x02cos\nsystem\nU\x02ls\x85R.".to_vec());
    assert!(found.contains("os.system"), "{found}");
}

#[test]
fn cifar100_in_python_batches() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("cifar-100-python");
    std::fs::create_dir(&inner).unwrap();
    write(&inner, "train", &[python_batch("fine_labels", &[99], &record(&[], 7))]);
    let names: Vec<u8> = (0..100).flat_map(|i| format!("U\x03n{i:02}").into_bytes()).collect();
    let meta = [&b"\x80\x02}U\x10fine_label_names]("[..], &names, b"es."].concat();
    write(&inner, "meta", &[meta]);
    let train = open_it(folder.path(), Split::Train).unwrap();
    assert_eq!((train.name(), train.label(0), train.classes()[42].as_str()), ("cifar100", 99, "n42"));
}
