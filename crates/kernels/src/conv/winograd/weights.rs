//! Gradient of the weights: with the same points, the products of transformed inputs and transformed gradients
//! of outputs are summed over all tiles, and transformed once at the end.
//!
//! ```text
//! task       = part of the tiles x block of input channels x block of output channels    threads share the tasks
//!   block    of about 24 tiles
//!     V[36][tile][channel] = transformed inputs,  W[36][tile][column] = transformed gradients
//!     sums[36][channel][column] += V x W by frequency, by the register tile of the direct way
//!   then the sums of the block are transformed and turned into OIHW
//! ```
//!
//! What is said of 36 frequencies holds for the other forms, see [`Form`], with 25 or 49: a block has the channels of one
//! phase, and its sums only the frequencies that the phase has; phases that share a vector are as many channels.
//!
//! Where the tiles are cut into parts, so that there are enough tasks, the parts of a block are added in their
//! order first, when all tasks are done; otherwise a block's sums never leave the caches of its thread.
//! Both operands step from tile to tile by their channels, so nothing is packed.

mod turn;

use super::ahead::{Ahead, Pixels, following};
use super::axis::{Axis, OUTPUTS, POINTS, ToPoints, gradient_steps, input_steps, taps_steps};
use super::form::{CELL, Form};
use super::frequency_stride;
use super::inputs::{self, Inputs, Target};
use super::tiling::{Block, Tiling};
use super::transform::{Taps, TransformTile};
use crate::conv::choose::{self, WINOGRAD_BLOCK, WinogradOuter};
use crate::conv::forward::windows;
use crate::conv::gemm::Extent;
use crate::conv::normalize::Normalization;
use crate::conv::outer::{Corner, Operands, Run, call_outer_tile};
use crate::conv::tasks::{self, WorkingMemory, part};
use crate::conv::tile::for_rows;
use crate::conv::walk::{Phase, Walk};
use crate::conv_shape::ConvShape;
use crate::isa::{Isa, Kernel, Simd, Sink, Source};
use residuum_tensor::MapLayout;
use std::marker::PhantomData;
use std::ops::Range;
use turn::{STRIP, Turn};

/// Rows of a register tile.
const ROWS: usize = 6;

/// The gradient, prepared for its maps.
#[derive(Clone, Debug)]
pub(in crate::conv) struct WinogradWeights {
    isa: Isa,
    form: Form,
    tiling: Tiling,
    inputs: Inputs,
    dy: Walk,
    /// Channels of the input, and of a phase as the sums see it.
    channels: usize,
    phase_channels: usize,
    columns: usize,
    /// Vectors of a register tile.
    vectors: usize,
    panels: usize,
    panel_columns: usize,
    cut: WinogradOuter,
    min_tasks: usize,
}

impl WinogradWeights {
    pub(in crate::conv) fn new(
        isa: Isa,
        form: Form,
        shape: &ConvShape,
        x: &MapLayout,
        dy: &MapLayout,
    ) -> Self {
        let (channels, columns) = (shape.c_in, shape.c_out);
        let tiling = Tiling::new(Phase::ALL.grid(dy), form);
        let vectors = choose::outer_vectors(isa, columns);
        let panel_columns = vectors * isa.lanes();
        let phase_channels = match form {
            Form::SmallCells { .. } => form.phases().len() * channels,
            _ => channels,
        };
        let cut = choose::winograd_outer(form, tiling.len(), phase_channels, columns);
        let macs = form.frequencies() * tiling.len() * channels * form.phases().len() * columns;
        let walk = windows(shape, x);
        let extent = Some(Extent { padding: shape.padding, size: [x.h, x.w] });
        Self {
            isa,
            form,
            tiling,
            inputs: Inputs { form, kernel: shape.kernel[0], walk, steps: [x.row_stride(), x.pitch], extent },
            dy: Phase::ALL.walk(dy),
            channels,
            phase_channels,
            columns,
            vectors,
            panels: columns.div_ceil(panel_columns),
            panel_columns,
            cut,
            min_tasks: choose::min_tasks(macs, cut.parts * cut.in_blocks * cut.out_blocks),
        }
    }

    /// How the sums of a block lie in memory.
    fn sums(&self) -> Sums {
        let row = self.panels.div_ceil(self.cut.out_blocks) * self.panel_columns;
        let stride = frequency_stride(self.most_channels() * row);
        Sums { row, stride, len: self.form.frequencies() * stride }
    }

    /// Floats of working memory.
    pub(in crate::conv) fn scratch_len(&self) -> usize {
        let WinogradOuter { parts, in_blocks, out_blocks } = self.cut;
        if parts == 1 { 0 } else { parts * in_blocks * out_blocks * self.sums().len }
    }

    /// What the threads work in.
    pub(in crate::conv) fn working_memory(&self) -> WorkingMemory {
        let WinogradOuter { parts, out_blocks, .. } = self.cut;
        let (channels, panels) = (self.most_channels(), self.panels.div_ceil(out_blocks));
        let operands = |part| self.operands(self.tiles_of(part).len(), channels, panels).len;
        let sums = if parts == 1 { self.sums().len } else { 0 };
        WorkingMemory { thread: (0..parts).map(operands).max().unwrap_or(0) + sums, shared: 0 }
    }

    /// The tiles of a part.
    fn tiles_of(&self, part: usize) -> Range<usize> {
        tasks::part(self.tiling.len(), part, self.cut.parts)
    }

    /// How the transformed operands of so many tiles, input channels and panels lie in memory.
    fn operands(&self, tiles: usize, channels: usize, panels: usize) -> Layout {
        let blocks = tiles.div_ceil(WINOGRAD_BLOCK).max(1);
        let most_tiles = tiles.div_ceil(blocks);
        let v_row = match self.form {
            Form::SmallCells { .. } => CELL,
            _ => channels.next_multiple_of(self.isa.lanes()),
        };
        let w_row = panels * self.panel_columns;
        let (v_stride, w_stride) =
            (frequency_stride(most_tiles * v_row), frequency_stride(most_tiles * w_row));
        let frequencies = self.form.frequencies();
        let w_start = frequencies * v_stride;
        Layout { blocks, v_row, v_stride, w_row, w_stride, w_start, len: w_start + frequencies * w_stride }
    }

    /// Multiply-adds of the products and of the transforms; every block transforms its operands anew.
    pub(in crate::conv) fn multiply_adds(&self) -> usize {
        let Self { form, channels, columns, cut, .. } = self;
        let (points, phases) = (form.points(), form.phases().len());
        let inputs = input_steps(points) * channels * phases * cut.out_blocks;
        let gradients = gradient_steps(points) * columns * cut.in_blocks;
        let products: usize = (0..form.frequencies())
            .map(|frequency| self.tiling.wanting(frequency) * form.sum(frequency, *channels).len())
            .sum();
        let turns = (taps_steps(points) + form.frequencies() * (cut.parts - 1)) * channels * phases;
        (products + turns) * columns + self.tiling.len() * (inputs + gradients)
    }

    /// The phase of a block of input channels, and which of its channels: whole vectors, but for the last.
    fn channels_of(&self, block: usize) -> (usize, Range<usize>) {
        let lanes = self.isa.lanes();
        let blocks = self.cut.in_blocks / self.form.separate_phases();
        let vectors = part(self.phase_channels.div_ceil(lanes), block % blocks, blocks);
        (block / blocks, vectors.start * lanes..(vectors.end * lanes).min(self.phase_channels))
    }

    /// Channels of the largest block.
    fn most_channels(&self) -> usize {
        (0..self.cut.in_blocks).map(|block| self.channels_of(block).1.len()).max().unwrap_or(0)
    }

    /// How a profile calls it.
    pub(in crate::conv) fn name(&self) -> &'static str {
        self.form.name()
    }

    /// The caller has checked that the maps lie inside their buffers, and the lengths of the others.
    pub(in crate::conv) fn run(
        &self,
        x: &[f32],
        norm: Option<Normalization<'_>>,
        dy: &[f32],
        scratch: &mut [f32],
        dw: &mut [f32],
    ) {
        if self.tiling.len() == 0 {
            dw.fill(0.0);
            return;
        }
        let WinogradOuter { parts, in_blocks, out_blocks } = self.cut;
        let (blocks, layout) = (in_blocks * out_blocks, self.sums());
        let (scratch, dw) = (Sink::new(scratch), Sink::new(dw));
        tasks::for_each(parts * blocks, self.min_tasks, |index| {
            let (part, block) = (index / blocks, index % blocks);
            let (phase, channels) = self.channels_of(block / out_blocks);
            let task = Task {
                plan: self,
                x: inputs::Pixels { map: Source::new(x), norm },
                dy: Source::new(dy),
                tiles: self.tiles_of(part),
                phase,
                channels,
                panels: tasks::part(self.panels, block % out_blocks, out_blocks),
            };
            let operands = task.operands().len;
            if parts == 1 {
                tasks::with_memory(operands + layout.len, |memory| {
                    self.isa.run(Sum { task: &task, layout, memory, sums: memory, start: operands });
                    let channels = task.channels.clone();
                    self.turn(block % out_blocks, phase, channels, memory.source(), operands, dw);
                });
            } else {
                let start = index * layout.len;
                tasks::with_memory(operands, |memory| {
                    self.isa.run(Sum { task: &task, layout, memory, sums: scratch, start });
                });
            }
        });
        if parts > 1 {
            self.reduce(scratch.source(), dw);
        }
    }

    /// Adds the parts of all blocks, and writes the weights.
    fn reduce(&self, sums: Source<'_>, dw: Sink<'_>) {
        let WinogradOuter { parts, in_blocks, out_blocks } = self.cut;
        let strips = self.most_channels().div_ceil(STRIP);
        let count = in_blocks * out_blocks * strips;
        let work = self.form.frequencies() * parts * self.form.phases().len() * self.channels * self.columns;
        tasks::for_each(count, choose::min_tasks(16 * work, count), |index| {
            let (block, strip) = (index / strips, index % strips);
            let (phase, channels) = self.channels_of(block / out_blocks);
            let strip = part(channels.len(), strip, strips);
            let strip = channels.start + strip.start..channels.start + strip.end;
            let start = block * self.sums().len + (strip.start - channels.start) * self.sums().row;
            self.turn(block % out_blocks, phase, strip, sums, start, dw);
        });
    }

    /// Writes the weights from some input channels, whose sums begin at `start`, to a block of output channels.
    fn turn(
        &self,
        out_block: usize,
        phase: usize,
        channels: Range<usize>,
        sums: Source<'_>,
        start: usize,
        dw: Sink<'_>,
    ) {
        let WinogradOuter { parts, in_blocks, out_blocks } = self.cut;
        let layout = self.sums();
        let panels = part(self.panels, out_block, out_blocks);
        self.isa.run(Turn {
            plan: self,
            taps: Taps {
                sums,
                start,
                stride: layout.stride,
                parts,
                part_stride: in_blocks * out_blocks * layout.len,
            },
            row: layout.row,
            dw,
            phase,
            channels,
            columns: panels.start * self.panel_columns..self.columns.min(panels.end * self.panel_columns),
        });
    }
}

/// How the sums of a block lie in memory.
#[derive(Clone, Copy)]
struct Sums {
    /// Floats of an input channel, and from a frequency to the next.
    row: usize,
    stride: usize,
    len: usize,
}

/// Some tiles, input channels and panels of output channels.
struct Task<'a> {
    plan: &'a WinogradWeights,
    x: inputs::Pixels<'a>,
    dy: Source<'a>,
    tiles: Range<usize>,
    phase: usize,
    channels: Range<usize>,
    panels: Range<usize>,
}

/// How the transformed operands lie in memory: `V` from 0 on, then `W`.
#[derive(Clone, Copy)]
struct Layout {
    blocks: usize,
    /// Floats of a tile in `V`, and from a frequency to the next.
    v_row: usize,
    v_stride: usize,
    /// The same of `W`.
    w_row: usize,
    w_stride: usize,
    w_start: usize,
    len: usize,
}

impl Task<'_> {
    fn operands(&self) -> Layout {
        self.plan.operands(self.tiles.len(), self.channels.len(), self.panels.len())
    }
}

/// A task, the memory of its operands, and the place of its sums.
struct Sum<'a> {
    task: &'a Task<'a>,
    layout: Sums,
    memory: Sink<'a>,
    sums: Sink<'a>,
    start: usize,
}

impl Kernel for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.task.plan.form.points() {
            5 => self.run_by::<S, 5>(simd),
            7 => self.run_by::<S, 7>(simd),
            _ => self.run_by::<S, POINTS>(simd),
        }
    }
}

impl Sum<'_> {
    /// The sums by `P` points along each axis.
    #[inline(always)]
    fn run_by<S: Simd, const P: usize>(&self, simd: S)
    where
        ToPoints<P>: Axis<P, P>,
        ToPoints<OUTPUTS>: Axis<OUTPUTS, P>,
    {
        let (task, layout) = (self.task, self.task.operands());
        for index in 0..layout.blocks {
            let tiles = part(task.tiles.len(), index, layout.blocks);
            let tiles = task.tiles.start + tiles.start..task.tiles.start + tiles.end;
            let following = task.plan.tiling.block(following(&tiles, task.plan.tiling.len()));
            let block = task.plan.tiling.block(tiles);
            self.transform::<S, P>(simd, &block, &layout);
            let ahead = self.ahead(&following, &layout);
            match task.plan.vectors {
                4 if S::IS_WIDE => self.multiply::<S, P, 4>(simd, &block, &layout, index == 0, ahead),
                3 if S::IS_WIDE => self.multiply::<S, P, 3>(simd, &block, &layout, index == 0, ahead),
                1 => self.multiply::<S, P, 1>(simd, &block, &layout, index == 0, ahead),
                _ => self.multiply::<S, P, 2>(simd, &block, &layout, index == 0, ahead),
            }
        }
    }

    /// What the block that follows needs from memory.
    #[inline(always)]
    fn ahead<'b>(&'b self, block: &'b Block, layout: &Layout) -> [Option<Pixels<'b>>; 2] {
        let (task, plan) = (self.task, self.task.plan);
        let first = task.panels.start * plan.panel_columns;
        let x = Pixels {
            map: task.x.map,
            walk: plan.inputs.walk,
            block,
            first: task.channels.start,
            count: task.channels.len(),
        };
        let count = (plan.columns - first).min(layout.w_row);
        [Some(x), Some(Pixels { map: task.dy, walk: plan.dy, block, first, count })]
    }

    #[inline(always)]
    fn transform<S: Simd, const P: usize>(&self, simd: S, block: &Block, layout: &Layout)
    where
        ToPoints<P>: Axis<P, P>,
        ToPoints<OUTPUTS>: Axis<OUTPUTS, P>,
    {
        let (task, plan) = (self.task, self.task.plan);
        let first = task.panels.start * plan.panel_columns;
        let channels = match plan.form {
            Form::SmallCells { .. } => 0..plan.channels,
            _ => task.channels.clone(),
        };
        for (t, tile) in block.tiles().iter().enumerate() {
            let target = Target {
                memory: self.memory,
                start: t * layout.v_row,
                stride: layout.v_stride,
                row: layout.v_row,
            };
            let tiles = [tile, block.next(t)];
            plan.inputs.transform::<S, P>(simd, task.x, tiles, task.phase, &channels, target);
            simd.call(TransformTile::<ToPoints<OUTPUTS>, OUTPUTS, P, 0> {
                to: PhantomData,
                src: task.dy,
                norm: None,
                window: tile.window(&plan.dy).shifted(first),
                next: block.next(t).window(&plan.dy).shifted(first),
                channels: (plan.columns - first).min(layout.w_row),
                dst: self.memory,
                start: layout.w_start + t * layout.w_row,
                stride: layout.w_stride,
                row: layout.w_row,
            });
        }
    }

    /// Adds a block of tiles to the sums, in register tiles of `V` vectors.
    #[inline(always)]
    fn multiply<S: Simd, const P: usize, const V: usize>(
        &self,
        simd: S,
        block: &Block,
        layout: &Layout,
        is_first: bool,
        ahead: [Option<Pixels<'_>>; 2],
    ) {
        let task = self.task;
        let width = V * S::LANES;
        let channels = task.channels.len();
        let count = channels.div_ceil(ROWS);
        let mut ahead = Ahead::new(ahead, P * P * task.panels.len() * count);
        for frequency in 0..P * P {
            if !task.plan.form.has_products(task.phase, frequency) {
                continue;
            }
            let wanting = block.wanting(frequency, P);
            let run = Run {
                left: wanting.start * layout.v_row,
                right: wanting.start * layout.w_row,
                count: wanting.len(),
            };
            let operands = Operands {
                left: self.memory.source(),
                right: self.memory.source(),
                runs: &[run],
                sums: self.sums,
                sums_stride: self.layout.row,
                is_first,
            };
            let sums = self.start + frequency * self.layout.stride;
            for index in 0..task.panels.len() {
                for tile in 0..count {
                    let (start, end) = (channels * tile / count, channels * (tile + 1) / count);
                    let corner = Corner {
                        left: frequency * layout.v_stride + start,
                        right: layout.w_start + frequency * layout.w_stride + index * width,
                        sums: sums + start * self.layout.row + index * width,
                        steps: [layout.v_row, layout.w_row],
                        later: 0,
                    };
                    for_rows!(end - start, ROWS, call_outer_tile::<S, R, V>(simd, &operands, corner));
                    ahead.turn(simd);
                }
            }
        }
    }
}
