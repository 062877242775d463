//! Loss and optimiser kernels against the oracles.

#![allow(clippy::float_cmp, reason = "exact where it says so")]

#[path = "support/maps.rs"]
mod maps;

use maps::{assert_close, assert_same_bits, values, widen};
use residuum_kernels::loss::{Loss, Mixed, Targets, cross_entropy, softmax_cross_entropy};
use residuum_kernels::{Isa, LambStep, Parameter, SgdStep, euclidean_norm, lamb_step, plain, sgd_step};

#[test]
fn cross_entropy_agrees_with_plain() {
    for (n, classes) in [(1, 2), (5, 10), (3, 1000), (70, 7)] {
        let logits: Vec<f32> = values(n * classes, 1).into_iter().map(|x| 8.0 * x).collect();
        let labels: Vec<u32> = (0..n).map(|i| (i * 7 % classes) as u32).collect();
        for smoothing in [0.0f32, 0.1] {
            let wide = f64::from(smoothing);
            let mut gradient = vec![f32::NAN; logits.len()];
            let (loss, _) = softmax_cross_entropy(&logits, &labels, classes, smoothing, Some(&mut gradient));
            let expected = plain::softmax_cross_entropy(&widen(&logits), &labels, classes, wide);
            assert!((loss - expected).abs() < 1e-12 * expected, "{loss} against {expected}");
            let mut d = vec![0.0; logits.len()];
            plain::softmax_cross_entropy_backward(&widen(&logits), &labels, classes, wide, &mut d);
            assert_close(&gradient, &d, 1e-7, "gradient");
            assert_eq!(softmax_cross_entropy(&logits, &labels, classes, smoothing, None).0, loss);
        }
    }
}

/// `share · CE(first) + (1 − share) · CE(second)`, image by image, with smoothed targets on both sides.
#[test]
fn a_mixed_image_has_the_mean_of_two_losses() {
    let (n, classes, smoothing) = (5, 7, 0.1f32);
    let logits: Vec<f32> = values(n * classes, 4).into_iter().map(|x| 8.0 * x).collect();
    let (labels, others) = ([0, 3, 6, 2, 2], [1, 3, 0, 5, 4]);
    let shares = [0.25f32, 0.7, 1.0, 0.0, 0.5];
    let targets = Targets { labels: &labels, mixed: Some(Mixed { labels: &others, shares: &shares }) };
    let mut gradient = vec![f32::NAN; logits.len()];
    let (loss, correct) = softmax_cross_entropy(&logits, targets, classes, smoothing, Some(&mut gradient));
    let wide = f64::from(smoothing);
    let (mut expected, mut dominant_correct) = (0.0, 0);
    let mut d = vec![0.0; logits.len()];
    for (i, row) in logits.chunks_exact(classes).enumerate() {
        let share = f64::from(shares[i]);
        for (label, weight) in [(labels[i], share), (others[i], 1.0 - share)] {
            let row = widen(row);
            expected += weight * plain::softmax_cross_entropy(&row, &[label], classes, wide) / n as f64;
            let mut part = vec![0.0; classes];
            plain::softmax_cross_entropy_backward(&row, &[label], classes, wide, &mut part);
            d[i * classes..].iter_mut().zip(part).for_each(|(d, part)| *d += weight * part / n as f64);
        }
        let dominant = if share < 0.5 { others[i] } else { labels[i] };
        dominant_correct += softmax_cross_entropy(row, &[dominant], classes, 0.0, None).1;
    }
    assert!((loss - expected).abs() < 1e-12 * expected, "{loss} against {expected}");
    assert_eq!(correct, dominant_correct);
    assert_close(&gradient, &d, 1e-7, "gradient");
    let of_plain = plain::softmax_cross_entropy(&widen(&logits), targets, classes, wide);
    assert!((loss - of_plain).abs() < 1e-12 * expected, "{loss} against {of_plain}");
}

#[test]
fn the_larger_share_is_the_label_that_counts() {
    let logits = [3.0, 1.0, 0.0];
    for (shares, correct) in [([0.5], 1), ([0.49], 0), ([1.0], 1)] {
        let targets = Targets { labels: &[0], mixed: Some(Mixed { labels: &[1], shares: &shares }) };
        assert_eq!(softmax_cross_entropy(&logits, targets, 3, 0.0, None).1, correct, "{shares:?}");
    }
}

#[test]
fn huge_logits_keep_the_loss_finite() {
    let mut gradient = [f32::NAN; 4];
    let logits = [3e38, -3e38, -1e30, 1e30];
    let (loss, correct) = softmax_cross_entropy(&logits, &[0, 1], 2, 0.0, Some(&mut gradient));
    assert_eq!((loss, correct), (0.0, 2));
    assert_eq!(gradient, [0.0; 4]);
}

#[test]
fn the_first_of_equal_logits_is_the_answer() {
    let logits = [1.0, 2.0, 2.0, 1.0, 2.0, 2.0, f32::NAN, 1.0, 0.0];
    assert_eq!(softmax_cross_entropy(&logits, &[1, 2, 0], 3, 0.0, None).1, 1);
}

#[test]
#[should_panic(expected = "label 3 is no class; expected less than 3")]
fn a_label_that_is_no_class_is_refused() {
    softmax_cross_entropy(&[0.0; 3], &[3], 3, 0.0, None);
}

#[test]
fn sgd_agrees_with_plain_over_several_steps() {
    for isa in Isa::available() {
        for len in [1, 7, 16, 1000, 50_000] {
            for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
                let step = SgdStep { lr: 0.1, momentum, nesterov, weight_decay: 1e-2 };
                let (mut w, mut v) = (values(len, 2), vec![0.0; len]);
                let (mut wide_w, mut wide_v) = (widen(&w), vec![0.0; len]);
                for seed in 3..6 {
                    let g = values(len, seed);
                    sgd_step(isa, &mut w, &g, &mut v, &step);
                    plain::sgd_step(&mut wide_w, &widen(&g), &mut wide_v, &step);
                }
                assert_close(&w, &wide_w, 5e-7, &format!("weights, {isa}, {len}"));
                assert_close(&v, &wide_v, 5e-7, &format!("velocity, {isa}, {len}"));
            }
        }
    }
}

/// Parameters of every remainder of a vector, longer than a task, with gaps between them, as a store has them.
fn parameters() -> (Vec<Parameter>, usize) {
    let mut end = 0;
    let place = |(index, len): (usize, usize)| {
        let start = end;
        end = (start + len).next_multiple_of(16);
        Parameter { place: start..start + len, decays: index % 3 != 1 }
    };
    let lens = (1..18).chain([1000, 40_000, 16_384, 3]);
    let parameters: Vec<Parameter> = lens.enumerate().map(place).collect();
    (parameters, end)
}

const LAMB: LambStep =
    LambStep { lr: 0.01, betas: [0.9, 0.999], epsilon: 1e-6, weight_decay: 0.02, max_norm: 1.0 };

/// Three steps; the third weight is 0 throughout before them, and the last parameter has no gradient.
fn lamb_steps(isa: Isa, step: &LambStep) -> [Vec<f32>; 3] {
    let (parameters, len) = parameters();
    let (mut weights, mut first, mut second) = (values(len, 2), vec![0.0; len], vec![0.0; len]);
    weights[parameters[2].place.clone()].fill(0.0);
    for number in 1..4 {
        let mut grads = values(len, 2 + number);
        grads[parameters.last().unwrap().place.clone()].fill(0.0);
        let grads: Vec<&[f32]> = parameters.iter().map(|p| &grads[p.place.clone()]).collect();
        lamb_step(isa, &mut weights, &grads, [&mut first, &mut second], &parameters, step, number);
    }
    [weights, first, second]
}

#[test]
fn lamb_agrees_with_plain_over_several_steps() {
    let (parameters, len) = parameters();
    for step in [LAMB, LambStep { max_norm: f64::INFINITY, ..LAMB }, LambStep { weight_decay: 0.0, ..LAMB }] {
        let (mut weights, mut first, mut second) = (widen(&values(len, 2)), vec![0.0; len], vec![0.0; len]);
        weights[parameters[2].place.clone()].fill(0.0);
        for number in 1..4 {
            let mut grads = widen(&values(len, 2 + number));
            grads[parameters.last().unwrap().place.clone()].fill(0.0);
            let moments = [&mut first[..], &mut second[..]];
            plain::lamb_step(&mut weights, &grads, moments, &parameters, &step, number);
        }
        for isa in Isa::available() {
            let [w, m, v] = lamb_steps(isa, &step);
            assert_close(&w, &weights, 5e-7, &format!("weights, {isa}, {step:?}"));
            assert_close(&m, &first, 5e-7, &format!("first moments, {isa}, {step:?}"));
            assert_close(&v, &second, 5e-7, &format!("second moments, {isa}, {step:?}"));
            // What lies between parameters is nobody's.
            let before = values(len, 2);
            for gap in parameters.windows(2).map(|pair| pair[0].place.end..pair[1].place.start) {
                assert_eq!(w[gap.clone()], before[gap]);
            }
        }
    }
}

#[test]
fn lamb_and_norms_do_not_depend_on_threads() {
    for isa in Isa::available() {
        assert_same_bits(&format!("lamb, {isa}"), || lamb_steps(isa, &LAMB).concat());
        let values = values(100_003, 5);
        let expected = widen(&values).iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((euclidean_norm(isa, &[&values]) / expected - 1.0).abs() < 1e-12, "{isa}");
        assert_same_bits(&format!("norm, {isa}"), || {
            let bits = euclidean_norm(isa, &[&values]).to_bits();
            vec![f32::from_bits(bits as u32), f32::from_bits((bits >> 32) as u32)]
        });
    }
    assert!(euclidean_norm(Isa::detect(), &[&[1.0, f32::NAN]]).is_nan());
    assert_eq!(euclidean_norm(Isa::detect(), &[]), 0.0);
}

#[test]
#[should_panic(expected = "places are in order")]
fn parameters_that_overlap_are_refused() {
    let parameters = [0..3, 2..4].map(|place| Parameter { place, decays: true });
    let (mut w, mut m, mut v) = ([0.0; 4], [0.0; 4], [0.0; 4]);
    lamb_step(Isa::PLAIN, &mut w, &[&[0.0; 3], &[0.0; 2]], [&mut m, &mut v], &parameters, &LAMB, 1);
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (logits, labels) = (values(300 * 50, 7), vec![3; 300]);
    assert_same_bits("softmax_cross_entropy", || {
        let mut gradient = vec![0.0; logits.len()];
        let (loss, _) = softmax_cross_entropy(&logits, &labels, 50, 0.1, Some(&mut gradient));
        let bits = loss.to_bits();
        gradient.extend([f32::from_bits(bits as u32), f32::from_bits((bits >> 32) as u32)]);
        gradient
    });
}

/// Loss and gradient of PyTorch's `binary_cross_entropy_with_logits` in `f64`, for a hard target and one mixed of
/// two classes, smoothed by 0.1, and for the same targets cut at 0.2.
#[test]
fn binary_cross_entropy_is_pytorchs() {
    let logits = [0.5, -1.25, 2.0, 30.0, -40.0, 0.25];
    let mixed = Mixed { labels: &[2, 1], shares: &[1.0, 0.3] };
    let targets = Targets { labels: &[2, 0], mixed: Some(mixed) };
    let cases = [
        (
            None,
            8.293_701_138_296_788,
            [
                0.098_187_666_311_420_22,
                0.031_561_134_248_662_59,
                -0.008_756_042_559_241_839,
                0.116_111_111_111_095_52,
                -0.110_555_555_555_555_56,
                0.088_140_527_925_410_79,
            ],
        ),
        (
            Some(0.2),
            7.029_812_249_407_898,
            [
                0.103_743_221_866_975_77,
                0.037_116_689_804_218_14,
                -0.019_867_153_670_352_95,
                -1.558_012_977_890_636_6e-14,
                -0.166_666_666_666_666_66,
                0.093_696_083_480_966_35,
            ],
        ),
    ];
    for (threshold, loss, gradient) in cases {
        let mut found = [0.0; 6];
        let sigmoid = Loss::Sigmoid { threshold };
        let (value, correct) = cross_entropy(sigmoid, &logits, targets, 3, 0.1, Some(&mut found));
        // The smoothing of 0.1 is rounded to f32.
        assert!((value - loss).abs() < 1e-7 * loss, "{value} instead of {loss}");
        assert_eq!(correct, 1);
        for (found, expected) in found.iter().zip(gradient) {
            assert!((f64::from(*found) - expected).abs() < 1e-8, "{found} instead of {expected}");
        }
    }
}
