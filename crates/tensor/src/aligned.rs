//! Buffers of `f32` that start on a 64-byte boundary, so that a vector load never crosses a cache line.

use std::collections::TryReserveError;
use std::ops::{Deref, DerefMut};

const LANES: usize = 16;

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Block([f32; LANES]);

/// A fixed-length buffer of `f32`, zeroed when made, aligned to 64 bytes.
#[derive(Clone, Default)]
pub struct AlignedBuffer {
    blocks: Vec<Block>,
    len: usize,
}

impl AlignedBuffer {
    /// A buffer of `len` zeros.
    ///
    /// # Errors
    /// When the memory is not to be had.
    pub fn zeroed(len: usize) -> Result<Self, TryReserveError> {
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(len.div_ceil(LANES))?;
        blocks.resize(len.div_ceil(LANES), Block([0.0; LANES]));
        Ok(Self { blocks, len })
    }
}

impl Deref for AlignedBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.blocks)[..self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.blocks)[..self.len]
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

/// The memory of floats as bytes, four each, to write. Whatever is written, floats come of it.
pub fn bytes_mut(floats: &mut [f32]) -> &mut [u8] {
    bytemuck::cast_slice_mut(floats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_cache_line_and_holds_exactly_what_was_asked() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut buffer = AlignedBuffer::zeroed(len).unwrap();
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
            assert!(buffer.iter().all(|x| x.to_bits() == 0));
            buffer.fill(1.0);
            assert!(buffer.clone().iter().all(|x| x.to_bits() == 1f32.to_bits()));
        }
    }

    #[test]
    fn too_large_a_buffer_is_an_error_and_not_an_abort() {
        assert!(AlignedBuffer::zeroed(usize::MAX / 8).is_err());
    }
}
