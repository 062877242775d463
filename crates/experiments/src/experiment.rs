//! An experiment as data: its runs, and a function from their results to what was found.

use residuum_plot::Figure;
use residuum_train::Recipe;

use crate::error::{ExperimentError, Result};
use crate::papers;
use crate::reproduction::Results;
use crate::setting::{Scale, Setting};
use crate::study::Study;
use crate::table::Table;

/// One of a paper's experiments.
#[derive(Debug)]
pub struct Experiment {
    /// Its name, such as `he2015-degradation`.
    pub name: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// Where it is described.
    pub paper: &'static str,
    /// Figure or table of the paper.
    pub figure: &'static str,
    /// What is asked and what the paper found, in a few sentences.
    pub question: &'static str,
    /// The original protocol, in a few sentences.
    pub protocol: &'static str,
    /// What the quick scale leaves out beside what every quick run does.
    pub scaled_down: &'static [&'static str],
    /// What is trained.
    pub(crate) runs: fn(&Setting) -> Vec<Run>,
    /// What follows from it.
    pub(crate) findings: fn(&Results<'_>) -> Result<Findings>,
}

/// One training run of an experiment.
#[derive(Clone, Debug)]
pub struct Run {
    /// Name of its folder, such as `plain-20`.
    pub name: String,
    /// Registered name of the network.
    pub model: String,
    /// What it begins with.
    pub start: Start,
    /// How it is trained.
    pub(crate) recipe: fn(&Setting, &str) -> Result<Recipe>,
}

/// What a run begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Start values.
    Fresh,
    /// The trained network of an earlier run.
    Continued {
        /// Name of that run.
        from: String,
    },
    /// The trained network of an earlier run, a plain one, with layers of identity added.
    Deepened {
        /// Name of that run.
        from: String,
    },
}

impl Start {
    /// The earlier run that is needed.
    pub fn from(&self) -> Option<&str> {
        match self {
            Self::Fresh => None,
            Self::Continued { from } | Self::Deepened { from } => Some(from),
        }
    }
}

impl Run {
    /// How it is trained at this setting.
    ///
    /// # Errors
    /// When there is no network of its name.
    pub fn recipe(&self, setting: &Setting) -> Result<Recipe> {
        (self.recipe)(setting, &self.model)
    }

    pub(crate) fn new(
        name: impl Into<String>,
        model: impl Into<String>,
        recipe: fn(&Setting, &str) -> Result<Recipe>,
    ) -> Self {
        Self { name: name.into(), model: model.into(), start: Start::Fresh, recipe }
    }
}

/// What an experiment found.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// The pictures.
    pub pictures: Vec<Picture>,
    /// Ours beside the published figures.
    pub table: Table,
    /// What came out, a sentence each.
    pub sentences: Vec<String>,
    /// Whether the paper's effect shows; nothing where one cannot say.
    pub shows: Option<bool>,
}

/// A figure with the name of its files.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Name without ending.
    pub stem: &'static str,
    /// What is drawn.
    pub figure: Figure,
}

impl Experiment {
    /// Runs at this setting, earlier ones first.
    pub fn runs(&self, setting: &Setting) -> Vec<Run> {
        (self.runs)(setting)
    }

    /// Whether the registry has every network at both scales.
    fn is_possible(&self) -> bool {
        [Scale::Quick, Scale::Paper].into_iter().all(|scale| {
            let setting = Setting { scale, data: "shapes".into(), seed: 0, train_images: 1 };
            self.runs(&setting).iter().all(|run| residuum_models::find(&run.model).is_ok())
        })
    }
}

/// All experiments whose networks there are, in the papers' order.
pub fn experiments() -> Vec<&'static Experiment> {
    papers::ALL.iter().copied().filter(|experiment| experiment.is_possible()).collect()
}

/// All studies of networks that are given, in the papers' order.
pub fn studies() -> &'static [&'static Study] {
    papers::STUDIES
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// Trains networks and compares them.
    Experiment(&'static Experiment),
    /// Looks into a network that is given.
    Study(&'static Study),
}

impl Entry {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Experiment(experiment) => experiment.name,
            Self::Study(study) => study.name,
        }
    }
}

/// The experiment or study of a name.
///
/// # Errors
/// When there is none; the error lists them.
pub fn find(name: &str) -> Result<Entry> {
    let all = experiments().into_iter().map(Entry::Experiment);
    let all: Vec<Entry> = all.chain(studies().iter().copied().map(Entry::Study)).collect();
    all.iter().copied().find(|entry| entry.name() == name).ok_or_else(|| ExperimentError::Unknown {
        name: name.into(),
        known: all.iter().map(Entry::name).collect(),
    })
}
