//! The inputs of tiles: where they lie in a map, and their way to the points.

use super::axis::{Axis, ToPoints};
use super::form::Form;
use super::tiling::Tile;
use super::transform::{Normalized, TransformCells, TransformTile, Window, missing};
use crate::conv::gemm::Extent;
use crate::conv::normalize::Normalization;
use crate::conv::walk::Walk;
use crate::isa::{Simd, Sink, Source};
use std::marker::PhantomData;
use std::ops::Range;

/// The map of a convolution's inputs, as its windows see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inputs {
    pub(super) form: Form,
    /// Rows and columns of the window.
    pub(super) kernel: usize,
    /// Where the windows begin.
    pub(super) walk: Walk,
    /// Floats from a row to the next, and from a pixel to the next.
    pub(super) steps: [usize; 2],
    /// Where the map may be normalised.
    pub(super) extent: Option<Extent>,
}

/// A map, and what is done to it first.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    pub(super) map: Source<'a>,
    pub(super) norm: Option<Normalization<'a>>,
}

/// Where the transformed inputs of a tile go.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) memory: Sink<'a>,
    /// Where the first frequency begins, and the floats from a frequency to the next.
    pub(super) start: usize,
    pub(super) stride: usize,
    /// Floats to write of each frequency, whole vectors.
    pub(super) row: usize,
}

impl Inputs {
    /// Transforms some channels of a phase of the first tile by `P` points, while the second is fetched. Phases that share
    /// a vector are transformed together, all of their channels.
    #[inline(always)]
    pub(super) fn transform<S: Simd, const P: usize>(
        &self,
        simd: S,
        src: Pixels<'_>,
        tiles: [&Tile; 2],
        phase: usize,
        channels: &Range<usize>,
        target: Target<'_>,
    ) where
        ToPoints<P>: Axis<P, P>,
    {
        match self.form {
            Form::Pixels { .. } => self.phase::<S, P, 0>(simd, src, tiles, channels, target),
            Form::Cells { .. } => match missing(self.form.phases()[phase]) {
                0 => self.phase::<S, P, 0>(simd, src, tiles, channels, target),
                1 => self.phase::<S, P, 1>(simd, src, tiles, channels, target),
                2 => self.phase::<S, P, 2>(simd, src, tiles, channels, target),
                _ => self.phase::<S, P, 3>(simd, src, tiles, channels, target),
            },
            Form::SmallCells { .. } => self.cells::<S, P>(simd, src.map, tiles[0], channels.len(), target),
        }
    }

    /// Transforms what the outputs of a tile need of a phase, and no more: it lies inside the map and its border.
    #[inline(always)]
    fn phase<S: Simd, const P: usize, const MISSING: usize>(
        &self,
        simd: S,
        src: Pixels<'_>,
        [tile, next]: [&Tile; 2],
        channels: &Range<usize>,
        target: Target<'_>,
    ) where
        ToPoints<P>: Axis<P, P>,
    {
        let [above, left] = [MISSING / 2, MISSING % 2];
        let first = above * self.steps[0] + left * self.steps[1] + channels.start;
        let window = tile.window(&self.walk).grown(P - self.form.outputs()).shifted(first);
        let [height, width] = [window.height - above, window.width - left];
        let norm = src.norm.zip(self.extent).map(|(norm, extent)| Normalized {
            by: norm.tables(channels.start),
            inside: tile.inside(&extent, [height, width]),
        });
        simd.call(TransformTile::<ToPoints<P>, P, P, MISSING> {
            to: PhantomData,
            src: src.map,
            norm,
            window: Window { height, width, ..window },
            next: next.window(&self.walk).shifted(first),
            channels: channels.len(),
            dst: target.memory,
            start: target.start,
            stride: target.stride,
            row: target.row,
        });
    }

    /// The same of cells whose phases share a vector.
    #[inline(always)]
    fn cells<S: Simd, const P: usize>(
        &self,
        simd: S,
        src: Source<'_>,
        tile: &Tile,
        channels: usize,
        target: Target<'_>,
    ) where
        ToPoints<P>: Axis<P, P>,
    {
        let outputs = tile.window(&self.walk);
        let (height, width) = (2 * (outputs.height - 1) + self.kernel, 2 * (outputs.width - 1) + self.kernel);
        simd.call(TransformCells::<P> {
            src,
            window: Window { place: outputs.place, row: self.steps[0], pixel: self.steps[1], height, width },
            channels,
            dst: target.memory,
            start: target.start,
            stride: target.stride,
        });
    }
}
