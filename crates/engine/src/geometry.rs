//! From a graph's operations to the shapes that kernels take.

use residuum_graph::{Blur, Conv2d, Graph, GraphError, MaxPool, Op};
use residuum_kernels::{BlurShape, ConvShape, PoolShape};

use crate::engine::InputShape;

/// Convolutions of a network that have the same shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvLayers {
    /// Their shape.
    pub shape: ConvShape,
    /// Their names, in the order of the network.
    pub names: Vec<String>,
}

/// The distinct convolutions of a network for a size of batch, in the order of their first.
///
/// # Errors
/// When the network does not admit the size.
pub fn conv_layers(graph: &Graph, input: InputShape) -> Result<Vec<ConvLayers>, GraphError> {
    let extents = graph.extents(input.h, input.w)?;
    let mut layers: Vec<ConvLayers> = Vec::new();
    for node in graph.nodes() {
        if let Op::Conv2d(conv) = &node.op {
            let shape = conv_shape(conv, input.n, extents[node.inputs[0].index()]);
            match layers.iter_mut().find(|layer| layer.shape == shape) {
                Some(layer) => layer.names.push(node.name.clone()),
                None => layers.push(ConvLayers { shape, names: vec![node.name.clone()] }),
            }
        }
    }
    Ok(layers)
}

/// A convolution over `n` maps of the given height and width.
pub(crate) fn conv_shape(conv: &Conv2d, n: usize, [h, w]: [usize; 2]) -> ConvShape {
    let Conv2d { c_in, c_out, kernel, stride, padding, dilation, groups, .. } = *conv;
    ConvShape { n, h, w, c_in, c_out, kernel, stride, padding, dilation, groups }
}

/// A pool over `n` maps of `c` channels and the given height and width.
pub(crate) fn pool_shape(pool: &MaxPool, n: usize, c: usize, [h, w]: [usize; 2]) -> PoolShape {
    let MaxPool { kernel, stride, padding, ceil } = *pool;
    PoolShape { n, h, w, c, kernel, stride, padding, ceil }
}

/// A blur of `n` maps of `c` channels and the given height and width.
pub(crate) fn blur_shape(blur: &Blur, n: usize, c: usize, [h, w]: [usize; 2]) -> BlurShape {
    BlurShape { n, h, w, c, size: blur.size, stride: blur.stride, padding: blur.padding() }
}
