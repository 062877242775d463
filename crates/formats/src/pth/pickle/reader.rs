//! The bytes of a pickle, taken from the front, never beyond the end.

use crate::error::{FormatError, Result};

const MAX_LINE_BYTES: usize = 1024;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    last: u8,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, last: 0 }
    }

    /// Bytes taken so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What [`byte`](Self::byte) gave last.
    pub(super) fn last(&self) -> u8 {
        self.last
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        let [byte] = self.array()?;
        self.last = byte;
        Ok(byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes[self.at..].first_chunk::<N>().ok_or_else(|| self.ends(N))?;
        self.at += N;
        Ok(*bytes)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let bytes = self.bytes[self.at..].get(..len).ok_or_else(|| self.ends(len))?;
        self.at += len;
        Ok(bytes)
    }

    /// Bytes whose number stands before them in `N` bytes, little endian.
    pub(super) fn counted<const N: usize>(&mut self) -> Result<&'a [u8]> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.array::<N>()?);
        let len = usize::try_from(u64::from_le_bytes(wide)).map_err(|_| self.ends(usize::MAX))?;
        self.take(len)
    }

    /// Text up to a line's end, which is taken too.
    pub(super) fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let rest = &rest[..rest.len().min(MAX_LINE_BYTES)];
        let len = rest.iter().position(|&byte| byte == b'\n');
        let len = len.ok_or_else(|| FormatError::malformed("", "a name has no end"))?;
        self.at += len + 1;
        std::str::from_utf8(&rest[..len]).map_err(|_| FormatError::malformed("", "a name is not UTF-8"))
    }

    fn ends(&self, wanted: usize) -> FormatError {
        let left = self.bytes.len() - self.at;
        FormatError::truncated("", format!("{wanted} bytes wanted, the pickle ends after {left}"))
    }
}
