//! The networks of He, Zhang, Zhang, Zhang, Xie and Li, "Bag of tricks for image classification with
//! convolutional neural networks" (arXiv 1812.01187, 2018), and two that timm adds.
//!
//! The letters of §4.1: B has the stride in the 3×3; C replaces the 7×7 by three 3×3; D averages before the
//! projection instead of leaving out three pixels of four. Timm's S is C with a wider stem, T is D with a
//! tiered one. Names and start are timm's: `conv1.0`, `conv1.3`, `conv1.6`; `downsample.1`, `downsample.2`.

use residuum_graph::{AvgPool, Builder, GraphError, MaxPool, NodeId};

use crate::kin::{Block, Branch, ImageNet, Projection, conv};

/// The layers before the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// A 7×7 convolution of 64 channels with stride 2.
    Single,
    /// Three 3×3 convolutions of these channels, the first with stride 2.
    Deep([usize; 3]),
}

impl Stem {
    /// C's and D's.
    pub const C: Self = Self::Deep([32, 32, 64]);
    /// S's, twice as wide.
    pub const S: Self = Self::Deep([64, 64, 128]);
    /// T's, tiered.
    pub const T: Self = Self::Deep([24, 32, 64]);
}

/// Three 3×3 convolutions, each but the last with batch norm and ReLU; the network's own `bn1` follows.
pub(crate) fn deep_stem(g: &mut Builder, x: NodeId, widths: [usize; 3]) -> Result<NodeId, GraphError> {
    let [first, second, third] = widths;
    let x = g.conv("conv1.0", x, conv(first, 3, 2))?;
    let x = g.batch_norm("conv1.1", x)?;
    let x = g.relu("conv1.2", x);
    let x = g.conv("conv1.3", x, conv(second, 3, 1))?;
    let x = g.batch_norm("conv1.4", x)?;
    let x = g.relu("conv1.5", x);
    g.conv("conv1.6", x, conv(third, 3, 1))
}

/// The mean of each `stride` by `stride` pixels, fewer at the end of an odd side; nothing where the stride
/// is 1 (Fig. 2c).
pub(crate) fn average(g: &mut Builder, name: &str, x: NodeId, stride: usize) -> Result<NodeId, GraphError> {
    if stride == 1 {
        return Ok(x);
    }
    let window = MaxPool { kernel: [stride; 2], stride: [stride; 2], padding: [0; 2], ceil: true };
    g.avg_pool(name, x, AvgPool { window, count_include_pad: false })
}

/// A net with a stem of three convolutions.
pub const fn deep(blocks: [usize; 4], branch: Branch, stem: Stem, projection: Projection) -> ImageNet {
    let block = Block { projection, zero_init: true, ..Block::new(branch) };
    ImageNet { blocks, stem, block }
}
