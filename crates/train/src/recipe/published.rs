//! The recipes that come along: one TOML file for each family of rows of the papers' tables, and our own.
//!
//! A file holds the keys of a [`Recipe`] and a table `paper`, which says where they come from, for which
//! networks they are, and what was published; none of that decides what a run computes.

use std::sync::LazyLock;

use residuum_models::{Family, glob_matches};
use serde::{Deserialize, Serialize};

use super::Recipe;
use crate::error::{Result, TrainError};

/// A recipe that comes along.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Its name.
    pub name: &'static str,
    /// The file, as it can be changed and used.
    pub text: &'static str,
    /// Where it comes from and what it led to.
    pub paper: Paper,
    /// What a run needs.
    pub recipe: Recipe,
}

/// Where a recipe comes from, what it is for, and what was published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// Authors, year, place in the paper.
    pub source: String,
    /// Patterns of the names of the networks that it is for.
    pub networks: Vec<String>,
    /// Pictures of the data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitSizes>,
    /// Start values of the parameters.
    pub initialisation: String,
    /// How the figures were measured.
    pub test: String,
    /// What there is to know besides, and what is different here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Rows of the paper's tables.
    pub figures: Vec<Figure>,
}

/// Pictures of each part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSizes {
    /// Learnt from.
    pub train: u64,
    /// Held out of the training pictures.
    #[serde(default)]
    pub validation: u64,
    /// Tested with.
    pub test: u64,
}

/// A published result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The network's name here.
    pub network: String,
    /// The data set.
    pub data: String,
    /// Error of the first answer in percent.
    pub error: f64,
    /// Error of the first five answers in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// How it differs from what the recipe says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Paper {
    /// How closely the recipe is meant for a network: characters of the longest pattern that covers its
    /// name; nothing where none does.
    fn closeness(&self, network: &str) -> Option<usize> {
        let covering = self.networks.iter().filter(|pattern| glob_matches(pattern, network));
        covering.map(|pattern| pattern.chars().filter(|c| *c != '*').count()).max()
    }
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../recipes/", $name, ".toml")))),*]
    };
}

/// Ours first, then by paper.
const FILES: [(&str, &str); 28] = files![
    "shapes",
    "shapes-imagenet",
    "short",
    "short-imagenet",
    "he2015-cifar",
    "he2015-cifar-110",
    "he2015-imagenet",
    "he2016-cifar",
    "he2016-cifar-1001",
    "he2016-imagenet",
    "wide-cifar",
    "wide-cifar-dropout",
    "wide-svhn",
    "densenet-cifar",
    "densenet-cifar-dropout",
    "densenet-svhn",
    "densenet-imagenet",
    "stochastic-depth-cifar",
    "stochastic-depth-1202",
    "stochastic-depth-svhn",
    "stochastic-depth-imagenet",
    "resnext-cifar",
    "torchvision-v1",
    "torchvision-v2",
    "fb-resnet-imagenet",
    "strikes-back-a1",
    "strikes-back-a2",
    "strikes-back-a3",
];

/// Recipes of ours, each with the form that networks for large pictures take.
const OURS: [(&str, &str); 2] = [("shapes", "shapes-imagenet"), ("short", "short-imagenet")];

/// From this side on, pictures are large.
const LARGE: usize = 64;

fn is_large(family: Family) -> bool {
    family.input_size() >= LARGE
}

impl Recipe {
    /// Every recipe that comes along: ours, then the papers'.
    #[allow(clippy::missing_panics_doc, reason = "the files are part of the program, and tests read each")]
    pub fn published() -> &'static [Published] {
        static PUBLISHED: LazyLock<Vec<Published>> = LazyLock::new(|| {
            let read = |(name, text)| {
                let (recipe, paper) = super::parse(text).expect("the recipes that come along are sound");
                Published { name, text, paper: paper.expect("each says where it comes from"), recipe }
            };
            FILES.into_iter().map(read).collect()
        });
        &PUBLISHED
    }

    /// The published recipe of a name.
    ///
    /// # Errors
    /// When there is none, with all names.
    pub fn find(name: &str) -> Result<&'static Published> {
        Self::published().iter().find(|published| published.name == name).ok_or_else(|| {
            let known: Vec<&str> = Self::published().iter().map(|published| published.name).collect();
            TrainError::Recipe(format!(
                "recipe `{name}`: there is neither such a file nor such a recipe; recipes are {}",
                known.join(", ")
            ))
        })
    }

    /// A published recipe for a network. `shapes` and `short` have a form of their own for networks that are
    /// made for large pictures, which is taken there.
    ///
    /// # Errors
    /// When there is no recipe or no network of that name.
    pub fn preset(name: &str, model: &str) -> Result<Self> {
        Self::preset_of(name, model, residuum_models::find(model)?.family)
    }

    /// [`preset`](Self::preset) for a network that need not be registered, as a rewritten one is not.
    ///
    /// # Errors
    /// When there is no recipe of that name.
    pub fn preset_of(name: &str, model: &str, family: Family) -> Result<Self> {
        let large = OURS.iter().find(|(ours, _)| *ours == name && is_large(family));
        let name = large.map_or(name, |(_, large)| large);
        Ok(Self { model: model.into(), ..Self::find(name)?.recipe.clone() })
    }

    /// The recipe that is meant where none is named: the embedded set has its own; a run whose epochs are
    /// given, or that goes on from a trained model, is short; any other is that of the network's paper, or of
    /// the first paper where its own has none.
    ///
    /// # Errors
    /// When the network's paper decides and there is no network of that name.
    pub fn default_preset(model: &str, data: &str, is_short: bool) -> Result<&'static str> {
        if data == "shapes" || is_short {
            return Ok(if data == "shapes" { "shapes" } else { "short" });
        }
        let entry = residuum_models::find(model)?;
        let is_ours = |name: &str| OURS.iter().any(|(small, large)| name == *small || name == *large);
        let papers = Self::published().iter().filter(|published| !is_ours(published.name));
        let close =
            papers.filter_map(|published| Some((published.paper.closeness(&entry.name)?, published.name)));
        let closest = close.reduce(|best, next| if next.0 > best.0 { next } else { best });
        let general = if is_large(entry.family) { "he2015-imagenet" } else { "he2015-cifar" };
        Ok(closest.map_or(general, |(_, name)| name))
    }
}
