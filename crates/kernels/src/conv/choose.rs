//! The one place that decides: which algorithm, which register tile, how work is cut into tasks.
//!
//! Decisions depend on shapes and the instruction set, never on the number of threads.

use std::fmt;

use super::algorithm::{ConvAlgorithm, Zeros};
use super::strassen;
use super::walk::Grid;
use super::winograd::{Form, OUTPUTS, Tiling};
use crate::conv_shape::ConvShape;
use crate::isa::Isa;

/// Most rows of a task of the product; its part of the map stays in the second-level cache.
pub(super) const MAX_ROWS: usize = 240;
/// Fewest rows worth loading a panel of weights for, where there are enough.
pub(super) const MIN_ROWS: usize = 48;
/// The same of rows in pairs, which take half of the time: weights have to last for more of them.
const MIN_ROWS_IN_PAIRS: usize = 96;
/// Tasks that a layer should have at least, so that many cores find work.
const TASKS: usize = 24;
/// Multiply-adds that make a task of good size.
const TASK_MACS: usize = 2_000_000;
/// Multiply-adds below which a task costs less than handing it over.
const LEAST_MACS: usize = 100_000;
/// Tasks that are enough for a small layer; it may be cut as finely as [`LEAST_MACS`] allow to have them.
const FEW_TASKS: usize = 4;
/// Most pixels that a tile of the gradient of the weights sums in one go: its panel takes the first-level cache.
pub(super) const OUTER_PIXELS: usize = 128;
/// Most rows of a block of the gradient of the weights.
pub(super) const OUTER_ROWS: usize = 192;
/// Most columns of one.
pub(super) const OUTER_COLUMNS: usize = 256;

/// Fewest vectors of input channels for which they become the columns.
const OUTER_TURNED: usize = 4;

/// Fewest channels, of input and output, for which transforms pay.
const WINOGRAD_CHANNELS: usize = 12;
/// Fewest tiles for which it pays to read four times as many weights.
const WINOGRAD_TILES: usize = 8;
/// The same of windows of 3 x 3 with stride 2, for nine times as many.
const WINOGRAD_CELL_TILES: usize = 32;
/// Fewest channels for which the four phases of such windows pay.
const WINOGRAD_CELL_CHANNELS: usize = 32;
/// Most tiles of 4 x 4 for which smaller ones pay, whose filters take 25/36 of the memory.
const WINOGRAD_SMALL_TILES: usize = 16;
/// Fewest filters for which they do: those of fewer stay in the caches.
const WINOGRAD_SMALL_FILTERS: usize = 1 << 15;
/// Fewest pixels for which it pays to read 1.75 times as many weights of Strassen's algorithm.
const STRASSEN_PIXELS: usize = 192;
/// Fewest channels and columns for which it pays.
const STRASSEN_CHANNELS: usize = 128;
const STRASSEN_COLUMNS: usize = 128;
/// Fewest vectors of columns for which it pays to leave out zeros: what is found out of each has to be shared. Pairs of pixels share
/// the weights too.
const SPARSE_VECTORS: usize = 8;
const SPARSE_VECTORS_OF_PAIRS: usize = 4;
/// Most tiles of a forward pass for which it pays to transform the filters in every run.
const FLY_TILES: usize = 4;
/// The same where vectors are wide, so that there are registers for all sums of a row of four tiles.
const FLY_TILES_WIDE: usize = 9;
/// The same of so many filters that they come from memory.
const FLY_TILES_OF_MANY: usize = 16;
const FLY_MANY_FILTERS: usize = 1 << 17;
/// Fewest outputs of a tile, on average, for which it does.
const FLY_OUTPUTS: usize = 12;
/// Fewest filters.
const FLY_FILTERS: usize = 4096;
/// Floats of a tap of a chunk of filters, which stays in the first-level cache.
const FLY_CHUNK: usize = 512;
/// Output channels of a task.
const FLY_COLUMNS: usize = 64;
/// Fewest tiles for which it pays to write and read back four times as many sums.
const WINOGRAD_OUTER_TILES: usize = 16;
/// Most tiles of a block.
pub(super) const WINOGRAD_BLOCK: usize = 32;
/// Fewest tiles of a block where that gives more tasks.
const WINOGRAD_LEAST_BLOCK: usize = 8;
/// The same where filters come from memory for every block.
const WINOGRAD_GOOD_BLOCK: usize = 24;
/// Floats of transformed filters that the second-level cache keeps from block to block.
const WINOGRAD_CACHED_FILTERS: usize = 1 << 18;
/// Floats of transformed inputs that it keeps while filters go through it.
const WINOGRAD_CACHED_INPUTS: usize = 1 << 17;
/// Output channels that a block is multiplied by before the next transform.
const WINOGRAD_COLUMNS: usize = 128;
/// The same where there is one block of tiles only, whose columns threads share.
const WINOGRAD_SHARED_COLUMNS: usize = 160;
/// Tasks that a layer by Winograd should have at least. Each transforms its inputs anew.
const WINOGRAD_TASKS: usize = 8;
/// Most channels of input and of output in a block of the gradient of the weights.
const WINOGRAD_OUTER_BLOCK: usize = 128;
/// Most floats of all parts of the transformed gradient of the weights, where there is more than one part.
const WINOGRAD_SUMS: usize = 3 << 20;

/// The passes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The convolution.
    Forward,
    /// The gradient of its input.
    BackwardData,
    /// The gradient of its weights.
    BackwardWeights,
}

impl Pass {
    /// All passes.
    pub const ALL: [Self; 3] = [Self::Forward, Self::BackwardData, Self::BackwardWeights];
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::BackwardData => "backward data",
            Self::BackwardWeights => "backward weights",
        })
    }
}

/// How a pass is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Direct,
    /// Directly, but for the zeros of the map, in pairs of pixels or one by one.
    Sparse {
        in_pairs: bool,
    },
    /// By Strassen's algorithm.
    Strassen,
    /// By Winograd's minimal filtering, with filters that were transformed before.
    Winograd(Form),
    /// The same, with filters that are transformed on the way to the products.
    OnTheFly,
}

/// How a pass of a convolution is computed where an algorithm is asked for, or left to be chosen.
pub(super) fn choice(isa: Isa, algorithm: ConvAlgorithm, pass: Pass, shape: &ConvShape) -> Choice {
    match algorithm {
        // Two pixels take many registers.
        ConvAlgorithm::Sparse if pass == Pass::Forward => {
            return Choice::Sparse { in_pairs: isa.lanes() == 16 };
        }
        ConvAlgorithm::SparseInOrder if pass == Pass::Forward => return Choice::Sparse { in_pairs: false },
        _ => {}
    }
    let form = Form::new(shape).filter(|&form| form == Form::PIXELS || pass != Pass::BackwardData);
    let Some(form) = form else { return of_pixels(algorithm, pass, shape) };
    let has_ways = form == Form::PIXELS && pass != Pass::BackwardWeights;
    match algorithm {
        ConvAlgorithm::WinogradOnTheFly if has_ways => Choice::OnTheFly,
        ConvAlgorithm::WinogradSmall if has_ways => Choice::Winograd(Form::SMALL_PIXELS),
        ConvAlgorithm::Winograd | ConvAlgorithm::WinogradOnTheFly | ConvAlgorithm::WinogradSmall => {
            Choice::Winograd(form)
        }
        ConvAlgorithm::Auto if has_ways && pass == Pass::Forward && is_faster_on_the_fly(isa, shape) => {
            Choice::OnTheFly
        }
        ConvAlgorithm::Auto if is_winograd_faster(form, pass, shape) => {
            let is_small = has_ways && is_small_faster(shape);
            Choice::Winograd(if is_small { Form::SMALL_PIXELS } else { form })
        }
        _ => Choice::Direct,
    }
}

/// Whether a forward pass should leave out the zeros of its input, in pairs of pixels or one by one, instead of what it would do.
/// In pairs, a quarter of zeros pays against the direct way and Strassen's, and half of them against cells, unless these are cut
/// into whole tiles; one by one, a quarter against the direct way, and half against Strassen's.
pub(super) fn is_sparse_faster(
    isa: Isa,
    sparse: Choice,
    instead: Choice,
    shape: &ConvShape,
    zeros: Zeros,
) -> bool {
    let Choice::Sparse { in_pairs } = sparse else { return false };
    let is_whole = [shape.out_h(), shape.out_w()].iter().all(|size| size.is_multiple_of(OUTPUTS));
    let least = match instead {
        Choice::Direct => Zeros::Several,
        Choice::Strassen if in_pairs => Zeros::Several,
        Choice::Strassen => Zeros::Half,
        Choice::Winograd(Form::Cells { points: 5 }) if in_pairs && !is_whole => Zeros::Half,
        _ => return false,
    };
    let vectors = if in_pairs { SPARSE_VECTORS_OF_PAIRS } else { SPARSE_VECTORS };
    zeros >= least && shape.group_out() >= vectors * isa.lanes()
}

/// How a pass is computed that has no windows for Winograd.
fn of_pixels(algorithm: ConvAlgorithm, pass: Pass, shape: &ConvShape) -> Choice {
    let (channels, columns, is_dense) = match pass {
        Pass::Forward => (shape.c_in, shape.c_out, true),
        Pass::BackwardData => (shape.c_out, shape.c_in, shape.stride == [1; 2]),
        Pass::BackwardWeights => return Choice::Direct,
    };
    let pixels = shape.out_h() * shape.out_w();
    let is_possible = shape.is_of_pixels() && is_dense && strassen::fits(pixels, channels, columns);
    match algorithm {
        ConvAlgorithm::Strassen if is_possible => Choice::Strassen,
        ConvAlgorithm::Auto if is_possible && is_strassen_faster(shape, channels, columns) => {
            Choice::Strassen
        }
        _ => Choice::Direct,
    }
}

/// Sums of pixels have to be shared by enough columns, sums of weights by enough pixels, and a sum has to be long enough.
fn is_strassen_faster(shape: &ConvShape, channels: usize, columns: usize) -> bool {
    let pixels = shape.n * shape.out_h() * shape.out_w();
    pixels >= STRASSEN_PIXELS && channels >= STRASSEN_CHANNELS && columns >= STRASSEN_COLUMNS
}

/// Few tiles wait for transformed filters, which take four times the memory.
fn is_faster_on_the_fly(isa: Isa, shape: &ConvShape) -> bool {
    let (tiles, outputs) = (tiles(shape), shape.n * shape.out_h() * shape.out_w());
    let filters = shape.c_in * shape.c_out;
    let most = match isa.lanes() {
        16 if filters >= FLY_MANY_FILTERS && !is_small_faster(shape) => FLY_TILES_OF_MANY,
        16 => FLY_TILES_WIDE,
        _ => FLY_TILES,
    };
    tiles <= most && outputs >= FLY_OUTPUTS * tiles.max(1) && filters >= FLY_FILTERS
}

/// Some more products take less time than filters that come from memory.
fn is_small_faster(shape: &ConvShape) -> bool {
    let grid = Grid { n: shape.n, h: shape.out_h(), w: shape.out_w() };
    let [few, more] = [Form::PIXELS, Form::SMALL_PIXELS].map(|form| Tiling::new(grid, form).products());
    let filters = shape.c_in * shape.c_out;
    tiles(shape) <= WINOGRAD_SMALL_TILES && filters >= WINOGRAD_SMALL_FILTERS && 5 * more <= 6 * few
}

/// Tiles of Winograd's algorithm.
fn tiles(shape: &ConvShape) -> usize {
    shape.n * shape.out_h().div_ceil(OUTPUTS) * shape.out_w().div_ceil(OUTPUTS)
}

/// Transforms have to be shared by enough channels, and transformed filters by enough tiles.
fn is_winograd_faster(form: Form, pass: Pass, shape: &ConvShape) -> bool {
    let (least, channels) = match (form, pass) {
        (Form::Pixels { .. }, Pass::BackwardWeights) => (WINOGRAD_OUTER_TILES, shape.c_in),
        (Form::Pixels { .. }, _) => (WINOGRAD_TILES, shape.c_in),
        (Form::SmallCells { .. }, _) => (WINOGRAD_CELL_TILES, WINOGRAD_CHANNELS),
        (Form::Cells { .. }, _) if shape.c_in < WINOGRAD_CELL_CHANNELS => return false,
        (Form::Cells { .. }, _) => (WINOGRAD_CELL_TILES, shape.c_in),
    };
    let smallest = shape.out_h().min(shape.out_w());
    channels.min(shape.c_out) >= WINOGRAD_CHANNELS && tiles(shape) >= least && smallest >= OUTPUTS
}

/// Input channels whose filters are transformed for all frequencies before those of the next ones.
pub(super) fn fly_chunk(panel_columns: usize) -> usize {
    FLY_CHUNK / panel_columns
}

/// In how many parts output channels are cut where filters are transformed on the fly.
pub(super) fn fly_parts(columns: usize, panel_columns: usize) -> usize {
    columns.div_ceil(panel_columns.max(FLY_COLUMNS)).max(1)
}

/// The register tile of a product by Winograd, and the panels of filters that a block of tiles is multiplied by at a time.
/// Threads that have one block of tiles share the panels, so these make two, four or eight equal blocks, if they can.
pub(super) fn winograd_columns(isa: Isa, tiles: usize, columns: usize) -> (Tile, usize) {
    let best = tile(isa, columns);
    let panels = |tile: &Tile| columns.div_ceil(tile.columns(isa));
    if tiles > WINOGRAD_BLOCK {
        return (best, (WINOGRAD_COLUMNS.min(columns) / best.columns(isa)).max(1));
    }
    let blocks = columns.div_ceil(WINOGRAD_SHARED_COLUMNS).next_power_of_two();
    let padded = |tile: &Tile| panels(tile) * tile.columns(isa);
    let is_even = |tile: &Tile| padded(tile) == padded(&best) && panels(tile).is_multiple_of(blocks);
    let tile = tiles_of(isa).iter().copied().find(is_even).unwrap_or(best);
    (tile, panels(&tile).div_ceil(blocks))
}

/// How a pass by Winograd is cut: into `tile_blocks` x `column_parts` tasks.
#[derive(Clone, Copy, Debug)]
pub(super) struct WinogradSplit {
    pub(super) tile_blocks: usize,
    pub(super) column_parts: usize,
}

/// Cuts tiles into even blocks, and output channels only where that gives few tasks. Where both give few, blocks are
/// smaller, though every block reads all filters: `depth` of them for each column.
pub(super) fn winograd_split(
    tiles: usize,
    depth: usize,
    columns: usize,
    column_blocks: usize,
) -> WinogradSplit {
    let mut tile_blocks = even_blocks(tiles.div_ceil(WINOGRAD_BLOCK));
    let column_parts = WINOGRAD_TASKS.div_ceil(tile_blocks).min(column_blocks).max(1);
    if column_parts == 1 {
        let comes_from_memory = depth * columns > WINOGRAD_CACHED_FILTERS;
        let is_good = comes_from_memory && WINOGRAD_GOOD_BLOCK * depth <= WINOGRAD_CACHED_INPUTS;
        let least = if is_good { WINOGRAD_GOOD_BLOCK } else { WINOGRAD_LEAST_BLOCK };
        tile_blocks = tile_blocks.max(few_tasks(tiles * depth * columns).min(tiles / least));
    }
    WinogradSplit { tile_blocks, column_parts }
}

/// How the gradient of the weights by Winograd is cut: into `parts` of the tiles, blocks of input channels and
/// blocks of output channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct WinogradOuter {
    pub(super) parts: usize,
    pub(super) in_blocks: usize,
    pub(super) out_blocks: usize,
}

/// Blocks of `channels` that a phase has and of `columns`, as few as the caches allow; parts where that gives few tasks,
/// and while their sums stay small.
pub(super) fn winograd_outer(form: Form, tiles: usize, channels: usize, columns: usize) -> WinogradOuter {
    let [in_blocks, out_blocks] = [channels, columns].map(|c| c.div_ceil(WINOGRAD_OUTER_BLOCK));
    let in_blocks = in_blocks * form.separate_phases();
    let wanted = WINOGRAD_TASKS.div_ceil(in_blocks * out_blocks);
    let affordable = WINOGRAD_SUMS / (form.frequencies() * form.separate_phases() * channels * columns);
    let most = wanted.min(affordable).min(tiles / WINOGRAD_BLOCK).max(1);
    // A power of two, for that is what most machines have of cores.
    let parts = 1 << most.ilog2();
    WinogradOuter { parts, in_blocks, out_blocks }
}

/// The register tiles: rows x vectors. Each is compiled for the instruction sets that use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tile {
    /// 6 x 2: the registers of AVX2.
    R6V2,
    /// 12 x 1: AVX2, few columns.
    R12V1,
    /// 6 x 4: the registers of AVX-512.
    R6V4,
    /// 9 x 3: AVX-512, fewer columns.
    R9V3,
    /// 14 x 2: AVX-512, fewer columns.
    R14V2,
    /// 14 x 1: AVX-512, few columns.
    R14V1,
    /// 1 x 8 and 1 x 4: where zeros are left out.
    R1V8,
    R1V4,
    /// 2 x 8 and 2 x 4: the same of pairs of pixels, AVX-512.
    R2V8,
    R2V4,
}

impl Tile {
    const fn vectors(self) -> usize {
        match self {
            Self::R12V1 | Self::R14V1 => 1,
            Self::R6V2 | Self::R14V2 => 2,
            Self::R9V3 => 3,
            Self::R6V4 | Self::R1V4 | Self::R2V4 => 4,
            Self::R1V8 | Self::R2V8 => 8,
        }
    }

    /// Fewest rows of a task. One by one as many as in the direct way: sums of outputs are taken by task, and so are their bits.
    pub(super) const fn least_rows(self) -> usize {
        match self {
            Self::R2V8 | Self::R2V4 => MIN_ROWS_IN_PAIRS,
            _ => MIN_ROWS,
        }
    }

    /// Whether zeros are left out.
    pub(super) fn is_sparse(self) -> bool {
        matches!(self, Self::R1V8 | Self::R1V4 | Self::R2V8 | Self::R2V4)
    }

    pub(super) fn columns(self, isa: Isa) -> usize {
        self.vectors() * isa.lanes()
    }

    /// How the profile of a program calls it.
    pub(super) fn name(self, isa: Isa) -> &'static str {
        match (self, isa.lanes()) {
            (Self::R6V2, _) => "direct 6x16",
            (Self::R12V1, _) => "direct 12x8",
            (Self::R6V4, _) => "direct 6x64",
            (Self::R9V3, _) => "direct 9x48",
            (Self::R14V2, _) => "direct 14x32",
            (Self::R14V1, _) => "direct 14x16",
            (Self::R1V8 | Self::R1V4, _) => "sparse in order",
            (Self::R2V8 | Self::R2V4, _) => "sparse",
        }
    }
}

/// The tiles of an instruction set, the widest first.
fn tiles_of(isa: Isa) -> &'static [Tile] {
    if isa.lanes() == 16 {
        &[Tile::R6V4, Tile::R9V3, Tile::R14V2, Tile::R14V1]
    } else {
        &[Tile::R6V2, Tile::R12V1]
    }
}

/// The tile that wastes the fewest columns; the wider one where they are equal.
pub(super) fn tile(isa: Isa, columns: usize) -> Tile {
    least_padded(isa, tiles_of(isa), columns)
}

/// The same of a product that is computed directly, with zeros or without.
pub(super) fn direct_tile(isa: Isa, choice: Choice, columns: usize) -> Tile {
    match choice {
        Choice::Sparse { in_pairs: true } => least_padded(isa, &[Tile::R2V8, Tile::R2V4], columns),
        Choice::Sparse { in_pairs: false } => least_padded(isa, &[Tile::R1V8, Tile::R1V4], columns),
        _ => tile(isa, columns),
    }
}

fn least_padded(isa: Isa, tiles: &[Tile], columns: usize) -> Tile {
    let padded = |tile: &Tile| columns.next_multiple_of(tile.columns(isa));
    *tiles.iter().min_by_key(|tile| padded(tile)).expect("the list is not empty")
}

/// Most steps of the sum in a chunk, whose weights stay in the first-level cache.
pub(super) fn chunk(columns: usize) -> usize {
    (8192 / columns).min(256)
}

/// How the product of `rows` x `columns` is cut: into `row_blocks` x `panel_blocks` tasks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    pub(super) row_blocks: usize,
    pub(super) panel_blocks: usize,
    /// Consecutive tasks that one thread should take at least.
    pub(super) min_tasks: usize,
}

impl Split {
    /// Of a group of channels.
    pub(super) const fn tasks(&self) -> usize {
        self.row_blocks * self.panel_blocks
    }

    /// The group, the block of rows and that of panels of a task. A thread has neighbouring tasks, and so the same pixels in every
    /// layer: what it reads, it has written.
    pub(super) const fn blocks(&self, task: usize) -> [usize; 3] {
        let rows = task / self.panel_blocks;
        [rows / self.row_blocks, rows % self.row_blocks, task % self.panel_blocks]
    }
}

/// Cuts rows first, down to `least_rows`, then panels, then rows again where that is not enough.
pub(super) fn split(rows: usize, least_rows: usize, panels: usize, macs: usize) -> Split {
    let few = few_tasks(macs);
    let wanted = (macs / TASK_MACS).max(few).clamp(1, TASKS);
    let mut row_blocks = even_blocks(rows.div_ceil(MAX_ROWS).max(wanted.min(rows / least_rows)));
    let panel_blocks = wanted.div_ceil(row_blocks).clamp(1, panels.max(1));
    if row_blocks * panel_blocks < few {
        row_blocks = row_blocks.max(few.div_ceil(panel_blocks).min(2 * rows / MIN_ROWS));
    }
    Split { row_blocks, panel_blocks, min_tasks: min_tasks(macs, row_blocks * panel_blocks) }
}

/// Tasks that a small layer should have: a power of two.
fn few_tasks(macs: usize) -> usize {
    (macs / LEAST_MACS).min(FEW_TASKS).checked_ilog2().map_or(0, |log| 1 << log)
}

/// At least as many blocks, so that two or four threads have equally many of them.
fn even_blocks(least: usize) -> usize {
    if least > 4 { least.next_multiple_of(4) } else { least.max(1).next_power_of_two() }
}

/// How many of `tasks` equal tasks, which make `macs` multiply-adds together, one thread should take at least: what
/// is worth handing over, and more where a few threads still find work.
pub(super) fn min_tasks(macs: usize, tasks: usize) -> usize {
    let macs_per_task = (macs / tasks.max(1)).max(1);
    let good = (TASK_MACS / macs_per_task).min(tasks / FEW_TASKS);
    good.max(LEAST_MACS / macs_per_task).max(1)
}

/// Vectors of a tile of the gradient of the weights: those that waste the fewest columns, more where they are equal.
pub(super) fn outer_vectors(isa: Isa, columns: usize) -> usize {
    let lanes = isa.lanes();
    let widths: &[usize] = if lanes == 16 { &[4, 3, 2, 1] } else { &[2, 1] };
    let padded = |vectors: &usize| columns.next_multiple_of(vectors * lanes);
    *widths.iter().min_by_key(|vectors| padded(vectors)).expect("the list is not empty")
}

/// Whether the channels of the input are the columns of the gradient of the weights: where windows are single pixels, and these
/// are the fewer channels that fill a register tile.
pub(super) fn turns_outer(isa: Isa, shape: &ConvShape) -> bool {
    let (channels, columns) = (shape.group_in(), shape.group_out());
    shape.is_of_pixels() && channels <= columns && channels >= OUTER_TURNED * isa.lanes()
}

/// Whether panels of `columns` are packed, where pixels are `pitch` floats apart. A panel that is the whole map lies as it
/// would be packed.
pub(super) fn packs_outer(columns: usize, panel_columns: usize, pitch: usize) -> bool {
    columns != panel_columns || pitch > columns
}

/// In how many parts the sum over `pixels` is cut, where the output has `blocks` blocks.
pub(super) fn outer_parts(pixels: usize, blocks: usize, macs: usize) -> usize {
    let wanted = (macs / TASK_MACS).clamp(1, TASKS);
    wanted.div_ceil(blocks.max(1)).min(pixels / (2 * OUTER_PIXELS)).max(1)
}
