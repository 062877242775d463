//! The forward pass.

use super::algorithm::ConvAlgorithm;
use super::choose::Pass;
use super::gemm::{Epilogue, Extent, Operands, Product, Tap, WeightStrides};
use super::normalize::Normalization;
use super::sums::{MOMENT_ROWS, Of, Sums};
use super::tasks::WorkingMemory;
use super::walk::{Phase, Walk};
use super::way::Way;
use crate::check;
use crate::conv_shape::ConvShape;
use crate::isa::{Isa, Sink};
use residuum_tensor::MapLayout;

/// A convolution prepared for its shape and the layouts of its maps.
#[derive(Clone, Debug)]
pub struct ConvForward {
    shape: ConvShape,
    x: MapLayout,
    out: MapLayout,
    way: Way,
    can_normalize: bool,
    normalizes: bool,
}

/// What a forward pass does on its way.
#[derive(Debug, Default)]
pub struct Extras<'a> {
    /// Its input is normalised first; for a convolution that is [`ConvForward::normalizing`].
    pub norm: Option<Normalization<'a>>,
    /// It leaves the sums of blocks of outputs here, [`ConvForward::sums_len`] floats, which [`moments`](super::moments())
    /// makes the mean and the variance of every channel from.
    pub sums: Option<&'a mut [f32]>,
}

impl ConvForward {
    /// Prepares the convolution from map `x` to map `out`, by the algorithm that suits the shape.
    ///
    /// # Panics
    /// Where the layouts do not fit the shape, or the border of `x` is less than [`ConvShape::input_border`].
    pub fn new(isa: Isa, shape: &ConvShape, x: MapLayout, out: MapLayout) -> Self {
        Self::with_algorithm(isa, ConvAlgorithm::Auto, shape, x, out)
    }

    /// The same by a given algorithm, where the shape admits it.
    ///
    /// # Panics
    /// As [`ConvForward::new`].
    pub fn with_algorithm(
        isa: Isa,
        algorithm: ConvAlgorithm,
        shape: &ConvShape,
        x: MapLayout,
        out: MapLayout,
    ) -> Self {
        shape.check(&x, shape.input_border(), &out, 0);
        let (channels, columns) = (shape.group_in(), shape.group_out());
        let product = Product {
            isa,
            phase: Phase::ALL,
            src: windows(shape, &x),
            dst: &out,
            taps: taps(shape, &x),
            extent: Some(Extent { padding: shape.padding, size: [x.h, x.w] }),
            groups: shape.groups,
            channels,
            columns,
            strides: WeightStrides {
                group: columns * channels * shape.taps(),
                column: channels * shape.taps(),
                channel: shape.taps(),
            },
        };
        let way = Way::new(isa, algorithm, Pass::Forward, shape, vec![product]);
        let can_normalize = algorithm.normalizes(isa, Pass::Forward, shape);
        Self { shape: *shape, x, out, way, can_normalize, normalizes: false }
    }

    /// The same, of an input that is normalised on the way.
    ///
    /// # Panics
    /// Where [`ConvAlgorithm::normalizes`] says no.
    #[must_use]
    pub fn normalizing(self) -> Self {
        assert!(self.can_normalize, "{:?} by {} cannot normalise", self.shape, self.algorithm());
        Self { normalizes: true, ..self }
    }

    /// Floats that the packed weights take.
    pub fn packed_len(&self) -> usize {
        self.way.packed_len()
    }

    /// What the threads work in.
    pub fn working_memory(&self) -> WorkingMemory {
        self.way.working_memory(self.normalizes)
    }

    /// Writes the weights (OIHW) in the order in which [`ConvForward::run`] reads them.
    ///
    /// # Panics
    /// Where a slice has another length than the shape or [`ConvForward::packed_len`] say.
    pub fn pack(&self, weights: &[f32], packed: &mut [f32]) {
        self.pack_scaled(weights, None, packed);
    }

    /// [`ConvForward::pack`] with the filter of each output channel multiplied by a scale, rounded once.
    ///
    /// # Panics
    /// As [`ConvForward::pack`]; and where there is not a scale for each output channel.
    pub fn pack_scaled(&self, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
        check::length("weights", weights.len(), self.shape.weight_len());
        check::length("packed weights", packed.len(), self.packed_len());
        if let Some(scales) = scales {
            check::length("scales", scales.len(), self.shape.c_out);
        }
        self.way.pack(weights, scales, packed);
    }

    /// `out = relu(w * x + bias + residual)`, each part of the epilogue where it is asked for.
    ///
    /// Reads the border of `x`, which holds zeros; writes nothing but the pixels of `out`.
    ///
    /// # Panics
    /// Where a slice is too short for its layout, or the residual is not of the size of the output.
    pub fn run(&self, x: &[f32], packed: &[f32], epilogue: &Epilogue<'_>, out: &mut [f32]) {
        self.run_with(x, packed, epilogue, out, Extras::default());
    }

    /// Floats of the sums that [`ConvForward::run_with`] takes.
    pub fn sums_len(&self) -> usize {
        if self.out.is_empty() { 0 } else { MOMENT_ROWS * self.way.blocks() * self.out.c }
    }

    /// [`ConvForward::run`] with what else there is to do on the way.
    ///
    /// # Panics
    /// As [`ConvForward::run`]; where there is a norm and the convolution is not [`ConvForward::normalizing`], or the
    /// reverse, and where a part of the extras is not of the size that is wanted.
    pub fn run_with(
        &self,
        x: &[f32],
        packed: &[f32],
        epilogue: &Epilogue<'_>,
        out: &mut [f32],
        Extras { norm, sums }: Extras<'_>,
    ) {
        assert_eq!(norm.is_some(), self.normalizes, "a norm for a convolution that normalises its input");
        if let Some(norm) = &norm {
            norm.check(self.shape.c_in);
        }
        if let Some(sums) = &sums {
            check::length("sums", sums.len(), self.sums_len());
        }
        check::bordered_map("input", x.len(), &self.x);
        check::map("output", out.len(), &self.out);
        check::length("packed weights", packed.len(), self.packed_len());
        epilogue.check(&self.out);
        let sums = sums.map(|sums| Sums { out: Sink::new(sums), of: Of::Values });
        self.way.run(Operands { src: x, packed, epilogue, dst: Sink::new(out), norm, sums });
    }

    /// Multiply-adds of the algorithm, its transforms included; an addition counts as one.
    pub fn multiply_adds(&self) -> usize {
        self.way.multiply_adds(self.shape.macs())
    }

    /// How the convolution is computed, for a profile.
    pub fn algorithm(&self) -> &'static str {
        self.way.name()
    }
}

/// Where the windows of the output pixels begin in the input.
pub(super) fn windows(shape: &ConvShape, x: &MapLayout) -> Walk {
    Walk {
        base: x.offset(0, 0, 0) - shape.padding[0] * x.row_stride() - shape.padding[1] * x.pitch,
        image: x.image_stride(),
        row: shape.stride[0] * x.row_stride(),
        pixel: shape.stride[1] * x.pitch,
    }
}

/// The taps of a window, from its beginning.
pub(super) fn taps(shape: &ConvShape, x: &MapLayout) -> Vec<Tap> {
    let [height, width] = shape.kernel;
    let (down, right) = (shape.dilation[0] * x.row_stride(), shape.dilation[1] * x.pitch);
    (0..height * width)
        .map(|index| Tap { offset: index / width * down + index % width * right, index })
        .collect()
}
