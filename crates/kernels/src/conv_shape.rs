//! The facts that fix a two-dimensional convolution.

/// Geometry of a batch of convolutions. Pairs are `[vertical, horizontal]`, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Images.
    pub n: usize,
    /// Rows of an input image.
    pub h: usize,
    /// Columns of an input image.
    pub w: usize,
    /// Input channels.
    pub c_in: usize,
    /// Output channels.
    pub c_out: usize,
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Distance between two windows.
    pub stride: [usize; 2],
    /// Zeros around the image.
    pub padding: [usize; 2],
    /// Distance between two taps of a window; 1 is an ordinary convolution.
    pub dilation: [usize; 2],
    /// Independent convolutions side by side; divides both channel counts.
    pub groups: usize,
}

impl ConvShape {
    /// Rows of an output image; 0 where the window is larger than the padded image.
    pub const fn out_h(&self) -> usize {
        self.out_size(0, self.h)
    }

    /// Columns of an output image; 0 where the window is larger than the padded image.
    pub const fn out_w(&self) -> usize {
        self.out_size(1, self.w)
    }

    /// Multiply-adds of one forward pass over the whole batch, taps in the padding included.
    pub const fn macs(&self) -> usize {
        let taps = self.kernel[0] * self.kernel[1] * (self.c_in / self.groups);
        self.n * self.out_h() * self.out_w() * self.c_out * taps
    }

    /// Whether every window is a single pixel inside the image, over all channels.
    pub fn is_of_pixels(&self) -> bool {
        (self.kernel, self.padding, self.groups) == ([1; 2], [0; 2], 1)
    }

    const fn out_size(&self, axis: usize, size: usize) -> usize {
        let window = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        let padded = size + 2 * self.padding[axis];
        if padded < window { 0 } else { (padded - window) / self.stride[axis] + 1 }
    }
}

#[cfg(test)]
impl ConvShape {
    /// `n` square images of `size`, and windows of `kernel` x `kernel` that leave them so, at a stride of 1.
    pub(crate) fn of_squares(n: usize, size: usize, [c_in, c_out]: [usize; 2], kernel: usize) -> Self {
        Self {
            n,
            h: size,
            w: size,
            c_in,
            c_out,
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups: 1,
        }
    }
}
