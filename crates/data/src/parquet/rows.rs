//! Rows of a parquet file: a picture's bytes and a label each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{ConvertedType, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::{Type, TypePtr};
use residuum_formats::disk;

use crate::error::{DataError, Result};

/// What the files read so far hold.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) pictures: Vec<Vec<u8>>,
    pub(super) labels: Vec<u32>,
    /// Names of the classes, where the first file that has any gives them.
    pub(super) names: Option<Vec<String>>,
}

/// Lends a mapped file to the reader.
struct Whole(disk::Mapped);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Rows {
    /// Appends the rows of one file.
    ///
    /// # Errors
    /// When it is damaged, a column is missing, or a picture or label is null or of another type.
    pub(super) fn read(&mut self, path: &Path) -> Result<()> {
        let file = Bytes::from_owner(Whole(disk::map(path)?));
        // The reader checks what it reads, but not everything: a damaged file may still make it panic.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.read_all(path, file)));
        outcome
            .unwrap_or_else(|_| Err(DataError::source(path, "parquet: the file is damaged; fetch it again")))
    }

    fn read_all(&mut self, path: &Path, file: Bytes) -> Result<()> {
        let failed = |error: ParquetError| DataError::source(path, format!("parquet: {error}"));
        let reader = SerializedFileReader::new(file).map_err(failed)?;
        let metadata = reader.metadata().file_metadata();
        let (picture, label) = columns(path, metadata.schema())?;
        let label_name = label.name().to_owned();
        let pairs = metadata.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
        let json = pairs.iter().find(|pair| pair.key == "huggingface").and_then(|pair| pair.value.as_deref());
        self.names = self.names.take().or_else(|| names(json?, &label_name));
        let wanted =
            Type::group_type_builder(metadata.schema().name()).with_fields(vec![picture, label]).build();
        for (i, row) in reader.get_row_iter(Some(wanted.map_err(failed)?)).map_err(failed)?.enumerate() {
            let (picture, label) =
                values(row.map_err(failed)?, &label_name).map_err(|p| DataError::record(path, i, p))?;
            self.pictures.push(picture);
            self.labels.push(label);
        }
        Ok(())
    }
}

/// The columns of pictures and labels.
fn columns(path: &Path, schema: &Type) -> Result<(TypePtr, TypePtr)> {
    let find = |names: &[&str], fits: fn(&Type) -> bool| {
        let fields = schema.get_fields();
        names.iter().find_map(|name| fields.iter().find(|f| f.name() == *name && fits(f))).map(Arc::clone)
    };
    let missing = |what: &str| {
        let found: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
        DataError::source(path, format!("expected {what}, found the columns {}", found.join(", ")))
    };
    let picture = find(&["img", "image"], holds_bytes)
        .ok_or_else(|| missing("a column `img` or `image` of bytes, or of a struct with `bytes`"))?;
    let label = find(&["label", "fine_label", "labels"], is_integer)
        .ok_or_else(|| missing("a column `label` or `fine_label` of integers"))?;
    Ok((picture, label))
}

fn holds_bytes(field: &Type) -> bool {
    if field.is_group() {
        field
            .get_fields()
            .iter()
            .any(|inner| inner.name() == "bytes" && !inner.is_group() && holds_bytes(inner))
    } else {
        field.get_physical_type() == Physical::BYTE_ARRAY
            && field.get_basic_info().converted_type() != ConvertedType::UTF8
    }
}

fn is_integer(field: &Type) -> bool {
    field.is_primitive() && matches!(field.get_physical_type(), Physical::INT32 | Physical::INT64)
}

/// Picture and label of a row; the error says what was expected and found.
fn values(row: Row, label_name: &str) -> std::result::Result<(Vec<u8>, u32), String> {
    let (mut picture, mut label) = (None, None);
    for (name, field) in row.into_columns() {
        match field {
            Field::Bytes(bytes) => picture = Some(bytes.data().to_vec()),
            Field::Group(inner) => {
                let bytes = inner.into_columns().into_iter().find(|(name, _)| name == "bytes");
                if let Some((_, Field::Bytes(bytes))) = bytes {
                    picture = Some(bytes.data().to_vec());
                }
            }
            other if name == label_name => label = Some(integer(&other)?),
            _ => {}
        }
    }
    let picture = picture.ok_or("expected the bytes of a picture, found null")?;
    Ok((picture, label.ok_or("expected a label, found null")?))
}

fn integer(field: &Field) -> std::result::Result<u32, String> {
    let value = match *field {
        Field::Byte(v) => i64::from(v),
        Field::Short(v) => i64::from(v),
        Field::Int(v) => i64::from(v),
        Field::Long(v) => v,
        Field::UByte(v) => i64::from(v),
        Field::UShort(v) => i64::from(v),
        Field::UInt(v) => i64::from(v),
        ref other => return Err(format!("expected an integer as label, found {other}")),
    };
    u32::try_from(value).map_err(|_| format!("expected a label of 0 or more, found {value}"))
}

/// Class names from Hugging Face's description of the columns.
fn names(json: &str, label: &str) -> Option<Vec<String>> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let names = value.pointer("/info/features")?.get(label)?.get("names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}
