//! Gates, masks and concatenation.

use super::Real;
use crate::check;
use crate::random::Draws;

/// `out = factor · x + offset`
pub fn scale<T: Real>(x: &[T], factor: T, offset: T, out: &mut [T]) {
    check::length("out", out.len(), x.len());
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = factor * x + offset);
}

/// `out = x · gate`: `x` is `[planes, hw]`, the gate `[planes, hw]` or `[planes]`.
pub fn mul<T: Real>(x: &[T], gate: &[T], planes: usize, out: &mut [T]) {
    check::length("out", out.len(), x.len());
    let share = check_gate(gate.len(), x.len(), planes);
    for (index, (out, &x)) in out.iter_mut().zip(x).enumerate() {
        *out = x * gate[index / share];
    }
}

/// Gradient of the gate of [`mul`].
pub fn mul_backward<T: Real>(dy: &[T], x: &[T], planes: usize, dgate: &mut [T]) {
    check::length("dy", dy.len(), x.len());
    let share = check_gate(dgate.len(), x.len(), planes);
    dgate.fill(T::ZERO);
    for (index, (&dy, &x)) in dy.iter().zip(x).enumerate() {
        dgate[index / share] += dy * x;
    }
}

/// Elements of the map that share an element of the gate.
#[track_caller]
fn check_gate(gate: usize, map: usize, planes: usize) -> usize {
    check::length("gate", gate, if gate == map { map } else { planes });
    map.checked_div(gate).unwrap_or(1)
}

/// `out = 1 / (1 + exp(-x))`
pub fn sigmoid<T: Real>(x: &[T], out: &mut [T]) {
    check::length("out", out.len(), x.len());
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = T::ONE / (T::ONE + (-x).exp()));
}

/// Gradient of [`sigmoid`] from its output `y`.
pub fn sigmoid_backward<T: Real>(dy: &[T], y: &[T], dx: &mut [T]) {
    check::length("y", y.len(), dy.len());
    check::length("dx", dx.len(), dy.len());
    for (dx, (&dy, &y)) in dx.iter_mut().zip(dy.iter().zip(y)) {
        *dx = dy * y * (T::ONE - y);
    }
}

/// Inverted dropout of `x` (`[n, c, hw]`); its own gradient.
pub fn dropout<T: Real>(
    draws: Draws,
    stream: u32,
    rate: f32,
    x: &[T],
    n: usize,
    c: usize,
    hw: usize,
    out: &mut [T],
) {
    check::length("x", x.len(), n * c * hw);
    check::length("out", out.len(), x.len());
    let scale = T::ONE / (T::ONE - T::from_f64(rate.into()));
    for (index, (out, &x)) in out.iter_mut().zip(x).enumerate() {
        let (image, channel, pixel) = (index / (c * hw), index / hw % c, index % hw);
        let kept = draws.keeps(stream, image * hw + pixel, channel, rate);
        *out = if kept { x * scale } else { T::ZERO };
    }
}

/// `out = factors[image] · x`, zero where the factor is: `x` is `[n, …]`.
pub fn scale_images<T: Real>(x: &[T], factors: &[T], out: &mut [T]) {
    check::length("out", out.len(), x.len());
    let image = x.len() / factors.len().max(1);
    for (index, (out, &x)) in out.iter_mut().zip(x).enumerate() {
        let factor = factors[index / image];
        *out = if factor == T::ZERO { T::ZERO } else { factor * x };
    }
}

/// Channels of all maps, one map after the other: each is `[n, c, hw]` with its own `c`.
pub fn concat<T: Real>(maps: &[(&[T], usize)], n: usize, hw: usize, out: &mut [T]) {
    let channels: usize = maps.iter().map(|(_, c)| c).sum();
    check::length("out", out.len(), n * channels * hw);
    let mut start = 0;
    for &(map, c) in maps {
        check::length("map", map.len(), n * c * hw);
        for n in 0..n {
            let out = &mut out[(n * channels + start) * hw..][..c * hw];
            out.copy_from_slice(&map[n * c * hw..][..c * hw]);
        }
        start += c;
    }
}

/// The channels from `start` on of `x` (`[n, c, hw]`), as many as `out` has.
pub fn slice_channels<T: Real>(x: &[T], n: usize, c: usize, hw: usize, start: usize, out: &mut [T]) {
    check::length("x", x.len(), n * c * hw);
    let image = out.len() / n.max(1);
    for (n, out) in out.chunks_exact_mut(image.max(1)).enumerate() {
        out.copy_from_slice(&x[(n * c + start) * hw..][..image]);
    }
}
