//! Pointers that know how much lies behind them.
//!
//! A slice cannot be shared by threads that write disjoint parts of it in an interleaved order; a [`Sink`]
//! can. The length travels along so that the plain implementation can check every access: it is the bounds
//! oracle of the others, in which the length vanishes.

use std::marker::PhantomData;

/// Floats to read.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    ptr: *const f32,
    len: usize,
    life: PhantomData<&'a [f32]>,
}

/// Floats to write, and to read back.
#[derive(Clone, Copy)]
pub(crate) struct Sink<'a> {
    ptr: *mut f32,
    len: usize,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for a shared slice.
unsafe impl Send for Source<'_> {}
// SAFETY: it stands for a shared slice.
unsafe impl Sync for Source<'_> {}
// SAFETY: every access is unsafe, and its caller answers for the absence of races.
unsafe impl Send for Sink<'_> {}
// SAFETY: every access is unsafe, and its caller answers for the absence of races.
unsafe impl Sync for Sink<'_> {}

impl<'a> Source<'a> {
    /// The floats of a slice.
    #[inline(always)]
    pub(crate) fn new(slice: &'a [f32]) -> Self {
        Self { ptr: slice.as_ptr(), len: slice.len(), life: PhantomData }
    }

    /// Floats from the start to the end.
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// Address of the float at `offset`, which is inside.
    #[inline(always)]
    pub(super) fn at(self, offset: usize) -> *const f32 {
        self.ptr.wrapping_add(offset)
    }

    /// Checks that `count` floats from `offset` lie inside.
    #[inline(always)]
    pub(super) fn check(self, offset: usize, count: usize) {
        assert!(count <= self.len && offset <= self.len - count, "read outside of the buffer");
    }

    /// The same with the first `offset` floats left off.
    ///
    /// # Safety
    /// `offset <= len`.
    #[inline(always)]
    pub(crate) unsafe fn skip(self, offset: usize) -> Self {
        Self { ptr: self.ptr.wrapping_add(offset), len: self.len.wrapping_sub(offset), life: PhantomData }
    }
}

impl<'a> Sink<'a> {
    /// The floats of a slice.
    #[inline(always)]
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { ptr: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// Address of the float at `offset`, which is inside.
    #[inline(always)]
    pub(super) fn at(self, offset: usize) -> *mut f32 {
        self.ptr.wrapping_add(offset)
    }

    /// Checks that `count` floats from `offset` lie inside.
    #[inline(always)]
    pub(super) fn check(self, offset: usize, count: usize) {
        assert!(count <= self.len && offset <= self.len - count, "write outside of the buffer");
    }

    /// The same floats, to read.
    #[inline(always)]
    pub(crate) fn source(self) -> Source<'a> {
        Source { ptr: self.ptr, len: self.len, life: PhantomData }
    }

    /// The part `offset .. offset + count` as a slice; panics where it is not inside.
    ///
    /// # Safety
    /// While the slice lives, nothing else touches these floats.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "exclusive by the contract")]
    pub(crate) unsafe fn slice(self, offset: usize, count: usize) -> &'a mut [f32] {
        self.check(offset, count);
        // SAFETY: inside, as just checked, and exclusive by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.at(offset), count) }
    }
}
