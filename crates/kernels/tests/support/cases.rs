//! Convolutions for tests.

use residuum_kernels::ConvShape;

/// A convolution and how its maps lie in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) shape: ConvShape,
    /// Border beyond what is needed, of every map.
    pub(crate) border: usize,
    /// Elements between the channels of neighbouring pixels.
    pub(crate) gap: usize,
}

pub(crate) fn case(
    [n, h, w]: [usize; 3],
    [c_in, c_out, groups]: [usize; 3],
    kernel: [usize; 2],
    stride: usize,
    padding: [usize; 2],
) -> Case {
    let (stride, dilation) = ([stride; 2], [1; 2]);
    let shape = ConvShape { n, h, w, c_in, c_out, kernel, stride, padding, dilation, groups };
    Case { shape, border: 0, gap: 0 }
}
