//! The ways to compute a forward pass or a gradient of the input.

use super::algorithm::ConvAlgorithm;
use super::choose::{self, Choice, Pass};
use super::gemm::{self, Gemm, Operands, Product};
use super::strassen::Strassen;
use super::tasks::WorkingMemory;
use super::winograd::{OnTheFly, Winograd};
use crate::conv_shape::ConvShape;
use crate::isa::Isa;

/// A pass, prepared in the way that was chosen.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Direct(Isa, Vec<Gemm>),
    Strassen(Box<Strassen>),
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
            (Choice::Strassen, [product]) => Self::Strassen(Box::new(Strassen::new(product))),
            (Choice::Winograd(form), [product]) => Self::Winograd(Box::new(Winograd::new(form, product))),
            (choice, _) => {
                let gemm = |product: Product<'_>| {
                    let tile = choose::direct_tile(isa, choice, product.columns);
                    Gemm::new(product, tile)
                };
                Self::Direct(isa, products.into_iter().map(gemm).collect())
            }
        }
    }

    /// Floats that the packed weights take.
    pub(super) fn packed_len(&self) -> usize {
        match self {
            Self::Direct(_, gemms) => gemms.iter().map(Gemm::packed_len).sum(),
            Self::Strassen(strassen) => strassen.packed_len(),
            Self::Winograd(winograd) => winograd.packed_len(),
            Self::OnTheFly(winograd) => winograd.packed_len(),
        }
    }

    /// What the threads work in, where they normalise what they read or do not.
    pub(super) fn working_memory(&self, normalizes: bool) -> WorkingMemory {
        match self {
            Self::Direct(_, gemms) if normalizes => {
                let thread = gemms.iter().map(Gemm::normalized_len).max().unwrap_or(0);
                WorkingMemory { thread, shared: 0 }
            }
            Self::Direct(..) => WorkingMemory::default(),
            Self::Strassen(strassen) => strassen.working_memory(normalizes),
            Self::Winograd(winograd) => winograd.working_memory(),
            Self::OnTheFly(winograd) => winograd.working_memory(),
        }
    }

    /// Packs weights of the shape's length, each times the scale of its column where there are scales.
    pub(super) fn pack(&self, weights: &[f32], scales: Option<&[f64]>, packed: &mut [f32]) {
        match self {
            Self::Direct(isa, gemms) => {
                let mut rest = packed;
                for gemm in gemms {
                    let (part, after) = rest.split_at_mut(gemm.packed_len());
                    gemm.pack(*isa, weights, scales, part);
                    rest = after;
                }
            }
            Self::Strassen(strassen) => strassen.pack(weights, scales, packed),
            Self::Winograd(winograd) => winograd.pack(weights, scales, packed),
            Self::OnTheFly(winograd) => winograd.pack(weights, scales, packed),
        }
    }

    /// Blocks of outputs, of which sums can be taken, see [`sums`](super::sums).
    pub(super) fn blocks(&self) -> usize {
        match self {
            Self::Direct(_, gemms) => gemms.iter().map(Gemm::blocks).sum(),
            Self::Strassen(strassen) => strassen.blocks(),
            Self::Winograd(winograd) => winograd.blocks(),
            Self::OnTheFly(winograd) => winograd.blocks(),
        }
    }

    /// Runs the pass.
    pub(super) fn run(&self, operands: Operands<'_>) {
        match self {
            Self::Direct(isa, gemms) => gemm::run(*isa, gemms, operands),
            Self::Strassen(strassen) => strassen.run(operands),
            Self::Winograd(winograd) => winograd.run(operands),
            Self::OnTheFly(winograd) => winograd.run(operands),
        }
    }

    /// Multiply-adds that the way takes for a convolution of `macs`.
    pub(super) fn multiply_adds(&self, macs: usize) -> usize {
        match self {
            // As if half of the input were zeros.
            Self::Direct(_, gemms) if gemms.iter().any(|gemm| gemm.tile().is_sparse()) => macs / 2,
            Self::Direct(..) => macs,
            Self::Strassen(strassen) => strassen.multiply_adds(),
            Self::Winograd(winograd) => winograd.multiply_adds(),
            Self::OnTheFly(winograd) => winograd.multiply_adds(),
        }
    }

    /// How a profile calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Direct(isa, gemms) => gemms.first().map_or("nothing", |gemm| gemm.tile().name(*isa)),
            Self::Strassen(_) => "strassen",
            Self::Winograd(winograd) => winograd.name(),
            Self::OnTheFly(_) => "winograd 4x4 on the fly",
        }
    }
}
