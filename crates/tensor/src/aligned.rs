//! Buffers of `f32` that start on a 64-byte boundary, so that a vector load never crosses a cache line.

use memmap2::MmapMut;
use std::io;
use std::ops::{Deref, DerefMut};

const LANES: usize = 16;

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Block([f32; LANES]);

/// Bytes from which on a buffer is a mapping of its own, in huge pages where the system has them: the many streams
/// of a convolution then do not wait for the translation of addresses.
const MAPPED: usize = 4 << 20;

/// A fixed-length buffer of `f32`, zeroed when made, aligned to 64 bytes.
pub struct AlignedBuffer {
    memory: Memory,
    len: usize,
}

enum Memory {
    Blocks(Vec<Block>),
    Mapping(MmapMut),
}

impl AlignedBuffer {
    /// A buffer of `len` zeros.
    ///
    /// # Errors
    /// When the memory is not to be had.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        let blocks = len.div_ceil(LANES);
        let bytes = blocks.checked_mul(size_of::<Block>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let memory = if bytes < MAPPED {
            let mut memory = Vec::new();
            memory.try_reserve_exact(blocks)?;
            memory.resize(blocks, Block([0.0; LANES]));
            Memory::Blocks(memory)
        } else {
            let mapping = MmapMut::map_anon(bytes)?;
            // A wish; small pages do as well.
            #[cfg(target_os = "linux")]
            let _ = mapping.advise(memmap2::Advice::HugePage);
            Memory::Mapping(mapping)
        };
        Ok(Self { memory, len })
    }
}

impl Default for AlignedBuffer {
    fn default() -> Self {
        Self { memory: Memory::Blocks(Vec::new()), len: 0 }
    }
}

impl Deref for AlignedBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        let floats: &[f32] = match &self.memory {
            Memory::Blocks(blocks) => bytemuck::cast_slice(blocks),
            Memory::Mapping(mapping) => bytemuck::cast_slice(mapping),
        };
        &floats[..self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        let floats: &mut [f32] = match &mut self.memory {
            Memory::Blocks(blocks) => bytemuck::cast_slice_mut(blocks),
            Memory::Mapping(mapping) => bytemuck::cast_slice_mut(mapping),
        };
        &mut floats[..self.len]
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} floats)", self.len)
    }
}

/// The memory of floats as bytes, four each.
pub fn bytes(floats: &[f32]) -> &[u8] {
    bytemuck::cast_slice(floats)
}

/// Little-endian bytes as floats where they lie, or `None` where the machine reads them otherwise: they do not begin
/// at a multiple of four, their number is none, or the machine is big-endian.
pub fn floats(bytes: &[u8]) -> Option<&[f32]> {
    if cfg!(target_endian = "little") { bytemuck::try_cast_slice(bytes).ok() } else { None }
}

/// The memory of floats as bytes, four each, to write. Whatever is written, floats come of it.
pub fn bytes_mut(floats: &mut [f32]) -> &mut [u8] {
    bytemuck::cast_slice_mut(floats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_cache_line_and_holds_exactly_what_was_asked() {
        for len in [0, 1, 15, 16, 17, 1000, MAPPED / 4 - 16, MAPPED / 4 + 17] {
            let mut buffer = AlignedBuffer::zeroed(len).unwrap();
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
            assert!(buffer.iter().all(|x| x.to_bits() == 0));
            buffer.fill(1.0);
            assert!(buffer.iter().all(|x| x.to_bits() == 1f32.to_bits()));
        }
    }

    #[test]
    fn too_large_a_buffer_is_an_error_and_not_an_abort() {
        assert!(AlignedBuffer::zeroed(usize::MAX / 8).is_err());
    }
}
