//! Bytes that may lie in a mapped file: shared, never copied until someone asks for numbers.

use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::disk::Mapped;

/// A range of a shared buffer, in memory or in a mapped file. Cloning and slicing copy nothing.
#[derive(Clone)]
pub struct Bytes {
    buffer: Arc<Buffer>,
    range: Range<usize>,
}

enum Buffer {
    Memory(Vec<u8>),
    File(Mapped),
}

impl Buffer {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::File(map) => map,
        }
    }
}

impl Bytes {
    fn whole(buffer: Buffer) -> Self {
        let range = 0..buffer.as_slice().len();
        Self { buffer: Arc::new(buffer), range }
    }

    /// The bytes at `range`, counted from the start of these, or `None` where it reaches beyond them.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let start = self.range.start + range.start;
        Some(Self { buffer: Arc::clone(&self.buffer), range: start..start + range.len() })
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::whole(Buffer::Memory(bytes))
    }
}

impl From<Mapped> for Bytes {
    fn from(map: Mapped) -> Self {
        Self::whole(Buffer::File(map))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer.as_slice()[self.range.clone()]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_slices_count_from_their_own_start() {
        let bytes = Bytes::from(vec![0, 1, 2, 3, 4, 5]);
        let middle = bytes.slice(1..5).unwrap();
        assert_eq!(&*middle.slice(1..3).unwrap(), [2, 3]);
        assert_eq!(middle.slice(4..4).unwrap().len(), 0);
        assert!(middle.slice(0..5).is_none());
        assert!(middle.slice(Range { start: 3, end: 2 }).is_none());
    }
}
