//! Forward pass, and gradient of the input, which for a stride of 1 is a forward pass with flipped filters. What is said of
//! 36 frequencies and input channels holds for the other forms, see [`Form`], with 25 or 49 and channels of cells.
//!
//! ```text
//! task        = block of at most 32 tiles x blocks of output channels       threads share the tasks
//!   V[36][tile][channel]     = transformed inputs, unless the thread's task before had the same tiles
//!   block       of at most 128 output channels, of 160 where there is one block of tiles
//!     frequency   its tiles x input channels x output channels, see [`product`]
//!       M[36][tile][column]
//!     outputs     = transformed M, with the epilogue
//! ```

use super::ahead::{Ahead, Pixels, following};
use super::axis::{Axis, OUTPUTS, Output, POINTS, ToPoints, input_steps, output_steps};
use super::filter::{Filters, Packing};
use super::form::{CELL, Form};
use super::frequency_stride;
use super::inputs::{self, Inputs, Target};
use super::outputs::{Outputs, TileProducts};
use super::product::{self, PanelProduct};
use super::tiling::{Block, Tiling};
use crate::conv::choose::{self, WinogradSplit};
use crate::conv::gemm::{Operands, Product};
use crate::conv::tasks::{self, WorkingMemory};
use crate::conv::tile::by_tile;
use crate::conv::walk::{Phase, Walk};
use crate::isa::{Isa, Kernel, Simd, Sink, Source};
use std::ops::Range;

/// Most steps of the sum of a product in one go: half of the first-level cache for a panel.
const CHUNK: usize = 512;

/// A convolution prepared for its maps.
#[derive(Clone, Debug)]
pub(in crate::conv) struct Winograd {
    isa: Isa,
    form: Form,
    tile: choose::Tile,
    tiling: Tiling,
    inputs: Inputs,
    dst: Walk,
    packing: Packing,
    split: WinogradSplit,
    min_tasks: usize,
    memory: Memory,
}

/// Where a task keeps what: `V` from 0 on, then `M`.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// Floats of a phase of a tile in `V`, of all phases, and from a frequency to the next.
    phase: usize,
    v_row: usize,
    v_stride: usize,
    /// The same of `M`.
    m_row: usize,
    m_stride: usize,
}

impl Winograd {
    /// The caller has made sure that the shape has a form.
    pub(in crate::conv) fn new(form: Form, product: &Product<'_>) -> Self {
        let Product { isa, src, dst, extent, channels, columns, strides, .. } = *product;
        let tiling = Tiling::new(product.phase.grid(dst), form);
        let (tile, block_panels) = choose::winograd_columns(isa, tiling.len(), columns);
        let panel_columns = tile.columns(isa);
        let order: Vec<usize> = product.taps.iter().map(|tap| tap.index).collect();
        let kernel = order.len().isqrt();
        let [first, right, below] = [0, 1, kernel].map(|tap| product.taps[tap].offset);
        let steps = [below - first, right - first];
        let packing = Packing::new(&Filters {
            form,
            channels,
            columns,
            strides,
            order: &order,
            panel_columns,
            block_panels,
        });
        let macs = tiling.len() * packing.depth() * columns;
        let split = choose::winograd_split(tiling.len(), packing.depth(), columns, packing.blocks());
        let most_tiles = tiling.len().div_ceil(split.tile_blocks);
        let whole = channels.next_multiple_of(isa.lanes());
        let (phase, v_row) = match form {
            Form::SmallCells { .. } => (channels, CELL),
            _ => (whole, form.phases().len() * whole),
        };
        let m_row = block_panels.min(packing.panels()) * panel_columns;
        let memory = Memory {
            phase,
            v_row,
            v_stride: frequency_stride(most_tiles * v_row),
            m_row,
            m_stride: frequency_stride(most_tiles * m_row),
        };
        Self {
            isa,
            form,
            tile,
            tiling,
            inputs: Inputs { form, kernel, walk: src, steps, extent },
            dst: Phase::ALL.walk(dst),
            packing,
            split,
            min_tasks: choose::min_tasks(macs, split.tile_blocks * split.column_parts),
            memory,
        }
    }

    /// How a profile calls it.
    pub(in crate::conv) fn name(&self) -> &'static str {
        self.form.name()
    }

    /// Floats that the transformed filters take.
    pub(in crate::conv) fn packed_len(&self) -> usize {
        self.packing.len()
    }

    /// What the threads work in.
    pub(in crate::conv) fn working_memory(&self) -> WorkingMemory {
        let Memory { v_stride, m_stride, .. } = self.memory;
        WorkingMemory { thread: self.form.frequencies() * (v_stride + m_stride), shared: 0 }
    }

    /// Blocks of tiles, of which sums can be taken.
    pub(in crate::conv) fn blocks(&self) -> usize {
        self.split.tile_blocks
    }

    /// Multiply-adds of the products and of the transforms.
    pub(in crate::conv) fn multiply_adds(&self) -> usize {
        let Self { form, tiling, .. } = self;
        let (channels, columns) = (self.packing.channels, self.packing.columns);
        let points = form.points();
        let products: usize = (0..form.frequencies())
            .map(|frequency| tiling.wanting(frequency) * self.packing.sum(frequency).len())
            .sum();
        let transforms = input_steps(points) * form.phases().len() * channels;
        products * columns + tiling.len() * (transforms + output_steps(points, form.outputs()) * columns)
    }

    /// Transforms the filters.
    pub(in crate::conv) fn pack(&self, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
        self.packing.run(self.isa, weights, scales, packed);
    }

    pub(in crate::conv) fn run(&self, operands: Operands<'_>) {
        if self.tiling.len() == 0 {
            return;
        }
        let WinogradSplit { tile_blocks, column_parts } = self.split;
        let (memory_len, run) = (self.working_memory().thread, tasks::new_run());
        tasks::for_each(tile_blocks * column_parts, self.min_tasks, |index| {
            let (block, columns) = (index / column_parts, self.packing.columns);
            // A thread goes on with the next columns of a block, whose inputs it has transformed.
            let left = tasks::Left { run, index: block };
            tasks::with_left(memory_len, Some(left), |memory, is_transformed| {
                self.isa.run(Task {
                    plan: self,
                    src: inputs::Pixels { map: Source::new(operands.src), norm: operands.norm },
                    packed: Source::new(operands.packed),
                    outputs: Outputs::new(&operands, self.dst, columns, block),
                    memory,
                    is_transformed,
                    tiles: tasks::part(self.tiling.len(), block, tile_blocks),
                    blocks: tasks::part(self.packing.blocks(), index % column_parts, column_parts),
                });
            });
        });
    }
}

/// Some tiles and some blocks of output channels.
struct Task<'a> {
    plan: &'a Winograd,
    src: inputs::Pixels<'a>,
    packed: Source<'a>,
    outputs: Outputs<'a>,
    memory: Sink<'a>,
    /// Whether the memory holds the transformed inputs.
    is_transformed: bool,
    tiles: Range<usize>,
    blocks: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.plan.form {
            Form::Cells { points: 5 } | Form::SmallCells { points: 5 } => self.run_by::<S, 5, OUTPUTS>(simd),
            Form::Cells { .. } | Form::SmallCells { .. } => self.run_by::<S, 7, OUTPUTS>(simd),
            Form::Pixels { outputs: OUTPUTS } => self.run_by::<S, POINTS, OUTPUTS>(simd),
            Form::Pixels { .. } => self.run_by::<S, 5, 3>(simd),
        }
    }
}

impl Task<'_> {
    /// The task by `P` points along each axis, which make `M` outputs.
    #[inline(always)]
    fn run_by<S: Simd, const P: usize, const M: usize>(&self, simd: S)
    where
        ToPoints<P>: Axis<P, P>,
        Output: Axis<P, M>,
    {
        let tiling = &self.plan.tiling;
        let block = tiling.block(self.tiles.clone());
        let following = tiling.block(following(&self.tiles, tiling.len()));
        if !self.is_transformed {
            self.transform_inputs::<S, P>(simd, &block);
        }
        for columns in self.blocks.clone() {
            let is_last = columns + 1 == self.blocks.end;
            let panels = self.plan.packing.block(columns);
            let ahead = self.ahead(&block, is_last.then_some(&following), &panels);
            by_tile!(self.plan.tile, S, |R, V| self.multiply::<S, P, R, V>(simd, &block, &panels, &ahead));
            self.transform_outputs::<S, P, M>(simd, &block, &panels);
        }
    }

    /// What the outputs of some panels need from memory, and the inputs of the block that follows.
    #[inline(always)]
    fn ahead<'b>(
        &'b self,
        block: &'b Block,
        following: Option<&'b Block>,
        panels: &Range<usize>,
    ) -> [Option<Pixels<'b>>; 6] {
        let Winograd { form, inputs: Inputs { walk: src, steps, .. }, packing, .. } = self.plan;
        let (first, count) = self.columns(panels);
        let outputs = |map, walk| Pixels { map, walk, block, first, count };
        // A cell has two pixels in each of two rows.
        let (pixels, rows) = if matches!(form, Form::Pixels { .. }) { (0, 1) } else { (steps[1], 2) };
        let inputs = |row: usize| {
            let walk = Walk { base: src.base + row * steps[0], ..*src };
            let count = pixels + packing.channels;
            following.filter(|_| row < rows).map(|block| Pixels {
                map: self.src.map,
                walk,
                block,
                first: 0,
                count,
            })
        };
        [
            Some(outputs(self.outputs.dst.source(), self.outputs.walk)),
            self.outputs.ends.residual.map(|(map, walk)| outputs(map, walk)),
            self.outputs.ends.mask.map(|(map, walk)| outputs(map, walk)),
            self.outputs.summed_with().map(|(map, walk)| outputs(map, walk)),
            inputs(0),
            inputs(1),
        ]
    }

    /// First column of some panels, and how many there are.
    fn columns(&self, panels: &Range<usize>) -> (usize, usize) {
        let Packing { columns, panel_columns, .. } = self.plan.packing;
        let first = panels.start * panel_columns;
        (first, columns.min(panels.end * panel_columns) - first)
    }

    #[inline(always)]
    fn transform_inputs<S: Simd, const P: usize>(&self, simd: S, block: &Block)
    where
        ToPoints<P>: Axis<P, P>,
    {
        let Winograd { form, inputs, packing, memory, .. } = self.plan;
        let phases = form.separate_phases();
        let channels = 0..packing.channels;
        for (t, tile) in block.tiles().iter().enumerate() {
            for phase in 0..phases {
                let target = Target {
                    memory: self.memory,
                    start: t * memory.v_row + phase * memory.phase,
                    stride: memory.v_stride,
                    row: memory.phase,
                };
                inputs.transform::<S, P>(simd, self.src, [tile, block.next(t)], phase, &channels, target);
            }
        }
    }

    /// The products of all frequencies, in register tiles of at most `R` rows and of `V` vectors.
    #[inline(always)]
    fn multiply<S: Simd, const P: usize, const R: usize, const V: usize>(
        &self,
        simd: S,
        block: &Block,
        panels: &Range<usize>,
        ahead: &[Option<Pixels<'_>>; 6],
    ) {
        let turns = P * P * panels.len() * block.tiles().len().div_ceil(R);
        let mut ahead = Ahead::new(*ahead, turns);
        let (packing, memory) = (&self.plan.packing, &self.plan.memory);
        let width = V * S::LANES;
        let m_start = P * P * memory.v_stride;
        for frequency in 0..P * P {
            let (wanting, sum) = (block.wanting(frequency, P), packing.sum(frequency));
            if wanting.is_empty() {
                continue;
            }
            for index in 0..panels.len() {
                let weights = packing.place(panels, frequency, index);
                let mut start = sum.start;
                while start < sum.end {
                    let len = CHUNK.min(sum.end - start);
                    let here = weights + (start - sum.start) * width;
                    let next = (here + len * width).min(self.packed.len());
                    let v = frequency * memory.v_stride + wanting.start * memory.v_row + start;
                    let panel = PanelProduct {
                        // SAFETY: the memory holds every frequency.
                        v: unsafe { self.memory.source().skip(v) },
                        v_row: memory.v_row,
                        m: self.memory,
                        m_start: m_start
                            + frequency * memory.m_stride
                            + wanting.start * memory.m_row
                            + index * width,
                        m_row: memory.m_row,
                        // SAFETY: the transformed filters hold every panel.
                        weights: unsafe { self.packed.skip(here) },
                        // SAFETY: at most their end.
                        next: unsafe { self.packed.skip(next) },
                        steps: len,
                        is_first: start == sum.start,
                    };
                    // SAFETY: `V`, `M` and the filters have room for every tile, and the memory is ours.
                    unsafe { product::multiply::<S, R, V, _>(simd, &panel, wanting.len(), &mut ahead) };
                    start += len;
                }
            }
        }
    }

    #[inline(always)]
    fn transform_outputs<S: Simd, const P: usize, const M: usize>(
        &self,
        simd: S,
        block: &Block,
        panels: &Range<usize>,
    ) where
        Output: Axis<P, M>,
    {
        let memory = &self.plan.memory;
        let (first, columns) = self.columns(panels);
        for (t, tile) in block.tiles().iter().enumerate() {
            let products = TileProducts {
                src: self.memory.source(),
                start: P * P * memory.v_stride + t * memory.m_row,
                stride: memory.m_stride,
                first,
                columns,
            };
            self.outputs.transform::<S, P, M>(simd, products, [tile, block.next(t)]);
        }
        self.outputs.take_sums(simd, block, first..first + columns);
    }
}
