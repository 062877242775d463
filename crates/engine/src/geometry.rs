//! From a graph's operations to the shapes that kernels take.

use residuum_graph::{Blur, Conv2d, MaxPool};
use residuum_kernels::{BlurShape, ConvShape, PoolShape};

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
