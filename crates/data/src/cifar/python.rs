//! stand-in
use super::{Form, Records};
use crate::error::{DataError, Result};
use std::path::Path;
pub(super) fn read(path: &Path, _form: Form, _records: &mut Records) -> Result<()> { Err(DataError::source(path, "x")) }
pub(super) fn class_names(path: &Path, _form: Form) -> Result<Vec<String>> { Err(DataError::source(path, "x")) }
