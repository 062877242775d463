//! All that a run needs to go on to the bit, in a folder of which there is always a complete one.
//!
//! ```text
//! checkpoint.new   weights, velocity, the optimiser's second moments where it has them, the weights' average where
//!                  there is one, the mean image where there is one, the network where its name is not registered,
//!                  then the manifest with their lengths and digests; each synced
//! checkpoint     → checkpoint.old
//! checkpoint.new → checkpoint
//! checkpoint.old   removed
//! ```
//! After a crash anywhere in between, whatever is complete and newest among the three is the checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use residuum_data::MeanImage;
use residuum_formats::{Bytes, NamedTensors, RawTensor, disk, safetensors};
use residuum_graph::{Graph, Weights};
use residuum_tensor::Tensor;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Result, TrainError};
use crate::progress::Progress;
use crate::recipe::Recipe;

/// Name of the folder within the run's.
pub(crate) const FOLDER: &str = "checkpoint";
const NEW: &str = "checkpoint.new";
const OLD: &str = "checkpoint.old";
const MANIFEST: &str = "manifest.json";
const WEIGHTS: &str = "weights.safetensors";
const VELOCITY: &str = "velocity.safetensors";
const SECOND_MOMENTS: &str = "second-moments.safetensors";
const AVERAGE: &str = "average.safetensors";
const MEAN: &str = "mean.safetensors";
const GRAPH: &str = "graph.json";
const MAX_MANIFEST_BYTES: usize = 64 << 20;
const VERSION: u32 = 1;

/// A run between two steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) identity: Identity,
    pub(crate) progress: Progress,
    /// The network itself, where its name is not registered.
    pub(crate) graph: Option<Graph>,
    /// All parameters, running statistics among them.
    pub(crate) weights: Weights,
    /// The optimiser's velocities, or first moments.
    pub(crate) velocity: Weights,
    /// Its second moments, where it has them.
    pub(crate) second_moments: Option<Weights>,
    /// The running average of all parameters, where the recipe asks for one.
    pub(crate) average: Option<Weights>,
    /// The mean image of the training pictures, where the recipe asks for one and it was taken.
    pub(crate) mean: Option<MeanImage>,
}

/// What must stay the same throughout a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) recipe: Recipe,
    pub(crate) recipe_digest: String,
    pub(crate) train_digest: String,
    pub(crate) test_digest: String,
    /// Instruction set: on another the run goes on, but not to the same bits.
    pub(crate) isa: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    identity: Identity,
    progress: Progress,
    files: BTreeMap<String, FileRecord>,
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRecord {
    bytes: u64,
    sha256: String,
}

impl FileRecord {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: crate::hex(&Sha256::digest(bytes)) }
    }
}

impl Checkpoint {
    /// Puts this checkpoint in the place of the one that the run's folder holds.
    pub(crate) fn save(&self, run: &Path) -> Result<()> {
        let [current, new, old] = [FOLDER, NEW, OLD].map(|name| run.join(name));
        remove_if_there(&new)?;
        self.write(&new)?;
        if disk::exists(&current) {
            remove_if_there(&old)?;
            disk::rename_dir(&current, &old)?;
        }
        disk::rename_dir(&new, &current)?;
        remove_if_there(&old)
    }

    fn write(&self, folder: &Path) -> Result<()> {
        disk::create_dir(folder)?;
        let mut files = BTreeMap::new();
        let mut put = |name: &str, bytes: &[u8]| {
            files.insert(name.to_owned(), FileRecord::of(bytes));
            disk::write_bytes(folder.join(name), bytes)
        };
        let always = [(WEIGHTS, Some(&self.weights)), (VELOCITY, Some(&self.velocity))];
        let others = [(SECOND_MOMENTS, self.second_moments.as_ref()), (AVERAGE, self.average.as_ref())];
        for (name, tensors) in always.into_iter().chain(others) {
            let Some(tensors) = tensors else { continue };
            put(name, &safetensors::write_to_vec(&named(tensors))?)?;
        }
        if let Some(mean) = &self.mean {
            put(MEAN, &safetensors::write_to_vec(&named(&mean_weights(mean)))?)?;
        }
        if let Some(graph) = &self.graph {
            let text = graph.to_json().map_err(|e| no_checkpoint(&folder.join(GRAPH), e.to_string()))?;
            put(GRAPH, text.as_bytes())?;
        }
        let (identity, progress) = (self.identity.clone(), self.progress.clone());
        let manifest = Manifest { version: VERSION, identity, progress, files };
        let text =
            serde_json::to_string_pretty(&manifest).map_err(|e| no_checkpoint(folder, e.to_string()))?;
        Ok(disk::write_bytes(folder.join(MANIFEST), text.as_bytes())?)
    }

    /// The newest complete checkpoint of a run's folder, and which of the three it is. Changes nothing.
    pub(crate) fn load(run: &Path) -> Result<(Self, Place)> {
        let mut newest: Option<(Self, Place)> = None;
        let mut problems = Vec::new();
        for place in [Place(FOLDER), Place(NEW), Place(OLD)] {
            let folder = run.join(place.0);
            if !disk::exists(&folder) {
                continue;
            }
            match Self::read(&folder) {
                Ok(found) => {
                    let is_newer = newest.as_ref().is_none_or(|(best, _)| {
                        let key = |progress: &Progress| (progress.iteration, progress.epoch);
                        key(&found.progress) > key(&best.progress)
                    });
                    if is_newer {
                        newest = Some((found, place));
                    }
                }
                Err(problem) => problems.push(problem.to_string()),
            }
        }
        newest.ok_or_else(|| {
            let none = || "expected a folder `checkpoint`, as `residuum train` makes it".to_owned();
            no_checkpoint(run, if problems.is_empty() { none() } else { problems.join("; ") })
        })
    }

    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = disk::read_text(&path, MAX_MANIFEST_BYTES)?;
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|e| no_checkpoint(&path, e.to_string()))?;
        if manifest.version != VERSION {
            let problem = format!("expected version {VERSION}, found {}", manifest.version);
            return Err(no_checkpoint(&path, problem));
        }
        let bytes = |name: &str| {
            let path = folder.join(name);
            let bytes: Bytes = disk::map(&path)?.into();
            if manifest.files.get(name) != Some(&FileRecord::of(&bytes)) {
                return Err(no_checkpoint(&path, "length or digest is not that of the manifest".into()));
            }
            Ok(bytes)
        };
        let read = |name: &str| -> Result<Weights> {
            let tensors = safetensors::read_bytes(&bytes(name)?)?;
            tensors.iter().map(|(name, tensor)| Ok((name.to_owned(), tensor.to_f32()?))).collect()
        };
        let (weights, velocity) = (read(WEIGHTS)?, read(VELOCITY)?);
        let read_if_there = |name: &str| manifest.files.contains_key(name).then(|| read(name)).transpose();
        let (second_moments, average) = (read_if_there(SECOND_MOMENTS)?, read_if_there(AVERAGE)?);
        let mean = read_if_there(MEAN)?.map(|tensors| mean_of(&tensors)).transpose();
        let mean = mean.map_err(|problem| no_checkpoint(&folder.join(MEAN), problem))?;
        let graph = || {
            let wrong = |problem: String| no_checkpoint(&folder.join(GRAPH), problem);
            let bytes = bytes(GRAPH)?;
            let text = std::str::from_utf8(&bytes).map_err(|e| wrong(e.to_string()))?;
            Graph::from_json(text).map_err(|e| wrong(e.to_string()))
        };
        let graph = manifest.files.contains_key(GRAPH).then(graph).transpose()?;
        let Manifest { identity, progress, .. } = manifest;
        Ok(Self { identity, progress, graph, weights, velocity, second_moments, average, mean })
    }
}

/// Which of the three folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(&'static str);

impl Place {
    /// Makes this folder the checkpoint and removes what a crash left beside it.
    pub(crate) fn settle(self, run: &Path) -> Result<()> {
        let current = run.join(FOLDER);
        if self.0 != FOLDER {
            remove_if_there(&current)?;
            disk::rename_dir(run.join(self.0), &current)?;
        }
        [NEW, OLD].iter().try_for_each(|name| remove_if_there(&run.join(name)))
    }
}

/// A mean image as one tensor of `[h, w, 3]`.
fn mean_weights(mean: &MeanImage) -> Weights {
    let values = mean.pixels().as_flattened();
    let tensor = Tensor::from_fn([mean.side(), mean.side(), 3], |i| values[i]);
    Weights::from([("mean".to_owned(), tensor)])
}

/// What [`mean_weights`] wrote.
fn mean_of(tensors: &Weights) -> std::result::Result<MeanImage, String> {
    let tensor = tensors.get("mean").ok_or("expected a tensor `mean`, found none")?;
    let &[h, w, 3] = tensor.shape() else {
        return Err(format!("expected a mean of [h, w, 3], found {:?}", tensor.shape()));
    };
    let (pixels, _) = tensor.data().as_chunks();
    if h != w {
        return Err(format!("expected a square mean image, found {h} x {w}"));
    }
    MeanImage::new(h, pixels.to_vec()).map_err(|e| e.to_string())
}

fn named(tensors: &Weights) -> NamedTensors {
    let mut named = NamedTensors::new();
    for (name, tensor) in tensors {
        named.insert(name.clone(), RawTensor::from_f32(tensor));
    }
    named
}

fn remove_if_there(folder: &Path) -> Result<()> {
    if disk::exists(folder) { Ok(disk::remove_dir(folder)?) } else { Ok(()) }
}

fn no_checkpoint(path: &Path, problem: String) -> TrainError {
    TrainError::NoCheckpoint { path: path.into(), problem }
}

#[cfg(test)]
mod tests;
