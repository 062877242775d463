//! The ways to compute a forward pass or a gradient of the input.

use super::algorithm::ConvAlgorithm;
use super::choose::{self, Choice, Pass};
use super::gemm::{self, Epilogue, Gemm, Product};
use super::tasks::WorkingMemory;
use super::winograd::{OnTheFly, Winograd};
use crate::conv_shape::ConvShape;
use crate::isa::{Isa, Sink};

/// A pass, prepared in the way that was chosen.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Direct(Isa, Vec<Gemm>),
    Winograd(Box<Winograd>),
    OnTheFly(Box<OnTheFly>),
}

impl Way {
    /// Prepares products that write disjoint parts of one map.
    pub(super) fn new(
        isa: Isa,
        algorithm: ConvAlgorithm,
        pass: Pass,
        shape: &ConvShape,
        products: Vec<Product<'_>>,
    ) -> Self {
        match (choose::choice(isa, algorithm, pass, shape), &products[..]) {
            (Choice::OnTheFly, [product]) => Self::OnTheFly(Box::new(OnTheFly::new(product))),
            (Choice::Winograd(form), [product]) => Self::Winograd(Box::new(Winograd::new(form, product))),
            _ => Self::Direct(isa, products.into_iter().map(Gemm::new).collect()),
        }
    }

    /// Floats that the packed weights take.
    pub(super) fn packed_len(&self) -> usize {
        match self {
            Self::Direct(_, gemms) => gemms.iter().map(Gemm::packed_len).sum(),
            Self::Winograd(winograd) => winograd.packed_len(),
            Self::OnTheFly(winograd) => winograd.packed_len(),
        }
    }

    /// What the threads work in.
    pub(super) fn working_memory(&self) -> WorkingMemory {
        match self {
            Self::Direct(..) => WorkingMemory::default(),
            Self::Winograd(winograd) => winograd.working_memory(),
            Self::OnTheFly(winograd) => winograd.working_memory(),
        }
    }

    /// Packs weights of the shape's length, each times the scale of its column where there are scales.
    pub(super) fn pack(&self, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
        match self {
            Self::Direct(_, gemms) => {
                let mut rest = packed;
                for gemm in gemms {
                    let (part, after) = rest.split_at_mut(gemm.packed_len());
                    gemm.pack(weights, scales, part);
                    rest = after;
                }
            }
            Self::Winograd(winograd) => winograd.pack(weights, scales, packed),
            Self::OnTheFly(winograd) => winograd.pack(weights, scales, packed),
        }
    }

    /// Blocks of outputs, of which a single product can take the sums, see [`moments`](super::moments).
    pub(super) fn blocks(&self) -> usize {
        match self {
            Self::Direct(_, gemms) => gemms.first().map_or(0, Gemm::blocks),
            Self::Winograd(winograd) => winograd.blocks(),
            Self::OnTheFly(winograd) => winograd.blocks(),
        }
    }

    /// The caller has checked that the maps lie inside their buffers, and the sums, which only a single product takes.
    pub(super) fn run(
        &self,
        src: &[f32],
        packed: &[f32],
        epilogue: &Epilogue<'_>,
        dst: &mut [f32],
        sums: Option<&mut [f32]>,
    ) {
        let sums = sums.map(Sink::new);
        match self {
            Self::Direct(isa, gemms) => gemm::run(*isa, gemms, src, packed, epilogue, dst, sums),
            Self::Winograd(winograd) => winograd.run(src, packed, epilogue, dst, sums),
            Self::OnTheFly(winograd) => winograd.run(src, packed, epilogue, dst, sums),
        }
    }

    /// Multiply-adds that the way takes for a convolution of `macs`.
    pub(super) fn multiply_adds(&self, macs: usize) -> usize {
        match self {
            Self::Direct(..) => macs,
            Self::Winograd(winograd) => winograd.multiply_adds(),
            Self::OnTheFly(winograd) => winograd.multiply_adds(),
        }
    }

    /// How a profile calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Direct(isa, gemms) => gemms.first().map_or("nothing", |gemm| gemm.tile().name(*isa)),
            Self::Winograd(winograd) => winograd.name(),
            Self::OnTheFly(_) => "winograd 4x4 on the fly",
        }
    }
}
