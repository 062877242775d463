//! One epoch of a data set in batches, prepared ahead by threads of its own.
//!
//! ```text
//! order    one shuffle per (seed, epoch), or the data set's own order
//! workers  claim the next batch while it is less than `prefetch` ahead of the reader; prepare it alone
//! reader   takes batch k when it is ready, in order
//! ```
//! A batch depends on the seed, the epoch and its number only: each sample's random stream is keyed by
//! (seed, epoch, index of the sample), and what a batch is mixed by is keyed by (seed, epoch, number). Who prepared it, and when, cannot be told from it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use residuum_tensor::Tensor;

use crate::augment::Augment;
use crate::dataset::Dataset;
use crate::distortion::Distortion;
use crate::error::{DataError, Result};
use crate::mix::{Mix, MixedIn};
use crate::preprocess::Preprocess;
use crate::random::{Purpose, Stream};

/// What happens when a picture cannot be read or decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadImage {
    /// The batch is an error that names it, and the epoch ends.
    #[default]
    Fail,
    /// It is left out, counted and named in [`Loader::skipped`].
    Skip,
}

/// How an epoch is gone through.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Samples per batch; at least 1.
    pub batch_size: usize,
    /// Whether the order is drawn anew for each epoch.
    pub shuffle: bool,
    /// Whether a last batch of fewer samples is left out.
    pub drop_last: bool,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Which epoch.
    pub epoch: u64,
    /// The first batch to give, to go on where an epoch was left.
    pub first_batch: usize,
    /// Random change of each picture.
    pub augment: Augment,
    /// Random change of its colours and content.
    pub distortion: Distortion,
    /// How the pictures of a batch are mixed.
    pub mix: Mix,
    /// What to do with a picture that cannot be read.
    pub on_bad_image: OnBadImage,
    /// Threads that prepare; at least 1.
    pub threads: usize,
    /// Batches in memory at most, those being prepared included; at least 1.
    pub prefetch: usize,
}

impl LoaderOptions {
    /// In the data set's order, unchanged, all samples.
    pub fn evaluation(batch_size: usize) -> Self {
        Self {
            batch_size,
            shuffle: false,
            drop_last: false,
            seed: 0,
            epoch: 0,
            first_batch: 0,
            augment: Augment::None,
            distortion: Distortion::default(),
            mix: Mix::default(),
            on_bad_image: OnBadImage::Fail,
            threads: 2,
            prefetch: 4,
        }
    }

    /// Shuffled and augmented.
    pub fn training(batch_size: usize, augment: Augment, seed: u64, epoch: u64) -> Self {
        Self { shuffle: true, augment, seed, epoch, ..Self::evaluation(batch_size) }
    }
}

/// Samples that go through a network together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Its number in the epoch, from 0.
    pub number: usize,
    /// Prepared pictures, `[n, 3, crop, crop]`.
    pub images: Tensor<f32>,
    /// Class of each.
    pub labels: Vec<u32>,
    /// What was mixed into them, where [`LoaderOptions::mix`] asks for it.
    pub mixed: Option<MixedIn>,
    /// Index of each in the data set.
    pub indices: Vec<usize>,
}

/// A picture that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its index in the data set.
    pub index: usize,
    /// Which one and why.
    pub reason: String,
}

/// Iterator over the batches of one epoch. Ends after the first error. Dropping it stops its threads after
/// the pictures they are at.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    skipped: Vec<Skipped>,
}

#[derive(Debug)]
struct Shared {
    data: Dataset,
    preprocess: Preprocess,
    options: LoaderOptions,
    order: Vec<usize>,
    /// One past the last batch.
    end: usize,
    is_stopped: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    next_claimed: usize,
    next_taken: usize,
    ready: BTreeMap<usize, Result<Prepared>>,
}

#[derive(Debug)]
struct Prepared {
    batch: Batch,
    skipped: Vec<Skipped>,
}

impl Loader {
    /// Starts to prepare an epoch of `data`.
    ///
    /// # Errors
    /// When the preparation or the augmentation is refused, a number is 0 that must not be, the first batch
    /// is beyond the epoch, the epoch has no batch, or a thread cannot be started.
    pub fn new(data: &Dataset, preprocess: &Preprocess, options: LoaderOptions) -> Result<Self> {
        preprocess.check()?;
        options.augment.check(preprocess)?;
        options.distortion.check()?;
        options.mix.check()?;
        let end = options.check(data.len())?;
        let threads = options.threads.min(end - options.first_batch);
        let state = State {
            next_claimed: options.first_batch,
            next_taken: options.first_batch,
            ready: BTreeMap::new(),
        };
        let shared = Arc::new(Shared {
            order: options.order(data.len()),
            data: data.clone(),
            preprocess: preprocess.clone(),
            options,
            end,
            is_stopped: AtomicBool::new(false),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let mut loader = Self { shared, workers: Vec::new(), skipped: Vec::new() };
        for _ in 0..threads {
            let shared = Arc::clone(&loader.shared);
            let worker = std::thread::Builder::new().name("loader".into()).spawn(move || shared.work());
            loader
                .workers
                .push(worker.map_err(|e| DataError::Settings(format!("cannot start a loader thread: {e}")))?);
        }
        Ok(loader)
    }

    /// Batches of the whole epoch, those before the first one given included.
    pub fn batches(&self) -> usize {
        self.shared.end
    }

    /// The pictures left out so far, in the order of the epoch.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    /// The next batch; one that lost all its samples to [`OnBadImage::Skip`] is passed over.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.shared.take()? {
                Err(error) => {
                    self.shared.stop();
                    return Some(Err(error));
                }
                Ok(prepared) => {
                    self.skipped.extend(prepared.skipped);
                    if !prepared.batch.labels.is_empty() {
                        return Some(Ok(prepared.batch));
                    }
                }
            }
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.stop();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of what it runs; nothing is left to report here.
            let _ = worker.join();
        }
    }
}

impl LoaderOptions {
    /// Number of batches of an epoch of `samples`.
    fn check(&self, samples: usize) -> Result<usize> {
        let refuse = |problem: String| Err(DataError::Settings(format!("loader: {problem}")));
        let batches = match self.batch_size {
            0 => return refuse("expected a batch size of at least 1, found 0".into()),
            size if self.drop_last => samples / size,
            size => samples.div_ceil(size),
        };
        if self.threads == 0 || self.prefetch == 0 {
            refuse(format!(
                "expected at least 1 thread and 1 batch ahead, found {} and {}",
                self.threads, self.prefetch
            ))
        } else if batches == 0 {
            refuse(format!("expected at least one batch of {}, found {samples} samples", self.batch_size))
        } else if self.first_batch > batches {
            refuse(format!("expected a first batch of at most {batches}, found {}", self.first_batch))
        } else {
            Ok(batches)
        }
    }

    fn order(&self, samples: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..samples).collect();
        if self.shuffle {
            Stream::new(self.seed, Purpose::Shuffle, self.epoch, 0).shuffle(&mut order);
        }
        order
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so that a poisoned one is still in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let state = self.lock();
        self.is_stopped.store(true, Ordering::Relaxed);
        drop(state);
        self.changed.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    fn work(&self) {
        while let Some(number) = self.claim() {
            let prepared = catch_unwind(AssertUnwindSafe(|| self.prepare(number))).unwrap_or_else(|_| {
                Err(DataError::Settings(format!(
                    "loader: a decoder failed badly on a picture of batch {number}"
                )))
            });
            self.lock().ready.insert(number, prepared);
            self.changed.notify_all();
        }
    }

    fn claim(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if self.is_stopped() || state.next_claimed == self.end {
                return None;
            }
            if state.next_claimed < state.next_taken + self.options.prefetch {
                state.next_claimed += 1;
                return Some(state.next_claimed - 1);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take(&self) -> Option<Result<Prepared>> {
        let mut state = self.lock();
        loop {
            let number = state.next_taken;
            if self.is_stopped() || number == self.end {
                return None;
            }
            if let Some(prepared) = state.ready.remove(&number) {
                state.next_taken += 1;
                drop(state);
                self.changed.notify_all();
                return Some(prepared);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn prepare(&self, number: usize) -> Result<Prepared> {
        let LoaderOptions { batch_size, seed, epoch, augment, distortion, mix, on_bad_image, .. } =
            self.options;
        let start = number * batch_size;
        let samples = &self.order[start..self.order.len().min(start + batch_size)];
        let (len, crop) = (self.preprocess.len(), self.preprocess.crop);
        let mut pixels = vec![0.0; samples.len() * len];
        let (mut labels, mut indices, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for &index in samples {
            if self.is_stopped() {
                break;
            }
            match self.data.image(index) {
                Ok(image) => {
                    let out = &mut pixels[labels.len() * len..][..len];
                    let mut random = Stream::new(seed, Purpose::Augment, epoch, index as u64);
                    augment.apply_into(&distortion, &image, &self.preprocess, &mut random, out);
                    labels.push(self.data.label(index));
                    indices.push(index);
                }
                Err(error) if on_bad_image == OnBadImage::Fail => return Err(error),
                Err(error) => skipped.push(Skipped { index, reason: error.to_string() }),
            }
        }
        pixels.truncate(labels.len() * len);
        let mut random = Stream::new(seed, Purpose::Mix, epoch, number as u64);
        let mixed = mix.apply(&mut pixels, &labels, crop, &mut random);
        let images = Tensor::new([labels.len(), 3, crop, crop], pixels).expect("one picture for each label");
        Ok(Prepared { batch: Batch { number, images, labels, mixed, indices }, skipped })
    }
}

#[cfg(test)]
mod tests;
