//! How the engine keeps activation maps: NHWC with a zero border.
//!
//! The border turns padding into ordinary reading: a convolution whose padding is at most the border
//! never meets an edge, and each row of its window is one run of contiguous floats. Kernels read the
//! border and never write it; whoever hands out the memory zeroes it.

/// Layout of a batch of maps, in elements (floats, or bytes where a map is quantised): `[n][border + h + border][border + w + border][pitch]`.
///
/// `pitch` is the number of floats from one pixel to the next; it exceeds `c` where the map is a slice
/// of the channels of a wider one. Offsets count from the start of the slice that holds the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MapLayout {
    /// Images.
    pub n: usize,
    /// Rows of an image, without border.
    pub h: usize,
    /// Columns of an image, without border.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Width of the zero border on each of the four sides, in pixels.
    pub border: usize,
    /// Floats from a pixel to its right neighbour; at least `c`.
    pub pitch: usize,
}

impl MapLayout {
    /// A map with its channels dense (`pitch == c`).
    pub const fn new(n: usize, h: usize, w: usize, c: usize, border: usize) -> Self {
        Self { n, h, w, c, border, pitch: c }
    }

    /// Floats from a pixel to the one below it.
    pub const fn row_stride(&self) -> usize {
        (self.w + 2 * self.border) * self.pitch
    }

    /// Floats from an image to the next.
    pub const fn image_stride(&self) -> usize {
        (self.h + 2 * self.border) * self.row_stride()
    }

    /// Floats that the whole map takes, border included.
    pub const fn len(&self) -> usize {
        self.n * self.image_stride()
    }

    /// True where the map holds no element.
    pub const fn is_empty(&self) -> bool {
        self.n * self.h * self.w * self.c == 0
    }

    /// Offset of channel 0 of pixel (`y`, `x`) of image `n`, the border not counted in `y` and `x`.
    pub const fn offset(&self, n: usize, y: usize, x: usize) -> usize {
        n * self.image_stride() + (y + self.border) * self.row_stride() + (x + self.border) * self.pitch
    }

    /// Pixels of the whole batch, border not counted.
    pub const fn pixels(&self) -> usize {
        self.n * self.h * self.w
    }

    /// Calls `run(offset, len)` for every contiguous run of border floats.
    pub fn for_each_border_run(&self, mut run: impl FnMut(usize, usize)) {
        if self.border == 0 {
            return;
        }
        let (row, side) = (self.row_stride(), self.border * self.pitch);
        for n in 0..self.n {
            let image = n * self.image_stride();
            run(image, self.border * row + side);
            for y in 1..self.h {
                run(image + (self.border + y) * row - side, 2 * side);
            }
            run(image + (self.border + self.h) * row - side, side + self.border * row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn border_and_interior_cover_every_float_once() {
        for (h, w, border) in [(1, 1, 1), (3, 2, 1), (2, 4, 3), (5, 5, 0)] {
            let layout = MapLayout::new(2, h, w, 3, border);
            let mut seen = vec![0; layout.len()];
            layout
                .for_each_border_run(|start, len| seen[start..start + len].iter_mut().for_each(|s| *s += 1));
            for n in 0..2 {
                for y in 0..h {
                    for x in 0..w {
                        let at = layout.offset(n, y, x);
                        seen[at..at + 3].iter_mut().for_each(|s| *s += 1);
                    }
                }
            }
            assert!(seen.iter().all(|&s| s == 1), "{layout:?}");
        }
    }
}
