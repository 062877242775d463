//! The precision of a rewritten network's numbers.

use std::collections::BTreeMap;

use residuum_tensor::Tensor;

use crate::graph::Graph;

/// A network and its weights as a rewrite leaves them.
pub type Rewritten<T = f32> = (Graph, BTreeMap<String, Tensor<T>>);

/// What the `f64` numbers of a rewrite are stored as: `f32`, as in every model, or `f64`, to see what the
/// construction is worth without the rounding.
pub trait Element: Copy + sealed::Sealed {
    /// The nearest number; zeros are positive, so that equal numbers have equal bits.
    fn round(value: f64) -> Self;

    /// A weight that the rewrite leaves as it is, to the bit.
    fn exactly(value: f32) -> Self;
}

impl Element for f32 {
    fn round(value: f64) -> Self {
        value as Self + 0.0
    }

    fn exactly(value: f32) -> Self {
        value
    }
}

impl Element for f64 {
    fn round(value: f64) -> Self {
        value + 0.0
    }

    fn exactly(value: f32) -> Self {
        value.into()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}
