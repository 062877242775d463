use std::io::Cursor;
use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::*;

fn png(side: u32, red: u8) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    ::image::RgbImage::from_pixel(side, side, ::image::Rgb([red, 0, 0]))
        .write_to(&mut file, ::image::ImageFormat::Png)
        .unwrap();
    file.into_inner()
}

/// Writes rows in Hugging Face's form; a picture may be null.
fn write(path: &Path, rows: &[(Option<Vec<u8>>, i64)], names: Option<&str>) {
    let schema = "message schema { optional group image { optional binary bytes; optional binary path (UTF8); } optional int64 label; }";
    let pairs = names.map(|names| {
        let json = format!(
            r#"{{"info": {{"features": {{"label": {{"names": {names}, "_type": "ClassLabel"}}}}}}}}"#
        );
        vec![KeyValue::new("huggingface".to_owned(), json)]
    });
    let properties = Arc::new(WriterProperties::builder().set_key_value_metadata(pairs).build());
    let file = std::fs::File::create(path).unwrap();
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(parse_message_type(schema).unwrap()), properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let pictures: Vec<ByteArray> = rows.iter().filter_map(|(p, _)| p.clone().map(ByteArray::from)).collect();
    let levels: Vec<i16> = rows.iter().map(|(p, _)| if p.is_some() { 2 } else { 1 }).collect();
    let labels: Vec<i64> = rows.iter().map(|&(_, label)| label).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&pictures, Some(&levels), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&[], Some(&vec![1; rows.len()]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&labels, Some(&vec![1; rows.len()]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

fn open_it(path: &Path, split: Split) -> Result<Dataset> {
    crate::open(path.to_str().unwrap(), split, &crate::OpenOptions::default())
}

#[test]
fn shards_are_read_in_order_with_the_names_of_the_metadata() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    let names = Some(r#"["cat", "dog"]"#);
    write(&folder.join("train-00001-of-00002.parquet"), &[(Some(png(8, 3)), 0)], names);
    write(&folder.join("train-00000-of-00002.parquet"), &[(Some(png(8, 1)), 1), (Some(png(8, 2)), 0)], names);
    write(&folder.join("validation-00000-of-00001.parquet"), &[(Some(png(8, 9)), 1)], names);
    let train = open_it(root.path(), Split::Train).unwrap();
    assert_eq!((train.len(), train.classes()), (3, &["cat".to_owned(), "dog".to_owned()][..]));
    assert_eq!(
        [0, 1, 2].map(|i| (train.label(i), train.image(i).unwrap().pixels()[0])),
        [(1, 1), (0, 2), (0, 3)]
    );
    assert_eq!(open_it(root.path(), Split::Test).unwrap().image(0).unwrap().pixels()[0], 9);
    let single = folder.join("validation-00000-of-00001.parquet");
    assert_eq!(open_it(&single, Split::Train).unwrap().len(), 1);
}

#[test]
fn large_or_mixed_pictures_stay_encoded_and_bad_ones_are_found_when_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("train.parquet");
    write(&path, &[(Some(png(100, 1)), 0), (Some(png(8, 2)), 2), (Some(b"no picture".to_vec()), 1)], None);
    let data = open_it(root.path(), Split::Train).unwrap();
    assert_eq!(data.classes(), ["0", "1", "2"]);
    assert_eq!([0, 1].map(|i| data.image(i).unwrap().width()), [100, 8]);
    let error = data.image(2).unwrap_err().to_string();
    assert!(error.contains("train.parquet, record 2") && error.contains("no picture"), "{error}");
}

#[test]
fn nulls_and_labels_beyond_the_classes_are_refused_with_the_row() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("train.parquet");
    let error = |rows: &[(Option<Vec<u8>>, i64)], names| {
        write(&path, rows, names);
        open_it(&path, Split::Train).unwrap_err().to_string()
    };
    let good = Some(png(8, 1));
    let found = error(&[(good.clone(), 0), (None, 0)], None);
    assert!(found.contains("record 1: expected the bytes of a picture, found null"), "{found}");
    let found = error(&[(good.clone(), 0), (good.clone(), -1)], None);
    assert!(found.contains("record 1: expected a label of 0 or more, found -1"), "{found}");
    let found = error(&[(good.clone(), 2)], Some(r#"["cat", "dog"]"#));
    assert!(found.contains("record 0: expected a label below 2, found 2"), "{found}");
    let found = error(&[(good, 1_000_000)], None);
    assert!(found.contains("at most 65535"), "{found}");
    assert!(error(&[], None).contains("found none"));
}

#[test]
fn a_damaged_file_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("train.parquet");
    write(&path, &[(Some(png(8, 1)), 0), (Some(png(8, 2)), 1)], None);
    let file = std::fs::read(&path).unwrap();
    for len in [0, 4, 8, file.len() / 2, file.len() - 1] {
        std::fs::write(&path, &file[..len]).unwrap();
        let error = open_it(&path, Split::Train).unwrap_err().to_string();
        assert!(error.contains("train.parquet"), "{error}");
    }
    for place in (0..file.len()).step_by(7) {
        let mut damaged = file.clone();
        damaged[place] ^= 0x55;
        std::fs::write(&path, &damaged).unwrap();
        // Any answer but a panic.
        let _ = open_it(&path, Split::Train).map(|data| data.check());
    }
}
