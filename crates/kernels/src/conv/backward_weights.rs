//! The gradient of the weights: `dw[row][column]` is the sum over all output pixels of `x[row] * dy[column]`,
//! where a row is a tap of the window and an input channel, and a column an output channel.
//!
//! ```text
//! task       = block of rows x block of columns x part of the pixels    threads share the tasks
//!   strip    of at most 128 pixels, whose `dy` is packed: [panel][pixel][16]
//!     panel x tile of 6 x 16 sums (AVX2), in registers over the strip
//! then the parts are added in their order and turned into OIHW
//! ```
//!
//! A panel of `dy` is read once for every tile, so it has to stay in the first-level cache. Unpacked, its pixels would
//! lie at distances that are powers of two, where they push each other out. A tile's part of `x` is read once for
//! every panel: packing it would cost more than it saves.

use super::algorithm::ConvAlgorithm;
use super::choose::{self, Choice, OUTER_COLUMNS, OUTER_PIXELS, OUTER_ROWS, Pass};
use super::forward::{taps, windows};
use super::gemm::cut;
use super::normalize::{Normalization, Normalize, pixel_len};
use super::outer::{Corner, Operands, Run, call_outer_tile};
use super::reduce::{self, Sums};
use super::tasks::{self, WorkingMemory, part};
use super::tile::{LINE, for_rows, load};
use super::walk::{Grid, Phase, Walk};
use super::winograd::WinogradWeights;
use crate::check;
use crate::conv_shape::ConvShape;
use crate::isa::{Isa, Kernel, Simd, Sink, Source};
use residuum_tensor::MapLayout;
use std::ops::Range;

/// Rows of a register tile.
const ROWS: usize = 6;
/// Floats between two packed tiles, so that they do not begin in the same cache set.
const GAP: usize = 16;

/// The gradient of a convolution's weights, prepared for its shape and the layouts of its maps.
#[derive(Clone, Debug)]
pub struct ConvBackwardWeights {
    shape: ConvShape,
    x: MapLayout,
    dy: MapLayout,
    way: Way,
    can_normalize: bool,
    normalizes: bool,
}

#[derive(Clone, Debug)]
enum Way {
    Direct(Box<OuterProducts>),
    Winograd(Box<WinogradWeights>),
}

/// The direct way.
#[derive(Clone, Debug)]
struct OuterProducts {
    isa: Isa,
    shape: ConvShape,
    /// Vectors of a tile.
    vectors: usize,
    /// Packs `dy`, instead of reading it where it lies.
    packs: bool,
    grid: Grid,
    x_walk: Walk,
    dy_walk: Walk,
    tiles: Vec<Strand>,
    blocks: Vec<Range<usize>>,
    panels: usize,
    panel_columns: usize,
    panel_blocks: usize,
    parts: usize,
}

/// Up to [`ROWS`] rows of the result whose operands are contiguous in `x`.
#[derive(Clone, Copy, Debug)]
struct Strand {
    /// From the place of the window.
    offset: usize,
    /// First row of the result.
    row: usize,
    rows: usize,
}

impl ConvBackwardWeights {
    /// Prepares the gradient from the maps `x` and `dy`, by the algorithm that suits the shape.
    ///
    /// # Panics
    /// Where the layouts do not fit the shape, or the border of `x` is less than [`ConvShape::input_border`].
    pub fn new(isa: Isa, shape: &ConvShape, x: MapLayout, dy: MapLayout) -> Self {
        Self::with_algorithm(isa, ConvAlgorithm::Auto, shape, x, dy)
    }

    /// The same by a given algorithm, where the shape admits it.
    ///
    /// # Panics
    /// As [`ConvBackwardWeights::new`].
    pub fn with_algorithm(
        isa: Isa,
        algorithm: ConvAlgorithm,
        shape: &ConvShape,
        x: MapLayout,
        dy: MapLayout,
    ) -> Self {
        shape.check(&x, shape.input_border(), &dy, 0);
        let way = match choose::choice(isa, algorithm, Pass::BackwardWeights, shape) {
            Choice::Winograd(form) => {
                Way::Winograd(Box::new(WinogradWeights::new(isa, form, shape, &x, &dy)))
            }
            Choice::Direct | Choice::Strassen | Choice::OnTheFly => {
                Way::Direct(Box::new(OuterProducts::new(isa, shape, &x, &dy)))
            }
        };
        let can_normalize = algorithm.normalizes(isa, Pass::BackwardWeights, shape);
        Self { shape: *shape, x, dy, way, can_normalize, normalizes: false }
    }

    /// The same, of an input that is normalised on the way.
    ///
    /// # Panics
    /// Where [`ConvAlgorithm::normalizes`] says no.
    #[must_use]
    pub fn normalizing(self) -> Self {
        assert!(self.can_normalize, "{:?} by {} cannot normalise", self.shape, self.algorithm());
        Self { normalizes: true, ..self }
    }

    /// Floats of working memory that [`ConvBackwardWeights::run`] needs.
    pub fn scratch_len(&self) -> usize {
        match &self.way {
            Way::Direct(direct) => direct.scratch_len(),
            Way::Winograd(winograd) => winograd.scratch_len(),
        }
    }

    /// What the threads work in.
    pub fn working_memory(&self) -> WorkingMemory {
        match &self.way {
            Way::Direct(direct) => WorkingMemory { thread: direct.memory_len(self.normalizes), shared: 0 },
            Way::Winograd(winograd) => winograd.working_memory(),
        }
    }

    /// `dw` (OIHW) becomes the gradient summed over the batch; what `dw` and `scratch` held does not matter.
    ///
    /// # Panics
    /// Where a slice is too short for its layout, or of another length than the shape or
    /// [`ConvBackwardWeights::scratch_len`] say.
    pub fn run(&self, x: &[f32], dy: &[f32], scratch: &mut [f32], dw: &mut [f32]) {
        self.run_with(x, None, dy, scratch, dw);
    }

    /// [`ConvBackwardWeights::run`] of an input that is to be normalised, if the gradient is
    /// [`ConvBackwardWeights::normalizing`].
    ///
    /// # Panics
    /// As [`ConvBackwardWeights::run`]; where there is a norm and the gradient does not normalise, or the reverse, and where
    /// the norm is of other channels.
    pub fn run_with(
        &self,
        x: &[f32],
        norm: Option<Normalization<'_>>,
        dy: &[f32],
        scratch: &mut [f32],
        dw: &mut [f32],
    ) {
        assert_eq!(norm.is_some(), self.normalizes, "a norm for a gradient that normalises its input");
        if let Some(norm) = &norm {
            norm.check(self.shape.c_in);
        }
        check::bordered_map("input", x.len(), &self.x);
        check::map("output gradient", dy.len(), &self.dy);
        check::length("scratch", scratch.len(), self.scratch_len());
        check::length("weight gradient", dw.len(), self.shape.weight_len());
        match &self.way {
            Way::Direct(direct) => direct.run(x, norm, dy, scratch, dw),
            Way::Winograd(winograd) => winograd.run(x, norm, dy, scratch, dw),
        }
    }

    /// Multiply-adds of the algorithm, its transforms included; an addition counts as one.
    pub fn multiply_adds(&self) -> usize {
        match &self.way {
            Way::Direct(_) => self.shape.macs(),
            Way::Winograd(winograd) => winograd.multiply_adds(),
        }
    }

    /// How the gradient is computed, for a profile.
    pub fn algorithm(&self) -> &'static str {
        match &self.way {
            Way::Direct(_) => "outer products",
            Way::Winograd(winograd) => winograd.name(),
        }
    }
}

impl OuterProducts {
    fn new(isa: Isa, shape: &ConvShape, x: &MapLayout, dy: &MapLayout) -> Self {
        let vectors = choose::outer_vectors(isa, shape.group_out());
        let panel_columns = vectors * isa.lanes();
        let packs = choose::packs_outer(shape.group_out(), panel_columns, dy.pitch);
        let panels = shape.group_out().div_ceil(panel_columns);
        let tiles = strands(shape, x);
        let blocks = blocks(&tiles, OUTER_ROWS);
        let panel_blocks = (panels * panel_columns).div_ceil(OUTER_COLUMNS).max(1);
        let grid = Phase::ALL.grid(dy);
        let parts =
            choose::outer_parts(grid.rows(), shape.groups * blocks.len() * panel_blocks, shape.macs());
        let (x_walk, dy_walk) = (windows(shape, x), Phase::ALL.walk(dy));
        let shape = *shape;
        Self {
            isa,
            shape,
            vectors,
            packs,
            grid,
            x_walk,
            dy_walk,
            tiles,
            blocks,
            panels,
            panel_columns,
            panel_blocks,
            parts,
        }
    }

    fn scratch_len(&self) -> usize {
        self.shape.groups * self.parts * self.part_len()
    }

    fn part_len(&self) -> usize {
        self.rows() * self.panels * self.panel_columns
    }

    fn rows(&self) -> usize {
        self.shape.taps() * self.shape.group_in()
    }

    fn run(
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
        let sums = Sink::new(scratch);
        let count = self.shape.groups * self.parts * self.blocks.len() * self.panel_blocks;
        tasks::for_each(count, choose::min_tasks(self.shape.macs(), count), |index| {
            tasks::with_memory(self.memory_len(norm.is_some()), |memory| {
                self.run_task(index, Source::new(x), norm, Source::new(dy), memory, sums);
            });
        });
        let shape = &self.shape;
        let sums = Sums {
            values: scratch,
            groups: shape.groups,
            parts: self.parts,
            taps: shape.taps(),
            channels: shape.group_in(),
            columns: shape.group_out(),
            stride: self.panels * self.panel_columns,
        };
        reduce::run(self.isa, &sums, dw);
    }

    /// Floats from a packed panel to the next.
    fn packed_panel(&self) -> usize {
        OUTER_PIXELS * self.panel_columns + GAP
    }

    fn packed_len(&self) -> usize {
        if self.packs { self.panels.div_ceil(self.panel_blocks) * self.packed_panel() } else { 0 }
    }

    /// Floats that a task works in: the packed operand, then the normalised one.
    fn memory_len(&self, normalizes: bool) -> usize {
        self.packed_len() + if normalizes { OUTER_PIXELS * pixel_len(OUTER_ROWS) } else { 0 }
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
        let task = Task {
            plan: self,
            x,
            norm,
            dy,
            memory,
            sums,
            x_shift: group * self.shape.group_in(),
            dy_shift: group * self.shape.group_out(),
            sums_start: index * self.part_len(),
            pixels: part(self.grid.rows(), pixels, self.parts),
            tiles: &self.tiles[self.blocks[block].clone()],
            panels: part(self.panels, panel_block, self.panel_blocks),
        };
        self.isa.run(task);
    }
}

/// The rows of the result as tiles, as even as possible within each run of contiguous floats.
fn strands(shape: &ConvShape, x: &MapLayout) -> Vec<Strand> {
    let (segments, _) = cut(&taps(shape, x), shape.group_in(), usize::MAX);
    let (mut tiles, mut row) = (Vec::new(), 0);
    for segment in segments {
        let count = segment.len.div_ceil(ROWS);
        for index in 0..count {
            let start = segment.len * index / count;
            let rows = segment.len * (index + 1) / count - start;
            tiles.push(Strand { offset: segment.offset + start, row: row + start, rows });
        }
        row += segment.len;
    }
    tiles
}

/// Consecutive tiles of together at most `limit` rows, about as many in each block.
fn blocks(tiles: &[Strand], limit: usize) -> Vec<Range<usize>> {
    let per_block = (limit / ROWS).min(tiles.len()).max(1);
    let count = tiles.len().div_ceil(per_block);
    (0..count).map(|block| tiles.len() * block / count..tiles.len() * (block + 1) / count).collect()
}

/// Some rows and columns of a group's result, over some pixels.
struct Task<'a> {
    plan: &'a OuterProducts,
    x: Source<'a>,
    norm: Option<Normalization<'a>>,
    dy: Source<'a>,
    memory: Sink<'a>,
    sums: Sink<'a>,
    x_shift: usize,
    dy_shift: usize,
    sums_start: usize,
    pixels: Range<usize>,
    tiles: &'a [Strand],
    panels: Range<usize>,
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
        let task = self;
        let (mut x_places, mut dy_places) = ([0; OUTER_PIXELS], [0; OUTER_PIXELS]);
        let mut runs = [Run::default(); OUTER_PIXELS];
        let mut start = task.pixels.start;
        while start < task.pixels.end {
            let count = OUTER_PIXELS.min(task.pixels.end - start);
            task.plan.grid.places(&task.plan.x_walk, start, &mut x_places[..count]);
            task.plan.grid.places(&task.plan.dy_walk, start, &mut dy_places[..count]);
            x_places[..count].iter_mut().for_each(|place| *place += task.x_shift);
            dy_places[..count].iter_mut().for_each(|place| *place += task.dy_shift);
            if task.plan.packs {
                // SAFETY: the maps have been checked, there is room, and the packed operand is this thread's.
                unsafe { pack::<S, V>(simd, &task, &dy_places[..count]) };
                (0..count).for_each(|k| dy_places[k] = k * V * S::LANES);
            }
            task.normalize(simd, &mut x_places[..count]);
            let steps = task.steps(V * S::LANES);
            let found =
                task.plan.grid.runs(start, [&x_places[..count], &dy_places[..count]], steps, &mut runs);
            let mut ahead = task.ahead(start + count, &mut x_places);
            // SAFETY: the maps have been checked; no other task has this part of the sums.
            unsafe { strip::<S, V>(simd, &task, &runs[..found], start == task.pixels.start, &mut ahead) };
            start += count;
        }
    }

    /// From a pixel to the next in both operands.
    fn steps(&self, width: usize) -> [usize; 2] {
        let x = if self.norm.is_some() { pixel_len(OUTER_ROWS) } else { self.plan.x_walk.pixel };
        [x, if self.plan.packs { width } else { self.plan.dy_walk.pixel }]
    }

    /// The channels of the tiles, where windows are single pixels.
    fn channels(&self) -> Range<usize> {
        let end = self.tiles.last().map_or(0, |tile| tile.offset + tile.rows);
        self.tiles.first().map_or(0, |tile| tile.offset)..end
    }

    /// What the strip that starts with pixel `start` normalises.
    fn ahead<'b>(&'b self, start: usize, places: &'b mut [usize; OUTER_PIXELS]) -> Ahead<'b> {
        let count = OUTER_PIXELS.min(self.pixels.end - start);
        let places = if self.norm.is_some() { &mut places[..count] } else { &mut [] };
        if !places.is_empty() {
            self.plan.grid.places(&self.plan.x_walk, start, places);
        }
        let channels = self.channels();
        let lines = places.len() * channels.len().div_ceil(LINE);
        let rate = lines.div_ceil(self.tiles.len() * self.panels.len());
        Ahead { map: self.x, places, channels, next: 0, rate }
    }

    /// Normalises the channels of the tiles at some pixels, if that is wanted, which moves the places of channel 0.
    #[inline(always)]
    fn normalize<S: Simd>(&self, simd: S, places: &mut [usize]) {
        let Some(norm) = self.norm else { return };
        let channels = self.channels();
        let (start, step) = (self.plan.packed_len(), pixel_len(OUTER_ROWS));
        simd.call(Normalize { norm, map: self.x, places, channels, memory: self.memory, start, step });
        places.iter_mut().enumerate().for_each(|(pixel, place)| *place = start + pixel * step);
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

/// Adds a strip of pixels to all tiles of a task.
///
/// # Safety
/// The runs lie inside, and the sums are this task's. Operands that are read in place come in whole panels.
#[inline(always)]
unsafe fn strip<S: Simd, const V: usize>(
    simd: S,
    task: &Task<'_>,
    runs: &[Run],
    is_first: bool,
    ahead: &mut Ahead<'_>,
) {
    let (plan, width) = (task.plan, V * S::LANES);
    let sums_stride = plan.panels * width;
    let memory = task.memory.source();
    let dy = if plan.packs { memory } else { task.dy };
    // What is normalised begins with the first channel.
    let (x, first) = if task.norm.is_some() { (memory, task.channels().start) } else { (task.x, 0) };
    let operands = Operands { x, dy, runs, sums: task.sums, sums_stride, is_first };
    let [x_step, dy_step] = task.steps(width);
    for (q, p) in task.panels.clone().enumerate() {
        let dy = if plan.packs { q * plan.packed_panel() } else { p * width };
        for tile in task.tiles {
            let sums = task.sums_start + tile.row * sums_stride + p * width;
            let corner = Corner { x: tile.offset - first, dy, sums, x_step, dy_step };
            for_rows!(tile.rows, ROWS, call_outer_tile::<S, R, V>(simd, &operands, corner));
            ahead.turn(simd);
        }
    }
}

/// `[panel][pixel][V * LANES]`, zero where there is no column.
///
/// # Safety
/// The pixels lie inside, the memory has room and is this thread's.
#[inline(always)]
unsafe fn pack<S: Simd, const V: usize>(simd: S, task: &Task<'_>, places: &[usize]) {
    let (columns, width) = (task.plan.shape.group_out(), V * S::LANES);
    let panel_len = task.plan.packed_panel();
    for (k, place) in places.iter().enumerate() {
        for (q, p) in task.panels.clone().enumerate() {
            let column = p * width;
            // SAFETY: the columns exist, by the contract.
            let vectors: [S::V; V] = unsafe { load(simd, task.dy, place + column, columns - column) };
            for v in 0..V {
                let to = q * panel_len + k * width + v * S::LANES;
                // SAFETY: there is room and it is ours, by the contract.
                unsafe { simd.store_at(vectors[v], task.memory, to) };
            }
        }
    }
}
