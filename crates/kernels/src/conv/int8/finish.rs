//! What becomes of a finished sum of products of bytes: a byte of the next map, or a float.

use super::super::walk::{Phase, Walk};
use crate::check;
use crate::isa::{Bytes, FloatsOf, Simd, Sink, Source};
use residuum_tensor::MapLayout;

/// To bytes: `out = round(clamp(sum * multiplier + residual * factor + offset, least, 255))`, ties to even. Points of
/// several grids are brought to that of the output in this one step.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByteFinish<'a> {
    /// A map of the size of the output, with its layout and what its bytes are multiplied by.
    pub residual: Option<(&'a [u8], MapLayout, f32)>,
    /// Is added; the zero point of the output, less that of the residual as multiplied.
    pub offset: f32,
    /// The least byte: the zero point behind a ReLU, else 0.
    pub least: u8,
}

/// To floats: `out = relu(sum * multiplier + residual)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FloatFinish<'a> {
    /// A map of the size of the output, with its layout.
    pub residual: Option<(&'a [f32], MapLayout)>,
    /// Negative values become zero.
    pub relu: bool,
}

impl ByteFinish<'_> {
    pub(super) fn check(&self, out: &MapLayout) {
        if let Some((map, layout, _)) = &self.residual {
            check_residual(map.len(), layout, out);
        }
    }
}

impl FloatFinish<'_> {
    pub(super) fn check(&self, out: &MapLayout) {
        if let Some((map, layout)) = &self.residual {
            check_residual(map.len(), layout, out);
        }
    }
}

fn check_residual(len: usize, layout: &MapLayout, out: &MapLayout) {
    check::shape("residual", layout, [out.n, out.h, out.w, out.c]);
    check::map("residual", len, layout);
}

/// The finish of a run with the maps it reads and writes.
pub(super) struct Finish<'a> {
    multipliers: Source<'a>,
    residual: Option<MapLayout>,
    way: Way<'a>,
}

enum Way<'a> {
    Bytes { residual: Source<'a, u8>, factor: f32, offset: f32, least: f32, out: Sink<'a, u8> },
    Floats { residual: Source<'a>, relu: bool, out: Sink<'a> },
}

impl<'a> Finish<'a> {
    pub(super) fn bytes(how: &ByteFinish<'a>, multipliers: &'a [f32], out: &'a mut [u8]) -> Self {
        let (map, layout, factor) = how.residual.map_or((&[][..], None, 0.0), |(m, l, f)| (m, Some(l), f));
        let way = Way::Bytes {
            residual: Source::new(map),
            factor,
            offset: how.offset,
            least: how.least.into(),
            out: Sink::new(out),
        };
        Self { multipliers: Source::new(multipliers), residual: layout, way }
    }

    pub(super) fn floats(how: &FloatFinish<'a>, multipliers: &'a [f32], out: &'a mut [f32]) -> Self {
        let (map, layout) = how.residual.map_or((&[][..], None), |(map, layout)| (map, Some(layout)));
        let way = Way::Floats { residual: Source::new(map), relu: how.relu, out: Sink::new(out) };
        Self { multipliers: Source::new(multipliers), residual: layout, way }
    }

    /// The places of the rows in the residual, where there is one.
    pub(super) fn residual_walk(&self) -> Option<Walk> {
        self.residual.map(|layout| Phase::ALL.walk(&layout))
    }

    /// The multipliers of a vector of columns.
    ///
    /// # Safety
    /// There is a whole vector of them.
    #[inline(always)]
    pub(super) unsafe fn multiplier<B: Bytes>(&self, bytes: B, at: usize) -> FloatsOf<B> {
        // SAFETY: by the contract.
        unsafe { bytes.floats().load_at(self.multipliers, at) }
    }

    /// Finishes and stores the first `count` columns of a vector. Nothing here may be fused, or instruction sets
    /// would differ.
    ///
    /// # Safety
    /// The columns lie inside the output at `dst` and inside the residual at `residual`, and no other thread
    /// touches the output.
    #[inline(always)]
    pub(super) unsafe fn store<B: Bytes>(
        &self,
        bytes: B,
        product: FloatsOf<B>,
        dst: usize,
        residual: usize,
        count: usize,
    ) {
        let simd = bytes.floats();
        let mut value = product;
        match &self.way {
            Way::Bytes { residual: map, factor, offset, least, out } => {
                if self.residual.is_some() {
                    // SAFETY: by the contract.
                    let other = unsafe { bytes.load_bytes_at(*map, residual, count) };
                    value = simd.add(value, simd.mul(other, simd.splat(*factor)));
                }
                value = simd.add(value, simd.splat(*offset));
                value = simd.min(simd.max(value, simd.splat(*least)), simd.splat(255.0));
                // SAFETY: by the contract.
                unsafe { bytes.store_bytes_at(value, *out, dst, count) };
            }
            Way::Floats { residual: map, relu, out } => {
                if self.residual.is_some() {
                    // SAFETY: by the contract.
                    value = simd.add(value, unsafe { simd.load_part_at(*map, residual, count) });
                }
                if *relu {
                    value = simd.relu(value);
                }
                // SAFETY: by the contract.
                unsafe { simd.store_part_at(value, *out, dst, count) };
            }
        }
    }
}
