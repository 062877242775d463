//! The oracles against PyTorch in double precision: `fixtures/torch_ops.json`, made by `torch_ops.py` beside
//! it from inputs that both sides compute by the same formula.

use residuum_kernels::{ConvShape, LambStep, Parameter, PoolShape, SgdStep, plain};
use serde_json::Value;

/// The cases of one kind.
fn cases(kind: &str) -> Vec<Value> {
    let all: Value =
        serde_json::from_str(include_str!("fixtures/torch_ops.json")).expect("well-formed fixture");
    let cases = all[kind].as_array().expect("a list of cases").clone();
    assert!(!cases.is_empty(), "{kind}");
    cases
}

fn size(case: &Value, name: &str) -> usize {
    case[name].as_u64().expect(name) as usize
}

fn pair(case: &Value, name: &str) -> [usize; 2] {
    [0, 1].map(|axis| case[name][axis].as_u64().expect(name) as usize)
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("numbers").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn number(case: &Value, name: &str) -> f64 {
    case[name].as_f64().expect(name)
}

/// The input number `seed`.
fn input(count: usize, seed: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.0 - 1.0).collect()
}

#[track_caller]
fn assert_agrees(what: &str, case: &Value, found: &[f64], expected: &Value) {
    let expected = numbers(expected);
    assert_eq!(found.len(), expected.len(), "{what}: {case}");
    let scale = expected.iter().fold(1e-3, |scale: f64, x| scale.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= 1e-9 * scale,
            "{what}: found {found}, expected {expected}: {case}"
        );
    }
}

#[test]
fn convolution() {
    for case in cases("conv") {
        let shape = ConvShape {
            n: size(&case, "n"),
            h: size(&case, "h"),
            w: size(&case, "w"),
            c_in: size(&case, "c_in"),
            c_out: size(&case, "c_out"),
            kernel: pair(&case, "kernel"),
            stride: pair(&case, "stride"),
            padding: pair(&case, "padding"),
            dilation: pair(&case, "dilation"),
            groups: size(&case, "groups"),
        };
        assert_eq!([shape.out_h(), shape.out_w()], pair(&case, "out"));
        let plane = shape.out_h() * shape.out_w();
        let taps = shape.c_in / shape.groups * shape.kernel[0] * shape.kernel[1];
        let x = input(shape.n * shape.c_in * shape.h * shape.w, 1);
        let (w, bias, dy) =
            (input(shape.c_out * taps, 2), input(shape.c_out, 3), input(shape.n * shape.c_out * plane, 4));
        let (mut y, mut dx) = (vec![f64::NAN; dy.len()], vec![f64::NAN; x.len()]);
        let (mut dw, mut db) = (vec![f64::NAN; w.len()], vec![f64::NAN; bias.len()]);
        plain::conv2d(&x, &w, Some(&bias), &shape, &mut y);
        plain::conv2d_backward_data(&dy, &w, &shape, &mut dx);
        plain::conv2d_backward_weights(&x, &dy, &shape, &mut dw);
        plain::channel_sums(&dy, shape.n, shape.c_out, plane, &mut db);
        for (what, found) in [("y", y), ("dx", dx), ("dw", dw), ("db", db)] {
            assert_agrees(what, &case, &found, &case[what]);
        }
    }
}

#[test]
fn pooling() {
    for case in cases("pool") {
        let shape = PoolShape {
            n: size(&case, "n"),
            h: size(&case, "h"),
            w: size(&case, "w"),
            c: size(&case, "c"),
            kernel: pair(&case, "kernel"),
            stride: pair(&case, "stride"),
            padding: pair(&case, "padding"),
            ceil: case["ceil"] == true,
        };
        assert_eq!([shape.out_h(), shape.out_w()], pair(&case, "out"), "{case}");
        let planes = shape.n * shape.c;
        let (x, dy) =
            (input(planes * shape.h * shape.w, 1), input(planes * shape.out_h() * shape.out_w(), 4));
        let (mut y, mut dx) = (vec![f64::NAN; dy.len()], vec![f64::NAN; x.len()]);
        if case["kind"] == "max" {
            plain::max_pool(&x, &shape, &mut y);
            plain::max_pool_backward(&dy, &x, &shape, &mut dx);
        } else {
            let count_padding = case["kind"] == "avg_counted";
            plain::avg_pool(&x, &shape, count_padding, &mut y);
            plain::avg_pool_backward(&dy, &shape, count_padding, &mut dx);
        }
        assert_agrees("y", &case, &y, &case["y"]);
        assert_agrees("dx", &case, &dx, &case["dx"]);
    }
}

#[test]
fn batch_norm() {
    for case in cases("norm") {
        let [n, c] = ["n", "c"].map(|name| size(&case, name));
        let (hw, eps) = (size(&case, "h") * size(&case, "w"), number(&case, "eps"));
        let (x, dy) = (input(n * c * hw, 1), input(n * c * hw, 4));
        let (gamma, beta) = (input(c, 2), input(c, 3));
        let (mut mean, mut var) = (input(c, 5), input(c, 6));
        for var in &mut var {
            *var += 1.5;
        }
        let is_training = case["training"] == true;
        if is_training {
            plain::moments(&x, n, c, hw, &mut mean, &mut var);
        }
        let (mut y, mut dx) = (vec![f64::NAN; x.len()], vec![f64::NAN; x.len()]);
        plain::normalize(&x, n, c, hw, &mean, &var, eps, &gamma, &beta, &mut y);
        let (dbeta, dgamma) = plain::normalize_backward_sums(&dy, &x, n, c, hw, &mean, &var, eps);
        if is_training {
            plain::normalize_backward(
                &dy,
                &x,
                n,
                c,
                hw,
                &mean,
                &var,
                eps,
                &gamma,
                (&dbeta, &dgamma),
                &mut dx,
            );
        } else {
            let scale: Vec<f64> =
                gamma.iter().zip(&var).map(|(gamma, var)| gamma / (var + eps).sqrt()).collect();
            plain::affine_norm_backward(&dy, n, c, hw, &scale, &mut dx);
        }
        for (what, found) in [("y", y), ("dx", dx), ("dgamma", dgamma), ("dbeta", dbeta)] {
            assert_agrees(what, &case, &found, &case[what]);
        }
    }
}

#[test]
fn cross_entropy_with_smoothing() {
    for case in cases("cross_entropy") {
        let (n, classes, smoothing) = (size(&case, "n"), size(&case, "classes"), number(&case, "smoothing"));
        let logits: Vec<f64> = input(n * classes, 1).into_iter().map(|x| 4.0 * x).collect();
        let labels: Vec<u32> = numbers(&case["labels"]).into_iter().map(|label| label as u32).collect();
        let loss = plain::softmax_cross_entropy(&logits, &labels, classes, smoothing);
        let expected = number(&case, "loss");
        assert!((loss - expected).abs() <= 1e-9 * expected, "found {loss}: {case}");
        let mut dlogits = vec![f64::NAN; logits.len()];
        plain::softmax_cross_entropy_backward(&logits, &labels, classes, smoothing, &mut dlogits);
        assert_agrees("dlogits", &case, &dlogits, &case["dlogits"]);
    }
}

#[test]
fn three_steps_of_descent() {
    for case in cases("sgd") {
        let [lr, momentum, weight_decay] = ["lr", "momentum", "weight_decay"].map(|name| number(&case, name));
        let step = SgdStep { lr, momentum, nesterov: case["nesterov"] == true, weight_decay };
        let steps = case["weights"].as_array().expect("steps");
        let (mut weights, mut velocity) = (input(9, 2), vec![0.0; 9]);
        assert_eq!(steps.len(), 3);
        for (index, expected) in steps.iter().enumerate() {
            plain::sgd_step(&mut weights, &input(9, 10 + index), &mut velocity, &step);
            assert_agrees("weights", &case, &weights, expected);
        }
    }
}

#[test]
fn four_steps_of_lamb() {
    let parameters =
        [(0..9, true), (9..14, false), (14..18, true)].map(|(place, decays)| Parameter { place, decays });
    for case in cases("lamb") {
        let [lr, epsilon, weight_decay] = ["lr", "epsilon", "weight_decay"].map(|name| number(&case, name));
        let max_norm = case["max_norm"].as_f64().unwrap_or(f64::INFINITY);
        let step = LambStep { lr, betas: [0.9, 0.999], epsilon, weight_decay, max_norm };
        let mut weights = [input(9, 2), input(5, 3), vec![0.0; 4]].concat();
        let (mut first, mut second) = (vec![0.0; 18], vec![0.0; 18]);
        let steps = case["steps"].as_array().expect("steps");
        assert_eq!(steps.len(), 4);
        for (index, expected) in steps.iter().enumerate() {
            let of_tensors = [9, 5, 4].into_iter().zip(10 + 3 * index..);
            let mut grads: Vec<f64> = of_tensors.flat_map(|(len, seed)| input(len, seed)).collect();
            if index == 3 {
                grads[14..].fill(0.0);
            }
            let (moments, number) = ([&mut first[..], &mut second[..]], index as u64 + 1);
            plain::lamb_step(&mut weights, &grads, moments, &parameters, &step, number);
            for (what, found, expected) in [
                ("weights", &weights, &expected[0]),
                ("first moments", &first, &expected[1]),
                ("second moments", &second, &expected[2]),
            ] {
                assert_agrees(what, &case, found, expected);
            }
        }
    }
}
