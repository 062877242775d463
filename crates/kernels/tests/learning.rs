//! Loss and optimiser kernels against the oracles.

#![allow(clippy::float_cmp, reason = "exact where it says so")]

#[path = "support/maps.rs"]
mod maps;

use maps::{assert_close, assert_same_bits, values, widen};
use residuum_kernels::loss::softmax_cross_entropy;
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
