//! The maximum of every window.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "the loads and stores of one vector are one duty")]

use residuum_tensor::MapLayout;

use super::PoolShape;
use super::window::{Pooling, Spreading, Window, backward, forward};
use crate::Isa;
use crate::isa::{Simd, Sink, Source};
use crate::sweep::Lanes;

/// Maximum of every window; not-a-number wins over everything.
pub fn max_pool(isa: Isa, x: &[f32], xl: MapLayout, shape: &PoolShape, out: &mut [f32], ol: MapLayout) {
    shape.check(("x", x.len(), &xl), ("out", out.len(), &ol));
    forward(isa, Max { x: Source::new(x), xl }, shape, false, out, &ol);
}

/// Gradient of [`max_pool`]: each `dy` goes to the winner of its window, the first in reading order among
/// equal ones. In a window with a not-a-number the winner is one of its pixels, no matter which.
pub fn max_pool_backward(
    isa: Isa,
    dy: &[f32],
    dyl: MapLayout,
    x: &[f32],
    xl: MapLayout,
    shape: &PoolShape,
    dx: &mut [f32],
    dxl: MapLayout,
) {
    shape.check(("x", x.len(), &xl), ("dy", dy.len(), &dyl));
    shape.check(("dx", dx.len(), &dxl), ("dy", dy.len(), &dyl));
    backward(isa, Max { x: Source::new(x), xl }, shape, false, (Source::new(dy), dyl), (Sink::new(dx), dxl));
}

#[derive(Clone, Copy)]
struct Max<'a> {
    x: Source<'a>,
    xl: MapLayout,
}

impl Pooling for Max<'_> {
    /// A comparison drops a not-a-number; the sum of `min(x, 0)` keeps it, and no infinity can turn that
    /// sum into one.
    #[inline(always)]
    unsafe fn gather<S: Simd, L: Lanes>(self, simd: S, lanes: L, window: &Window, channel: usize) -> S::V {
        let mut largest = simd.splat(f32::NEG_INFINITY);
        let mut witness = simd.zero();
        for y in window.rows.clone() {
            let first = self.xl.offset(window.n, y, window.columns.start) + channel;
            for x in 0..window.columns.len() {
                let at = first + x * self.xl.pitch;
                // SAFETY: a pixel of the window, channels of the map.
                let x = unsafe { lanes.load(simd, self.x, at) };
                largest = simd.max(x, largest);
                witness = simd.add(witness, simd.min(simd.zero(), x));
            }
        }
        simd.add(largest, simd.max(simd.zero(), witness))
    }
}

impl Spreading for Max<'_> {
    #[inline(always)]
    unsafe fn spread<S: Simd, L: Lanes>(
        self,
        simd: S,
        lanes: L,
        window: &Window,
        channel: usize,
        dy: S::V,
        (dx, dxl): (Sink<'_>, &MapLayout),
    ) {
        // Numbers of pixels within the window are small enough to be exact as floats.
        let mut largest = simd.splat(f32::NEG_INFINITY);
        let (mut winner, mut number) = (simd.zero(), 0.0);
        for y in window.rows.clone() {
            let first = self.xl.offset(window.n, y, window.columns.start) + channel;
            for x in 0..window.columns.len() {
                let at = first + x * self.xl.pitch;
                // SAFETY: a pixel of the window, channels of the map.
                let x = unsafe { lanes.load(simd, self.x, at) };
                winner = simd.select_gt(x, largest, simd.splat(number), winner);
                largest = simd.max(x, largest);
                number += 1.0;
            }
        }
        number = 0.0;
        for y in window.rows.clone() {
            let first = dxl.offset(window.n, y, window.columns.start) + channel;
            for x in 0..window.columns.len() {
                let at = first + x * dxl.pitch;
                let reached = simd.select_gt(winner, simd.splat(number - 0.5), dy, simd.zero());
                let own = simd.select_gt(simd.splat(number + 0.5), winner, reached, simd.zero());
                // SAFETY: a pixel of the window, channels of the map that are ours by the contract.
                unsafe { lanes.store(simd, simd.add(lanes.load(simd, dx.source(), at), own), dx, at) };
                number += 1.0;
            }
        }
    }
}
