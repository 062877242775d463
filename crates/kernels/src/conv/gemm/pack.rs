//! Weights in the order in which the product reads them.

use rayon::prelude::*;

use super::{Chunk, Gemm, WeightStrides};
use crate::conv::choose;

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
    pub(in crate::conv) fn pack(&self, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
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
            self.pack_panel(chunk, panel, weights, scales, packed);
        });
    }

    fn pack_panel(
        &self,
        chunk: &Chunk,
        panel: usize,
        weights: &[f32],
        scales: Option<&[f64]>,
        packed: &mut [f32],
    ) {
        let first = panel * self.panel_columns;
        let columns = first..self.columns.min(first + self.panel_columns);
        let weights = &weights[first * self.strides.column..];
        let (mut at, mut rest) = (chunk.start, packed);
        while !rest.is_empty() {
            let (tap, channel) = (at / self.channels, at % self.channels);
            let len = PACKED_CHANNELS.min(self.channels - channel).min(chunk.start + chunk.len - at);
            let (rows, after) = rest.split_at_mut(len * self.panel_columns);
            let start = channel * self.strides.channel + self.taps[tap].index;
            gather(&weights[start..], self.strides, columns.len(), self.panel_columns, rows);
            for row in rows.chunks_exact_mut(self.panel_columns) {
                if let Some(scales) = scales {
                    scale(row, &scales[columns.clone()]);
                }
                row[columns.len()..].fill(0.0);
            }
            (at, rest) = (at + len, after);
        }
    }
}

/// Copies the weights of some columns to rows of `width`, one for each channel, in the order in which they lie in memory.
pub(in crate::conv) fn gather(
    weights: &[f32],
    strides: WeightStrides,
    columns: usize,
    width: usize,
    rows: &mut [f32],
) {
    let WeightStrides { column: next_column, channel: next_channel, .. } = strides;
    if next_column < next_channel {
        for (channel, row) in rows.chunks_exact_mut(width).enumerate() {
            let sources = weights[channel * next_channel..].iter().step_by(next_column);
            row[..columns].iter_mut().zip(sources).for_each(|(packed, weight)| *packed = *weight);
        }
    } else {
        for column in 0..columns {
            let sources = weights[column * next_column..].iter().step_by(next_channel);
            let packed = rows[column..].iter_mut().step_by(width);
            packed.zip(sources).for_each(|(packed, weight)| *packed = *weight);
        }
    }
}
