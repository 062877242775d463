//! Convolution with fewer multiplications: Winograd's minimal filtering (*Arithmetic Complexity of Computations*,
//! 1980), in the form for networks of Lavin & Gray (*Fast Algorithms for Convolutional Neural Networks*, 2016): one
//! group, tiles of 4 x 4 outputs, windows of 3 x 3 with stride 1; and, in the forward pass and for the gradient of the weights,
//! windows of stride 2 as windows over cells of pixels, see [`Form`].
//!
//! Along one axis, four outputs of a filter of three taps are the coefficients of a product of polynomials.
//! Evaluated at six points, the product takes six multiplications instead of twelve, and in two dimensions 36
//! instead of 144:
//!
//! ```text
//! outputs  Y  = At [ (G g Gt) . (Bt d B) ] A      d: 6 x 6 inputs, g: filter, Y: 4 x 4 outputs
//! weights  dg = Ct [ (Bt d B) . (H y Ht) ] C      y: 4 x 4 gradients, dg: 3 x 3, summed over all tiles
//! ```
//!
//! The sum over channels is taken between transforms, where each of the 36 products, a *frequency*, has become
//! a matrix product of its own: tiles x input channels x output channels.
//!
//! The image of the last point, infinity, reaches the last output of a tile only. A tile that the edge of the
//! map clips does without, so maps are cut into tiles as even as possible (14 = 4 + 4 + 3 + 3), and the matrix
//! products of the frequencies at infinity leave clipped tiles out.
//!
//! Few tiles wait for the filters of 36 frequencies. Tiles of 3 x 3 outputs take 25, by five points, and more products: 576
//! instead of 484 for 14 x 14.

mod ahead;
mod axis;
mod filter;
mod fly;
mod form;
mod forward;
mod inputs;
mod outputs;
mod points;
mod product;
mod tiling;
mod transform;
mod weights;

pub(super) use axis::OUTPUTS;
pub(super) use fly::OnTheFly;
pub(super) use form::Form;
pub(super) use forward::Winograd;
pub(super) use tiling::Tiling;
pub(super) use weights::WinogradWeights;

/// Floats from a frequency to the next where each has `len`: whole cache lines, an odd number of them. A power
/// of two would put all frequencies of a tile into the same set of the first-level cache.
fn frequency_stride(len: usize) -> usize {
    (len.div_ceil(16) | 1) * 16
}
