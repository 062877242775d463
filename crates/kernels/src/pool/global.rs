//! The mean of every channel of every image.

use residuum_tensor::MapLayout;

use crate::isa::Source;
use crate::norm::ColumnSums;
use crate::rearrange::par_rows;
use crate::sweep::Sweep;
use crate::{Isa, check};

/// Mean over the pixels of every image: a map of one pixel.
pub fn global_avg_pool(isa: Isa, x: &[f32], xl: MapLayout, out: &mut [f32], ol: MapLayout) {
    check::map("x", x.len(), &xl);
    check::map("out", out.len(), &ol);
    check::shape("out", &ol, [xl.n, 1, 1, xl.c]);
    let (sweep, pixels) = (Sweep::new(isa, [xl]), xl.h * xl.w);
    par_rows(out, &ol, |n, _, row| {
        let sums = sweep.reduce_pixels::<1>(ColumnSums { x: Source::new(x) }, n * pixels..(n + 1) * pixels);
        row.iter_mut().zip(sums).for_each(|(out, sum)| *out = (sum / pixels as f64) as f32);
    });
}

/// Gradient of [`global_avg_pool`].
pub fn global_avg_pool_backward(dy: &[f32], dyl: MapLayout, dx: &mut [f32], dxl: MapLayout) {
    check::map("dy", dy.len(), &dyl);
    check::map("dx", dx.len(), &dxl);
    check::shape("dy", &dyl, [dxl.n, 1, 1, dxl.c]);
    let pixels = (dxl.h * dxl.w) as f32;
    par_rows(dx, &dxl, |n, _, row| {
        let dy = &dy[dyl.offset(n, 0, 0)..][..dyl.c];
        let shares: Vec<f32> = dy.iter().map(|dy| dy / pixels).collect();
        for pixel in row.chunks_mut(dxl.pitch).take(dxl.w) {
            pixel[..dxl.c].copy_from_slice(&shares);
        }
    });
}
