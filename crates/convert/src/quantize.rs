//! From a network of floats to one of bytes: grids for its values from pictures, scales for its filters, and what
//! that costs, layer by layer.
//!
//! Batch norms are folded first. Weights get one scale for each output channel, values one grid each
//! (Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference", §3).

mod histogram;

use residuum_classify::Loaded;
use residuum_data::{Dataset, Loader, LoaderOptions, Preprocess};
use residuum_engine::{Engine, Inference, InputShape, calibrated};
use residuum_graph::rewrite::fold_norm;
use residuum_graph::{Graph, Quantization, Weights, multiple};
use residuum_tensor::Quantizer;

use crate::error::{ConvertError, Result};
use histogram::{Histogram, Range};

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
/// Largest side of pictures of which many go through the network together.
const SMALL_SIDE: usize = 64;
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
    let noise = data.subset(&(0..data.len().min(NOISE_IMAGES)).collect::<Vec<_>>());
    let passes = if options.method == Method::MinMax { 1 } else { 2 };
    let total = passes * data.len() + noise.len();
    let mut done = 0;
    let preprocess = &loaded.info.preprocess;
    let mut see = |data: &Dataset, see: &mut dyn FnMut(&[f32], usize) -> Result<()>| -> Result<()> {
        for_each_batch(data, preprocess, engine, |images, count| {
            see(images, count)?;
            done += count;
            on_progress(done, total);
            Ok(())
        })
    };

    let mut floats = Floats { engine, graph: &graph, weights: &weights, preprocess, program: None };
    let mut ranges = vec![Range::default(); names.len()];
    see(&data, &mut |images, count| {
        let values = floats.values(images, count, &names)?;
        ranges.iter_mut().zip(&values).for_each(|(range, values)| range.see(values));
        Ok(())
    })?;
    if let Some((name, _)) = names.iter().zip(&ranges).find(|(_, range)| !range.is_finite()) {
        return Err(fail(format!("{name}: its values are not finite; the weights are damaged or diverged")));
    }
    let mut grids: Vec<Quantizer> = ranges.iter().map(Range::grid).collect();
    if options.method != Method::MinMax {
        let mut histograms: Vec<Histogram> = ranges.iter().map(|range| Histogram::new(*range)).collect();
        see(&data, &mut |images, count| {
            let values = floats.values(images, count, &names)?;
            histograms.iter_mut().zip(&values).for_each(|(histogram, values)| histogram.see(values));
            Ok(())
        })?;
        let grid = |histogram: &Histogram| match options.method {
            Method::Percentile(percent) => histogram.percentile(percent),
            _ => histogram.least_error(PARTS),
        };
        grids = histograms.iter().map(grid).collect();
    }
    let least = grids.iter().map(|grid| grid.scale).fold(f32::INFINITY, f32::min);
    let mut quantization =
        Quantization { activations: names.iter().cloned().zip(grids).collect(), ..Quantization::default() };
    quantize_weights(&graph, &mut after.weights, least, options.method, &mut quantization);
    after.info.quantization = Some(quantization);

    let answer = graph.node(graph.output()).name.clone();
    let taps: Vec<String> = names.into_iter().chain([answer]).collect();
    let mut sums = vec![(0.0f64, 0.0f64); taps.len()];
    let mut program: Option<(usize, Inference)> = None;
    see(&noise, &mut |images, count| {
        let exact = floats.values(images, count, &taps)?;
        if program.as_ref().is_none_or(|(size, _)| *size != count) {
            let shape = InputShape { n: count, h: preprocess.crop, w: preprocess.crop };
            program = Some((count, after.compile(engine, shape, &taps)?));
        }
        let Some((_, program)) = &mut program else { return Ok(()) };
        program.run(images);
        for ((signal, noise), (name, exact)) in sums.iter_mut().zip(taps.iter().zip(&exact)) {
            let found = program.tap(name).map(residuum_tensor::Tensor::into_data).unwrap_or_default();
            for (&x, &y) in exact.iter().zip(&found) {
                *signal += f64::from(x) * f64::from(x);
                *noise += (f64::from(x) - f64::from(y)).powi(2);
            }
        }
        Ok(())
    })?;
    let grid = |name: &String| after.info.quantization.as_ref()?.activations.get(name).copied();
    let layers = taps.iter().zip(&sums).map(|(name, &(signal, noise))| LayerNoise {
        name: name.clone(),
        grid: grid(name),
        signal_to_noise_db: 10.0 * (signal.max(f64::MIN_POSITIVE) / noise.max(f64::MIN_POSITIVE)).log10(),
    });
    let layers = layers.collect();
    Ok(Quantized { loaded: after, images: data.len(), layers })
}

/// The network of floats, for one size of batch at a time.
struct Floats<'a> {
    engine: &'a Engine,
    graph: &'a Graph,
    weights: &'a Weights,
    preprocess: &'a Preprocess,
    program: Option<(usize, usize, Inference)>,
}

impl Floats<'_> {
    /// The values of nodes for prepared pictures.
    fn values(&mut self, images: &[f32], count: usize, names: &[String]) -> Result<Vec<Vec<f32>>> {
        let is_other = |(size, taps, _): &(usize, usize, Inference)| (*size, *taps) != (count, names.len());
        if self.program.as_ref().is_none_or(is_other) {
            let shape = InputShape { n: count, h: self.preprocess.crop, w: self.preprocess.crop };
            let program = self.engine.inference(self.graph, self.weights, shape, names)?;
            self.program = Some((count, names.len(), program));
        }
        let Some((_, _, program)) = &mut self.program else { return Ok(Vec::new()) };
        program.run(images);
        let value = |name: &String| program.tap(name).map(residuum_tensor::Tensor::into_data);
        Ok(names.iter().filter_map(value).collect())
    }
}

fn for_each_batch(
    data: &Dataset,
    preprocess: &Preprocess,
    engine: &Engine,
    mut see: impl FnMut(&[f32], usize) -> Result<()>,
) -> Result<()> {
    let size = if preprocess.crop <= SMALL_SIDE { 50 } else { 4 };
    let options = LoaderOptions {
        threads: engine.threads().count(),
        ..LoaderOptions::evaluation(size.min(data.len().max(1)))
    };
    let loader = Loader::new(data, preprocess, options).map_err(residuum_classify::ClassifyError::from)?;
    for batch in loader {
        let batch = batch.map_err(residuum_classify::ClassifyError::from)?;
        see(batch.images.data(), batch.labels.len())?;
    }
    Ok(())
}

/// Puts the filters of every convolution and linear layer onto multiples of scales. `least` is the finest grid of any
/// value: products of it and a scale are the units of sums, in which a bias has to fit.
fn quantize_weights(
    graph: &Graph,
    weights: &mut Weights,
    least: f32,
    method: Method,
    quantization: &mut Quantization,
) {
    use residuum_graph::Op;
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
