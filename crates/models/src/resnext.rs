//! The networks of Xie, Girshick, Dollár, Tu and He, "Aggregated residual transformations for deep neural
//! networks" (arXiv 1611.05431, 2016).
//!
//! A bottleneck whose 3×3 works in C groups: of the three equivalent forms of Fig. 3 the last. A net "32×4d"
//! has cardinality 32 and groups that are 4 channels wide in the first stage. For ImageNet the names and the
//! start are torchvision's; for CIFAR the ReLU comes after the addition, as in the released program (the
//! paper's text puts it before).

use crate::bag_of_tricks::Stem;
use crate::kin::{Block, Branch, Cifar, ImageNet};

/// How the 3×3 of a bottleneck is divided (§3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// Cardinality C: independent groups of channels.
    pub groups: usize,
    /// Base width d: channels of a group where the block is 64 wide.
    pub base: usize,
}

impl Grouping {
    /// An ordinary bottleneck, 1×64d.
    pub const NONE: Self = Self { groups: 1, base: 64 };

    /// Channels of the 3×3 in a block `planes` wide: ⌊planes · d / 64⌋ · C.
    pub(crate) const fn width(self, planes: usize) -> usize {
        planes * self.base / 64 * self.groups
    }
}

/// CIFAR (§5.3): depth 29, three blocks a stage, a stem of 64 channels. Any cardinality and base width.
pub const fn cifar29(groups: usize, base: usize) -> Cifar {
    Cifar { n: 3, width: 64, block: Block::new(Branch::Bottleneck(Grouping { groups, base })) }
}

/// ImageNet (Table 1).
pub const fn imagenet(blocks: [usize; 4], groups: usize, base: usize) -> ImageNet {
    ImageNet { blocks, stem: Stem::Single, block: Block::new(Branch::Bottleneck(Grouping { groups, base })) }
}
