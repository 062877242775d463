//! The list of layers that `networks.py` makes of an ONNX file, for tools that read none.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use safetensors::SafeTensors;
use serde::Deserialize;

/// One operation; value 0 is the images, value `i` what layer `i - 1` makes.
#[derive(Deserialize)]
pub struct Layer {
    pub op: String,
    pub inputs: Vec<usize>,
    /// Names of its weights: filters and bias, or scale and shift, of a channel (`affine`) or behind the normalisation
    /// by the batch's own moments (`norm`).
    #[serde(default)]
    pub weights: Vec<String>,
    #[serde(default)]
    pub kernel: usize,
    #[serde(default)]
    pub stride: usize,
    #[serde(default)]
    pub padding: usize,
    /// Zero channels before and after, of a `pad`.
    #[serde(default)]
    pub channels: [usize; 2],
    /// Of a `norm`.
    #[serde(default)]
    pub epsilon: f64,
}

/// A network as a list of layers; the last one makes the answer.
pub struct Layers {
    layers: Vec<Layer>,
    /// Shape and values by name.
    pub weights: HashMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Layers {
    pub fn load(folder: &Path, is_training: bool) -> Result<Self> {
        let file = folder.join(if is_training { "training" } else { "layers" });
        let layers = serde_json::from_str(&fs::read_to_string(file.with_extension("json"))?)?;
        let bytes = fs::read(file.with_extension("safetensors"))?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let tensor = |name: &str| -> Result<_> {
            let tensor = tensors.tensor(name)?;
            Ok((name.to_owned(), (tensor.shape().to_vec(), bytemuck::pod_collect_to_vec(tensor.data()))))
        };
        let weights = tensors.names().into_iter().map(tensor).collect::<Result<_>>()?;
        Ok(Self { layers, weights })
    }

    /// Runs the layers over any kind of tensor; values are dropped after their last use.
    pub fn run<T: Clone>(&self, images: T, mut step: impl FnMut(&Layer, &[T]) -> Result<T>) -> Result<T> {
        let mut uses = vec![0; self.layers.len() + 1];
        self.layers.iter().flat_map(|layer| &layer.inputs).for_each(|&value| uses[value] += 1);
        let mut values = vec![Some(images)];
        for layer in &self.layers {
            let mut inputs = Vec::new();
            for &value in &layer.inputs {
                uses[value] -= 1;
                let last = uses[value] == 0;
                let input = if last { values[value].take() } else { values[value].clone() };
                inputs.push(input.context("a value is used after its last use")?);
            }
            values.push(Some(step(layer, &inputs)?));
        }
        values.pop().flatten().context("no layers")
    }
}
