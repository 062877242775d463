//! Few tiles: the filters stay as they are, and are transformed in registers on the way to the products.
//!
//! Transformed filters take four times the memory. Few tiles do little with each of them, so that they would wait for
//! memory; the transform takes less time than reading what comes of it.
//!
//! ```text
//! block of at most 32 tiles
//!   V[group of 4 tiles][strip of 16 channels][36][tile][channel] = transformed inputs      threads share the tiles
//!   task    = panels of output channels, a vector each                                     threads share the tasks
//!     panel
//!       chunk of input channels, whose filters stay in the first-level cache
//!         row of 6 frequencies, group of tiles
//!           M[6][tile][column] += the products; meanwhile, filters of the next chunk are fetched
//!       outputs = transformed M, with the epilogue
//! ```

mod filter;
mod product;

use super::axis::{OUTPUTS, POINTS, ToScaledPoints, input_steps, output_steps};
use super::form::Form;
use super::frequency_stride;
use super::outputs::{Outputs, TileProducts};
use super::tiling::{Block, Tiling};
use super::transform::TransformTile;
use crate::conv::choose::{self, WINOGRAD_BLOCK};
use crate::conv::gemm::{Operands, Product};
use crate::conv::tasks::{self, WorkingMemory};
use crate::conv::walk::{Phase, Walk};
use crate::isa::{Isa, Kernel, Simd, Sink, Source};
use filter::{FILTER_STEPS, Filters};
use product::{GROUP, HALF, Products, ROW_LEN, STRIP, STRIP_LEN};
use std::marker::PhantomData;
use std::ops::Range;

/// Products of a tile.
const FREQUENCIES: usize = POINTS * POINTS;

/// A convolution of stride 1 by windows of 3 x 3, prepared for its maps.
#[derive(Clone, Debug)]
pub(in crate::conv) struct OnTheFly {
    isa: Isa,
    tiling: Tiling,
    src: Walk,
    dst: Walk,
    filters: Filters,
    /// Blocks of tiles, one after the other.
    tile_blocks: usize,
    /// Tasks of a block.
    column_parts: usize,
    memory: Memory,
}

/// What lies where: `V` in the shared memory, `M` in that of a task.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// Floats of a group of tiles in `V`.
    group: usize,
    /// From a frequency to the next in `M`, whose tiles have a panel's columns each.
    m_stride: usize,
    /// Channels of a chunk.
    chunk: usize,
}

impl OnTheFly {
    pub(in crate::conv) fn new(product: &Product<'_>) -> Self {
        let Product { isa, src, dst, channels, columns, .. } = *product;
        let filters = Filters::new(product, isa.lanes());
        let tiling = Tiling::new(product.phase.grid(dst), Form::PIXELS);
        let tile_blocks = tiling.len().div_ceil(WINOGRAD_BLOCK).max(1);
        let most_tiles = tiling.len().div_ceil(tile_blocks);
        let memory = Memory {
            group: channels.div_ceil(STRIP) * STRIP_LEN,
            m_stride: frequency_stride(most_tiles * filters.panel_columns),
            chunk: choose::fly_chunk(filters.panel_columns).next_multiple_of(STRIP),
        };
        Self {
            isa,
            tiling,
            src,
            dst: Phase::ALL.walk(dst),
            column_parts: choose::fly_parts(columns, filters.panel_columns),
            filters,
            tile_blocks,
            memory,
        }
    }

    /// Floats that the packed filters take.
    pub(in crate::conv) fn packed_len(&self) -> usize {
        self.filters.len()
    }

    /// What the threads work in.
    pub(in crate::conv) fn working_memory(&self) -> WorkingMemory {
        let tiles = (0..self.tile_blocks).map(|index| self.tiles_of(index).len());
        let shared = tiles.map(|tiles| self.inputs_len(tiles)).max().unwrap_or(0);
        WorkingMemory { thread: FREQUENCIES * self.memory.m_stride, shared }
    }

    /// The tiles of a block.
    fn tiles_of(&self, block: usize) -> Range<usize> {
        tasks::part(self.tiling.len(), block, self.tile_blocks)
    }

    /// Floats of the transformed inputs of so many tiles.
    fn inputs_len(&self, tiles: usize) -> usize {
        tiles.div_ceil(GROUP) * self.memory.group
    }

    /// Blocks of tiles, of which sums can be taken.
    pub(in crate::conv) fn blocks(&self) -> usize {
        self.tile_blocks
    }

    /// Multiply-adds of the products and of the transforms; every group of tiles transforms the filters anew.
    pub(in crate::conv) fn multiply_adds(&self) -> usize {
        let Filters { channels, columns, .. } = self.filters;
        let tiles = self.tiling.len();
        let products: usize = (0..POINTS).map(|row| POINTS * self.tiling.wanting(row * POINTS)).sum();
        let filters = tiles.div_ceil(GROUP) * FILTER_STEPS;
        let maps = tiles * (input_steps(POINTS) * channels + output_steps(POINTS, OUTPUTS) * columns);
        (products + filters) * channels * columns + maps
    }

    /// Packs the filters.
    pub(in crate::conv) fn pack(&self, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
        self.filters.pack(weights, scales, packed);
    }

    pub(in crate::conv) fn run(&self, operands: Operands<'_>) {
        if self.tiling.len() == 0 {
            return;
        }
        for index in 0..self.tile_blocks {
            let block = self.tiling.block(self.tiles_of(index));
            tasks::with_shared_memory(self.inputs_len(block.tiles().len()), |v| {
                self.transform_inputs(operands.src, &block, v);
                let outputs = Outputs::new(&operands, self.dst, self.filters.columns, index);
                self.multiply(&block, v.source(), operands.packed, &outputs);
            });
        }
    }

    fn transform_inputs(&self, src: &[f32], block: &Block, v: Sink<'_>) {
        let count = block.tiles().len();
        let macs = input_steps(POINTS) * count * self.filters.channels;
        tasks::for_each(count, choose::min_tasks(macs, count), |tile| {
            self.isa.run(Inputs { plan: self, src: Source::new(src), block, v, tile });
        });
    }

    fn multiply(&self, block: &Block, v: Source<'_>, packed: &[f32], outputs: &Outputs<'_>) {
        let memory_len = self.working_memory().thread;
        let Filters { channels, columns, .. } = self.filters;
        let macs = FREQUENCIES * block.tiles().len() * channels * columns;
        tasks::for_each(self.column_parts, choose::min_tasks(macs, self.column_parts), |index| {
            tasks::with_memory(memory_len, |memory| {
                self.isa.run(Task {
                    plan: self,
                    block,
                    v,
                    packed: Source::new(packed),
                    outputs: *outputs,
                    memory,
                    panels: tasks::part(self.filters.panels(), index, self.column_parts),
                });
            });
        });
    }
}

/// The transform of the inputs of a tile.
struct Inputs<'a> {
    plan: &'a OnTheFly,
    src: Source<'a>,
    block: &'a Block,
    v: Sink<'a>,
    tile: usize,
}

impl Kernel for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let OnTheFly { src, filters, memory, .. } = self.plan;
        let (group, slot) = (self.tile / GROUP, self.tile % GROUP);
        // What the outputs of the tile need, and no more: it lies inside the map and its border.
        let window = self.block.tiles()[self.tile].window(src).grown(POINTS - OUTPUTS);
        for (strip, channel) in (0..filters.channels).step_by(STRIP).enumerate() {
            let rest = filters.channels - channel;
            simd.call(TransformTile::<ToScaledPoints, POINTS, POINTS, 0> {
                to: PhantomData,
                src: self.src,
                norm: None,
                window: window.shifted(channel),
                next: window.shifted(channel + STRIP),
                channels: rest,
                dst: self.v,
                start: group * memory.group + strip * STRIP_LEN + slot * STRIP,
                row: rest.next_multiple_of(S::LANES).min(STRIP),
                stride: GROUP * STRIP,
            });
        }
    }
}

/// All tiles of a block, and some panels of output channels.
struct Task<'a> {
    plan: &'a OnTheFly,
    block: &'a Block,
    v: Source<'a>,
    packed: Source<'a>,
    outputs: Outputs<'a>,
    memory: Sink<'a>,
    panels: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (channels, chunk) = (self.plan.filters.channels, self.plan.memory.chunk);
        for panel in self.panels.clone() {
            for start in (0..channels).step_by(chunk) {
                let chunk = start..channels.min(start + chunk);
                self.multiply::<S, 0>(simd, panel, &chunk);
                self.multiply::<S, 1>(simd, panel, &chunk);
                self.multiply::<S, 2>(simd, panel, &chunk);
                self.multiply::<S, 3>(simd, panel, &chunk);
                self.multiply::<S, 4>(simd, panel, &chunk);
                self.multiply::<S, 5>(simd, panel, &chunk);
            }
            self.transform_outputs(simd, panel);
        }
    }
}

impl Task<'_> {
    /// Adds the products of a row of frequencies over a chunk of the channels, group by group.
    #[inline(always)]
    fn multiply<S: Simd, const ROW: usize>(&self, simd: S, panel: usize, chunk: &Range<usize>) {
        let wanting = self.block.wanting(ROW * POINTS, POINTS);
        let mut first = wanting.start;
        while first < wanting.end {
            let last = wanting.end.min((first / GROUP + 1) * GROUP);
            if S::IS_WIDE {
                self.multiply_group::<S, ROW, 0, POINTS>(simd, panel, chunk, first..last);
            } else {
                self.multiply_group::<S, ROW, 0, HALF>(simd, panel, chunk, first..last);
                self.multiply_group::<S, ROW, HALF, HALF>(simd, panel, chunk, first..last);
            }
            first = last;
        }
    }

    #[inline(always)]
    fn multiply_group<S: Simd, const ROW: usize, const FIRST: usize, const COUNT: usize>(
        &self,
        simd: S,
        panel: usize,
        chunk: &Range<usize>,
        tiles: Range<usize>,
    ) {
        match tiles.len() {
            1 => self.multiply_tiles::<S, ROW, FIRST, COUNT, 1>(simd, panel, chunk, tiles.start),
            2 => self.multiply_tiles::<S, ROW, FIRST, COUNT, 2>(simd, panel, chunk, tiles.start),
            3 => self.multiply_tiles::<S, ROW, FIRST, COUNT, 3>(simd, panel, chunk, tiles.start),
            _ => self.multiply_tiles::<S, ROW, FIRST, COUNT, GROUP>(simd, panel, chunk, tiles.start),
        }
    }

    /// The same of `R` tiles.
    #[inline(always)]
    fn multiply_tiles<S: Simd, const ROW: usize, const FIRST: usize, const COUNT: usize, const R: usize>(
        &self,
        simd: S,
        panel: usize,
        chunk: &Range<usize>,
        first: usize,
    ) {
        let OnTheFly { filters, memory, .. } = self.plan;
        let v = first / GROUP * memory.group + ROW * ROW_LEN + first % GROUP * STRIP;
        simd.call(Products::<ROW, FIRST, COUNT, R> {
            // SAFETY: the shared memory holds every group.
            v: unsafe { self.v.skip(v) },
            // SAFETY: the packed filters hold every panel.
            filters: unsafe { self.packed.skip(filters.place(panel, 0)) },
            channels: chunk.clone(),
            ahead: filters.place(0, chunk.end) + ROW * filters.place(0, chunk.len()) / POINTS,
            sums: self.memory,
            start: ROW * POINTS * memory.m_stride + first * S::LANES,
            stride: memory.m_stride,
        });
    }

    #[inline(always)]
    fn transform_outputs<S: Simd>(&self, simd: S, panel: usize) {
        let OnTheFly { filters, memory, .. } = self.plan;
        let first = panel * filters.panel_columns;
        for (t, tile) in self.block.tiles().iter().enumerate() {
            let products = TileProducts {
                src: self.memory.source(),
                start: t * filters.panel_columns,
                stride: memory.m_stride,
                first,
                columns: filters.panel_columns.min(filters.columns - first),
            };
            self.outputs.transform::<S, POINTS, OUTPUTS>(simd, products, [tile, self.block.next(t)]);
        }
        let columns = first..filters.columns.min(first + filters.panel_columns);
        self.outputs.take_sums(simd, self.block, columns);
    }
}
