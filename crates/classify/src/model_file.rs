//! Our model file: safetensors with PyTorch's names, and in its metadata everything that answering needs.
//!
//! ```text
//! format                     pt
//! residuum.architecture      name without tag, such as resnet50
//! residuum.tag               tag, such as tv; absent where the name has none
//! residuum.class_names       JSON list, one name per class
//! residuum.preprocess        JSON, see `residuum_data::Preprocess`
//! residuum.version           version of residuum that wrote the file
//! residuum.graph               the network as JSON, where the architecture is no registered name, such as
//!                              cifar_resnet20+folded; see `residuum_graph::Graph::to_json`
//! residuum.recipe_sha256, residuum.data_sha256, residuum.epoch, residuum.top1      where known
//! ```
//! Beside the parameters there is a `….num_batches_tracked` for each batch norm, as PyTorch stores it, so
//! that `load_state_dict` in its strict mode takes the file as it is.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use residuum_data::Preprocess;
use residuum_formats::{NamedTensors, RawTensor, safetensors};
use residuum_graph::{Graph, Weights};
use residuum_tensor::Tensor;

use crate::error::{ClassifyError, Result};

const COUNTER: &str = "num_batches_tracked";

/// What a model file says beside its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Registered name of the network, with its tag; any other name where `graph` holds the network.
    pub architecture: String,
    /// The network itself, where its name is not registered.
    pub graph: Option<Graph>,
    /// One name per class.
    pub class_names: Vec<String>,
    /// How a picture is prepared.
    pub preprocess: Preprocess,
    /// SHA-256 of the recipe it was trained by, in hexadecimal.
    pub recipe_sha256: Option<String>,
    /// SHA-256 of the data it was trained on, in hexadecimal.
    pub data_sha256: Option<String>,
    /// Epochs trained.
    pub epoch: Option<u64>,
    /// Accuracy on the data it was tested on, in percent.
    pub top1: Option<f64>,
    /// Batches that the running statistics have seen.
    pub batches: u64,
}

impl ModelInfo {
    /// Of a network about which nothing else is known.
    pub fn new(architecture: impl Into<String>, class_names: Vec<String>, preprocess: Preprocess) -> Self {
        Self {
            architecture: architecture.into(),
            graph: None,
            class_names,
            preprocess,
            recipe_sha256: None,
            data_sha256: None,
            epoch: None,
            top1: None,
            batches: 0,
        }
    }
}

/// Weights and what is said about them.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// All parameters, running statistics among them.
    pub weights: Weights,
    /// Everything else.
    pub info: ModelInfo,
}

impl ModelFile {
    /// Writes the file so that `path` holds either what it held before or all of this.
    ///
    /// # Errors
    /// When the disk refuses, or the network cannot be stored.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(safetensors::write(path, &self.to_tensors()?)?)
    }

    /// Reads a file that [`ModelFile::save`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read, is no safetensors file, or lacks our metadata.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let named = safetensors::read(path)?;
        if !is_ours(&named) {
            return Err(ClassifyError::file(
                path,
                "expected a model file of residuum, found no `residuum.architecture`",
            ));
        }
        Self::from_tensors(&named).map_err(|problem| ClassifyError::file(path, problem))
    }

    /// What [`ModelFile::save`] writes: the parameters, a counter of batches for each batch norm, and the
    /// metadata.
    ///
    /// # Errors
    /// When a network without a registered name cannot be written down.
    pub fn to_tensors(&self) -> Result<NamedTensors> {
        let mut named: NamedTensors =
            self.weights.iter().map(|(name, tensor)| (name.clone(), RawTensor::from_f32(tensor))).collect();
        let counter = RawTensor::from_i64(&Tensor::from_fn([], |_| self.info.batches as i64));
        for norm in self.weights.keys().filter_map(|name| name.strip_suffix("running_mean")) {
            named.insert(format!("{norm}{COUNTER}"), counter.clone());
        }
        named.metadata = self.info.to_metadata()?;
        Ok(named)
    }

    /// The parts of a file that was found to be ours; what is wrong otherwise.
    pub(crate) fn from_tensors(named: &NamedTensors) -> std::result::Result<Self, String> {
        let info = ModelInfo::from_metadata(&named.metadata, batches(named))?;
        Ok(Self { weights: weights(named).map_err(|e| e.to_string())?, info })
    }
}

/// True where the metadata name one of our networks.
pub(crate) fn is_ours(named: &NamedTensors) -> bool {
    named.metadata.contains_key("residuum.architecture")
}

/// All tensors as `f32`, the counters of batches left out.
pub(crate) fn weights(named: &NamedTensors) -> residuum_formats::Result<Weights> {
    let tensors = named.iter().filter(|(name, _)| !name.ends_with(COUNTER));
    tensors.map(|(name, raw)| Ok((name.to_owned(), raw.to_f32()?))).collect()
}

fn batches(named: &NamedTensors) -> u64 {
    let counters = named.iter().filter(|(name, _)| name.ends_with(COUNTER));
    let counts = counters.filter_map(|(_, raw)| raw.to_i64().ok()?.data().first().copied());
    counts.max().unwrap_or(0).max(0) as u64
}

impl ModelInfo {
    fn to_metadata(&self) -> Result<BTreeMap<String, String>> {
        let graph = self.graph.as_ref().map(Graph::to_json).transpose()?;
        // Only a registered name has a tag.
        let (name, tag) = match self.architecture.split_once('.') {
            Some((name, tag)) if graph.is_none() => (name, Some(tag.to_owned())),
            _ => (self.architecture.as_str(), None),
        };
        let known = [
            ("architecture", Some(name.to_owned())),
            ("tag", tag),
            ("graph", graph),
            ("class_names", Some(serde_json::Value::from(self.class_names.clone()).to_string())),
            ("preprocess", Some(self.preprocess.to_json())),
            ("recipe_sha256", self.recipe_sha256.clone()),
            ("data_sha256", self.data_sha256.clone()),
            ("epoch", self.epoch.map(|epoch| epoch.to_string())),
            ("top1", self.top1.map(|top1| top1.to_string())),
            ("version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ];
        let ours = known.into_iter().filter_map(|(key, text)| Some((format!("residuum.{key}"), text?)));
        Ok(ours.chain([("format".to_owned(), "pt".to_owned())]).collect())
    }

    fn from_metadata(metadata: &BTreeMap<String, String>, batches: u64) -> std::result::Result<Self, String> {
        let get = |key: &str| metadata.get(&format!("residuum.{key}"));
        let require = |key: &str| {
            get(key).ok_or_else(|| format!("expected `residuum.{key}` in the metadata, found none"))
        };
        let name = require("architecture")?;
        let architecture = get("tag").map_or_else(|| name.clone(), |tag| format!("{name}.{tag}"));
        let class_names: Vec<String> = serde_json::from_str(require("class_names")?)
            .map_err(|e| format!("residuum.class_names: expected a JSON list of names: {e}"))?;
        let preprocess =
            Preprocess::from_json(require("preprocess")?).map_err(|e| format!("residuum.{e}"))?;
        let graph = get("graph").map(|text| Graph::from_json(text)).transpose();
        Ok(Self {
            architecture,
            graph: graph.map_err(|e| format!("residuum.graph: {e}"))?,
            class_names,
            preprocess,
            recipe_sha256: get("recipe_sha256").cloned(),
            data_sha256: get("data_sha256").cloned(),
            epoch: parse("epoch", get("epoch"))?,
            top1: parse("top1", get("top1"))?,
            batches,
        })
    }
}

fn parse<T>(key: &str, text: Option<&String>) -> std::result::Result<Option<T>, String>
where
    T: FromStr,
    T::Err: Display,
{
    let read = |text: &String| {
        text.parse().map_err(|e| format!("residuum.{key}: expected a number, found {text:?}: {e}"))
    };
    text.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> ModelFile {
        let model = residuum_models::build("cifar_resnet8.akamaster", Some(3)).unwrap();
        let names = ["a", "ü \"quoted\"", ""].map(str::to_owned).to_vec();
        let mut info = ModelInfo::new(model.name, names, Preprocess::cifar10());
        info.epoch = Some(17);
        info.top1 = Some(91.73);
        info.recipe_sha256 = Some("ab".into());
        info.batches = 1234;
        ModelFile { weights: residuum_models::initialise(&model.graph, 1), info }
    }

    #[test]
    fn a_file_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let file = example();
        file.save(&path).unwrap();
        assert_eq!(ModelFile::load(&path).unwrap(), file);
    }

    #[test]
    fn pytorch_finds_what_it_expects() {
        let file = example();
        let named = file.to_tensors().unwrap();
        assert_eq!(named.metadata["format"], "pt");
        assert_eq!(named.metadata["residuum.architecture"], "cifar_resnet8");
        assert_eq!(named.metadata["residuum.tag"], "akamaster");
        let norms = file.weights.keys().filter(|name| name.ends_with("running_var")).count();
        assert_eq!(named.len(), file.weights.len() + norms);
        let counter = named.get("layer1.0.bn1.num_batches_tracked").unwrap();
        assert_eq!((counter.shape(), counter.to_i64().unwrap().data()), (&[][..], &[1234][..]));
    }

    #[test]
    fn damaged_metadata_are_told_by_key() {
        let good = example().to_tensors().unwrap();
        for (key, value) in [("class_names", "cat"), ("preprocess", "{}"), ("epoch", "-1"), ("top1", "good")]
        {
            let mut named = good.clone();
            named.metadata.insert(format!("residuum.{key}"), value.to_owned());
            let problem = ModelFile::from_tensors(&named).unwrap_err();
            assert!(problem.starts_with("residuum.") && problem.contains(key), "{problem}");
        }
        let mut named = good;
        named.metadata.remove("residuum.preprocess");
        assert!(ModelFile::from_tensors(&named).unwrap_err().contains("residuum.preprocess"));
    }
}
