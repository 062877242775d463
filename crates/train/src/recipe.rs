//! Everything that decides what a run computes, as a TOML file that can be read, changed and used again.

use std::path::Path;

use residuum_data::{Augment, Distortion, Mean, Mix, Padding, Preprocess};
use residuum_formats::disk;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::average::Average;
use crate::error::{Result, TrainError};
use crate::schedule::{Schedule, WarmUp, learning_rate};

mod optimiser;
mod published;

pub use optimiser::{Decayed, Method, Optimiser};
pub use published::{Figure, Paper, Published, SplitSizes};

const MAX_RECIPE_BYTES: usize = 1 << 20;

/// What is trained, on what, how and for how long. The same recipe on the same data gives the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the network, as `residuum models` lists them.
    #[serde(default = "default_model")]
    pub model: String,
    /// Data set: `shapes`, a path, or `KIND:PATH`.
    #[serde(default = "default_data")]
    pub data: String,
    /// Times that the training pictures are gone through.
    pub epochs: u64,
    /// The run stops after so many steps, where that is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u64>,
    /// Pictures per step. The rest of an epoch that does not fill a batch is left out; the next epoch
    /// shuffles anew.
    pub batch_size: usize,
    /// Seed of the start values, the order of the pictures and their random changes.
    #[serde(default)]
    pub seed: u64,
    /// Whether the last batch norm of each residual branch starts with weight 0, where there is none the last
    /// convolution, so that each unit starts as the identity (Goyal et al. 2017, "Accurate, large minibatch SGD",
    /// §5.1; torchvision's `zero_init_residual`, timm's `zero_init_last`). Start values only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zero_last_norm: bool,
    /// How often the last residual branch is dropped in training, for each picture anew; the first never, those
    /// between in a straight line (drop path: Huang et al. 2016 in timm's form). For networks without stochastic
    /// depth of their own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drop_path: f64,
    /// Share of the target that is spread evenly over all classes.
    #[serde(default)]
    pub label_smoothing: f64,
    /// How often a picture comes in a row, each time changed anew; an epoch still has as many pictures (repeated
    /// augmentation: Hoffer et al. 2020; torchvision's `RASampler`).
    #[serde(default = "default_repeats", skip_serializing_if = "is_once")]
    pub repeats: usize,
    /// Share of a batch's statistics in the running ones (PyTorch's `momentum` of a batch norm).
    #[serde(default = "default_norm_momentum")]
    pub norm_momentum: f64,
    /// Side of the training pictures, where it is not that of the test pictures (Touvron et al. 2019, "Fixing
    /// the train-test resolution discrepancy").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_crop: Option<usize>,
    /// So many of the training pictures are held out, drawn by the seed; every epoch is tested with them, and
    /// the best one chosen by them, instead of the test pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<usize>,
    /// A trained model to begin with, instead of start values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whether the last layer begins anew where the trained model has other classes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace_head: bool,
    /// Parameters that stay as they are, by name; `*` and `?` stand for any characters and for one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// What is learnt from: how answers are compared with the targets. Tests tell the cross-entropy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub loss: Loss,
    /// How a step changes the weights.
    pub optimiser: Optimiser,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// Other learning rates for the first steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
    /// How training pictures are changed.
    #[serde(default = "default_augmentation")]
    pub augmentation: Augmentation,
    /// What else is changed of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub distortion: Distortion,
    /// How the pictures of a batch are mixed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mix: Mix,
    /// A running average of the weights, which is what is tested and saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<Average>,
    /// How pictures are prepared. A mean `"per-pixel"` is the mean image of the trained model to begin with,
    /// where it has one, else that of the training pictures, those held out not among them.
    #[serde(default = "Preprocess::cifar10")]
    pub preprocess: Preprocess,
}

/// How answers are compared with the targets, which label smoothing and mixing make.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Loss {
    /// Cross-entropy of a softmax.
    CrossEntropy {},
    /// The mean of a binary cross-entropy for each class (Wightman, Touvron & Jégou 2021, "ResNet strikes back").
    BinaryCrossEntropy {
        /// Targets above it count as 1, others as 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        threshold: Option<f64>,
    },
}

impl Default for Loss {
    fn default() -> Self {
        Self::CrossEntropy {}
    }
}

impl From<Loss> for residuum_engine::Loss {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::CrossEntropy {} => Self::Softmax,
            Loss::BinaryCrossEntropy { threshold } => {
                Self::Sigmoid { threshold: threshold.map(|threshold| threshold as f32) }
            }
        }
    }
}

/// Random change of training pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Augmentation {
    /// None.
    None {},
    /// Padded on each side, cut out at a random place, half of them mirrored (He et al. 2015, §4.2).
    Crop {
        /// Pixels added on each side.
        pad: usize,
        /// What they hold.
        #[serde(default)]
        padding: PaddingValue,
    },
    /// Shorter side of random length, cut out at a random place, half of them mirrored (§3.4).
    Scale {
        /// Smallest shorter side in pixels.
        min: usize,
        /// Largest shorter side in pixels.
        max: usize,
    },
    /// A part of random area and aspect, half of them mirrored (fb.resnet.torch, torchvision).
    Area {
        /// Smallest share of the picture's area.
        min: f64,
    },
}

/// What surrounds a padded picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaddingValue {
    /// The mean colour.
    #[default]
    Mean,
    /// Black.
    Black,
    /// The picture in a mirror at its edge (Zagoruyko and Komodakis 2016).
    Reflect,
}

impl From<Augmentation> for Augment {
    fn from(augmentation: Augmentation) -> Self {
        match augmentation {
            Augmentation::None {} => Self::None,
            Augmentation::Crop { pad, padding } => Self::Crop {
                pad,
                padding: match padding {
                    PaddingValue::Mean => Padding::Mean,
                    PaddingValue::Black => Padding::Black,
                    PaddingValue::Reflect => Padding::Reflect,
                },
            },
            Augmentation::Scale { min, max } => Self::Scale { min, max },
            Augmentation::Area { min } => Self::Area { min },
        }
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_model() -> String {
    "cifar_resnet20".into()
}

fn default_data() -> String {
    "shapes".into()
}

const fn default_repeats() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_once(repeats: &usize) -> bool {
    *repeats == 1
}

const fn default_norm_momentum() -> f64 {
    0.1
}

const fn default_augmentation() -> Augmentation {
    Augmentation::Crop { pad: 4, padding: PaddingValue::Mean }
}

impl Recipe {
    /// Reads a recipe file.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, a key is unknown, missing or of the wrong type, or
    /// [`check`](Self::check) refuses a value.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = disk::read_text(path, MAX_RECIPE_BYTES)?;
        Self::from_toml(&text).map_err(|error| match error {
            TrainError::Recipe(problem) => TrainError::Recipe(format!("{}: {problem}", path.display())),
            other => other,
        })
    }

    /// Reads what [`to_toml`](Self::to_toml) wrote, or a user by hand. A table `paper` may be there, as in the
    /// recipes that come along; it is checked and left.
    ///
    /// # Errors
    /// As [`read`](Self::read), but for the file.
    pub fn from_toml(text: &str) -> Result<Self> {
        Ok(parse(text)?.0)
    }

    /// The recipe as a TOML document, which reads back to the bit.
    ///
    /// # Errors
    /// When a number is too large for TOML, as a seed above 2⁶³ is.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|e| TrainError::Recipe(format!("recipe: cannot be written as TOML: {e}")))
    }

    /// SHA-256 of the recipe in hexadecimal.
    ///
    /// # Errors
    /// As [`to_toml`](Self::to_toml).
    pub fn digest(&self) -> Result<String> {
        Ok(crate::hex(&Sha256::digest(self.to_toml()?)))
    }

    /// Learning rate of an iteration, counted from 0, of a run of `total`.
    pub fn learning_rate(&self, iteration: u64, total: u64) -> f64 {
        learning_rate(&self.schedule, self.warm_up.as_ref(), self.optimiser.lr, iteration, total)
    }

    /// Changes the number of epochs. Steps of the learning rate and a limit of iterations keep their share
    /// of the run; what was moved is said in words.
    pub fn set_epochs(&mut self, epochs: u64) -> Option<String> {
        let before = std::mem::replace(&mut self.epochs, epochs).max(1);
        let scale =
            |iterations: u64| (u128::from(iterations) * u128::from(epochs) / u128::from(before)) as u64;
        let Schedule::Steps { at, .. } = &mut self.schedule else {
            self.iterations = self.iterations.map(scale);
            return None;
        };
        if epochs == before {
            return None;
        }
        for step in at.iter_mut() {
            *step = scale(*step);
        }
        self.iterations = self.iterations.map(scale);
        Some(format!(
            "the recipe is for {before} epochs: its steps of the learning rate are moved to iterations {at:?}"
        ))
    }

    /// Suits the recipe to a trained model: its pictures are prepared as that model's were, and the rate is a
    /// tenth, so that what it learned is not washed away. A mean image stays in that model's file.
    pub fn fine_tune(&mut self, mut preprocess: Preprocess) {
        if matches!(preprocess.mean, Mean::Image(_)) {
            preprocess.mean = Mean::PerPixel;
        }
        self.preprocess = preprocess;
        self.optimiser.lr *= 0.1;
    }

    /// How training pictures are prepared.
    pub(crate) fn train_preprocess(&self) -> Preprocess {
        self.preprocess.with_crop(self.train_crop.unwrap_or(self.preprocess.crop))
    }

    /// Whether every value makes sense.
    ///
    /// # Errors
    /// Names the key, what is expected and what was found.
    pub fn check(&self) -> Result<()> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let whole = |value: f64| value.is_finite() && value >= 0.0;
        let checks = [
            (self.epochs > 0, "epochs", "at least 1", self.epochs.to_string()),
            (self.iterations != Some(0), "iterations", "at least 1", "0".into()),
            (self.repeats > 0, "repeats", "at least 1", "0".into()),
            (
                !matches!(self.loss, Loss::BinaryCrossEntropy { threshold: Some(t) } if !share(t)),
                "loss.threshold",
                "0 to below 1",
                format!("{:?}", self.loss),
            ),
            (self.validation != Some(0), "validation", "at least 1", "0".into()),
            (self.batch_size > 0, "batch_size", "at least 1", self.batch_size.to_string()),
            (i64::try_from(self.seed).is_ok(), "seed", "below 2^63", self.seed.to_string()),
            (
                share(self.label_smoothing),
                "label_smoothing",
                "0 to below 1",
                self.label_smoothing.to_string(),
            ),
            (
                self.norm_momentum > 0.0 && self.norm_momentum <= 1.0,
                "norm_momentum",
                "above 0, at most 1",
                self.norm_momentum.to_string(),
            ),
            (share(self.drop_path), "drop_path", "0 to below 1", self.drop_path.to_string()),
            (
                self.warm_up.as_ref().is_none_or(|warm_up| whole(warm_up.lr)),
                "warm_up.lr",
                "0 or more",
                self.warm_up.as_ref().map_or(0.0, |warm_up| warm_up.lr).to_string(),
            ),
        ];
        if let Some((_, key, expected, found)) = checks.into_iter().find(|(is_good, ..)| !is_good) {
            return Err(TrainError::Recipe(format!("recipe: {key}: expected {expected}, found {found}")));
        }
        self.optimiser.check()?;
        self.schedule.check(self.optimiser.lr)?;
        self.average.as_ref().map_or(Ok(()), Average::check)?;
        let preprocess = self.train_preprocess();
        for preprocess in [&self.preprocess, &preprocess] {
            match preprocess.mean {
                // The run takes it.
                Mean::PerPixel => Preprocess { mean: [0.0; 3].into(), ..preprocess.clone() }.check()?,
                _ => preprocess.check()?,
            }
        }
        Augment::from(self.augmentation).check(&preprocess)?;
        self.distortion.check()?;
        Ok(self.mix.check()?)
    }

    /// Keys in which two recipes differ, with both values, but for where the data lies: its digest decides. Of tables
    /// of two kinds, the keys that only one of the kinds has are left out.
    pub(crate) fn differences(&self, asked: &Self) -> Vec<String> {
        let flat = |recipe: &Self| {
            let mut recipe = recipe.clone();
            recipe.data = String::new();
            let mut keys = std::collections::BTreeMap::new();
            if let Ok(table) = toml::Table::try_from(&recipe) {
                flatten("", &table, &mut keys);
            }
            keys
        };
        let (ours, theirs) = (flat(self), flat(asked));
        let keys: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let value = |value: Option<&String>| value.cloned().unwrap_or_else(|| "nothing".into());
        let differs = |key: &String| ours.get(key) != theirs.get(key);
        let is_of_one_kind = |key: &String| {
            let kind = key.rsplit_once('.').map(|(table, _)| format!("{table}.kind"));
            let is_in_both = ours.contains_key(key) && theirs.contains_key(key);
            !is_in_both && kind.is_some_and(|kind| differs(&kind))
        };
        keys.into_iter()
            .filter(|key| differs(key) && !is_of_one_kind(key))
            .map(|key| {
                format!("{key}: the run has {}, asked for {}", value(ours.get(key)), value(theirs.get(key)))
            })
            .collect()
    }
}

/// A recipe and, where there is one, its table `paper`.
fn parse(text: &str) -> Result<(Recipe, Option<Paper>)> {
    let refuse = |e: toml::de::Error| TrainError::Recipe(format!("recipe: {}", e.to_string().trim_end()));
    let mut table: toml::Table = text.parse().map_err(refuse)?;
    let (recipe, paper): (Recipe, Option<Paper>) = match table.remove("paper") {
        Some(paper) => (table.try_into().map_err(refuse)?, Some(paper.try_into().map_err(refuse)?)),
        // From the text, so that an error knows its line.
        None => (toml::from_str(text).map_err(refuse)?, None),
    };
    recipe.check()?;
    Ok((recipe, paper))
}

fn flatten(prefix: &str, table: &toml::Table, keys: &mut std::collections::BTreeMap<String, String>) {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => flatten(&name, inner, keys),
            other => {
                keys.insert(name, other.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests;
