//! The zip form: `NAME/data.pkl`, `NAME/byteorder`, and one stored record `NAME/data/KEY` per storage.

use super::storage::{self, Storages};
use super::{pickle, state_dict};
use crate::archive::Archive;
use crate::bytes::Bytes;
use crate::error::{FormatError, Result};
use crate::named::NamedTensors;
use crate::strided::copy_budget;

const PICKLE: &str = "data.pkl";

pub(super) fn read(file: &Bytes) -> Result<NamedTensors> {
    let mut archive = Archive::open(file)?;
    let prefix = find_prefix(&archive)?;
    if archive.names().any(|name| name.strip_prefix(&prefix).is_some_and(|name| name.starts_with("code/"))) {
        return Err(FormatError::unsupported("", "a TorchScript program; save model.state_dict() instead"));
    }
    if archive.record(&format!("{prefix}byteorder"))?.is_some_and(|order| order.trim_ascii() != b"little") {
        return Err(FormatError::unsupported("byteorder", "written in another byte order than `little`"));
    }
    let name = format!("{prefix}{PICKLE}");
    let program = archive.record(&name)?.ok_or_else(|| FormatError::malformed("zip", "no pickle in it"))?;
    let (tree, used) = pickle::run(&program).map_err(|e| e.within(PICKLE))?;
    if used != program.len() {
        return Err(FormatError::malformed(PICKLE, format!("{} bytes after its end", program.len() - used)));
    }
    let mut storages = Storages::new();
    for (key, described) in storage::described(&tree)? {
        let bytes = archive.record(&format!("{prefix}data/{key}"))?;
        let bytes = bytes
            .ok_or_else(|| FormatError::truncated(storage::place(key), "no such record in the archive"))?;
        storage::check_len(&described, bytes.len())?;
        storages.insert(key.to_owned(), bytes);
    }
    state_dict::extract(&tree, &storages, copy_budget(file.len()))
}

/// The folder inside the archive, with its slash: where the one pickle lies.
fn find_prefix(archive: &Archive) -> Result<String> {
    let mut prefixes = archive.names().filter_map(|name| {
        let prefix = name.strip_suffix(PICKLE)?;
        let is_top = prefix.is_empty() || prefix.find('/') == Some(prefix.len() - 1);
        is_top.then(|| prefix.to_owned())
    });
    match (prefixes.next(), prefixes.next()) {
        (Some(prefix), None) => Ok(prefix),
        (None, _) => {
            let message = format!("a zip archive without NAME/{PICKLE} is no PyTorch file");
            Err(FormatError::unsupported("zip", message))
        }
        (Some(_), Some(_)) => Err(FormatError::malformed("zip", format!("more than one {PICKLE}"))),
    }
}
