//! What each layer does to the signal.

use residuum_graph::Op;
use residuum_tensor::Tensor;

use crate::blocks::blocks;
use crate::error::{ExplainError, Result};
use crate::subject::Subject;

/// The spread of a layer's response.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Name of the batch norm.
    pub layer: String,
    /// Standard deviation over images, channels and pixels.
    pub std: f64,
}

/// Standard deviation of every 3×3 convolution's output after batch norm, before ReLU and addition (He et
/// al. 2015, Figure 7), in the order of the layers. `tell` hears after every batch how many images are done,
/// and stops the work by returning false: what was found until then is of those images.
///
/// # Errors
/// When the network does not admit the images.
pub fn response_std(
    subject: &Subject<'_>,
    images: &Tensor,
    mut tell: impl FnMut(usize) -> bool,
) -> Result<Vec<Response>> {
    let graph = subject.graph;
    let is_response = |id: &residuum_graph::NodeId| {
        let node = graph.node(*id);
        matches!(node.op, Op::BatchNorm(_))
            && matches!(graph.node(node.inputs[0]).op, Op::Conv2d(conv) if conv.kernel[0] > 1)
    };
    let layers: Vec<String> = graph.ids().filter(is_response).map(|id| graph.node(id).name.clone()).collect();
    let mut spreads = vec![Spread::default(); layers.len()];
    subject.in_batches(images, &layers, |range, _, program| {
        for (layer, spread) in layers.iter().zip(&mut spreads) {
            spread.add(program.tap(layer).iter().flat_map(Tensor::data));
        }
        tell(range.end)
    })?;
    let response = |(layer, spread): (String, Spread)| Response { layer, std: spread.std() };
    Ok(layers.into_iter().zip(spreads).map(response).collect())
}

/// Mean and sum of squared deviations of values that come in parts (Chan et al. 1983).
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn add<'a>(&mut self, values: impl Iterator<Item = &'a f32> + Clone) {
        let (count, sum) = values.clone().fold((0.0, 0.0), |(n, sum), &x| (n + 1.0, sum + f64::from(x)));
        if count == 0.0 {
            return;
        }
        let mean = sum / count;
        let squares: f64 = values.map(|&x| (f64::from(x) - mean).powi(2)).sum();
        let (whole, apart) = (self.count + count, mean - self.mean);
        self.squares += squares + apart * apart * self.count * count / whole;
        self.mean += apart * count / whole;
        self.count = whole;
    }

    fn std(&self) -> f64 {
        (self.squares / self.count.max(1.0)).sqrt()
    }
}

/// What a block changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Refinement {
    /// Name of the block.
    pub block: String,
    /// Norm of the branch over that of the shortcut.
    pub change: f64,
    /// Correlation of each channel of the block's output with the same channel of the block before it, where
    /// that has the same shape.
    pub correlation: Option<Vec<f64>>,
}

/// How much each block of a network adds, and how alike the outputs of neighbouring blocks are: the
/// measurable side of Chu, Yang & Tadinada's (2017) observation that blocks refine features.
///
/// # Errors
/// When the network does not admit the images.
pub fn refinement(subject: &Subject<'_>, images: &Tensor) -> Result<Vec<Refinement>> {
    let graph = subject.graph;
    let name = |id: residuum_graph::NodeId| graph.node(id).name.clone();
    let mut found: Vec<Refinement> = Vec::new();
    let mut before: Option<Tensor> = None;
    for block in blocks(graph) {
        let operands = graph.node(block.add).inputs.clone();
        let layers = [name(operands[block.branch]), name(operands[block.shortcut()]), name(block.add)];
        let values = subject.values(images, &layers)?;
        let norm = |tensor: &Tensor| tensor.data().iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let correlation = before.filter(|before| before.shape() == values[2].shape());
        found.push(Refinement {
            block: block.name,
            change: norm(&values[0]) / norm(&values[1]).max(1e-30),
            correlation: correlation.map(|before| channel_correlations(&before, &values[2])),
        });
        before = values.into_iter().nth(2);
    }
    Ok(found)
}

fn channel_correlations(a: &Tensor, b: &Tensor) -> Vec<f64> {
    let [n, c, h, w] = a.shape()[..] else { return Vec::new() };
    let values = |tensor: &Tensor, channel: usize| -> Vec<f64> {
        let plane = |image: usize| &tensor.data()[(image * c + channel) * h * w..][..h * w];
        (0..n).flat_map(plane).map(|&x| f64::from(x)).collect()
    };
    (0..c).map(|channel| correlation(&values(a, channel), &values(b, channel))).collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(&a, &b)| f(a - ma, b - mb)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt().max(1e-30)
}

/// The unit of a layer's channel that an image excites most: its value, row and column; the first of equals.
///
/// # Errors
/// When the layer is no map, the channel does not exist or the network does not admit the images.
pub fn strongest(
    subject: &Subject<'_>,
    images: &Tensor,
    layer: &str,
    channel: usize,
) -> Result<Vec<(f32, usize, usize)>> {
    subject.map_layer(layer)?;
    let values = subject.values(images, &[layer.to_owned()])?;
    let Some(&[n, c, h, w]) = values.first().map(Tensor::shape) else { return Ok(Vec::new()) };
    if channel >= c {
        return Err(ExplainError::unfit("channel", format!("0 to {}", c - 1), channel.to_string()));
    }
    let best = |image: usize| {
        let plane = &values[0].data()[(image * c + channel) * h * w..][..h * w];
        let first = (f32::NEG_INFINITY, 0, 0);
        plane
            .iter()
            .enumerate()
            .fold(first, |best, (at, &x)| if x > best.0 { (x, at / w, at % w) } else { best })
    };
    Ok((0..n).map(best).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_parts_is_that_of_the_whole() {
        let values: Vec<f32> = (0..100).map(|i| (i * 37 % 11) as f32 + 1000.0).collect();
        let mut whole = Spread::default();
        whole.add(values.iter());
        let mut parts = Spread::default();
        values.chunks(7).for_each(|part| parts.add(part.iter()));
        parts.add([].iter());
        assert!((whole.std() - parts.std()).abs() < 1e-12 && whole.std() > 3.0, "{}", whole.std());
    }
}
