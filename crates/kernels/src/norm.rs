//! Batch normalisation, forward and backward, as passes over maps in the engine's layout.
//!
//! ```text
//! training   mean, var = moments(x)                       s = gamma / √(var + eps)
//!            y = affine(x, s, beta - mean · s)
//! backward   Σ g, Σ g · x̂ = norm_backward_sums(dy, x)      m pixels, k = 1 / √(var + eps)
//!            dx = a · g + b · x + d,    a = s,   b = -s · k · Σ(g · x̂) / m,   d = -s · Σ g / m - b · mean
//! ```
//!
//! What a convolution writes it can sum on the way; [`conv::moments`](crate::conv::moments()) takes the place of a pass then.
//!
//! `g` is `dy` where the ReLU behind the normalisation let its input pass. Sums are those of segments of
//! pixels in `f32`, continued in `f64` in a fixed order. For slices and shapes the rules of
//! [`elementwise`](crate::elementwise) hold.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "the loads and stores of one vector are one duty")]

use residuum_tensor::MapLayout;

use crate::elementwise::{check_maps, check_optional, optional};
use crate::isa::{Simd, Sink, Source};
use crate::sweep::{Lanes, Reduction, Sums, Sweep, Vectorwise};
use crate::{Isa, check};

/// Pixels whose mean is the point that variances are taken around until the mean is known.
const PIVOT_PIXELS: usize = 16;

/// Mean and biased variance of every channel, in one pass over `x`.
pub fn moments(isa: Isa, x: &[f32], layout: MapLayout, mean: &mut [f32], var: &mut [f32]) {
    check_maps([("x", x.len(), &layout)]);
    check::length("mean", mean.len(), layout.c);
    check::length("var", var.len(), layout.c);
    let sweep = Sweep::new(isa, [layout]);
    let pivots = pivots(x, &layout);
    let table = sweep.table(&pivots);
    let sums = sweep.reduce::<2>(Moments { x: Source::new(x), pivot: Source::new(&table) });
    let count = layout.pixels() as f64;
    for channel in 0..layout.c {
        let shift = sums[channel] / count;
        mean[channel] = (f64::from(pivots[channel]) + shift) as f32;
        let spread = sums[layout.c + channel] / count - shift * shift;
        // Rounding may leave a constant channel below zero; not-a-number stays.
        var[channel] = if spread < 0.0 { 0.0 } else { spread as f32 };
    }
}

/// The mean of a few pixels, spread evenly over the batch.
fn pivots(x: &[f32], layout: &MapLayout) -> Vec<f32> {
    let mut pivots = vec![0.0; layout.c];
    let count = layout.pixels().min(PIVOT_PIXELS);
    for sample in 0..count {
        let pixel = sample * layout.pixels() / count;
        let (row, column) = (pixel / layout.w, pixel % layout.w);
        let at = layout.offset(row / layout.h, row % layout.h, column);
        pivots.iter_mut().zip(&x[at..]).for_each(|(pivot, x)| *pivot += x);
    }
    for pivot in &mut pivots {
        *pivot /= count as f32;
    }
    pivots
}

/// `out = x · scale[channel] + shift[channel] + residual`, then ReLU where asked for.
pub fn affine(
    isa: Isa,
    x: &[f32],
    xl: MapLayout,
    scale: &[f32],
    shift: &[f32],
    residual: Option<(&[f32], MapLayout)>,
    relu: bool,
    out: &mut [f32],
    ol: MapLayout,
) {
    let (residual, rl) = optional(residual, xl);
    check_maps([("x", x.len(), &xl), ("out", out.len(), &ol)]);
    check_optional("residual", residual, &rl, &xl);
    check::length("scale", scale.len(), xl.c);
    check::length("shift", shift.len(), xl.c);
    let sweep = Sweep::new(isa, [xl, rl, ol]);
    let (scale, shift) = (sweep.table(scale), sweep.table(shift));
    let [scale, shift] = [&scale, &shift].map(|table| Source::new(table));
    sweep.apply(Affine { x: Source::new(x), scale, shift, residual, relu, out: Sink::new(out) });
}

/// `sums[..c] = Σ g` (beta's gradient) and `sums[c..] = Σ g · (x - mean) · inv_std` (gamma's), where `g` is
/// `dy` at the pixels and channels with `mask > 0`, and `dy` everywhere without a mask.
pub fn norm_backward_sums(
    isa: Isa,
    dy: &[f32],
    dyl: MapLayout,
    mask: Option<(&[f32], MapLayout)>,
    x: &[f32],
    xl: MapLayout,
    mean: &[f32],
    inv_std: &[f32],
    sums: &mut [f32],
) {
    let (mask, ml) = optional(mask, dyl);
    check_maps([("dy", dy.len(), &dyl), ("x", x.len(), &xl)]);
    check_optional("mask", mask, &ml, &dyl);
    check::length("mean", mean.len(), xl.c);
    check::length("inv_std", inv_std.len(), xl.c);
    check::length("sums", sums.len(), 2 * xl.c);
    let sweep = Sweep::new(isa, [dyl, ml, xl]);
    let mean = sweep.table(mean);
    let g = Masked { dy: Source::new(dy), mask };
    let found = sweep.reduce::<2>(BackwardSums { g, x: Source::new(x), mean: Source::new(&mean) });
    let (sum, weighted) = found.split_at(xl.c);
    sums.iter_mut().zip(sum).for_each(|(out, &sum)| *out = sum as f32);
    for ((out, &sum), &inv_std) in sums[xl.c..].iter_mut().zip(weighted).zip(inv_std) {
        *out = (sum * f64::from(inv_std)) as f32;
    }
}

/// `dx = a[channel] · g + b[channel] · x + d[channel] + residual`, with `g` as in [`norm_backward_sums`],
/// which goes to `masked_out` as well where a shortcut needs it.
pub fn norm_backward_apply(
    isa: Isa,
    dy: &[f32],
    dyl: MapLayout,
    mask: Option<(&[f32], MapLayout)>,
    x: &[f32],
    xl: MapLayout,
    a: &[f32],
    b: &[f32],
    d: &[f32],
    residual: Option<(&[f32], MapLayout)>,
    masked_out: Option<(&mut [f32], MapLayout)>,
    dx: &mut [f32],
    dxl: MapLayout,
) {
    let ((mask, ml), (residual, rl)) = (optional(mask, dyl), optional(residual, dyl));
    let (masked_out, gl) = masked_out.map_or((None, dyl), |(g, layout)| (Some(Sink::new(g)), layout));
    check_maps([("dy", dy.len(), &dyl), ("x", x.len(), &xl), ("dx", dx.len(), &dxl)]);
    check_optional("mask", mask, &ml, &dyl);
    check_optional("residual", residual, &rl, &dyl);
    check_optional("masked_out", masked_out.map(Sink::source), &gl, &dyl);
    for (what, slice) in [("a", a), ("b", b), ("d", d)] {
        check::length(what, slice.len(), xl.c);
    }
    let sweep = Sweep::new(isa, [dyl, ml, xl, rl, gl, dxl]);
    let tables = [a, b, d].map(|values| sweep.table(values));
    let [a, b, d] = [&tables[0], &tables[1], &tables[2]].map(|table| Source::new(table));
    let g = Masked { dy: Source::new(dy), mask };
    sweep.apply(BackwardApply { g, x: Source::new(x), a, b, d, residual, masked_out, dx: Sink::new(dx) });
}

/// Sum of every channel over all pixels: the gradient of a bias.
pub fn column_sums(isa: Isa, x: &[f32], layout: MapLayout, sums: &mut [f32]) {
    check_maps([("x", x.len(), &layout)]);
    check::length("sums", sums.len(), layout.c);
    let found = Sweep::new(isa, [layout]).reduce::<1>(ColumnSums { x: Source::new(x) });
    sums.iter_mut().zip(found).for_each(|(out, sum)| *out = sum as f32);
}

#[derive(Clone, Copy)]
struct Moments<'a> {
    x: Source<'a>,
    pivot: Source<'a>,
}

impl Reduction<1> for Moments<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(
        self,
        simd: S,
        lanes: L,
        [x]: [usize; 1],
        phase: usize,
        sums: Sums<'_>,
    ) {
        // SAFETY: the lanes are inside by the contract; there are two sums.
        unsafe {
            // Lanes that take no part are zero in both operands.
            let d = simd.sub(lanes.load(simd, self.x, x), lanes.load(simd, self.pivot, phase));
            sums.set(simd, 0, simd.add(sums.get(simd, 0), d));
            sums.set(simd, 1, simd.fma(d, d, sums.get(simd, 1)));
        }
    }
}

#[derive(Clone, Copy)]
struct Affine<'a> {
    x: Source<'a>,
    scale: Source<'a>,
    shift: Source<'a>,
    residual: Option<Source<'a>>,
    relu: bool,
    out: Sink<'a>,
}

impl Vectorwise<3> for Affine<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(self, simd: S, lanes: L, at: [usize; 3], phase: usize) {
        let [x, residual, out] = at;
        // SAFETY: the lanes are inside and ours by the contract, the phase inside the tables.
        unsafe {
            let (scale, shift) = (simd.load_at(self.scale, phase), simd.load_at(self.shift, phase));
            let mut y = simd.fma(lanes.load(simd, self.x, x), scale, shift);
            if let Some(other) = self.residual {
                y = simd.add(y, lanes.load(simd, other, residual));
            }
            lanes.store(simd, if self.relu { simd.relu(y) } else { y }, self.out, out);
        }
    }
}

/// A gradient seen through the ReLU in front of it.
#[derive(Clone, Copy)]
struct Masked<'a> {
    dy: Source<'a>,
    mask: Option<Source<'a>>,
}

impl Masked<'_> {
    /// # Safety
    /// The lanes are inside both maps.
    #[inline(always)]
    unsafe fn load<S: Simd, L: Lanes>(self, simd: S, lanes: L, dy: usize, mask: usize) -> S::V {
        // SAFETY: the caller's duty.
        unsafe {
            let dy = lanes.load(simd, self.dy, dy);
            match self.mask {
                Some(map) => simd.select_gt(lanes.load(simd, map, mask), simd.zero(), dy, simd.zero()),
                None => dy,
            }
        }
    }
}

#[derive(Clone, Copy)]
struct BackwardSums<'a> {
    g: Masked<'a>,
    x: Source<'a>,
    mean: Source<'a>,
}

impl Reduction<3> for BackwardSums<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(
        self,
        simd: S,
        lanes: L,
        [dy, mask, x]: [usize; 3],
        phase: usize,
        sums: Sums<'_>,
    ) {
        // SAFETY: the lanes are inside by the contract; there are two sums.
        unsafe {
            let g = self.g.load(simd, lanes, dy, mask);
            let d = simd.sub(lanes.load(simd, self.x, x), lanes.load(simd, self.mean, phase));
            sums.set(simd, 0, simd.add(sums.get(simd, 0), g));
            sums.set(simd, 1, simd.fma(g, d, sums.get(simd, 1)));
        }
    }
}

#[derive(Clone, Copy)]
struct BackwardApply<'a> {
    g: Masked<'a>,
    x: Source<'a>,
    a: Source<'a>,
    b: Source<'a>,
    d: Source<'a>,
    residual: Option<Source<'a>>,
    masked_out: Option<Sink<'a>>,
    dx: Sink<'a>,
}

impl Vectorwise<6> for BackwardApply<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(self, simd: S, lanes: L, at: [usize; 6], phase: usize) {
        let [dy, mask, x, residual, masked_out, dx] = at;
        // SAFETY: the lanes are inside and ours by the contract, the phase inside the tables.
        unsafe {
            let g = self.g.load(simd, lanes, dy, mask);
            if let Some(out) = self.masked_out {
                lanes.store(simd, g, out, masked_out);
            }
            let x = lanes.load(simd, self.x, x);
            let base = simd.fma(simd.load_at(self.b, phase), x, simd.load_at(self.d, phase));
            let mut result = simd.fma(simd.load_at(self.a, phase), g, base);
            if let Some(other) = self.residual {
                result = simd.add(result, lanes.load(simd, other, residual));
            }
            lanes.store(simd, result, self.dx, dx);
        }
    }
}

/// Adds up the elements themselves.
#[derive(Clone, Copy)]
pub(crate) struct ColumnSums<'a> {
    pub(crate) x: Source<'a>,
}

impl Reduction<1> for ColumnSums<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(self, simd: S, lanes: L, [x]: [usize; 1], _: usize, sums: Sums<'_>) {
        // SAFETY: the lanes are inside by the contract; there is one sum.
        unsafe { sums.set(simd, 0, simd.add(sums.get(simd, 0), lanes.load(simd, self.x, x))) }
    }
}
