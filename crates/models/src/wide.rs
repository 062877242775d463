//! The networks of Zagoruyko and Komodakis, "Wide residual networks" (arXiv 1605.07146, 2016).
//!
//! Sections are those of the paper. Batch norm and ReLU precede every convolution. A shortcut that changes
//! the number of channels is a bare 1×1 convolution of the block's first activation; any other carries the
//! block's input. Parameters have torchvision's names; the batch norm after the last block is `norm`.

use residuum_graph::{Builder, Fan, Graph, GraphError, Init, NodeId, NormSpec};

use crate::block::{
    Block, CIFAR_WIDTHS, IMAGENET_WIDTHS, check_blocks, classify, first_conv, imagenet_blocks, imagenet_stem,
    stages,
};
use crate::resnet::{BOTTLENECKS_FROM, Shortcut, StemPool, StrideIn, basic, bottleneck};

/// A net for CIFAR or SVHN (§2, Table 1): three groups of blocks. WRN-n-k has `n = 6 blocks + 4`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cifar {
    /// `N`, blocks in each group.
    pub blocks: usize,
    /// `k`, by which the widths 16, 32, 64 of the groups are multiplied.
    pub widen: usize,
    /// `B(M)` (§2.1): the sides of a block's filters. The stride is the first convolution's.
    pub kernels: &'static [usize],
    /// Rate of the dropout before a block's last convolution (§2.4).
    pub dropout: f32,
}

impl Cifar {
    /// Writes the network for images of 32×32 or any other size.
    ///
    /// # Errors
    /// When there are no blocks, no channels or no classes, or the rate is not in `[0, 1)`.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        check_blocks(name, self.blocks.min(self.kernels.len()))?;
        let mut g = Builder::new(name);
        let x = first_conv(&mut g, Fan::In, [16, 3, 1])?;
        let groups = CIFAR_WIDTHS.map(|width| (width * self.widen, self.blocks));
        let x = stages(&mut g, x, Fan::In, groups, |g, x, block| self.block(g, x, block))?;
        let x = activation(&mut g, x, "norm", "relu_last")?;
        classify(g, x, "fc", classes)
    }

    fn block(&self, g: &mut Builder, x: NodeId, block: &Block) -> Result<NodeId, GraphError> {
        let part = |part: &str, number: usize| block.part(&format!("{part}{number}"));
        let mut stride = block.stride;
        let (mut first, mut y) = (x, x);
        for (j, &kernel) in (1..).zip(self.kernels) {
            y = activation(g, y, &part("bn", j), &part("relu", j))?;
            if j == 1 {
                first = y;
            } else if j == self.kernels.len() {
                y = g.dropout(&block.part("dropout"), y, self.dropout)?;
            }
            y = block.conv(g, &format!("conv{j}"), y, [block.width, kernel, stride])?;
            stride = 1;
        }
        let shortcut = if g.channels(&block.name, x)? == block.width {
            x
        } else {
            block.conv(g, "downsample.0", first, [block.width, 1, block.stride])?
        };
        g.add(&block.part("add"), y, shortcut)
    }
}

/// Batch norm and ReLU. The authors' program leaves the scales to Torch, which draws them from `[0, 1)`.
fn activation(g: &mut Builder, x: NodeId, norm: &str, relu: &str) -> Result<NodeId, GraphError> {
    let scale = Init::Uniform { low: 0.0, high: 1.0 };
    let x = g.norm(norm, x, NormSpec { scale, ..NormSpec::default() })?;
    Ok(g.relu(relu, x))
}

/// Which widths of an ImageNet net are multiplied, and by what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Widen {
    /// All, the first layer's among them (Table 7).
    All(f32),
    /// The inner width of bottlenecks (Table 8).
    Inner(usize),
}

/// A net for ImageNet (§3): He et al. 2015 with shortcut option B, batch norm after the convolutions, and the
/// stride of bottlenecks in the 3×3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageNet {
    /// Number of weighted layers, one of [`crate::resnet::DEPTHS`].
    pub depth: usize,
    /// What is widened.
    pub widen: Widen,
}

impl ImageNet {
    /// Writes the network for images of 224×224 or any other size.
    ///
    /// # Errors
    /// When the depth is unknown, or there are no channels or classes.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        let blocks = imagenet_blocks(name, self.depth)?;
        let (all, inner) = match self.widen {
            Widen::All(factor) => (factor, 1),
            Widen::Inner(factor) => (1.0, factor),
        };
        let widths = IMAGENET_WIDTHS.map(|width| (width as f32 * all) as usize);
        let mut g = Builder::new(name);
        let x = imagenet_stem(&mut g, Fan::Out, widths[0], StemPool::Padded)?;
        let layout = widths.into_iter().zip(blocks);
        let x = stages(&mut g, x, Fan::Out, layout, |g, x, block| {
            if self.depth < BOTTLENECKS_FROM {
                basic(g, x, block, Shortcut::Projection)
            } else {
                bottleneck(g, x, block, inner * block.width, StrideIn::Middle, Shortcut::Projection)
            }
        })?;
        classify(g, x, "fc", classes)
    }
}
