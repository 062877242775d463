//! Image data sets, decoding, resizing, augmentation, loading.
//!
//! [`open`] finds out what a path holds and makes a [`Dataset`] of it; a [`Loader`] goes through one epoch
//! of it in batches that a network can read, prepared by [`Preprocess`] and changed by [`Augment`],
//! [`Distortion`] and [`Mix`], or shown in several [`Views`] for a test. Without any file there is
//! [`shapes()`], ten classes of small pictures drawn by this crate.
//!
//! Everything random is drawn from the seed, the epoch and the index of the sample, and from nothing else:
//! order and bits are the same for any number of threads and after any resume.
#![forbid(unsafe_code)]

mod augment;
mod cifar;
mod dataset;
mod decode;
mod detect;
mod distortion;
mod erasing;
mod error;
mod folder;
mod image;
mod loader;
mod mean;
mod mix;
mod operation;
mod parquet;
mod preprocess;
mod rand_augment;
mod random;
mod resize;
mod sample;
mod shapes;
mod trivial;
mod views;

pub use crate::image::RgbImage;
pub use augment::{Augment, Padding};
pub use dataset::{Dataset, Split};
pub use decode::{Limits, decode};
pub use detect::{OpenOptions, open};
pub use distortion::Distortion;
pub use erasing::{Erased, Erasing};
pub use error::{DataError, Result};
pub use loader::{Batch, Loader, LoaderOptions, OnBadImage, Skipped};
pub use mean::{Mean, MeanImage};
pub use mix::{Mix, MixedIn};
pub use preprocess::{ChannelOrder, Preprocess};
pub use rand_augment::RandAugment;
pub use resize::{Interpolation, Window, centre_crop, resize, resize_window, short_side};
pub use sample::sample;
pub use shapes::shapes;
pub use views::{Crops, Frame, Stack, Views};
