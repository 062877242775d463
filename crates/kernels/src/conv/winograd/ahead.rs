//! What a block will need from memory, fetched while products keep the caches busy with little else: a few lines
//! between two register tiles, for as many as there are at once would hold up the loads.

use super::axis::OUTPUTS;
use super::tiling::Block;
use crate::conv::tile::LINE;
use crate::conv::walk::Walk;
use crate::isa::{Simd, Source};
use std::ops::Range;

/// Floats of a row that are fetched at once.
const AT_ONCE: usize = 64;

/// Some channels of the pixels of a block of tiles in a map.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    pub(super) map: Source<'a>,
    pub(super) walk: Walk,
    pub(super) block: &'a Block,
    /// First channel, and how many.
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Pixels<'_> {
    /// Fetches some rows of the pixels of a tile.
    #[inline(always)]
    fn fetch<S: Simd>(&self, simd: S, tile: usize, rows: Range<usize>) {
        let Some(tile) = self.block.tiles().get(tile) else { return };
        let window = tile.window(&self.walk);
        for y in rows.start..rows.end.min(window.height) {
            for x in 0..window.width {
                let pixel = window.place + y * window.row + x * window.pixel + self.first;
                for channel in (0..self.count).step_by(LINE) {
                    simd.prefetch_early(self.map, pixel + channel);
                }
            }
        }
    }
}

/// Pixels to be fetched in a number of turns.
pub(super) struct Ahead<'a, const N: usize> {
    pixels: [Option<Pixels<'a>>; N],
    /// Rows of a tile's pixels that are fetched at once.
    rows: usize,
    /// How many such pieces all tiles have.
    pieces: usize,
    /// The piece that is fetched next.
    piece: usize,
    turns: usize,
    /// What is due, in parts of a piece, `turns` of which are one.
    due: usize,
}

impl<'a, const N: usize> Ahead<'a, N> {
    #[inline(always)]
    pub(super) fn new(pixels: [Option<Pixels<'a>>; N], turns: usize) -> Self {
        let all = || pixels.iter().flatten();
        let tiles = all().map(|pixels| pixels.block.tiles().len()).max().unwrap_or(0);
        let count = all().map(|pixels| pixels.count).max().unwrap_or(1);
        let rows = (AT_ONCE / count.max(1)).clamp(1, OUTPUTS);
        Self { pixels, rows, pieces: tiles * OUTPUTS.div_ceil(rows), piece: 0, turns: turns.max(1), due: 0 }
    }

    /// What is done between two register tiles.
    #[inline(always)]
    pub(super) fn turn<S: Simd>(&mut self, simd: S) {
        self.due += self.pieces;
        while self.due >= self.turns && self.piece < self.pieces {
            self.due -= self.turns;
            let per_tile = OUTPUTS.div_ceil(self.rows);
            let start = self.piece % per_tile * self.rows;
            for pixels in self.pixels.iter().flatten() {
                pixels.fetch(simd, self.piece / per_tile, start..(start + self.rows).min(OUTPUTS));
            }
            self.piece += 1;
        }
    }
}

/// The block of as many tiles that follows.
pub(super) fn following(tiles: &Range<usize>, end: usize) -> Range<usize> {
    tiles.end..(tiles.end + tiles.len()).min(end)
}
