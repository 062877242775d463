//! From a network of floats to one of bytes: grids for its values from pictures, scales for its filters, and what
//! that costs, layer by layer.
//!
//! Batch norms are folded first. Weights get one scale for each output channel, values one grid each
//! (Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference", §3).

mod calibrate;
mod histogram;

use residuum_classify::Loaded;
use residuum_data::Dataset;
use residuum_engine::{Engine, calibrated};
use residuum_graph::rewrite::fold_norm;
use residuum_graph::{Graph, Op, Quantization, Weights, multiple};
use residuum_tensor::Quantizer;

use crate::error::{ConvertError, Result};
use calibrate::{Pictures, Values, grids, signal_to_noise};

/// How the interval is chosen that a value's grid covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// From the least to the greatest number seen.
    MinMax,
    /// What this many percent of the numbers lie in.
    Percentile(f64),
    /// Where the mean squared error is least; weights likewise.
    Mse,
}

/// How a network is quantised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantizeOptions {
    /// How intervals are chosen.
    pub method: Method,
    /// Calibration pictures at most, drawn from the data set.
    pub images: usize,
    /// Seed of the drawing.
    pub seed: u64,
}

/// What a grid costs the values of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNoise {
    /// The node.
    pub name: String,
    /// Its grid; none for the answer, which is in floats.
    pub grid: Option<Quantizer>,
    /// Energy of the values over that of their errors, in decibels; the errors of all layers before are in it.
    pub signal_to_noise_db: f64,
}

/// A network in bytes, and how it was found.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The network.
    pub loaded: Loaded,
    /// Calibration pictures.
    pub images: usize,
    /// Every value in bytes, and the answer, in the network's order.
    pub layers: Vec<LayerNoise>,
}

/// Pictures that noise is measured on.
const NOISE_IMAGES: usize = 64;
/// Parts of the interval that are tried by [`Method::Mse`], the last the whole of it.
const PARTS: usize = 50;
/// A bias is at most this many units of its sum.
const MOST_UNITS: f32 = (1 << 29) as f32;

/// Quantises a network by pictures. `on_progress` is told how many of how many passes of a picture are done.
///
/// # Errors
/// When the network is quantised already, it has no convolution, it cannot be folded or compiled, there are no
/// pictures, or one cannot be read.
pub fn quantize(
    engine: &Engine,
    loaded: &Loaded,
    data: &Dataset,
    options: &QuantizeOptions,
    mut on_progress: impl FnMut(usize, usize),
) -> Result<Quantized> {
    loaded.require_floats("quantize")?;
    let data = data.draw(options.images, options.seed);
    let fail = |problem: String| ConvertError::file(&loaded.path, problem);
    if data.is_empty() {
        return Err(fail(format!("expected pictures for its calibration in {}, found none", data.name())));
    }
    let folded = fold_norm(&loaded.model.graph, &loaded.weights).map_err(|e| fail(e.to_string()))?;
    let mut after = loaded.rewritten(folded.clone(), "int8");
    let (graph, weights) = folded;
    let names = calibrated(&graph);
    if names.is_empty() {
        return Err(fail("expected a convolution or a linear layer, found none".into()));
    }
    let noisy = data.subset(&(0..data.len().min(NOISE_IMAGES)).collect::<Vec<_>>());
    let passes = if options.method == Method::MinMax { 1 } else { 2 };
    let (mut done, total) = (0, passes * data.len() + noisy.len());
    let mut tell = |count| {
        done += count;
        on_progress(done, total);
    };
    let preprocess = &loaded.info.preprocess;
    let mut pictures = Pictures { preprocess, threads: engine.threads().count(), tell: &mut tell };
    let floats = |shape, taps: &[String]| Ok(engine.inference(&graph, &weights, shape, taps)?);

    let grids = grids(&mut pictures, &data, Values::new(&floats, &names), options.method, fail)?;
    let mut quantization =
        Quantization { activations: names.iter().cloned().zip(grids).collect(), ..Quantization::default() };
    quantize_weights(&graph, &mut after.weights, options.method, &mut quantization);
    after.info.quantization = Some(quantization.clone());

    let answer = graph.node(graph.output()).name.clone();
    let taps: Vec<String> = names.into_iter().chain([answer]).collect();
    let bytes = |shape, taps: &[String]| Ok(after.compile(engine, shape, taps)?);
    let ratios =
        signal_to_noise(&mut pictures, &noisy, Values::new(&floats, &taps), Values::new(&bytes, &taps))?;
    let layers = taps.into_iter().zip(ratios).map(|(name, signal_to_noise_db)| LayerNoise {
        grid: quantization.activations.get(&name).copied(),
        name,
        signal_to_noise_db,
    });
    let layers = layers.collect();
    Ok(Quantized { loaded: after, images: data.len(), layers })
}

/// Puts the filters of every convolution and linear layer onto multiples of scales. Products of a scale and the finest
/// grid of any value are the least units of sums, in which a bias has to fit.
fn quantize_weights(graph: &Graph, weights: &mut Weights, method: Method, quantization: &mut Quantization) {
    let least = quantization.activations.values().map(|grid| grid.scale).fold(f32::INFINITY, f32::min);
    for node in graph.nodes() {
        let (weight, bias) = match node.op {
            Op::Conv2d(conv) => (conv.weight, conv.bias),
            Op::Linear(linear) => (linear.weight, linear.bias),
            _ => continue,
        };
        let bias = bias.and_then(|bias| weights.get(&graph.param(bias).name).cloned());
        let name = &graph.param(weight).name;
        let Some(tensor) = weights.get_mut(name) else { continue };
        let channels = tensor.shape()[0];
        let per_channel = (tensor.len() / channels.max(1)).max(1);
        let mut scales = Vec::with_capacity(channels);
        for (c, channel) in tensor.data_mut().chunks_mut(per_channel).enumerate() {
            let floor = bias.as_ref().map_or(0.0, |bias| bias.data()[c].abs() / (least * MOST_UNITS));
            let scale = weight_scale(channel, method).max(floor);
            for w in channel {
                *w = f32::from(multiple(*w, scale)) * scale;
            }
            scales.push(scale);
        }
        quantization.weights.insert(name.clone(), scales);
    }
}

/// The scale of one channel's weights: the largest is 127 times as much, or less where that makes the squared error
/// smaller. Weights that are all zero have any.
fn weight_scale(channel: &[f32], method: Method) -> f32 {
    let largest = channel.iter().fold(0.0f32, |most, w| most.max(w.abs()));
    let whole = largest / 127.0;
    if whole < 1e-20 {
        return 1.0 / 127.0;
    }
    if method != Method::Mse {
        return whole;
    }
    let error = |scale: f32| -> f64 {
        let off = |&w: &f32| f64::from(w - f32::from(multiple(w, scale)) * scale).powi(2);
        channel.iter().map(off).sum()
    };
    let candidates = (PARTS / 2..=PARTS).map(|part| whole * part as f32 / PARTS as f32);
    let better = |best: (f32, f64), scale| {
        let error = error(scale);
        if error < best.1 { (scale, error) } else { best }
    };
    candidates.fold((whole, f64::INFINITY), better).0
}
