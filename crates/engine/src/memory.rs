//! Borrowing several values of one arena at once: one to write, the others to read.

use residuum_tensor::AlignedBuffer;

use crate::error::EngineError;
use crate::plan::Slot;

/// The arena beside the value that is being written.
#[derive(Clone, Copy)]
pub(crate) struct Others<'a> {
    before: &'a [f32],
    after: &'a [f32],
    after_start: usize,
}

impl<'a> Others<'a> {
    /// The floats of a value that is not the one being written.
    pub(crate) fn read(&self, slot: &Slot) -> &'a [f32] {
        if slot.end() <= self.before.len() {
            &self.before[slot.offset..slot.end()]
        } else {
            &self.after[slot.offset - self.after_start..slot.end() - self.after_start]
        }
    }
}

/// Splits the arena into the value at `slot` and everything else.
pub(crate) fn write<'a>(arena: &'a mut [f32], slot: &Slot) -> (Others<'a>, &'a mut [f32]) {
    let (before, rest) = arena.split_at_mut(slot.offset);
    let (value, after) = rest.split_at_mut(slot.len);
    (Others { before, after, after_start: slot.end() }, value)
}

/// A zeroed buffer, or the news that there is no room for `what`.
pub(crate) fn allocate(what: &'static str, len: usize) -> Result<AlignedBuffer, EngineError> {
    AlignedBuffer::zeroed(len)
        .map_err(|_| EngineError::OutOfMemory { what, mib: (len * 4).div_ceil(1 << 20) })
}
