//! What each layer does to the signal.

use residuum_graph::Op;
use residuum_tensor::Tensor;

use crate::error::Result;
use crate::stages::stages;
use crate::subject::Subject;
use crate::survey::{Survey, Surveyor};

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
    /// Correlation, over images and positions, of each channel of the block's output with the same channel of
    /// the block before it in its stage; 0 for a channel that does not vary.
    pub correlation: Option<Vec<f64>>,
}

/// How much each block of a network adds, and how alike the outputs of neighbouring blocks are: the
/// measurable side of Chu, Yang & Tadinada's (2017) observation that blocks refine features. A [`Survey`]
/// finds the same for more images than go through the network at once.
///
/// # Errors
/// When the network has no residual blocks or does not admit the images.
pub fn refinement(subject: &Subject<'_>, images: &Tensor) -> Result<Vec<Refinement>> {
    let shape = subject.shape_of(images)?;
    let stages = stages(subject.graph, shape.h, shape.w)?;
    let mut survey = Survey::new(&stages);
    Surveyor::new(subject, &stages, images)?.add(&mut survey, images)?;
    Ok(survey.refinement(&stages))
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
