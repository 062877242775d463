//! Weights and inputs that any program in any language can make again from a tensor's name, so that a
//! network can be checked against a reference without shipping weights.
//!
//! Element `i` of the tensor named `s`, in row-major order:
//!
//! ```text
//! h = splitmix64(fnv1a64(s) + i)        modulo 2^64
//! u = (h >> 11) · 2^-53                 in [0, 1)
//! r = 2 u − 1                           in [−1, 1)
//!
//! convolution or linear weight          r · sqrt(6 / fan_in)
//! batch norm weight, bias               0.75 + 0.5 u, 0.2 r
//! running mean, running variance        0, 1
//! bias of a convolution or linear layer 0.1 r
//! images                                2 r
//! label                                 h mod classes
//! ```
//!
//! computed in `f64` and rounded once to `f32`. The reference's form of the rule is
//! `tests/reference/formula.py`.

use residuum_graph::{Graph, Param, Role, Weights};
use residuum_tensor::Tensor;

use crate::hash::fnv1a64;

/// Values of all parameters of a graph, running statistics among them.
pub fn weights(graph: &Graph) -> Weights {
    graph.params().iter().map(|param| (param.name.clone(), weight(param))).collect()
}

/// A batch of images, the elements in [−2, 2). The reference's batches are named `input` (training) and
/// `input2` (evaluation).
///
/// # Panics
/// When the shape's product overflows.
pub fn input(name: &str, shape: &[usize]) -> Tensor {
    let hash = fnv1a64(name);
    Tensor::from_fn(shape, |i| (2.0 * signed(element(hash, i))) as f32)
}

/// One label for each of `batch` images, below `classes`.
///
/// # Panics
/// When there are no classes.
pub fn labels(batch: usize, classes: usize) -> Vec<u32> {
    let hash = fnv1a64("labels");
    (0..batch).map(|i| (element(hash, i) % classes as u64) as u32).collect()
}

/// The first `len` values `r` of a name. A gradient's probe is its inner product with the values of the
/// name `grad.` + the parameter's name.
pub fn symmetric(name: &str, len: usize) -> Vec<f64> {
    let hash = fnv1a64(name);
    (0..len).map(|i| signed(element(hash, i))).collect()
}

fn weight(param: &Param) -> Tensor {
    let hash = fnv1a64(&param.name);
    let bound = (6.0 / param.fan_in() as f64).sqrt();
    let value = |i| {
        let h = element(hash, i);
        match param.role {
            Role::ConvWeight | Role::LinearWeight => signed(h) * bound,
            Role::NormWeight => 0.75 + 0.5 * unit(h),
            Role::NormBias => 0.2 * signed(h),
            Role::Bias => 0.1 * signed(h),
            Role::RunningMean => 0.0,
            Role::RunningVar => 1.0,
        }
    };
    Tensor::from_fn(param.shape.clone(), |i| value(i) as f32)
}

/// The hash of element `i`, by Steele, Lea and Flood's splitmix64.
fn element(hash: u64, i: usize) -> u64 {
    let z = hash.wrapping_add(i as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn unit(h: u64) -> f64 {
    (h >> 11) as f64 / (1u64 << 53) as f64
}

fn signed(h: u64) -> f64 {
    2.0 * unit(h) - 1.0
}
