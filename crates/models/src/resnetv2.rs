//! The pre-activation networks for ImageNet of He, Zhang, Ren and Sun, "Identity mappings in deep residual
//! networks" (arXiv 1603.05027, 2016), as timm writes them.
//!
//! Norm and ReLU come before each convolution (Fig. 4e), none follows the addition or stands in the stem. A
//! projection reads the block's first activation and has no norm. Names are timm's: `stem.conv`,
//! `stages.0.blocks.0.norm1`, `head.fc`, the last a 1×1 convolution of the pooled map.

use residuum_graph::{Builder, ConvSpec, Graph, GraphError, Init, MaxPool, NodeId};

use crate::bag_of_tricks::{Stem, average};
use crate::kin::{Projection, conv};

/// Channels of an input image: red, green, blue.
const COLOURS: usize = 3;

/// A pre-activation net.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageNet {
    /// Blocks of each stage.
    pub blocks: [usize; 4],
    /// Whether a block is 1×1, 3×3, 1×1 to four times the width; otherwise two 3×3.
    pub is_bottleneck: bool,
    /// The layers before the pool.
    pub stem: Stem,
    /// The shortcut where the shape changes.
    pub projection: Projection,
}

impl ImageNet {
    /// Number of weighted layers, a deep stem counted as one, as the networks' names count.
    pub const fn depth(&self) -> usize {
        let [a, b, c, d] = self.blocks;
        (a + b + c + d) * (if self.is_bottleneck { 3 } else { 2 }) + 2
    }

    /// Writes the network for images of 224×224 or any other size.
    ///
    /// # Errors
    /// When a stage has no blocks, or there are no classes.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        let mut g = Builder::new(name);
        let x = g.input(COLOURS);
        let x = stem(&mut g, x, self.stem)?;
        let window = MaxPool { kernel: [3; 2], stride: [2; 2], padding: [1; 2], ceil: false };
        let mut x = g.max_pool("stem.pool", x, window)?;
        for (stage, &count) in self.blocks.iter().enumerate() {
            let stage_name = format!("stages.{stage}");
            if count == 0 {
                let expected = "at least one block".into();
                return Err(GraphError { node: stage_name, expected, found: "none".into() });
            }
            for index in 0..count {
                let name = format!("{stage_name}.blocks.{index}");
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                x = self.block(&mut g, x, &Site { name, width: 64 << stage, stride })?;
            }
        }
        let x = g.batch_norm("norm", x)?;
        let x = g.relu("norm.act", x);
        let x = g.global_avg_pool_map("head.global_pool", x)?;
        let x = g.conv("head.fc", x, head(classes, g.channels("head.fc", x)?))?;
        let x = g.flatten("head.flatten", x)?;
        g.finish(x)
    }

    /// `F(x) + S(x)`; what a projection reads is normalised and rectified as the branch's input is.
    fn block(&self, g: &mut Builder, x: NodeId, site: &Site) -> Result<NodeId, GraphError> {
        let made = if self.is_bottleneck { 4 * site.width } else { site.width };
        let first = activate(g, site, 1, x)?;
        let changes = site.stride != 1 || g.channels(&site.name, x)? != made;
        let shortcut = if changes { self.project(g, first, made, site)? } else { x };
        let y = if self.is_bottleneck {
            let y = g.conv(&site.part("conv1"), first, conv(site.width, 1, 1))?;
            let y = activate(g, site, 2, y)?;
            let y = g.conv(&site.part("conv2"), y, conv(site.width, 3, site.stride))?;
            let y = activate(g, site, 3, y)?;
            g.conv(&site.part("conv3"), y, last(conv(made, 1, 1)))?
        } else {
            let y = g.conv(&site.part("conv1"), first, conv(made, 3, site.stride))?;
            let y = activate(g, site, 2, y)?;
            g.conv(&site.part("conv2"), y, last(conv(made, 3, 1)))?
        };
        g.add(&site.part("add"), y, shortcut)
    }

    fn project(&self, g: &mut Builder, x: NodeId, made: usize, site: &Site) -> Result<NodeId, GraphError> {
        let name = site.part("downsample.conv");
        match self.projection {
            Projection::Strided => g.conv(&name, x, conv(made, 1, site.stride)),
            Projection::Averaged => {
                let x = average(g, &site.part("downsample.pool"), x, site.stride)?;
                g.conv(&name, x, conv(made, 1, 1))
            }
        }
    }
}

/// Where a block stands.
struct Site {
    name: String,
    width: usize,
    stride: usize,
}

impl Site {
    /// Full name of a part of the block, such as `stages.0.blocks.0.conv1`.
    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }
}

/// The `index`-th norm of a block and its ReLU, which is a part of the norm in timm.
fn activate(g: &mut Builder, site: &Site, index: usize, x: NodeId) -> Result<NodeId, GraphError> {
    let norm = site.part(&format!("norm{index}"));
    let x = g.batch_norm(&norm, x)?;
    Ok(g.relu(&format!("{norm}.act"), x))
}

/// One convolution, or three of which the first two have norm and ReLU.
fn stem(g: &mut Builder, x: NodeId, stem: Stem) -> Result<NodeId, GraphError> {
    let [first, second, third] = match stem {
        Stem::Single => return g.conv("stem.conv", x, conv(64, 7, 2)),
        Stem::Deep(widths) => widths,
    };
    let x = g.conv("stem.conv1", x, conv(first, 3, 2))?;
    let x = g.batch_norm("stem.norm1", x)?;
    let x = g.relu("stem.norm1.act", x);
    let x = g.conv("stem.conv2", x, conv(second, 3, 1))?;
    let x = g.batch_norm("stem.norm2", x)?;
    let x = g.relu("stem.norm2.act", x);
    g.conv("stem.conv3", x, conv(third, 3, 1))
}

/// The last convolution of a branch starts at zero, so that a block starts as its shortcut.
const fn last(spec: ConvSpec) -> ConvSpec {
    ConvSpec { init: Init::Constant(0.0), ..spec }
}

/// The classifier as a convolution, started as a linear layer is.
fn head(classes: usize, features: usize) -> ConvSpec {
    let bound = 1.0 / (features as f32).sqrt();
    ConvSpec {
        bias: Some(0.0),
        init: Init::Uniform { low: -bound, high: bound },
        ..ConvSpec::new(classes, 1, 1)
    }
}
