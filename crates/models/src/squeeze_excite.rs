//! The networks of Hu, Shen, Albanie, Sun and Wu, "Squeeze-and-excitation networks" (arXiv 1709.01507, 2017).
//!
//! A gate for every channel, `s = σ(W₂ relu(W₁ mean(u)))` (§3.1 and §3.2, equations 2 to 4), stands on the
//! residual branch behind its last batch norm ("standard" in §6.5). Names are timm's: `se.fc1` and `se.fc2`
//! are 1×1 convolutions with biases.

use residuum_graph::{Builder, ConvSpec, GraphError, NodeId};

use crate::bag_of_tricks::Stem;
use crate::kin::{Block, Branch, Cifar, ImageNet, conv};

/// The reduction ratio r (§6.1).
const REDUCTION: usize = 16;

/// Channels between the two layers of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// C/16, at least 1.
    Sixteenth,
    /// C/16 to the nearest multiple of 8, at least 8, as in timm.
    Eights,
}

impl Hidden {
    /// The number for a map of `channels`.
    pub const fn channels(self, channels: usize) -> usize {
        let (hidden, least) = match self {
            Self::Sixteenth => (channels / REDUCTION, 1),
            Self::Eights => ((channels + 8 * REDUCTION / 2) / (8 * REDUCTION) * 8, 8),
        };
        if hidden < least { least } else { hidden }
    }
}

/// Weighs every channel of `x` by what the means of all channels say.
pub(crate) fn excite(g: &mut Builder, name: &str, x: NodeId, hidden: Hidden) -> Result<NodeId, GraphError> {
    let part = |part: &str| format!("{name}.{part}");
    let channels = g.channels(name, x)?;
    let biased = |channels| ConvSpec { bias: Some(0.0), ..conv(channels, 1, 1) };
    let s = g.global_avg_pool_map(&part("squeeze"), x)?;
    let s = g.conv(&part("fc1"), s, biased(hidden.channels(channels)))?;
    let s = g.relu(&part("relu"), s);
    let s = g.conv(&part("fc2"), s, biased(channels))?;
    let s = g.sigmoid(&part("gate"), s);
    g.mul(&part("scale"), x, s)
}

/// A basic net for CIFAR, 6n+2 layers, with projections where the shape changes.
pub const fn cifar(n: usize) -> Cifar {
    let block = Block { excitation: Some(Hidden::Sixteenth), ..Block::new(Branch::Basic) };
    Cifar { n, width: 16, block }
}

/// A net for ImageNet as timm has it.
pub const fn imagenet(blocks: [usize; 4], branch: Branch) -> ImageNet {
    let block = Block { excitation: Some(Hidden::Eights), zero_init: true, ..Block::new(branch) };
    ImageNet { blocks, stem: Stem::Single, block }
}
