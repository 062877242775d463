//! The gradient of the weights as outer products: the sum over all output pixels of the product of each channel of one map
//! with each channel of the other.
//!
//! ```text
//! task       = block of rows x block of columns x part of the pixels    threads share the tasks
//!   strip    of at most 128 pixels, whose columns are packed: [panel][pixel][16]
//!     panel x tile of 6 x 16 sums (AVX2), in registers over the strip
//! then the parts are added in their order, and turned into OIHW where they are not yet
//! ```
//!
//! Rows are the taps of the window and the channels of the input, and columns those of the output. Where windows are single
//! pixels, it is the other way round if the input has fewer channels: less is packed then, the norm in front of the
//! convolution is computed on the way, and the sums lie as the weights do.
//!
//! A panel is read once for every tile, so it has to stay in the first-level cache. Unpacked, its pixels would
//! lie at distances that are powers of two, where they push each other out. A tile's rows are read once for
//! every panel: packing them would cost more than it saves. Those of the next strip are fetched meanwhile.

use super::choose::{self, OUTER_COLUMNS, OUTER_PIXELS, OUTER_ROWS};
use super::forward::{taps, windows};
use super::gemm::{Tap, cut};
use super::normalize::{Normalization, Normalize, pixel_len};
use super::reduce::{self, Sums};
use super::tasks::{self, part};
use super::tile::{LINE, for_rows, load};
use super::walk::{Grid, Phase, Walk};
use crate::conv_shape::ConvShape;
use crate::isa::{Isa, Kernel, Simd, Sink, Source};
use residuum_tensor::MapLayout;
use std::ops::Range;

mod tile;

pub(super) use tile::{Corner, Operands, Run, call_outer_tile};

/// Rows of a register tile.
const ROWS: usize = 6;
/// Floats between two packed panels, so that they do not begin in the same cache set.
const GAP: usize = 16;

/// The gradient, prepared for its maps.
#[derive(Clone, Debug)]
pub(super) struct OuterProducts {
    isa: Isa,
    shape: ConvShape,
    /// The input gives the columns, and the gradient of the output the rows.
    is_turned: bool,
    /// Vectors of a tile.
    vectors: usize,
    /// Packs the columns of what is not normalised, instead of reading it where it lies.
    packs: bool,
    grid: Grid,
    left: Factor,
    right: Factor,
    tiles: Vec<Strand>,
    blocks: Vec<Range<usize>>,
    panels: usize,
    panel_columns: usize,
    panel_blocks: usize,
    parts: usize,
}

/// A map that takes part.
#[derive(Clone, Copy, Debug)]
struct Factor {
    walk: Walk,
    /// Channels of a group.
    channels: usize,
}

/// Up to [`ROWS`] rows of the result whose operands are contiguous in the left map.
#[derive(Clone, Copy, Debug)]
struct Strand {
    /// From the place of the pixel.
    offset: usize,
    /// First row of the result.
    row: usize,
    rows: usize,
}

impl OuterProducts {
    /// The caller has checked the layouts.
    pub(super) fn new(isa: Isa, shape: &ConvShape, x: &MapLayout, dy: &MapLayout) -> Self {
        let is_turned = choose::turns_outer(isa, shape);
        let input = Factor { walk: windows(shape, x), channels: shape.group_in() };
        let output = Factor { walk: Phase::ALL.walk(dy), channels: shape.group_out() };
        let (left, right) = if is_turned { (output, input) } else { (input, output) };
        // Of single pixels there is one tap, without an offset, in both maps.
        let tiles = strands(&taps(shape, x), left.channels);
        let vectors = choose::outer_vectors(isa, right.channels);
        let panel_columns = vectors * isa.lanes();
        let panels = right.channels.div_ceil(panel_columns);
        let blocks = blocks(&tiles, OUTER_ROWS);
        let panel_blocks = (panels * panel_columns).div_ceil(OUTER_COLUMNS).max(1);
        let grid = Phase::ALL.grid(dy);
        let parts =
            choose::outer_parts(grid.rows(), shape.groups * blocks.len() * panel_blocks, shape.macs());
        Self {
            isa,
            shape: *shape,
            is_turned,
            vectors,
            packs: choose::packs_outer(right.channels, panel_columns, right.walk.pixel),
            grid,
            left,
            right,
            tiles,
            blocks,
            panels,
            panel_columns,
            panel_blocks,
            parts,
        }
    }

    /// Floats of the sums that are not those of the weights themselves.
    pub(super) fn scratch_len(&self) -> usize {
        if self.sums_are_weights() { 0 } else { self.shape.groups * self.parts * self.part_len() }
    }

    /// Whether sums need not be added, nor moved.
    fn sums_are_weights(&self) -> bool {
        self.is_turned && self.parts == 1 && self.sums_stride() == self.right.channels
    }

    /// From a row of the sums to the next.
    fn sums_stride(&self) -> usize {
        self.panels * self.panel_columns
    }

    fn part_len(&self) -> usize {
        self.shape.taps() * self.left.channels * self.sums_stride()
    }

    /// The gradient from the maps, and the norm of what the input is to be.
    pub(super) fn run(
        &self,
        x: &[f32],
        norm: Option<Normalization<'_>>,
        dy: &[f32],
        scratch: &mut [f32],
        dw: &mut [f32],
    ) {
        if self.grid.rows() == 0 {
            dw.fill(0.0);
            return;
        }
        if self.sums_are_weights() {
            self.sum(x, norm, dy, Sink::new(dw));
            return;
        }
        self.sum(x, norm, dy, Sink::new(scratch));
        let sums = Sums {
            values: scratch,
            groups: self.shape.groups,
            parts: self.parts,
            taps: self.shape.taps(),
            channels: self.left.channels,
            columns: self.right.channels,
            stride: self.sums_stride(),
        };
        reduce::run(self.isa, &sums, self.is_turned, dw);
    }

    /// The sums, part by part.
    fn sum(&self, x: &[f32], norm: Option<Normalization<'_>>, dy: &[f32], sums: Sink<'_>) {
        let (x, dy) = (Source::new(x), Source::new(dy));
        let count = self.shape.groups * self.parts * self.blocks.len() * self.panel_blocks;
        tasks::for_each(count, choose::min_tasks(self.shape.macs(), count), |index| {
            tasks::with_memory(self.memory_len(norm.is_some()), |memory| {
                self.run_task(index, x, norm, dy, memory, sums);
            });
        });
    }

    /// Floats from a packed panel to the next.
    fn packed_panel(&self) -> usize {
        OUTER_PIXELS * self.panel_columns + GAP
    }

    /// Whether columns are packed, where the input is normalised or is not.
    fn packs(&self, normalizes: bool) -> bool {
        self.packs || (normalizes && self.is_turned)
    }

    fn packed_len(&self, normalizes: bool) -> usize {
        let panels = self.panels.div_ceil(self.panel_blocks);
        if self.packs(normalizes) { panels * self.packed_panel() } else { 0 }
    }

    /// Floats that a task works in: the packed columns, then the normalised rows.
    pub(super) fn memory_len(&self, normalizes: bool) -> usize {
        let copies = normalizes && !self.is_turned;
        self.packed_len(normalizes) + if copies { OUTER_PIXELS * pixel_len(OUTER_ROWS) } else { 0 }
    }

    fn run_task(
        &self,
        index: usize,
        x: Source<'_>,
        norm: Option<Normalization<'_>>,
        dy: Source<'_>,
        memory: Sink<'_>,
        sums: Sink<'_>,
    ) {
        let (index, panel_block) = (index / self.panel_blocks, index % self.panel_blocks);
        let (index, block) = (index / self.blocks.len(), index % self.blocks.len());
        let (group, pixels) = (index / self.parts, index % self.parts);
        let (left, right, left_norm, right_norm) =
            if self.is_turned { (dy, x, None, norm) } else { (x, dy, norm, None) };
        let task = Task {
            plan: self,
            left,
            right,
            left_norm,
            right_norm,
            packs: self.packs(norm.is_some()),
            memory,
            copy: self.packed_len(norm.is_some()),
            sums,
            shifts: [self.left, self.right].map(|factor| group * factor.channels),
            sums_start: index * self.part_len(),
            pixels: part(self.grid.rows(), pixels, self.parts),
            tiles: &self.tiles[self.blocks[block].clone()],
            panels: part(self.panels, panel_block, self.panel_blocks),
        };
        self.isa.run(task);
    }
}

/// The rows of the result as tiles, as even as possible within each run of contiguous floats.
fn strands(taps: &[Tap], channels: usize) -> Vec<Strand> {
    let (segments, _) = cut(taps, channels, usize::MAX);
    let (mut tiles, mut row) = (Vec::new(), 0);
    for segment in segments {
        let count = segment.len.div_ceil(ROWS);
        for index in 0..count {
            let rows = part(segment.len, index, count);
            tiles.push(Strand {
                offset: segment.offset + rows.start,
                row: row + rows.start,
                rows: rows.len(),
            });
        }
        row += segment.len;
    }
    tiles
}

/// Consecutive tiles of together at most `limit` rows, about as many in each block.
fn blocks(tiles: &[Strand], limit: usize) -> Vec<Range<usize>> {
    let per_block = (limit / ROWS).min(tiles.len()).max(1);
    let count = tiles.len().div_ceil(per_block);
    (0..count).map(|block| part(tiles.len(), block, count)).collect()
}

/// Some rows and columns of a group's result, over some pixels.
struct Task<'a> {
    plan: &'a OuterProducts,
    left: Source<'a>,
    right: Source<'a>,
    /// The norm of the input, which is one of them.
    left_norm: Option<Normalization<'a>>,
    right_norm: Option<Normalization<'a>>,
    packs: bool,
    memory: Sink<'a>,
    /// Where the normalised rows begin in the memory.
    copy: usize,
    sums: Sink<'a>,
    /// First channels of the group.
    shifts: [usize; 2],
    sums_start: usize,
    pixels: Range<usize>,
    tiles: &'a [Strand],
    panels: Range<usize>,
}

/// Where the pixels of a strip lie in both operands, as they are multiplied.
struct Places {
    left: [usize; OUTER_PIXELS],
    right: [usize; OUTER_PIXELS],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.plan.vectors {
            4 if S::IS_WIDE => self.run_tiled::<S, 4>(simd),
            3 if S::IS_WIDE => self.run_tiled::<S, 3>(simd),
            1 => self.run_tiled::<S, 1>(simd),
            _ => self.run_tiled::<S, 2>(simd),
        }
    }
}

impl Task<'_> {
    /// The task in tiles of `V` vectors.
    #[inline(always)]
    fn run_tiled<S: Simd, const V: usize>(self, simd: S) {
        let (grid, width) = (&self.plan.grid, V * S::LANES);
        let mut places = Places { left: [0; OUTER_PIXELS], right: [0; OUTER_PIXELS] };
        let mut runs = [Run::default(); OUTER_PIXELS];
        let strips = self.pixels.len().div_ceil(OUTER_PIXELS);
        let strip = |index: usize| {
            let strip = part(self.pixels.len(), index, strips);
            self.pixels.start + strip.start..self.pixels.start + strip.end
        };
        for index in 0..strips {
            let pixels = strip(index);
            let next = if index + 1 < strips { strip(index + 1) } else { 0..0 };
            let later = self.later(&pixels, &next);
            let count = pixels.len();
            self.places(pixels.start, &mut places, count);
            if self.packs {
                self.pack::<S, V>(simd, &mut places.right[..count]);
            }
            self.normalize(simd, &mut places.left[..count]);
            let both = [&places.left[..count], &places.right[..count]];
            let found = grid.runs(pixels.start, both, self.steps(width), &mut runs);
            let mut ahead = self.ahead(next, &mut places.left);
            // SAFETY: the maps have been checked; no other task has this part of the sums.
            unsafe { self.strip::<S, V>(simd, &runs[..found], index == 0, later, &mut ahead) };
        }
    }

    /// Where pixels from `start` on lie in the maps.
    fn places(&self, start: usize, places: &mut Places, count: usize) {
        let plan = self.plan;
        let factors = [(&plan.left, &mut places.left), (&plan.right, &mut places.right)];
        for ((factor, places), shift) in factors.into_iter().zip(self.shifts) {
            plan.grid.places(&factor.walk, start, &mut places[..count]);
            places[..count].iter_mut().for_each(|place| *place += shift);
        }
    }

    /// From a pixel to the next in both operands.
    fn steps(&self, width: usize) -> [usize; 2] {
        let left = if self.left_norm.is_some() { pixel_len(OUTER_ROWS) } else { self.plan.left.walk.pixel };
        [left, if self.packs { width } else { self.plan.right.walk.pixel }]
    }

    /// How far behind the rows of a strip those of the next one lie, if they are read in place.
    fn later(&self, pixels: &Range<usize>, next: &Range<usize>) -> usize {
        if self.left_norm.is_some() || next.is_empty() {
            return 0;
        }
        let place = |pixel: usize| {
            let mut place = [0];
            self.plan.grid.places(&self.plan.left.walk, pixel, &mut place);
            place[0]
        };
        place(next.start) - place(pixels.start)
    }

    /// The channels of the tiles, where windows are single pixels.
    fn rows(&self) -> Range<usize> {
        let end = self.tiles.last().map_or(0, |tile| tile.offset + tile.rows);
        self.tiles.first().map_or(0, |tile| tile.offset)..end
    }

    /// The channels of panel `p`.
    fn columns(&self, p: usize) -> Range<usize> {
        let width = self.plan.panel_columns;
        p * width..self.plan.right.channels.min((p + 1) * width)
    }

    /// What of the next strip will be normalised.
    fn ahead<'b>(&'b self, next: Range<usize>, places: &'b mut [usize; OUTER_PIXELS]) -> Ahead<'b> {
        let columns = self.columns(self.panels.start).start..self.columns(self.panels.end - 1).end;
        let (map, walk, channels) = match (self.left_norm, self.right_norm) {
            (Some(_), _) => (self.left, &self.plan.left.walk, self.rows()),
            (None, Some(_)) => (self.right, &self.plan.right.walk, columns),
            (None, None) => return Ahead { map: self.left, places: &[], channels: 0..0, next: 0, rate: 0 },
        };
        let places = &mut places[..next.len()];
        if !next.is_empty() {
            self.plan.grid.places(walk, next.start, places);
        }
        let lines = places.len() * channels.len().div_ceil(LINE);
        let rate = lines.div_ceil(self.tiles.len() * self.panels.len());
        Ahead { map, places, channels, next: 0, rate }
    }

    /// Packs the columns of some pixels, `[panel][pixel][V * LANES]`, normalised if that is wanted; their places become
    /// those of the first panel.
    #[inline(always)]
    fn pack<S: Simd, const V: usize>(&self, simd: S, places: &mut [usize]) {
        let (width, panel_len) = (V * S::LANES, self.plan.packed_panel());
        for (q, p) in self.panels.clone().enumerate() {
            let (start, channels) = (q * panel_len, self.columns(p));
            if let Some(norm) = self.right_norm {
                let (map, memory) = (self.right, self.memory);
                simd.call(Normalize { norm, map, places, channels, memory, start, step: width });
                continue;
            }
            for (k, place) in places.iter().enumerate() {
                // SAFETY: the maps have been checked, so the columns exist.
                let vectors: [S::V; V] =
                    unsafe { load(simd, self.right, place + channels.start, channels.len()) };
                for v in 0..V {
                    // SAFETY: the memory has room and is this thread's.
                    unsafe { simd.store_at(vectors[v], self.memory, start + k * width + v * S::LANES) };
                }
            }
        }
        places.iter_mut().enumerate().for_each(|(k, place)| *place = k * width);
    }

    /// Normalises the rows of some pixels, if that is wanted, which moves the places of channel 0.
    #[inline(always)]
    fn normalize<S: Simd>(&self, simd: S, places: &mut [usize]) {
        let Some(norm) = self.left_norm else { return };
        let (start, step) = (self.copy, pixel_len(OUTER_ROWS));
        let (map, memory, channels) = (self.left, self.memory, self.rows());
        simd.call(Normalize { norm, map, places, channels, memory, start, step });
        places.iter_mut().enumerate().for_each(|(pixel, place)| *place = start + pixel * step);
    }

    /// Adds a strip of pixels to all tiles of the task, while the rows that are read in place `later` are fetched.
    ///
    /// # Safety
    /// The runs lie inside, and the sums are this task's. Operands that are read in place come in whole panels.
    #[inline(always)]
    unsafe fn strip<S: Simd, const V: usize>(
        &self,
        simd: S,
        runs: &[Run],
        is_first: bool,
        later: usize,
        ahead: &mut Ahead<'_>,
    ) {
        let (plan, width) = (self.plan, V * S::LANES);
        let sums_stride = plan.sums_stride();
        let memory = self.memory.source();
        let right = if self.packs { memory } else { self.right };
        // What is normalised begins with the first channel.
        let (left, first) =
            if self.left_norm.is_some() { (memory, self.rows().start) } else { (self.left, 0) };
        let operands = Operands { left, right, runs, sums: self.sums, sums_stride, is_first };
        for (q, p) in self.panels.clone().enumerate() {
            let right = if self.packs { q * plan.packed_panel() } else { p * width };
            let later = if p + 1 == self.panels.end { later } else { 0 };
            for tile in self.tiles {
                let corner = Corner {
                    left: tile.offset - first,
                    right,
                    sums: self.sums_start + tile.row * sums_stride + p * width,
                    steps: self.steps(width),
                    later,
                };
                for_rows!(tile.rows, ROWS, call_outer_tile::<S, R, V>(simd, &operands, corner));
                ahead.turn(simd);
            }
        }
    }
}

/// What is normalised for the next strip, to be fetched into the second-level cache: some lines behind every tile.
struct Ahead<'a> {
    map: Source<'a>,
    places: &'a [usize],
    channels: Range<usize>,
    /// The line that is fetched next, and how many are at a time.
    next: usize,
    rate: usize,
}

impl Ahead<'_> {
    #[inline(always)]
    fn turn<S: Simd>(&mut self, simd: S) {
        let lines = self.channels.len().div_ceil(LINE);
        for line in self.next..(self.next + self.rate).min(self.places.len() * lines) {
            simd.prefetch_early(
                self.map,
                self.places[line / lines] + self.channels.start + line % lines * LINE,
            );
        }
        self.next += self.rate;
    }
}
