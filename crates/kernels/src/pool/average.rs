//! The mean of every window.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "the loads and stores of one vector are one duty")]

use residuum_tensor::MapLayout;

use super::PoolShape;
use super::window::{Pooling, Spreading, Window, backward, forward};
use crate::Isa;
use crate::isa::{Simd, Sink, Source};
use crate::sweep::Lanes;

/// Mean of every window, the zeros of the padding counted where `count_padding`.
pub fn avg_pool(
    isa: Isa,
    x: &[f32],
    xl: MapLayout,
    shape: &PoolShape,
    count_padding: bool,
    out: &mut [f32],
    ol: MapLayout,
) {
    shape.check(("x", x.len(), &xl), ("out", out.len(), &ol));
    forward(isa, Mean { x: Source::new(x), xl }, shape, count_padding, out, &ol);
}

/// Gradient of [`avg_pool`].
pub fn avg_pool_backward(
    isa: Isa,
    dy: &[f32],
    dyl: MapLayout,
    shape: &PoolShape,
    count_padding: bool,
    dx: &mut [f32],
    dxl: MapLayout,
) {
    shape.check(("dx", dx.len(), &dxl), ("dy", dy.len(), &dyl));
    backward(isa, Share, shape, count_padding, (Source::new(dy), dyl), (Sink::new(dx), dxl));
}

#[derive(Clone, Copy)]
struct Mean<'a> {
    x: Source<'a>,
    xl: MapLayout,
}

impl Pooling for Mean<'_> {
    #[inline(always)]
    unsafe fn gather<S: Simd, L: Lanes>(self, simd: S, lanes: L, window: &Window, channel: usize) -> S::V {
        let mut sum = simd.zero();
        for y in window.rows.clone() {
            for x in window.columns.clone() {
                let at = self.xl.offset(window.n, y, x) + channel;
                // SAFETY: a pixel of the window, channels of the map.
                sum = simd.add(sum, unsafe { lanes.load(simd, self.x, at) });
            }
        }
        simd.mul(sum, simd.splat(window.share))
    }
}

/// Every pixel of the window gets the same share.
#[derive(Clone, Copy)]
struct Share;

impl Spreading for Share {
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
        let share = simd.mul(dy, simd.splat(window.share));
        for y in window.rows.clone() {
            for x in window.columns.clone() {
                let at = dxl.offset(window.n, y, x) + channel;
                // SAFETY: a pixel of the window, channels of the map that are ours by the contract.
                unsafe { lanes.store(simd, simd.add(lanes.load(simd, dx.source(), at), share), dx, at) };
            }
        }
    }
}
