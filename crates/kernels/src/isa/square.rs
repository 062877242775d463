//! Floats that change places: rows become columns in registers, a few shuffles for a vector instead of a store for a float.

use super::{MOST_LANES, Simd, Sink, Source};

/// As many vectors as a vector has lanes.
pub(crate) struct Square<S: Simd>([S::V; MOST_LANES]);

impl<S: Simd> Square<S> {
    /// Nothing but zeros.
    #[inline(always)]
    pub(crate) fn zero(simd: S) -> Self {
        Self([simd.zero(); MOST_LANES])
    }

    /// The first `count` floats of up to `LANES` rows, of which `rows` exist, that begin `step` floats apart, as columns: those of
    /// row `i` are lane `i` of the first `count` vectors.
    ///
    /// # Safety
    /// The floats lie inside.
    #[inline(always)]
    pub(crate) unsafe fn gather(
        simd: S,
        src: Source<'_>,
        at: usize,
        step: usize,
        rows: usize,
        count: usize,
    ) -> Self {
        let mut square = Self::zero(simd);
        for row in 0..S::LANES {
            if row < rows {
                // SAFETY: by the contract.
                square.set(row, unsafe { simd.load_part_at(src, at + row * step, count) });
            }
        }
        square.turned(simd)
    }

    /// Stores the first `count` lanes of the first `rows` vectors, `step` floats apart.
    ///
    /// # Safety
    /// There is room, and no other thread touches it meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn store(
        &self,
        simd: S,
        dst: Sink<'_>,
        at: usize,
        step: usize,
        rows: usize,
        count: usize,
    ) {
        for row in 0..S::LANES {
            if row < rows {
                // SAFETY: by the contract.
                unsafe { simd.store_part_at(self.get(row), dst, at + row * step, count) };
            }
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, row: usize) -> S::V {
        self.0[row]
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, row: usize, v: S::V) {
        self.0[row] = v;
    }

    /// Lane `j` of vector `i` becomes lane `i` of vector `j`. Interleaving both halves of the vectors moves the first bit of the
    /// place of every float, vector and lane, to its end; when half of all bits have moved, vectors and lanes have changed places.
    #[inline(always)]
    pub(crate) fn turned(self, simd: S) -> Self {
        let (half, mut square) = (S::LANES / 2, self);
        for _ in 0..S::LANES.ilog2() {
            let before = square.0;
            for row in 0..half {
                let pair = simd.interleave(before[row], before[row + half]);
                square.0[2 * row] = pair[0];
                square.0[2 * row + 1] = pair[1];
            }
        }
        square
    }
}
