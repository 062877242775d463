//! Kernels that look at one element at a time, over maps in the engine's layout.
//!
//! Every function takes slices that start at the base of their map and layouts that agree in images, rows,
//! columns and channels; pitch and border may differ. The border of an output is never written. A slice that
//! is too short and shapes that disagree are programming errors: the functions panic and say which.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "the loads and stores of one vector are one duty")]

use residuum_tensor::MapLayout;

use crate::isa::{Simd, Sink, Source};
use crate::sweep::{Lanes, Sweep, Vectorwise};
use crate::{Isa, check};

/// `out = relu(x)`: `x` where it is positive or not a number, else 0.
pub fn relu(isa: Isa, x: &[f32], xl: MapLayout, out: &mut [f32], ol: MapLayout) {
    check_maps([("x", x.len(), &xl), ("out", out.len(), &ol)]);
    Sweep::new(isa, [xl, ol]).apply(Relu { x: Source::new(x), out: Sink::new(out) });
}

/// Gradient of [`relu`] from its output `y`, plus a second gradient where there is one:
/// `dx = (dy where y > 0, else 0) + residual`.
pub fn relu_backward(
    isa: Isa,
    dy: &[f32],
    dyl: MapLayout,
    y: &[f32],
    yl: MapLayout,
    residual: Option<(&[f32], MapLayout)>,
    dx: &mut [f32],
    dxl: MapLayout,
) {
    let (residual, rl) = optional(residual, dyl);
    check_maps([("dy", dy.len(), &dyl), ("y", y.len(), &yl), ("dx", dx.len(), &dxl)]);
    check_optional("residual", residual, &rl, &dyl);
    let op = ReluBackward { dy: Source::new(dy), y: Source::new(y), residual, dx: Sink::new(dx) };
    Sweep::new(isa, [dyl, yl, rl, dxl]).apply(op);
}

/// `out = a + b`, then [`relu`] where asked for.
pub fn add(
    isa: Isa,
    a: &[f32],
    al: MapLayout,
    b: &[f32],
    bl: MapLayout,
    relu: bool,
    out: &mut [f32],
    ol: MapLayout,
) {
    check_maps([("a", a.len(), &al), ("b", b.len(), &bl), ("out", out.len(), &ol)]);
    let op = Add { a: Source::new(a), b: Source::new(b), relu, out: Sink::new(out) };
    Sweep::new(isa, [al, bl, ol]).apply(op);
}

/// `out = x`, from one layout to another.
pub fn copy(isa: Isa, x: &[f32], xl: MapLayout, out: &mut [f32], ol: MapLayout) {
    check_maps([("x", x.len(), &xl), ("out", out.len(), &ol)]);
    Sweep::new(isa, [xl, ol]).apply(Move { x: Source::new(x), out: Sink::new(out) });
}

/// A map that may be missing: without it, the layout of another one keeps its place in the walk.
pub(crate) fn optional(
    map: Option<(&[f32], MapLayout)>,
    other: MapLayout,
) -> (Option<Source<'_>>, MapLayout) {
    map.map_or((None, other), |(floats, layout)| (Some(Source::new(floats)), layout))
}

/// Panics unless every map is held by its slice and has the shape of the first.
#[track_caller]
pub(crate) fn check_maps<const M: usize>(maps: [(&str, usize, &MapLayout); M]) {
    let first = maps[0].2;
    for (what, len, layout) in maps {
        check::shape(what, layout, [first.n, first.h, first.w, first.c]);
        check::map(what, len, layout);
    }
}

/// The same for a map that may be missing.
#[track_caller]
pub(crate) fn check_optional(what: &str, map: Option<Source<'_>>, layout: &MapLayout, first: &MapLayout) {
    check::shape(what, layout, [first.n, first.h, first.w, first.c]);
    if let Some(map) = map {
        check::map(what, map.len(), layout);
    }
}

#[derive(Clone, Copy)]
struct Relu<'a> {
    x: Source<'a>,
    out: Sink<'a>,
}

impl Vectorwise<2> for Relu<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(self, simd: S, lanes: L, [x, out]: [usize; 2], _: usize) {
        // SAFETY: the lanes are inside and ours by the contract.
        unsafe {
            let x = lanes.load(simd, self.x, x);
            lanes.store(simd, simd.relu(x), self.out, out);
        }
    }
}

#[derive(Clone, Copy)]
struct ReluBackward<'a> {
    dy: Source<'a>,
    y: Source<'a>,
    residual: Option<Source<'a>>,
    dx: Sink<'a>,
}

impl Vectorwise<4> for ReluBackward<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(self, simd: S, lanes: L, at: [usize; 4], _: usize) {
        let [dy, y, residual, dx] = at;
        // SAFETY: the lanes are inside and ours by the contract.
        unsafe {
            let y = lanes.load(simd, self.y, y);
            let mut g = simd.select_gt(y, simd.zero(), lanes.load(simd, self.dy, dy), simd.zero());
            if let Some(other) = self.residual {
                g = simd.add(g, lanes.load(simd, other, residual));
            }
            lanes.store(simd, g, self.dx, dx);
        }
    }
}

#[derive(Clone, Copy)]
struct Add<'a> {
    a: Source<'a>,
    b: Source<'a>,
    relu: bool,
    out: Sink<'a>,
}

impl Vectorwise<3> for Add<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(self, simd: S, lanes: L, [a, b, out]: [usize; 3], _: usize) {
        // SAFETY: the lanes are inside and ours by the contract.
        unsafe {
            let sum = simd.add(lanes.load(simd, self.a, a), lanes.load(simd, self.b, b));
            lanes.store(simd, if self.relu { simd.relu(sum) } else { sum }, self.out, out);
        }
    }
}

#[derive(Clone, Copy)]
struct Move<'a> {
    x: Source<'a>,
    out: Sink<'a>,
}

impl Vectorwise<2> for Move<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, L: Lanes>(self, simd: S, lanes: L, [x, out]: [usize; 2], _: usize) {
        // SAFETY: the lanes are inside and ours by the contract.
        unsafe { lanes.store(simd, lanes.load(simd, self.x, x), self.out, out) }
    }
}
