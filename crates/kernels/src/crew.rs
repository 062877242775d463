//! Loops whose tasks several threads share.
//!
//! A network for one image is a hundred loops of 20 microseconds. Threads that sleep between them, or look for work in
//! many places, lose as much as they win. A [`Crew`] is led by the thread that asks for an answer; its helpers, threads of
//! a rayon pool, wait awake for the next loop and go back to the pool when none comes for [`LINGER`].
//!
//! ```text
//! leader:  [open loop, own share, what others left, close]  [open ...
//! helper:  ... wait [join, own share, what others left, leave] wait ...
//! ```
//!
//! Every thread begins with neighbouring tasks of its own and takes from the end of another's when it is done. Which
//! thread runs a task makes no difference to the result.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::isa::FlushToZero;

#[cfg(test)]
mod tests;

/// How long a helper waits for a loop before it goes back to the pool.
const LINGER: Duration = Duration::from_micros(100);
/// Times that a waiting thread looks before it lets others have the processor.
const LOOKS: usize = 64;

thread_local! {
    static ROLE: Cell<Role> = const { Cell::new(Role::Outside) };
}

/// What a thread is to the loops that it meets.
#[derive(Clone, Copy)]
enum Role {
    /// A thread without a crew: loops are rayon's.
    Outside,
    /// The thread shares its loops with the crew, which outlives this role.
    Leader(*const Arc<Crew>),
    /// The thread runs a task: a loop inside is its own.
    Member,
}

/// A role until the value is dropped.
struct Acting(Role);

impl Acting {
    fn new(role: Role) -> Self {
        Self(ROLE.replace(role))
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        ROLE.set(self.0);
    }
}

/// Runs tasks `0..count`; a thread takes at least `min_tasks` neighbours at a time.
pub(crate) fn for_each(count: usize, min_tasks: usize, run: impl Fn(usize) + Sync + Send) {
    if count <= min_tasks {
        return (0..count).for_each(run);
    }
    match ROLE.get() {
        Role::Outside => (0..count).into_par_iter().with_min_len(min_tasks).for_each(run),
        Role::Member => (0..count).for_each(run),
        // SAFETY: the crew outlives the role.
        Role::Leader(crew) => unsafe { &*crew }.share(count, min_tasks, &run),
    }
}

/// Runs `task(index, chunk)` for the chunks of `len` elements, the last of which may be shorter; a thread takes at least
/// `min_tasks` neighbours at a time.
pub(crate) fn for_each_chunk<T: Send>(
    all: &mut [T],
    len: usize,
    min_tasks: usize,
    task: impl Fn(usize, &mut [T]) + Sync,
) {
    let (count, total, first) = (all.len().div_ceil(len), all.len(), Address(all.as_mut_ptr()));
    for_each(count, min_tasks, |index| {
        let start = index * len;
        // SAFETY: the chunk lies inside, and no other task has it.
        let chunk = unsafe { std::slice::from_raw_parts_mut(first.at(start), len.min(total - start)) };
        task(index, chunk);
    });
}

/// The address of a slice whose parts go to several threads.
struct Address<T>(*mut T);

// SAFETY: every thread makes of it a slice of its own.
unsafe impl<T: Send> Sync for Address<T> {}
// SAFETY: as for `Sync`.
unsafe impl<T: Send> Send for Address<T> {}

impl<T> Address<T> {
    fn at(&self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }
}

/// What the members of a crew share in a loop.
#[derive(Clone, Copy)]
struct Loop<'a> {
    run: &'a (dyn Fn(usize) + Sync),
    min_tasks: usize,
    members: usize,
}

/// The tasks that a member has left, `end << 32 | start`, in cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Share(AtomicU64);

impl Share {
    /// Takes some tasks out, as `split` says, which is given their number.
    fn take(&self, split: impl Fn(u64) -> Taken) -> Option<(u64, u64)> {
        let mut found = self.0.load(Ordering::Relaxed);
        loop {
            let (start, end) = (found & u64::from(u32::MAX), found >> 32);
            if start >= end {
                return None;
            }
            let (left, taken) = match split(end - start) {
                Taken::First(count) => ((start + count, end), (start, start + count)),
                Taken::Last(count) => ((start, end - count), (end - count, end)),
            };
            match self.0.compare_exchange_weak(found, pack(left), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(taken),
                Err(now) => found = now,
            }
        }
    }
}

/// How many tasks are taken from which end.
enum Taken {
    First(u64),
    Last(u64),
}

fn pack((start, end): (u64, u64)) -> u64 {
    end << 32 | start
}

/// The word that opens and closes loops: how many helpers are inside, how many may come in (none while the loop is
/// closed), and which loop it is.
#[derive(Clone, Copy)]
struct Gate(u64);

impl Gate {
    const ONE_INSIDE: u64 = 1;
    const ONE_WANTED: u64 = 1 << 16;
    const ONE_LOOP: u64 = 1 << 32;

    fn inside(self) -> u64 {
        self.0 & 0xffff
    }

    /// The loop, where the helper may come in.
    fn loop_for(self, helper: usize) -> Option<u64> {
        let wanted = self.0 >> 16 & 0xffff;
        ((helper as u64) < wanted).then_some(self.0 >> 32)
    }
}

/// Threads of a pool that help whoever leads them.
pub struct Crew {
    pool: Arc<rayon::ThreadPool>,
    is_led: AtomicBool,
    gate: AtomicU64,
    /// Written by the leader while the loop is closed and nobody is inside, read by those inside.
    current: UnsafeCell<Option<Loop<'static>>>,
    /// The leader's, then those of the helpers.
    shares: Box<[Share]>,
    /// Whether each helper is here or on its way.
    called: Box<[AtomicBool]>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `current` is the only part that is not `Sync`; the gate orders its accesses. What it refers to is `Sync`.
unsafe impl Sync for Crew {}
// SAFETY: as for `Sync`.
unsafe impl Send for Crew {}

impl Crew {
    /// A crew of as many threads as the pool has, with whoever leads it in place of one of them.
    pub fn new(pool: Arc<rayon::ThreadPool>) -> Arc<Self> {
        let members = pool.current_num_threads().clamp(1, 0xffff);
        Arc::new(Self {
            pool,
            is_led: AtomicBool::new(false),
            gate: AtomicU64::new(0),
            current: UnsafeCell::new(None),
            shares: (0..members).map(|_| Share::default()).collect(),
            called: (1..members).map(|_| AtomicBool::new(false)).collect(),
            panic: Mutex::new(None),
        })
    }

    /// Runs `work` on this thread, as the leader of the crew: loops of this crate's kernels inside are shared with the
    /// helpers, and denormals are zero. While another thread leads the crew, `work` runs on the pool.
    pub fn lead<R: Send>(self: &Arc<Self>, work: impl FnOnce() -> R + Send) -> R {
        if self.is_led.swap(true, Ordering::Acquire) {
            return self.pool.install(work);
        }
        let _lead = Lead(&self.is_led);
        let _flush = FlushToZero::new();
        let _role = Acting::new(Role::Leader(&raw const *self));
        work()
    }

    /// Runs the tasks of a loop together with the helpers.
    fn share(self: &Arc<Self>, count: usize, min_tasks: usize, run: &(dyn Fn(usize) + Sync)) {
        let members = self.shares.len().min(count.div_ceil(min_tasks));
        if members <= 1 || u32::try_from(count).is_err() {
            return (0..count).for_each(run);
        }
        for (index, share) in self.shares[..members].iter().enumerate() {
            let bound = |index: usize| (count * index / members) as u64;
            share.0.store(pack((bound(index), bound(index + 1))), Ordering::Relaxed);
        }
        // SAFETY: the reference is used by members inside the loop only, and `close` waits for the last of them.
        let run =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(run) };
        // SAFETY: the loop is closed and nobody is inside.
        unsafe { *self.current.get() = Some(Loop { run, min_tasks, members }) };
        let helpers = members - 1;
        self.gate.fetch_add(Gate::ONE_LOOP + helpers as u64 * Gate::ONE_WANTED, Ordering::Release);
        for (index, called) in self.called[..helpers].iter().enumerate() {
            if !called.load(Ordering::Relaxed) && !called.swap(true, Ordering::Acquire) {
                let crew = Arc::clone(self);
                self.pool.spawn(move || crew.help(index));
            }
        }
        self.work(0);
        self.close(helpers);
        if let Some(panic) = self.panicked().take() {
            resume_unwind(panic);
        }
    }

    /// Lets nobody in any more and waits until all are out.
    fn close(&self, helpers: usize) {
        self.gate.fetch_sub(helpers as u64 * Gate::ONE_WANTED, Ordering::Relaxed);
        let mut looks = 0;
        while Gate(self.gate.load(Ordering::Acquire)).inside() > 0 {
            wait(&mut looks);
        }
    }

    /// Waits for loops and takes part in them, until none comes for a while.
    fn help(&self, helper: usize) {
        let _role = Acting::new(Role::Member);
        let (mut seen, mut looks, mut since) = (None, 0, Instant::now());
        while since.elapsed() < LINGER {
            for _ in 0..LOOKS {
                if self.join(helper, &mut seen) {
                    since = Instant::now();
                }
                wait(&mut looks);
            }
        }
        self.called[helper].store(false, Ordering::Release);
    }

    /// Takes part in the loop that is open, if there is one and the helper has not `seen` it.
    fn join(&self, helper: usize, seen: &mut Option<u64>) -> bool {
        let is_new = |gate: u64| Gate(gate).loop_for(helper).filter(|found| *seen != Some(*found));
        if is_new(self.gate.load(Ordering::Relaxed)).is_none() {
            return false;
        }
        let joined = is_new(self.gate.fetch_add(Gate::ONE_INSIDE, Ordering::Acquire));
        if joined.is_some() {
            *seen = joined;
            self.work(helper + 1);
        }
        self.gate.fetch_sub(Gate::ONE_INSIDE, Ordering::Release);
        joined.is_some()
    }

    /// Runs tasks until there are none. The caller is inside.
    fn work(&self, member: usize) {
        // SAFETY: it is written while nobody is inside only.
        let Some(current) = (unsafe { *self.current.get() }) else { return };
        let _role = Acting::new(Role::Member);
        let tasks = || {
            while let Some((start, end)) = self.next(member, &current) {
                (start..end).for_each(|index| (current.run)(index as usize));
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(tasks)) {
            self.panicked().get_or_insert(panic);
        }
    }

    /// The next tasks of a member: its own, or else half of what another has.
    fn next(&self, member: usize, current: &Loop<'_>) -> Option<(u64, u64)> {
        let least = current.min_tasks as u64;
        let own = || self.shares[member].take(|left| Taken::First(left.min(least)));
        if let Some(tasks) = own() {
            return Some(tasks);
        }
        for other in (1..current.members).map(|step| (member + step) % current.members) {
            let taken = self.shares[other].take(|left| Taken::Last((left / 2).max(least).min(left)));
            if let Some(taken) = taken {
                // Nobody else writes to a share that is empty.
                self.shares[member].0.store(pack(taken), Ordering::Relaxed);
                // Others may take all of it before its owner does.
                if let Some(tasks) = own() {
                    return Some(tasks);
                }
            }
        }
        None
    }

    fn panicked(&self) -> MutexGuard<'_, Option<Box<dyn Any + Send>>> {
        self.panic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crew({})", self.shares.len())
    }
}

/// Gives the lead back.
struct Lead<'a>(&'a AtomicBool);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Lets a moment pass, and now and then the processor go.
fn wait(looks: &mut usize) {
    *looks += 1;
    if looks.is_multiple_of(LOOKS) { yield_now() } else { spin_loop() }
}
