//! Kernels that weigh maps: by gates, by masks, by one number for each image.
//!
//! For slices and shapes the rules of [`elementwise`](crate::elementwise) hold. A gate has the size of its
//! map, or one pixel, whose channels then weigh all pixels of the image.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "the loads and stores of one vector are one duty")]

use residuum_tensor::MapLayout;

use crate::crew::for_each_chunk;
use crate::elementwise::{check_maps, check_optional, optional};
use crate::isa::{Kernel, Simd, Sink, Source};
use crate::norm::affine;
use crate::random::{Draws, channel_step, mix32, threshold};
use crate::rearrange::par_rows;
use crate::sweep::{Lanes, Reduction, Sums, Sweep, Vectorwise};
use crate::{Isa, check};

/// `out = x · gate + residual`, then ReLU where asked for.
pub fn mul(
    isa: Isa,
    x: &[f32],
    xl: MapLayout,
    gate: &[f32],
    gl: MapLayout,
    residual: Option<(&[f32], MapLayout)>,
    relu: bool,
    out: &mut [f32],
    ol: MapLayout,
) {
    if has_one_pixel(&gl, &xl) {
        check_gate(gate, &gl, &xl);
        let zeros = vec![0.0; xl.c];
        return for_each_image(out, &ol, |n, out, ol| {
            let (residual, scale) =
                (residual.map(|map| image_of(map, n)), &gate[gl.offset(n, 0, 0)..][..gl.c]);
            let (x, xl) = image_of((x, xl), n);
            affine(isa, x, xl, scale, &zeros, residual, relu, out, ol);
        });
    }
    let (residual, rl) = optional(residual, xl);
    check_maps([("x", x.len(), &xl), ("gate", gate.len(), &gl), ("out", out.len(), &ol)]);
    check_optional("residual", residual, &rl, &xl);
    let op = Mul { x: Source::new(x), gate: Source::new(gate), residual, relu, out: Sink::new(out) };
    Sweep::new(isa, [xl, gl, rl, ol]).apply(op);
}

/// Gradient of the gate of [`mul`]: `dy · x`, summed over the pixels where the gate has one.
pub fn mul_backward(
    isa: Isa,
    dy: &[f32],
    dyl: MapLayout,
    x: &[f32],
    xl: MapLayout,
    dgate: &mut [f32],
    gl: MapLayout,
) {
    if !has_one_pixel(&gl, &xl) {
        return mul(isa, dy, dyl, x, xl, None, false, dgate, gl);
    }
    check_maps([("dy", dy.len(), &dyl), ("x", x.len(), &xl)]);
    check_gate(dgate, &gl, &xl);
    let (sweep, pixels) = (Sweep::new(isa, [dyl, xl]), xl.h * xl.w);
    for_each_image(dgate, &gl, |n, dgate, gl| {
        let op = Products { dy: Source::new(dy), x: Source::new(x) };
        let sums = sweep.reduce_pixels::<1>(op, n * pixels..(n + 1) * pixels);
        let out = &mut dgate[gl.offset(0, 0, 0)..][..gl.c];
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32);
    });
}

/// `out = 1 / (1 + exp(-x))`
pub fn sigmoid(x: &[f32], xl: MapLayout, out: &mut [f32], ol: MapLayout) {
    check_maps([("x", x.len(), &xl), ("out", out.len(), &ol)]);
    par_rows(out, &ol, |n, y, row| {
        for (column, pixel) in row.chunks_mut(ol.pitch).take(ol.w).enumerate() {
            let x = &x[xl.offset(n, y, column)..][..xl.c];
            pixel.iter_mut().zip(x).for_each(|(out, &x)| *out = 1.0 / (1.0 + (-x).exp()));
        }
    });
}

/// Gradient of [`sigmoid`] from its output `y`: `dx = dy · y · (1 - y)`.
pub fn sigmoid_backward(
    isa: Isa,
    dy: &[f32],
    dyl: MapLayout,
    y: &[f32],
    yl: MapLayout,
    dx: &mut [f32],
    dxl: MapLayout,
) {
    check_maps([("dy", dy.len(), &dyl), ("y", y.len(), &yl), ("dx", dx.len(), &dxl)]);
    let op = SigmoidBackward { dy: Source::new(dy), y: Source::new(y), dx: Sink::new(dx) };
    Sweep::new(isa, [dyl, yl, dxl]).apply(op);
}

/// `out = factors[image] · x`, zero where the factor is.
pub fn scale_images(isa: Isa, x: &[f32], xl: MapLayout, factors: &[f32], out: &mut [f32], ol: MapLayout) {
    check_maps([("x", x.len(), &xl), ("out", out.len(), &ol)]);
    check::length("factors", factors.len(), xl.n);
    let zeros = vec![0.0; xl.c];
    for_each_image(out, &ol, |n, out, ol| {
        if factors[n] == 0.0 {
            let clear = |pixel: &mut [f32]| pixel[..ol.c].fill(0.0);
            return par_rows(out, &ol, |_, _, row| row.chunks_mut(ol.pitch).take(ol.w).for_each(clear));
        }
        let ((x, xl), factor) = (image_of((x, xl), n), vec![factors[n]; xl.c]);
        affine(isa, x, xl, &factor, &zeros, None, false, out, ol);
    });
}

/// Inverted dropout: `out = x / (1 - rate)` where the draw keeps the element, else 0. It is its own
/// gradient.
pub fn dropout(
    isa: Isa,
    draws: Draws,
    stream: u32,
    rate: f32,
    x: &[f32],
    xl: MapLayout,
    out: &mut [f32],
    ol: MapLayout,
) {
    check_maps([("x", x.len(), &xl), ("out", out.len(), &ol)]);
    let (least, scale) = (threshold(rate), 1.0 / (1.0 - rate));
    par_rows(out, &ol, |n, y, row| {
        let first_pixel = (n * xl.h + y) * xl.w;
        let x = &x[xl.offset(n, y, 0)..];
        isa.run(DropoutRow { draws, stream, least, scale, first_pixel, x, xl, out: row, ol });
    });
}

fn has_one_pixel(gate: &MapLayout, map: &MapLayout) -> bool {
    (gate.h, gate.w) == (1, 1) && (map.h, map.w) != (1, 1)
}

#[track_caller]
fn check_gate(gate: &[f32], gl: &MapLayout, xl: &MapLayout) {
    check::shape("gate", gl, [xl.n, 1, 1, xl.c]);
    check::map("gate", gate.len(), gl);
}

/// The map of image `n` alone.
fn image_of((map, layout): (&[f32], MapLayout), n: usize) -> (&[f32], MapLayout) {
    (&map[n * layout.image_stride()..], MapLayout { n: 1, ..layout })
}

/// Runs `task(n, image, layout)` in parallel for the map of every image.
fn for_each_image(out: &mut [f32], layout: &MapLayout, task: impl Fn(usize, &mut [f32], MapLayout) + Sync) {
    if layout.is_empty() {
        return;
    }
    let one = MapLayout { n: 1, ..*layout };
    let end = out.len().min(layout.n * layout.image_stride());
    for_each_chunk(&mut out[..end], layout.image_stride(), 1, |n, image| task(n, image, one));
}

#[derive(Clone, Copy)]
struct Mul<'a> {
    x: Source<'a>,
    gate: Source<'a>,
    residual: Option<Source<'a>>,
    relu: bool,
    out: Sink<'a>,
}

impl Vectorwise<4> for Mul<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(self, simd: S, lanes: L, at: [usize; 4], _: usize) {
        let [x, gate, residual, out] = at;
        // SAFETY: the lanes are inside and ours by the contract.
        unsafe {
            let mut y = simd.mul(lanes.load(simd, self.x, x), lanes.load(simd, self.gate, gate));
            if let Some(other) = self.residual {
                y = simd.add(y, lanes.load(simd, other, residual));
            }
            lanes.store(simd, if self.relu { simd.relu(y) } else { y }, self.out, out);
        }
    }
}

#[derive(Clone, Copy)]
struct Products<'a> {
    dy: Source<'a>,
    x: Source<'a>,
}

impl Reduction<2> for Products<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(
        self,
        simd: S,
        lanes: L,
        [dy, x]: [usize; 2],
        _: usize,
        sums: Sums<'_>,
    ) {
        // SAFETY: the lanes are inside by the contract; there is one sum.
        unsafe {
            let (dy, x) = (lanes.load(simd, self.dy, dy), lanes.load(simd, self.x, x));
            sums.set(simd, 0, simd.fma(dy, x, sums.get(simd, 0)));
        }
    }
}

#[derive(Clone, Copy)]
struct SigmoidBackward<'a> {
    dy: Source<'a>,
    y: Source<'a>,
    dx: Sink<'a>,
}

impl Vectorwise<3> for SigmoidBackward<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(self, simd: S, lanes: L, [dy, y, dx]: [usize; 3], _: usize) {
        // SAFETY: the lanes are inside and ours by the contract.
        unsafe {
            let (dy, y) = (lanes.load(simd, self.dy, dy), lanes.load(simd, self.y, y));
            let slope = simd.mul(y, simd.sub(simd.splat(1.0), y));
            lanes.store(simd, simd.mul(dy, slope), self.dx, dx);
        }
    }
}

/// One row of the output of [`dropout`].
struct DropoutRow<'a> {
    draws: Draws,
    stream: u32,
    least: u32,
    scale: f32,
    first_pixel: usize,
    x: &'a [f32],
    xl: MapLayout,
    out: &'a mut [f32],
    ol: MapLayout,
}

impl Kernel for DropoutRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { xl, ol, least, scale, .. } = self;
        for column in 0..xl.w {
            let base = self.draws.pixel(self.stream, self.first_pixel + column);
            let x = &self.x[column * xl.pitch..][..xl.c];
            let out = &mut self.out[column * ol.pitch..][..xl.c];
            for channel in 0..xl.c {
                let kept = mix32(base.wrapping_add(channel_step(channel))) >= least;
                out[channel] = if kept { x[channel] * scale } else { 0.0 };
            }
        }
    }
}
