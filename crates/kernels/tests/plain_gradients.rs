//! The oracles' gradients against finite differences of the oracles' forward passes, in `f64`.

#[path = "support/maps.rs"]
mod maps;

use maps::{assert_same_bits, values, widen};
use proptest::prelude::*;
use residuum_kernels::loss::{Mixed, Targets};
use residuum_kernels::{BlurShape, ConvShape, Draws, PoolShape, plain};

/// Half the distance between the two points of a difference.
const STEP: f64 = 1e-4;
const TOLERANCE: f64 = 1e-6;

/// Asserts that `gradient` is that of `Σ dy · forward(x)` with respect to `x`.
#[track_caller]
fn check(what: &str, x: &[f64], dy: &[f64], gradient: &[f64], forward: impl Fn(&[f64], &mut [f64])) {
    let value = |x: &[f64]| {
        let mut y = vec![f64::NAN; dy.len()];
        forward(x, &mut y);
        y.iter().zip(dy).map(|(y, dy)| y * dy).sum::<f64>()
    };
    assert_eq!(gradient.len(), x.len(), "{what}");
    for (index, &found) in gradient.iter().enumerate() {
        let mut moved = x.to_vec();
        moved[index] = x[index] + STEP;
        let above = value(&moved);
        moved[index] = x[index] - STEP;
        let expected = (above - value(&moved)) / (2.0 * STEP);
        let close = (found - expected).abs() <= TOLERANCE * (1.0 + expected.abs());
        assert!(close, "{what}, element {index}: found {found}, expected {expected}");
    }
}

fn random(count: usize, seed: u64) -> Vec<f64> {
    widen(&values(count, seed))
}

/// Values that differ by more than a step, in an order that looks random.
fn distinct(count: usize, seed: u64) -> Vec<f64> {
    let keys = values(count, seed);
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
    let mut distinct = vec![0.0; count];
    order.into_iter().enumerate().for_each(|(rank, at)| distinct[at] = 0.01 * rank as f64 - 0.5);
    distinct
}

fn conv_shapes() -> impl Strategy<Value = ConvShape> {
    let channels = (1..3usize, 1..3usize, 1..3usize);
    let images = (1..3usize, 1..7usize, 1..7usize);
    let small = || [1..3usize, 1..3usize];
    let window = ([1..4usize, 1..4usize], small(), [0..3usize, 0..3usize], small());
    let shape = (images, channels, window).prop_map(
        |((n, h, w), (i, o, groups), (kernel, stride, padding, dilation))| ConvShape {
            n,
            h,
            w,
            c_in: i * groups,
            c_out: o * groups,
            kernel,
            stride,
            padding,
            dilation,
            groups,
        },
    );
    shape.prop_filter("the window fits", |shape| shape.out_h() > 0 && shape.out_w() > 0)
}

fn pool_shapes() -> impl Strategy<Value = PoolShape> {
    let window = ([1..4usize, 1..4usize], [1..4usize, 1..4usize], any::<[bool; 2]>(), any::<bool>());
    let shape = ((1..3usize, 2..7usize, 2..7usize, 1..3usize), window).prop_map(
        |((n, h, w, c), (kernel, stride, padded, ceil))| {
            let padding = [0, 1].map(|axis| if padded[axis] { kernel[axis] / 2 } else { 0 });
            PoolShape { n, h, w, c, kernel, stride, padding, ceil }
        },
    );
    shape.prop_filter("a window fits", |shape| shape.out_h() > 0 && shape.out_w() > 0)
}

#[test]
fn bits_of_a_convolution_do_not_depend_on_threads() {
    let [kernel, stride, padding, dilation] = [[3; 2], [2; 2], [1; 2], [1; 2]];
    let shape =
        ConvShape { n: 3, h: 13, w: 11, c_in: 6, c_out: 8, kernel, stride, padding, dilation, groups: 2 };
    let (x, w) = (values(3 * 6 * 13 * 11, 1), values(8 * 3 * 9, 2));
    assert_same_bits("forward and backward", || {
        let mut y = vec![0.0; 3 * 8 * shape.out_h() * shape.out_w()];
        plain::conv2d(&x, &w, None, &shape, &mut y);
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        plain::conv2d_backward_data(&y, &w, &shape, &mut dx);
        plain::conv2d_backward_weights(&x, &y, &shape, &mut dw);
        [y, dx, dw].concat()
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn convolution(shape in conv_shapes()) {
        let out = shape.n * shape.c_out * shape.out_h() * shape.out_w();
        let x = random(shape.n * shape.c_in * shape.h * shape.w, 1);
        let w = random(shape.c_out * (shape.c_in / shape.groups) * shape.kernel[0] * shape.kernel[1], 2);
        let (bias, dy) = (random(shape.c_out, 3), random(out, 4));
        let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; bias.len()]);
        plain::conv2d_backward_data(&dy, &w, &shape, &mut dx);
        check("dx", &x, &dy, &dx, |x, y| plain::conv2d(x, &w, Some(&bias), &shape, y));
        plain::conv2d_backward_weights(&x, &dy, &shape, &mut dw);
        check("dw", &w, &dy, &dw, |w, y| plain::conv2d(&x, w, Some(&bias), &shape, y));
        plain::channel_sums(&dy, shape.n, shape.c_out, shape.out_h() * shape.out_w(), &mut db);
        check("db", &bias, &dy, &db, |bias, y| plain::conv2d(&x, &w, Some(bias), &shape, y));
    }

    #[test]
    fn pooling(shape in pool_shapes()) {
        let planes = shape.n * shape.c;
        let (x, dy) = (distinct(planes * shape.h * shape.w, 1), random(planes * shape.out_h() * shape.out_w(), 2));
        let mut dx = vec![f64::NAN; x.len()];
        plain::max_pool_backward(&dy, &x, &shape, &mut dx);
        check("max", &x, &dy, &dx, |x, y| plain::max_pool(x, &shape, y));
        for count_padding in [false, true] {
            plain::avg_pool_backward(&dy, &shape, count_padding, &mut dx);
            check("average", &x, &dy, &dx, |x, y| plain::avg_pool(x, &shape, count_padding, y));
        }
    }

    #[test]
    fn batch_norm([n, c, hw] in [1..4usize, 1..4usize, 2..7usize]) {
        let (x, dy, gamma, beta) = (random(n * c * hw, 1), random(n * c * hw, 2), random(c, 3), random(c, 4));
        let eps = 0.1;
        let (mut mean, mut var) = (vec![0.0; c], vec![0.0; c]);
        plain::moments(&x, n, c, hw, &mut mean, &mut var);
        let forward = |x: &[f64], gamma: &[f64], beta: &[f64], y: &mut [f64]| {
            let (mut mean, mut var) = (vec![0.0; c], vec![0.0; c]);
            plain::moments(x, n, c, hw, &mut mean, &mut var);
            plain::normalize(x, n, c, hw, &mean, &var, eps, gamma, beta, y);
        };
        let (dbeta, dgamma) = plain::normalize_backward_sums(&dy, &x, n, c, hw, &mean, &var, eps);
        let mut dx = vec![f64::NAN; x.len()];
        let sums = (&dbeta[..], &dgamma[..]);
        plain::normalize_backward(&dy, &x, n, c, hw, &mean, &var, eps, &gamma, sums, &mut dx);
        check("dx", &x, &dy, &dx, |x, y| forward(x, &gamma, &beta, y));
        check("dgamma", &gamma, &dy, &dgamma, |gamma, y| forward(&x, gamma, &beta, y));
        check("dbeta", &beta, &dy, &dbeta, |beta, y| forward(&x, &gamma, beta, y));
        plain::affine_norm_backward(&dy, n, c, hw, &gamma, &mut dx);
        check("fixed statistics", &x, &dy, &dx, |x, y| plain::affine_norm(x, n, c, hw, &gamma, &beta, y));
    }

    #[test]
    fn linear_layer([n, inputs, outputs] in [1..4usize, 1..6usize, 1..6usize]) {
        let (x, w) = (random(n * inputs, 1), random(inputs * outputs, 2));
        let (bias, dy) = (random(outputs, 3), random(n * outputs, 4));
        let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; outputs]);
        plain::linear_backward_data(&dy, &w, n, inputs, outputs, &mut dx);
        plain::linear_backward_weights(&x, &dy, n, inputs, outputs, &mut dw);
        plain::linear_backward_bias(&dy, n, outputs, &mut db);
        check("dx", &x, &dy, &dx, |x, y| plain::linear(x, &w, Some(&bias), n, inputs, outputs, y));
        check("dw", &w, &dy, &dw, |w, y| plain::linear(&x, w, Some(&bias), n, inputs, outputs, y));
        check("db", &bias, &dy, &db, |bias, y| plain::linear(&x, &w, Some(bias), n, inputs, outputs, y));
    }

    #[test]
    fn moving_elements([n, c, h, w] in [1..3usize, 1..4usize, 1..6usize, 1..6usize], stride in 1..4usize) {
        let x = distinct(n * c * h * w, 1);
        let mut dx = vec![f64::NAN; x.len()];
        let dy = random(n * c * h.div_ceil(stride) * w.div_ceil(stride), 2);
        plain::subsample_backward(&dy, n * c, h, w, stride, &mut dx);
        check("subsample", &x, &dy, &dx, |x, y| plain::subsample(x, n * c, h, w, stride, y));
        let dy = random(n * (c + 3) * h * w, 3);
        plain::pad_channels_backward(&dy, n, c, h * w, 1, 2, &mut dx);
        check("pad", &x, &dy, &dx, |x, y| plain::pad_channels(x, n, c, h * w, 1, 2, y));
        let dy = random(n * c, 4);
        plain::global_avg_pool_backward(&dy, n * c, h * w, &mut dx);
        check("global average", &x, &dy, &dx, |x, y| plain::global_avg_pool(x, n * c, h * w, y));
    }

    #[test]
    fn relu_away_from_its_corner(count in 1..60usize) {
        let x: Vec<f64> = distinct(count, 1).into_iter().map(|x| x + 0.005).collect();
        let dy = random(count, 2);
        let (mut y, mut dx) = (vec![f64::NAN; count], vec![f64::NAN; count]);
        plain::relu(&x, &mut y);
        plain::relu_backward(&dy, &y, &mut dx);
        check("relu", &x, &dy, &dx, plain::relu);
    }

    #[test]
    fn cross_entropy([n, classes] in [1..5usize, 2..7usize], smoothing in 0.0..0.5f64) {
        let logits = random(n * classes, 1);
        let labels: Vec<u32> = (0..n).map(|i| (i * 3 % classes) as u32).collect();
        let mut gradient = vec![f64::NAN; logits.len()];
        plain::softmax_cross_entropy_backward(&logits, &labels, classes, smoothing, &mut gradient);
        check("logits", &logits, &[1.0], &gradient, |logits, loss| {
            loss[0] = plain::softmax_cross_entropy(logits, &labels, classes, smoothing);
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn cross_entropy_of_mixed_images([n, classes] in [1..5usize, 2..7usize], smoothing in 0.0..0.5f64) {
        let logits = random(n * classes, 1);
        let labels: Vec<u32> = (0..n).map(|i| (i * 3 % classes) as u32).collect();
        let others: Vec<u32> = (0..n).map(|i| (i * 5 % classes) as u32).collect();
        let shares: Vec<f32> = (0..n).map(|i| [0.25, 1.0, 0.0, 0.9][i]).collect();
        let targets = Targets { labels: &labels, mixed: Some(Mixed { labels: &others, shares: &shares }) };
        let mut gradient = vec![f64::NAN; logits.len()];
        plain::softmax_cross_entropy_backward(&logits, targets, classes, smoothing, &mut gradient);
        check("logits", &logits, &[1.0], &gradient, |logits, loss| {
            loss[0] = plain::softmax_cross_entropy(logits, targets, classes, smoothing);
        });
    }

    #[test]
    fn blurs(
        [n, c, h, w] in [1..3usize, 1..3usize, 4..8usize, 4..8usize],
        [size, stride] in [1..6usize, 1..3usize],
    ) {
        let shape = BlurShape { n, h, w, c, size, stride, padding: (stride + size - 2) / 2 };
        let (x, dy) = (random(n * c * h * w, 1), random(n * c * shape.out_h() * shape.out_w(), 2));
        let mut dx = vec![f64::NAN; x.len()];
        plain::blur_backward(&dy, &shape, &mut dx);
        check("blur", &x, &dy, &dx, |x, y| plain::blur(x, &shape, y));
    }

    #[test]
    fn gates([n, c, hw] in [1..4usize, 1..4usize, 1..6usize], has_one_pixel in any::<bool>(), rate in 0.0..0.9f32) {
        let (x, dy) = (random(n * c * hw, 1), random(n * c * hw, 2));
        let gate = random(if has_one_pixel { n * c } else { n * c * hw }, 3);
        let (mut dx, mut dgate) = (vec![f64::NAN; x.len()], vec![f64::NAN; gate.len()]);
        plain::mul(&dy, &gate, n * c, &mut dx);
        check("multiply, x", &x, &dy, &dx, |x, y| plain::mul(x, &gate, n * c, y));
        plain::mul_backward(&dy, &x, n * c, &mut dgate);
        check("multiply, gate", &gate, &dy, &dgate, |gate, y| plain::mul(&x, gate, n * c, y));

        let mut y = vec![0.0; x.len()];
        plain::sigmoid(&x, &mut y);
        plain::sigmoid_backward(&dy, &y, &mut dx);
        check("sigmoid", &x, &dy, &dx, plain::sigmoid);

        let draws = Draws::new(5, 6);
        plain::dropout(draws, 1, rate, &dy, n, c, hw, &mut dx);
        check("dropout", &x, &dy, &dx, |x, y| plain::dropout(draws, 1, rate, x, n, c, hw, y));

        let mut both = vec![0.0; 2 * x.len()];
        plain::concat(&[(&x, c), (&dy, c)], n, hw, &mut both);
        plain::slice_channels(&both, n, 2 * c, hw, c, &mut dx);
        prop_assert_eq!(dx, dy);
    }
}
