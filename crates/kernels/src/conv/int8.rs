//! Convolution of bytes: unsigned maps, signed filters, exact sums in `i32`, and a finish that makes bytes (or
//! floats) of them.
//!
//! The product is that of the floats (see [`conv`](super)), four steps of the sum at a time: filters are packed as
//! `[panel][k / 4][column][4]`, every run of a window filled up with zero weights to a multiple of four. What is
//! read beyond a run is multiplied by zero, so a map is followed by [`SLACK`] bytes that may hold anything. Sums of
//! bytes fit `i32`, therefore there are no chunks: a tile goes through the whole window and its sums are finished
//! in registers.
//!
//! A map's border holds its zero point. `Σ w (q - zero)` is `Σ w q` minus a constant for each output channel,
//! which goes into the bias, where the sums begin.
//!
//! All instruction sets give the same bits: integers are exact, and the finish is made of single, unfused operations.

mod finish;
mod tile;

pub use finish::{ByteFinish, FloatFinish};

use super::choose::{self, MAX_ROWS, Split};
use super::forward::{taps, windows};
use super::gemm::cut;
use super::tasks::{self, part};
use super::tile::{Segment, for_rows};
use super::walk::{Grid, Phase, Walk};
use crate::check;
use crate::conv_shape::ConvShape;
use crate::isa::{ByteKernel, Bytes, Isa, Source};
use finish::Finish;
use residuum_tensor::{AlignedBuffer, MapLayout, bytes, bytes_mut};
use std::io;
use tile::{Panel, Rows, call_tile};

/// Bytes behind a map that its convolution may read; what they hold does not matter.
pub const SLACK: usize = 3;

/// The most steps of a sum: of as many products of 255 and -128 the sum is no less than `i32::MIN / 2`, which leaves
/// room for a bias.
pub const MOST_STEPS: usize = (1 << 30) / (255 * 128);

/// Filters of a convolution of bytes.
#[derive(Clone, Copy, Debug)]
pub struct ByteFilters<'a> {
    /// OIHW.
    pub weights: &'a [i8],
    /// Where the sum of each output channel begins, in units of the products.
    pub bias: &'a [i32],
    /// What the sum of each output channel is multiplied by at the end.
    pub multipliers: &'a [f32],
    /// The byte that stands for 0 in the map.
    pub zero_point: u8,
}

/// A convolution of bytes, prepared for its shape, the layouts of its maps and its filters.
#[derive(Debug)]
pub struct ConvInt8 {
    isa: Isa,
    product: Product,
    x: MapLayout,
    out: MapLayout,
    /// `[group][panel][k / 4][column][4]` signed bytes.
    packed: AlignedBuffer,
    /// `[group][column]`, those that do not exist zero.
    bias: Vec<i32>,
    multipliers: Vec<f32>,
}

/// The matrix product: rows are pixels of the output.
#[derive(Clone, Debug)]
struct Product {
    tile: Tile,
    grid: Grid,
    src: Walk,
    dst: Walk,
    segments: Vec<Segment>,
    /// Steps of the sum, those that fill up runs among them.
    steps: usize,
    /// Channels of a group of the output, and of those the panels.
    columns: usize,
    channels: usize,
    panel_columns: usize,
    panels: usize,
    groups: usize,
    split: Split,
}

/// The register tiles: rows x vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tile {
    /// The registers of AVX2, in which a lane has two sums.
    R6V1,
    /// AVX-512.
    R14V2,
    /// AVX-512, few columns.
    R14V1,
}

impl Tile {
    fn new(isa: Isa, columns: usize) -> (Self, usize) {
        match isa.byte_lanes() {
            (lanes, true) if columns > lanes => (Self::R14V2, 2 * lanes),
            (lanes, true) => (Self::R14V1, lanes),
            (lanes, false) => (Self::R6V1, lanes),
        }
    }
}

impl ConvInt8 {
    /// Prepares the convolution from map `x` to map `out`.
    ///
    /// # Errors
    /// When there is no memory for the packed filters.
    ///
    /// # Panics
    /// Where layouts or filters do not fit the shape, the border of `x` is less than [`ConvShape::input_border`], or
    /// a sum has more than [`MOST_STEPS`].
    pub fn new(
        isa: Isa,
        shape: &ConvShape,
        x: MapLayout,
        out: MapLayout,
        filters: &ByteFilters<'_>,
    ) -> io::Result<Self> {
        shape.check(&x, shape.input_border(), &out, 0);
        check::length("weights", filters.weights.len(), shape.weight_len());
        check::length("bias", filters.bias.len(), shape.c_out);
        check::length("multipliers", filters.multipliers.len(), shape.c_out);
        let steps = shape.taps() * shape.group_in();
        assert!(steps <= MOST_STEPS, "sums of {shape:?} do not fit");
        let product = Product::new(isa, shape, &x, &out);
        let mut packed = AlignedBuffer::zeroed(product.packed_len().div_ceil(4))?;
        product.pack(filters.weights, shape, &x, bytes_mut(&mut packed));
        let shifted = filters.bias.iter().zip(filters.weights.chunks_exact(steps)).map(|(&bias, filter)| {
            let sum: i32 = filter.iter().map(|&weight| i32::from(weight)).sum();
            bias.wrapping_sub(sum.wrapping_mul(i32::from(filters.zero_point)))
        });
        let bias = product.padded(shifted);
        let multipliers = product.padded(filters.multipliers.iter().copied());
        Ok(Self { isa, product, x, out, packed, bias, multipliers })
    }

    /// Bytes that the packed filters take.
    pub fn packed_bytes(&self) -> usize {
        4 * (self.packed.len() + self.bias.len() + self.multipliers.len())
    }

    /// How the convolution is computed, for a profile.
    pub fn algorithm(&self) -> &'static str {
        match self.product.tile {
            Tile::R14V2 => "int8 14x32",
            Tile::R14V1 => "int8 14x16",
            Tile::R6V1 => "int8 6x8",
        }
    }

    /// Reads the border of `x`, which holds the zero point; writes nothing but the pixels of `out`.
    ///
    /// # Panics
    /// Where a slice is too short for its layout, or the residual is not of the size of the output.
    pub fn run_to_bytes(&self, x: &[u8], finish: &ByteFinish<'_>, out: &mut [u8]) {
        check::map("output", out.len(), &self.out);
        finish.check(&self.out);
        self.run(x, &Finish::bytes(finish, &self.multipliers, out));
    }

    /// The same, its result as floats.
    ///
    /// # Panics
    /// As [`ConvInt8::run_to_bytes`].
    pub fn run_to_floats(&self, x: &[u8], finish: &FloatFinish<'_>, out: &mut [f32]) {
        check::map("output", out.len(), &self.out);
        finish.check(&self.out);
        self.run(x, &Finish::floats(finish, &self.multipliers, out));
    }

    fn run(&self, x: &[u8], finish: &Finish<'_>) {
        check::bordered_map("input", x.len().saturating_sub(SLACK), &self.x);
        let product = &self.product;
        let run = |index: usize| {
            let task = Task { conv: self, finish, src: Source::new(x), index };
            self.isa.run_bytes(task);
        };
        tasks::for_each(product.tasks(), product.split.min_tasks, run);
    }
}

impl Product {
    fn new(isa: Isa, shape: &ConvShape, x: &MapLayout, out: &MapLayout) -> Self {
        let (channels, columns) = (shape.group_in(), shape.group_out());
        let (tile, panel_columns) = Tile::new(isa, columns);
        let (segments, _) = cut(&taps(shape, x), channels, usize::MAX);
        let fill = |segment: Segment| Segment { len: segment.len.next_multiple_of(4), ..segment };
        let segments: Vec<Segment> = segments.into_iter().map(fill).collect();
        let (grid, panels) = (Phase::ALL.grid(out), columns.div_ceil(panel_columns));
        // A product of bytes takes a fourth of the time of a product of floats.
        let split = choose::split(grid.rows(), choose::MIN_ROWS, panels, shape.macs() / shape.groups / 4);
        Self {
            tile,
            grid,
            src: windows(shape, x),
            dst: Phase::ALL.walk(out),
            steps: segments.iter().map(|segment| segment.len).sum(),
            segments,
            columns,
            channels,
            panel_columns,
            panels,
            groups: shape.groups,
            split,
        }
    }

    fn panel_bytes(&self) -> usize {
        self.steps * self.panel_columns
    }

    fn packed_len(&self) -> usize {
        self.groups * self.panels * self.panel_bytes()
    }

    fn tasks(&self) -> usize {
        if self.grid.rows() == 0 { 0 } else { self.groups * self.split.tasks() }
    }

    /// One value for each column of all panels.
    fn padded<T: Copy + Default>(&self, values: impl Iterator<Item = T>) -> Vec<T> {
        let values: Vec<T> = values.collect();
        let width = self.panels * self.panel_columns;
        let mut padded = vec![T::default(); self.groups * width];
        for (to, from) in padded.chunks_exact_mut(width.max(1)).zip(values.chunks_exact(self.columns.max(1)))
        {
            to[..self.columns].copy_from_slice(from);
        }
        padded
    }

    /// Writes the weights (OIHW) in the order in which tiles read them; `packed` is zero.
    fn pack(&self, weights: &[i8], shape: &ConvShape, x: &MapLayout, packed: &mut [u8]) {
        let count = shape.taps();
        let (segments, _) = cut(&taps(shape, x), self.channels, usize::MAX);
        // Place of each step of the sum in a packed column; runs are filled up behind.
        let mut places = Vec::with_capacity(count * self.channels);
        let mut start = 0;
        for segment in &segments {
            places.extend((start..start + segment.len).map(|k| k / 4 * 4 * self.panel_columns + k % 4));
            start += segment.len.next_multiple_of(4);
        }
        for (output, filter) in weights.chunks_exact(count * self.channels).enumerate() {
            let (group, column) = (output / self.columns, output % self.columns);
            let panel = group * self.panels + column / self.panel_columns;
            let base = panel * self.panel_bytes() + 4 * (column % self.panel_columns);
            for (step, &place) in places.iter().enumerate() {
                let (tap, channel) = (step / self.channels, step % self.channels);
                packed[base + place] = filter[channel * count + tap].cast_unsigned();
            }
        }
    }
}

/// Some rows and panels of a group.
struct Task<'a> {
    conv: &'a ConvInt8,
    finish: &'a Finish<'a>,
    src: Source<'a, u8>,
    index: usize,
}

impl ByteKernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<B: Bytes>(self, bytes: B) {
        match self.conv.product.tile {
            Tile::R6V1 => self.panels::<B, 6, 1>(bytes),
            Tile::R14V2 => self.panels::<B, 14, 2>(bytes),
            Tile::R14V1 => self.panels::<B, 14, 1>(bytes),
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    fn panels<B: Bytes, const R: usize, const V: usize>(&self, simd: B) {
        let product = &self.conv.product;
        let Split { row_blocks, panel_blocks, .. } = product.split;
        let [group, block, panel_block] = product.split.blocks(self.index);
        let rows = part(product.grid.rows(), block, row_blocks);
        let (mut src, mut dst, mut residual) = ([0; MAX_ROWS], [0; MAX_ROWS], [0; MAX_ROWS]);
        let count = rows.len();
        product.grid.places(&product.src, rows.start, &mut src[..count]);
        product.grid.places(&product.dst, rows.start, &mut dst[..count]);
        if let Some(walk) = self.finish.residual_walk() {
            product.grid.places(&walk, rows.start, &mut residual[..count]);
        }
        src[..count].iter_mut().for_each(|place| *place += group * product.channels);
        for places in [&mut dst, &mut residual] {
            places[..count].iter_mut().for_each(|place| *place += group * product.columns);
        }
        for p in part(product.panels, panel_block, panel_blocks) {
            let column = p * product.panel_columns;
            let constants = group * product.panels * product.panel_columns + column;
            let start = (group * product.panels + p) * product.panel_bytes();
            let panel = Panel {
                src: self.src,
                segments: &product.segments,
                // SAFETY: the packed weights hold every panel.
                weights: unsafe { Source::new(bytes(&self.conv.packed)).skip(start) },
                bias: Source::new(&self.conv.bias[constants..]),
                constants,
                finish: self.finish,
                column,
                columns: product.columns - column,
            };
            let places = Rows { src: &src[..count], dst: &dst[..count], residual: &residual[..count] };
            // SAFETY: the maps and the weights have been checked, and no other task has these rows and panels.
            unsafe { tiles::<B, R, V>(simd, &panel, places) };
        }
    }
}

/// A panel for all rows of a task, in tiles as even as possible.
///
/// # Safety
/// That of [`call_tile`].
#[inline(always)]
unsafe fn tiles<B: Bytes, const R: usize, const V: usize>(simd: B, panel: &Panel<'_>, rows: Rows<'_>) {
    let count = rows.src.len().div_ceil(R);
    for index in 0..count {
        let part = part(rows.src.len(), index, count);
        let places = Rows {
            src: &rows.src[part.clone()],
            dst: &rows.dst[part.clone()],
            residual: &rows.residual[part.clone()],
        };
        for_rows!(part.len(), R, call_tile::<B, R, V>(simd, panel, places));
    }
}
