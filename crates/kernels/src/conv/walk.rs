//! From the rows of a matrix product to places in a map: row `r` stands for a pixel of a grid, and the
//! place of the pixel is affine in its image, its y and its x.

use super::outer::Run;
use residuum_tensor::MapLayout;
use std::ops::Range;

/// The pixels that are the rows of a product, image by image, row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) n: usize,
    pub(super) h: usize,
    pub(super) w: usize,
}

/// Every `step`-th pixel of a map in each direction, from (`y`, `x`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    pub(super) y: usize,
    pub(super) x: usize,
    pub(super) step_y: usize,
    pub(super) step_x: usize,
}

/// Place of a pixel: `base + n * image + y * row + x * pixel`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) base: usize,
    pub(super) image: usize,
    pub(super) row: usize,
    pub(super) pixel: usize,
}

impl Phase {
    pub(super) const ALL: Self = Self { y: 0, x: 0, step_y: 1, step_x: 1 };

    /// The pixels of the phase in a map.
    pub(super) fn grid(&self, map: &MapLayout) -> Grid {
        let count = |size: usize, start: usize, step: usize| size.saturating_sub(start).div_ceil(step);
        Grid { n: map.n, h: count(map.h, self.y, self.step_y), w: count(map.w, self.x, self.step_x) }
    }

    /// The places of these pixels.
    pub(super) fn walk(&self, map: &MapLayout) -> Walk {
        Walk {
            base: map.offset(0, self.y, self.x),
            image: map.image_stride(),
            row: self.step_y * map.row_stride(),
            pixel: self.step_x * map.pitch,
        }
    }
}

impl Grid {
    pub(super) fn rows(&self) -> usize {
        self.n * self.pixels()
    }

    /// Rows of an image.
    pub(super) fn pixels(&self) -> usize {
        self.h * self.w
    }

    /// Pairs of neighbouring rows; the last one of an image may be half of a pair.
    pub(super) fn pairs(&self) -> usize {
        self.n * self.pixels().div_ceil(2)
    }

    /// The rows of some pairs.
    pub(super) fn rows_of_pairs(&self, pairs: Range<usize>) -> Range<usize> {
        let (rows, per_image) = (self.pixels(), self.pixels().div_ceil(2));
        let first = |pair: usize| pair / per_image * rows + 2 * (pair % per_image);
        first(pairs.start)..first(pairs.end)
    }

    /// The places of the rows from `first` on, one for each element of `places`.
    pub(super) fn places(&self, walk: &Walk, first: usize, places: &mut [usize]) {
        let (mut image, pixel) = (first / self.pixels(), first % self.pixels());
        let (mut y, mut x) = (pixel / self.w, pixel % self.w);
        let mut rest = places;
        while !rest.is_empty() {
            let (run, after) = rest.split_at_mut((self.w - x).min(rest.len()));
            let mut place = walk.base + image * walk.image + y * walk.row + x * walk.pixel;
            for slot in run {
                *slot = place;
                place += walk.pixel;
            }
            rest = after;
            (x, y) = (0, y + 1);
            if y == self.h {
                (y, image) = (0, image + 1);
            }
        }
    }

    /// The pixels from `first` on, whose places in two maps are given, as runs of pixels that are `steps` apart; returns
    /// how many.
    pub(super) fn runs(
        &self,
        first: usize,
        [left, right]: [&[usize]; 2],
        steps: [usize; 2],
        runs: &mut [Run],
    ) -> usize {
        let (mut found, mut at) = (0, 0);
        while at < left.len() {
            let count = (self.w - (first + at) % self.w).min(left.len() - at);
            match runs[..found].last_mut() {
                // The rows of the grid touch in both maps.
                Some(last)
                    if last.left + last.count * steps[0] == left[at]
                        && last.right + last.count * steps[1] == right[at] =>
                {
                    last.count += count;
                }
                _ => {
                    runs[found] = Run { left: left[at], right: right[at], count };
                    found += 1;
                }
            }
            at += count;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_layout_across_rows_and_images() {
        let map = MapLayout { n: 3, h: 4, w: 5, c: 2, border: 1, pitch: 7 };
        let phase = Phase { y: 1, x: 0, step_y: 2, step_x: 2 };
        let (grid, walk) = (phase.grid(&map), phase.walk(&map));
        let mut expected = Vec::new();
        for n in 0..3 {
            for y in [1, 3] {
                expected.extend([0, 2, 4].map(|x| map.offset(n, y, x)));
            }
        }
        assert_eq!(grid.rows(), expected.len());
        for first in 0..expected.len() {
            let mut places = vec![0; expected.len() - first];
            grid.places(&walk, first, &mut places);
            assert_eq!(places, expected[first..]);
        }
    }
}
