//! Elementwise, normalising and rearranging kernels against the oracles, on every instruction set.

#![allow(clippy::float_cmp, reason = "exact where it says so")]

#[path = "support/maps.rs"]
mod maps;

use maps::{FORMS, assert_close, assert_same_bits, dense, empty, layout, map, shapes, values, widen};
use proptest::prelude::*;
use residuum_kernels::elementwise::{add, copy, relu, relu_backward};
use residuum_kernels::gate::{dropout, mul, mul_backward, scale_images, sigmoid, sigmoid_backward};
use residuum_kernels::norm::{affine, column_sums, moments, norm_backward_apply, norm_backward_sums};
use residuum_kernels::rearrange::{from_map, subsample_pad, subsample_pad_backward, to_map, zero_border};
use residuum_kernels::{Draws, Isa, plain};
use residuum_tensor::MapLayout;

/// One case: an instruction set, a shape, the layouts of inputs and output.
struct Case {
    isa: Isa,
    xl: MapLayout,
    ol: MapLayout,
    name: String,
}

impl Case {
    fn new(isa: Isa, shape: [usize; 4], [x, out]: [(usize, usize); 2]) -> Self {
        let name = format!("{isa}, {shape:?}, x {x:?}, out {out:?}");
        Self { isa, xl: layout(shape, x.0, x.1), ol: layout(shape, out.0, out.1), name }
    }

    fn len(&self) -> usize {
        self.xl.pixels() * self.xl.c
    }

    /// Bound on the rounding error of a sum over all pixels of values up to 1, whose segments are added up in
    /// single precision.
    fn sum_tolerance(&self) -> f64 {
        f64::from(f32::EPSILON) * self.xl.pixels().clamp(8, 256) as f64
    }

    fn planes(&self) -> [usize; 3] {
        [self.xl.n, self.xl.c, self.xl.h * self.xl.w]
    }
}

fn for_each_case(run: impl Fn(&Case)) {
    for isa in Isa::available() {
        for shape in shapes() {
            for form in FORMS {
                run(&Case::new(isa, shape, form));
            }
        }
    }
}

fn check_elementwise(case: &Case) {
    let (isa, xl, ol, len) = (case.isa, case.xl, case.ol, case.len());
    let (a, b, r) = (values(len, 1), values(len, 2), values(len, 3));
    let (am, bm, rm) = (map(&a, xl), map(&b, ol), map(&r, ol));
    let mut out = empty(ol);

    copy(isa, &am, xl, &mut out, ol);
    assert_eq!(dense(&out, ol), a, "copy, {}", case.name);

    relu(isa, &am, xl, &mut out, ol);
    let mut expected = vec![0.0; len];
    plain::relu(&a, &mut expected);
    assert_eq!(dense(&out, ol), expected, "relu, {}", case.name);

    plain::add(&a, &b, &mut expected);
    add(isa, &am, xl, &bm, ol, false, &mut out, ol);
    assert_eq!(dense(&out, ol), expected, "add, {}", case.name);
    add(isa, &am, xl, &bm, ol, true, &mut out, ol);
    let positive: Vec<f32> = expected.iter().map(|x| x.max(0.0)).collect();
    assert_eq!(dense(&out, ol), positive, "add and relu, {}", case.name);

    plain::relu_backward(&a, &b, &mut expected);
    relu_backward(isa, &am, xl, &bm, ol, None, &mut out, ol);
    assert_eq!(dense(&out, ol), expected, "relu_backward, {}", case.name);
    relu_backward(isa, &am, xl, &bm, ol, Some((&rm, ol)), &mut out, ol);
    let both: Vec<f32> = expected.iter().zip(&r).map(|(g, r)| g + r).collect();
    assert_eq!(dense(&out, ol), both, "relu_backward with a second gradient, {}", case.name);
}

#[test]
fn elementwise_kernels_agree_with_plain() {
    for_each_case(check_elementwise);
}

fn check_forward(case: &Case) {
    let (isa, xl, ol, len, [n, c, hw]) = (case.isa, case.xl, case.ol, case.len(), case.planes());
    // A mean far from zero would ruin variances that are taken around zero.
    let x: Vec<f32> = values(len, 4).into_iter().map(|x| 0.1 * x + 100.0).collect();
    let (mut mean, mut var) = (vec![f32::NAN; c], vec![f32::NAN; c]);
    moments(isa, &map(&x, xl), xl, &mut mean, &mut var);
    let (mut mean64, mut var64) = (vec![0.0; c], vec![0.0; c]);
    plain::moments(&widen(&x), n, c, hw, &mut mean64, &mut var64);
    assert_close(&mean, &mean64, 1e-6, &format!("mean, {}", case.name));
    for (found, expected) in var.iter().zip(&var64) {
        let close = (f64::from(*found) - expected).abs() <= 1e-5 * expected + 1e-12;
        assert!(close, "variance, {}: found {found}, expected {expected}", case.name);
    }

    let (x, scale, shift, r) = (values(len, 5), values(c, 6), values(c, 7), values(len, 8));
    let mut expected = vec![0.0; len];
    plain::affine_norm(&widen(&x), n, c, hw, &widen(&scale), &widen(&shift), &mut expected);
    let mut out = empty(ol);
    affine(isa, &map(&x, xl), xl, &scale, &shift, None, false, &mut out, ol);
    assert_close(&dense(&out, ol), &expected, 3e-7, &format!("affine, {}", case.name));
    expected.iter_mut().zip(&r).for_each(|(y, &r)| *y = (*y + f64::from(r)).max(0.0));
    affine(isa, &map(&x, xl), xl, &scale, &shift, Some((&map(&r, ol), ol)), true, &mut out, ol);
    assert_close(&dense(&out, ol), &expected, 3e-7, &format!("affine with all, {}", case.name));
}

#[test]
fn moments_and_affine_agree_with_plain() {
    for_each_case(check_forward);
}

/// Batch normalisation's whole gradient, put together from the passes as the module's header says.
fn check_backward(case: &Case) {
    let (isa, xl, ol, len, [n, c, hw]) = (case.isa, case.xl, case.ol, case.len(), case.planes());
    let (x, dy, y, r, gamma) =
        (values(len, 9), values(len, 10), values(len, 11), values(len, 12), values(c, 13));
    let eps = 1e-2;
    let (mut mean, mut var) = (vec![0.0; c], vec![0.0; c]);
    plain::moments(&widen(&x), n, c, hw, &mut mean, &mut var);
    let mut g = vec![0.0; len];
    plain::relu_backward(&widen(&dy), &widen(&y), &mut g);
    let (sum, weighted) = plain::normalize_backward_sums(&g, &widen(&x), n, c, hw, &mean, &var, eps);
    let mut expected = vec![0.0; len];
    let sums = (&sum[..], &weighted[..]);
    plain::normalize_backward(
        &g,
        &widen(&x),
        n,
        c,
        hw,
        &mean,
        &var,
        eps,
        &widen(&gamma),
        sums,
        &mut expected,
    );

    let mean32: Vec<f32> = mean.iter().map(|&m| m as f32).collect();
    let inv_std: Vec<f32> = var.iter().map(|v| (1.0 / (v + eps).sqrt()) as f32).collect();
    let (dym, ym, xm) = (map(&dy, xl), map(&y, ol), map(&x, xl));
    let mut found = vec![f32::NAN; 2 * c];
    norm_backward_sums(isa, &dym, xl, Some((&ym, ol)), &xm, xl, &mean32, &inv_std, &mut found);
    assert_close(&found[..c], &sum, case.sum_tolerance(), &format!("sum of g, {}", case.name));
    assert_close(&found[c..], &weighted, 8.0 * case.sum_tolerance(), &format!("sum of g x̂, {}", case.name));

    let m = (n * hw) as f32;
    let a: Vec<f32> = gamma.iter().zip(&inv_std).map(|(g, k)| g * k).collect();
    let b: Vec<f32> = (0..c).map(|i| -a[i] * inv_std[i] * found[c + i] / m).collect();
    let d: Vec<f32> = (0..c).map(|i| -a[i] * found[i] / m - b[i] * mean32[i]).collect();
    let (mut dx, mut masked) = (empty(ol), empty(xl));
    let mask = Some((&ym[..], ol));
    norm_backward_apply(isa, &dym, xl, mask, &xm, xl, &a, &b, &d, None, Some((&mut masked, xl)), &mut dx, ol);
    assert_close(&dense(&dx, ol), &expected, 2e-5, &format!("dx, {}", case.name));
    assert_close(&dense(&masked, xl), &g, 0.0, &format!("g, {}", case.name));

    let rm = map(&r, ol);
    norm_backward_apply(isa, &dym, xl, mask, &xm, xl, &a, &b, &d, Some((&rm, ol)), None, &mut dx, ol);
    expected.iter_mut().zip(&r).for_each(|(dx, &r)| *dx += f64::from(r));
    assert_close(&dense(&dx, ol), &expected, 2e-5, &format!("dx and a second gradient, {}", case.name));
}

#[test]
fn norm_backward_agrees_with_plain() {
    for_each_case(check_backward);
}

fn check_sums_without_mask(case: &Case) {
    let (xl, len, [n, c, hw]) = (case.xl, case.len(), case.planes());
    let dy = values(len, 14);
    let mut expected = vec![0.0; c];
    plain::channel_sums(&widen(&dy), n, c, hw, &mut expected);
    let mut sums = vec![f32::NAN; c];
    column_sums(case.isa, &map(&dy, xl), xl, &mut sums);
    assert_close(&sums, &expected, case.sum_tolerance(), &format!("column sums, {}", case.name));

    let (dym, ones) = (map(&dy, xl), vec![1.0; c]);
    let mut both = vec![f32::NAN; 2 * c];
    norm_backward_sums(case.isa, &dym, xl, None, &dym, xl, &vec![0.0; c], &ones, &mut both);
    assert_eq!(both[..c], sums, "{}", case.name);
    let mut squares = vec![0.0; c];
    let square: Vec<f64> = widen(&dy).iter().map(|dy| dy * dy).collect();
    plain::channel_sums(&square, n, c, hw, &mut squares);
    assert_close(&both[c..], &squares, case.sum_tolerance(), &format!("squares, {}", case.name));
}

#[test]
fn sums_without_a_mask_agree_with_plain() {
    for_each_case(check_sums_without_mask);
}

#[test]
fn an_empty_batch_is_nothing_to_do() {
    let l = layout([0, 5, 4, 3], 1, 0);
    for isa in Isa::available() {
        affine(isa, &[], l, &[1.0; 3], &[0.0; 3], None, true, &mut [], l);
        let mut sums = [f32::NAN; 3];
        column_sums(isa, &[], l, &mut sums);
        assert_eq!(sums, [0.0; 3], "{isa}");
    }
}

#[test]
fn a_constant_channel_has_no_variance() {
    let l = layout([2, 9, 9, 3], 1, 0);
    for isa in Isa::available() {
        let (mut mean, mut var) = ([f32::NAN; 3], [f32::NAN; 3]);
        moments(isa, &map(&vec![1e4; 2 * 81 * 3], l), l, &mut mean, &mut var);
        assert_eq!((mean, var), ([1e4; 3], [0.0; 3]), "{isa}");
    }
}

#[test]
fn maps_convert_both_ways() {
    for shape in shapes() {
        for [(border, gap), _] in FORMS {
            let l = layout(shape, border, gap);
            let x = values(l.pixels() * l.c, 15);
            let mut found = empty(l);
            to_map(&x, &mut found, l);
            assert_eq!(dense(&found, l), x, "{l:?}");
            let mut back = vec![f32::NAN; x.len()];
            from_map(&found, l, &mut back);
            assert_eq!(back, x, "{l:?}");
        }
    }
}

/// The border of a slice of channels is cleared, the neighbours in the wider map stay.
#[test]
fn zero_border_clears_its_own_channels_only() {
    let wide = layout([2, 2, 3, 7], 1, 0);
    let x = values(wide.pixels() * 7, 16);
    let mut buffer = map(&x, wide);
    let middle = MapLayout { c: 4, ..wide };
    zero_border(&mut buffer[2..], middle);
    for (at, value) in buffer.iter().enumerate() {
        let (pixel, channel) = (at / 7, at % 7);
        let (y, x) = (pixel / 5 % 4, pixel % 5);
        let is_border = y == 0 || y == 3 || x == 0 || x == 4;
        assert_eq!(*value == 0.0, is_border && (2..6).contains(&channel), "float {at}");
        assert_eq!(value.is_nan(), is_border && !(2..6).contains(&channel), "float {at}");
    }
    let mut whole = map(&x, wide);
    zero_border(&mut whole, wide);
    assert!(whole.iter().all(|x| !x.is_nan()));
}

#[test]
fn subsample_pad_agrees_with_plain() {
    for ([n, h, w, c], stride, before, after) in [
        ([2usize, 5, 4, 3], 2usize, 2, 1),
        ([1, 8, 8, 16], 2, 8, 8),
        ([2, 7, 7, 5], 3, 0, 4),
        ([1, 1, 1, 2], 2, 1, 0),
    ] {
        for [x_form, out_form] in FORMS {
            let (oh, ow, oc) = (h.div_ceil(stride), w.div_ceil(stride), before + c + after);
            let (xl, ol) =
                (layout([n, h, w, c], x_form.0, x_form.1), layout([n, oh, ow, oc], out_form.0, out_form.1));
            let x = values(n * c * h * w, 17);
            let mut sampled = vec![0.0; n * c * oh * ow];
            plain::subsample(&x, n * c, h, w, stride, &mut sampled);
            let mut expected = vec![0.0; n * oc * oh * ow];
            plain::pad_channels(&sampled, n, c, oh * ow, before, after, &mut expected);
            let mut out = empty(ol);
            subsample_pad(&map(&x, xl), xl, stride, before, &mut out, ol);
            assert_eq!(dense(&out, ol), expected);

            let dy = values(n * oc * oh * ow, 18);
            plain::pad_channels_backward(&dy, n, c, oh * ow, before, after, &mut sampled);
            let mut expected = vec![f32::NAN; x.len()];
            plain::subsample_backward(&sampled, n * c, h, w, stride, &mut expected);
            let mut dx = empty(xl);
            subsample_pad_backward(&map(&dy, ol), ol, stride, before, &mut dx, xl);
            assert_eq!(dense(&dx, xl), expected);
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    // Large enough for many tasks.
    for form in [(0, 0), (1, 0), (1, 3)] {
        let l = layout([4, 50, 48, 20], form.0, form.1);
        let (x, y) = (map(&values(l.pixels() * 20, 19), l), map(&values(l.pixels() * 20, 20), l));
        let (ones, coefficients) = (vec![1.0; 20], values(20, 21));
        for isa in Isa::available() {
            assert_same_bits("moments", || {
                let (mut mean, mut var) = (vec![0.0; 20], vec![0.0; 20]);
                moments(isa, &x, l, &mut mean, &mut var);
                [mean, var].concat()
            });
            assert_same_bits("norm_backward_sums", || {
                let mut sums = vec![0.0; 40];
                norm_backward_sums(isa, &x, l, Some((&y, l)), &y, l, &coefficients, &ones, &mut sums);
                sums
            });
            assert_same_bits("affine", || {
                let mut out = empty(l);
                affine(isa, &x, l, &coefficients, &ones, Some((&y, l)), true, &mut out, l);
                out
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn kernels_agree_with_plain_on_any_shape(
        shape in [1..4usize, 1..9usize, 1..9usize, 1..70usize],
        forms in [(0..3usize, 0..4usize), (0..3usize, 0..4usize)],
    ) {
        for isa in Isa::available() {
            let case = Case::new(isa, shape, forms);
            check_elementwise(&case);
            check_forward(&case);
            check_backward(&case);
            check_sums_without_mask(&case);
        }
    }
}

#[test]
#[should_panic(expected = "out holds 10 floats, expected at least 24")]
fn a_short_slice_is_refused() {
    let l = layout([1, 2, 3, 4], 0, 0);
    relu(Isa::PLAIN, &[0.0; 24], l, &mut [0.0; 10], l);
}

#[test]
#[should_panic(expected = "out is [1, 2, 3, 5] (n, h, w, c), expected [1, 2, 3, 4]")]
fn a_different_shape_is_refused() {
    let (l, other) = (layout([1, 2, 3, 4], 0, 0), layout([1, 2, 3, 5], 0, 0));
    relu(Isa::PLAIN, &[0.0; 24], l, &mut [0.0; 30], other);
}

fn check_gates(case: &Case) {
    let (isa, xl, ol, len, [n, c, hw]) = (case.isa, case.xl, case.ol, case.len(), case.planes());
    let (x, r, dy) = (values(len, 21), values(len, 22), values(len, 23));
    let (xm, rm, dym) = (map(&x, xl), map(&r, ol), map(&dy, ol));
    for one_pixel in [false, true] {
        let gl = if one_pixel { MapLayout { h: 1, w: 1, ..xl } } else { ol };
        let gate = values(gl.pixels() * c, 24);
        let gm = map(&gate, gl);
        let (mut out, mut dgate) = (empty(ol), empty(gl));
        let mut expected = vec![0.0; len];
        plain::mul(&widen(&x), &widen(&gate), n * c, &mut expected);
        mul(isa, &xm, xl, &gm, gl, None, false, &mut out, ol);
        assert_close(&dense(&out, ol), &expected, 1e-6, &format!("multiply, {}", case.name));
        expected.iter_mut().zip(&r).for_each(|(y, &r)| *y = (*y + f64::from(r)).max(0.0));
        mul(isa, &xm, xl, &gm, gl, Some((&rm, ol)), true, &mut out, ol);
        assert_close(&dense(&out, ol), &expected, 1e-6, &format!("multiply with all, {}", case.name));
        let mut gradient = vec![0.0; gate.len()];
        plain::mul_backward(&widen(&dy), &widen(&x), n * c, &mut gradient);
        mul_backward(isa, &dym, ol, &xm, xl, &mut dgate, gl);
        assert_close(&dense(&dgate, gl), &gradient, 1e-5, &format!("multiply backward, {}", case.name));
    }

    let (mut out, mut expected) = (empty(ol), vec![0.0; len]);
    plain::sigmoid(&widen(&x), &mut expected);
    sigmoid(&xm, xl, &mut out, ol);
    assert_close(&dense(&out, ol), &expected, 1e-6, &format!("sigmoid, {}", case.name));
    plain::sigmoid_backward(&widen(&dy), &widen(&x), &mut expected);
    let mut dx = empty(ol);
    sigmoid_backward(isa, &dym, ol, &xm, xl, &mut dx, ol);
    assert_close(&dense(&dx, ol), &expected, 1e-6, &format!("sigmoid backward, {}", case.name));

    let draws = Draws::new(9, 4);
    plain::dropout(draws, 3, 0.3, &widen(&x), n, c, hw, &mut expected);
    dropout(isa, draws, 3, 0.3, &xm, xl, &mut out, ol);
    assert_close(&dense(&out, ol), &expected, 1e-6, &format!("dropout, {}", case.name));

    let factors: Vec<f32> = (0..n).map(|n| [0.0, 1.5][n % 2]).collect();
    plain::scale_images(&widen(&x), &widen(&factors), &mut expected);
    scale_images(isa, &xm, xl, &factors, &mut out, ol);
    assert_close(&dense(&out, ol), &expected, 1e-6, &format!("images scaled, {}", case.name));
}

#[test]
fn gates_and_masks_agree_with_plain() {
    for_each_case(check_gates);
}
