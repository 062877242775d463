//! How the outputs are cut into tiles, and tiles into blocks.

use super::form::Form;
use super::transform::Window;
use crate::conv::choose::WINOGRAD_BLOCK;
use crate::conv::gemm::Extent;
use crate::conv::walk::{Grid, Walk};
use std::ops::Range;

/// The tiles of a batch of maps, image by image, row by row, as even as possible along each axis.
#[derive(Clone, Copy, Debug)]
pub(in crate::conv) struct Tiling {
    grid: Grid,
    form: Form,
    rows: usize,
    columns: usize,
}

/// A tile: its first output, and how many there are along each axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tile {
    image: usize,
    y: usize,
    x: usize,
    height: usize,
    width: usize,
}

impl Tile {
    /// Its pixels in a map.
    #[inline(always)]
    pub(super) fn window(&self, walk: &Walk) -> Window {
        Window {
            place: walk.base + self.image * walk.image + self.y * walk.row + self.x * walk.pixel,
            row: walk.row,
            pixel: walk.pixel,
            height: self.height,
            width: self.width,
        }
    }

    /// The rows and the columns of the tile's window, of so many each, that lie inside the map.
    pub(super) fn inside(&self, extent: &Extent, window: [usize; 2]) -> [Range<usize>; 2] {
        let along = |axis: usize, first: usize| {
            let Extent { padding, size } = extent;
            let start = padding[axis].saturating_sub(first).min(window[axis]);
            start..(size[axis] + padding[axis]).saturating_sub(first).clamp(start, window[axis])
        };
        [along(0, self.y), along(1, self.x)]
    }

    /// 0: clipped in x, 1: whole, with as many `outputs` as there may be along each axis, 2: clipped in y, 3: clipped in
    /// both. In this order, the tiles that a frequency wants are neighbours.
    fn class(&self, outputs: usize) -> usize {
        match (self.height == outputs, self.width == outputs) {
            (true, false) => 0,
            (true, true) => 1,
            (false, true) => 2,
            (false, false) => 3,
        }
    }
}

/// Part `index` of `count` parts of `0..len`, as even as possible, the larger ones first.
fn even(len: usize, count: usize, index: usize) -> Range<usize> {
    let bound = |index: usize| index * (len / count) + index.min(len % count);
    bound(index)..bound(index + 1)
}

impl Tiling {
    pub(in crate::conv) fn new(grid: Grid, form: Form) -> Self {
        let [rows, columns] = [grid.h, grid.w].map(|size| size.div_ceil(form.outputs()));
        Self { grid, form, rows, columns }
    }

    /// Number of tiles.
    pub(in crate::conv) fn len(&self) -> usize {
        self.grid.n * self.rows * self.columns
    }

    /// Products of one channel and one column.
    pub(in crate::conv) fn products(&self) -> usize {
        (0..self.form.frequencies()).map(|frequency| self.wanting(frequency)).sum()
    }

    /// How many tiles need the product of a frequency: all of them, but at infinity those that are whole.
    pub(super) fn wanting(&self, frequency: usize) -> usize {
        let (points, outputs) = (self.form.points(), self.form.outputs());
        let along = |size: usize, tiles: usize, point: usize| -> usize {
            if point + 1 < points {
                tiles
            } else {
                (0..tiles).filter(|&i| even(size, tiles, i).len() == outputs).count()
            }
        };
        let Grid { n, h, w } = self.grid;
        n * along(h, self.rows, frequency / points) * along(w, self.columns, frequency % points)
    }

    fn tile(&self, index: usize) -> Tile {
        let (image, index) = (index / (self.rows * self.columns), index % (self.rows * self.columns));
        let y = even(self.grid.h, self.rows, index / self.columns);
        let x = even(self.grid.w, self.columns, index % self.columns);
        Tile { image, y: y.start, x: x.start, height: y.len(), width: x.len() }
    }

    /// At most [`WINOGRAD_BLOCK`] tiles, ordered by class.
    pub(super) fn block(&self, range: Range<usize>) -> Block {
        let outputs = self.form.outputs();
        let mut block = Block { tiles: [Tile::default(); WINOGRAD_BLOCK], len: range.len(), ends: [0; 4] };
        for (tile, index) in block.tiles.iter_mut().zip(range) {
            *tile = self.tile(index);
            block.ends[tile.class(outputs)] += 1;
        }
        // Whole tiles are in order already; sorting those of a small map would take as long as transforming one.
        if block.ends[1] < block.len {
            block.tiles[..block.len]
                .sort_unstable_by_key(|tile| (tile.class(outputs), tile.image, tile.y, tile.x));
        }
        for class in 1..4 {
            block.ends[class] += block.ends[class - 1];
        }
        block
    }
}

/// Some tiles, ordered by class.
pub(super) struct Block {
    tiles: [Tile; WINOGRAD_BLOCK],
    len: usize,
    /// Where each class ends.
    ends: [usize; 4],
}

impl Block {
    #[inline(always)]
    pub(super) fn tiles(&self) -> &[Tile] {
        &self.tiles[..self.len]
    }

    /// The tile after tile `t`; the last one follows itself.
    #[inline(always)]
    pub(super) fn next(&self, t: usize) -> &Tile {
        &self.tiles[(t + 1).min(self.len - 1)]
    }

    /// The tiles that need the product of a frequency, one of `points` x `points`.
    #[inline(always)]
    pub(super) fn wanting(&self, frequency: usize, points: usize) -> Range<usize> {
        let last = points - 1;
        match (frequency / points == last, frequency % points == last) {
            (false, false) => 0..self.ends[3],
            (true, false) => 0..self.ends[1],
            (false, true) => self.ends[0]..self.ends[2],
            (true, true) => self.ends[0]..self.ends[1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [Form; 2] = [Form::PIXELS, Form::SMALL_PIXELS];

    #[test]
    fn tiles_cover_every_output_once() {
        for (size, form) in (1..=20).flat_map(|size| FORMS.map(|form| (size, form))) {
            let grid = Grid { n: 2, h: size, w: 21 - size };
            let tiling = Tiling::new(grid, form);
            let mut seen = vec![0; grid.rows()];
            for index in 0..tiling.len() {
                let tile = tiling.tile(index);
                let sizes = 1..=form.outputs();
                assert!(sizes.contains(&tile.height) && sizes.contains(&tile.width));
                for y in tile.y..tile.y + tile.height {
                    for x in tile.x..tile.x + tile.width {
                        seen[(tile.image * grid.h + y) * grid.w + x] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&seen| seen == 1), "{grid:?}");
        }
    }

    #[test]
    fn frequencies_at_infinity_want_the_tiles_that_are_whole_there() {
        let sizes = [(14, 14), (7, 8), (8, 7), (3, 5), (8, 8)];
        for ((h, w), form) in sizes.into_iter().flat_map(|size| FORMS.map(|form| (size, form))) {
            let (points, outputs) = (form.points(), form.outputs());
            let tiling = Tiling::new(Grid { n: 1, h, w }, form);
            let block = tiling.block(0..tiling.len());
            let frequencies = 0..form.frequencies();
            let products: usize =
                frequencies.clone().map(|frequency| block.wanting(frequency, points).len()).sum();
            assert_eq!(tiling.products(), products, "{h}x{w}, {form:?}");
            for frequency in frequencies {
                let wanting = block.wanting(frequency, points);
                for (index, tile) in block.tiles().iter().enumerate() {
                    let needs = (frequency / points < points - 1 || tile.height == outputs)
                        && (frequency % points < points - 1 || tile.width == outputs);
                    assert_eq!(wanting.contains(&index), needs, "{h}x{w}, {form:?}, {frequency}, {tile:?}");
                }
            }
        }
    }
}
