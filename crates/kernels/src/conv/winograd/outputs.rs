//! From the products of tiles to the outputs, finished.

use super::axis::{Axis, OUTPUTS, Output};
use super::tiling::{Block, Tile};
use super::transform::{TransformOutput, Window};
use crate::conv::choose::WINOGRAD_BLOCK;
use crate::conv::gemm::{Ends, Operands};
use crate::conv::sums::{Sums, Written};
use crate::conv::walk::{Phase, Walk};
use crate::isa::{Simd, Sink, Source};
use std::ops::Range;

/// Most pixels of a block.
const BLOCK_PIXELS: usize = WINOGRAD_BLOCK * OUTPUTS * OUTPUTS;

/// The map that is written, and what is done to it before.
#[derive(Clone, Copy)]
pub(super) struct Outputs<'a> {
    pub(super) dst: Sink<'a>,
    pub(super) walk: Walk,
    pub(super) ends: Ends<'a>,
    pub(super) sums: Option<Sums<'a>>,
    /// Which block of tiles this is.
    pub(super) block: usize,
    /// Channels of the map.
    pub(super) columns: usize,
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
    /// The outputs of a block of tiles.
    pub(super) fn new(operands: &Operands<'a>, walk: Walk, columns: usize, block: usize) -> Self {
        let Operands { epilogue, dst, sums, .. } = *operands;
        Self { dst, walk, ends: epilogue.ends(Phase::ALL, 0..columns), sums, block, columns }
    }

    /// The map that is read for the sums, if there is one.
    pub(super) fn summed_with(&self) -> Option<(Source<'a>, Walk)> {
        let (map, layout) = self.sums?.other()?;
        Some((Source::new(map), Phase::ALL.walk(&layout)))
    }

    /// Takes the sums of some columns of all tiles of the block, if they are wanted.
    #[inline(always)]
    pub(super) fn take_sums<S: Simd>(&self, simd: S, tiles: &Block, columns: Range<usize>) {
        let Some(sums) = self.sums else { return };
        let mut places = [0; BLOCK_PIXELS];
        let places = places_of(tiles, &self.walk, &mut places);
        let mut other_places;
        let others: &[usize] = match self.summed_with() {
            Some((_, walk)) => {
                other_places = [0; BLOCK_PIXELS];
                places_of(tiles, &walk, &mut other_places)
            }
            None => &[],
        };
        let written = Written {
            map: self.dst,
            places,
            others,
            shift: 0,
            channels: columns,
            sums,
            block: self.block,
            row: self.columns,
        };
        written.take(simd);
    }

    /// Transforms the products of the first tile, while the place of the second is fetched.
    #[inline(always)]
    pub(super) fn transform<S: Simd, const P: usize, const M: usize>(
        &self,
        simd: S,
        products: TileProducts<'_>,
        [tile, next]: [&Tile; 2],
    ) where
        Output: Axis<P, M>,
    {
        let (mut residual, mut mask) = (None, None);
        if let Some((map, walk)) = &self.ends.residual {
            residual = Some((*map, tile.window(walk)));
        }
        if let Some((map, walk)) = &self.ends.mask {
            mask = Some((*map, tile.window(walk)));
        }
        simd.call(TransformOutput::<P, M> {
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

/// The places of the pixels of all tiles in a map.
fn places_of<'a>(tiles: &Block, walk: &Walk, places: &'a mut [usize; BLOCK_PIXELS]) -> &'a [usize] {
    let mut count = 0;
    for tile in tiles.tiles() {
        let Window { place, row, pixel, height, width } = tile.window(walk);
        for y in 0..height {
            for x in 0..width {
                places[count] = place + y * row + x * pixel;
                count += 1;
            }
        }
    }
    &places[..count]
}
