//! Which pixels are multiplied together: the halves of an image, pixel by pixel.

use crate::conv::walk::{Grid, Walk};
use std::ops::Range;
use std::slice;

/// The pixels of the upper half of every image with those of its lower half, image by image; after them, where images have an
/// odd number of pixels, the last of each, which stays single.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs {
    grid: Grid,
}

impl Pairs {
    pub(super) fn new(grid: Grid) -> Self {
        Self { grid }
    }

    /// Pixels of an image.
    fn pixels(&self) -> usize {
        self.grid.h * self.grid.w
    }

    /// Pairs of two pixels.
    fn doubles(&self) -> usize {
        self.grid.n * (self.pixels() / 2)
    }

    /// All pairs, those of a single pixel included.
    pub(super) fn len(&self) -> usize {
        self.grid.n * self.pixels().div_ceil(2)
    }

    /// Pixels that some pairs have.
    pub(super) fn pixels_of(&self, pairs: &Range<usize>) -> usize {
        let doubles = self.doubles();
        pairs.len() + pairs.end.min(doubles) - pairs.start.min(doubles)
    }

    /// The places of the pixels of some pairs: those of the upper halves and single ones, then those of the lower halves.
    pub(super) fn places(&self, walk: &Walk, pairs: &Range<usize>, places: &mut [usize]) {
        let (pixels, half, doubles) = (self.pixels(), self.pixels() / 2, self.doubles());
        let (upper, lower) = places[..self.pixels_of(pairs)].split_at_mut(pairs.len());
        let mut pair = pairs.start;
        while pair < pairs.end.min(doubles) {
            let (image, first) = (pair / half * pixels, pair % half);
            let count = (half - first).min(pairs.end.min(doubles) - pair);
            let slots = pair - pairs.start..pair - pairs.start + count;
            self.grid.places(walk, image + first, &mut upper[slots.clone()]);
            self.grid.places(walk, image + first + half, &mut lower[slots]);
            pair += count;
        }
        let singles = &mut upper[pair - pairs.start..];
        for (image, single) in (pair.saturating_sub(doubles)..).zip(singles) {
            self.grid.places(walk, (image + 1) * pixels - 1, slice::from_mut(single));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A walk whose places are the numbers of the pixels.
    fn numbers(grid: &Grid) -> Walk {
        Walk { base: 0, image: grid.h * grid.w, row: grid.w, pixel: 1 }
    }

    #[test]
    fn halves_of_an_image_are_paired_and_the_odd_pixel_comes_last() {
        let grid = Grid { n: 2, h: 3, w: 3 };
        let pairs = Pairs::new(grid);
        let mut places = [0; 18];
        pairs.places(&numbers(&grid), &(0..pairs.len()), &mut places);
        assert_eq!(places, [0, 1, 2, 3, 9, 10, 11, 12, 8, 17, 4, 5, 6, 7, 13, 14, 15, 16]);
    }

    #[test]
    fn parts_hold_every_pixel_once() {
        for (n, h, w) in [(3, 2, 5), (3, 7, 7), (2, 1, 1), (4, 1, 3), (0, 3, 3)] {
            let grid = Grid { n, h, w };
            let pairs = Pairs::new(grid);
            for step in 1..=pairs.len() {
                let mut found = Vec::new();
                for start in (0..pairs.len()).step_by(step) {
                    let part = start..pairs.len().min(start + step);
                    let mut places = vec![usize::MAX; pairs.pixels_of(&part)];
                    pairs.places(&numbers(&grid), &part, &mut places);
                    found.extend(places);
                }
                found.sort_unstable();
                assert_eq!(found, (0..n * h * w).collect::<Vec<_>>(), "{grid:?} in parts of {step}");
            }
        }
    }
}
