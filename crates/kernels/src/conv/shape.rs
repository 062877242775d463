//! What the convolution kernels need to know about a shape: borders, phases, groups.

use super::walk::Phase;
use crate::conv_shape::ConvShape;
use residuum_tensor::MapLayout;

impl ConvShape {
    /// Number of weights.
    pub fn weight_len(&self) -> usize {
        self.c_out * self.weights_per_output()
    }

    fn weights_per_output(&self) -> usize {
        self.c_in / self.groups * self.taps()
    }

    /// Border that the forward pass and the gradient of the weights need around `x`.
    pub fn input_border(&self) -> usize {
        self.padding[0].max(self.padding[1])
    }

    /// Border that the gradient of the input needs around `dy`.
    pub fn gradient_border(&self) -> usize {
        let [vertical, horizontal] = [(0, self.h, self.out_h()), (1, self.w, self.out_w())]
            .map(|(axis, size, out)| self.reach(axis, size, out));
        vertical.max(horizontal)
    }

    /// How far outside of `0..out` the gradient of the input reads, along one axis.
    fn reach(&self, axis: usize, size: usize, out: usize) -> usize {
        let mut reach = 0;
        for phase in 0..self.stride[axis].min(size) {
            let last = (size - 1 - phase) / self.stride[axis];
            for (shift, _) in self.phase_taps(axis, phase) {
                reach = reach.max(-shift).max(last as isize + shift - (out as isize - 1));
            }
        }
        reach as usize
    }

    /// The taps that reach the input positions `phase + j * stride`, as (shift, tap): the output position is
    /// `j + shift`. The least shift is the first.
    pub(super) fn phase_taps(&self, axis: usize, phase: usize) -> Vec<(isize, usize)> {
        let stride = self.stride[axis] as isize;
        let start = (phase + self.padding[axis]) as isize;
        let numerator = |tap: usize| start - (tap * self.dilation[axis]) as isize;
        (0..self.kernel[axis])
            .rev()
            .filter(|&tap| numerator(tap).rem_euclid(stride) == 0)
            .map(|tap| (numerator(tap).div_euclid(stride), tap))
            .collect()
    }

    /// The input positions that have the same taps, for each of the `stride` x `stride` kinds.
    pub(super) fn phases(&self) -> Vec<Phase> {
        let [step_y, step_x] = self.stride;
        let mut phases = Vec::new();
        for y in 0..step_y.min(self.h) {
            phases.extend((0..step_x.min(self.w)).map(|x| Phase { y, x, step_y, step_x }));
        }
        phases
    }

    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    pub(super) fn group_in(&self) -> usize {
        self.c_in / self.groups
    }

    pub(super) fn group_out(&self) -> usize {
        self.c_out / self.groups
    }

    /// Panics unless the shape is one and the maps are those of its input and output.
    pub(super) fn check(&self, x: &MapLayout, x_border: usize, y: &MapLayout, y_border: usize) {
        assert!(
            self.groups > 0 && self.c_in.is_multiple_of(self.groups),
            "groups do not divide c_in: {self:?}"
        );
        assert!(self.c_out.is_multiple_of(self.groups), "groups do not divide c_out: {self:?}");
        let positive = [self.kernel, self.stride, self.dilation].iter().flatten().all(|&size| size > 0);
        assert!(positive, "kernel, stride and dilation start at 1: {self:?}");
        assert!(self.n == 0 || self.out_h() * self.out_w() > 0, "the window does not fit: {self:?}");
        let inside = (x.n, x.h, x.w, x.c) == (self.n, self.h, self.w, self.c_in);
        assert!(
            inside && x.border >= x_border && x.pitch >= x.c,
            "input of {self:?}, border {x_border}: found {x:?}"
        );
        let outside = (y.n, y.h, y.w, y.c) == (self.n, self.out_h(), self.out_w(), self.c_out);
        assert!(
            outside && y.border >= y_border && y.pitch >= y.c,
            "output of {self:?}, border {y_border}: found {y:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(size: usize, kernel: usize, stride: usize, padding: usize) -> ConvShape {
        let windows = ConvShape::of_squares(1, size, [3, 64], kernel);
        ConvShape { stride: [stride; 2], padding: [padding; 2], ..windows }
    }

    #[test]
    fn the_stem_of_resnet() {
        let stem = square(224, 7, 2, 3);
        assert_eq!((stem.out_h(), stem.out_w()), (112, 112));
        assert_eq!(stem.macs(), 118_013_952);
        assert_eq!((stem.input_border(), stem.gradient_border()), (3, 2));
    }

    #[test]
    fn borders_of_the_gradient() {
        assert_eq!(square(8, 3, 1, 1).gradient_border(), 1);
        assert_eq!(square(8, 1, 2, 0).gradient_border(), 0);
        assert_eq!(square(8, 3, 1, 0).gradient_border(), 2);
        // The last row of the input is under no window: its place in the output lies outside.
        assert_eq!(square(7, 2, 2, 0).gradient_border(), 1);
    }

    #[test]
    fn a_window_that_does_not_fit_has_no_output() {
        assert_eq!(square(2, 3, 1, 0).out_h(), 0);
    }
}
