//! Loss and optimiser kernels against the oracles.

#![allow(clippy::float_cmp, reason = "exact where it says so")]

#[path = "support/maps.rs"]
mod maps;

use maps::{assert_close, assert_same_bits, values, widen};
use residuum_kernels::loss::{Loss, Mixed, Targets, cross_entropy, softmax_cross_entropy};
use residuum_kernels::{Isa, SgdStep, plain, sgd_step};

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
