//! Tasks for the threads of the pool, their shares of the work, and the memory that each thread works in.

use crate::isa::Sink;
use residuum_tensor::AlignedBuffer;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use crate::crew::for_each;

thread_local! {
    /// Grows to the largest need, and stays.
    static MEMORY: RefCell<Memory> = RefCell::default();
    /// The same, for what a thread lends to the tasks that it hands out.
    static SHARED: RefCell<AlignedBuffer> = RefCell::default();
}

/// The memory of a thread, and what its last task has left there for the next one.
#[derive(Default)]
struct Memory {
    floats: AlignedBuffer,
    left: Option<Left>,
}

/// Names what a task leaves in the memory of its thread: one of the things that some run makes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) run: u64,
    pub(super) index: usize,
}

/// The number of a run, which no other has.
pub(super) fn new_run() -> u64 {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    RUNS.fetch_add(1, Ordering::Relaxed)
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
            thread: MEMORY.with_borrow(|memory| memory.floats.len()),
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
    with_left(len, None, |memory, _| run(memory));
}

/// The same for a task that leaves something there, and is told whether the task before has left the same.
pub(super) fn with_left(len: usize, leaves: Option<Left>, run: impl FnOnce(Sink<'_>, bool)) {
    MEMORY.with_borrow_mut(|memory| {
        // What a task leaves that panics is not known.
        let mut left = memory.left.take();
        if memory.floats.len() < len {
            memory.floats = AlignedBuffer::zeroed(len).expect("working memory of a thread");
            left = None;
        }
        run(Sink::new(&mut memory.floats), leaves.is_some() && leaves == left);
        memory.left = leaves;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_task_finds_what_the_one_before_has_left() {
        let found = |len, left| {
            let mut found = false;
            with_left(len, Some(left), |_, is_left| found = is_left);
            found
        };
        let run = new_run();
        let [first, second] = [0, 1].map(|index| Left { run, index });
        assert_eq!(
            [first, first, second, second, first].map(|left| found(8, left)),
            [false, true, false, true, false]
        );
        assert!(!found(8, Left { run: new_run(), index: 0 }), "another run");
        assert!(
            !found(1 << 20, first) && found(8, first) && !found(2 << 20, first),
            "memory that has grown is new"
        );
        with_memory(8, |_| ());
        assert!(!found(8, first), "a task that leaves nothing writes anywhere");
        let panics = || with_left(8, Some(first), |_, _| panic!("half done"));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert!(!found(8, first), "half of it");
    }
}
