//! Weights in the order in which the product reads them.

use rayon::prelude::*;

use super::{Chunk, Gemm, WeightStrides};
use crate::conv::choose;
use crate::conv::tile::LINE;
use crate::isa::{Isa, Kernel, Simd, Sink, Source, Square};

/// Channels that are packed at a time, a cache line of weights where these lie side by side.
const PACKED_CHANNELS: usize = 16;
/// Multiply-adds that take as long as packing one weight.
const WEIGHT_MACS: usize = 32;

/// Multiplies weights by scales, as far as there are scales, each product rounded once.
pub(in crate::conv) fn scale(weights: &mut [f32], scales: &[f64]) {
    for (weight, scale) in weights.iter_mut().zip(scales) {
        *weight = (f64::from(*weight) * scale) as f32;
    }
}

impl Gemm {
    /// Writes the weights as `[group][chunk][panel][k][column]`, zero where there is no column, each times the scale of
    /// its column where there are scales.
    pub(in crate::conv) fn pack(
        &self,
        isa: Isa,
        weights: &[f32],
        scales: Option<&[f64]>,
        packed: &mut [f32],
    ) {
        if self.group_len() == 0 {
            return;
        }
        let mut panels = Vec::with_capacity(self.groups * self.chunks.len() * self.panels);
        for (group, mut rest) in packed.chunks_exact_mut(self.group_len()).enumerate() {
            for chunk in &self.chunks {
                let block = chunk.len * self.panel_columns;
                let (blocks, after) = rest.split_at_mut(block * self.panels);
                rest = after;
                let blocks = blocks.chunks_exact_mut(block).enumerate();
                panels.extend(blocks.map(|(panel, packed)| (group, chunk, panel, packed)));
            }
        }
        let min_panels = choose::min_tasks(WEIGHT_MACS * self.packed_len(), panels.len());
        let panels = panels.into_par_iter().with_min_len(min_panels);
        panels.for_each(|(group, chunk, panel, packed)| {
            let weights = &weights[group * self.strides.group..];
            let scales = scales.map(|scales| &scales[group * self.columns..(group + 1) * self.columns]);
            isa.run(PackPanel { gemm: self, chunk, panel, weights, scales, packed });
        });
    }
}

/// A panel of a chunk.
struct PackPanel<'a> {
    gemm: &'a Gemm,
    chunk: &'a Chunk,
    panel: usize,
    /// Weights and scales of the group.
    weights: &'a [f32],
    scales: Option<&'a [f64]>,
    packed: &'a mut [f32],
}

impl Kernel for PackPanel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { gemm, chunk, panel, scales, .. } = self;
        let first = panel * gemm.panel_columns;
        let columns = first..gemm.columns.min(first + gemm.panel_columns);
        let weights = &self.weights[first * gemm.strides.column..];
        let (mut at, mut rest) = (chunk.start, self.packed);
        while !rest.is_empty() {
            let (tap, channel) = (at / gemm.channels, at % gemm.channels);
            let len = PACKED_CHANNELS.min(gemm.channels - channel).min(chunk.start + chunk.len - at);
            let (rows, after) = rest.split_at_mut(len * gemm.panel_columns);
            let start = channel * gemm.strides.channel + gemm.taps[tap].index;
            gather(simd, &weights[start..], gemm.strides, columns.len(), gemm.panel_columns, rows);
            for row in rows.chunks_exact_mut(gemm.panel_columns) {
                if let Some(scales) = scales {
                    scale(row, &scales[columns.clone()]);
                }
                row[columns.len()..].fill(0.0);
            }
            (at, rest) = (at + len, after);
        }
    }
}

/// Copies the weights of some columns to rows of `width`, one for each channel, in the order in which they lie in memory,
/// while those of as many channels that follow are fetched.
#[inline(always)]
pub(in crate::conv) fn gather<S: Simd>(
    simd: S,
    weights: &[f32],
    strides: WeightStrides,
    columns: usize,
    width: usize,
    rows: &mut [f32],
) {
    let WeightStrides { column: next_column, channel: next_channel, .. } = strides;
    let (source, following) = (Source::new(weights), rows.len() / width * next_channel);
    if next_column < next_channel {
        for (channel, row) in rows.chunks_exact_mut(width).enumerate() {
            let start = channel * next_channel;
            for line in (0..columns * next_column).step_by(LINE) {
                simd.prefetch(source, start + following + line);
            }
            let row = &mut row[..columns];
            if next_column == 1 {
                row.copy_from_slice(&weights[start..start + columns]);
                continue;
            }
            for (column, packed) in row.iter_mut().enumerate() {
                *packed = weights[start + column * next_column];
            }
        }
    } else {
        if next_channel == 1 && (rows.len() / width).is_multiple_of(S::LANES) {
            return turn(simd, weights, next_column, columns, width, rows);
        }
        for column in 0..columns {
            let start = column * next_column;
            for line in (0..following).step_by(LINE) {
                simd.prefetch(source, start + following + line);
            }
            for (channel, row) in rows.chunks_exact_mut(width).enumerate() {
                row[column] = weights[start + channel * next_channel];
            }
        }
    }
}

/// The same of weights whose channels lie side by side, whole vectors of them.
#[inline(always)]
fn turn<S: Simd>(
    simd: S,
    weights: &[f32],
    next_column: usize,
    columns: usize,
    width: usize,
    rows: &mut [f32],
) {
    let channels = rows.len() / width;
    assert!(columns <= width && columns.saturating_sub(1) * next_column + channels <= weights.len());
    let (weights, rows) = (Source::new(weights), Sink::new(rows));
    for column in (0..columns).step_by(S::LANES) {
        let count = S::LANES.min(columns - column);
        for line in 0..count {
            simd.prefetch(weights, (column + line) * next_column + channels);
        }
        for channel in (0..channels).step_by(S::LANES) {
            let at = column * next_column + channel;
            // SAFETY: there are the columns, and as many channels as there are rows, as has been checked.
            let square = unsafe { Square::gather(simd, weights, at, next_column, count, S::LANES) };
            // SAFETY: the rows are as wide as that, and as many.
            unsafe { square.store(simd, rows, channel * width + column, width, S::LANES, count) };
        }
    }
}
