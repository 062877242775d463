//! The transforms of maps along one axis, each lane a channel: by the points 0, ±A, ±B and infinity for windows of three
//! taps, and by sets of points around them for other windows.
//!
//! Transforms by the points ±t come in pairs that share their even and odd parts, `e + t o` and `e - t o`.

use super::points::{
    A, A2, B, B2, FIVE_FILTERS, LONE_FIVE, LONE_SEVEN, Pairs, SCALE_A, SCALE_B, SCALE_ZERO, SEVEN_FILTERS,
    SEVEN_PAIRS, SIX_PAIRS,
};
use crate::isa::Simd;

/// Points along one axis, and inputs of a tile.
pub(super) const POINTS: usize = 6;
/// Most products of a tile, and most of its pixels.
pub(super) const MOST_FREQUENCIES: usize = 7 * 7;
/// Outputs of a tile along one axis; those of small tiles are one less.
pub(in crate::conv) const OUTPUTS: usize = 4;

/// Additions and multiply-adds of the transform of an input for one channel, by as many points along each axis: those
/// along one axis, as often as it is done.
pub(super) const fn input_steps(points: usize) -> usize {
    let along = match points {
        5 => 9,
        POINTS => 12,
        _ => 20,
    };
    along * 2 * points
}

/// The same of an output, in tiles of `outputs` x `outputs`.
pub(super) const fn output_steps(points: usize, outputs: usize) -> usize {
    let along = match (points, outputs) {
        (5, 3) => 8,
        (5, _) => 10,
        (POINTS, _) => 12,
        _ => 16,
    };
    along * (points + outputs)
}

/// The same of a gradient of outputs.
pub(super) const fn gradient_steps(points: usize) -> usize {
    let along = match points {
        5 | POINTS => 8,
        _ => 11,
    };
    along * (OUTPUTS + points)
}

/// The same of the gradients of the taps of a filter.
pub(super) const fn taps_steps(points: usize) -> usize {
    let along = match points {
        5 => 9,
        POINTS => 11,
        _ => 25,
    };
    along * (points + points - 3)
}

/// A transform along one axis.
pub(super) trait Axis<const FROM: usize, const TO: usize> {
    fn along<S: Simd>(simd: S, values: [S::V; FROM]) -> [S::V; TO];
}

/// To the points: `Bt d`, as many inputs as there are points (five, six or seven) as the products want them, or `H y`, four
/// gradients of outputs at six points without the scales.
pub(super) struct ToPoints<const FROM: usize>;

/// To the six points, for filters on the fly, see [`fly`](super::fly): these come without their scales, and with each tap times
/// a power of [`A`], for both of which the inputs make up.
pub(super) struct ToScaledPoints;

/// `At m`: four outputs, or three, from the products at all points. Only the last output depends on the last product.
pub(super) struct Output;

/// `Ct m`: gradients of the taps from the products at all points, with the scales that `H` leaves out. Only the first tap
/// depends on the first product.
pub(super) struct Tap;

impl Axis<POINTS, POINTS> for ToPoints<POINTS> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, d: [S::V; POINTS]) -> [S::V; POINTS] {
        inputs_at(simd, SIX_PAIRS, d)
    }
}

impl Axis<POINTS, POINTS> for ToScaledPoints {
    #[inline(always)]
    fn along<S: Simd>(simd: S, d: [S::V; POINTS]) -> [S::V; POINTS] {
        let mut points: [S::V; POINTS] = ToPoints::along(simd, d);
        let scales = [SCALE_ZERO, SCALE_A, SCALE_A, SCALE_B, SCALE_B, 1.0 / A2];
        for (point, scale) in points.iter_mut().zip(scales) {
            *point = simd.mul(simd.splat(scale as f32), *point);
        }
        points
    }
}

impl Axis<POINTS, OUTPUTS> for Output {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::V; POINTS]) -> [S::V; OUTPUTS] {
        outputs_of(simd, SIX_PAIRS, m)
    }
}

impl Axis<OUTPUTS, POINTS> for ToPoints<OUTPUTS> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, y: [S::V; OUTPUTS]) -> [S::V; POINTS] {
        gradients_at(simd, SIX_PAIRS, y)
    }
}

/// Inputs at 0, two pairs of points, and infinity.
#[inline(always)]
fn inputs_at<S: Simd>(simd: S, pairs: Pairs, d: [S::V; POINTS]) -> [S::V; POINTS] {
    let (a2, b2) = (pairs.a2(), pairs.b2());
    let (minus_sum, product) = (simd.splat(-(a2 + b2) as f32), simd.splat((a2 * b2) as f32));
    let (minus_a2, minus_b2) = (simd.splat(-a2 as f32), simd.splat(-b2 as f32));
    let even_a = simd.fma(minus_b2, d[2], d[4]);
    let odd_a = simd.fma(minus_b2, d[1], d[3]);
    let even_b = simd.fma(minus_a2, d[2], d[4]);
    let odd_b = simd.fma(minus_a2, d[1], d[3]);
    [
        simd.fma(product, d[0], simd.fma(minus_sum, d[2], d[4])),
        simd.fma(simd.splat(pairs.a as f32), odd_a, even_a),
        simd.fma(simd.splat(-pairs.a as f32), odd_a, even_a),
        simd.fma(simd.splat(pairs.b as f32), odd_b, even_b),
        simd.fma(simd.splat(-pairs.b as f32), odd_b, even_b),
        simd.fma(product, d[1], simd.fma(minus_sum, d[3], d[5])),
    ]
}

/// Outputs from the products at such points.
#[inline(always)]
fn outputs_of<S: Simd>(simd: S, pairs: Pairs, m: [S::V; POINTS]) -> [S::V; OUTPUTS] {
    let Pairs { a, b } = pairs;
    let (a2, b2) = (pairs.a2(), pairs.b2());
    let (even_a, odd_a) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (even_b, odd_b) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    [
        simd.add(m[0], simd.add(even_a, even_b)),
        simd.fma(simd.splat(b as f32), odd_b, simd.mul(simd.splat(a as f32), odd_a)),
        simd.fma(simd.splat(b2 as f32), even_b, simd.mul(simd.splat(a2 as f32), even_a)),
        simd.fma(simd.splat((b2 * b) as f32), odd_b, simd.fma(simd.splat((a2 * a) as f32), odd_a, m[5])),
    ]
}

/// Gradients of outputs at such points.
#[inline(always)]
fn gradients_at<S: Simd>(simd: S, pairs: Pairs, y: [S::V; OUTPUTS]) -> [S::V; POINTS] {
    let (a2, b2) = (simd.splat(pairs.a2() as f32), simd.splat(pairs.b2() as f32));
    let (even_a, odd_a) = (simd.fma(a2, y[2], y[0]), simd.fma(a2, y[3], y[1]));
    let (even_b, odd_b) = (simd.fma(b2, y[2], y[0]), simd.fma(b2, y[3], y[1]));
    [
        y[0],
        simd.fma(simd.splat(pairs.a as f32), odd_a, even_a),
        simd.fma(simd.splat(-pairs.a as f32), odd_a, even_a),
        simd.fma(simd.splat(pairs.b as f32), odd_b, even_b),
        simd.fma(simd.splat(-pairs.b as f32), odd_b, even_b),
        y[3],
    ]
}

impl Axis<POINTS, 3> for Tap {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::V; POINTS]) -> [S::V; 3] {
        let (even_a, odd_a) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (even_b, odd_b) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        let zero = simd.mul(simd.splat(SCALE_ZERO as f32), m[0]);
        [
            simd.fma(simd.splat(SCALE_B as f32), even_b, simd.fma(simd.splat(SCALE_A as f32), even_a, zero)),
            simd.fma(
                simd.splat((SCALE_B * B) as f32),
                odd_b,
                simd.mul(simd.splat((SCALE_A * A) as f32), odd_a),
            ),
            simd.fma(
                simd.splat((SCALE_B * B2) as f32),
                even_b,
                simd.fma(simd.splat((SCALE_A * A2) as f32), even_a, m[5]),
            ),
        ]
    }
}

/// The inputs without their share of a point `t`: the transform of these by other points is that of the inputs by a set
/// to which `t` belongs.
#[inline(always)]
fn without<S: Simd, const N: usize, const LESS: usize>(simd: S, d: [S::V; N], t: f64) -> [S::V; LESS] {
    let minus = simd.splat(-t as f32);
    let mut rest = [simd.zero(); LESS];
    for i in 0..LESS {
        rest[i] = simd.fma(minus, d[i], d[i + 1]);
    }
    rest
}

/// 0, ±A, a point that has no opposite, and infinity.
impl Axis<5, 5> for ToPoints<5> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, d: [S::V; 5]) -> [S::V; 5] {
        let rest: [S::V; 4] = without(simd, d, LONE_FIVE);
        let minus_a2 = simd.splat(-A2 as f32);
        [
            simd.fma(minus_a2, rest[0], rest[2]),
            simd.fma(simd.splat(A as f32), rest[1], rest[2]),
            simd.fma(simd.splat(-A as f32), rest[1], rest[2]),
            simd.fma(minus_a2, d[1], d[3]),
            simd.fma(minus_a2, rest[1], rest[3]),
        ]
    }
}

/// 0, two pairs, a point that has no opposite, and infinity.
impl Axis<7, 7> for ToPoints<7> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, d: [S::V; 7]) -> [S::V; 7] {
        let rest: [S::V; POINTS] = without(simd, d, LONE_SEVEN);
        let [zero, a, minus_a, b, minus_b, infinity] = inputs_at(simd, SEVEN_PAIRS, rest);
        let (a2, b2) = (SEVEN_PAIRS.a2(), SEVEN_PAIRS.b2());
        let lone = simd.fma(simd.splat(-(a2 + b2) as f32), d[3], d[5]);
        let lone = simd.fma(simd.splat((a2 * b2) as f32), d[1], lone);
        [zero, a, minus_a, b, minus_b, lone, infinity]
    }
}

/// The polynomial whose coefficients are four gradients of outputs, at a point `t`.
#[inline(always)]
fn at_point<S: Simd>(simd: S, y: [S::V; OUTPUTS], t: f64) -> S::V {
    let t = simd.splat(t as f32);
    simd.fma(t, simd.fma(t, simd.fma(t, y[3], y[2]), y[1]), y[0])
}

impl Axis<OUTPUTS, 5> for ToPoints<OUTPUTS> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, y: [S::V; OUTPUTS]) -> [S::V; 5] {
        let [zero, a, minus_a, _, _, infinity] = Self::along(simd, y);
        [zero, a, minus_a, at_point(simd, y, LONE_FIVE), infinity]
    }
}

impl Axis<OUTPUTS, 7> for ToPoints<OUTPUTS> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, y: [S::V; OUTPUTS]) -> [S::V; 7] {
        let [zero, a, minus_a, b, minus_b, infinity] = gradients_at(simd, SEVEN_PAIRS, y);
        [zero, a, minus_a, b, minus_b, at_point(simd, y, LONE_SEVEN), infinity]
    }
}

/// `Gt m`, where products that do not count are not looked at.
#[inline(always)]
fn by_transposed<S: Simd, const R: usize, const P: usize>(
    simd: S,
    matrix: &[[f64; R]; P],
    m: [S::V; P],
) -> [S::V; R] {
    let mut taps = [simd.zero(); R];
    for p in 0..P {
        for r in 0..R {
            if matrix[p][r] != 0.0 {
                taps[r] = simd.fma(simd.splat(matrix[p][r] as f32), m[p], taps[r]);
            }
        }
    }
    taps
}

impl Axis<5, 2> for Tap {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::V; 5]) -> [S::V; 2] {
        by_transposed(simd, &FIVE_FILTERS, m)
    }
}

impl Axis<7, 4> for Tap {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::V; 7]) -> [S::V; 4] {
        by_transposed(simd, &SEVEN_FILTERS, m)
    }
}

/// Adds the product at a point `t` to outputs: `m`, `t m`, `t^2 m`, `t^3 m`.
#[inline(always)]
fn add_lone<S: Simd>(simd: S, mut outputs: [S::V; OUTPUTS], m: S::V, t: f64) -> [S::V; OUTPUTS] {
    outputs[0] = simd.add(outputs[0], m);
    outputs[1] = simd.fma(simd.splat(t as f32), m, outputs[1]);
    outputs[2] = simd.fma(simd.splat((t * t) as f32), m, outputs[2]);
    outputs[3] = simd.fma(simd.splat((t * t * t) as f32), m, outputs[3]);
    outputs
}

impl Axis<5, OUTPUTS> for Output {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::V; 5]) -> [S::V; OUTPUTS] {
        let (even, odd) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let outputs = [
            simd.add(m[0], even),
            simd.mul(simd.splat(A as f32), odd),
            simd.mul(simd.splat(A2 as f32), even),
            simd.fma(simd.splat((A2 * A) as f32), odd, m[4]),
        ];
        add_lone(simd, outputs, m[3], LONE_FIVE)
    }
}

/// Three outputs, for windows of three taps.
impl Axis<5, 3> for Output {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::V; 5]) -> [S::V; 3] {
        let (even, odd) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let last = simd.fma(simd.splat(A2 as f32), even, m[4]);
        [
            simd.add(simd.add(m[0], even), m[3]),
            simd.fma(simd.splat(LONE_FIVE as f32), m[3], simd.mul(simd.splat(A as f32), odd)),
            simd.fma(simd.splat((LONE_FIVE * LONE_FIVE) as f32), m[3], last),
        ]
    }
}

impl Axis<7, OUTPUTS> for Output {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::V; 7]) -> [S::V; OUTPUTS] {
        let outputs = outputs_of(simd, SEVEN_PAIRS, [m[0], m[1], m[2], m[3], m[4], m[6]]);
        add_lone(simd, outputs, m[5], LONE_SEVEN)
    }
}
