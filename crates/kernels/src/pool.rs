//! Pooling over windows of a map.
//!
//! For slices and shapes the rules of [`elementwise`](crate::elementwise) hold. Forward, a task makes one row
//! of the output. Backward, a task owns all pixels of a block of channels of one image, and adds to them
//! window by window in reading order, so that overlapping windows add up in a fixed order.

mod average;
mod blur;
mod global;
mod max;
mod window;

pub use average::{avg_pool, avg_pool_backward};
pub use blur::{BlurShape, blur, blur_backward};
pub use global::{global_avg_pool, global_avg_pool_backward};
pub use max::{max_pool, max_pool_backward};

use std::ops::Range;

use residuum_tensor::MapLayout;

use crate::check;

/// Geometry of a pooling layer. Pairs are `[vertical, horizontal]`, in pixels.
///
/// As in PyTorch the padding is at most half of the window, so that every window meets the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolShape {
    /// Images.
    pub n: usize,
    /// Rows of an input image.
    pub h: usize,
    /// Columns of an input image.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Distance between two windows.
    pub stride: [usize; 2],
    /// Padding on every side: it never wins a maximum and counts as zeros in an average.
    pub padding: [usize; 2],
    /// Keeps the last window where it only partly fits, unless it starts in the padding behind the image.
    pub ceil: bool,
}

impl PoolShape {
    /// Rows of an output image; 0 where no window fits.
    pub const fn out_h(&self) -> usize {
        self.out_size(0, self.h)
    }

    /// Columns of an output image; 0 where no window fits.
    pub const fn out_w(&self) -> usize {
        self.out_size(1, self.w)
    }

    const fn out_size(&self, axis: usize, size: usize) -> usize {
        let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
        let room = size + 2 * padding;
        let spare = if self.ceil { stride - 1 } else { 0 };
        if room + spare < kernel {
            return 0;
        }
        let windows = (room + spare - kernel) / stride + 1;
        if self.ceil && (windows - 1) * stride >= size + padding { windows - 1 } else { windows }
    }

    /// The rows of the image that window row `y` covers.
    pub(crate) fn rows(&self, y: usize) -> Range<usize> {
        self.covered(0, self.h, y)
    }

    /// The columns of the image that window column `x` covers.
    pub(crate) fn columns(&self, x: usize) -> Range<usize> {
        self.covered(1, self.w, x)
    }

    fn covered(&self, axis: usize, size: usize, at: usize) -> Range<usize> {
        let (start, padding) = (at * self.stride[axis], self.padding[axis]);
        start.saturating_sub(padding)..(start + self.kernel[axis]).saturating_sub(padding).min(size)
    }

    /// By how many values window (`y`, `x`) divides its sum: those inside the image, or with `count_padding`
    /// those inside the padded one. Only a window that `ceil` added covers less than its own size there.
    pub(crate) fn divisor(&self, y: usize, x: usize, count_padding: bool) -> usize {
        if !count_padding {
            return self.rows(y).len() * self.columns(x).len();
        }
        let inside = |axis: usize, size: usize, at: usize| {
            let start = at * self.stride[axis];
            (start + self.kernel[axis]).min(size + 2 * self.padding[axis]) - start
        };
        inside(0, self.h, y) * inside(1, self.w, x)
    }
    /// Panics unless the input and the output of a pooling have this geometry and are held by their slices.
    #[track_caller]
    pub(crate) fn check(&self, input: (&str, usize, &MapLayout), output: (&str, usize, &MapLayout)) {
        check::shape(input.0, input.2, [self.n, self.h, self.w, self.c]);
        check::shape(output.0, output.2, [self.n, self.out_h(), self.out_w(), self.c]);
        for (what, len, layout) in [input, output] {
            check::map(what, len, layout);
        }
        let [vertical, horizontal] = [0, 1].map(|axis| 2 * self.padding[axis] <= self.kernel[axis]);
        assert!(vertical && horizontal, "padding {:?} of window {:?}", self.padding, self.kernel);
    }
}
