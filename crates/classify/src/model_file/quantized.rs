//! The parts of a model file that holds a network in bytes.
//!
//! ```text
//! residuum.quantization        JSON: for each value in bytes its node, scale and zero point
//! NAME, NAME_scale             a quantised parameter: I8, and F32 for each output channel
//! ```

use std::collections::BTreeMap;

use residuum_formats::{NamedTensors, RawTensor};
use residuum_graph::{Quantization, Weights};
use residuum_tensor::{DType, Quantizer, Tensor};

/// Key of the metadata, behind `residuum.`.
pub(super) const KEY: &str = "quantization";
const SCALE: &str = "_scale";

/// The grids as JSON. A `f64` has all digits of a `f32`.
pub(super) fn to_json(quantization: &Quantization) -> String {
    let grid = |grid: &Quantizer| (f64::from(grid.scale), grid.zero_point);
    let grids: BTreeMap<&String, (f64, u8)> =
        quantization.activations.iter().map(|(name, quantizer)| (name, grid(quantizer))).collect();
    serde_json::json!(grids).to_string()
}

/// Writes the tensors of quantised parameters in the place of the floats.
pub(super) fn insert(named: &mut NamedTensors, weights: &Weights, quantization: &Quantization) {
    for (name, scales) in &quantization.weights {
        let Some(tensor) = weights.get(name) else { continue };
        let Some(multiples) = quantization.multiples(name, tensor) else { continue };
        let bytes = Tensor::from_fn(tensor.shape(), |i| multiples[i]);
        named.insert(name, RawTensor::from_i8(&bytes));
        let scales = Tensor::from_fn([scales.len()], |i| scales[i]);
        named.insert(format!("{name}{SCALE}"), RawTensor::from_f32(&scales));
    }
}

/// The quantisation of a file, where it has one, and the numbers that its parameters stand for; what is wrong
/// otherwise. `weights` are the file's tensors as they are.
pub(super) fn read(
    named: &NamedTensors,
    text: Option<&String>,
    weights: &mut Weights,
) -> Result<Option<Quantization>, String> {
    let Some(text) = text else { return Ok(None) };
    let grids: BTreeMap<String, (f64, u8)> = serde_json::from_str(text)
        .map_err(|e| format!("residuum.{KEY}: expected scale and zero point by node: {e}"))?;
    let mut quantization = Quantization::default();
    for (node, (scale, zero_point)) in grids {
        let grid = Quantizer { scale: scale as f32, zero_point };
        if !grid.is_valid() {
            return Err(format!("residuum.{KEY}: {node}: expected a positive scale, found {scale}"));
        }
        quantization.activations.insert(node, grid);
    }
    let quantised: Vec<&str> =
        named.iter().filter(|(_, raw)| raw.dtype() == DType::I8).map(|(name, _)| name).collect();
    for name in quantised {
        let scales = weights
            .remove(&format!("{name}{SCALE}"))
            .ok_or_else(|| format!("{name}: expected its scales in `{name}{SCALE}`, found none"))?;
        let tensor = weights.get_mut(name).ok_or_else(|| format!("{name}: expected a parameter"))?;
        let channels = tensor.shape().first().copied().unwrap_or(0);
        if scales.shape() != [channels] {
            let found = scales.shape();
            return Err(format!(
                "{name}{SCALE}: expected a scale for each of {channels} channels, found {found:?}"
            ));
        }
        if let Some(scale) = scales.data().iter().find(|scale| !(scale.is_normal() && **scale > 0.0)) {
            return Err(format!("{name}{SCALE}: expected positive numbers, found {scale}"));
        }
        let per_channel = (tensor.len() / channels.max(1)).max(1);
        for (channel, scale) in tensor.data_mut().chunks_mut(per_channel).zip(scales.data()) {
            for multiple in channel {
                *multiple *= scale;
            }
        }
        quantization.weights.insert(name.to_owned(), scales.into_data());
    }
    Ok(Some(quantization))
}
