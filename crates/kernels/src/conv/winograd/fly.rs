//! Few tiles: the filters stay as they are, and are transformed where they are used.
//!
//! Transformed filters take four times the memory. Few tiles do little with each of them, so that they would wait for
//! memory; the transform, in the caches, takes less time than reading its results.
//!
//! ```text
//! block of at most 32 tiles
//!   V[36][tile][channel]          = transformed inputs, shared            threads share the tiles
//!   task    = panels of output channels                                   threads share the tasks
//!     panel
//!       chunk of input channels
//!         U[36][channel][column]  = transformed filters, in the second-level cache
//!         frequency   its tiles x channels of the chunk x columns, by the register tile of the direct way
//!           M[36][tile][column]  += the product; meanwhile, filters of the next chunk are fetched
//!       outputs     = transformed M, with the epilogue
//! ```

mod filter;

use super::frequency_stride;
use super::tiling::{Block, FREQUENCIES, Tiling};
use super::transform::{INPUT_STEPS, OUTPUT_STEPS, OUTPUTS, POINTS, TransformOutput, TransformTile};
use crate::conv::choose::{self, WINOGRAD_BLOCK};
use crate::conv::gemm::{Between, Epilogue, Product, tiles};
use crate::conv::tasks;
use crate::conv::tile::{Finish, LINE, Panel, Rows, Segment};
use crate::conv::walk::{Phase, Walk};
use crate::isa::{Isa, Kernel, Simd, Sink, Source};
use filter::{FILTER_STEPS, Filters, TransformFilters};
use std::ops::Range;

/// A convolution of stride 1 by windows of 3 x 3, prepared for its maps.
#[derive(Clone, Debug)]
pub(in crate::conv) struct OnTheFly {
    isa: Isa,
    tile: choose::Tile,
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

/// What lies where: `V` in the shared memory, `U` from 0 on and then `M` in that of a task.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// Floats of a tile in `V`, and from a frequency to the next.
    v_row: usize,
    v_stride: usize,
    /// From a frequency to the next in `U`, whose channels have a panel's columns each.
    u_stride: usize,
    /// The same in `M`, whose tiles have a panel's columns each.
    m_stride: usize,
    /// Channels of a chunk.
    chunk: usize,
}

impl OnTheFly {
    pub(in crate::conv) fn new(product: &Product<'_>) -> Self {
        let Product { isa, src, dst, channels, columns, .. } = *product;
        let tile = choose::tile(isa, columns);
        let filters = Filters::new(product, tile.columns(isa));
        let tiling = Tiling::new(product.phase.grid(dst));
        let tile_blocks = tiling.len().div_ceil(WINOGRAD_BLOCK).max(1);
        let most_tiles = tiling.len().div_ceil(tile_blocks);
        let v_row = channels.next_multiple_of(isa.lanes());
        let chunk = choose::winograd_chunk(filters.panel_columns).min(channels);
        let memory = Memory {
            v_row,
            v_stride: frequency_stride(most_tiles * v_row),
            u_stride: frequency_stride(chunk * filters.panel_columns),
            m_stride: frequency_stride(most_tiles * filters.panel_columns),
            chunk,
        };
        Self {
            isa,
            tile,
            tiling,
            src,
            dst: Phase::ALL.walk(dst),
            column_parts: choose::winograd_parts(columns, filters.panel_columns),
            filters,
            tile_blocks,
            memory,
        }
    }

    /// Floats that the packed filters take.
    pub(in crate::conv) fn packed_len(&self) -> usize {
        self.filters.len()
    }

    /// Multiply-adds of the products and of the transforms; every block of tiles transforms the filters anew.
    pub(in crate::conv) fn multiply_adds(&self) -> usize {
        let Filters { channels, columns, .. } = self.filters;
        let filters = self.tile_blocks * FILTER_STEPS * channels * columns;
        let maps = self.tiling.len() * (INPUT_STEPS * channels + OUTPUT_STEPS * columns);
        self.tiling.products() * channels * columns + filters + maps
    }

    /// Packs the filters.
    pub(in crate::conv) fn pack(&self, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
        self.filters.pack(weights, scales, packed);
    }

    /// The caller has checked that the maps lie inside their buffers.
    pub(in crate::conv) fn run(&self, src: &[f32], packed: &[f32], epilogue: &Epilogue<'_>, dst: &mut [f32]) {
        if self.tiling.len() == 0 {
            return;
        }
        let dst = Sink::new(dst);
        for index in 0..self.tile_blocks {
            let block = self.tiling.block(tasks::part(self.tiling.len(), index, self.tile_blocks));
            tasks::with_shared_memory(FREQUENCIES * self.memory.v_stride, |v| {
                self.transform_inputs(src, &block, v);
                self.multiply(&block, v.source(), packed, epilogue, dst);
            });
        }
    }

    fn transform_inputs(&self, src: &[f32], block: &Block, v: Sink<'_>) {
        let count = block.tiles().len();
        let macs = FREQUENCIES * INPUT_STEPS * count * self.filters.channels;
        tasks::for_each(count, choose::min_tasks(macs, count), |tile| {
            self.isa.run(Inputs { plan: self, src: Source::new(src), block, v, tile });
        });
    }

    fn multiply(&self, block: &Block, v: Source<'_>, packed: &[f32], epilogue: &Epilogue<'_>, dst: Sink<'_>) {
        let memory_len = FREQUENCIES * (self.memory.u_stride + self.memory.m_stride);
        let Filters { channels, columns, .. } = self.filters;
        let macs = FREQUENCIES * block.tiles().len() * channels * columns;
        tasks::for_each(self.column_parts, choose::min_tasks(macs, self.column_parts), |index| {
            tasks::with_memory(memory_len, |memory| {
                let walk = |(map, layout)| (Source::new(map), Phase::ALL.walk(&layout));
                self.isa.run(Task {
                    plan: self,
                    block,
                    v,
                    packed: Source::new(packed),
                    bias: epilogue.bias.map(Source::new),
                    residual: epilogue.residual.map(walk),
                    mask: epilogue.mask.map(walk),
                    relu: epilogue.relu,
                    dst,
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
        simd.call(TransformTile::<POINTS> {
            src: self.src,
            // What the outputs of the tile need, and no more: it lies inside the map and its border.
            window: self.block.tiles()[self.tile].window(src).grown(POINTS - OUTPUTS),
            next: self.block.next(self.tile).window(src),
            channels: filters.channels,
            dst: self.v,
            start: self.tile * memory.v_row,
            row: memory.v_row,
            stride: memory.v_stride,
        });
    }
}

/// All tiles of a block, and some panels of output channels.
struct Task<'a> {
    plan: &'a OnTheFly,
    block: &'a Block,
    v: Source<'a>,
    packed: Source<'a>,
    bias: Option<Source<'a>>,
    residual: Option<(Source<'a>, Walk)>,
    mask: Option<(Source<'a>, Walk)>,
    relu: bool,
    dst: Sink<'a>,
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
                self.transform_filters(simd, panel, &chunk);
                if S::IS_WIDE {
                    match self.plan.tile {
                        choose::Tile::R14V1 => self.multiply::<S, 14, 1>(simd, panel, &chunk),
                        choose::Tile::R14V2 => self.multiply::<S, 14, 2>(simd, panel, &chunk),
                        choose::Tile::R9V3 => self.multiply::<S, 9, 3>(simd, panel, &chunk),
                        _ => self.multiply::<S, 6, 4>(simd, panel, &chunk),
                    }
                } else {
                    match self.plan.tile {
                        choose::Tile::R12V1 => self.multiply::<S, 12, 1>(simd, panel, &chunk),
                        _ => self.multiply::<S, 6, 2>(simd, panel, &chunk),
                    }
                }
            }
            self.transform_outputs(simd, panel);
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    fn transform_filters<S: Simd>(&self, simd: S, panel: usize, chunk: &Range<usize>) {
        let OnTheFly { filters, memory, .. } = self.plan;
        simd.call(TransformFilters {
            src: self.packed,
            start: filters.place(panel, chunk.start),
            channels: chunk.len(),
            columns: filters.panel_columns,
            dst: self.memory,
            stride: memory.u_stride,
        });
    }

    /// Adds the products of all frequencies over a chunk of the channels, in register tiles of at most `R` rows and of
    /// `V` vectors.
    #[inline(always)]
    fn multiply<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        panel: usize,
        chunk: &Range<usize>,
    ) {
        let OnTheFly { filters, memory, .. } = self.plan;
        let width = V * S::LANES;
        let turns = FREQUENCIES * self.block.tiles().len().div_ceil(R);
        let mut ahead = NextFilters {
            src: self.packed,
            at: filters.place(panel, chunk.end),
            step: (filters.place(0, memory.chunk)).div_ceil(turns).next_multiple_of(LINE),
        };
        let (mut v_places, mut m_places) = ([0; WINOGRAD_BLOCK], [0; WINOGRAD_BLOCK]);
        for t in 0..WINOGRAD_BLOCK {
            v_places[t] = t * memory.v_row;
            m_places[t] = t * width;
        }
        let m_start = FREQUENCIES * memory.u_stride;
        for frequency in 0..FREQUENCIES {
            let wanting = self.block.wanting(frequency);
            if wanting.is_empty() {
                continue;
            }
            let (v, m) = (&v_places[wanting.clone()], &m_places[wanting]);
            let panel = Panel {
                // SAFETY: the shared memory holds every frequency.
                src: unsafe { self.v.skip(frequency * memory.v_stride) },
                dst: self.memory,
                segments: &[Segment { offset: chunk.start, len: chunk.len() }],
                // SAFETY: the memory holds every frequency.
                weights: unsafe { self.memory.source().skip(frequency * memory.u_stride) },
                // SAFETY: at most where `M` begins.
                next: unsafe { self.memory.source().skip((frequency + 1) * memory.u_stride) },
                column: m_start + frequency * memory.m_stride,
                columns: width,
                is_first: chunk.start == 0,
                is_last: false,
                finish: Finish::default(),
            };
            let rows = Rows { src: v, next: &[], dst: m, residual: m, mask: m, index: 0, count: 1 };
            // SAFETY: `V`, `U` and `M` have room for every tile and channel, and the memory is ours.
            unsafe { tiles::<S, R, V>(simd, &panel, rows, &mut ahead) };
        }
    }

    #[inline(always)]
    fn transform_outputs<S: Simd>(&self, simd: S, panel: usize) {
        let OnTheFly { dst, filters, memory, .. } = self.plan;
        let first = panel * filters.panel_columns;
        for (t, tile) in self.block.tiles().iter().enumerate() {
            let (mut residual, mut mask) = (None, None);
            if let Some((map, walk)) = &self.residual {
                residual = Some((*map, tile.window(walk)));
            }
            if let Some((map, walk)) = &self.mask {
                mask = Some((*map, tile.window(walk)));
            }
            simd.call(TransformOutput {
                src: self.memory.source(),
                start: FREQUENCIES * memory.u_stride + t * filters.panel_columns,
                stride: memory.m_stride,
                first,
                columns: filters.panel_columns.min(filters.columns - first),
                bias: self.bias,
                residual,
                mask,
                relu: self.relu,
                dst: self.dst,
                window: tile.window(dst),
                next: self.block.next(t).window(dst),
            });
        }
    }
}

/// The filters of the chunk that follows, fetched between register tiles.
struct NextFilters<'a> {
    src: Source<'a>,
    at: usize,
    /// Floats that are fetched at once.
    step: usize,
}

impl Between for NextFilters<'_> {
    #[inline(always)]
    fn turn<S: Simd>(&mut self, simd: S) {
        for line in (0..self.step).step_by(LINE) {
            simd.prefetch_early(self.src, self.at + line);
        }
        self.at += self.step;
    }
}
