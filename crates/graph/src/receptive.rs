//! How far the units of a layer see.

use crate::graph::{Graph, NodeId};
use crate::op::Op;

/// The pixels that a unit of a layer can depend on, along one side: unit `u` sees the inputs
/// `centre + u · step ± (size − 1) / 2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReceptiveField {
    /// Pixels seen.
    pub size: f64,
    /// Pixels between the fields of neighbouring units.
    pub step: f64,
    /// Middle of the field of unit 0.
    pub centre: f64,
}

impl ReceptiveField {
    /// First and last pixel, clipped to an image of `side` pixels.
    pub fn pixels(&self, unit: usize, side: usize) -> std::ops::Range<usize> {
        let middle = self.centre + unit as f64 * self.step;
        let half = (self.size - 1.0) / 2.0;
        let first = (middle - half).floor().max(0.0) as usize;
        let end = ((middle + half).ceil() + 1.0).clamp(0.0, side as f64) as usize;
        first.min(end)..end
    }
}

impl Graph {
    /// The receptive field of every node's units along the rows, the widest of all paths to it; nothing for
    /// what sees the whole image at once. What weighs a map (a gate from pooled values) does not count.
    pub fn receptive_fields(&self) -> Vec<Option<ReceptiveField>> {
        let mut fields: Vec<Option<ReceptiveField>> = Vec::with_capacity(self.nodes.len());
        for id in self.ids() {
            let field = self.field_of(id, &fields);
            fields.push(field);
        }
        fields
    }

    fn field_of(&self, id: NodeId, fields: &[Option<ReceptiveField>]) -> Option<ReceptiveField> {
        let node = self.node(id);
        let paths = node.inputs.iter().filter_map(|input| fields[input.index()]);
        let widest = paths.max_by(|a, b| a.size.total_cmp(&b.size));
        let window = |kernel: usize, stride: usize, padding: usize, dilation: usize| {
            let field = widest?;
            let reach = ((kernel - 1) * dilation) as f64;
            Some(ReceptiveField {
                size: field.size + reach * field.step,
                centre: field.centre + (reach / 2.0 - padding as f64) * field.step,
                step: field.step * stride as f64,
            })
        };
        match node.op {
            Op::Input => Some(ReceptiveField { size: 1.0, step: 1.0, centre: 0.0 }),
            Op::Conv2d(c) => window(c.kernel[0], c.stride[0], c.padding[0], c.dilation[0]),
            Op::MaxPool(pool) => window(pool.kernel[0], pool.stride[0], pool.padding[0], 1),
            Op::AvgPool(pool) => {
                window(pool.window.kernel[0], pool.window.stride[0], pool.window.padding[0], 1)
            }
            Op::Blur(blur) => window(blur.size, blur.stride, blur.padding(), 1),
            Op::Subsample { stride } => window(1, stride, 0, 1),
            Op::GlobalAvgPool | Op::Linear(_) | Op::Flatten => None,
            // A gate from pooled values sees everything, its map does not.
            _ => widest,
        }
    }
}
