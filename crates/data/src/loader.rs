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
use crate::image::RgbImage;
use crate::mix::{Mix, MixedIn};
use crate::preprocess::Preprocess;
use crate::random::{Purpose, Stream};
use crate::views::{Stack, Views};

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
    /// How often a sample comes in a row, each time changed anew; an epoch still has as many samples, so that
    /// the others of its order are left out (Hoffer et al. 2020, "Augment your batch"; torchvision's `RASampler`).
    pub repeats: usize,
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
            repeats: 1,
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
pub struct Batch<I = Tensor<f32>> {
    /// Its number in the epoch, from 0.
    pub number: usize,
    /// Prepared pictures, `[n, 3, crop, crop]`; or, from [`Loader::views`], the stacks of each preparation.
    pub images: I,
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
pub struct Loader<I = Tensor<f32>> {
    shared: Arc<Shared<I>>,
    workers: Vec<JoinHandle<()>>,
    skipped: Vec<Skipped>,
}

/// A sample in the order of an epoch.
struct Place {
    /// Its index in the data set.
    index: usize,
    /// How often it came in a row before.
    repeat: u64,
}

/// The good pictures of a batch, decoded one by one.
type Pictures<'a> = dyn Iterator<Item = (Place, RgbImage)> + 'a;

/// What becomes of so many pictures at most.
type Make<I> = dyn Fn(usize, &mut Pictures<'_>) -> I + Send + Sync;

/// What is mixed into a batch with these labels and this number.
type Blend<I> = dyn Fn(&mut I, &[u32], usize) -> Option<MixedIn> + Send + Sync;

struct Shared<I> {
    data: Dataset,
    make: Box<Make<I>>,
    mix: Box<Blend<I>>,
    options: LoaderOptions,
    order: Vec<usize>,
    /// One past the last batch.
    end: usize,
    is_stopped: AtomicBool,
    state: Mutex<State<I>>,
    changed: Condvar,
}

struct State<I> {
    next_claimed: usize,
    next_taken: usize,
    ready: BTreeMap<usize, Result<Prepared<I>>>,
}

struct Prepared<I> {
    batch: Batch<I>,
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
        let make = augmented(preprocess.clone(), &options);
        Self::start(data, make, mixed(preprocess.crop, &options), options)
    }
}

impl Loader<Vec<Vec<Stack>>> {
    /// Starts to prepare the views of every picture, for each of several preparations; a picture is decoded
    /// once for all. A batch holds the stacks of each preparation. Views whose size is the picture's have
    /// batches of one picture.
    ///
    /// # Errors
    /// When a preparation is refused or has no such views, an augmentation is asked for, the views want
    /// batches of one picture, and as [`Loader::new`].
    pub fn views(
        data: &Dataset,
        preparations: &[Preprocess],
        views: &Views,
        options: LoaderOptions,
    ) -> Result<Self> {
        for preprocess in preparations {
            preprocess.check()?;
            views.check(preprocess)?;
        }
        let changes = options.augment != Augment::None
            || options.distortion != Distortion::default()
            || options.mix.is_on();
        if changes || !(views.are_of_one_size() || options.batch_size == 1) {
            return Err(DataError::Settings(format!(
                "loader: expected no augmentation with views, and batches of one picture where views differ in \
                 size, found {:?} and batches of {}",
                options.augment, options.batch_size
            )));
        }
        Self::start(data, shown(preparations.to_vec(), views.clone()), Box::new(|_, _, _| None), options)
    }
}

impl Loader<Vec<u32>> {
    /// Starts to add up the bytes of what a preparation shows of every picture: of each batch `h x w x 3` sums.
    pub(crate) fn sums(data: &Dataset, preprocess: &Preprocess, options: LoaderOptions) -> Result<Self> {
        let preprocess = preprocess.clone();
        let add = move |_, pictures: &mut Pictures<'_>| {
            let mut sums = vec![0; preprocess.len()];
            for (_, image) in pictures {
                let view = preprocess.view(&image);
                sums.iter_mut().zip(view.pixels()).for_each(|(sum, &byte)| *sum += u32::from(byte));
            }
            sums
        };
        Self::start(data, Box::new(add), Box::new(|_, _, _| None), options)
    }
}

impl<I: Send + 'static> Loader<I> {
    fn start(data: &Dataset, make: Box<Make<I>>, mix: Box<Blend<I>>, options: LoaderOptions) -> Result<Self> {
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
            make,
            mix,
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
}

impl<I> Loader<I> {
    /// Batches of the whole epoch, those before the first one given included.
    pub fn batches(&self) -> usize {
        self.shared.end
    }

    /// The pictures left out so far, in the order of the epoch.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

impl<I> Iterator for Loader<I> {
    type Item = Result<Batch<I>>;

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

impl<I> std::fmt::Debug for Loader<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").field("data", &self.shared.data).finish_non_exhaustive()
    }
}

impl<I> Drop for Loader<I> {
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
        if self.repeats == 0 {
            refuse("expected each sample at least once, found 0 repeats".into())
        } else if self.threads == 0 || self.prefetch == 0 {
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
        order.into_iter().flat_map(|sample| std::iter::repeat_n(sample, self.repeats)).take(samples).collect()
    }
}

/// Every picture with its random change, as one tensor.
fn augmented(preprocess: Preprocess, options: &LoaderOptions) -> Box<Make<Tensor<f32>>> {
    let LoaderOptions { seed, epoch, augment, distortion, .. } = *options;
    Box::new(move |samples, pictures| {
        let (len, crop) = (preprocess.len(), preprocess.crop);
        let (mut pixels, mut count) = (vec![0.0; samples * len], 0);
        for (Place { index, repeat }, image) in pictures {
            let mut random = Stream::new(seed, Purpose::Augment, epoch, repeat << 40 | index as u64);
            let out = &mut pixels[count * len..][..len];
            augment.apply_into(&distortion, &image, &preprocess, &mut random, out);
            count += 1;
        }
        pixels.truncate(count * len);
        Tensor::new([count, 3, crop, crop], pixels).expect("one picture after the other")
    })
}

/// Batches mixed as the options say.
fn mixed(crop: usize, options: &LoaderOptions) -> Box<Blend<Tensor<f32>>> {
    let LoaderOptions { seed, epoch, mix, .. } = *options;
    Box::new(move |images, labels, number| {
        let mut random = Stream::new(seed, Purpose::Mix, epoch, number as u64);
        mix.apply(images.data_mut(), labels, crop, &mut random)
    })
}

/// The views of every picture, for each preparation.
fn shown(preparations: Vec<Preprocess>, views: Views) -> Box<Make<Vec<Vec<Stack>>>> {
    Box::new(move |samples, pictures| {
        let mut stacks = vec![Vec::new(); preparations.len()];
        for (_, image) in pictures {
            for (preprocess, stacks) in preparations.iter().zip(&mut stacks) {
                views.add(&image, preprocess, samples, stacks);
            }
        }
        stacks
    })
}

impl<I> Shared<I> {
    fn lock(&self) -> MutexGuard<'_, State<I>> {
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

    fn take(&self) -> Option<Result<Prepared<I>>> {
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

    fn prepare(&self, number: usize) -> Result<Prepared<I>> {
        let LoaderOptions { batch_size, on_bad_image, .. } = self.options;
        let start = number * batch_size;
        let samples = &self.order[start..self.order.len().min(start + batch_size)];
        let (mut labels, mut indices, mut skipped, mut failure) = (Vec::new(), Vec::new(), Vec::new(), None);
        let mut remaining = samples.iter().zip(start as u64..);
        let mut pictures = std::iter::from_fn(|| {
            while !self.is_stopped() {
                let (&index, place) = remaining.next()?;
                match self.data.image(index) {
                    Ok(image) => {
                        labels.push(self.data.label(index));
                        indices.push(index);
                        return Some((Place { index, repeat: place % self.options.repeats as u64 }, image));
                    }
                    Err(error) if on_bad_image == OnBadImage::Fail => {
                        failure = Some(error);
                        return None;
                    }
                    Err(error) => skipped.push(Skipped { index, reason: error.to_string() }),
                }
            }
            None
        });
        let mut images = (self.make)(samples.len(), &mut pictures);
        if let Some(error) = failure {
            return Err(error);
        }
        let mixed = (self.mix)(&mut images, &labels, number);
        Ok(Prepared { batch: Batch { number, images, labels, mixed, indices }, skipped })
    }
}

#[cfg(test)]
mod tests;
