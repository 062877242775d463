//! Spatial sizes: from the side of the images to the side of every map.

use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::op::{Blur, MaxPool, Op};

/// Number of windows along one side, by PyTorch's rule, or `None` where the window does not fit.
fn windows(size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Option<usize> {
    let reach = dilation * (kernel - 1) + 1;
    (size + 2 * padding).checked_sub(reach).map(|room| room / stride + 1)
}

fn pooled(size: usize, i: usize, pool: &MaxPool) -> Option<usize> {
    let (kernel, stride, padding) = (pool.kernel[i], pool.stride[i], pool.padding[i]);
    let floor = windows(size, kernel, stride, padding, 1)?;
    let covered = (floor - 1) * stride + kernel;
    // A last window counts when rounding up, unless it would start in the right padding.
    let another = pool.ceil && covered < size + 2 * padding && floor * stride < size + padding;
    Some(floor + usize::from(another))
}

/// A reflected map repeats no edge pixel, so the padding is less than the side.
fn blurred(size: usize, blur: Blur) -> Option<usize> {
    (blur.padding() < size).then(|| windows(size, blur.size, blur.stride, blur.padding(), 1)).flatten()
}

/// `input`, once every other extent was found to fit it.
fn agree(
    node: &Node,
    input: [usize; 2],
    mut others: impl Iterator<Item = [usize; 2]>,
    fits: impl Fn([usize; 2]) -> bool,
) -> Result<[usize; 2], GraphError> {
    let show = |e: [usize; 2]| format!("{}×{}", e[0], e[1]);
    match others.find(|&other| !fits(other)) {
        Some(other) => Err(GraphError::new(&node.name, show(input), show(other))),
        None => Ok(input),
    }
}

impl Graph {
    /// Height and width of every node's map, for images of `h` × `w`; `[1, 1]` for what is no map.
    ///
    /// # Errors
    /// When a window does not fit into its map, or two maps that are added differ in size: the image is
    /// too small for the network, or of a size that it does not admit.
    pub fn extents(&self, h: usize, w: usize) -> Result<Vec<[usize; 2]>, GraphError> {
        let mut extents: Vec<[usize; 2]> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let input = node.inputs.first().map_or([1, 1], |x| extents[x.index()]);
            let both = |side: &dyn Fn(usize) -> Option<usize>| -> Result<[usize; 2], GraphError> {
                let too_small = || {
                    let found = format!("{}×{} (image {h}×{w})", input[0], input[1]);
                    GraphError::new(&node.name, "a map that its window fits into", found)
                };
                Ok([side(0).ok_or_else(too_small)?, side(1).ok_or_else(too_small)?])
            };
            extents.push(match &node.op {
                Op::Input => [h, w],
                Op::Conv2d(c) => {
                    both(&|i| windows(input[i], c.kernel[i], c.stride[i], c.padding[i], c.dilation[i]))?
                }
                Op::MaxPool(pool) => both(&|i| pooled(input[i], i, pool))?,
                Op::AvgPool(pool) => both(&|i| pooled(input[i], i, &pool.window))?,
                Op::Subsample { stride } => input.map(|side| side.div_ceil(*stride)),
                Op::Add | Op::Concat => {
                    let others = node.inputs.iter().map(|x| extents[x.index()]);
                    agree(node, input, others, |other| other == input)?
                }
                Op::Mul => {
                    let gate = extents[node.inputs[1].index()];
                    agree(node, input, [gate].into_iter(), |gate| gate == input || gate == [1, 1])?
                }
                Op::Flatten => agree(node, [1, 1], [input].into_iter(), |input| input == [1, 1])?,
                Op::Blur(blur) => both(&|i| blurred(input[i], *blur))?,
                Op::BatchNorm(_)
                | Op::Relu
                | Op::PadChannels { .. }
                | Op::Normalize(_)
                | Op::NormalizeBackward(_)
                | Op::BatchNormBackward(_)
                | Op::ReluBackward
                | Op::Scale { .. }
                | Op::Sigmoid
                | Op::SigmoidBackward
                | Op::Dropout(_)
                | Op::DropPath(_)
                | Op::Mask(_)
                | Op::Gate(_)
                | Op::SliceChannels { .. }
                | Op::PadChannelsBackward { .. } => input,
                Op::Seed { like }
                | Op::ConvBackwardData { like, .. }
                | Op::AvgPoolBackward { like, .. }
                | Op::GlobalAvgPoolBackward { like }
                | Op::MulBackward { like }
                | Op::BlurBackward { like, .. }
                | Op::SubsampleBackward { like, .. } => extents[like.index()],
                Op::MaxPoolBackward(_) => extents[node.inputs[1].index()],
                Op::GlobalAvgPool
                | Op::Linear(_)
                | Op::Moments(_)
                | Op::CrossEntropy
                | Op::CrossEntropyBackward
                | Op::ConvBackwardWeights(_)
                | Op::BiasBackward { .. }
                | Op::LinearBackwardData(_)
                | Op::LinearBackwardWeights(_)
                | Op::NormalizeBackwardSums(_) => [1, 1],
            });
        }
        Ok(extents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_rounds_as_pytorch_and_caffe_do() {
        let pool = |padding, ceil| MaxPool { kernel: [3; 2], stride: [2; 2], padding: [padding; 2], ceil };
        assert_eq!(pooled(112, 0, &pool(1, false)), Some(56));
        assert_eq!(pooled(112, 0, &pool(0, true)), Some(56));
        assert_eq!(pooled(112, 0, &pool(0, false)), Some(55));
        assert_eq!(pooled(32, 0, &pool(0, true)), Some(16));
        assert_eq!(pooled(2, 0, &pool(0, true)), None);
        let two = MaxPool { kernel: [2; 2], stride: [2; 2], padding: [1; 2], ceil: true };
        assert_eq!(pooled(3, 0, &two), Some(2), "a window must not start in the right padding");
    }
}
