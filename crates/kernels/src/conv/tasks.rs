//! Tasks for the threads of the pool, their shares of the work, and the memory that each thread works in.

use crate::isa::Sink;
use residuum_tensor::AlignedBuffer;
use std::cell::RefCell;
use std::ops::Range;

pub(super) use crate::crew::for_each;

thread_local! {
    /// Grows to the largest need, and stays.
    static MEMORY: RefCell<AlignedBuffer> = RefCell::default();
    /// The same, for what a thread lends to the tasks that it hands out.
    static SHARED: RefCell<AlignedBuffer> = RefCell::default();
}

/// Floats that the tasks of a convolution work in, beside the maps and the filters. Threads keep what they had, so a network
/// takes the most of its layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkingMemory {
    /// Of every thread that has a task.
    pub thread: usize,
    /// Of all of them together.
    pub shared: usize,
}

impl WorkingMemory {
    /// Enough for both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { thread: self.thread.max(other.thread), shared: self.shared.max(other.shared) }
    }
}

/// What a thread keeps that does nothing but this work.
#[cfg(test)]
pub(crate) fn kept_by(work: impl FnOnce() + Send) -> WorkingMemory {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        work();
        WorkingMemory {
            thread: MEMORY.with_borrow(|memory| memory.len()),
            shared: SHARED.with_borrow(|memory| memory.len()),
        }
    })
}

/// Part `index` of `count` parts of `0..len`, as even as possible.
pub(super) fn part(len: usize, index: usize, count: usize) -> Range<usize> {
    len * index / count..len * (index + 1) / count
}

/// Runs a task with `len` floats of the thread's own, which begin a cache line and hold anything. The task
/// must not hand out tasks itself.
pub(super) fn with_memory(len: usize, run: impl FnOnce(Sink<'_>)) {
    MEMORY.with_borrow_mut(|memory| {
        if memory.len() < len {
            *memory = AlignedBuffer::zeroed(len).expect("working memory of a thread");
        }
        run(Sink::new(memory));
    });
}

/// Runs work that hands out tasks, with `len` floats that they may share, which begin a cache line and hold anything.
pub(super) fn with_shared_memory(len: usize, run: impl FnOnce(Sink<'_>)) {
    // Taken, not borrowed: a thread that waits for its tasks may come upon work of this kind.
    let mut memory = SHARED.take();
    if memory.len() < len {
        memory = AlignedBuffer::zeroed(len).expect("shared memory of a thread's tasks");
    }
    run(Sink::new(&mut memory));
    SHARED.set(memory);
}
