//! Pointers that know how much lies behind them.
//!
//! A slice cannot be shared by threads that write disjoint parts of it in an interleaved order; a [`Sink`]
//! can. The length travels along so that the plain implementation can check every access: it is the bounds
//! oracle of the others, in which the length vanishes.

use std::marker::PhantomData;

/// Elements to read, floats unless another type is named.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a, T = f32> {
    ptr: *const T,
    len: usize,
    life: PhantomData<&'a [T]>,
}

/// Elements to write, and to read back.
#[derive(Clone, Copy)]
pub(crate) struct Sink<'a, T = f32> {
    ptr: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a shared slice.
unsafe impl<T: Sync> Send for Source<'_, T> {}
// SAFETY: it stands for a shared slice.
unsafe impl<T: Sync> Sync for Source<'_, T> {}
// SAFETY: every access is unsafe, and its caller answers for the absence of races.
unsafe impl<T: Send> Send for Sink<'_, T> {}
// SAFETY: every access is unsafe, and its caller answers for the absence of races.
unsafe impl<T: Send> Sync for Sink<'_, T> {}

impl<'a, T: Copy> Source<'a, T> {
    /// The elements of a slice.
    #[inline(always)]
    pub(crate) fn new(slice: &'a [T]) -> Self {
        Self { ptr: slice.as_ptr(), len: slice.len(), life: PhantomData }
    }

    /// Elements from the start to the end.
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// Address of the element at `offset`, which is inside.
    #[inline(always)]
    pub(super) fn at(self, offset: usize) -> *const T {
        self.ptr.wrapping_add(offset)
    }

    /// Checks that `count` elements from `offset` lie inside.
    #[inline(always)]
    pub(super) fn check(self, offset: usize, count: usize) {
        assert!(count <= self.len && offset <= self.len - count, "read outside of the buffer");
    }

    /// The same with the first `offset` elements left off.
    ///
    /// # Safety
    /// `offset <= len`.
    #[inline(always)]
    pub(crate) unsafe fn skip(self, offset: usize) -> Self {
        Self { ptr: self.ptr.wrapping_add(offset), len: self.len.wrapping_sub(offset), life: PhantomData }
    }
}

impl<'a, T: Copy> Sink<'a, T> {
    /// The elements of a slice.
    #[inline(always)]
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { ptr: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// Address of the element at `offset`, which is inside.
    #[inline(always)]
    pub(super) fn at(self, offset: usize) -> *mut T {
        self.ptr.wrapping_add(offset)
    }

    /// Checks that `count` elements from `offset` lie inside.
    #[inline(always)]
    pub(super) fn check(self, offset: usize, count: usize) {
        assert!(count <= self.len && offset <= self.len - count, "write outside of the buffer");
    }

    /// The same elements, to read.
    #[inline(always)]
    pub(crate) fn source(self) -> Source<'a, T> {
        Source { ptr: self.ptr, len: self.len, life: PhantomData }
    }

    /// The part `offset .. offset + count` as a slice; panics where it is not inside.
    ///
    /// # Safety
    /// While the slice lives, nothing else touches these elements.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "exclusive by the contract")]
    pub(crate) unsafe fn slice(self, offset: usize, count: usize) -> &'a mut [T] {
        self.check(offset, count);
        // SAFETY: inside, as just checked, and exclusive by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.at(offset), count) }
    }
}
