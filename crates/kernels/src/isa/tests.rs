#![allow(clippy::float_cmp, reason = "the numbers are exact")]

use super::*;

/// Runs every operation on vectors whose lanes differ, and returns what each lane gave.
struct Operations<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Kernel for Operations<'_> {
    type Output = Vec<Vec<f32>>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<Vec<f32>> {
        let (a, b, three) = (simd.load(self.a), simd.load(self.b), simd.splat(3.0));
        let results = [
            simd.add(a, b),
            simd.sub(a, b),
            simd.mul(a, b),
            simd.div(a, b),
            simd.sqrt(simd.mul(b, b)),
            simd.fma(a, b, three),
            simd.max(a, b),
            simd.min(a, b),
            simd.select_gt(a, b, three, a),
            simd.relu(a),
            doubles(simd, a, b),
        ];
        let mut out = Vec::new();
        for v in results {
            let mut lanes = vec![0.0; S::LANES];
            simd.store(v, &mut lanes);
            out.push(lanes);
        }
        out.push(vec![simd.sum(a)]);
        out
    }
}

/// `a * b + b / 3` in doubles, rounded once.
#[inline(always)]
fn doubles<S: Simd>(simd: S, a: S::V, b: S::V) -> S::V {
    let (a, b, third) = (simd.widen(a), simd.widen(b), simd.splat_double(1.0 / 3.0));
    simd.narrow([0, 1].map(|half| simd.fma_double(a[half], b[half], simd.mul_double(b[half], third))))
}

struct Parts<'a> {
    src: &'a [f32],
    dst: &'a mut [f32],
}

impl Kernel for Parts<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let v = simd.load_part(self.src);
        simd.store_part(v, self.dst);
        simd.sum(v)
    }
}

/// Turns a part of a matrix of rows of 20 floats.
struct Turn<'a> {
    src: &'a [f32],
    rows: usize,
    count: usize,
}

impl Kernel for Turn<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<f32> {
        let mut out = vec![-1.0; 20 * self.count];
        // SAFETY: the caller gives enough rows of 20 floats, and there is as much room.
        let square = unsafe { Square::gather(simd, Source::new(self.src), 0, 20, self.rows, self.count) };
        // SAFETY: the same.
        unsafe { square.store(simd, Sink::new(&mut out), 0, 20, self.count, self.rows) };
        out
    }
}

#[test]
fn rows_become_columns() {
    let src: Vec<f32> = (0..20 * 16).map(|i| i as f32).collect();
    for isa in Isa::available() {
        for rows in 0..=isa.lanes() {
            for count in 0..=isa.lanes() {
                let found = isa.run(Turn { src: &src[..20 * rows], rows, count });
                for (at, found) in found.into_iter().enumerate() {
                    let (row, column) = (at % 20, at / 20);
                    let expected = if row < rows { src[20 * row + column] } else { -1.0 };
                    assert_eq!(found, expected, "{isa}: {rows} rows of {count}, row {row}, column {column}");
                }
            }
        }
    }
}

struct Nonzero<'a>(&'a [f32]);

impl Kernel for Nonzero<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> u64 {
        simd.nonzero(simd.load(self.0))
    }
}

#[test]
fn zeros_of_both_signs_are_found_and_nothing_else() {
    let values = [0.0, 1.0, -0.0, f32::NAN, -2.0, 0.0, f32::MIN_POSITIVE, f32::INFINITY].repeat(2);
    for isa in Isa::available() {
        let expected = 0b1101_1010_1101_1010 & ((1 << isa.lanes()) - 1);
        assert_eq!(isa.run(Nonzero(&values)), expected, "{isa}");
    }
}

#[test]
fn every_operation_agrees_with_scalar_arithmetic() {
    let a: Vec<f32> = (0..16).map(|i| i as f32 * 1.5 - 7.0).collect();
    let b: Vec<f32> = (0..16).map(|i| 4.0 - i as f32).map(|x| if x == 0.0 { 0.5 } else { x }).collect();
    for isa in Isa::available() {
        let results = isa.run(Operations { a: &a, b: &b });
        for lane in 0..isa.lanes() {
            let (a, b) = (a[lane], b[lane]);
            let expected = [
                a + b,
                a - b,
                a * b,
                a / b,
                (b * b).sqrt(),
                a * b + 3.0,
                a.max(b),
                a.min(b),
                if a > b { 3.0 } else { a },
                a.max(0.0),
                (f64::from(a) * f64::from(b) + f64::from(b) * (1.0 / 3.0)) as f32,
            ];
            let found: Vec<f32> = results[..11].iter().map(|lanes| lanes[lane]).collect();
            assert_eq!(found, expected, "{isa}, lane {lane}");
        }
        assert_eq!(results[11], [a[..isa.lanes()].iter().sum::<f32>()], "{isa}");
    }
}

#[test]
fn parts_touch_exactly_the_floats_they_should() {
    let src: Vec<f32> = (1..40).map(|i| i as f32).collect();
    for isa in Isa::available() {
        for count in 0..=isa.lanes() {
            let mut dst = vec![-1.0; isa.lanes() + 3];
            let sum = isa.run(Parts { src: &src[..count], dst: &mut dst[..count] });
            assert_eq!(sum, (count * (count + 1) / 2) as f32, "{isa}");
            assert_eq!(dst[..count], src[..count], "{isa}");
            assert!(dst[count..].iter().all(|&x| x == -1.0), "{isa}: wrote past {count}");
        }
    }
}

#[test]
fn relu_lets_nan_through() {
    let nan = [f32::NAN; 16];
    for isa in Isa::available() {
        assert!(isa.run(Operations { a: &nan, b: &nan })[9].iter().all(|x| x.is_nan()), "{isa}");
    }
}

#[test]
fn a_forced_instruction_set_is_given_or_refused_by_name() {
    assert_eq!(Isa::from_name("plain"), Ok(Isa::PLAIN));
    assert_eq!(Isa::available().last(), Some(&Isa::PLAIN));
    let error = Isa::from_name("sse").unwrap_err();
    assert!(error.to_string().contains("plain, avx2 or avx512"), "{error}");
    for name in ["avx2", "avx512"] {
        match Isa::from_name(name) {
            Ok(isa) => assert_eq!(isa.name(), name),
            Err(error) => assert!(error.to_string().contains("available: "), "{error}"),
        }
    }
}

#[test]
fn flush_to_zero_holds_for_its_thread() {
    let half_of_smallest = |x: f32| std::hint::black_box(x) * std::hint::black_box(0.5);
    let flushed = std::thread::spawn(move || {
        set_flush_to_zero();
        half_of_smallest(f32::MIN_POSITIVE)
    });
    let flushed = flushed.join().unwrap();
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        assert_eq!(flushed, 0.0);
    }
    assert!(half_of_smallest(f32::MIN_POSITIVE) > 0.0, "the mode belongs to the thread that set it");
}
