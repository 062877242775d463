//! The points of evaluation: 0, ±3/4, ±3/2 and infinity.
//!
//! The numbers are exact in binary, and their powers are of similar size, which keeps rounding low: less than
//! half the error of the customary 0, ±1, ±2.

/// The smaller pair of points is ± this.
pub(super) const A: f64 = 0.75;
/// The larger pair of points is ± this.
pub(super) const B: f64 = 1.5;
/// `A` squared.
pub(super) const A2: f64 = A * A;
/// `B` squared.
pub(super) const B2: f64 = B * B;

/// Product of the differences between 0 and the other finite points.
const N_ZERO: f64 = A2 * B2;
/// The same of ±A.
const N_A: f64 = 2.0 * A2 * (A2 - B2);
/// The same of ±B.
const N_B: f64 = 2.0 * B2 * (B2 - A2);

/// Scales of the interpolation, one for each kind of point: 0, ±A, ±B. That of infinity is 1.
pub(super) const SCALE_ZERO: f64 = 1.0 / N_ZERO;
/// See [`SCALE_ZERO`].
pub(super) const SCALE_A: f64 = 1.0 / N_A;
/// See [`SCALE_ZERO`].
pub(super) const SCALE_B: f64 = 1.0 / N_B;
