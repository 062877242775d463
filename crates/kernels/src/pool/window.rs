//! The walk over windows that maximum and mean share.

use std::ops::Range;

use residuum_tensor::MapLayout;

use super::PoolShape;
use crate::Isa;
use crate::crew::for_each;
use crate::isa::{Kernel, Simd, Sink, Source};
use crate::rearrange::par_rows;
use crate::sweep::{All, First, Lanes};

/// Channels of one image that a backward task owns.
const CHANNEL_BLOCK: usize = 64;

/// The part of one window that lies inside the image.
#[derive(Clone)]
pub(super) struct Window {
    /// Image.
    pub(super) n: usize,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    /// 1 / the number of values that the mean divides by.
    pub(super) share: f32,
}

/// What becomes of a window.
pub(super) trait Pooling: Copy + Send + Sync {
    /// The result of the window for the channels from `channel` on.
    ///
    /// # Safety
    /// The lanes from `channel` on are channels of the map, the window lies inside the image.
    unsafe fn gather<S: Simd, L: Lanes>(self, simd: S, lanes: L, window: &Window, channel: usize) -> S::V;
}

/// What becomes of the gradient of a window.
pub(super) trait Spreading: Copy + Send + Sync {
    /// Adds to `dx` what the gradient `dy` of the window's result means for its pixels.
    ///
    /// # Safety
    /// As for [`Pooling::gather`], and no other thread touches these channels of the image.
    unsafe fn spread<S: Simd, L: Lanes>(
        self,
        simd: S,
        lanes: L,
        window: &Window,
        channel: usize,
        dy: S::V,
        dx: (Sink<'_>, &MapLayout),
    );
}

/// Pools every window; the caller has checked maps and shape.
pub(super) fn forward(
    isa: Isa,
    op: impl Pooling,
    shape: &PoolShape,
    count_padding: bool,
    out: &mut [f32],
    ol: &MapLayout,
) {
    par_rows(out, ol, |n, y, out| isa.run(Row { op, shape, count_padding, n, y, out, pitch: ol.pitch }));
}

/// Spreads the gradient of every window over zeroed pixels; the caller has checked maps and shape.
pub(super) fn backward(
    isa: Isa,
    op: impl Spreading,
    shape: &PoolShape,
    count_padding: bool,
    (dy, dyl): (Source<'_>, MapLayout),
    (dx, dxl): (Sink<'_>, MapLayout),
) {
    if dxl.is_empty() {
        return;
    }
    let blocks = shape.c.div_ceil(CHANNEL_BLOCK);
    for_each(shape.n * blocks, 1, |index| {
        let (n, first) = (index / blocks, index % blocks * CHANNEL_BLOCK);
        let channels = first..(first + CHANNEL_BLOCK).min(shape.c);
        isa.run(Block { op, shape, count_padding, n, channels, dy, dyl, dx, dxl });
    });
}

/// One row of the output.
struct Row<'a, P> {
    op: P,
    shape: &'a PoolShape,
    count_padding: bool,
    n: usize,
    y: usize,
    out: &'a mut [f32],
    pitch: usize,
}

impl<P: Pooling> Kernel for Row<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let c = self.shape.c;
        for x in 0..self.shape.out_w() {
            let window = self.shape.window(self.n, self.y, x, self.count_padding);
            let out = &mut self.out[x * self.pitch..][..c];
            let mut channel = 0;
            while channel + S::LANES <= c {
                // SAFETY: these are channels of the map, and the shape was checked against it.
                let result = unsafe { self.op.gather(simd, All, &window, channel) };
                simd.store(result, &mut out[channel..]);
                channel += S::LANES;
            }
            if channel < c {
                // SAFETY: the same for those that are left.
                let result = unsafe { self.op.gather(simd, First(c - channel), &window, channel) };
                simd.store_part(result, &mut out[channel..]);
            }
        }
    }
}

/// A block of channels of one image.
struct Block<'a, P> {
    op: P,
    shape: &'a PoolShape,
    count_padding: bool,
    n: usize,
    channels: Range<usize>,
    dy: Source<'a>,
    dyl: MapLayout,
    dx: Sink<'a>,
    dxl: MapLayout,
}

impl<P: Spreading> Kernel for Block<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // A row is cleared when its first window comes, while it stays in the cache for it.
        let mut cleared = 0;
        for y in 0..self.shape.out_h() {
            let end = self.shape.rows(y).end.max(cleared);
            self.clear(cleared..end);
            cleared = end;
            for x in 0..self.shape.out_w() {
                let window = self.shape.window(self.n, y, x, self.count_padding);
                let dy = self.dyl.offset(self.n, y, x);
                let mut channel = self.channels.start;
                while channel + S::LANES <= self.channels.end {
                    self.one(simd, All, &window, dy, channel);
                    channel += S::LANES;
                }
                if channel < self.channels.end {
                    self.one(simd, First(self.channels.end - channel), &window, dy, channel);
                }
            }
        }
        self.clear(cleared..self.shape.h);
    }
}

impl<P: Spreading> Block<'_, P> {
    fn clear(&self, rows: Range<usize>) {
        for y in rows {
            for x in 0..self.shape.w {
                let at = self.dxl.offset(self.n, y, x) + self.channels.start;
                // SAFETY: these channels of this image belong to this task alone.
                unsafe { self.dx.slice(at, self.channels.len()) }.fill(0.0);
            }
        }
    }

    #[inline(always)]
    fn one<S: Simd, L: Lanes>(&self, simd: S, lanes: L, window: &Window, dy: usize, channel: usize) {
        // SAFETY: the lanes are channels of the map, whose shape was checked.
        let dy = unsafe { lanes.load(simd, self.dy, dy + channel) };
        // SAFETY: the same, and these channels of this image belong to this task alone.
        unsafe { self.op.spread(simd, lanes, window, channel, dy, (self.dx, &self.dxl)) }
    }
}

impl PoolShape {
    fn window(&self, n: usize, y: usize, x: usize, count_padding: bool) -> Window {
        let share = 1.0 / self.divisor(y, x, count_padding) as f32;
        Window { n, rows: self.rows(y), columns: self.columns(x), share }
    }
}
