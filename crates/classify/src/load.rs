//! From what a user calls MODEL to a network that can answer.

use std::path::{Path, PathBuf};

use residuum_data::Preprocess;
use residuum_formats::{NamedTensors, disk, read_weights};
use residuum_graph::rewrite::Rewritten;
use residuum_graph::{Graph, Weights};
use residuum_models::{
    Entry, Family, Model, find, fitting, head_params, initialise, match_names, small_image_warning,
};

use crate::classes::numbers;
use crate::error::{ClassifyError, Result};
use crate::model_file::{ModelFile, ModelInfo, is_ours, weights};

/// What becomes of the last linear layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Head {
    /// It is the file's, with as many classes as the file's has.
    #[default]
    Keep,
    /// A new one, with start values drawn from the seed; the file's is not used, whatever its size.
    Replace {
        /// How many classes it tells apart.
        classes: usize,
        /// Seed of its start values.
        seed: u64,
    },
}

/// How a model is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions<'a> {
    /// Name of the network, which a foreign file needs.
    pub model: Option<&'a str>,
    /// What becomes of the last linear layer.
    pub head: Head,
}

/// A network ready to answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Where it came from; the network's name where it did not come from a file.
    pub path: PathBuf,
    /// The network.
    pub model: Model,
    /// All its parameters.
    pub weights: Weights,
    /// What the file says; for a foreign file, what was taken for it.
    pub info: ModelInfo,
    /// What the user should be told: what was assumed, what looks unwise.
    pub notes: Vec<String>,
}

impl Loaded {
    /// A network in memory, not from a file.
    pub fn new(model: Model, weights: Weights, class_names: Vec<String>, preprocess: Preprocess) -> Self {
        let info = ModelInfo::new(model.name.clone(), class_names, preprocess);
        Self { path: model.name.clone().into(), model, weights, info, notes: Vec::new() }.with_warnings()
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        self.model.graph.output_features()
    }

    /// The network after a rewrite, with all that is said of it. It gets the registered name of what it has
    /// become; if there is none, its old name with `+suffix`, and its graph goes into the file with it.
    #[must_use]
    pub fn rewritten(&self, (graph, weights): Rewritten, suffix: &str) -> Self {
        let (mut info, mut model) = (self.info.clone(), self.model.clone());
        if let Some(known) = registered(&graph) {
            (info.architecture, info.graph) = (known.name.clone(), None);
            model = known;
        } else {
            model.name = format!("{}+{suffix}", model.name);
            model.graph = graph.renamed(&model.name);
            (info.architecture, info.graph) = (model.name.clone(), Some(model.graph.clone()));
        }
        Self { path: model.name.clone().into(), model, weights, info, notes: Vec::new() }
    }

    /// Refuses a network in bytes, which only answers, for `purpose`, such as `training`.
    ///
    /// # Errors
    /// When the network is in bytes.
    pub fn require_floats(&self, purpose: &str) -> Result<()> {
        if self.info.quantization.is_none() {
            return Ok(());
        }
        let problem = format!(
            "holds a quantised network (int8), which only answers; {purpose} needs the one that it was made from"
        );
        Err(ClassifyError::file(&self.path, problem))
    }

    /// Bytes of all tensors of the model file.
    ///
    /// # Errors
    /// As [`ModelFile::to_tensors`].
    pub fn tensor_bytes(&self) -> Result<u64> {
        let file = ModelFile { weights: self.weights.clone(), info: self.info.clone() };
        Ok(file.to_tensors()?.iter().map(|(_, raw)| raw.data().len() as u64).sum())
    }

    /// Writes the model file.
    ///
    /// # Errors
    /// As [`ModelFile::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        ModelFile { weights: self.weights.clone(), info: self.info.clone() }.save(path)
    }

    fn with_warnings(mut self) -> Self {
        self.notes.extend(small_image_warning(&self.model, self.info.preprocess.crop));
        self
    }
}

/// The registered network that a graph is, whatever it is called.
fn registered(graph: &Graph) -> Option<Model> {
    let names = fitting(graph.params().iter().map(|param| (param.name.as_str(), &param.shape[..])));
    let models = names.iter().filter_map(|name| find(name).ok()?.build(Some(graph.output_features())).ok());
    let is_same =
        |model: &Model| (model.graph.nodes(), model.graph.params()) == (graph.nodes(), graph.params());
    models.into_iter().find(is_same)
}

/// Loads MODEL: a run folder (its `best.safetensors`, else its `last.safetensors`), a model file of ours, or
/// a foreign file of weights together with the name of its network.
///
/// A foreign file says nothing about preparation and classes. Its preparation is that of the network's
/// family, its classes get numbers, and both are told in [`Loaded::notes`].
///
/// # Errors
/// When there is no such file, its format is unknown or its rules are broken, no network is named, the name
/// contradicts the file, or the tensors are not those of the network.
pub fn load_model(path: impl AsRef<Path>, options: &LoadOptions<'_>) -> Result<Loaded> {
    let path = file_of(path.as_ref())?;
    let named = read_weights(&path)?;
    let loaded = if is_ours(&named) { ours(path, &named, options) } else { foreign(path, &named, options) }?;
    Ok(loaded.with_warnings())
}

/// The file that a path means.
fn file_of(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    let names = ["best.safetensors", "last.safetensors"];
    names.iter().map(|name| path.join(name)).find(|file| disk::exists(file)).ok_or_else(|| {
        ClassifyError::file(
            path,
            "expected a model file or a run folder with best.safetensors or last.safetensors, found neither in it",
        )
    })
}

fn ours(path: PathBuf, named: &NamedTensors, options: &LoadOptions<'_>) -> Result<Loaded> {
    let ModelFile { weights, mut info } =
        ModelFile::from_tensors(named).map_err(|problem| ClassifyError::file(&path, problem))?;
    let model = match &info.graph {
        Some(graph) => stored(graph, &info, options.head)?,
        None => build(&find(&info.architecture)?, named, options.head)?,
    };
    if let Some(asked) = options.model
        && asked != model.name
        && find(asked)?.name != model.name
    {
        let problem = format!("the file holds `{}`, not `{asked}`; leave out --model", model.name);
        return Err(ClassifyError::file(&path, problem));
    }
    if info.quantization.is_some() && options.head != Head::Keep {
        let problem =
            "holds a quantised network (int8), which only answers; a new last layer would have to be learned";
        return Err(ClassifyError::file(&path, problem));
    }
    match options.head {
        Head::Keep if info.class_names.len() != model.graph.output_features() => {
            let (names, classes) = (info.class_names.len(), model.graph.output_features());
            let problem = format!("expected a name for each of the {classes} classes, found {names}");
            return Err(ClassifyError::file(&path, problem));
        }
        Head::Keep => {}
        Head::Replace { classes, .. } => info.class_names = numbers(classes),
    }
    let weights = fit(&path, &model, weights, options.head)?;
    Ok(Loaded { path, model, weights, info, notes: Vec::new() })
}

fn foreign(path: PathBuf, named: &NamedTensors, options: &LoadOptions<'_>) -> Result<Loaded> {
    let Some(name) = options.model else {
        return Err(ClassifyError::file(&path, unnamed(named)));
    };
    let entry = find(name)?;
    let model = build(&entry, named, options.head)?;
    let values = weights(named)?;
    let weights = fit(&path, &model, values, options.head)?;
    let classes = model.graph.output_features();
    let preprocess = preset(&entry);
    let mut notes = vec![format!(
        "{}: says nothing about preparation; taken as usual for {}: {}",
        path.display(),
        entry.name,
        describe(&preprocess)
    )];
    if options.head == Head::Keep {
        notes.push(format!(
            "{}: has no names of classes; numbers from 0 to {}",
            path.display(),
            classes.saturating_sub(1)
        ));
    }
    let info = ModelInfo::new(entry.name.clone(), numbers(classes), preprocess);
    Ok(Loaded { path, model, weights, info, notes })
}

/// What to say of a file that no network is named for.
fn unnamed(named: &NamedTensors) -> String {
    let names = fitting(named.iter().map(|(name, raw)| (name, raw.shape())));
    let names: Vec<String> = names.iter().map(|name| format!("--model {name}")).collect();
    if names.is_empty() {
        "not a model file of residuum, and no registered network has its tensors; \
         name the network with --model to see what differs"
            .into()
    } else {
        format!("not a model file of residuum: name its network; its tensors fit {}", names.join(", "))
    }
}

/// The network with the file's number of classes, or with the number asked for.
fn build(entry: &Entry, named: &NamedTensors, head: Head) -> Result<Model> {
    if let Head::Replace { classes, .. } = head {
        return Ok(entry.build(Some(classes))?);
    }
    let usual = entry.build(None)?;
    let weight = head_params(&usual.graph).first().map(|&id| usual.graph.param(id).name.clone());
    let classes = weight.and_then(|name| named.get(&name)?.shape().first().copied());
    match classes {
        Some(classes) if classes > 0 && classes != usual.graph.output_features() => {
            Ok(entry.build(Some(classes))?)
        }
        _ => Ok(usual),
    }
}

/// The network that a file brings along.
fn stored(graph: &Graph, info: &ModelInfo, head: Head) -> Result<Model> {
    let graph = graph.clone().renamed(&info.architecture);
    let graph = match head {
        Head::Keep => graph,
        Head::Replace { classes, .. } => graph.with_classes(classes)?,
    };
    Ok(stored_model(graph, &info.architecture, info.preprocess.crop))
}

/// A network whose name is not registered, for pictures of side `crop`.
pub fn stored_model(graph: Graph, name: &str, crop: usize) -> Model {
    // A rewritten network was drawn for the images of the one that it was made from.
    let origin = name.split('+').next().and_then(|name| find(name).ok());
    let by_size = if crop < 64 { Family::Cifar } else { Family::ImageNet };
    let family = origin.as_ref().map_or(by_size, |entry| entry.family);
    Model {
        name: name.to_owned(),
        graph,
        family,
        description: "stored in its file",
        paper: origin.map_or("", |entry| entry.paper),
    }
}

/// The network's weights out of the file's, with a new head if one was asked for.
fn fit(path: &Path, model: &Model, mut found: Weights, head: Head) -> Result<Weights> {
    let graph = &model.graph;
    let matching = match_names(graph, found.iter().map(|(name, tensor)| (name.as_str(), tensor.shape())));
    let replaces = matches!(head, Head::Replace { .. });
    matching.check(replaces).map_err(|error| ClassifyError::Match { path: path.into(), error })?;
    if let Head::Replace { seed, .. } = head {
        let mut start = initialise(graph, seed);
        for id in head_params(graph) {
            let name = &graph.param(id).name;
            found.extend(start.remove(name).map(|tensor| (name.clone(), tensor)));
        }
    }
    Ok(found)
}

/// The preparation that a network's published weights were trained with.
fn preset(entry: &Entry) -> Preprocess {
    match entry.family {
        Family::ImageNet if entry.name.split('.').nth(1) == Some("caffe") => {
            Preprocess::caffe(entry.family.input_size(), Preprocess::CAFFE_MEAN)
        }
        Family::ImageNet => Preprocess::imagenet(),
        Family::Cifar if entry.name.ends_with(".akamaster") => Preprocess::cifar_imagenet_stats(),
        Family::Cifar => Preprocess::cifar10(),
    }
}

fn describe(preprocess: &Preprocess) -> String {
    let Preprocess { resize, crop, mean, std, .. } = preprocess;
    let resize = resize.map_or(String::new(), |side| format!("shorter side {side}, "));
    format!("{resize}crop {crop}, mean {mean}, deviation {std:?}")
}

#[cfg(test)]
mod tests;
