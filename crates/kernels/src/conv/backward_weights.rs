//! The gradient of the weights, in the way that was chosen.

use super::algorithm::ConvAlgorithm;
use super::choose::{self, Choice, Pass};
use super::normalize::Normalization;
use super::outer::OuterProducts;
use super::tasks::WorkingMemory;
use super::winograd::WinogradWeights;
use crate::check;
use crate::conv_shape::ConvShape;
use crate::isa::Isa;
use residuum_tensor::MapLayout;

/// The gradient of a convolution's weights, prepared for its shape and the layouts of its maps.
#[derive(Clone, Debug)]
pub struct ConvBackwardWeights {
    shape: ConvShape,
    x: MapLayout,
    dy: MapLayout,
    way: Way,
    can_normalize: bool,
    normalizes: bool,
}

#[derive(Clone, Debug)]
enum Way {
    Direct(Box<OuterProducts>),
    Winograd(Box<WinogradWeights>),
}

impl ConvBackwardWeights {
    /// Prepares the gradient from the maps `x` and `dy`, by the algorithm that suits the shape.
    ///
    /// # Panics
    /// Where the layouts do not fit the shape, or the border of `x` is less than [`ConvShape::input_border`].
    pub fn new(isa: Isa, shape: &ConvShape, x: MapLayout, dy: MapLayout) -> Self {
        Self::with_algorithm(isa, ConvAlgorithm::Auto, shape, x, dy)
    }

    /// The same by a given algorithm, where the shape admits it.
    ///
    /// # Panics
    /// As [`ConvBackwardWeights::new`].
    pub fn with_algorithm(
        isa: Isa,
        algorithm: ConvAlgorithm,
        shape: &ConvShape,
        x: MapLayout,
        dy: MapLayout,
    ) -> Self {
        shape.check(&x, shape.input_border(), &dy, 0);
        let way = match choose::choice(isa, algorithm, Pass::BackwardWeights, shape) {
            Choice::Winograd(form) => {
                Way::Winograd(Box::new(WinogradWeights::new(isa, form, shape, &x, &dy)))
            }
            Choice::Direct | Choice::Sparse { .. } | Choice::Strassen | Choice::OnTheFly => {
                Way::Direct(Box::new(OuterProducts::new(isa, shape, &x, &dy)))
            }
        };
        let can_normalize = algorithm.normalizes(isa, Pass::BackwardWeights, shape);
        Self { shape: *shape, x, dy, way, can_normalize, normalizes: false }
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

    /// Floats of working memory that [`ConvBackwardWeights::run`] needs.
    pub fn scratch_len(&self) -> usize {
        match &self.way {
            Way::Direct(direct) => direct.scratch_len(),
            Way::Winograd(winograd) => winograd.scratch_len(),
        }
    }

    /// What the threads work in.
    pub fn working_memory(&self) -> WorkingMemory {
        match &self.way {
            Way::Direct(direct) => WorkingMemory { thread: direct.memory_len(self.normalizes), shared: 0 },
            Way::Winograd(winograd) => winograd.working_memory(),
        }
    }

    /// `dw` (OIHW) becomes the gradient summed over the batch; what `dw` and `scratch` held does not matter.
    ///
    /// # Panics
    /// Where a slice is too short for its layout, or of another length than the shape or
    /// [`ConvBackwardWeights::scratch_len`] say.
    pub fn run(&self, x: &[f32], dy: &[f32], scratch: &mut [f32], dw: &mut [f32]) {
        self.run_with(x, None, dy, scratch, dw);
    }

    /// [`ConvBackwardWeights::run`] of an input that is to be normalised, if the gradient is
    /// [`ConvBackwardWeights::normalizing`].
    ///
    /// # Panics
    /// As [`ConvBackwardWeights::run`]; where there is a norm and the gradient does not normalise, or the reverse, and where
    /// the norm is of other channels.
    pub fn run_with(
        &self,
        x: &[f32],
        norm: Option<Normalization<'_>>,
        dy: &[f32],
        scratch: &mut [f32],
        dw: &mut [f32],
    ) {
        assert_eq!(norm.is_some(), self.normalizes, "a norm for a gradient that normalises its input");
        if let Some(norm) = &norm {
            norm.check(self.shape.c_in);
        }
        check::bordered_map("input", x.len(), &self.x);
        check::map("output gradient", dy.len(), &self.dy);
        check::length("scratch", scratch.len(), self.scratch_len());
        check::length("weight gradient", dw.len(), self.shape.weight_len());
        match &self.way {
            Way::Direct(direct) => direct.run(x, norm, dy, scratch, dw),
            Way::Winograd(winograd) => winograd.run(x, norm, dy, scratch, dw),
        }
    }

    /// Multiply-adds of the algorithm, its transforms included; an addition counts as one.
    pub fn multiply_adds(&self) -> usize {
        match &self.way {
            Way::Direct(_) => self.shape.macs(),
            Way::Winograd(winograd) => winograd.multiply_adds(),
        }
    }

    /// How the gradient is computed, for a profile.
    pub fn algorithm(&self) -> &'static str {
        match &self.way {
            Way::Direct(_) => "outer products",
            Way::Winograd(winograd) => winograd.name(),
        }
    }
}
