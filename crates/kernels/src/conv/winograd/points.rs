//! The points of evaluation: 0, ±3/4, ±3/2 and infinity; for windows of two taps, and for tiles of three outputs, 0, ±3/4, 2 and
//! infinity; for windows of four 0, ±7/8, ±7/4, 3/8 and infinity.
//!
//! The numbers are exact in binary, and their powers are of similar size, which keeps rounding low: less than
//! half the error of the customary 0, ±1, ±2. Those for two and four taps are the best that were found among multiples of
//! 1/8 that keep the pairs, which save additions. With tiles of three outputs, the rounding is a fifth less than with tiles of
//! four.

/// Two pairs of points, `±a` and `±b`, `a` the smaller one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs {
    pub(super) a: f64,
    pub(super) b: f64,
}

impl Pairs {
    /// `a` squared.
    pub(super) const fn a2(self) -> f64 {
        self.a * self.a
    }

    /// `b` squared.
    pub(super) const fn b2(self) -> f64 {
        self.b * self.b
    }
}

/// The smaller pair of the set of six is ± this, and the only pair of the set of five.
pub(super) const A: f64 = 0.75;
/// The larger pair of the set of six is ± this.
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

/// The pairs of the set of six.
pub(super) const SIX_PAIRS: Pairs = Pairs { a: A, b: B };
/// The pairs of the set of seven.
pub(super) const SEVEN_PAIRS: Pairs = Pairs { a: 0.875, b: 1.75 };
/// The point without opposite of the set of five.
pub(super) const LONE_FIVE: f64 = 2.0;
/// The point without opposite of the set of seven.
pub(super) const LONE_SEVEN: f64 = 0.375;
/// The set of five without infinity, in the order of the transforms.
const FIVE: [f64; 4] = [0.0, A, -A, LONE_FIVE];
/// The set of seven without infinity, in the order of the transforms.
const SEVEN: [f64; 6] = [0.0, SEVEN_PAIRS.a, -SEVEN_PAIRS.a, SEVEN_PAIRS.b, -SEVEN_PAIRS.b, LONE_SEVEN];

/// What takes filters of two taps to five points.
pub(super) const FIVE_FILTERS: [[f64; 2]; 5] = filter_matrix(&FIVE);
/// The same of three taps, for tiles of three outputs.
pub(super) const FIVE_FILTERS_OF_THREE: [[f64; 3]; 5] = filter_matrix(&FIVE);
/// What takes filters of four taps to seven points.
pub(super) const SEVEN_FILTERS: [[f64; 4]; 7] = filter_matrix(&SEVEN);

/// `G`: what takes filters of `R` taps to `P` points, infinity the last. Each row is the powers of a point over the product
/// of its differences from the others.
const fn filter_matrix<const R: usize, const P: usize>(finite: &[f64]) -> [[f64; R]; P] {
    let mut matrix = [[0.0; R]; P];
    let mut i = 0;
    while i < finite.len() {
        let mut product = 1.0;
        let mut j = 0;
        while j < finite.len() {
            if j != i {
                product *= finite[i] - finite[j];
            }
            j += 1;
        }
        let (mut power, mut r) = (1.0 / product, 0);
        while r < R {
            matrix[i][r] = power;
            power *= finite[i];
            r += 1;
        }
        i += 1;
    }
    matrix[P - 1][R - 1] = 1.0;
    matrix
}
