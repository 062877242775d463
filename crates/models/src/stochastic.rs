//! The networks of Huang, Sun, Liu, Sedra and Weinberger, "Deep networks with stochastic depth"
//! (arXiv 1603.09382, 2016).
//!
//! Sections are those of the paper. Training drops the branch of block `l` of `L` with probability
//! `1 − p_l`: `H_l = relu(b_l f_l(H_{l−1}) + id(H_{l−1}))` (§3, equation 2); evaluation multiplies it by `p_l`
//! (equation 5). Parameters have torchvision's names.

use residuum_graph::{AvgPool, Builder, DropRule, Fan, Graph, GraphError, MaxPool, NodeId};

use crate::block::{
    Block, CIFAR_WIDTHS, IMAGENET_WIDTHS, ProjectionNorm, check_blocks, cifar_stem, classify,
    imagenet_blocks, imagenet_stem, stages,
};
use crate::resnet::{Shortcut, StemPool, StrideIn, basic_branch, bottleneck_branch};

/// How the probability of survival changes with depth (§3, Fig. 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// All blocks have the last one's.
    Uniform,
    /// `p_l = 1 − l / L · (1 − p_L)` (equation 4): the input always survives, the last block least often.
    Linear,
}

/// Probabilities of survival of a network's blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survival {
    /// `p_L`, that of the last block.
    pub last: f64,
    /// How the others follow from it.
    pub decay: Decay,
}

impl Survival {
    /// The paper's: linear decay to one half.
    pub const PAPER: Self = Self { last: 0.5, decay: Decay::Linear };

    /// `p_l` of block `l`, counted from 1, of `blocks`.
    pub fn of(&self, l: usize, blocks: usize) -> f64 {
        match self.decay {
            Decay::Uniform => self.last,
            Decay::Linear => 1.0 - l as f64 / blocks as f64 * (1.0 - self.last),
        }
    }

    /// Number of blocks that a step of training computes, in the mean (§3, "Expected network depth").
    pub fn expected_blocks(&self, blocks: usize) -> f64 {
        (1..=blocks).map(|l| self.of(l, blocks)).sum()
    }

    /// Standard deviation of the number of blocks that a step of training computes.
    pub fn blocks_deviation(&self, blocks: usize) -> f64 {
        let variance: f64 = (1..=blocks).map(|l| self.of(l, blocks)).map(|p| p * (1.0 - p)).sum();
        variance.sqrt()
    }
}

/// A net for CIFAR or SVHN (§4): the 6n+2 layers of He et al. 2015. Where the shape changes, the shortcut is the
/// mean of 2×2 pixels and channels of zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cifar {
    /// Blocks in each of the three stages.
    pub n: usize,
    /// How often blocks survive.
    pub survival: Survival,
    /// What is drawn, and how it is compensated.
    pub rule: DropRule,
}

impl Cifar {
    /// Writes the network for images of 32×32 or any other size whose sides 4 divides.
    ///
    /// # Errors
    /// When there are no blocks or no classes, or a probability is not in `(0, 1]`.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        check_blocks(name, self.n)?;
        let mut g = Builder::new(name);
        let x = cifar_stem(&mut g, Fan::In)?;
        let layout = CIFAR_WIDTHS.map(|width| (width, self.n));
        let x = stages(&mut g, x, Fan::In, layout, |g, x, block| {
            let y = basic_branch(g, x, block)?;
            let y = drop(g, y, block, self.survival.of(block.number, 3 * self.n), self.rule)?;
            let s = pooled_shortcut(g, x, block)?;
            let y = g.add(&block.part("add"), y, s)?;
            Ok(g.relu(&block.part("relu2"), y))
        })?;
        classify(g, x, "fc", classes)
    }
}

/// A net for ImageNet (§4, "ImageNet"): bottlenecks of He et al. 2015 with shortcut option B.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageNet {
    /// Number of weighted layers, one of [`crate::resnet::DEPTHS`] from 50.
    pub depth: usize,
    /// How often blocks survive.
    pub survival: Survival,
    /// What is drawn, and how it is compensated.
    pub rule: DropRule,
}

impl ImageNet {
    /// Writes the network for images of 224×224 or any other size.
    ///
    /// # Errors
    /// When the depth is unknown, there are no classes, or a probability is not in `(0, 1]`.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        let blocks = imagenet_blocks(name, self.depth)?;
        let total = blocks.iter().sum();
        let mut g = Builder::new(name);
        let x = imagenet_stem(&mut g, Fan::In, IMAGENET_WIDTHS[0], StemPool::Padded)?;
        let layout = IMAGENET_WIDTHS.into_iter().zip(blocks);
        let x = stages(&mut g, x, Fan::In, layout, |g, x, block| {
            let y = bottleneck_branch(g, x, block, block.width, StrideIn::First)?;
            let y = drop(g, y, block, self.survival.of(block.number, total), self.rule)?;
            let channels = g.channels(&block.name, y)?;
            let s = block.shortcut(g, x, channels, Shortcut::Projection, ProjectionNorm::Normed)?;
            let y = g.add(&block.part("add"), y, s.unwrap_or(x))?;
            Ok(g.relu(&block.part("relu3"), y))
        })?;
        classify(g, x, "fc", classes)
    }
}

fn drop(
    g: &mut Builder,
    y: NodeId,
    block: &Block,
    survival: f64,
    rule: DropRule,
) -> Result<NodeId, GraphError> {
    g.drop_path(&block.part("drop_path"), y, survival as f32, rule)
}

/// `id` of the paper's program: the mean of 2×2 pixels where the map halves, zeros for the channels that are
/// new.
fn pooled_shortcut(g: &mut Builder, x: NodeId, block: &Block) -> Result<NodeId, GraphError> {
    let extra = block.width - g.channels(&block.name, x)?;
    if extra == 0 {
        return Ok(x);
    }
    let window = MaxPool { kernel: [2; 2], stride: [2; 2], padding: [0; 2], ceil: false };
    let pool = AvgPool { window, count_include_pad: true };
    let s = g.avg_pool(&block.part("downsample.pool"), x, pool)?;
    g.pad_channels(&block.part("downsample.pad"), s, 0, extra)
}
