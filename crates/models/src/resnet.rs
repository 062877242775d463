//! The networks of He, Zhang, Ren and Sun, "Deep residual learning for image recognition"
//! (arXiv 1512.03385, 2015), and their plain twins.
//!
//! Sections are those of the paper. A block computes `y = relu(F(x) + S(x))` (§3.2): `F` is `basic` or
//! `bottleneck`, `S` the [`Shortcut`]. Batch norm follows every convolution and comes before the
//! activation (§3.4). Parameters and nodes have the names that torchvision gives them (`conv1`,
//! `layer1.0.bn1`, `layer2.0.downsample.0`, `fc`).

use residuum_graph::{Builder, ConvSpec, Graph, GraphError, MaxPool, NodeId};

/// Channels of an input image: red, green, blue.
const COLOURS: usize = 3;

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
        if self.n == 0 {
            return Err(GraphError {
                node: name.into(),
                expected: "at least one block a stage".into(),
                found: "none".into(),
            });
        }
        let mut g = Builder::new(name);
        let x = g.input(COLOURS);
        let x = g.conv("conv1", x, ConvSpec::new(16, 3, 1))?;
        let x = g.batch_norm("bn1", x)?;
        let x = g.relu("relu", x);
        let layout = Layout { unit: basic, stride_in: StrideIn::Middle, shortcut: self.shortcut };
        let x = layout.stages(&mut g, x, &[16, 32, 64], &[self.n; 3])?;
        let x = g.global_avg_pool("avgpool", x)?;
        let x = g.linear(self.classifier, x, classes)?;
        g.finish(x)
    }
}

/// The paper's Table 1: depth, and the blocks of `conv2_x` to `conv5_x`. From 50 layers on the blocks are
/// bottlenecks.
pub const DEPTHS: [(usize, [usize; 4]); 5] =
    [(18, [2, 2, 2, 2]), (34, [3, 4, 6, 3]), (50, [3, 4, 6, 3]), (101, [3, 4, 23, 3]), (152, [3, 8, 36, 3])];

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
        let Some((_, blocks)) = DEPTHS.iter().find(|(depth, _)| *depth == self.depth) else {
            let known: Vec<String> = DEPTHS.iter().map(|(depth, _)| depth.to_string()).collect();
            return Err(GraphError {
                node: name.into(),
                expected: format!("a depth among {}", known.join(", ")),
                found: self.depth.to_string(),
            });
        };
        let mut g = Builder::new(name);
        let x = g.input(COLOURS);
        let x = g.conv("conv1", x, ConvSpec::new(64, 7, 2))?;
        let x = g.batch_norm("bn1", x)?;
        let x = g.relu("relu", x);
        let x = g.max_pool("maxpool", x, self.pool.window())?;
        let unit = if self.depth < 50 { basic } else { bottleneck };
        let layout = Layout { unit, stride_in: self.stride_in, shortcut: self.shortcut };
        let x = layout.stages(&mut g, x, &[64, 128, 256, 512], blocks)?;
        let x = g.global_avg_pool("avgpool", x)?;
        let x = g.linear("fc", x, classes)?;
        g.finish(x)
    }
}

impl StemPool {
    const fn window(self) -> MaxPool {
        let (padding, ceil) = match self {
            Self::Padded => (1, false),
            Self::Ceil => (0, true),
        };
        MaxPool { kernel: [3; 2], stride: [2; 2], padding: [padding; 2], ceil }
    }
}

/// A function that writes one block.
type Unit = fn(&mut Builder, NodeId, &Block) -> Result<NodeId, GraphError>;

/// What all blocks of a network have in common.
struct Layout {
    unit: Unit,
    stride_in: StrideIn,
    shortcut: Shortcut,
}

/// One block of a network.
struct Block {
    name: String,
    width: usize,
    stride: usize,
    stride_in: StrideIn,
    shortcut: Shortcut,
}

impl Layout {
    /// The stages `layer1`, `layer2` …; the first block of each but the first halves the map (§3.3).
    fn stages(
        &self,
        g: &mut Builder,
        mut x: NodeId,
        widths: &[usize],
        blocks: &[usize],
    ) -> Result<NodeId, GraphError> {
        for (stage, (&width, &count)) in widths.iter().zip(blocks).enumerate() {
            for index in 0..count {
                let block = Block {
                    name: format!("layer{}.{index}", stage + 1),
                    width,
                    stride: if stage > 0 && index == 0 { 2 } else { 1 },
                    stride_in: self.stride_in,
                    shortcut: self.shortcut,
                };
                x = (self.unit)(g, x, &block)?;
            }
        }
        Ok(x)
    }
}

/// Two 3×3 convolutions (Fig. 2 and Fig. 5 left).
fn basic(g: &mut Builder, x: NodeId, block: &Block) -> Result<NodeId, GraphError> {
    let y = g.conv(&block.part("conv1"), x, ConvSpec::new(block.width, 3, block.stride))?;
    let y = g.batch_norm(&block.part("bn1"), y)?;
    let y = g.relu(&block.part("relu1"), y);
    let y = g.conv(&block.part("conv2"), y, ConvSpec::new(block.width, 3, 1))?;
    let y = g.batch_norm(&block.part("bn2"), y)?;
    let y = add_shortcut(g, x, y, block)?;
    Ok(g.relu(&block.part("relu2"), y))
}

/// Three convolutions that reduce, work and restore: 1×1, 3×3, 1×1 to four times the width (Fig. 5 right).
fn bottleneck(g: &mut Builder, x: NodeId, block: &Block) -> Result<NodeId, GraphError> {
    let (first, middle) = match block.stride_in {
        StrideIn::First => (block.stride, 1),
        StrideIn::Middle => (1, block.stride),
    };
    let y = g.conv(&block.part("conv1"), x, ConvSpec::new(block.width, 1, first))?;
    let y = g.batch_norm(&block.part("bn1"), y)?;
    let y = g.relu(&block.part("relu1"), y);
    let y = g.conv(&block.part("conv2"), y, ConvSpec::new(block.width, 3, middle))?;
    let y = g.batch_norm(&block.part("bn2"), y)?;
    let y = g.relu(&block.part("relu2"), y);
    let y = g.conv(&block.part("conv3"), y, ConvSpec::new(4 * block.width, 1, 1))?;
    let y = g.batch_norm(&block.part("bn3"), y)?;
    let y = add_shortcut(g, x, y, block)?;
    Ok(g.relu(&block.part("relu3"), y))
}

/// `F(x) + S(x)` (§3.2, equations 1 and 2), or `F(x)` alone in a plain net.
fn add_shortcut(g: &mut Builder, x: NodeId, y: NodeId, block: &Block) -> Result<NodeId, GraphError> {
    let (carried, made) = (g.channels(&block.name, x)?, g.channels(&block.name, y)?);
    let changes = block.stride != 1 || carried != made;
    let shortcut = match block.shortcut {
        Shortcut::Plain => return Ok(y),
        Shortcut::ProjectionEverywhere => project(g, x, made, block)?,
        Shortcut::Projection if changes => project(g, x, made, block)?,
        Shortcut::ZeroPad(zeros) if changes => zero_pad(g, x, made - carried, zeros, block)?,
        Shortcut::Projection | Shortcut::ZeroPad(_) => x,
    };
    g.add(&block.part("add"), y, shortcut)
}

/// Options B and C: a 1×1 convolution with the block's stride, and batch norm.
fn project(g: &mut Builder, x: NodeId, channels: usize, block: &Block) -> Result<NodeId, GraphError> {
    let s = g.conv(&block.part("downsample.0"), x, ConvSpec::new(channels, 1, block.stride))?;
    g.batch_norm(&block.part("downsample.1"), s)
}

/// Option A: the rows and columns 0, 2, 4 …, without averaging, and `extra` channels of zeros.
fn zero_pad(
    g: &mut Builder,
    x: NodeId,
    extra: usize,
    zeros: Zeros,
    block: &Block,
) -> Result<NodeId, GraphError> {
    let s = match block.stride {
        1 => x,
        stride => g.subsample(&block.part("downsample.subsample"), x, stride)?,
    };
    let before = match zeros {
        Zeros::After => 0,
        Zeros::Around => extra / 2,
    };
    g.pad_channels(&block.part("downsample.pad"), s, before, extra - before)
}

impl Block {
    /// Full name of a part of the block, such as `layer1.0.conv1`.
    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }
}
