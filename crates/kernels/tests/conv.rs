//! The three passes of a convolution against the plain one in `f64`, for every instruction set of the CPU.

#[path = "support/cases.rs"]
mod cases;
#[path = "support/maps.rs"]
mod maps;

use cases::{Case, case};
use maps::{dense, empty, layout, map, values, widen};
use proptest::prelude::*;
use residuum_kernels::conv::{
    ConvAlgorithm, ConvBackwardData, ConvBackwardWeights, ConvForward, Epilogue, Extras, NormOutput,
    Normalization, Pass, moments, norm_backward_sums,
};
use residuum_kernels::norm::affine;
use residuum_kernels::{ConvShape, Isa, plain};
use residuum_tensor::MapLayout;

/// Remainders of every tile, sizes of one, and every kind of window.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for c_out in 1..=20 {
        cases.push(case([1, 5, 4], [3, c_out, 1], [3, 3], 1, [1, 1]));
        cases.push(case([2, 1, c_out], [c_out, 33, 1], [1, 1], 1, [0, 0]));
    }
    for c in [24, 31, 32, 33, 40, 48, 64, 65, 80, 96, 130] {
        cases.push(case([1, 4, 5], [c, c, 1], [3, 3], 1, [1, 1]));
        cases.push(case([3, 3, 3], [7, c, 1], [1, 1], 2, [0, 0]));
    }
    cases.extend([
        case([2, 19, 17], [3, 16, 1], [7, 7], 2, [3, 3]),
        case([1, 9, 9], [16, 16, 1], [3, 3], 2, [1, 1]),
        case([2, 8, 8], [16, 32, 1], [1, 1], 2, [0, 0]),
        case([1, 10, 11], [5, 6, 1], [2, 2], 3, [0, 0]),
        case([1, 7, 7], [4, 9, 1], [3, 3], 3, [1, 1]),
        case([1, 6, 9], [5, 6, 1], [3, 1], 1, [1, 0]),
        case([1, 6, 9], [5, 6, 1], [1, 5], 1, [0, 2]),
        case([1, 4, 4], [6, 7, 1], [3, 3], 1, [0, 0]),
        case([1, 3, 3], [6, 7, 1], [3, 3], 1, [2, 2]),
        case([7, 1, 1], [200, 10, 1], [1, 1], 1, [0, 0]),
        case([1, 1, 1], [512, 1000, 1], [1, 1], 1, [0, 0]),
        case([1, 2, 2], [300, 18, 1], [3, 3], 1, [1, 1]),
        case([2, 6, 5], [12, 20, 4], [3, 3], 1, [1, 1]),
        case([2, 6, 5], [32, 64, 2], [3, 3], 2, [1, 1]),
        case([1, 6, 5], [9, 9, 9], [3, 3], 1, [1, 1]),
        case([1, 6, 5], [3, 12, 3], [5, 5], 2, [2, 2]),
        case([3, 40, 40], [16, 16, 1], [3, 3], 1, [1, 1]),
        case([2, 14, 14], [64, 128, 1], [3, 3], 1, [1, 1]),
        case([5, 14, 14], [256, 64, 1], [1, 1], 1, [0, 0]),
        case([5, 14, 14], [64, 256, 1], [1, 1], 1, [0, 0]),
        case([9, 8, 9], [70, 90, 1], [1, 1], 2, [0, 0]),
        case([3, 9, 11], [100, 200, 1], [1, 1], 1, [0, 0]),
        case([0, 4, 4], [3, 5, 1], [3, 3], 1, [1, 1]),
    ]);
    let mut dilated = case([2, 9, 9], [6, 8, 1], [3, 3], 1, [2, 2]);
    dilated.shape.dilation = [2, 2];
    cases.push(dilated);
    dilated.shape.stride = [2, 1];
    dilated.shape.groups = 2;
    cases.push(dilated);
    let loose: Vec<Case> = cases.iter().step_by(3).map(|case| Case { border: 1, gap: 5, ..*case }).collect();
    cases.extend(loose);
    cases
}

/// A map with zeros in its border, and not-a-number between the channels of neighbouring pixels.
fn bordered(nchw: &[f32], layout: MapLayout) -> Vec<f32> {
    let mut bordered = empty(layout);
    for pixel in bordered.chunks_mut(layout.pitch.max(1)) {
        pixel[..layout.c].fill(0.0);
    }
    for (to, from) in bordered.iter_mut().zip(map(nchw, layout)) {
        if !from.is_nan() {
            *to = from;
        }
    }
    bordered
}

/// Layouts of `x` and `y`, the values of `x`, `dy` and the weights.
struct Setup {
    x: MapLayout,
    y: MapLayout,
    x_values: Vec<f32>,
    dy_values: Vec<f32>,
    weights: Vec<f32>,
}

fn setup(case: &Case) -> Setup {
    let ConvShape { n, h, w, c_in, c_out, .. } = case.shape;
    let x = layout([n, h, w, c_in], case.shape.input_border() + case.border, case.gap);
    let outside = case.shape.gradient_border() + case.border;
    let y = layout([n, case.shape.out_h(), case.shape.out_w(), c_out], outside, case.gap);
    let mut x_values = values(x.pixels() * x.c, 1);
    // Half of them, in no order.
    let signs = values(x_values.len(), 6);
    x_values.iter_mut().zip(signs).filter(|(_, sign)| *sign < 0.0).for_each(|(x, _)| *x = 0.0);
    Setup {
        x,
        y,
        x_values,
        dy_values: values(y.pixels() * y.c, 2),
        weights: values(case.shape.weight_len(), 3),
    }
}

/// What the plain code gives in `f64`, and the same of the magnitudes: the yardstick of rounding.
fn exact(inputs: [&[f32]; 2], len: usize, run: impl Fn(&[f64], &[f64], &mut [f64])) -> [Vec<f64>; 2] {
    let [a, b] = inputs.map(widen);
    let (mut result, mut magnitude) = (vec![0.0; len], vec![0.0; len]);
    run(&a, &b, &mut result);
    let positive = |values: &[f64]| values.iter().map(|x| x.abs()).collect::<Vec<_>>();
    run(&positive(&a), &positive(&b), &mut magnitude);
    [result, magnitude]
}

/// What one instruction set makes of a case by one algorithm.
#[derive(Clone, Copy)]
struct Run<'a> {
    isa: Isa,
    algorithm: ConvAlgorithm,
    case: &'a Case,
    setup: &'a Setup,
}

impl Run<'_> {
    /// By sums as they are defined, every result is as good as its own magnitude allows. By Winograd, the
    /// rounding of a tile spreads over it: the largest magnitude of the map counts, and it counts more, with seven points
    /// more than with five or six.
    fn assert_close(&self, pass: &str, found: &[f32], [expected, magnitude]: &[Vec<f64>; 2]) {
        let what = format!("{pass}, {}, {:?}, {:?}", self.isa, self.algorithm, self.case);
        assert_eq!(found.len(), expected.len(), "{what}");
        let largest = magnitude.iter().copied().fold(0.0, f64::max);
        for (i, &found) in found.iter().enumerate() {
            let error = (f64::from(found) - expected[i]).abs();
            let allowed = match self.algorithm {
                ConvAlgorithm::Winograd if self.case.shape.kernel == [7; 2] => 1.5e-5 * largest + 1e-7,
                ConvAlgorithm::Winograd | ConvAlgorithm::WinogradOnTheFly | ConvAlgorithm::WinogradSmall => {
                    6e-6 * largest + 1e-7
                }
                ConvAlgorithm::Strassen => 2e-6 * largest + 1e-7,
                _ => 2e-6 * magnitude[i] + 1e-7,
            };
            assert!(error <= allowed, "{what}, element {i}: found {found}, expected {}", expected[i]);
        }
    }

    fn forward(&self, epilogue: &Epilogue<'_>) -> Vec<f32> {
        self.forward_and_sums(epilogue, false).0
    }

    /// The outputs, and the sums that were taken on the way if they are wanted.
    fn forward_and_sums(&self, epilogue: &Epilogue<'_>, wants_sums: bool) -> (Vec<f32>, Vec<f32>) {
        let s = self.setup;
        let conv = ConvForward::with_algorithm(self.isa, self.algorithm, &self.case.shape, s.x, s.y);
        let found = match conv.algorithm() {
            "winograd 4x4" | "winograd 4x4 of phases" => ConvAlgorithm::Winograd,
            "winograd 3x3" => ConvAlgorithm::WinogradSmall,
            "winograd 4x4 on the fly" => ConvAlgorithm::WinogradOnTheFly,
            "strassen" => ConvAlgorithm::Strassen,
            "sparse" => ConvAlgorithm::Sparse,
            "sparse in order" => ConvAlgorithm::SparseInOrder,
            _ => ConvAlgorithm::Direct,
        };
        assert_eq!(found, self.algorithm);
        let (mut packed, mut out) = (vec![f32::NAN; conv.packed_len()], empty(s.y));
        conv.pack(&s.weights, &mut packed);
        let (x, mut sums) = (bordered(&s.x_values, s.x), vec![f32::NAN; conv.sums_len()]);
        if wants_sums {
            conv.run_with(&x, &packed, epilogue, &mut out, Extras { norm: None, sums: Some(&mut sums) });
        } else {
            conv.run(&x, &packed, epilogue, &mut out);
        }
        (dense(&out, s.y), sums)
    }

    fn backward_data(&self, epilogue: &Epilogue<'_>) -> Vec<f32> {
        self.backward_data_and_sums(epilogue, None).0
    }

    /// The gradient, and the sums that were taken on the way for a norm.
    fn backward_data_and_sums(
        &self,
        epilogue: &Epilogue<'_>,
        norm: Option<&NormOutput<'_>>,
    ) -> (Vec<f32>, Vec<f32>) {
        let s = self.setup;
        let conv = ConvBackwardData::with_algorithm(self.isa, self.algorithm, &self.case.shape, s.y, s.x);
        let (mut packed, mut dx) = (vec![f32::NAN; conv.packed_len()], empty(s.x));
        conv.pack(&s.weights, &mut packed);
        let (dy, mut sums) = (bordered(&s.dy_values, s.y), vec![f32::NAN; conv.sums_len()]);
        conv.run_with(&dy, &packed, epilogue, &mut dx, norm.map(|norm| (norm, &mut sums[..])));
        (dense(&dx, s.x), sums)
    }

    fn backward_weights(&self) -> Vec<f32> {
        let s = self.setup;
        let conv = ConvBackwardWeights::with_algorithm(self.isa, self.algorithm, &self.case.shape, s.x, s.y);
        let (mut scratch, mut dw) = (vec![f32::NAN; conv.scratch_len()], vec![f32::NAN; s.weights.len()]);
        conv.run(&bordered(&s.x_values, s.x), &map(&s.dy_values, s.y), &mut scratch, &mut dw);
        dw
    }
}

/// The algorithms that can compute the forward pass of a shape.
fn algorithms(isa: Isa, shape: &ConvShape) -> Vec<ConvAlgorithm> {
    let ConvShape { kernel, stride, dilation, groups, c_in, c_out, .. } = *shape;
    let by_cells =
        stride == [2; 2] && [[3; 2], [7; 2]].contains(&kernel) && (c_in <= 4 || c_in.is_multiple_of(16));
    let has_halves =
        shape.is_of_pixels() && shape.out_h() * shape.out_w() > 1 && (c_in | c_out).is_multiple_of(32);
    let others: &[ConvAlgorithm] = match (dilation, groups) == ([1; 2], 1) {
        true if (kernel, stride) == ([3; 2], [1; 2]) => {
            &[ConvAlgorithm::Winograd, ConvAlgorithm::WinogradOnTheFly, ConvAlgorithm::WinogradSmall]
        }
        true if by_cells => &[ConvAlgorithm::Winograd],
        true if has_halves => &[ConvAlgorithm::Strassen],
        _ => &[],
    };
    let in_pairs = (isa.lanes() == 16).then_some(ConvAlgorithm::Sparse);
    let by_definition = [ConvAlgorithm::Direct, ConvAlgorithm::SparseInOrder];
    by_definition.into_iter().chain(in_pairs).chain(others.iter().copied()).collect()
}

fn check(case: &Case) {
    let s = setup(case);
    let shape = &case.shape;
    let forward_exact = exact([&s.x_values, &s.weights], s.dy_values.len(), |x, w, out| {
        plain::conv2d(x, w, None, shape, out);
    });
    let data_exact = exact([&s.dy_values, &s.weights], s.x_values.len(), |dy, w, dx| {
        plain::conv2d_backward_data(dy, w, shape, dx);
    });
    let weights_exact = exact([&s.x_values, &s.dy_values], s.weights.len(), |x, dy, dw| {
        plain::conv2d_backward_weights(x, dy, shape, dw);
    });
    for isa in Isa::available() {
        for algorithm in algorithms(isa, shape) {
            let run = Run { isa, algorithm, case, setup: &s };
            let forward = run.forward(&Epilogue::default());
            run.assert_close("forward", &forward, &forward_exact);
            check_images(run, &forward);
            if algorithm == ConvAlgorithm::SparseInOrder {
                let direct = Run { algorithm: ConvAlgorithm::Direct, ..run };
                assert_eq!(forward, direct.forward(&Epilogue::default()), "{isa}, {case:?}");
            }
            run.assert_close("data", &run.backward_data(&Epilogue::default()), &data_exact);
            run.assert_close("weights", &run.backward_weights(), &weights_exact);
            check_forward_epilogue(run, &forward_exact);
            check_sums(run);
            check_data_epilogue(run, &data_exact);
            check_gradient_sums(run);
            if [Pass::Forward, Pass::BackwardWeights]
                .iter()
                .all(|&pass| algorithm.normalizes(isa, pass, shape))
            {
                check_normalized(run);
            }
        }
    }
}

/// An image gives the same bits alone as it does in the batch.
fn check_images(run: Run<'_>, together: &[f32]) {
    let (s, n) = (run.setup, run.case.shape.n);
    let case = Case { shape: ConvShape { n: 1, ..run.case.shape }, ..*run.case };
    for image in 0..n {
        let of_image = |values: &[f32]| values[values.len() / n * image..][..values.len() / n].to_vec();
        let setup = Setup {
            x: MapLayout { n: 1, ..s.x },
            y: MapLayout { n: 1, ..s.y },
            x_values: of_image(&s.x_values),
            dy_values: of_image(&s.dy_values),
            weights: s.weights.clone(),
        };
        let alone = Run { case: &case, setup: &setup, ..run }.forward(&Epilogue::default());
        assert_eq!(alone, of_image(together), "{}, {:?}, {:?}", run.isa, run.algorithm, run.case);
    }
}

/// Bias, residual and ReLU, with a residual whose layout differs from the output's.
fn check_forward_epilogue(run: Run<'_>, exact: &[Vec<f64>; 2]) {
    let s = run.setup;
    let bias = values(s.y.c, 4);
    let residual_layout = layout([s.y.n, s.y.h, s.y.w, s.y.c], 2, 3);
    let residual_values = values(s.dy_values.len(), 5);
    let residual = map(&residual_values, residual_layout);
    let [mut expected, mut magnitude] = exact.clone();
    let plane = (s.y.h * s.y.w).max(1);
    for (i, value) in expected.iter_mut().enumerate() {
        let added = f64::from(bias[i / plane % s.y.c]) + f64::from(residual_values[i]);
        magnitude[i] += 2.0;
        *value = (*value + added).max(0.0);
    }
    let residual = Some((&residual[..], residual_layout));
    let epilogue = Epilogue { bias: Some(&bias), residual, relu: true, mask: None };
    run.assert_close("epilogue", &run.forward(&epilogue), &[expected, magnitude]);
}

/// The mean and the variance of the outputs, far from zero, from the sums that were taken of them.
fn check_sums(run: Run<'_>) {
    let MapLayout { n, h, w, c, .. } = run.setup.y;
    if n == 0 {
        return;
    }
    let bias = vec![100.0; c];
    let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
    let (out, sums) = run.forward_and_sums(&epilogue, true);
    assert_eq!(out, run.forward(&epilogue), "sums change no output");
    let (mut mean, mut var) = (vec![f32::NAN; c], vec![f32::NAN; c]);
    moments(&sums, &mut mean, &mut var);
    let (mut mean64, mut var64) = (vec![0.0; c], vec![0.0; c]);
    plain::moments(&widen(&out), n, c, h * w, &mut mean64, &mut var64);
    for channel in 0..c {
        let what = format!("channel {channel}, {}, {:?}, {:?}", run.isa, run.algorithm, run.case);
        let (found, expected) = (f64::from(mean[channel]), mean64[channel]);
        assert!((found - expected).abs() <= 1e-5, "mean, {what}: found {found}, expected {expected}");
        let (found, expected) = (f64::from(var[channel]), var64[channel]);
        let close = (found - expected).abs() <= 1e-5 * expected + 1e-12;
        assert!(close, "variance, {what}: found {found}, expected {expected}");
    }
}

/// Residual and mask, in layouts that differ from the output's.
fn check_data_epilogue(run: Run<'_>, exact: &[Vec<f64>; 2]) {
    let s = run.setup;
    let residual_layout = layout([s.x.n, s.x.h, s.x.w, s.x.c], 0, 2);
    let residual = map(&s.x_values, residual_layout);
    let mask_layout = layout([s.x.n, s.x.h, s.x.w, s.x.c], 1, 0);
    let mask_values: Vec<f32> = values(s.x_values.len(), 6).into_iter().map(|x| x.max(0.0)).collect();
    let mask = map(&mask_values, mask_layout);
    let [mut expected, mut magnitude] = exact.clone();
    for (i, value) in expected.iter_mut().enumerate() {
        *value = if mask_values[i] > 0.0 { *value + f64::from(s.x_values[i]) } else { 0.0 };
        magnitude[i] += 1.0;
    }
    let (residual, mask) = (Some((&residual[..], residual_layout)), Some((&mask[..], mask_layout)));
    let epilogue = Epilogue { residual, mask, ..Epilogue::default() };
    run.assert_close("data with residual and mask", &run.backward_data(&epilogue), &[expected, magnitude]);
}

/// A map, normalised in a pass of its own.
fn normalized(isa: Isa, x: &[f32], layout: MapLayout, tables: [&[f32]; 2], relu: bool) -> Vec<f32> {
    let mut out = empty(layout);
    affine(isa, x, layout, tables[0], tables[1], None, relu, &mut out, layout);
    dense(&out, layout)
}

/// An input that is normalised on the way gives the same bits as one that has been normalised.
fn check_normalized(run: Run<'_>) {
    let (s, Run { isa, algorithm, case: Case { shape, .. }, .. }) = (run.setup, run);
    let [scale, shift] = [8, 9].map(|seed| values(s.x.c, seed));
    let x = map(&s.x_values, s.x);
    for relu in [false, true] {
        let norm = Normalization { scale: &scale, shift: &shift, relu };
        let x_values = normalized(isa, &x, s.x, [&scale, &shift], relu);
        let before = Setup { x_values, dy_values: s.dy_values.clone(), weights: s.weights.clone(), ..*s };
        let before = Run { setup: &before, ..run };
        let (forward, weights) = normalizing(run, norm);
        let what = format!("{isa}, {algorithm:?}, {shape:?}");
        assert_eq!(forward, before.forward(&Epilogue::default()), "forward, {what}");
        assert_eq!(weights, before.backward_weights(), "weights, {what}");
    }
}

/// The forward pass and the gradient of the weights of an input that is normalised on the way.
fn normalizing(run: Run<'_>, norm: Normalization<'_>) -> (Vec<f32>, Vec<f32>) {
    let (s, Run { isa, algorithm, case: Case { shape, .. }, .. }) = (run.setup, run);
    let x = bordered(&s.x_values, s.x);
    let conv = ConvForward::with_algorithm(isa, algorithm, shape, s.x, s.y).normalizing();
    let (mut packed, mut out) = (vec![f32::NAN; conv.packed_len()], empty(s.y));
    conv.pack(&s.weights, &mut packed);
    let extras = Extras { norm: Some(norm), sums: None };
    conv.run_with(&x, &packed, &Epilogue::default(), &mut out, extras);
    let conv = ConvBackwardWeights::with_algorithm(isa, algorithm, shape, s.x, s.y).normalizing();
    let (mut scratch, mut dw) = (vec![f32::NAN; conv.scratch_len()], vec![f32::NAN; s.weights.len()]);
    conv.run_with(&x, Some(norm), &map(&s.dy_values, s.y), &mut scratch, &mut dw);
    (dense(&out, s.y), dw)
}

/// The sums of a norm whose output the input was, with a ReLU behind it and without.
fn check_gradient_sums(run: Run<'_>) {
    let MapLayout { n, h, w, c, .. } = run.setup.x;
    if n == 0 {
        return;
    }
    let x_layout = layout([n, h, w, c], 1, 3);
    let x_values = values(run.setup.x_values.len(), 7);
    let x = map(&x_values, x_layout);
    let [mean, scale, shift] = [8, 9, 10].map(|seed| values(c, seed));
    let epilogue = Epilogue::default();
    let written = run.backward_data(&epilogue);
    for relu in [None, Some([&scale[..], &shift[..]])] {
        let norm = NormOutput { x: (&x, x_layout), mean: &mean, relu };
        let (found, blocks) = run.backward_data_and_sums(&epilogue, Some(&norm));
        let channel_of = |i: usize| i / (h * w) % c;
        let normalized = normalized(run.isa, &x, x_layout, [&scale, &shift], false);
        let passes = |i: usize| relu.is_none() || normalized[i] > 0.0;
        let masked: Vec<f32> =
            written.iter().enumerate().map(|(i, &dx)| if passes(i) { dx } else { 0.0 }).collect();
        assert_eq!(found, masked, "{}, {:?}, {:?}", run.isa, run.algorithm, run.case);
        let mut sums = vec![f32::NAN; 2 * c];
        norm_backward_sums(&blocks, &vec![0.5; c], &mut sums);
        let (mut expected, mut magnitude) = (vec![0.0; 2 * c], vec![0.0; 2 * c]);
        for (i, &g) in found.iter().enumerate() {
            let (channel, g) = (channel_of(i), f64::from(g));
            let weighted = g * 0.5 * (f64::from(x_values[i]) - f64::from(mean[channel]));
            for (row, value) in [g, weighted].into_iter().enumerate() {
                expected[row * c + channel] += value;
                magnitude[row * c + channel] += value.abs();
            }
        }
        for (i, &found) in sums.iter().enumerate() {
            let close = (f64::from(found) - expected[i]).abs() <= 1e-6 * magnitude[i] + 1e-30;
            assert!(close, "sum {i}, {}, {:?}: found {found}, expected {}", run.isa, run.case, expected[i]);
        }
    }
}

#[test]
fn every_pass_agrees_with_the_plain_one() {
    cases().iter().for_each(check);
}

/// Maps of 1 to 20 pixels with every remainder of the tiles of Winograd, channels around whole vectors, paddings
/// that the border covers amply, and batches of 1 to 9.
fn winograd_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in 1..=20 {
        let channels = [1 + 5 * size % 23, 1 + 7 * size % 37, 1];
        let sizes = [1 + size % 9, size, 1 + 3 * size % 11];
        let Case { shape, .. } = case(sizes, channels, [3, 3], 1, [1, 1]);
        cases.push(Case { shape, border: size % 3, gap: size % 2 * 6 });
        let Case { shape, .. } =
            case([1, size + 2, 23 - size], channels, [3, 3], 1, [size % 3, (size + 1) % 3]);
        cases.push(Case { shape, border: size % 2, gap: size % 4 });
    }
    cases.push(case([2, 3, 9], [530, 140, 1], [3, 3], 1, [1, 1]));
    cases.push(case([2, 3, 9], [140, 270, 1], [3, 3], 1, [1, 1]));
    cases
}

/// The same with stride 2: channels that share vectors and channels that fill them.
fn cell_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in 1..=20 {
        for (kernel, channels) in [(3, 1 + size % 4), (7, 1 + size % 3), (3, 16 * (1 + size % 3)), (7, 16)] {
            let channels = [channels, 1 + 7 * size % 37, 1];
            let padding = [size % kernel, kernel / 2];
            let sizes = [1 + size % 3, size.max(kernel - 2), 23 - size];
            let Case { shape, .. } = case(sizes, channels, [kernel; 2], 2, padding);
            cases.push(Case { shape, border: size % 3, gap: size % 2 * 6 });
        }
    }
    cases.push(case([2, 14, 14], [160, 140, 1], [3, 3], 2, [1, 1]));
    cases
}

#[test]
fn every_tile_of_winograd_agrees_with_the_plain_pass() {
    winograd_cases().iter().chain(&cell_cases()).for_each(check);
}

/// Every number of rows of a register tile, panels of every width, one and more chunks, strides, odd numbers of pixels, tasks
/// of such pixels alone, and maps in several layouts.
fn strassen_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in 1..=20 {
        let channels = [32 * (1 + size % 3), 32 * (1 + size % 7), 1];
        let Case { shape, .. } = case([1 + size % 3, 2 * size, 1 + size % 5], channels, [1, 1], 1, [0, 0]);
        cases.push(Case { shape, border: size % 3, gap: size % 2 * 6 });
    }
    for size in 1..=20 {
        let channels = [32 * (1 + size % 2), 32 * (1 + size % 5), 1];
        let Case { shape, .. } = case([1 + size % 4, size, 3 + size % 3], channels, [1, 1], 1, [0, 0]);
        cases.push(Case { shape, border: size % 2, gap: size % 3 * 5 });
    }
    cases.push(case([150, 1, 3], [64, 96, 1], [1, 1], 1, [0, 0]));
    cases.push(case([8, 7, 7], [64, 128, 1], [1, 1], 1, [0, 0]));
    cases.push(case([1, 8, 9], [576, 384, 1], [1, 1], 1, [0, 0]));
    cases.push(case([2, 15, 9], [96, 64, 1], [1, 1], 2, [0, 0]));
    cases.push(case([3, 26, 20], [64, 128, 1], [1, 1], 1, [0, 0]));
    cases.push(case([0, 4, 4], [32, 32, 1], [1, 1], 1, [0, 0]));
    cases
}

#[test]
fn every_tile_of_strassen_agrees_with_the_plain_pass() {
    strassen_cases().iter().for_each(check);
}

/// Root of the mean square of the error, relative to that of the result.
fn relative_error(found: &[f32], [expected, _]: &[Vec<f64>; 2]) -> f64 {
    let square = |(&found, &expected): (&f32, &f64)| (f64::from(found) - expected).powi(2);
    let error: f64 = found.iter().zip(expected).map(square).sum();
    (error / expected.iter().map(|x| x * x).sum::<f64>()).sqrt()
}

/// With these points the rounding of `f32` grows about five times; with those of the textbook, more than ten.
#[test]
fn winograd_rounds_little() {
    let square = |size, channels| case([2, size, size], [channels, channels, 1], [3, 3], 1, [1, 1]);
    let cases = [square(14, 64), square(7, 128), square(16, 32), square(32, 16)];
    let strided = [
        case([2, 28, 28], [64, 64, 1], [3, 3], 2, [1, 1]),
        case([2, 14, 14], [256, 32, 1], [3, 3], 2, [1, 1]),
        case([2, 56, 56], [3, 64, 1], [7, 7], 2, [3, 3]),
    ];
    for case in cases.into_iter().chain(strided) {
        let (s, shape) = (setup(&case), &case.shape);
        let forward = exact([&s.x_values, &s.weights], s.dy_values.len(), |x, w, out| {
            plain::conv2d(x, w, None, shape, out);
        });
        let weights = exact([&s.x_values, &s.dy_values], s.weights.len(), |x, dy, dw| {
            plain::conv2d_backward_weights(x, dy, shape, dw);
        });
        for isa in Isa::available() {
            for &algorithm in &algorithms(isa, shape)[1..] {
                let run = Run { isa, algorithm, case: &case, setup: &s };
                let forward = relative_error(&run.forward(&Epilogue::default()), &forward);
                let weights = relative_error(&run.backward_weights(), &weights);
                // The four phases of a stride make a sum of four times as many terms.
                let allowed = if case.shape.stride == [1; 2] { 2e-6 } else { 4e-6 };
                assert!(forward < allowed, "forward, {algorithm:?}, {isa}, {case:?}: {forward:e}");
                assert!(weights < 5e-6, "weights, {algorithm:?}, {isa}, {case:?}: {weights:e}");
            }
        }
    }
}

/// Both factors are sums of up to four numbers, and so are the results: rounding grows about twice.
#[test]
fn strassen_rounds_little() {
    for channels in [[64, 64], [256, 128], [512, 64]] {
        let case = case([1, 14, 14], [channels[0], channels[1], 1], [1, 1], 1, [0, 0]);
        let (s, shape) = (setup(&case), &case.shape);
        let exact = exact([&s.x_values, &s.weights], s.dy_values.len(), |x, w, out| {
            plain::conv2d(x, w, None, shape, out);
        });
        for isa in Isa::available() {
            let [direct, strassen] = [ConvAlgorithm::Direct, ConvAlgorithm::Strassen].map(|algorithm| {
                let run = Run { isa, algorithm, case: &case, setup: &s };
                relative_error(&run.forward(&Epilogue::default()), &exact)
            });
            assert!(strassen < 3.0 * direct, "{isa}, {case:?}: {strassen:e}, directly {direct:e}");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let large = [
        case([4, 28, 28], [64, 64, 1], [3, 3], 1, [1, 1]),
        case([2, 14, 14], [256, 256, 1], [3, 3], 2, [1, 1]),
        case([2, 64, 64], [3, 64, 1], [7, 7], 2, [3, 3]),
        case([64, 16, 16], [16, 16, 1], [3, 3], 1, [1, 1]),
        case([2, 7, 7], [64, 512, 1], [1, 1], 1, [0, 0]),
        case([2, 28, 28], [300, 130, 1], [1, 1], 1, [0, 0]),
        case([2, 28, 28], [320, 128, 1], [1, 1], 1, [0, 0]),
        case([1, 7, 7], [512, 512, 1], [3, 3], 1, [1, 1]),
        case([1, 14, 14], [256, 256, 1], [3, 3], 1, [1, 1]),
        case([3, 14, 14], [64, 320, 1], [3, 3], 1, [1, 1]),
    ];
    for case in large {
        let s = setup(&case);
        for isa in Isa::available() {
            for algorithm in algorithms(isa, &case.shape) {
                let run = Run { isa, algorithm, case: &case, setup: &s };
                let none = Epilogue::default();
                let what = format!("{algorithm:?}, {case:?}");
                maps::assert_same_bits(&format!("forward, {what}"), || run.forward(&none));
                maps::assert_same_bits(&format!("sums, {what}"), || run.forward_and_sums(&none, true).1);
                maps::assert_same_bits(&format!("data, {what}"), || run.backward_data(&none));
                let table = values(s.x.c, 8);
                let relu = Some([&table[..]; 2]);
                let x = map(&s.x_values, s.x);
                let norm = NormOutput { x: (&x, s.x), mean: &table, relu };
                let both = || {
                    let (dx, sums) = run.backward_data_and_sums(&none, Some(&norm));
                    [dx, sums].concat()
                };
                maps::assert_same_bits(&format!("data with sums, {what}"), both);
                let passes = [Pass::Forward, Pass::BackwardWeights];
                if passes.iter().all(|&pass| algorithm.normalizes(isa, pass, &case.shape)) {
                    let norm = Normalization { scale: &table, shift: &table, relu: true };
                    maps::assert_same_bits(&format!("normalised, {what}"), || normalizing(run, norm).0);
                    maps::assert_same_bits(&format!("normalised weights, {what}"), || {
                        normalizing(run, norm).1
                    });
                }
                maps::assert_same_bits(&format!("weights, {what}"), || run.backward_weights());
            }
        }
    }
}

#[test]
#[should_panic(expected = "border 1")]
fn a_border_too_narrow_is_refused() {
    let Case { shape, .. } = case([1, 4, 4], [3, 4, 1], [3, 3], 1, [1, 1]);
    let _ = ConvForward::new(Isa::PLAIN, &shape, layout([1, 4, 4, 3], 0, 0), layout([1, 4, 4, 4], 0, 0));
}

#[test]
#[should_panic(expected = "input holds")]
fn an_input_too_short_is_refused() {
    let case = case([1, 4, 4], [3, 4, 1], [3, 3], 1, [1, 1]);
    let s = setup(&case);
    let conv = ConvForward::new(Isa::PLAIN, &case.shape, s.x, s.y);
    let packed = vec![0.0; conv.packed_len()];
    conv.run(&vec![0.0; s.x.len() - 1], &packed, &Epilogue::default(), &mut empty(s.y));
}

fn any_case() -> impl Strategy<Value = Case> {
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    let sizes = (0..4usize, 1..12usize, 1..12usize);
    let channels = (1..5usize, 1..14usize, 1..14usize);
    let window = (pair(1..4), pair(1..4), pair(0..3), pair(1..3));
    (sizes, channels, window, 0..2usize, 0..4usize).prop_filter_map("the window fits", |parts| {
        let ((n, h, w), (groups, group_in, group_out), (kernel, stride, padding, dilation), border, gap) =
            parts;
        let (c_in, c_out) = (groups * group_in, groups * group_out);
        let shape = ConvShape { n, h, w, c_in, c_out, kernel, stride, padding, dilation, groups };
        (shape.out_h() * shape.out_w() > 0).then_some(Case { shape, border, gap })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_convolution_agrees_with_the_plain_one(case in any_case()) {
        check(&case);
    }
}
