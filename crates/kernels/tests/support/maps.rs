//! Maps for tests: values by a fixed generator, borders and gaps full of not-a-number.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::float_cmp, reason = "infinities are equal or not")]

use residuum_tensor::MapLayout;

/// Values between -1 and 1, the same in every run.
pub(crate) fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32) / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

pub(crate) fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}

/// A layout with these images, rows, columns and channels.
pub(crate) fn layout([n, h, w, c]: [usize; 4], border: usize, gap: usize) -> MapLayout {
    MapLayout { pitch: c + gap, ..MapLayout::new(n, h, w, c, border) }
}

/// Shapes `[n, h, w, c]` with every kind of channel remainder.
pub(crate) fn shapes() -> Vec<[usize; 4]> {
    let mut shapes =
        vec![[3, 1, 1, 5], [1, 1, 1, 1], [2, 7, 6, 64], [1, 3, 2, 1000], [2, 2, 3, 71], [1, 20, 400, 3]];
    shapes.extend([1, 3, 7, 8, 16, 20, 64].map(|c| [2, 5, 4, c]));
    shapes
}

/// Pairs of (border, gap) for an input and an output.
pub(crate) const FORMS: [[(usize, usize); 2]; 5] =
    [[(0, 0), (0, 0)], [(1, 0), (1, 0)], [(0, 0), (2, 0)], [(1, 3), (0, 0)], [(0, 9), (1, 5)]];

/// A map that holds `nchw`, with not-a-number everywhere else.
pub(crate) fn map(nchw: &[f32], layout: MapLayout) -> Vec<f32> {
    let mut map = empty(layout);
    places(layout).zip(nchw).for_each(|(at, &value)| map[at] = value);
    map
}

/// A map of nothing but not-a-number.
pub(crate) fn empty(layout: MapLayout) -> Vec<f32> {
    vec![f32::NAN; layout.len()]
}

/// The values of a map in dense NCHW; everything else has to be not-a-number still.
pub(crate) fn dense(map: &[f32], layout: MapLayout) -> Vec<f32> {
    let mut outside = vec![true; map.len()];
    let mut nchw = vec![0.0; layout.pixels() * layout.c];
    for (value, at) in nchw.iter_mut().zip(places(layout)) {
        *value = map[at];
        outside[at] = false;
    }
    let touched = map.iter().zip(&outside).position(|(x, &outside)| outside && !x.is_nan());
    assert_eq!(touched, None, "written outside of the pixels of {layout:?}");
    nchw
}

/// The places in a map of the elements of dense NCHW.
pub(crate) fn places(l: MapLayout) -> impl Iterator<Item = usize> {
    let images = (0..l.n).flat_map(move |n| (0..l.c).map(move |c| (n, c)));
    images.flat_map(move |(n, c)| (0..l.h).flat_map(move |y| (0..l.w).map(move |x| l.offset(n, y, x) + c)))
}

/// Asserts that every value is within `tolerance` of the expected one, relative to the larger of it and 1.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        let agrees = error <= tolerance * expected.abs().max(1.0) || f64::from(found) == expected;
        assert!(agrees, "{what}, element {index}: found {found}, expected {expected}");
    }
}

/// The results of `run` in pools of one, two, three and five threads have to be the same bits.
#[track_caller]
pub(crate) fn assert_same_bits(what: &str, run: impl Fn() -> Vec<f32> + Sync) {
    let results = [1, 2, 3, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        pool.install(&run).into_iter().map(f32::to_bits).collect::<Vec<_>>()
    });
    assert!(results.iter().all(|bits| *bits == results[0]), "{what}: bits depend on threads");
}
