//! Steps on bytes. Their values lie in the arena as the others do, four bytes in the place of a float.

use residuum_kernels::conv::{ByteFinish, ConvInt8, FloatFinish};
use residuum_kernels::{Isa, PoolShape, int8};
use residuum_tensor::{MapLayout, Quantizer, bytes, bytes_mut};

use crate::plan::Slot;
use crate::step::{Inputs, ValueId};

/// What a step on bytes does.
#[derive(Debug)]
pub(crate) enum Int8 {
    Load,
    /// To bytes or to floats, as the value is; the residual is of the same kind.
    Conv {
        kernel: Box<ConvInt8>,
        x: ValueId,
        residual: Option<ValueId>,
        relu: bool,
    },
    Quantize {
        x: ValueId,
    },
    Dequantize {
        x: ValueId,
    },
    MaxPool {
        x: ValueId,
        shape: PoolShape,
    },
    GlobalAvgPool {
        x: ValueId,
    },
    SubsamplePad {
        x: ValueId,
        stride: usize,
        before: usize,
    },
}

impl Int8 {
    /// For profiles.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Load => "load images, int8".into(),
            Self::Conv { kernel, residual, relu, .. } => {
                let (add, relu) =
                    (if residual.is_some() { " + add" } else { "" }, if *relu { " + relu" } else { "" });
                format!("conv, {}{add}{relu}", kernel.algorithm())
            }
            Self::Quantize { .. } => "quantize".into(),
            Self::Dequantize { .. } => "dequantize".into(),
            Self::MaxPool { .. } => "max pool, int8".into(),
            Self::GlobalAvgPool { .. } => "global average pool, int8".into(),
            Self::SubsamplePad { .. } => "subsample and pad, int8".into(),
        }
    }

    /// The values that the step reads.
    pub(crate) fn reads(&self) -> Vec<ValueId> {
        match self {
            Self::Load => Vec::new(),
            Self::Conv { x, residual, .. } => [Some(*x), *residual].into_iter().flatten().collect(),
            Self::Quantize { x }
            | Self::Dequantize { x }
            | Self::MaxPool { x, .. }
            | Self::GlobalAvgPool { x }
            | Self::SubsamplePad { x, .. } => vec![*x],
        }
    }

    /// Runs the step. `out` is the memory of the value that it makes.
    pub(crate) fn run(&self, isa: Isa, images: &[f32], inputs: Inputs<'_>, out: &mut [f32], slot: &Slot) {
        let layout = slot.layout;
        let map = |value: ValueId| {
            let (floats, layout) = inputs.map(value);
            (bytes(floats), layout)
        };
        let grid = |value: ValueId| inputs.grid(value).expect("a value in bytes has a grid");
        let own = || slot.grid.expect("a value in bytes has a grid");
        match self {
            Self::Load => int8::to_map(images, own(), bytes_mut(out), layout),
            Self::Conv { kernel, x, residual, relu } => {
                if let Some(own) = slot.grid {
                    let residual = residual.map(|value| (map(value), grid(value)));
                    kernel.run_to_bytes(map(*x).0, &finish(residual, own, *relu), bytes_mut(out));
                } else {
                    let residual = residual.map(|value| inputs.map(value));
                    kernel.run_to_floats(map(*x).0, &FloatFinish { residual, relu: *relu }, out);
                }
            }
            Self::Quantize { x } => {
                let (x, xl) = inputs.map(*x);
                int8::quantize(isa, x, xl, own(), bytes_mut(out), layout);
            }
            Self::Dequantize { x } => {
                let (map, xl) = map(*x);
                int8::dequantize(isa, map, xl, grid(*x), out, layout);
            }
            Self::MaxPool { x, shape } => {
                let (x, xl) = map(*x);
                int8::max_pool(isa, x, xl, shape, bytes_mut(out), layout);
            }
            Self::GlobalAvgPool { x } => {
                let (map, xl) = map(*x);
                int8::global_avg_pool(isa, map, xl, grid(*x), out, layout);
            }
            Self::SubsamplePad { x, stride, before } => {
                let (x, xl) = map(*x);
                int8::subsample_pad(x, xl, *stride, *before, own().zero_point, bytes_mut(out), layout);
            }
        }
    }
}

/// From the units of a sum, which the multipliers bring to those of the output, to bytes of the output's grid.
fn finish(residual: Option<((&[u8], MapLayout), Quantizer)>, own: Quantizer, relu: bool) -> ByteFinish<'_> {
    let zero = f64::from(own.zero_point);
    let (residual, shift) = residual.map_or((None, 0.0), |((map, layout), grid)| {
        let factor = (f64::from(grid.scale) / f64::from(own.scale)) as f32;
        (Some((map, layout, factor)), f64::from(factor) * f64::from(grid.zero_point))
    });
    let least = if relu { own.zero_point } else { 0 };
    ByteFinish { residual, offset: (zero - shift) as f32, least }
}
