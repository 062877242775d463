//! Pooling kernels against the oracles, on every instruction set.

#![allow(clippy::float_cmp, reason = "exact where it says so")]

#[path = "support/maps.rs"]
mod maps;

use maps::{FORMS, assert_close, assert_same_bits, dense, empty, layout, map, shapes, values, widen};
use proptest::prelude::*;
use residuum_kernels::pool::{
    avg_pool, avg_pool_backward, blur, blur_backward, global_avg_pool, global_avg_pool_backward, max_pool,
    max_pool_backward,
};
use residuum_kernels::{BlurShape, Isa, PoolShape, plain};

type Form = [(usize, usize); 2];

fn check_windows(isa: Isa, shape: &PoolShape, [x_form, out_form]: Form) {
    let PoolShape { n, h, w, c, .. } = *shape;
    let (oh, ow) = (shape.out_h(), shape.out_w());
    let (xl, ol) = (layout([n, h, w, c], x_form.0, x_form.1), layout([n, oh, ow, c], out_form.0, out_form.1));
    // A few levels only, so that windows have several largest values.
    let x: Vec<f32> = values(n * c * h * w, 1).into_iter().map(|x| (3.0 * x).round()).collect();
    let dy = values(n * c * oh * ow, 2);
    let (xm, dym) = (map(&x, xl), map(&dy, ol));
    let (mut out, mut dx) = (empty(ol), empty(xl));
    let (mut expected, mut gradient) = (vec![0.0; dy.len()], vec![f64::NAN; x.len()]);

    max_pool(isa, &xm, xl, shape, &mut out, ol);
    plain::max_pool(&widen(&x), shape, &mut expected);
    assert_close(&dense(&out, ol), &expected, 0.0, &format!("max, {isa}, {shape:?}"));
    max_pool_backward(isa, &dym, ol, &xm, xl, shape, &mut dx, xl);
    plain::max_pool_backward(&widen(&dy), &widen(&x), shape, &mut gradient);
    assert_close(&dense(&dx, xl), &gradient, 1e-6, &format!("max backward, {isa}, {shape:?}"));

    for count_padding in [false, true] {
        avg_pool(isa, &xm, xl, shape, count_padding, &mut out, ol);
        plain::avg_pool(&widen(&x), shape, count_padding, &mut expected);
        assert_close(&dense(&out, ol), &expected, 1e-6, &format!("avg, {isa}, {shape:?}"));
        avg_pool_backward(isa, &dym, ol, shape, count_padding, &mut dx, xl);
        plain::avg_pool_backward(&widen(&dy), shape, count_padding, &mut gradient);
        assert_close(&dense(&dx, xl), &gradient, 1e-6, &format!("avg backward, {isa}, {shape:?}"));
    }
}

fn pool([n, h, w, c]: [usize; 4], kernel: usize, stride: usize, padding: usize, ceil: bool) -> PoolShape {
    let [kernel, stride, padding] = [kernel, stride, padding].map(|size| [size; 2]);
    PoolShape { n, h, w, c, kernel, stride, padding, ceil }
}

#[test]
fn windows_agree_with_plain() {
    for isa in Isa::available() {
        for (index, shape) in
            [[2, 11, 9, 20], [1, 7, 7, 64], [2, 5, 6, 3], [1, 4, 4, 130]].into_iter().enumerate()
        {
            for (kernel, stride, padding) in
                [(3, 2, 1), (3, 2, 0), (2, 2, 0), (3, 1, 1), (1, 2, 0), (4, 3, 2)]
            {
                for ceil in [false, true] {
                    check_windows(isa, &pool(shape, kernel, stride, padding, ceil), FORMS[index]);
                }
            }
        }
    }
}

/// Sizes by PyTorch's rule: rounded up, unless the last window would start in the padding.
#[test]
fn rounding_up_keeps_windows_that_start_inside() {
    for (size, kernel, stride, padding, floor, ceil) in [
        (112, 3, 2, 0, 55, 56),
        (112, 3, 2, 1, 56, 57),
        (3, 2, 2, 1, 2, 2),
        (2, 3, 2, 0, 0, 1),
        (5, 2, 3, 1, 2, 2),
    ] {
        let sizes = [false, true].map(|ceil| pool([1, size, size, 1], kernel, stride, padding, ceil).out_h());
        assert_eq!(sizes, [floor, ceil], "{size} {kernel} {stride} {padding}");
    }
}

#[test]
fn not_a_number_and_infinities_reach_the_maximum() {
    let shape = pool([1, 2, 6, 1], 2, 2, 0, false);
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = [[nan, 1.0, inf, -inf, -inf, -inf], [3.0, inf, 0.0, 1.0, -inf, -inf]].concat();
    let (xl, ol) = (layout([1, 2, 6, 1], 0, 0), layout([1, 1, 3, 1], 0, 0));
    for isa in Isa::available() {
        let mut out = [0.0; 3];
        max_pool(isa, &x, xl, &shape, &mut out, ol);
        assert!(out[0].is_nan() && out[1] == inf && out[2] == -inf, "{isa}: {out:?}");
        let mut expected = [0.0; 3];
        plain::max_pool(&x, &shape, &mut expected);
        assert!(expected[0].is_nan() && expected[1..] == out[1..], "{expected:?}");
    }
}

fn check_global(isa: Isa, shape: [usize; 4], (border, gap): (usize, usize)) {
    let ([n, h, w, c], l) = (shape, layout(shape, border, gap));
    let (x, dy) = (values(n * c * h * w, 3), values(n * c, 4));
    let mut expected = vec![0.0; n * c];
    plain::global_avg_pool(&widen(&x), n * c, h * w, &mut expected);
    let pl = layout([n, 1, 1, c], border, gap);
    let mut out = empty(pl);
    global_avg_pool(isa, &map(&x, l), l, &mut out, pl);
    assert_close(&dense(&out, pl), &expected, 1e-6, &format!("global, {isa}, {l:?}"));

    let (mut dx, mut gradient) = (empty(l), vec![f64::NAN; x.len()]);
    global_avg_pool_backward(&map(&dy, pl), pl, &mut dx, l);
    plain::global_avg_pool_backward(&widen(&dy), n * c, h * w, &mut gradient);
    assert_close(&dense(&dx, l), &gradient, 1e-7, &format!("global backward, {l:?}"));
}

#[test]
fn global_average_agrees_with_plain() {
    for isa in Isa::available() {
        for shape in shapes() {
            for [form, _] in FORMS {
                check_global(isa, shape, form);
            }
        }
    }
}

fn check_blur(isa: Isa, [n, h, w, c]: [usize; 4], size: usize, stride: usize, [x_form, out_form]: Form) {
    let shape = BlurShape { n, h, w, c, size, stride, padding: (stride + size - 2) / 2 };
    let (oh, ow) = (shape.out_h(), shape.out_w());
    let (xl, ol) = (layout([n, h, w, c], x_form.0, x_form.1), layout([n, oh, ow, c], out_form.0, out_form.1));
    let (x, dy) = (values(n * c * h * w, 1), values(n * c * oh * ow, 2));
    let (mut out, mut dx) = (empty(ol), empty(xl));
    let (mut expected, mut gradient) = (vec![0.0; dy.len()], vec![f64::NAN; x.len()]);
    blur(isa, &map(&x, xl), xl, &shape, &mut out, ol);
    plain::blur(&widen(&x), &shape, &mut expected);
    assert_close(&dense(&out, ol), &expected, 1e-6, &format!("blur, {isa}, {shape:?}"));
    blur_backward(isa, &map(&dy, ol), ol, &shape, &mut dx, xl);
    plain::blur_backward(&widen(&dy), &shape, &mut gradient);
    assert_close(&dense(&dx, xl), &gradient, 1e-6, &format!("blur backward, {isa}, {shape:?}"));
}

#[test]
fn blurs_agree_with_plain() {
    for isa in Isa::available() {
        for (index, shape) in
            [[2, 11, 9, 20], [1, 7, 7, 64], [2, 5, 6, 3], [1, 4, 4, 130]].into_iter().enumerate()
        {
            for (size, stride) in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 1), (7, 2)] {
                check_blur(isa, shape, size, stride, FORMS[index]);
            }
        }
    }
}

/// Four by four pixels, filter 1 2 1 at stride 2: the border repeats the second pixel, not the first.
#[test]
fn a_blur_reflects_without_repeating_the_edge() {
    let shape = BlurShape { n: 1, h: 4, w: 4, c: 1, size: 3, stride: 2, padding: 1 };
    let x: Vec<f64> = (0..16).map(|i| f64::from(i % 4)).collect();
    let mut out = [0.0; 4];
    plain::blur(&x, &shape, &mut out);
    // Columns -1, 0, 1 hold 1, 0, 1 and columns 1, 2, 3 hold 1, 2, 3.
    assert_eq!(out, [0.5, 2.0, 0.5, 2.0]);
}

#[test]
fn bits_do_not_depend_on_threads() {
    let shape = pool([3, 20, 18, 150], 3, 2, 1, false);
    let (xl, ol) = (layout([3, 20, 18, 150], 1, 0), layout([3, 10, 9, 150], 1, 0));
    let (x, dy) = (map(&values(xl.pixels() * 150, 5), xl), map(&values(ol.pixels() * 150, 6), ol));
    for isa in Isa::available() {
        assert_same_bits("max_pool_backward", || {
            let mut dx = empty(xl);
            max_pool_backward(isa, &dy, ol, &x, xl, &shape, &mut dx, xl);
            dx
        });
        assert_same_bits("global_avg_pool", || {
            let mut out = vec![0.0; 450];
            global_avg_pool(isa, &x, xl, &mut out, layout([3, 1, 1, 150], 0, 0));
            out
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn kernels_agree_with_plain_on_any_shape(
        [n, h, w, c] in [1..3usize, 3..9usize, 3..9usize, 1..80usize],
        kernel in [1..4usize, 1..4usize],
        stride in [1..4usize, 1..4usize],
        padded: [bool; 2],
        ceil: bool,
        form in [(0..3usize, 0..4usize), (0..3usize, 0..4usize)],
    ) {
        let padding = [0, 1].map(|axis| if padded[axis] { kernel[axis] / 2 } else { 0 });
        let shape = PoolShape { n, h, w, c, kernel, stride, padding, ceil };
        for isa in Isa::available() {
            check_windows(isa, &shape, form);
            check_global(isa, [n, h, w, c], form[0]);
        }
    }
}
