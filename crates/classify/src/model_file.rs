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
//! residuum.quantization      the grids of a network in bytes, whose parameters are I8; see [`quantized`]
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
use residuum_graph::{Graph, Quantization, Weights};
use residuum_tensor::{DType, Tensor};

use crate::error::{ClassifyError, Result};

mod quantized;

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
    /// The grids of a network that is kept and answers in bytes.
    pub quantization: Option<Quantization>,
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
            quantization: None,
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
        self.save_as(path, DType::F32)
    }

    /// [`ModelFile::save`] with filters and matrices in another type of floats; vectors, among them all of batch
    /// norm, stay what they are. Where the network is in bytes, so are they.
    ///
    /// # Errors
    /// As [`ModelFile::save`]; and when a number is too large for the type.
    pub fn save_as(&self, path: impl AsRef<Path>, dtype: DType) -> Result<()> {
        Ok(safetensors::write(path, &self.to_tensors_as(dtype)?)?)
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
        self.to_tensors_as(DType::F32)
    }

    /// What [`ModelFile::save_as`] writes.
    ///
    /// # Errors
    /// As [`ModelFile::save_as`].
    pub fn to_tensors_as(&self, dtype: DType) -> Result<NamedTensors> {
        let stored = |(name, tensor): (&String, &Tensor)| {
            let dtype = if tensor.shape().len() > 1 { dtype } else { DType::F32 };
            let raw = RawTensor::from_f32_as(tensor, dtype).map_err(|e| e.within(name))?;
            Ok((name.clone(), raw))
        };
        let mut named = self.weights.iter().map(stored).collect::<Result<NamedTensors>>()?;
        if let Some(quantization) = &self.info.quantization {
            quantized::insert(&mut named, &self.weights, quantization);
        }
        let counter = RawTensor::from_i64(&Tensor::from_fn([], |_| self.info.batches as i64));
        for norm in self.weights.keys().filter_map(|name| name.strip_suffix("running_mean")) {
            named.insert(format!("{norm}{COUNTER}"), counter.clone());
        }
        named.metadata = self.info.to_metadata()?;
        Ok(named)
    }

    /// The parts of a file that was found to be ours; what is wrong otherwise.
    pub(crate) fn from_tensors(named: &NamedTensors) -> std::result::Result<Self, String> {
        let mut info = ModelInfo::from_metadata(&named.metadata, batches(named))?;
        let mut weights = weights(named).map_err(|e| e.to_string())?;
        let grids = named.metadata.get(&format!("residuum.{}", quantized::KEY));
        info.quantization = quantized::read(named, grids, &mut weights)?;
        Ok(Self { weights, info })
    }
}

/// True where the metadata name one of our networks.
pub(crate) fn is_ours(named: &NamedTensors) -> bool {
    named.metadata.contains_key("residuum.architecture")
}

/// All tensors as `f32`, where they lie if possible, the counters of batches left out.
pub(crate) fn weights(named: &NamedTensors) -> residuum_formats::Result<Weights> {
    let tensors = named.iter().filter(|(name, _)| !name.ends_with(COUNTER));
    tensors.map(|(name, raw)| Ok((name.to_owned(), raw.share_f32()?))).collect()
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
            (quantized::KEY, self.quantization.as_ref().map(quantized::to_json)),
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
            quantization: None,
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
    use residuum_tensor::Quantizer;

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

    /// The example in bytes, the scales powers of two so that they divide its weights into few multiples.
    fn quantised() -> ModelFile {
        let mut file = example();
        let grid = Quantizer { scale: 0.1, zero_point: 3 };
        let mut quantization =
            Quantization { activations: [("relu".to_owned(), grid)].into(), ..Quantization::default() };
        for (name, tensor) in file.weights.iter_mut().filter(|(_, tensor)| tensor.shape().len() > 1) {
            let scales: Vec<f32> = (0..tensor.shape()[0]).map(|c| 0.01 + c as f32 / 1000.0).collect();
            let per_channel = tensor.len() / scales.len();
            for (channel, &scale) in tensor.data_mut().chunks_mut(per_channel).zip(&scales) {
                for w in channel {
                    *w = f32::from(residuum_graph::multiple(*w, scale)) * scale;
                }
            }
            quantization.weights.insert(name.clone(), scales);
        }
        file.info.quantization = Some(quantization);
        file
    }

    #[test]
    fn a_network_in_bytes_comes_back_to_the_bit_from_a_quarter_of_the_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let file = quantised();
        file.save(&path).unwrap();
        assert_eq!(ModelFile::load(&path).unwrap(), file);
        let named = file.to_tensors().unwrap();
        assert_eq!(named.get("conv1.weight").unwrap().dtype(), DType::I8);
        assert_eq!(named.get("conv1.weight_scale").unwrap().shape(), [16]);
    }

    #[test]
    fn damaged_quantisations_are_told_by_name() {
        let good = quantised().to_tensors().unwrap();
        for text in ["[]", "{\"relu\":[-1.0,3]}", "{\"relu\":[1.0,300]}", "{\"relu\":[1e-45,3]}"] {
            let mut named = good.clone();
            named.metadata.insert("residuum.quantization".into(), text.into());
            let problem = ModelFile::from_tensors(&named).unwrap_err();
            assert!(problem.starts_with("residuum.quantization"), "{problem}");
        }
        for scales in [vec![1.0; 3], vec![0.0; 16], vec![f32::NAN; 16]] {
            let mut named = good.clone();
            let scales = Tensor::new([scales.len()], scales).unwrap();
            named.insert("conv1.weight_scale", RawTensor::from_f32(&scales));
            let problem = ModelFile::from_tensors(&named).unwrap_err();
            assert!(problem.starts_with("conv1.weight_scale"), "{problem}");
        }
        let mut named = good;
        named.remove("conv1.weight_scale");
        assert!(ModelFile::from_tensors(&named).unwrap_err().contains("conv1.weight_scale"));
    }

    #[test]
    fn filters_are_halved_and_vectors_are_not() {
        let file = example();
        let named = file.to_tensors_as(DType::BF16).unwrap();
        assert_eq!(named.get("conv1.weight").unwrap().dtype(), DType::BF16);
        assert_eq!(named.get("bn1.running_var").unwrap().dtype(), DType::F32);
        let back = ModelFile::from_tensors(&named).unwrap();
        for (name, tensor) in &file.weights {
            for (x, y) in tensor.data().iter().zip(back.weights[name].data()) {
                assert!((x - y).abs() <= x.abs() / 256.0, "{name}: {x} became {y}");
            }
        }
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
