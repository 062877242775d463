//! The mean of every channel of every image.

use rayon::prelude::*;
use residuum_tensor::MapLayout;

use crate::isa::Source;
use crate::norm::ColumnSums;
use crate::rearrange::par_rows;
use crate::sweep::Sweep;
use crate::{Isa, check};

/// Mean over the pixels of every image: `out` becomes `[n, c]`, dense.
pub fn global_avg_pool(isa: Isa, x: &[f32], layout: MapLayout, out: &mut [f32]) {
    check::map("x", x.len(), &layout);
    check::length("out", out.len(), layout.n * layout.c);
    if layout.is_empty() {
        return;
    }
    let (sweep, pixels) = (Sweep::new(isa, [layout]), layout.h * layout.w);
    out.par_chunks_exact_mut(layout.c).enumerate().for_each(|(n, out)| {
        let sums = sweep.reduce_pixels::<1>(ColumnSums { x: Source::new(x) }, n * pixels..(n + 1) * pixels);
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = (sum / pixels as f64) as f32);
    });
}

/// Gradient of [`global_avg_pool`]: `dy` is `[n, c]`, dense.
pub fn global_avg_pool_backward(dy: &[f32], dx: &mut [f32], layout: MapLayout) {
    check::length("dy", dy.len(), layout.n * layout.c);
    check::map("dx", dx.len(), &layout);
    let pixels = (layout.h * layout.w) as f32;
    let shares: Vec<f32> = dy.iter().map(|dy| dy / pixels).collect();
    par_rows(dx, &layout, |n, _, row| {
        for pixel in row.chunks_mut(layout.pitch).take(layout.w) {
            pixel[..layout.c].copy_from_slice(&shares[n * layout.c..][..layout.c]);
        }
    });
}
