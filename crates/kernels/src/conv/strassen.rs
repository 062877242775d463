//! Products of single pixels with an eighth fewer multiplications: one step of Strassen's algorithm (*Gaussian Elimination is
//! not Optimal*, 1969) in the form with the fewest additions, Winograd's.
//!
//! Rows are cut in halves, pixels of the upper and of the lower half of each image, so that images stay apart; so are the
//! steps of the sum and the columns. What would be eight products of halves becomes seven, of sums of them:
//!
//! ```text
//! S1 = A21 + A22   S2 = S1 - A11    S3 = A11 - A21    S4 = A12 - S2     sums of pixels, before the products
//! T1 = B12 - B11   T2 = B22 - T1    T3 = B22 - B12    T4 = B21 - T2     sums of weights, when these are packed
//!
//! U  = A11 B11              C11 = U + A12 B21
//! U += S2 T2                V = U + S3 T3             C21 = V + A22 T4
//! P  = S1 T1                C22 = V + P               C12 = (U + P) + S4 B22
//! ```
//!
//! Each `+ product` goes on with a sum in registers, so what is saved is a whole product and what is added are the sums of
//! pixels and two more additions for each four outputs. The odd pixel of an image is paired with zeros, so that it needs no
//! lower half of the result and no product with `S1`.
//!
//! ```text
//! task       = pairs of pixels x pairs of panels            threads share the tasks
//!   chunk    of at most 256 steps of both halves: S1 .. S4 of the pairs, in the thread's memory
//!     pair of panels: each of the seven products for all pairs of pixels, see [`tile`]
//! ```

use super::choose::{self, MAX_ROWS, Split, Tile};
use super::gemm::{Ends, Operands, Product, WeightStrides};
use super::normalize::{Normalization, Normalize, pixel_len};
use super::sums::{Sums, Written};
use super::tasks::{self, WorkingMemory, part};
use super::tile::by_tile;
use super::walk::{Phase, Walk};
use crate::isa::{Isa, Kernel, Simd, Sink, Source};
use left::LeftSums;
use pairs::Pairs;
use std::ops::Range;
use tile::{End, Panel, Rows};

mod left;
mod pack;
mod pairs;
mod tile;

/// Products, and sums of pixels.
const PRODUCTS: usize = 7;
const SUMS: usize = 4;
/// Steps of a chunk are a multiple of this, and so are columns: the most lanes of a vector.
const STEPS: usize = 16;

/// A quarter of a factor or of the result.
#[derive(Clone, Copy)]
struct Quarter {
    lower: bool,
    right: bool,
}

const UPPER_LEFT: Quarter = Quarter { lower: false, right: false };
const UPPER_RIGHT: Quarter = Quarter { lower: false, right: true };
const LOWER_LEFT: Quarter = Quarter { lower: true, right: false };
const LOWER_RIGHT: Quarter = Quarter { lower: true, right: true };
const QUARTERS: [Quarter; 4] = [UPPER_LEFT, UPPER_RIGHT, LOWER_LEFT, LOWER_RIGHT];

/// The left factor of a product.
#[derive(Clone, Copy)]
enum Left {
    Pixels(Quarter),
    Sum(usize),
}

/// The sums that wait in the thread's memory, as [`Memory::kept`] has them.
const KEPT_U: usize = 0;
const KEPT_V: usize = 1;

/// What becomes of a product.
#[derive(Clone, Copy)]
enum Then {
    Keep(usize),
    Write(Quarter),
    /// It ends the last quarter of the result, with `V`, and is added to `U`.
    WriteAndAdd,
}

/// The products, in the order in which they are computed and their right factors are packed.
const PLAN: [(Left, Option<usize>, Then); PRODUCTS] = [
    (Left::Pixels(UPPER_LEFT), None, Then::Keep(KEPT_U)),
    (Left::Pixels(UPPER_RIGHT), Some(KEPT_U), Then::Write(UPPER_LEFT)),
    (Left::Sum(1), Some(KEPT_U), Then::Keep(KEPT_U)),
    (Left::Sum(2), Some(KEPT_U), Then::Keep(KEPT_V)),
    (Left::Pixels(LOWER_RIGHT), Some(KEPT_V), Then::Write(LOWER_LEFT)),
    (Left::Sum(0), None, Then::WriteAndAdd),
    (Left::Sum(3), Some(KEPT_U), Then::Write(UPPER_RIGHT)),
];

/// A product prepared for its maps.
#[derive(Clone, Debug)]
pub(super) struct Strassen {
    isa: Isa,
    tile: Tile,
    pairs: Pairs,
    src: Walk,
    dst: Walk,
    /// Channels of the source, and columns, in a half.
    channels: usize,
    columns: usize,
    chunks: Vec<Range<usize>>,
    panel_columns: usize,
    strides: WeightStrides,
    split: Split,
}

/// Whether a product for images of so many pixels can be cut in halves: into two pixels at least, whole cache lines of
/// channels, and columns that fill a register tile.
pub(super) fn fits(pixels: usize, channels: usize, columns: usize) -> bool {
    pixels > 1 && [channels, columns].iter().all(|len| len.is_multiple_of(2 * STEPS))
}

impl Strassen {
    /// The caller has made sure that the product [fits].
    pub(super) fn new(product: &Product<'_>) -> Self {
        let Product { isa, src, dst, channels, columns, strides, .. } = *product;
        let tile = choose::tile(isa, columns / 2);
        let panel_columns = tile.columns(isa);
        let pairs = Pairs::new(product.phase.grid(dst));
        let (channels, columns) = (channels / 2, columns / 2);
        let units = channels / STEPS;
        let count = channels.div_ceil(choose::chunk(panel_columns));
        let bound = |index: usize| units * index / count * STEPS;
        let macs = pairs.len() * PRODUCTS * channels * columns;
        Self {
            isa,
            tile,
            pairs,
            src,
            dst: Phase::ALL.walk(dst),
            channels,
            columns,
            chunks: (0..count).map(|index| bound(index)..bound(index + 1)).collect(),
            panel_columns,
            strides,
            split: choose::split(2 * pairs.len(), choose::MIN_ROWS, columns / panel_columns, macs),
        }
    }

    /// Pairs of panels.
    fn panels(&self) -> usize {
        self.columns / self.panel_columns
    }

    /// Floats that the packed weights take.
    pub(super) fn packed_len(&self) -> usize {
        PRODUCTS * self.channels * self.columns
    }

    /// Pairs of pixels that a task has at most.
    fn most_pairs(&self) -> usize {
        self.pairs.len().div_ceil(self.split.row_blocks)
    }

    /// Floats of the normalised pixels of a task.
    fn normalized_len(&self) -> usize {
        2 * self.most_pairs() * pixel_len(2 * self.channels)
    }

    /// What the threads work in, where they normalise what they read or do not.
    pub(super) fn working_memory(&self, normalizes: bool) -> WorkingMemory {
        if self.pairs.len() == 0 {
            return WorkingMemory::default();
        }
        let chunk = self.chunks.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let thread = self.most_pairs() * (SUMS * chunk + 2 * self.panel_columns);
        WorkingMemory { thread: thread + if normalizes { self.normalized_len() } else { 0 }, shared: 0 }
    }

    /// Blocks of pairs of pixels, of which sums can be taken.
    pub(super) fn blocks(&self) -> usize {
        if self.pairs.len() == 0 { 0 } else { self.split.row_blocks }
    }

    /// Multiply-adds of the products, and additions of sums of pixels and of outputs.
    pub(super) fn multiply_adds(&self) -> usize {
        let pairs = self.pairs.len();
        let sums = SUMS * self.channels * self.split.panel_blocks;
        pairs * (PRODUCTS * self.channels * self.columns + sums + 2 * self.columns * self.chunks.len())
    }

    pub(super) fn run(&self, operands: Operands<'_>) {
        let Split { row_blocks, panel_blocks, min_tasks } = self.split;
        if self.pairs.len() == 0 {
            return;
        }
        let memory_len = self.working_memory(operands.norm.is_some()).thread;
        tasks::for_each(self.split.tasks(), min_tasks, |index| {
            tasks::with_memory(memory_len, |memory| {
                let [_, block, panel_block] = self.split.blocks(index);
                self.isa.run(Task {
                    plan: self,
                    src: Source::new(operands.src),
                    packed: Source::new(operands.packed),
                    ends: operands.epilogue.ends(Phase::ALL, 0..2 * self.columns),
                    dst: operands.dst,
                    norm: operands.norm,
                    sums: operands.sums,
                    block,
                    pairs: part(self.pairs.len(), block, row_blocks),
                    panels: part(self.panels(), panel_block, panel_blocks),
                    memory,
                });
            });
        });
    }
}

/// Some pairs of pixels and of panels.
struct Task<'a> {
    plan: &'a Strassen,
    src: Source<'a>,
    packed: Source<'a>,
    ends: Ends<'a>,
    dst: Sink<'a>,
    norm: Option<Normalization<'a>>,
    sums: Option<Sums<'a>>,
    /// Which block of outputs this is.
    block: usize,
    pairs: Range<usize>,
    panels: Range<usize>,
    memory: Sink<'a>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        by_tile!(self.plan.tile, S, |R, V| self.run_tiled::<S, R, V>(simd));
    }
}

/// Where the pixels of a task lie in its maps, as [`Pairs`] has them.
struct Places {
    src: [usize; MAX_ROWS],
    dst: [usize; MAX_ROWS],
    residual: [usize; MAX_ROWS],
    mask: [usize; MAX_ROWS],
    other: [usize; MAX_ROWS],
    /// Those that the next task reads.
    later: [usize; MAX_ROWS],
    /// Pairs of pixels, and their pixels.
    pairs: usize,
    pixels: usize,
    /// Those that the next task has.
    later_pairs: usize,
    later_pixels: usize,
}

impl Places {
    /// The places that pixels of a quarter have in some map.
    #[inline(always)]
    fn half<'a>(&self, places: &'a [usize; MAX_ROWS], quarter: Quarter) -> &'a [usize] {
        half(&places[..self.pixels], self.pairs, quarter)
    }
}

/// The memory of a task.
#[derive(Clone, Copy)]
struct Memory<'a> {
    all: Sink<'a>,
    /// Where sums of pixels begin, and the floats of each.
    sums: usize,
    sum_len: usize,
    /// Where `U` begins, and `V`.
    kept: [usize; 2],
}

impl Task<'_> {
    #[inline(always)]
    fn places(&self) -> Places {
        let [src, dst, residual, mask, other, later] = [[0; MAX_ROWS]; 6];
        let (all, here) = (&self.plan.pairs, &self.pairs);
        let next = here.end..(here.end + here.len()).min(all.len());
        let (pairs, pixels) = (here.len(), all.pixels_of(here));
        let (later_pairs, later_pixels) = (next.len(), all.pixels_of(&next));
        let mut places =
            Places { src, dst, residual, mask, other, later, pairs, pixels, later_pairs, later_pixels };
        all.places(&self.plan.src, here, &mut places.src);
        all.places(&self.plan.dst, here, &mut places.dst);
        if let Some((_, walk)) = &self.ends.residual {
            all.places(walk, here, &mut places.residual);
        }
        if let Some((_, walk)) = &self.ends.mask {
            all.places(walk, here, &mut places.mask);
        }
        if let Some((_, layout)) = self.sums.and_then(|sums| sums.other()) {
            all.places(&Phase::ALL.walk(&layout), here, &mut places.other);
        }
        all.places(&self.plan.src, &next, &mut places.later);
        places
    }

    /// Where the pixels are read: in the source, or where they have been normalised, which moves their places.
    #[inline(always)]
    fn normalize<S: Simd>(&self, simd: S, places: &mut [usize]) -> Source<'_> {
        let Some(norm) = self.norm else { return self.src };
        let channels = 2 * self.plan.channels;
        let (memory, step) = (self.memory, pixel_len(channels));
        simd.call(Normalize { norm, map: self.src, places, channels: 0..channels, memory, start: 0, step });
        places.iter_mut().enumerate().for_each(|(pixel, place)| *place = pixel * step);
        memory.source()
    }

    #[inline(always)]
    fn memory(&self, chunk: &Range<usize>) -> Memory<'_> {
        let (pairs, sum_len) = (self.pairs.len(), self.pairs.len() * chunk.len());
        let sums = if self.norm.is_some() { self.plan.normalized_len() } else { 0 };
        let u = sums + SUMS * sum_len;
        Memory { all: self.memory, sums, sum_len, kept: [u, u + pairs * self.plan.panel_columns] }
    }

    /// The task in tiles of at most `R` rows and of `V` vectors.
    #[inline(always)]
    fn run_tiled<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let plan = self.plan;
        let mut places = self.places();
        let (pairs, pixels) = (places.pairs, places.pixels);
        let src = self.normalize(simd, &mut places.src[..pixels]);
        for (c, chunk) in plan.chunks.iter().enumerate() {
            let memory = self.memory(chunk);
            let (upper, lower) = places.src[..pixels].split_at(pairs);
            simd.call(LeftSums {
                src,
                upper,
                lower,
                half: plan.channels,
                channels: chunk.clone(),
                memory: memory.all,
                start: memory.sums,
                len: memory.sum_len,
            });
            for p in self.panels.clone() {
                self.products::<S, R, V>(simd, src, &places, c, p);
            }
        }
        if let Some(sums) = self.sums {
            let first = self.panels.start * plan.panel_columns;
            let last = self.panels.end * plan.panel_columns;
            for channels in [first..last, plan.columns + first..plan.columns + last] {
                let written = Written {
                    map: self.dst,
                    places: &places.dst[..pixels],
                    others: &places.other[..pixels],
                    shift: 0,
                    channels,
                    sums,
                    block: self.block,
                    row: 2 * plan.columns,
                };
                written.take(simd);
            }
        }
    }

    /// The products of chunk `c` with the pair of panels `p`.
    #[inline(always)]
    fn products<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        src: Source<'_>,
        places: &Places,
        c: usize,
        p: usize,
    ) {
        let (plan, width) = (self.plan, V * S::LANES);
        let chunk = &plan.chunks[c];
        let memory = self.memory(chunk);
        let mut of_sums = [0; MAX_ROWS];
        of_sums.iter_mut().enumerate().for_each(|(pair, place)| *place = pair * chunk.len());
        let first = (chunk.start * plan.panels() + p * chunk.len()) * PRODUCTS * width;
        for (index, (left, from, then)) in PLAN.into_iter().enumerate() {
            let (map, shift, left) = match left {
                Left::Pixels(quarter) => {
                    (src, plan.shift(quarter) + chunk.start, places.half(&places.src, quarter))
                }
                Left::Sum(sum) => {
                    let start = memory.sums + sum * memory.sum_len;
                    (memory.all.source(), start, places.half(&of_sums, UPPER_LEFT))
                }
            };
            let (quarter, end) = match then {
                Then::Keep(place) => (UPPER_LEFT, End::Keep(memory.kept[place])),
                Then::Write(quarter) => (quarter, End::Write),
                Then::WriteAndAdd => (LOWER_RIGHT, End::WriteAndAdd(memory.kept)),
            };
            let (later, later_shift) = self.later(places, c, p, index);
            let start = first + index * chunk.len() * width;
            let panel = Panel {
                // SAFETY: the channels of the pixels lie inside, and so do the sums.
                left: unsafe { map.skip(shift) },
                // SAFETY: the packed weights hold every panel.
                weights: unsafe { self.packed.skip(start) },
                // SAFETY: they end here, or later.
                next: unsafe { self.packed.skip(start + chunk.len() * width) },
                steps: chunk.len(),
                memory: memory.all,
                from: from.map(|place: usize| memory.kept[place]),
                end,
                later: self.src,
                later_shift,
                other: self.sums.and_then(|sums| sums.other()).map(|(map, _)| Source::new(map)),
                dst: self.dst,
                column: p * width + if quarter.right { plan.columns } else { 0 },
                is_first: c == 0,
                is_last: c + 1 == plan.chunks.len(),
                finish: self.ends.finish(),
            };
            let dst = places.half(&places.dst, quarter);
            let rows = Rows {
                left: &left[..dst.len()],
                later,
                dst,
                residual: places.half(&places.residual, quarter),
                mask: places.half(&places.mask, quarter),
                other: places.half(&places.other, quarter),
            };
            // SAFETY: the maps and the weights have been checked, and no other task has these pixels and panels.
            unsafe { tile::multiply::<S, R, V>(simd, &panel, rows) };
        }
    }

    /// The pixels that product `index` with the pair of panels `p` fetches for later, and where their channels begin: while
    /// the last panels are multiplied, a quarter of the next chunk, or of the next task.
    #[inline(always)]
    fn later<'b>(&self, places: &'b Places, c: usize, p: usize, index: usize) -> (&'b [usize], usize) {
        let plan = self.plan;
        let Some(&quarter) = QUARTERS.get(index).filter(|_| p + 1 == self.panels.end) else {
            return (&[], 0);
        };
        match plan.chunks.get(c + 1) {
            Some(chunk) if self.norm.is_none() => {
                (places.half(&places.src, quarter), plan.shift(quarter) + chunk.start)
            }
            Some(_) => (&[], 0),
            None => {
                let later = &places.later[..places.later_pixels];
                (half(later, places.later_pairs, quarter), plan.shift(quarter))
            }
        }
    }
}

impl Strassen {
    /// Where the channels of a quarter begin.
    fn shift(&self, quarter: Quarter) -> usize {
        if quarter.right { self.channels } else { 0 }
    }
}

/// The places of the upper halves, of so many pairs, or those of the lower ones.
fn half(places: &[usize], pairs: usize, quarter: Quarter) -> &[usize] {
    let (upper, lower) = places.split_at(pairs);
    if quarter.lower { lower } else { upper }
}
