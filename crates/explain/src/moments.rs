//! What the channels of layers look like over many images.

use residuum_graph::rewrite::Moments;
use residuum_tensor::Tensor;

use crate::error::Result;
use crate::subject::Subject;

/// Mean and variance of each channel of some layers over a batch, in the layers' order.
///
/// # Errors
/// When a layer does not exist or the network does not admit the images.
pub fn channel_moments(subject: &Subject<'_>, images: &Tensor, layers: &[String]) -> Result<Vec<Moments>> {
    Ok(subject.values(images, layers)?.iter().map(moments).collect())
}

/// Of a value `[n, c, h, w]` or `[n, c]`.
fn moments(value: &Tensor) -> Moments {
    let (channels, area) = (value.shape()[1], value.shape()[2..].iter().product::<usize>());
    let mut sums = vec![(0.0, 0.0); channels];
    for (i, map) in value.data().chunks_exact(area.max(1)).enumerate() {
        let (sum, squares) = &mut sums[i % channels];
        for &x in map {
            *sum += f64::from(x);
            *squares += f64::from(x) * f64::from(x);
        }
    }
    let count = (value.shape()[0] * area) as f64;
    let of = |(sum, squares): (f64, f64)| (sum / count, (squares / count - (sum / count).powi(2)).max(0.0));
    let (mean, variance) = sums.into_iter().map(of).unzip();
    Moments { mean, variance }
}
