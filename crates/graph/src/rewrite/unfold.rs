//! Plain nets in residual form.

mod chain;
mod forms;
mod thin;

use super::element::{Element, Rewritten};
use super::error::RewriteError;
use super::norm::fold_norm;
use crate::graph::Graph;
use crate::param::Weights;
pub(super) use chain::{chain, module};

/// Which residual form a plain net gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The carry of [`super::fold_residual`] is found and cut out, by equality of floats only, so that the
    /// weights that remain are those of the folded residual net to the bit. Carries of one group, as the
    /// units have whose input comes out of a ReLU, are found; pairs are not.
    Thin,
    /// Every convolution becomes a unit of its own: `W x + b = (W - P) x + b + P x`, `P` the identity, or
    /// channels of zeros where the number grows. Exact up to rounding of the centre taps.
    OneConvolution,
    /// Two convolutions become a unit, where input and output have one shape and the input comes out of a
    /// ReLU: the branch carries its input in extra channels and subtracts it again. The weights stay as they
    /// are.
    TwoConvolutions,
}

/// Rewrites a plain net, a chain of convolutions, norms, ReLUs, pools and linear layers, in a residual form.
/// Batch norm is folded first.
///
/// # Errors
/// When the network is no chain, when nothing in it has the form asked for, or when a carry begins and is
/// broken off, with layer and channel. When weights are missing or do not fit.
pub fn unfold(graph: &Graph, weights: &Weights, form: Form) -> Result<Rewritten, RewriteError> {
    unfold_as(graph, weights, form)
}

/// [`unfold`] with the precision of the result chosen.
///
/// # Errors
/// As [`unfold`].
pub fn unfold_as<T: Element>(
    graph: &Graph,
    weights: &Weights,
    form: Form,
) -> Result<Rewritten<T>, RewriteError> {
    let (graph, weights) = &fold_norm(graph, weights)?;
    match form {
        Form::Thin => thin::unfold(graph, weights),
        Form::OneConvolution => forms::one_convolution(graph, weights),
        Form::TwoConvolutions => forms::two_convolutions(graph, weights),
    }
}
