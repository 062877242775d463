//! The networks of He, Zhang, Zhang, Zhang, Xie and Li, "Bag of tricks for image classification with
//! convolutional neural networks" (arXiv 1812.01187, 2018), and two that timm adds.
//!
//! The letters of §4.1: B has the stride in the 3×3; C replaces the 7×7 by three 3×3; D averages before the
//! projection instead of leaving out three pixels of four. Timm's S is C with a wider stem, T is D with a
//! tiered one. Names and start are timm's: `conv1.0`, `conv1.3`, `conv1.6`; `downsample.1`, `downsample.2`.

use residuum_graph::{AvgPool, Builder, GraphError, MaxPool, NodeId};

use crate::form::Form;
use crate::kin::{Block, Branch, ImageNet, Projection, conv};
use crate::resnext::Grouping;

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

const fn c(blocks: [usize; 4]) -> ImageNet {
    deep(blocks, BOTTLENECK, Stem::C, Projection::Strided)
}

const fn d(blocks: [usize; 4], branch: Branch) -> ImageNet {
    deep(blocks, branch, Stem::C, Projection::Averaged)
}

const fn s(blocks: [usize; 4]) -> ImageNet {
    deep(blocks, BOTTLENECK, Stem::S, Projection::Strided)
}

const fn t(blocks: [usize; 4], branch: Branch) -> ImageNet {
    deep(blocks, branch, Stem::T, Projection::Averaged)
}

const BASIC: Branch = Branch::Basic;
const BOTTLENECK: Branch = Branch::Bottleneck(Grouping::NONE);

const C: &str = "stem of three 3×3";
const D: &str = "stem of three 3×3, averaging shortcuts";
const S: &str = "wide stem of three 3×3";
const T: &str = "tiered stem of three 3×3, averaging shortcuts";

/// Nets for ImageNet. Option C of 2015 has the names `resnet50c` … already, so the stem's C bears a tag.
pub const IMAGENET: &[Form<ImageNet>] = &[
    Form::new("resnet50c.timm", &[], C, c([3, 4, 6, 3])),
    Form::new("resnet101c.timm", &["resnet101c"], C, c([3, 4, 23, 3])),
    Form::new("resnet152c.timm", &["resnet152c"], C, c([3, 8, 36, 3])),
    Form::new("resnet18d", &["timm_resnet18d"], D, d([2, 2, 2, 2], BASIC)),
    Form::new("resnet34d", &["timm_resnet34d"], D, d([3, 4, 6, 3], BASIC)),
    Form::new("resnet26d", &["timm_resnet26d"], D, d([2, 2, 2, 2], BOTTLENECK)),
    Form::new("resnet50d", &["timm_resnet50d"], D, d([3, 4, 6, 3], BOTTLENECK)),
    Form::new("resnet101d", &["timm_resnet101d"], D, d([3, 4, 23, 3], BOTTLENECK)),
    Form::new("resnet152d", &["timm_resnet152d"], D, d([3, 8, 36, 3], BOTTLENECK)),
    Form::new("resnet200d", &["timm_resnet200d"], D, d([3, 24, 36, 3], BOTTLENECK)),
    Form::new("resnet50s", &["timm_resnet50s"], S, s([3, 4, 6, 3])),
    Form::new("resnet10t", &["timm_resnet10t"], T, t([1, 1, 1, 1], BASIC)),
    Form::new("resnet14t", &["timm_resnet14t"], T, t([1, 1, 1, 1], BOTTLENECK)),
    Form::new("resnet26t", &["timm_resnet26t"], T, t([2, 2, 2, 2], BOTTLENECK)),
    Form::new("resnet50t", &["timm_resnet50t"], T, t([3, 4, 6, 3], BOTTLENECK)),
];
