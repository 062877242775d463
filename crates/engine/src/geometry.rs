//! From a graph's operations to the shapes that kernels take.

use residuum_graph::{Conv2d, MaxPool};
use residuum_kernels::{ConvShape, PoolShape};

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
