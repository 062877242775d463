//! The pool of threads that everything runs on.

use std::sync::Arc;

use residuum_kernels::Crew;
use residuum_kernels::isa::set_flush_to_zero;

use crate::error::EngineError;

/// A pool of worker threads, all with denormals flushed to zero. Cloning shares it.
#[derive(Clone)]
pub struct Threads {
    pool: Arc<rayon::ThreadPool>,
    crew: Arc<Crew>,
}

impl Threads {
    /// A pool of `count` threads, or of one for each physical core.
    ///
    /// # Errors
    /// When the system refuses the threads.
    pub fn new(count: Option<usize>) -> Result<Self, EngineError> {
        let count = count.unwrap_or_else(Self::default_count);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("residuum-{index}"))
            .start_handler(|_| set_flush_to_zero())
            .build()
            .map_err(|error| EngineError::Threads { count, reason: error.to_string() })?;
        let pool = Arc::new(pool);
        Ok(Self { crew: Crew::new(Arc::clone(&pool)), pool })
    }

    /// Physical cores that this process may use.
    pub fn default_count() -> usize {
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        num_cpus::get_physical().clamp(1, allowed)
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` on the pool; parallel loops inside use its threads.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Runs `work`, short kernels one after the other, on this thread, and their loops on all threads: this one and all of
    /// the pool but one.
    pub(crate) fn lead<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.crew.lead(work)
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Threads({})", self.count())
    }
}
