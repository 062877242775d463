//! The products of a row of frequencies, whose filters are transformed in registers.

use super::filter::{TAPS, points_of_row};
use crate::conv::tile::LINE;
use crate::conv::winograd::axis::POINTS;
use crate::isa::{Kernel, Simd, Sink, Source};
use std::ops::Range;

/// Tiles that lie together in `V`, and the most whose sums the registers hold.
pub(super) const GROUP: usize = 4;
/// Channels that lie together in `V`.
pub(super) const STRIP: usize = LINE;
/// Floats of a strip of a group in `V`, of all frequencies: `[row][frequency of the row][tile][channel]`.
pub(super) const STRIP_LEN: usize = POINTS * ROW_LEN;
/// Floats of a row of them.
pub(super) const ROW_LEN: usize = POINTS * GROUP * STRIP;

/// Points of a row whose sums the registers hold for a group of tiles: all of them where vectors are wide.
pub(super) const HALF: usize = POINTS / 2;

/// Adds to the sums of `R` tiles of a group, for the `COUNT` frequencies from `FIRST` on of row `ROW` and a vector of columns,
/// the products over some channels.
///
/// ```text
/// acc[COUNT][R] = first chunk ? 0 : M
/// for channel:
///     u[COUNT]  = transformed filters, of nine vectors of taps
///     acc[x][r] += V[x][r][channel] * u[x]      one broadcast each
/// M = acc
/// ```
///
/// Whoever makes one answers for this: channels, filters and sums lie inside, and no other thread touches the sums.
pub(super) struct Products<'a, const ROW: usize, const FIRST: usize, const COUNT: usize, const R: usize> {
    /// The row of the first tile, from the first strip of channels on.
    pub(super) v: Source<'a>,
    /// The filters, `[channel][tap][column]`, from the first channel on.
    pub(super) filters: Source<'a>,
    pub(super) channels: Range<usize>,
    /// The filters to be fetched meanwhile.
    pub(super) ahead: usize,
    pub(super) sums: Sink<'a>,
    /// Where the sums of the first tile and the first frequency of the row lie, and the floats from a frequency to the next;
    /// those of tiles are neighbours.
    pub(super) start: usize,
    pub(super) stride: usize,
}

impl<const ROW: usize, const FIRST: usize, const COUNT: usize, const R: usize> Kernel
    for Products<'_, ROW, FIRST, COUNT, R>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut sums = [[simd.zero(); R]; COUNT];
        if self.channels.start > 0 {
            for x in 0..COUNT {
                for r in 0..R {
                    let at = self.start + (FIRST + x) * self.stride + r * S::LANES;
                    // SAFETY: the sums lie inside, by the contract.
                    sums[x][r] = unsafe { simd.load_at(self.sums.source(), at) };
                }
            }
        }
        // All rows together bring what they need themselves, and a little more.
        let lines = if FIRST > 0 { 0 } else { (TAPS * S::LANES).div_ceil(POINTS * LINE) };
        let (mut channel, mut ahead) = (self.channels.start, self.ahead);
        while channel < self.channels.end {
            // SAFETY: the strip lies inside, by the contract.
            let strip = unsafe { self.v.skip(channel / STRIP * STRIP_LEN) };
            for place in 0..STRIP.min(self.channels.end - channel) {
                for _ in 0..lines {
                    simd.prefetch_early(self.filters, ahead);
                    ahead += LINE;
                }
                let filter = (channel + place) * TAPS * S::LANES;
                // SAFETY: the filters lie inside, by the contract.
                let points = unsafe { points_of_row::<S, ROW>(simd, self.filters, filter) };
                for x in 0..COUNT {
                    for r in 0..R {
                        let at = ((FIRST + x) * GROUP + r) * STRIP + place;
                        // SAFETY: the strip has all tiles of the group and all channels.
                        let value = unsafe { simd.splat_at(strip, at) };
                        sums[x][r] = simd.fma(value, points[FIRST + x], sums[x][r]);
                    }
                }
            }
            channel += STRIP;
        }
        for x in 0..COUNT {
            for r in 0..R {
                let at = self.start + (FIRST + x) * self.stride + r * S::LANES;
                // SAFETY: the sums lie inside and are ours, by the contract.
                unsafe { simd.store_at(sums[x][r], self.sums, at) };
            }
        }
    }
}
