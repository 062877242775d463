//! Kernels on bytes against sums of whole numbers and single roundings, on every instruction set of the CPU: the same
//! bits everywhere, for any number of threads.

#[path = "support/cases.rs"]
mod cases;
#[path = "support/maps.rs"]
mod maps;

use cases::{Case, case};
use maps::{layout, places};
use residuum_kernels::conv::{ByteFilters, ByteFinish, ConvInt8, FloatFinish, SLACK};
use residuum_kernels::{ConvShape, Isa, PoolShape, int8, plain};
use residuum_tensor::{MapLayout, Quantizer};

/// Bytes of every size, the same in every run.
fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u32
    };
    // A fourth of them are the ends of the range, where saturation would show.
    (0..count)
        .map(|_| if next() % 4 == 0 { 255 * (next() % 2) as u8 } else { (next() & 255) as u8 })
        .collect()
}

/// A map that holds `nchw`, `zero` in its border, and junk between pixels and behind.
fn map(nchw: &[u8], layout: MapLayout, zero: u8) -> Vec<u8> {
    let mut map = bytes(layout.len() + SLACK, 77);
    for pixel in map.chunks_mut(layout.pitch) {
        let channels = layout.c.min(pixel.len());
        pixel[..channels].fill(zero);
    }
    places(layout).enumerate().for_each(|(dense, at)| map[at] = nchw[dense]);
    map
}

fn dense<T: Copy>(map: &[T], layout: MapLayout) -> Vec<T> {
    places(layout).map(|at| map[at]).collect()
}

/// Remainders of every tile, sizes of one, and every kind of window.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for c in 1..=20 {
        cases.push(case([1, 5, 4], [3, c, 1], [3, 3], 1, [1, 1]));
        cases.push(case([2, 1, c], [c, 33, 1], [1, 1], 1, [0, 0]));
    }
    for c in [24, 31, 32, 33, 48, 64, 65, 130] {
        cases.push(case([1, 4, 5], [c, c, 1], [3, 3], 1, [1, 1]));
        cases.push(case([3, 3, 3], [7, c, 1], [1, 1], 2, [0, 0]));
    }
    cases.extend([
        case([2, 19, 17], [3, 64, 1], [7, 7], 2, [3, 3]),
        case([1, 9, 9], [16, 16, 1], [3, 3], 2, [1, 1]),
        case([2, 8, 8], [16, 32, 1], [1, 1], 2, [0, 0]),
        case([1, 6, 9], [5, 6, 1], [3, 1], 1, [1, 0]),
        case([1, 6, 9], [5, 6, 1], [1, 5], 1, [0, 2]),
        case([1, 1, 1], [512, 1000, 1], [1, 1], 1, [0, 0]),
        case([1, 2, 2], [300, 18, 1], [3, 3], 1, [1, 1]),
        case([2, 6, 5], [12, 20, 4], [3, 3], 1, [1, 1]),
        case([2, 6, 5], [64, 128, 2], [3, 3], 2, [1, 1]),
        case([1, 6, 5], [9, 9, 9], [3, 3], 1, [1, 1]),
        case([3, 40, 40], [16, 16, 1], [3, 3], 1, [1, 1]),
        case([5, 14, 14], [256, 64, 1], [1, 1], 1, [0, 0]),
        case([0, 4, 4], [3, 5, 1], [3, 3], 1, [1, 1]),
    ]);
    let mut dilated = case([2, 9, 9], [6, 8, 1], [3, 3], 1, [2, 2]);
    dilated.shape.dilation = [2, 2];
    cases.push(dilated);
    let loose: Vec<Case> =
        cases.iter().step_by(3).map(|case| Case { shape: case.shape, border: 1, gap: 5 }).collect();
    cases.extend(loose);
    cases
}

/// A convolution with all that goes into it, in dense NCHW.
struct Setup {
    shape: ConvShape,
    x: MapLayout,
    out: MapLayout,
    zero: u8,
    x_map: Vec<u8>,
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<f32>,
    residual: Vec<u8>,
    /// The sums in whole numbers, biases included.
    sums: Vec<i32>,
}

fn setup(case: &Case) -> Setup {
    let shape = case.shape;
    let ConvShape { n, h, w, c_in, c_out, .. } = shape;
    let x = layout([n, h, w, c_in], shape.input_border() + case.border, case.gap);
    let out = layout([n, shape.out_h(), shape.out_w(), c_out], case.border, case.gap);
    let zero = bytes(1, (c_in + c_out) as u64)[0];
    let values = bytes(x.pixels() * c_in, 1);
    let weights: Vec<i8> = bytes(shape.weight_len(), 2).into_iter().map(u8::cast_signed).collect();
    let bias: Vec<i32> = (0..c_out as i32).map(|c| (c - 3) * 1021).collect();
    let steps = (shape.weight_len() / c_out) as f32;
    let multipliers = (0..c_out).map(|c| (1 + c % 7) as f32 / (30_000.0 * steps.sqrt())).collect();
    // Whole numbers of this size are exact in f64.
    let centred: Vec<f64> = values.iter().map(|&q| f64::from(q) - f64::from(zero)).collect();
    let wide: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
    let start: Vec<f64> = bias.iter().map(|&b| f64::from(b)).collect();
    let mut sums = vec![0.0; out.pixels() * c_out];
    plain::conv2d(&centred, &wide, Some(&start), &shape, &mut sums);
    Setup {
        shape,
        x,
        out,
        zero,
        x_map: map(&values, x, zero),
        weights,
        bias,
        multipliers,
        residual: bytes(out.pixels() * c_out, 3),
        sums: sums.into_iter().map(|sum| sum as i32).collect(),
    }
}

impl Setup {
    fn conv(&self, isa: Isa) -> ConvInt8 {
        let filters = ByteFilters {
            weights: &self.weights,
            bias: &self.bias,
            multipliers: &self.multipliers,
            zero_point: self.zero,
        };
        ConvInt8::new(isa, &self.shape, self.x, self.out, &filters).unwrap()
    }

    /// Sums times multipliers, in the order of dense NCHW.
    fn products(&self) -> Vec<f32> {
        let area = (self.shape.out_h() * self.shape.out_w()).max(1);
        let channel = |index: usize| index / area % self.shape.c_out;
        self.sums.iter().enumerate().map(|(i, &sum)| sum as f32 * self.multipliers[channel(i)]).collect()
    }
}

#[test]
fn sums_are_those_of_whole_numbers_and_are_rounded_once() {
    for case in cases() {
        let setup = setup(&case);
        let residual = map(&setup.residual, setup.out, 9);
        let (factor, offset) = (0.37, 41.3);
        for isa in Isa::available() {
            let conv = setup.conv(isa);
            for (with_residual, least) in [(false, 0), (true, 0), (true, 100)] {
                let finish = ByteFinish {
                    residual: with_residual.then_some((&residual[..], setup.out, factor)),
                    offset,
                    least,
                };
                let mut out = map(&setup.residual, setup.out, 7);
                let before = out.clone();
                conv.run_to_bytes(&setup.x_map, &finish, &mut out);
                let expected: Vec<u8> = setup
                    .products()
                    .iter()
                    .zip(&setup.residual)
                    .map(|(&product, &other)| {
                        let sum = if with_residual { product + f32::from(other) * factor } else { product };
                        (sum + offset).clamp(least.into(), 255.0).round_ties_even() as u8
                    })
                    .collect();
                let what = format!("{isa}, {:?}, residual {with_residual}", case.shape);
                assert!(dense(&out, setup.out) == expected, "{what}");
                let mut restored = out;
                places(setup.out).for_each(|at| restored[at] = before[at]);
                assert!(restored == before, "{what}: written outside of the pixels");
            }
        }
    }
}

#[test]
fn sums_as_floats() {
    for case in cases().iter().step_by(2) {
        let setup = setup(case);
        let residual: Vec<f32> =
            map(&setup.residual, setup.out, 0).iter().map(|&x| f32::from(x) - 100.0).collect();
        for isa in Isa::available() {
            let conv = setup.conv(isa);
            let mut out = vec![0.0; setup.out.len()];
            let finish = FloatFinish { residual: Some((&residual, setup.out)), relu: true };
            conv.run_to_floats(&setup.x_map, &finish, &mut out);
            let expected: Vec<u32> = setup
                .products()
                .iter()
                .zip(dense(&residual, setup.out))
                .map(|(product, other)| (product + other).max(0.0).to_bits())
                .collect();
            let found: Vec<u32> = dense(&out, setup.out).into_iter().map(f32::to_bits).collect();
            assert!(found == expected, "{isa}, {:?}", case.shape);
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let setup = setup(&case([3, 30, 30], [32, 70, 1], [3, 3], 1, [1, 1]));
    for isa in Isa::available() {
        let conv = setup.conv(isa);
        let results = [1, 2, 3, 5].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = vec![0; setup.out.len()];
            pool.install(|| conv.run_to_bytes(&setup.x_map, &ByteFinish::default(), &mut out));
            out
        });
        assert!(results.iter().all(|result| *result == results[0]));
    }
}

#[test]
fn floats_become_bytes_and_bytes_floats() {
    let grid = Quantizer { scale: 0.021, zero_point: 117 };
    for (border, gap) in [(0, 0), (1, 3)] {
        let (xl, ol) = (layout([2, 3, 4, 37], 0, gap), layout([2, 3, 4, 37], border, 0));
        let values: Vec<f32> = bytes(xl.len(), 5)
            .iter()
            .enumerate()
            .map(|(i, &x)| f32::from(x) * 0.03 - (i % 9) as f32)
            .collect();
        for isa in Isa::available() {
            let mut out = vec![0; ol.len()];
            int8::quantize(isa, &values, xl, grid, &mut out, ol);
            let expected: Vec<u8> = dense(&values, xl).into_iter().map(|x| grid.byte(x)).collect();
            assert_eq!(dense(&out, ol), expected, "{isa}");
            let mut back = vec![0.0; xl.len()];
            int8::dequantize(isa, &out, ol, grid, &mut back, xl);
            let numbers: Vec<f32> = expected.iter().map(|&byte| grid.number(byte)).collect();
            assert_eq!(dense(&back, xl), numbers, "{isa}");
        }
    }
    let images: Vec<f32> = (0..2 * 3 * 4 * 5).map(|i| i as f32 * 0.05 - 2.0).collect();
    let ol = layout([2, 4, 5, 3], 1, 0);
    let mut out = vec![9; ol.len()];
    int8::to_map(&images, grid, &mut out, ol);
    int8::fill_border(&mut out, ol, 117);
    assert_eq!(dense(&out, ol), images.iter().map(|&x| grid.byte(x)).collect::<Vec<u8>>());
    assert_eq!((out[0], out[ol.len() - 1]), (117, 117));
}

#[test]
fn pools_and_the_shortcut_move_bytes() {
    let (n, h, w, c) = (2, 7, 6, 37);
    let xl = layout([n, h, w, c], 1, 2);
    let values = bytes(n * h * w * c, 8);
    let x = map(&values, xl, 50);
    let wide: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
    let shape = PoolShape { n, h, w, c, kernel: [3; 2], stride: [2; 2], padding: [1; 2], ceil: false };
    let ol = layout([n, shape.out_h(), shape.out_w(), c], 0, 1);
    let mut expected = vec![0.0; ol.pixels() * c];
    plain::max_pool(&wide, &shape, &mut expected);
    let grid = Quantizer { scale: 0.5, zero_point: 50 };
    for isa in Isa::available() {
        let mut out = vec![0; ol.len()];
        int8::max_pool(isa, &x, xl, &shape, &mut out, ol);
        let found: Vec<f64> = dense(&out, ol).into_iter().map(f64::from).collect();
        assert!(found == expected, "{isa}");

        let one = layout([n, 1, 1, c], 0, 0);
        let mut means = vec![0.0; one.len()];
        int8::global_avg_pool(isa, &x, xl, grid, &mut means, one);
        for (mean, plane) in means.iter().zip(wide.chunks(h * w)) {
            let expected = 0.5 * (plane.iter().sum::<f64>() / (h * w) as f64 - 50.0);
            assert!((f64::from(*mean) - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{isa}");
        }
    }
    let ol = layout([n, 4, 3, c + 10], 0, 0);
    let mut out = vec![0; ol.len()];
    int8::subsample_pad(&x, xl, 2, 5, 50, &mut out, ol);
    let pixel = &out[ol.offset(1, 2, 1)..][..c + 10];
    assert!(pixel[..5].iter().chain(&pixel[c + 5..]).all(|&byte| byte == 50));
    assert_eq!(pixel[5..c + 5], x[xl.offset(1, 4, 2)..][..c]);
}
