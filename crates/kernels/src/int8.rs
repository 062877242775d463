//! Kernels over maps of bytes, beside the [convolution](crate::conv::ConvInt8): from floats and back, pooling, the
//! shortcut without parameters.
//!
//! For slices and shapes the rules of [`elementwise`](crate::elementwise) hold; layouts count bytes where the map holds bytes.
//! All instruction sets give the same bits. What orders bytes or moves them needs no [`Quantizer`]: the result is on
//! the grid of the input.

use residuum_tensor::{MapLayout, Quantizer};

use crate::isa::{ByteKernel, Bytes, Simd, Sink, Source};
use crate::pool::PoolShape;
use crate::rearrange::{par_rows, subsample};
use crate::{Isa, check};

/// Writes images (`[n, c, h, w]`, dense) into a map of bytes.
pub fn to_map(nchw: &[f32], grid: Quantizer, out: &mut [u8], layout: MapLayout) {
    let MapLayout { h, w, c, pitch, .. } = layout;
    check::length("nchw", nchw.len(), layout.pixels() * c);
    check::map("out", out.len(), &layout);
    par_rows(out, &layout, |n, y, row| {
        for channel in 0..c {
            let plane = &nchw[((n * c + channel) * h + y) * w..][..w];
            let places = row[channel..].iter_mut().step_by(pitch);
            places.zip(plane).for_each(|(out, &x)| *out = grid.byte(x));
        }
    });
}

/// The nearest points of a grid.
pub fn quantize(isa: Isa, x: &[f32], xl: MapLayout, grid: Quantizer, out: &mut [u8], ol: MapLayout) {
    check_alike(("x", x.len(), &xl), ("out", out.len(), &ol));
    par_rows(out, &ol, |n, y, out| {
        isa.run_bytes(Quantize { x: &x[xl.offset(n, y, 0)..], xl, grid, out, ol });
    });
}

/// What bytes stand for.
pub fn dequantize(isa: Isa, x: &[u8], xl: MapLayout, grid: Quantizer, out: &mut [f32], ol: MapLayout) {
    check_alike(("x", x.len(), &xl), ("out", out.len(), &ol));
    par_rows(out, &ol, |n, y, out| {
        isa.run_bytes(Dequantize { x: &x[xl.offset(n, y, 0)..], xl, grid, out, ol });
    });
}

/// Makes the border the byte that stands for zero.
pub fn fill_border(buffer: &mut [u8], layout: MapLayout, byte: u8) {
    check::bordered_map("buffer", buffer.len(), &layout);
    layout.for_each_border_run(|start, len| buffer[start..start + len].fill(byte));
}

/// Maximum of every window.
pub fn max_pool(isa: Isa, x: &[u8], xl: MapLayout, shape: &PoolShape, out: &mut [u8], ol: MapLayout) {
    shape.check(("x", x.len(), &xl), ("out", out.len(), &ol));
    par_rows(out, &ol, |n, y, out| isa.run_bytes(MaxPool { x, xl, shape, n, y, out, ol }));
}

/// Mean over the pixels of every image, as floats: a map of one pixel.
pub fn global_avg_pool(isa: Isa, x: &[u8], xl: MapLayout, grid: Quantizer, out: &mut [f32], ol: MapLayout) {
    check::map("x", x.len(), &xl);
    check::map("out", out.len(), &ol);
    check::shape("out", &ol, [xl.n, 1, 1, xl.c]);
    par_rows(out, &ol, |n, _, out| isa.run_bytes(Mean { x, xl, grid, n, out }));
}

/// As [`rearrange::subsample_pad`](crate::rearrange::subsample_pad), `zero` standing for zero.
pub fn subsample_pad(
    x: &[u8],
    xl: MapLayout,
    stride: usize,
    before: usize,
    zero: u8,
    out: &mut [u8],
    ol: MapLayout,
) {
    subsample(x, xl, stride, before, zero, out, ol);
}

#[track_caller]
fn check_alike(x: (&str, usize, &MapLayout), out: (&str, usize, &MapLayout)) {
    check::shape(out.0, out.2, [x.2.n, x.2.h, x.2.w, x.2.c]);
    for (what, len, layout) in [x, out] {
        check::map(what, len, layout);
    }
}

/// One row; the slices begin at its first pixel.
struct Quantize<'a> {
    x: &'a [f32],
    xl: MapLayout,
    grid: Quantizer,
    out: &'a mut [u8],
    ol: MapLayout,
}

impl ByteKernel for Quantize<'_> {
    type Output = ();

    /// What [`Quantizer::byte`] does, for the lanes of a vector.
    #[inline(always)]
    fn run<B: Bytes>(self, bytes: B) {
        let Self { x, xl, grid, out, ol } = self;
        let simd = bytes.floats();
        let (inverse, zero) = (simd.splat(grid.scale.recip()), simd.splat(grid.zero_point.into()));
        for column in 0..xl.w {
            let x = &x[column * xl.pitch..][..xl.c];
            let out = &mut out[column * ol.pitch..][..xl.c];
            for (x, out) in x.chunks(B::Floats::LANES).zip(out.chunks_mut(B::Floats::LANES)) {
                let place = simd.add(simd.mul(simd.load_part(x), inverse), zero);
                let place = simd.min(simd.max(place, simd.zero()), simd.splat(255.0));
                let count = out.len();
                // SAFETY: `count` is the length; the reference is exclusive.
                unsafe { bytes.store_bytes_at(place, Sink::new(out), 0, count) };
            }
        }
    }
}

/// One row; the slices begin at its first pixel.
struct Dequantize<'a> {
    x: &'a [u8],
    xl: MapLayout,
    grid: Quantizer,
    out: &'a mut [f32],
    ol: MapLayout,
}

impl ByteKernel for Dequantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<B: Bytes>(self, bytes: B) {
        let Self { x, xl, grid, out, ol } = self;
        let simd = bytes.floats();
        let (scale, zero) = (simd.splat(grid.scale), simd.splat(grid.zero_point.into()));
        for column in 0..xl.w {
            let x = &x[column * xl.pitch..][..xl.c];
            let out = &mut out[column * ol.pitch..][..xl.c];
            for (x, out) in x.chunks(B::Floats::LANES).zip(out.chunks_mut(B::Floats::LANES)) {
                // SAFETY: the count is the length.
                let value = unsafe { bytes.load_bytes_at(Source::new(x), 0, x.len()) };
                simd.store_part(simd.mul(scale, simd.sub(value, zero)), out);
            }
        }
    }
}

/// One row of the output. The loops are over bytes, of which the compiler makes vectors.
struct MaxPool<'a> {
    x: &'a [u8],
    xl: MapLayout,
    shape: &'a PoolShape,
    n: usize,
    y: usize,
    out: &'a mut [u8],
    ol: MapLayout,
}

impl ByteKernel for MaxPool<'_> {
    type Output = ();

    #[inline(always)]
    fn run<B: Bytes>(self, _: B) {
        let Self { x, xl, shape, n, y, out, ol } = self;
        for column in 0..ol.w {
            let out = &mut out[column * ol.pitch..][..ol.c];
            let mut is_first = true;
            for row in shape.rows(y) {
                for other in shape.columns(column) {
                    let x = &x[xl.offset(n, row, other)..][..out.len()];
                    if is_first {
                        out.copy_from_slice(x);
                    } else {
                        for (out, &x) in out.iter_mut().zip(x) {
                            *out = (*out).max(x);
                        }
                    }
                    is_first = false;
                }
            }
        }
    }
}

/// The means of one image.
struct Mean<'a> {
    x: &'a [u8],
    xl: MapLayout,
    grid: Quantizer,
    n: usize,
    out: &'a mut [f32],
}

impl ByteKernel for Mean<'_> {
    type Output = ();

    /// Sums of bytes are exact.
    #[inline(always)]
    fn run<B: Bytes>(self, _: B) {
        let Self { x, xl, grid, n, out } = self;
        let mut sums = vec![0u32; xl.c];
        for y in 0..xl.h {
            for column in 0..xl.w {
                let x = &x[xl.offset(n, y, column)..][..xl.c];
                for (sum, &x) in sums.iter_mut().zip(x) {
                    *sum += u32::from(x);
                }
            }
        }
        let (share, zero) = (f64::from(grid.scale) / (xl.h * xl.w) as f64, f64::from(grid.zero_point));
        let zeros = zero * (xl.h * xl.w) as f64;
        for (out, &sum) in out.iter_mut().zip(&sums) {
            *out = (share * (f64::from(sum) - zeros)) as f32;
        }
    }
}
