//! From the products of tiles to the outputs, finished.

use super::axis::{Axis, OUTPUTS, Output};
use super::tiling::Tile;
use super::transform::TransformOutput;
use crate::conv::gemm::{Ends, Epilogue};
use crate::conv::walk::{Phase, Walk};
use crate::isa::{Simd, Sink, Source};

/// The map that is written, and what is done to it before.
#[derive(Clone, Copy)]
pub(super) struct Outputs<'a> {
    pub(super) dst: Sink<'a>,
    pub(super) walk: Walk,
    pub(super) ends: Ends<'a>,
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
    pub(super) fn new(dst: Sink<'a>, walk: Walk, epilogue: &Epilogue<'a>, columns: usize) -> Self {
        Self { dst, walk, ends: epilogue.ends(Phase::ALL, 0..columns) }
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
