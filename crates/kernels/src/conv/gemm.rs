//! The product that forward pass and gradient of the input share: rows are pixels of the output map, the
//! sum runs over the taps of the window and the channels of the source map, columns are output channels.

use super::choose::{self, MAX_ROWS, Split, Tile};
use super::normalize::{Normalization, Normalize, pixel_len};
use super::sparse::{self, Images, call_rows};
use super::sums::{Sums, Written};
use super::tasks::{self, part};
use super::tile::{Finish, Panel, Rows, Segment, by_tile, call_tile, for_rows};
use super::walk::{Grid, Phase, Walk};
use crate::check;
use crate::isa::{Isa, Kernel, Simd, Sink, Source};
use residuum_tensor::MapLayout;
use std::ops::Range;

mod pack;

pub(super) use pack::{gather, scale};

/// What is done to a convolution's sum before it is stored: `relu(sum + bias + residual)`, then zero where the
/// mask is not positive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One value for each output channel.
    pub bias: Option<&'a [f32]>,
    /// A map of the size of the output, with its layout.
    pub residual: Option<(&'a [f32], MapLayout)>,
    /// Negative values become zero.
    pub relu: bool,
    /// A map of the size of the output, with its layout: the output of a ReLU whose gradient is to be taken.
    pub mask: Option<(&'a [f32], MapLayout)>,
}

impl Epilogue<'_> {
    /// Panics unless every part fits an output map.
    pub(super) fn check(&self, out: &MapLayout) {
        if let Some(bias) = self.bias {
            check::length("bias", bias.len(), out.c);
        }
        for (what, map) in [("residual", &self.residual), ("mask", &self.mask)] {
            if let Some((map, layout)) = map {
                check::shape(what, layout, [out.n, out.h, out.w, out.c]);
                check::map(what, map.len(), layout);
            }
        }
    }
}

/// The parts of an epilogue, as the tasks of a convolution read them.
#[derive(Clone, Copy)]
pub(super) struct Ends<'a> {
    pub(super) bias: Option<Source<'a>>,
    pub(super) residual: Option<(Source<'a>, Walk)>,
    pub(super) mask: Option<(Source<'a>, Walk)>,
    pub(super) relu: bool,
}

impl<'a> Ends<'a> {
    /// What is done to finished sums.
    #[inline(always)]
    pub(super) fn finish(&self) -> Finish<'a> {
        Finish {
            bias: self.bias,
            residual: self.residual.map(|(map, _)| map),
            mask: self.mask.map(|(map, _)| map),
            relu: self.relu,
        }
    }
}

impl<'a> Epilogue<'a> {
    /// What is done to the pixels of a phase and to `columns` of their channels. Residual and mask are walked from their
    /// first channel on.
    pub(super) fn ends(&self, phase: Phase, columns: Range<usize>) -> Ends<'a> {
        let walk = |(map, layout)| (Source::new(map), phase.walk(&layout));
        Ends {
            bias: self.bias.map(|bias| Source::new(&bias[columns])),
            residual: self.residual.map(walk),
            mask: self.mask.map(walk),
            relu: self.relu,
        }
    }
}

/// What a run reads and writes. The maps lie inside their buffers.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) src: &'a [f32],
    pub(super) packed: &'a [f32],
    pub(super) epilogue: &'a Epilogue<'a>,
    pub(super) dst: Sink<'a>,
    /// What is done to the source first, for a pass that can.
    pub(super) norm: Option<Normalization<'a>>,
    pub(super) sums: Option<Sums<'a>>,
}

/// A tap of the window, as a row sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    /// Place in the source, from the place of the row.
    pub(super) offset: usize,
    /// Place of the tap in the window.
    pub(super) index: usize,
}

/// How a weight is found: `group * g + column * co + channel * ci + tap`.
#[derive(Clone, Copy, Debug)]
pub(super) struct WeightStrides {
    pub(super) group: usize,
    pub(super) column: usize,
    pub(super) channel: usize,
}

/// A part of the sum.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    segments: Range<usize>,
    start: usize,
    len: usize,
}

/// A product, prepared for its maps.
#[derive(Clone, Debug)]
pub(super) struct Gemm {
    tile: Tile,
    grid: Grid,
    phase: Phase,
    src: Walk,
    dst: Walk,
    taps: Vec<Tap>,
    segments: Vec<Segment>,
    chunks: Vec<Chunk>,
    groups: usize,
    /// Channels of the source in a group.
    channels: usize,
    /// Channels of the output in a group.
    columns: usize,
    strides: WeightStrides,
    split: Split,
    panel_columns: usize,
    panels: usize,
}

/// What [`Gemm::new`] needs to know.
pub(super) struct Product<'a> {
    pub(super) isa: Isa,
    pub(super) phase: Phase,
    /// Places of the rows in the source.
    pub(super) src: Walk,
    pub(super) dst: &'a MapLayout,
    /// By ascending offset.
    pub(super) taps: Vec<Tap>,
    /// Where the source is a map that may be normalised.
    pub(super) extent: Option<Extent>,
    pub(super) groups: usize,
    pub(super) channels: usize,
    pub(super) columns: usize,
    pub(super) strides: WeightStrides,
}

/// A map inside its border, as windows of a stride of 1 see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Rows above the map and columns on its left in the first window.
    pub(super) padding: [usize; 2],
    /// Rows and columns of the map.
    pub(super) size: [usize; 2],
}

impl Gemm {
    /// The product by a register tile.
    pub(super) fn new(product: Product<'_>, tile: Tile) -> Self {
        let Product { isa, phase, src, dst, taps, groups, channels, columns, strides, .. } = product;
        let panel_columns = tile.columns(isa);
        let (segments, chunks) = cut(&taps, channels, choose::chunk(panel_columns));
        let (grid, panels) = (phase.grid(dst), columns.div_ceil(panel_columns));
        let macs = grid.rows() * columns * channels * taps.len();
        let rows = if tile.is_sparse() { 2 * grid.pairs() } else { grid.rows() };
        let split = choose::split(rows, tile.least_rows(), panels, macs);
        let dst = phase.walk(dst);
        Self {
            tile,
            grid,
            phase,
            src,
            dst,
            taps,
            segments,
            chunks,
            groups,
            channels,
            columns,
            strides,
            split,
            panel_columns,
            panels,
        }
    }

    pub(super) fn tile(&self) -> Tile {
        self.tile
    }

    /// Steps of the sum.
    fn depth(&self) -> usize {
        self.taps.len() * self.channels
    }

    fn group_len(&self) -> usize {
        self.depth() * self.panels * self.panel_columns
    }

    /// Floats that the packed weights take.
    pub(super) fn packed_len(&self) -> usize {
        self.groups * self.group_len()
    }

    /// Blocks of rows, of which sums can be taken.
    pub(super) fn blocks(&self) -> usize {
        if self.grid.rows() == 0 { 0 } else { self.split.row_blocks }
    }

    /// The rows of a block.
    fn rows(&self, block: usize) -> Range<usize> {
        if self.tile.is_sparse() {
            self.grid.rows_of_pairs(part(self.grid.pairs(), block, self.split.row_blocks))
        } else {
            part(self.grid.rows(), block, self.split.row_blocks)
        }
    }

    /// Floats that a task takes which normalises its rows.
    pub(super) fn normalized_len(&self) -> usize {
        let most = (0..self.blocks()).map(|block| self.rows(block).len()).max().unwrap_or(0);
        most * pixel_len(self.channels)
    }

    fn tasks(&self) -> usize {
        if self.blocks() == 0 { 0 } else { self.groups * self.split.tasks() }
    }
}

/// Segments and chunks of a sum over taps: neighbouring taps whose channels touch are one run, and runs are
/// cut where a chunk ends. There is a chunk, though an empty one, where there are no taps.
pub(super) fn cut(taps: &[Tap], channels: usize, limit: usize) -> (Vec<Segment>, Vec<Chunk>) {
    let depth = taps.len() * channels;
    let count = depth.div_ceil(limit).max(1);
    let (mut segments, mut chunks) = (Vec::<Segment>::new(), Vec::new());
    for index in 0..count {
        // Multiples of four, for the unrolled loop.
        let bound =
            |index: usize| if index == count { depth } else { (depth * index / count).next_multiple_of(4) };
        let (start, end) = (bound(index), bound(index + 1));
        let first = segments.len();
        let mut at = start;
        while at < end {
            let (tap, channel) = (at / channels, at % channels);
            let len = (channels - channel).min(end - at);
            let offset = taps[tap].offset + channel;
            match segments.get_mut(first..).and_then(<[Segment]>::last_mut) {
                Some(last) if last.offset + last.len == offset => last.len += len,
                _ => segments.push(Segment { offset, len }),
            }
            at += len;
        }
        chunks.push(Chunk { segments: first..segments.len(), start, len: end - start });
    }
    (segments, chunks)
}

/// Runs products that write disjoint parts of one map, as one set of tasks. Group `g` of product `i` reads
/// its part of `packed`, one product after the other, and so lie the sums of their blocks.
pub(super) fn run(isa: Isa, gemms: &[Gemm], operands: Operands<'_>) {
    let total: usize = gemms.iter().map(Gemm::tasks).sum();
    let min_tasks = gemms.iter().map(|gemm| gemm.split.min_tasks).min().unwrap_or(1);
    let run = |mut index: usize| {
        let (mut packed_start, mut first_block) = (0, 0);
        for gemm in gemms {
            if index < gemm.tasks() {
                let packed = &operands.packed[packed_start..packed_start + gemm.packed_len()];
                return gemm.run_task(isa, index, first_block, Operands { packed, ..operands });
            }
            index -= gemm.tasks();
            packed_start += gemm.packed_len();
            first_block += gemm.blocks();
        }
    };
    tasks::for_each(total, min_tasks, run);
}

impl Gemm {
    /// Task `index`; the sums of its blocks begin with `first_block`.
    fn run_task(&self, isa: Isa, index: usize, first_block: usize, operands: Operands<'_>) {
        let Operands { src, packed, epilogue, dst, norm, sums } = operands;
        let [group, block, panel_block] = self.split.blocks(index);
        let task = Task {
            gemm: self,
            src: Source::new(src),
            packed: Source::new(&packed[group * self.group_len()..(group + 1) * self.group_len()]),
            ends: epilogue.ends(self.phase, group * self.columns..(group + 1) * self.columns),
            dst,
            sums,
            block: first_block + block,
            group,
            rows: self.rows(block),
            panels: part(self.panels, panel_block, self.split.panel_blocks),
            norm: None,
        };
        match norm {
            None => isa.run(task),
            Some(norm) => tasks::with_memory(self.normalized_len(), |memory| {
                isa.run(Task { norm: Some((norm, memory)), ..task });
            }),
        }
    }
}

/// Some rows and panels of a group.
struct Task<'a> {
    gemm: &'a Gemm,
    src: Source<'a>,
    packed: Source<'a>,
    ends: Ends<'a>,
    dst: Sink<'a>,
    sums: Option<Sums<'a>>,
    /// Which block of outputs this is.
    block: usize,
    group: usize,
    rows: Range<usize>,
    panels: Range<usize>,
    /// What is done to the rows first, and where they are put.
    norm: Option<(Normalization<'a>, Sink<'a>)>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.gemm.tile {
            Tile::R1V8 => self.run_tiled::<S, 1, 8>(simd),
            Tile::R1V4 => self.run_tiled::<S, 1, 4>(simd),
            Tile::R2V8 if S::IS_WIDE => self.run_tiled::<S, 2, 8>(simd),
            Tile::R2V4 if S::IS_WIDE => self.run_tiled::<S, 2, 4>(simd),
            tile => by_tile!(tile, S, |R, V| self.run_tiled::<S, R, V>(simd)),
        }
    }
}

impl Task<'_> {
    /// The task in tiles of at most `R` rows and of `V` vectors.
    #[inline(always)]
    fn run_tiled<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let task = self;
        let (gemm, rows, width) = (task.gemm, task.rows.len(), V * S::LANES);
        let [mut src, mut dst, mut residual, mut mask, mut other, mut later] = [[0; MAX_ROWS]; 6];
        let place = |walk: &Walk, places: &mut [usize; MAX_ROWS], shift: usize| {
            gemm.grid.places(walk, task.rows.start, &mut places[..rows]);
            places[..rows].iter_mut().for_each(|place| *place += shift);
        };
        let shift = task.group * gemm.columns;
        place(&gemm.src, &mut src, task.group * gemm.channels);
        place(&gemm.dst, &mut dst, shift);
        if let Some((_, walk)) = &task.ends.residual {
            place(walk, &mut residual, shift);
        }
        if let Some((_, walk)) = &task.ends.mask {
            place(walk, &mut mask, shift);
        }
        let summed_with = task.sums.and_then(|sums| sums.other());
        if let Some((_, layout)) = &summed_with {
            place(&gemm.phase.walk(layout), &mut other, shift);
        }
        // The first panel brings the rows into the cache; where they have been normalised, those of the next task.
        let (map, ahead) = match task.norm {
            None => (task.src, &src[..rows]),
            Some(_) => (task.normalize(simd, &mut src[..rows]), task.following(&mut later)),
        };
        for (c, chunk) in gemm.chunks.iter().enumerate() {
            for p in task.panels.clone() {
                let start = gemm.panel_start(chunk, p);
                let next = match gemm.chunks.get(c + 1) {
                    _ if p + 1 < task.panels.end => gemm.panel_start(chunk, p + 1),
                    Some(chunk) => gemm.panel_start(chunk, task.panels.start),
                    None => start,
                };
                let panel = Panel {
                    src: map,
                    later: task.src,
                    other: summed_with.map(|(map, _)| Source::new(map)),
                    dst: task.dst,
                    segments: &gemm.segments[chunk.segments.clone()],
                    // SAFETY: the packed weights hold every panel.
                    weights: unsafe { task.packed.skip(start) },
                    // SAFETY: the packed weights hold every panel.
                    next: unsafe { task.packed.skip(next) },
                    column: p * width,
                    columns: gemm.columns - p * width,
                    is_first: c == 0,
                    is_last: c + 1 == gemm.chunks.len(),
                    finish: task.ends.finish(),
                };
                let places = Rows {
                    src: &src[..rows],
                    next: if p == task.panels.start { ahead } else { &[] },
                    dst: &dst[..rows],
                    residual: &residual[..rows],
                    mask: &mask[..rows],
                    other: &other[..rows],
                    index: 0,
                    count: 1,
                };
                if R <= sparse::MOST_ROWS {
                    let image = gemm.grid.pixels();
                    let images = Images { first: task.rows.start % image, rows: image };
                    // SAFETY: the maps and the weights have been checked, and no other task has these rows and panels.
                    unsafe { call_rows::<S, R, V>(simd, &panel, places, images) };
                } else {
                    // SAFETY: the same.
                    unsafe { tiles::<S, R, V>(simd, &panel, places) };
                }
            }
        }
        if let Some(sums) = task.sums {
            let written = Written {
                map: task.dst,
                places: &dst[..rows],
                others: &other[..rows],
                shift,
                channels: task.panels.start * width..gemm.columns.min(task.panels.end * width),
                sums,
                block: task.block,
                row: gemm.groups * gemm.columns,
            };
            written.take(simd);
        }
    }

    /// Where the rows are read: in the source, or where they have been normalised, which moves their places.
    #[inline(always)]
    fn normalize<S: Simd>(&self, simd: S, places: &mut [usize]) -> Source<'_> {
        let Some((norm, memory)) = self.norm else { return self.src };
        let (channels, step) = (0..self.gemm.channels, pixel_len(self.gemm.channels));
        simd.call(Normalize { norm, map: self.src, places, channels, memory, start: 0, step });
        places.iter_mut().enumerate().for_each(|(row, place)| *place = row * step);
        memory.source()
    }

    /// The places of the rows that the next task has, if it has others.
    fn following<'b>(&self, places: &'b mut [usize; MAX_ROWS]) -> &'b [usize] {
        if self.panels.end < self.gemm.panels {
            return &[];
        }
        let end = (self.rows.end + self.rows.len()).min(self.gemm.grid.rows());
        let places = &mut places[..end - self.rows.end];
        if !places.is_empty() {
            self.gemm.grid.places(&self.gemm.src, self.rows.end, places);
        }
        places
    }
}

impl Gemm {
    #[inline(always)]
    fn panel_start(&self, chunk: &Chunk, panel: usize) -> usize {
        (chunk.start * self.panels + panel * chunk.len) * self.panel_columns
    }
}

/// A panel for all rows of a task, in tiles as even as possible.
///
/// # Safety
/// That of [`call_tile`].
#[inline(always)]
unsafe fn tiles<S: Simd, const R: usize, const V: usize>(simd: S, panel: &Panel<'_>, rows: Rows<'_>) {
    let len = rows.src.len();
    let count = len.div_ceil(R);
    let (least, larger) = (len / count, len % count);
    let mut start = 0;
    for index in 0..count {
        let height = least + usize::from(index < larger);
        let part = start..start + height;
        let next = rows.next.get(part.end..).unwrap_or_default();
        let places = Rows {
            src: &rows.src[part.clone()],
            next: &next[..next.len().min(height)],
            dst: &rows.dst[part.clone()],
            residual: &rows.residual[part.clone()],
            mask: &rows.mask[part.clone()],
            other: &rows.other[part],
            index,
            count,
        };
        for_rows!(height, R, call_tile::<S, R, V>(simd, panel, places));
        start += height;
    }
}
