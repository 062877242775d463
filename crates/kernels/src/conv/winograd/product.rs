//! The register tile of the products: some tiles of the map x `V` vectors of output channels. It does what the tile of
//! the direct way does, without what rows of a map need: places that lie anyhow, columns that end anywhere, epilogues.
//! Sums are as short as there are channels, so what a tile costs beside its sum counts.

use super::ahead::Ahead;
use crate::conv::tile::{LINE, for_rows, step};
use crate::isa::{Kernel, Simd, Sink, Source};

/// The products of a frequency with a panel of filters, or a part of their sums.
#[derive(Clone, Copy)]
pub(super) struct PanelProduct<'a> {
    /// Where the tiles begin in `V`, and the floats from one to the next.
    pub(super) v: Source<'a>,
    pub(super) v_row: usize,
    /// The same of `M`.
    pub(super) m: Sink<'a>,
    pub(super) m_start: usize,
    pub(super) m_row: usize,
    /// The panel of filters, `[step][V * LANES]`, and the one that comes next.
    pub(super) weights: Source<'a>,
    pub(super) next: Source<'a>,
    /// Steps of the sum.
    pub(super) steps: usize,
    /// The sums start here, instead of from `M`.
    pub(super) is_first: bool,
}

/// All products of a panel, `count` of them, by register tiles as even as possible.
///
/// # Safety
/// The tiles lie inside `V` and `M`, the steps inside the filters, and no other thread touches the tiles of `M`.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, const R: usize, const V: usize, const N: usize>(
    simd: S,
    panel: &PanelProduct<'_>,
    count: usize,
    ahead: &mut Ahead<'_, N>,
) {
    let tiles = count.div_ceil(R);
    let (least, larger) = (count / tiles, count % tiles);
    // Each tile fetches its part of the next panel.
    let lines = (4 * V * S::LANES / LINE).div_ceil(tiles);
    let mut start = 0;
    for index in 0..tiles {
        let height = least + usize::from(index < larger);
        for_rows!(height, R, call::<S, R, V>(simd, panel, start, index, lines));
        ahead.turn(simd);
        start += height;
    }
}

/// Computes the tile of `R` rows from row `start` on, as a function of its own.
///
/// # Safety
/// That of [`multiply`].
#[inline(always)]
unsafe fn call<S: Simd, const R: usize, const V: usize>(
    simd: S,
    panel: &PanelProduct<'_>,
    start: usize,
    index: usize,
    lines: usize,
) {
    simd.call(Tile::<R, V> { panel, start, fetch: index * (panel.steps / 4) * lines * LINE, lines });
}

/// The arguments of a tile, which whoever makes one answers for.
struct Tile<'a, const R: usize, const V: usize> {
    panel: &'a PanelProduct<'a>,
    start: usize,
    /// From where on the next panel is fetched, and how many lines every four steps.
    fetch: usize,
    lines: usize,
}

impl<const R: usize, const V: usize> Kernel for Tile<'_, R, V> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "four times the same step")]
    fn run<S: Simd>(self, simd: S) {
        let (panel, width) = (self.panel, V * S::LANES);
        let m = panel.m_start + self.start * panel.m_row;
        let mut acc = [[simd.zero(); V]; R];
        if !panel.is_first {
            for r in 0..R {
                for v in 0..V {
                    // SAFETY: the tiles lie inside `M`, by the contract.
                    acc[r][v] = unsafe { simd.load_at(panel.m.source(), m + r * panel.m_row + v * S::LANES) };
                }
            }
        }
        let mut a = [panel.v; R];
        for r in 0..R {
            // SAFETY: the tiles lie inside `V`, by the contract.
            a[r] = unsafe { panel.v.skip((self.start + r) * panel.v_row) };
        }
        let (mut k, mut weight, mut fetch) = (0, 0, self.fetch);
        while k + 4 <= panel.steps {
            for _ in 0..self.lines {
                simd.prefetch(panel.next, fetch);
                fetch += LINE;
            }
            // SAFETY: there are the steps `k .. k + 4`.
            unsafe {
                acc = step::<S, R, V>(simd, &a, k, panel.weights, weight, acc);
                acc = step::<S, R, V>(simd, &a, k + 1, panel.weights, weight + width, acc);
                acc = step::<S, R, V>(simd, &a, k + 2, panel.weights, weight + 2 * width, acc);
                acc = step::<S, R, V>(simd, &a, k + 3, panel.weights, weight + 3 * width, acc);
            }
            k += 4;
            weight += 4 * width;
        }
        while k < panel.steps {
            // SAFETY: there is the step `k`.
            acc = unsafe { step::<S, R, V>(simd, &a, k, panel.weights, weight, acc) };
            k += 1;
            weight += width;
        }
        for r in 0..R {
            for v in 0..V {
                // SAFETY: the tiles lie inside `M` and are ours, by the contract.
                unsafe { simd.store_at(acc[r][v], panel.m, m + r * panel.m_row + v * S::LANES) };
            }
        }
    }
}
