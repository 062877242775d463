//! From the products of tiles to the outputs, finished.

use super::axis::{Axis, OUTPUTS, Output};
use super::tiling::{Block, Tile};
use super::transform::{TransformOutput, Window};
use crate::conv::choose::WINOGRAD_BLOCK;
use crate::conv::gemm::{Ends, Epilogue};
use crate::conv::moments::{self, TakeSums};
use crate::conv::walk::{Phase, Walk};
use crate::isa::{Simd, Sink, Source};
use std::ops::Range;

/// The map that is written, and what is done to it before.
#[derive(Clone, Copy)]
pub(super) struct Outputs<'a> {
    pub(super) dst: Sink<'a>,
    pub(super) walk: Walk,
    pub(super) ends: Ends<'a>,
    /// Where the sums of a block of tiles go, if they are wanted.
    pub(super) sums: Option<moments::Block<'a>>,
}

/// The products of a tile with some columns.
#[derive(Clone, Copy)]
pub(super) struct TileProducts<'a> {
    pub(super) src: Source<'a>,
    /// Where the first frequency begins, and the floats from a frequency to the next.
    pub(super) start: usize,
    pub(super) stride: usize,
    /// First column in the map, and how many there are.
    pub(super) first: usize,
    pub(super) columns: usize,
}

impl<'a> Outputs<'a> {
    /// The outputs of a block of tiles, of which there are sums in `sums` where they are wanted.
    pub(super) fn new(
        dst: Sink<'a>,
        walk: Walk,
        epilogue: &Epilogue<'a>,
        columns: usize,
        sums: Option<Sink<'a>>,
        block: usize,
    ) -> Self {
        let sums = sums.map(|sums| moments::Block { sums, index: block, channels: columns });
        Self { dst, walk, ends: epilogue.ends(Phase::ALL, 0..columns), sums }
    }

    /// Takes the sums of some columns of all tiles of the block, if they are wanted.
    #[inline(always)]
    pub(super) fn take_sums<S: Simd>(&self, simd: S, tiles: &Block, columns: Range<usize>) {
        let Some(block) = self.sums else { return };
        let (mut places, mut count) = ([0; WINOGRAD_BLOCK * OUTPUTS * OUTPUTS], 0);
        for tile in tiles.tiles() {
            let Window { place, row, pixel, height, width } = tile.window(&self.walk);
            for y in 0..height {
                for x in 0..width {
                    places[count] = place + y * row + x * pixel;
                    count += 1;
                }
            }
        }
        let (map, places) = (self.dst.source(), &places[..count]);
        simd.call(TakeSums { map, places, shift: 0, channels: columns, block });
    }

    /// Transforms the products of the first tile, while the place of the second is fetched.
    #[inline(always)]
    pub(super) fn transform<S: Simd, const P: usize>(
        &self,
        simd: S,
        products: TileProducts<'_>,
        [tile, next]: [&Tile; 2],
    ) where
        Output: Axis<P, OUTPUTS>,
    {
        let (mut residual, mut mask) = (None, None);
        if let Some((map, walk)) = &self.ends.residual {
            residual = Some((*map, tile.window(walk)));
        }
        if let Some((map, walk)) = &self.ends.mask {
            mask = Some((*map, tile.window(walk)));
        }
        simd.call(TransformOutput::<P> {
            src: products.src,
            start: products.start,
            stride: products.stride,
            first: products.first,
            columns: products.columns,
            bias: self.ends.bias,
            residual,
            mask,
            relu: self.ends.relu,
            dst: self.dst,
            window: tile.window(&self.walk),
            next: next.window(&self.walk),
        });
    }
}
