//! Residual networks with the changes that later papers made to those of 2015, in any combination.
//!
//! Blocks are those of He et al. 2015 with the ReLU after the addition and, in bottlenecks, the stride in
//! the 3×3 ("B" in He et al. 2018, §4.1). Each paper's piece is in the file of that paper: groups in
//! [`crate::resnext`], gates in [`crate::squeeze_excite`], stems and averaging shortcuts in
//! [`crate::bag_of_tricks`], blurring in [`crate::blur_pool`]. Parameters and nodes have the names of
//! torchvision and timm.

use residuum_graph::{Builder, ConvSpec, Fan, Graph, GraphError, Init, MaxPool, NodeId, NormSpec};

use crate::bag_of_tricks::{Stem, average, deep_stem};
use crate::blur_pool::{blur, blurred_max_pool};
use crate::resnext::Grouping;
use crate::squeeze_excite::{Hidden, excite};

/// Channels of an input image: red, green, blue.
const COLOURS: usize = 3;

/// The layers of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 and 1×1 to four times the width, the 3×3 in groups.
    Bottleneck(Grouping),
}

/// The shortcut where the shape changes; elsewhere it is the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// A 1×1 convolution with the stride, and batch norm (option B of 2015).
    Strided,
    /// The mean of each two by two pixels, then a 1×1 convolution, and batch norm (He et al. 2018, "D").
    Averaged,
}

/// What all blocks of a network have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The layers.
    pub branch: Branch,
    /// The shortcut where the shape changes.
    pub projection: Projection,
    /// Squeeze and excitation, and how wide its middle is.
    pub excitation: Option<Hidden>,
    /// Side of the filter that blurs before every subsampling of a 3×3 convolution and of the stem's pool.
    pub blur: Option<usize>,
    /// Whether each branch starts at zero, so that a block starts as its shortcut: the scale of the last
    /// batch norm (Goyal et al. 2017, "Accurate, large minibatch SGD", §5.1).
    pub zero_init: bool,
}

impl Block {
    /// A block of 2015 with option B, and the stride in a bottleneck's 3×3.
    pub const fn new(branch: Branch) -> Self {
        Self { branch, projection: Projection::Strided, excitation: None, blur: None, zero_init: false }
    }

    /// Convolutions of the branch.
    const fn convolutions(&self) -> usize {
        match self.branch {
            Branch::Basic => 2,
            Branch::Bottleneck(_) => 3,
        }
    }
}

/// A net for CIFAR: three stages of equal numbers of blocks, each twice as wide as the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cifar {
    /// Blocks of each stage.
    pub n: usize,
    /// Channels after the first convolution, and width of the first stage's blocks.
    pub width: usize,
    /// The blocks.
    pub block: Block,
}

impl Cifar {
    /// Number of weighted layers.
    pub const fn depth(&self) -> usize {
        3 * self.n * self.block.convolutions() + 2
    }

    /// Writes the network for images of 32×32 or any other size.
    ///
    /// # Errors
    /// When there are no blocks, no channels or no classes, or channels do not divide by the groups.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        let mut g = Builder::new(name);
        let x = g.input(COLOURS);
        let x = g.conv("conv1", x, conv(self.width, 3, 1))?;
        let x = g.batch_norm("bn1", x)?;
        let x = g.relu("relu", x);
        let x = self.block.stages(&mut g, x, self.width, &[self.n; 3])?;
        classify(g, x, classes)
    }
}

/// A net for ImageNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageNet {
    /// Blocks of each stage.
    pub blocks: [usize; 4],
    /// The layers before the pool.
    pub stem: Stem,
    /// The blocks.
    pub block: Block,
}

impl ImageNet {
    /// Number of weighted layers, a deep stem counted as one, as the networks' names count.
    pub const fn depth(&self) -> usize {
        let [a, b, c, d] = self.blocks;
        (a + b + c + d) * self.block.convolutions() + 2
    }

    /// Writes the network for images of 224×224 or any other size.
    ///
    /// # Errors
    /// When a stage has no blocks, there are no classes, or channels do not divide by the groups.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        let mut g = Builder::new(name);
        let x = g.input(COLOURS);
        let x = match self.stem {
            Stem::Single => g.conv("conv1", x, conv(64, 7, 2))?,
            Stem::Deep(widths) => deep_stem(&mut g, x, widths)?,
        };
        let x = g.batch_norm("bn1", x)?;
        let x = g.relu("relu", x);
        let x = match self.block.blur {
            Some(size) => blurred_max_pool(&mut g, "maxpool", x, size)?,
            None => g.max_pool("maxpool", x, POOL)?,
        };
        let x = self.block.stages(&mut g, x, 64, &self.blocks)?;
        classify(g, x, classes)
    }
}

/// The pool after the stem.
const POOL: MaxPool = MaxPool { kernel: [3; 2], stride: [2; 2], padding: [1; 2], ceil: false };

/// Where a block stands.
struct Site {
    name: String,
    width: usize,
    stride: usize,
}

impl Site {
    /// Full name of a part of the block, such as `layer1.0.conv1`.
    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }
}

impl Block {
    /// The stages `layer1`, `layer2` …, each twice as wide as the one before; the first block of each but
    /// the first halves the map.
    fn stages(
        &self,
        g: &mut Builder,
        mut x: NodeId,
        width: usize,
        blocks: &[usize],
    ) -> Result<NodeId, GraphError> {
        for (stage, &count) in blocks.iter().enumerate() {
            let layer = format!("layer{}", stage + 1);
            if count == 0 {
                let expected = "at least one block".into();
                return Err(GraphError { node: layer, expected, found: "none".into() });
            }
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                x = self.write(
                    g,
                    x,
                    &Site { name: format!("{layer}.{index}"), width: width << stage, stride },
                )?;
            }
        }
        Ok(x)
    }

    /// `relu(F(x) + S(x))`.
    fn write(&self, g: &mut Builder, x: NodeId, site: &Site) -> Result<NodeId, GraphError> {
        let mut y = match self.branch {
            Branch::Basic => self.basic(g, x, site)?,
            Branch::Bottleneck(grouping) => self.bottleneck(g, x, grouping, site)?,
        };
        if let Some(hidden) = self.excitation {
            y = excite(g, &site.part("se"), y, hidden)?;
        }
        let shortcut = self.shortcut(g, x, y, site)?;
        let y = g.add(&site.part("add"), y, shortcut)?;
        Ok(g.relu(&site.part(&format!("relu{}", self.convolutions())), y))
    }

    fn basic(&self, g: &mut Builder, x: NodeId, site: &Site) -> Result<NodeId, GraphError> {
        let y = self.strided(g, x, conv(site.width, 3, site.stride), 1, site)?;
        let y = g.conv(&site.part("conv2"), y, conv(site.width, 3, 1))?;
        self.last_norm(g, &site.part("bn2"), y)
    }

    fn bottleneck(
        &self,
        g: &mut Builder,
        x: NodeId,
        grouping: Grouping,
        site: &Site,
    ) -> Result<NodeId, GraphError> {
        let width = grouping.width(site.width);
        let y = g.conv(&site.part("conv1"), x, conv(width, 1, 1))?;
        let y = g.batch_norm(&site.part("bn1"), y)?;
        let y = g.relu(&site.part("relu1"), y);
        let middle = ConvSpec { groups: grouping.groups, ..conv(width, 3, site.stride) };
        let y = self.strided(g, y, middle, 2, site)?;
        let y = g.conv(&site.part("conv3"), y, conv(4 * site.width, 1, 1))?;
        self.last_norm(g, &site.part("bn3"), y)
    }

    /// The convolution, the `index`-th, that takes the block's stride, batch norm and ReLU. Where there is
    /// blurring, the stride is the blur's.
    fn strided(
        &self,
        g: &mut Builder,
        x: NodeId,
        spec: ConvSpec,
        index: usize,
        site: &Site,
    ) -> Result<NodeId, GraphError> {
        let blurs = self.blur.filter(|_| spec.stride > 1);
        let stride = if blurs.is_some() { 1 } else { spec.stride };
        let y = g.conv(&site.part(&format!("conv{index}")), x, ConvSpec { stride, ..spec })?;
        let y = g.batch_norm(&site.part(&format!("bn{index}")), y)?;
        let y = g.relu(&site.part(&format!("relu{index}")), y);
        blurs.map_or(Ok(y), |size| blur(g, &site.part("aa"), y, size, spec.stride))
    }

    fn last_norm(&self, g: &mut Builder, name: &str, y: NodeId) -> Result<NodeId, GraphError> {
        let scale = Init::Constant(if self.zero_init { 0.0 } else { 1.0 });
        g.norm(name, y, NormSpec { scale, ..NormSpec::default() })
    }

    fn shortcut(&self, g: &mut Builder, x: NodeId, y: NodeId, site: &Site) -> Result<NodeId, GraphError> {
        let (carried, made) = (g.channels(&site.name, x)?, g.channels(&site.name, y)?);
        if site.stride == 1 && carried == made {
            return Ok(x);
        }
        let part = |index: usize| site.part(&format!("downsample.{index}"));
        match self.projection {
            Projection::Strided => {
                let s = g.conv(&part(0), x, conv(made, 1, site.stride))?;
                g.batch_norm(&part(1), s)
            }
            Projection::Averaged => {
                let s = average(g, &part(0), x, site.stride)?;
                let s = g.conv(&part(1), s, conv(made, 1, 1))?;
                g.batch_norm(&part(2), s)
            }
        }
    }
}

fn classify(mut g: Builder, x: NodeId, classes: usize) -> Result<Graph, GraphError> {
    let x = g.global_avg_pool("avgpool", x)?;
    let x = g.linear("fc", x, classes)?;
    g.finish(x)
}

/// A convolution without bias that starts as in torchvision and timm: normal, by its outputs.
pub(crate) const fn conv(channels: usize, kernel: usize, stride: usize) -> ConvSpec {
    ConvSpec { init: Init::HeNormal(Fan::Out), ..ConvSpec::new(channels, kernel, stride) }
}
