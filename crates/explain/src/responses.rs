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
/// al. 2015, Figure 7), in the order of the layers.
///
/// # Errors
/// When the network does not admit the images.
pub fn response_std(subject: &Subject<'_>, images: &Tensor) -> Result<Vec<Response>> {
    let graph = subject.graph;
    let is_response = |id: &residuum_graph::NodeId| {
        let node = graph.node(*id);
        matches!(node.op, Op::BatchNorm(_))
            && matches!(graph.node(node.inputs[0]).op, Op::Conv2d(conv) if conv.kernel[0] > 1)
    };
    let layers: Vec<String> = graph.ids().filter(is_response).map(|id| graph.node(id).name.clone()).collect();
    let values = subject.values(images, &layers)?;
    Ok(layers
        .into_iter()
        .zip(&values)
        .map(|(layer, value)| Response { layer, std: spread(value.data()) })
        .collect())
}

fn spread(values: &[f32]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    (values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count).sqrt()
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
