//! Records of a zip archive, read without trusting it: `.pth` and `.npz` lie in such archives.
//!
//! Nothing is unpacked to the disk. Names are only compared, never turned into paths; an archive with a
//! name that tries to be one is refused. Local and central headers must agree and no two records may share
//! a byte. A stored record is a slice of the file; a deflated one is bounded while it is inflated, by the
//! ratio and by a budget for the whole archive that grows with the file's length. Checksums are checked.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use crate::bytes::Bytes;
use crate::error::{FormatError, Result};

const MAX_RECORDS: usize = 100_000;
const MAX_RATIO: u64 = 1000;
const BUDGET_BASE_BYTES: u64 = 64 << 20;
const BUDGET_PER_FILE_BYTE: u64 = 100;

/// An archive whose directory has been read and found consistent.
pub(crate) struct Archive {
    file: Bytes,
    zip: ZipArchive<Cursor<Bytes>>,
    indices: BTreeMap<String, usize>,
    budget_bytes: u64,
}

impl Archive {
    /// Reads the directory.
    pub(crate) fn open(file: &Bytes) -> Result<Self> {
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let failed = |e: zip::result::ZipError| FormatError::malformed("zip directory", e.to_string());
        let mut zip = ZipArchive::with_config(config, Cursor::new(file.clone())).map_err(failed)?;
        if zip.len() > MAX_RECORDS {
            let message = format!("{} records, at most {MAX_RECORDS} are allowed", zip.len());
            return Err(FormatError::limit("zip directory", message));
        }
        zip.validate_header_consistency().map_err(failed)?;
        let mut indices = BTreeMap::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_data(index).map_err(failed)?;
            let name = String::from_utf8(entry.name_raw().to_vec())
                .map_err(|_| FormatError::malformed("zip directory", "a record's name is not UTF-8"))?;
            check_name(&name)?;
            if entry.encrypted() {
                return Err(FormatError::unsupported(name, "the record is encrypted"));
            }
            indices.insert(name, index);
        }
        let budget_bytes =
            BUDGET_BASE_BYTES.saturating_add(BUDGET_PER_FILE_BYTE.saturating_mul(file.len() as u64));
        Ok(Self { file: file.clone(), zip, indices, budget_bytes })
    }

    /// The records' names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.indices.keys().map(String::as_str)
    }

    /// The bytes of a record, or `None` where there is none of that name.
    pub(crate) fn record(&mut self, name: &str) -> Result<Option<Bytes>> {
        let Some(&index) = self.indices.get(name) else {
            return Ok(None);
        };
        let failed = |e: &dyn std::fmt::Display| FormatError::malformed(name, e.to_string());
        let mut entry = self.zip.by_index(index).map_err(|e| failed(&e))?;
        let (size, packed, crc) = (entry.size(), entry.compressed_size(), entry.crc32());
        match entry.compression() {
            CompressionMethod::Stored => {
                let start = entry.data_start().ok_or_else(|| failed(&"the record has no data"))?;
                drop(entry);
                self.stored(name, start, size, packed, crc).map(Some)
            }
            CompressionMethod::Deflated => {
                if size / MAX_RATIO > packed {
                    let message =
                        format!("{packed} bytes claim to hold {size}, more than {MAX_RATIO} times as many");
                    return Err(FormatError::limit(name, message));
                }
                // One byte more than announced, so that a record that is longer shows it. The reader
                // checks the sum when it comes to the end.
                let bytes = inflate(&mut entry, name, size, self.budget_bytes)?;
                self.budget_bytes -= bytes.len() as u64;
                Ok(Some(bytes.into()))
            }
            other => Err(FormatError::unsupported(
                name,
                format!("compression {other}; stored and deflate are read"),
            )),
        }
    }

    fn stored(&self, name: &str, start: u64, size: u64, packed: u64, crc: u32) -> Result<Bytes> {
        if size != packed {
            let message = format!("a stored record of {packed} bytes claims to hold {size}");
            return Err(FormatError::malformed(name, message));
        }
        let range = usize::try_from(start)
            .ok()
            .zip(start.checked_add(size).and_then(|end| usize::try_from(end).ok()));
        let bytes = range.and_then(|(start, end)| self.file.slice(start..end));
        let bytes = bytes.ok_or_else(|| {
            FormatError::truncated(
                name,
                format!("{size} bytes at {start} reach beyond the file's {}", self.file.len()),
            )
        })?;
        let found = crc32fast::hash(&bytes);
        if found != crc {
            let message = format!("checksum {found:08x}, the directory says {crc:08x}: the file is damaged");
            return Err(FormatError::malformed(name, message));
        }
        Ok(bytes)
    }
}

fn inflate(entry: &mut impl Read, name: &str, size: u64, budget: u64) -> Result<Vec<u8>> {
    if size > budget {
        let message = format!("{size} bytes, the archive may still unpack to {budget}");
        return Err(FormatError::limit(name, message));
    }
    let mut bytes = Vec::new();
    let read = entry.take(size + 1).read_to_end(&mut bytes);
    read.map_err(|e| FormatError::malformed(name, format!("cannot inflate: {e}")))?;
    if bytes.len() as u64 == size {
        Ok(bytes)
    } else {
        let what = if (bytes.len() as u64) < size { "fewer" } else { "more" };
        Err(FormatError::malformed(name, format!("{what} bytes than the {size} announced")))
    }
}

fn check_name(name: &str) -> Result<()> {
    let climbs = name.split('/').any(|part| part == "..");
    if climbs || name.starts_with('/') || name.contains(['\0', '\\']) {
        let message = format!("record name {name:?} tries to leave the archive");
        return Err(FormatError::refused("zip directory", message));
    }
    Ok(())
}
