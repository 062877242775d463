//! Numbers of the layers become parameters. All arithmetic is in `f64`; each number is rounded once.

use residuum_formats::RawTensor;
use residuum_formats::caffe::CaffeWeights;
use residuum_graph::{Graph, Op, Weights};
use residuum_tensor::Tensor;

use super::build::{ScaleBlobs, Unit};
use crate::error::{ConvertError, Result};

pub(super) fn weights(graph: &Graph, units: &[Unit], file: &CaffeWeights) -> Result<Weights> {
    let mut filler = Filler { graph, file, weights: Weights::new() };
    for unit in units {
        match unit {
            Unit::Conv { .. } => filler.conv(unit)?,
            Unit::Norm { name, layer, eps, shift, scale } => {
                filler.norm(name, layer, *eps, shift.as_deref(), scale.as_ref())?;
            }
            Unit::Linear { name, layer, has_bias, transposed } => {
                filler.linear(name, layer, *has_bias, *transposed)?;
            }
        }
    }
    Ok(filler.weights)
}

struct Filler<'a> {
    graph: &'a Graph,
    file: &'a CaffeWeights,
    weights: Weights,
}

impl Filler<'_> {
    fn conv(&mut self, unit: &Unit) -> Result<()> {
        let Unit::Conv { name, layer, has_bias, keeps_bias, swaps_colours, scale } = unit else {
            return Ok(());
        };
        let shape = self.shape(&format!("{name}.weight"));
        let channels = shape[0];
        let blobs = self.blobs(layer, weight_and_bias(*has_bias))?;
        let mut filters = numbers(layer, blobs, 0, &shape)?;
        let mut bias = if *has_bias { numbers(layer, blobs, 1, &[channels])? } else { vec![0.0; channels] };
        if *swaps_colours {
            swap_colours(&mut filters, &shape);
        }
        if let Some(scale) = scale {
            let (factors, shifts) = self.scale(scale, channels)?;
            let per_channel = filters.len() / channels;
            for (filter, factor) in filters.chunks_exact_mut(per_channel).zip(&factors) {
                for weight in filter {
                    *weight *= factor;
                }
            }
            for ((bias, factor), shift) in bias.iter_mut().zip(&factors).zip(&shifts) {
                *bias = *bias * factor + shift;
            }
        }
        self.put(layer, format!("{name}.weight"), &filters)?;
        if *keeps_bias { self.put(layer, format!("{name}.bias"), &bias) } else { Ok(()) }
    }

    fn norm(
        &mut self,
        name: &str,
        layer: &str,
        eps: f64,
        shift: Option<&str>,
        scale: Option<&ScaleBlobs>,
    ) -> Result<()> {
        let shape = self.shape(&format!("{name}.running_mean"));
        let blobs = self.blobs(layer, &["mean", "variance", "factor"])?;
        let factor = numbers(layer, blobs, 2, &[1])?[0];
        let share = if factor == 0.0 { 0.0 } else { 1.0 / factor };
        let mut means: Vec<f64> = numbers(layer, blobs, 0, &shape)?.iter().map(|sum| sum * share).collect();
        if let Some(conv) = shift {
            let biases = numbers(conv, self.blobs(conv, weight_and_bias(true))?, 1, &shape)?;
            means.iter_mut().zip(&biases).for_each(|(mean, bias)| *mean -= bias);
        }
        let excess = self.excess(name, eps);
        let variances: Vec<f64> =
            numbers(layer, blobs, 1, &shape)?.iter().map(|sum| sum * share + excess).collect();
        if let Some(variance) = variances.iter().find(|&&variance| variance < 0.0) {
            return Err(ConvertError::layer(
                layer,
                format!("expected variances from 0 on, found {variance}"),
            ));
        }
        let (factors, shifts) = match scale {
            Some(scale) => self.scale(scale, shape[0])?,
            None => (vec![1.0; shape[0]], vec![0.0; shape[0]]),
        };
        self.put(layer, format!("{name}.running_mean"), &means)?;
        self.put(layer, format!("{name}.running_var"), &variances)?;
        self.put(layer, format!("{name}.weight"), &factors)?;
        self.put(layer, format!("{name}.bias"), &shifts)
    }

    fn linear(&mut self, name: &str, layer: &str, has_bias: bool, transposed: bool) -> Result<()> {
        let shape = self.shape(&format!("{name}.weight"));
        let (outputs, inputs) = (shape[0], shape[1]);
        let blobs = self.blobs(layer, weight_and_bias(has_bias))?;
        let matrix = if transposed {
            let stored = numbers(layer, blobs, 0, &[inputs, outputs])?;
            (0..outputs * inputs).map(|i| stored[i % inputs * outputs + i / inputs]).collect()
        } else {
            numbers(layer, blobs, 0, &shape)?
        };
        let bias = if has_bias { numbers(layer, blobs, 1, &[outputs])? } else { vec![0.0; outputs] };
        self.put(layer, format!("{name}.weight"), &matrix)?;
        self.put(layer, format!("{name}.bias"), &bias)
    }

    /// Factors and shifts of a `Scale`.
    fn scale(&self, scale: &ScaleBlobs, channels: usize) -> Result<(Vec<f64>, Vec<f64>)> {
        let names: &[&str] = if scale.has_bias { &["factor", "shift"] } else { &["factor"] };
        let blobs = self.blobs(&scale.layer, names)?;
        let factors = numbers(&scale.layer, blobs, 0, &[channels])?;
        let shifts =
            if scale.has_bias { numbers(&scale.layer, blobs, 1, &[channels])? } else { vec![0.0; channels] };
        Ok((factors, shifts))
    }

    /// What a layer adds to the variance more than our batch norm, where the two differ.
    fn excess(&self, norm: &str, eps: f64) -> f64 {
        let ours = self.graph.nodes().iter().find_map(|node| match node.op {
            Op::BatchNorm(batch_norm) if node.name == norm => Some(batch_norm.eps),
            _ => None,
        });
        match ours {
            Some(ours) if ours.to_bits() != (eps as f32).to_bits() => eps - f64::from(ours),
            _ => 0.0,
        }
    }

    /// The blobs of a layer, as many as there are names.
    fn blobs(&self, layer: &str, names: &[&str]) -> Result<&[RawTensor]> {
        let found = self.file.layer(layer);
        let found = found.ok_or_else(|| {
            ConvertError::layer(
                layer,
                "the file of weights has no layer of this name; is it of this network?",
            )
        })?;
        if found.blobs.len() == names.len() {
            return Ok(&found.blobs);
        }
        let (expected, count) = (names.len(), found.blobs.len());
        Err(ConvertError::layer(
            layer,
            format!("expected {expected} blobs ({}), found {count}", names.join(", ")),
        ))
    }

    fn shape(&self, param: &str) -> Vec<usize> {
        self.graph.find_param(param).map(|id| self.graph.param(id).shape.clone()).unwrap_or_default()
    }

    fn put(&mut self, layer: &str, param: String, values: &[f64]) -> Result<()> {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(ConvertError::layer(layer, format!("`{param}` gets values that are not finite")));
        }
        let tensor = Tensor::new(self.shape(&param), values);
        let tensor = tensor.map_err(|e| ConvertError::layer(layer, format!("`{param}`: {e}")))?;
        self.weights.insert(param, tensor);
        Ok(())
    }
}

fn weight_and_bias(has_bias: bool) -> &'static [&'static str] {
    if has_bias { &["weight", "bias"] } else { &["weight"] }
}

/// A blob's numbers, whose shape must be the one expected up to ones before it, as older files have them.
fn numbers(layer: &str, blobs: &[RawTensor], index: usize, shape: &[usize]) -> Result<Vec<f64>> {
    let blob = &blobs[index];
    if significant(blob.shape()) != significant(shape) {
        let problem = format!("blob {index}: expected the shape {shape:?}, found {:?}", blob.shape());
        return Err(ConvertError::layer(layer, problem));
    }
    Ok(blob.to_f64()?.into_data())
}

/// A shape without the ones before it.
fn significant(shape: &[usize]) -> &[usize] {
    let ones = shape.iter().take_while(|&&side| side == 1).count();
    &shape[ones..]
}

/// Filters for blue, green, red become filters for red, green, blue.
fn swap_colours(filters: &mut [f64], shape: &[usize]) {
    let area = shape[2] * shape[3];
    for filter in filters.chunks_exact_mut(3 * area) {
        let (blue, rest) = filter.split_at_mut(area);
        blue.swap_with_slice(&mut rest[area..]);
    }
}
