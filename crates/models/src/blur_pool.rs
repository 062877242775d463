//! The networks of Zhang, "Making convolutional networks shift-invariant again" (arXiv 1904.11486, 2019).
//!
//! A fixed low-pass filter comes before every subsampling (§3.2): max pooling 3×3 with stride 2 becomes max
//! pooling with stride 1 and a blur with stride 2; a strided 3×3 convolution becomes one with stride 1, batch
//! norm, ReLU and a blur. There are no parameters. Names are timm's (`aa`), in whose nets the 1×1
//! projections keep their stride.

use residuum_graph::{Blur, Builder, GraphError, MaxPool, NodeId};

use crate::bag_of_tricks::Stem;
use crate::kin::{Block, Branch, ImageNet};

/// Side of timm's filter: 1 2 1.
pub(crate) const SIZE: usize = 3;

/// Blurs and subsamples.
pub(crate) fn blur(
    g: &mut Builder,
    name: &str,
    x: NodeId,
    size: usize,
    stride: usize,
) -> Result<NodeId, GraphError> {
    g.blur(name, x, Blur { size, stride })
}

/// Max pooling 3×3 of every pixel, of which a blur keeps every second.
pub(crate) fn blurred_max_pool(
    g: &mut Builder,
    name: &str,
    x: NodeId,
    size: usize,
) -> Result<NodeId, GraphError> {
    let window = MaxPool { kernel: [3; 2], stride: [1; 2], padding: [1; 2], ceil: false };
    let x = g.max_pool(&format!("{name}.0"), x, window)?;
    blur(g, &format!("{name}.1"), x, size, 2)
}

/// A net with filters of side `size`.
pub const fn blurred(blocks: [usize; 4], branch: Branch, size: usize) -> ImageNet {
    let block = Block { blur: Some(size), zero_init: true, ..Block::new(branch) };
    ImageNet { blocks, stem: Stem::Single, block }
}
