//! The gradient of the input: the transposed convolution.
//!
//! Input pixels whose coordinates leave the same remainders modulo the stride meet the same taps, at
//! neighbouring pixels of `dy`. Each such phase is a convolution of stride 1 over `dy` with its part of the
//! flipped, transposed filters. A phase without taps (1x1 windows of stride 2 have three) still writes zeros.

use super::algorithm::ConvAlgorithm;
use super::choose::Pass;
use super::gemm::{Epilogue, Operands, Product, Tap, WeightStrides};
use super::sums::{GRADIENT_ROWS, NormOutput, Of, Sums};
use super::tasks::WorkingMemory;
use super::walk::{Phase, Walk};
use super::way::Way;
use crate::check;
use crate::conv_shape::ConvShape;
use crate::isa::{Isa, Sink};
use residuum_tensor::MapLayout;

/// The gradient of a convolution's input, prepared for its shape and the layouts of its maps.
#[derive(Clone, Debug)]
pub struct ConvBackwardData {
    shape: ConvShape,
    dy: MapLayout,
    dx: MapLayout,
    way: Way,
}

impl ConvBackwardData {
    /// Prepares the gradient from map `dy` to map `dx`, by the algorithm that suits the shape.
    ///
    /// # Panics
    /// Where the layouts do not fit the shape, or the border of `dy` is less than [`ConvShape::gradient_border`].
    pub fn new(isa: Isa, shape: &ConvShape, dy: MapLayout, dx: MapLayout) -> Self {
        Self::with_algorithm(isa, ConvAlgorithm::Auto, shape, dy, dx)
    }

    /// The same by a given algorithm, where the shape admits it.
    ///
    /// # Panics
    /// As [`ConvBackwardData::new`].
    pub fn with_algorithm(
        isa: Isa,
        algorithm: ConvAlgorithm,
        shape: &ConvShape,
        dy: MapLayout,
        dx: MapLayout,
    ) -> Self {
        shape.check(&dx, 0, &dy, shape.gradient_border());
        let phases = shape.phases().into_iter().map(|phase| product(isa, shape, &dy, &dx, phase)).collect();
        let way = Way::new(isa, algorithm, Pass::BackwardData, shape, phases);
        Self { shape: *shape, dy, dx, way }
    }

    /// Floats that the packed weights take.
    pub fn packed_len(&self) -> usize {
        self.way.packed_len()
    }

    /// What the threads work in.
    pub fn working_memory(&self) -> WorkingMemory {
        self.way.working_memory(false)
    }

    /// Writes the weights (OIHW) in the order in which [`ConvBackwardData::run`] reads them.
    ///
    /// # Panics
    /// Where a slice has another length than the shape or [`ConvBackwardData::packed_len`] say.
    pub fn pack(&self, weights: &[f32], packed: &mut [f32]) {
        check::length("weights", weights.len(), self.shape.weight_len());
        check::length("packed weights", packed.len(), self.packed_len());
        self.way.pack(weights, None, packed);
    }

    /// `dx = w^T * dy + residual`; a bias would have one value for each channel of `dx`.
    ///
    /// Reads the border of `dy`, which holds zeros; writes nothing but the pixels of `dx`.
    ///
    /// # Panics
    /// Where a slice is too short for its layout, or the residual is not of the size of `dx`.
    pub fn run(&self, dy: &[f32], packed: &[f32], epilogue: &Epilogue<'_>, dx: &mut [f32]) {
        self.run_with(dy, packed, epilogue, dx, None);
    }

    /// Floats of the sums that [`ConvBackwardData::run_with`] takes.
    pub fn sums_len(&self) -> usize {
        if self.dx.is_empty() { 0 } else { GRADIENT_ROWS * self.way.blocks() * self.dx.c }
    }

    /// [`ConvBackwardData::run`] where the input comes from a norm, through a ReLU or not: `dx` is the gradient of the norm's
    /// output, and [`norm_backward_sums`](super::norm_backward_sums()) makes its sums of those that are taken of blocks.
    ///
    /// # Panics
    /// As [`ConvBackwardData::run`]; where the norm is not of the size of `dx`, and where the sums are not
    /// [`ConvBackwardData::sums_len`] floats.
    pub fn run_with(
        &self,
        dy: &[f32],
        packed: &[f32],
        epilogue: &Epilogue<'_>,
        dx: &mut [f32],
        norm: Option<(&NormOutput<'_>, &mut [f32])>,
    ) {
        let sums = norm.map(|(norm, sums)| {
            norm.check(&self.dx);
            check::length("sums", sums.len(), self.sums_len());
            Sums { out: Sink::new(sums), of: Of::Gradient(norm) }
        });
        check::bordered_map("output gradient", dy.len(), &self.dy);
        check::map("input gradient", dx.len(), &self.dx);
        check::length("packed weights", packed.len(), self.packed_len());
        epilogue.check(&self.dx);
        self.way.run(Operands { src: dy, packed, epilogue, dst: Sink::new(dx), norm: None, sums });
    }

    /// Multiply-adds of the algorithm, its transforms included; an addition counts as one.
    pub fn multiply_adds(&self) -> usize {
        self.way.multiply_adds(self.shape.macs())
    }

    /// How the gradient is computed, for a profile.
    pub fn algorithm(&self) -> &'static str {
        self.way.name()
    }
}

fn product<'a>(isa: Isa, shape: &ConvShape, dy: &MapLayout, dx: &'a MapLayout, phase: Phase) -> Product<'a> {
    let (rows, columns) = (shape.phase_taps(0, phase.y), shape.phase_taps(1, phase.x));
    let (first_y, first_x) = (rows.first().map_or(0, |tap| tap.0), columns.first().map_or(0, |tap| tap.0));
    let (down, right) = (dy.row_stride() as isize, dy.pitch as isize);
    let base = dy.offset(0, 0, 0) as isize + first_y * down + first_x * right;
    let mut taps = Vec::new();
    for &(y, ky) in &rows {
        for &(x, kx) in &columns {
            let offset = ((y - first_y) * down + (x - first_x) * right) as usize;
            taps.push(Tap { offset, index: ky * shape.kernel[1] + kx });
        }
    }
    Product {
        isa,
        phase,
        src: Walk { base: base as usize, image: dy.image_stride(), row: dy.row_stride(), pixel: dy.pitch },
        dst: dx,
        taps,
        extent: None,
        groups: shape.groups,
        channels: shape.group_out(),
        columns: shape.group_in(),
        strides: WeightStrides {
            group: shape.group_out() * shape.group_in() * shape.taps(),
            column: shape.taps(),
            channel: shape.group_in() * shape.taps(),
        },
    }
}
