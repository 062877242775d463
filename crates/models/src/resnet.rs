//! The networks of He, Zhang, Ren and Sun, "Deep residual learning for image recognition"
//! (arXiv 1512.03385, 2015), and their plain twins.
//!
//! Sections are those of the paper. A block computes `y = relu(F(x) + S(x))` (§3.2): `F` is `basic` or
//! `bottleneck`, `S` the [`Shortcut`]. Batch norm follows every convolution and comes before the
//! activation (§3.4). Parameters and nodes have the names that torchvision gives them (`conv1`,
//! `layer1.0.bn1`, `layer2.0.downsample.0`, `fc`).

use residuum_graph::{Builder, Fan, Graph, GraphError, MaxPool, NodeId};

use crate::block::{
    Block, CIFAR_WIDTHS, IMAGENET_WIDTHS, ProjectionNorm, check_blocks, cifar_stem, classify,
    imagenet_blocks, imagenet_stem, stages,
};

/// What leads around a block's layers (§3.3, "Residual network", and the comparison in §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// No shortcut: the plain twin (§3.3, "Plain network").
    Plain,
    /// Option A: the identity; where the shape changes, every second row and column and channels of zeros.
    /// No parameters, so that the net has exactly those of its plain twin. All CIFAR results use it.
    ZeroPad(Zeros),
    /// Option B: a 1×1 convolution and batch norm where the shape changes, the identity elsewhere. The
    /// ImageNet nets of 50 layers and more use it.
    Projection,
    /// Option C: a 1×1 convolution and batch norm around every block.
    ProjectionEverywhere,
}

/// Where option A adds its zeros; the paper does not say. Weights trained with one placement do not work
/// with the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// After the carried channels, as in the Torch program that followed the paper.
    After,
    /// Half of them before and half after, as in akamaster's CIFAR nets.
    Around,
}

/// The convolution that takes a bottleneck's stride. Same parameters, another function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrideIn {
    /// The first 1×1: what the paper's multiply-adds say (Table 1) and the published Caffe models have.
    First,
    /// The 3×3, as in torchvision.
    Middle,
}

/// The 3×3 max pool after `conv1`. Both halve the map, with windows that start elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StemPool {
    /// One position of padding, the number of windows rounded down: windows start at −1, 1, 3 …
    Padded,
    /// No padding, the number rounded up, as Caffe does: windows start at 0, 2, 4 …
    Ceil,
}

/// A net for CIFAR (§4.2): 6n+2 layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cifar {
    /// Blocks in each of the three stages.
    pub n: usize,
    /// What leads around a block.
    pub shortcut: Shortcut,
    /// Name of the last layer: `fc`, or `linear` in akamaster's files.
    pub classifier: &'static str,
}

impl Cifar {
    /// Number of weighted layers.
    pub const fn depth(&self) -> usize {
        6 * self.n + 2
    }

    /// Writes the network for images of 32×32 or any other size.
    ///
    /// # Errors
    /// When there are no blocks or no classes.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        check_blocks(name, self.n)?;
        let mut g = Builder::new(name);
        let x = cifar_stem(&mut g, Fan::In)?;
        let x = stages(&mut g, x, Fan::In, CIFAR_WIDTHS.map(|width| (width, self.n)), |g, x, block| {
            basic(g, x, block, self.shortcut)
        })?;
        classify(g, x, self.classifier, classes)
    }
}

/// The paper's Table 1: depth, and the blocks of `conv2_x` to `conv5_x`. From 50 layers on the blocks are
/// bottlenecks. 200 layers are those of He et al. 2016, "Identity mappings in deep residual networks" (§5).
pub const DEPTHS: [(usize, [usize; 4]); 6] = [
    (18, [2, 2, 2, 2]),
    (34, [3, 4, 6, 3]),
    (50, [3, 4, 6, 3]),
    (101, [3, 4, 23, 3]),
    (152, [3, 8, 36, 3]),
    (200, [3, 24, 36, 3]),
];

/// Nets for ImageNet from this depth on are made of bottlenecks.
pub(crate) const BOTTLENECKS_FROM: usize = 50;

/// A net for ImageNet (§4.1, Table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageNet {
    /// Number of weighted layers, one of [`DEPTHS`].
    pub depth: usize,
    /// What leads around a block.
    pub shortcut: Shortcut,
    /// Which convolution of a bottleneck takes the stride.
    pub stride_in: StrideIn,
    /// The pool after `conv1`.
    pub pool: StemPool,
}

impl ImageNet {
    /// Writes the network for images of 224×224 or any other size.
    ///
    /// # Errors
    /// When Table 1 lacks the depth, or there are no classes.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        let blocks = imagenet_blocks(name, self.depth)?;
        let mut g = Builder::new(name);
        let x = imagenet_stem(&mut g, Fan::In, IMAGENET_WIDTHS[0], self.pool)?;
        let layout = IMAGENET_WIDTHS.into_iter().zip(blocks);
        let x = stages(&mut g, x, Fan::In, layout, |g, x, block| {
            if self.depth < BOTTLENECKS_FROM {
                basic(g, x, block, self.shortcut)
            } else {
                bottleneck(g, x, block, block.width, self.stride_in, self.shortcut)
            }
        })?;
        classify(g, x, "fc", classes)
    }
}

impl StemPool {
    pub(crate) const fn window(self) -> MaxPool {
        let (padding, ceil) = match self {
            Self::Padded => (1, false),
            Self::Ceil => (0, true),
        };
        MaxPool { kernel: [3; 2], stride: [2; 2], padding: [padding; 2], ceil }
    }
}

impl StrideIn {
    /// Strides of the first 1×1 and of the 3×3 in a bottleneck of this stride.
    pub(crate) const fn strides(self, stride: usize) -> [usize; 2] {
        match self {
            Self::First => [stride, 1],
            Self::Middle => [1, stride],
        }
    }
}

/// Two 3×3 convolutions (Fig. 2 and Fig. 5 left).
pub(crate) fn basic(
    g: &mut Builder,
    x: NodeId,
    block: &Block,
    shortcut: Shortcut,
) -> Result<NodeId, GraphError> {
    let y = basic_branch(g, x, block)?;
    let y = add_shortcut(g, x, y, block, shortcut)?;
    Ok(g.relu(&block.part("relu2"), y))
}

/// `F` of a basic block, up to its last batch norm.
pub(crate) fn basic_branch(g: &mut Builder, x: NodeId, block: &Block) -> Result<NodeId, GraphError> {
    let y = block.conv(g, "conv1", x, [block.width, 3, block.stride])?;
    let y = g.batch_norm(&block.part("bn1"), y)?;
    let y = g.relu(&block.part("relu1"), y);
    let y = block.conv(g, "conv2", y, [block.width, 3, 1])?;
    g.batch_norm(&block.part("bn2"), y)
}

/// Three convolutions that reduce to `inner` channels, work there, and restore: 1×1, 3×3, 1×1 to four times
/// the stage's width (Fig. 5 right).
pub(crate) fn bottleneck(
    g: &mut Builder,
    x: NodeId,
    block: &Block,
    inner: usize,
    stride_in: StrideIn,
    shortcut: Shortcut,
) -> Result<NodeId, GraphError> {
    let y = bottleneck_branch(g, x, block, inner, stride_in)?;
    let y = add_shortcut(g, x, y, block, shortcut)?;
    Ok(g.relu(&block.part("relu3"), y))
}

/// `F` of a bottleneck, up to its last batch norm.
pub(crate) fn bottleneck_branch(
    g: &mut Builder,
    x: NodeId,
    block: &Block,
    inner: usize,
    stride_in: StrideIn,
) -> Result<NodeId, GraphError> {
    let [first, middle] = stride_in.strides(block.stride);
    let y = block.conv(g, "conv1", x, [inner, 1, first])?;
    let y = g.batch_norm(&block.part("bn1"), y)?;
    let y = g.relu(&block.part("relu1"), y);
    let y = block.conv(g, "conv2", y, [inner, 3, middle])?;
    let y = g.batch_norm(&block.part("bn2"), y)?;
    let y = g.relu(&block.part("relu2"), y);
    let y = block.conv(g, "conv3", y, [4 * block.width, 1, 1])?;
    g.batch_norm(&block.part("bn3"), y)
}

/// `F(x) + S(x)` (§3.2, equations 1 and 2), or `F(x)` alone in a plain net.
fn add_shortcut(
    g: &mut Builder,
    x: NodeId,
    y: NodeId,
    block: &Block,
    shortcut: Shortcut,
) -> Result<NodeId, GraphError> {
    let channels = g.channels(&block.name, y)?;
    match block.shortcut(g, x, channels, shortcut, ProjectionNorm::Normed)? {
        Some(s) => g.add(&block.part("add"), y, s),
        None => Ok(y),
    }
}
