//! Forward pass, and gradient of the input, which for a stride of 1 is a forward pass with flipped filters.
//!
//! ```text
//! task        = block of at most 32 tiles x blocks of output channels       threads share the tasks
//!   V[36][tile][channel]     = transformed inputs
//!   block       of at most 128 output channels
//!     frequency   its tiles x input channels x output channels, by the register tile of the direct way
//!       M[36][tile][column]
//!     outputs     = transformed M, with the epilogue
//! ```

use super::ahead::{Ahead, Pixels, following};
use super::filter::Packing;
use super::frequency_stride;
use super::near::{Products, Rows as Places};
use super::tiling::{Block, FREQUENCIES, Tiling};
use super::transform::{INPUT_STEPS, OUTPUT_STEPS, OUTPUTS, POINTS, TransformOutput, TransformTile};
use crate::conv::choose::{self, WINOGRAD_BLOCK, WinogradSplit};
use crate::conv::gemm::{Epilogue, Product, tiles};
use crate::conv::tasks;
use crate::conv::tile::{Finish, Panel, Rows, Segment};
use crate::conv::walk::{Phase, Walk};
use crate::isa::{Isa, Kernel, Simd, Sink, Source};
use std::ops::Range;

/// Most steps of the sum of a product in one go: half of the first-level cache for a panel.
const CHUNK: usize = 512;

/// A convolution of stride 1 by windows of 3 x 3, prepared for its maps.
#[derive(Clone, Debug)]
pub(in crate::conv) struct Winograd {
    isa: Isa,
    tile: choose::Tile,
    tiling: Tiling,
    src: Walk,
    dst: Walk,
    packing: Packing,
    split: WinogradSplit,
    min_tasks: usize,
    /// Nothing has to be fetched in time.
    is_near: bool,
    memory: Memory,
}

/// Where a task keeps what: `V` from 0 on, then `M`.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// Floats of a tile in `V`, and from a frequency to the next.
    v_row: usize,
    v_stride: usize,
    /// The same of `M`.
    m_row: usize,
    m_stride: usize,
}

impl Winograd {
    pub(in crate::conv) fn new(product: &Product<'_>) -> Self {
        let Product { isa, src, dst, channels, columns, strides, .. } = *product;
        let tile = choose::tile(isa, columns);
        let panel_columns = tile.columns(isa);
        let mut taps = [0; 9];
        taps.iter_mut().zip(&product.taps).for_each(|(to, tap)| *to = tap.index);
        let block_panels = choose::winograd_block(columns, panel_columns);
        let packing = Packing { channels, columns, strides, taps, panel_columns, block_panels };
        let tiling = Tiling::new(product.phase.grid(dst));
        let macs = FREQUENCIES * tiling.len() * channels * columns;
        let split = choose::winograd_split(tiling.len(), packing.blocks(), macs);
        let most_tiles = tiling.len().div_ceil(split.tile_blocks);
        let v_row = channels.next_multiple_of(isa.lanes());
        let m_row = block_panels.min(packing.panels()) * panel_columns;
        let memory = Memory {
            v_row,
            v_stride: frequency_stride(most_tiles * v_row),
            m_row,
            m_stride: frequency_stride(most_tiles * m_row),
        };
        Self {
            isa,
            tile,
            tiling,
            src,
            dst: Phase::ALL.walk(dst),
            packing,
            split,
            min_tasks: choose::min_tasks(macs, split.tile_blocks * split.column_parts),
            is_near: choose::winograd_is_near(tiling.len(), channels, columns),
            memory,
        }
    }

    /// Floats that the transformed filters take.
    pub(in crate::conv) fn packed_len(&self) -> usize {
        self.packing.len()
    }

    /// Multiply-adds of the products and of the transforms; every part of the columns transforms its inputs anew.
    pub(in crate::conv) fn multiply_adds(&self) -> usize {
        let Packing { channels, columns, .. } = self.packing;
        let inputs = INPUT_STEPS * channels * self.split.column_parts;
        self.tiling.products() * channels * columns + self.tiling.len() * (inputs + OUTPUT_STEPS * columns)
    }

    /// Transforms the filters.
    pub(in crate::conv) fn pack(&self, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
        self.packing.run(self.isa, weights, scales, packed);
    }

    /// The caller has checked that the maps lie inside their buffers.
    pub(in crate::conv) fn run(&self, src: &[f32], packed: &[f32], epilogue: &Epilogue<'_>, dst: &mut [f32]) {
        if self.tiling.len() == 0 {
            return;
        }
        let WinogradSplit { tile_blocks, column_parts } = self.split;
        let dst = Sink::new(dst);
        let memory_len = FREQUENCIES * (self.memory.v_stride + self.memory.m_stride);
        tasks::for_each(tile_blocks * column_parts, self.min_tasks, |index| {
            tasks::with_memory(memory_len, |memory| {
                let walk = |(map, layout)| (Source::new(map), Phase::ALL.walk(&layout));
                self.isa.run(Task {
                    plan: self,
                    src: Source::new(src),
                    packed: Source::new(packed),
                    bias: epilogue.bias.map(Source::new),
                    residual: epilogue.residual.map(walk),
                    mask: epilogue.mask.map(walk),
                    relu: epilogue.relu,
                    dst,
                    memory,
                    tiles: tasks::part(self.tiling.len(), index / column_parts, tile_blocks),
                    blocks: tasks::part(self.packing.blocks(), index % column_parts, column_parts),
                });
            });
        });
    }
}

/// Some tiles and some blocks of output channels.
struct Task<'a> {
    plan: &'a Winograd,
    src: Source<'a>,
    packed: Source<'a>,
    bias: Option<Source<'a>>,
    residual: Option<(Source<'a>, Walk)>,
    mask: Option<(Source<'a>, Walk)>,
    relu: bool,
    dst: Sink<'a>,
    memory: Sink<'a>,
    tiles: Range<usize>,
    blocks: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let tiling = &self.plan.tiling;
        let block = tiling.block(self.tiles.clone());
        let following = (!self.plan.is_near).then(|| tiling.block(following(&self.tiles, tiling.len())));
        self.transform_inputs(simd, &block);
        for columns in self.blocks.clone() {
            let is_last = columns + 1 == self.blocks.end;
            let panels = self.plan.packing.block(columns);
            if let Some(following) = &following {
                let ahead = self.ahead(&block, is_last.then_some(following), &panels);
                self.multiply_fetching(simd, &block, &panels, ahead);
            } else {
                self.multiply_near(simd, &block, &panels);
            }
            self.transform_outputs(simd, &block, &panels);
        }
    }
}

impl Task<'_> {
    /// What the outputs of some panels need from memory, and the inputs of the block that follows.
    #[inline(always)]
    fn ahead<'b>(
        &'b self,
        block: &'b Block,
        following: Option<&'b Block>,
        panels: &Range<usize>,
    ) -> [Option<Pixels<'b>>; 4] {
        let Winograd { src, dst, packing, .. } = self.plan;
        let (first, count) = self.columns(panels);
        let outputs = |map, walk| Pixels { map, walk, block, first, count };
        [
            Some(outputs(self.dst.source(), dst)),
            self.residual.as_ref().map(|(map, walk)| outputs(*map, walk)),
            self.mask.as_ref().map(|(map, walk)| outputs(*map, walk)),
            following.map(|block| Pixels {
                map: self.src,
                walk: src,
                block,
                first: 0,
                count: packing.channels,
            }),
        ]
    }

    /// First column of some panels, and how many there are.
    fn columns(&self, panels: &Range<usize>) -> (usize, usize) {
        let Packing { columns, panel_columns, .. } = self.plan.packing;
        let first = panels.start * panel_columns;
        (first, columns.min(panels.end * panel_columns) - first)
    }

    #[inline(always)]
    fn transform_inputs<S: Simd>(&self, simd: S, block: &Block) {
        let Winograd { src, packing, memory, .. } = self.plan;
        for (t, tile) in block.tiles().iter().enumerate() {
            // What the outputs of the tile need, and no more: it lies inside the map and its border.
            let window = tile.window(src).grown(POINTS - OUTPUTS);
            simd.call(TransformTile::<POINTS> {
                src: self.src,
                window,
                next: block.next(t).window(src),
                channels: packing.channels,
                dst: self.memory,
                start: t * memory.v_row,
                row: memory.v_row,
                stride: memory.v_stride,
            });
        }
    }

    /// The products of all frequencies, while what comes next is fetched.
    #[inline(always)]
    fn multiply_fetching<S: Simd>(
        &self,
        simd: S,
        block: &Block,
        panels: &Range<usize>,
        ahead: [Option<Pixels<'_>>; 4],
    ) {
        use choose::Tile::{R9V3, R12V1, R14V1, R14V2};
        match (S::IS_WIDE, self.plan.tile) {
            (true, R14V1) => self.multiply::<S, 14, 1>(simd, block, panels, ahead),
            (true, R14V2) => self.multiply::<S, 14, 2>(simd, block, panels, ahead),
            (true, R9V3) => self.multiply::<S, 9, 3>(simd, block, panels, ahead),
            (true, _) => self.multiply::<S, 6, 4>(simd, block, panels, ahead),
            (false, R12V1) => self.multiply::<S, 12, 1>(simd, block, panels, ahead),
            (false, _) => self.multiply::<S, 6, 2>(simd, block, panels, ahead),
        }
    }

    /// The same where nothing has to be fetched in time.
    #[inline(always)]
    fn multiply_near<S: Simd>(&self, simd: S, block: &Block, panels: &Range<usize>) {
        use choose::Tile::{R9V3, R12V1, R14V1, R14V2};
        match (S::IS_WIDE, self.plan.tile) {
            (_, R14V1 | R12V1) => self.call_products::<S, 8, 1>(simd, block, panels),
            (true, R14V2) => self.call_products::<S, 8, 2>(simd, block, panels),
            (true, R9V3) => self.call_products::<S, 6, 3>(simd, block, panels),
            (true, _) => self.call_products::<S, 6, 4>(simd, block, panels),
            (false, _) => self.call_products::<S, 4, 2>(simd, block, panels),
        }
    }

    /// The same in register tiles of at most `R` rows and of `V` vectors.
    #[inline(always)]
    fn call_products<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        block: &Block,
        panels: &Range<usize>,
    ) {
        let Winograd { packing, memory, .. } = self.plan;
        simd.call(Products::<R, V> {
            block,
            memory: self.memory,
            v: Places { start: 0, row: memory.v_row, stride: memory.v_stride },
            m: Places { start: FREQUENCIES * memory.v_stride, row: memory.m_row, stride: memory.m_stride },
            // SAFETY: the transformed filters hold every panel.
            filters: unsafe { self.packed.skip(packing.place(panels, 0, 0)) },
            panels: panels.len(),
            channels: packing.channels,
        });
    }

    /// The products of all frequencies, in register tiles of at most `R` rows and of `V` vectors.
    #[inline(always)]
    fn multiply<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        block: &Block,
        panels: &Range<usize>,
        ahead: [Option<Pixels<'_>>; 4],
    ) {
        let turns = FREQUENCIES * panels.len() * block.tiles().len().div_ceil(R);
        let mut ahead = Ahead::new(ahead, turns);
        let (packing, memory) = (&self.plan.packing, &self.plan.memory);
        let (channels, width) = (packing.channels, V * S::LANES);
        let (mut v_places, mut m_places) = ([0; WINOGRAD_BLOCK], [0; WINOGRAD_BLOCK]);
        for t in 0..WINOGRAD_BLOCK {
            v_places[t] = t * memory.v_row;
            m_places[t] = t * memory.m_row;
        }
        let m_start = FREQUENCIES * memory.v_stride;
        for frequency in 0..FREQUENCIES {
            let wanting = block.wanting(frequency);
            if wanting.is_empty() {
                continue;
            }
            let (v, m) = (&v_places[wanting.clone()], &m_places[wanting]);
            for index in 0..panels.len() {
                let weights = packing.place(panels, frequency, index);
                let mut start = 0;
                while start < channels {
                    let len = CHUNK.min(channels - start);
                    let here = weights + start * width;
                    let next = (here + len * width).min(self.packed.len());
                    let panel = Panel {
                        // SAFETY: the memory holds every frequency.
                        src: unsafe { self.memory.source().skip(frequency * memory.v_stride) },
                        dst: self.memory,
                        segments: &[Segment { offset: start, len }],
                        // SAFETY: the transformed filters hold every panel.
                        weights: unsafe { self.packed.skip(here) },
                        // SAFETY: at most their end.
                        next: unsafe { self.packed.skip(next) },
                        column: m_start + frequency * memory.m_stride + index * width,
                        columns: width,
                        is_first: start == 0,
                        is_last: false,
                        finish: Finish::default(),
                    };
                    let rows = Rows { src: v, next: &[], dst: m, residual: m, mask: m, index: 0, count: 1 };
                    // SAFETY: `V`, `M` and the filters have room for every tile, and the memory is ours.
                    unsafe { tiles::<S, R, V>(simd, &panel, rows, &mut ahead) };
                    start += len;
                }
            }
        }
    }

    #[inline(always)]
    fn transform_outputs<S: Simd>(&self, simd: S, block: &Block, panels: &Range<usize>) {
        let Winograd { dst, memory, .. } = self.plan;
        let (first, columns) = self.columns(panels);
        for (t, tile) in block.tiles().iter().enumerate() {
            let (mut residual, mut mask) = (None, None);
            if let Some((map, walk)) = &self.residual {
                residual = Some((*map, tile.window(walk)));
            }
            if let Some((map, walk)) = &self.mask {
                mask = Some((*map, tile.window(walk)));
            }
            simd.call(TransformOutput {
                src: self.memory.source(),
                start: FREQUENCIES * memory.v_stride + t * memory.m_row,
                stride: memory.m_stride,
                first,
                columns,
                bias: self.bias,
                residual,
                mask,
                relu: self.relu,
                dst: self.dst,
                window: tile.window(dst),
                next: block.next(t).window(dst),
            });
        }
    }
}
