//! The networks of He, Zhang, Ren and Sun, "Identity mappings in deep residual networks"
//! (arXiv 1603.05027, 2016): where batch norm and ReLU stand in a unit, and what may be done to a shortcut.
//!
//! Sections are those of the paper. A unit computes `y = h(x) + F(x)` and passes on `f(y)`; with `h` and `f`
//! the identity, signal and gradient go from any unit to any other unchanged (§2). Parameters and nodes have
//! torchvision's names; the batch norm after the last unit is `norm`, a gate is `layer1.0.gate`.

use residuum_graph::{Builder, ConvSpec, Fan, Graph, GraphError, Init, NodeId};

use crate::block::{
    Block, CIFAR_WIDTHS, IMAGENET_WIDTHS, ProjectionNorm, check_blocks, classify, first_activation,
    first_conv, imagenet_blocks, stages,
};
use crate::resnet::{BOTTLENECKS_FROM, Shortcut, StemPool, StrideIn};

/// Where batch norm and ReLU stand in a unit (§4.1, Fig. 4); `S` is the shortcut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `relu(S(x) + bn(conv(relu(bn(conv(x))))))` (a).
    Original,
    /// `relu(bn(S(x) + conv(relu(bn(conv(x))))))` (b).
    BnAfterAdd,
    /// `S(x) + relu(bn(conv(relu(bn(conv(x))))))` (c).
    ReluBeforeAdd,
    /// `S(x) + bn(conv(relu(bn(conv(relu(x))))))` (d).
    ReluOnlyPreact,
    /// `S(x) + conv(relu(bn(conv(relu(bn(x))))))` (e).
    FullPreact,
}

/// The convolutions of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// One 3×3 ("1 layer skip", Table 3).
    Single,
    /// Two 3×3.
    Basic,
    /// 1×1, 3×3, 1×1 to four times the width.
    Bottleneck(StrideIn),
}

/// What is done to the shortcut and to the branch before they are added (§3.1, Fig. 2). With `g` the gate,
/// a 1×1 convolution of the unit's input and a sigmoid, one value for every position and channel:
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Skip {
    /// `S(x) + F(x)` (a).
    Identity,
    /// `shortcut · S(x) + branch · F(x)` (b).
    Constant {
        /// λ of §2.
        shortcut: f32,
        /// Factor of the branch.
        branch: f32,
    },
    /// `(1 − g) ⊙ S(x) + g ⊙ F(x)` (c), as in highway networks.
    Exclusive {
        /// Start value of the gates' biases.
        bias: f32,
    },
    /// `(1 − g) ⊙ S(x) + F(x)` (d).
    ShortcutOnly {
        /// Start value of the gates' biases.
        bias: f32,
    },
    /// `dropout(S(x)) + F(x)` (f). (e), a 1×1 convolution, is [`Shortcut::ProjectionEverywhere`].
    Dropout {
        /// Probability of zero.
        rate: f32,
    },
}

/// A net for CIFAR: three stages of `n` units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cifar {
    /// Units in each stage.
    pub n: usize,
    /// The convolutions of a unit.
    pub layers: Layers,
    /// Where batch norm and ReLU stand.
    pub order: Order,
    /// What leads around a unit.
    pub shortcut: Shortcut,
    /// What is done to it.
    pub skip: Skip,
}

impl Cifar {
    /// Number of weighted layers.
    pub const fn depth(&self) -> usize {
        3 * self.n * self.layers.count() + 2
    }

    /// Writes the network for images of 32×32 or any other size.
    ///
    /// # Errors
    /// When there are no units or no classes.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        check_blocks(name, self.n)?;
        let fan = self.layers.fan();
        let mut g = Builder::new(name);
        let mut x = first_conv(&mut g, fan, [16, 3, 1])?;
        if self.order != Order::FullPreact {
            x = first_activation(&mut g, x)?;
        }
        let unit = Unit {
            layers: self.layers,
            order: self.order,
            shortcut: self.shortcut,
            skip: self.skip,
            stem: None,
        };
        let layout = CIFAR_WIDTHS.map(|width| (width, self.n));
        let x = stages(&mut g, x, fan, layout, |g, x, block| unit.write(g, x, block))?;
        let x = last_activation(&mut g, x, self.order)?;
        classify(g, x, "fc", classes)
    }
}

/// Where full pre-activation puts the first batch norm of a net for ImageNet. Same parameters, another
/// function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// Before the max pool; the first unit has none of its own. The first unit of every stage adds what it
    /// activated. As in the program that followed the paper.
    Early,
    /// After the max pool, in the first unit. Units that project add what they activated. As in timm.
    Late,
}

/// A net for ImageNet (§5): shortcut option B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageNet {
    /// Number of weighted layers, one of [`crate::resnet::DEPTHS`].
    pub depth: usize,
    /// Where batch norm and ReLU stand.
    pub order: Order,
    /// Which convolution of a bottleneck takes the stride.
    pub stride_in: StrideIn,
    /// Where the first batch norm stands.
    pub stem: Stem,
}

impl ImageNet {
    /// Writes the network for images of 224×224 or any other size.
    ///
    /// # Errors
    /// When the depth is unknown, or there are no classes.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        let blocks = imagenet_blocks(name, self.depth)?;
        let fan = Fan::Out;
        let mut g = Builder::new(name);
        let mut x = first_conv(&mut g, fan, [IMAGENET_WIDTHS[0], 7, 2])?;
        if self.order != Order::FullPreact || self.stem == Stem::Early {
            x = first_activation(&mut g, x)?;
        }
        let x = g.max_pool("maxpool", x, StemPool::Padded.window())?;
        let deep = self.depth >= BOTTLENECKS_FROM;
        let unit = Unit {
            layers: if deep { Layers::Bottleneck(self.stride_in) } else { Layers::Basic },
            order: self.order,
            shortcut: Shortcut::Projection,
            skip: Skip::Identity,
            stem: Some(self.stem),
        };
        let layout = IMAGENET_WIDTHS.into_iter().zip(blocks);
        let x = stages(&mut g, x, fan, layout, |g, x, block| unit.write(g, x, block))?;
        let x = last_activation(&mut g, x, self.order)?;
        classify(g, x, "fc", classes)
    }
}

impl Layers {
    const fn count(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Basic => 2,
            Self::Bottleneck(_) => 3,
        }
    }

    /// The authors' program for bottlenecks counts outputs; for the others the paper refers to He et al.
    /// 2015, whose Caffe counts inputs.
    const fn fan(self) -> Fan {
        match self {
            Self::Single | Self::Basic => Fan::In,
            Self::Bottleneck(_) => Fan::Out,
        }
    }

    /// Channels, kernel and stride of each convolution.
    fn shapes(self, block: &Block) -> Vec<[usize; 3]> {
        let Block { width, stride, .. } = *block;
        match self {
            Self::Single => vec![[width, 3, stride]],
            Self::Basic => vec![[width, 3, stride], [width, 3, 1]],
            Self::Bottleneck(stride_in) => {
                let [first, middle] = stride_in.strides(stride);
                vec![[width, 1, first], [width, 3, middle], [4 * width, 1, 1]]
            }
        }
    }
}

/// What all units of a network have in common.
struct Unit {
    layers: Layers,
    order: Order,
    shortcut: Shortcut,
    skip: Skip,
    /// In nets for ImageNet only.
    stem: Option<Stem>,
}

impl Unit {
    fn write(&self, g: &mut Builder, x: NodeId, block: &Block) -> Result<NodeId, GraphError> {
        let h = self.activate(g, x, block)?;
        let y = self.branch(g, h, block)?;
        let channels = g.channels(&block.name, y)?;
        // A unit that changes the shape breaks the identity anyhow, and adds what it activated (§4.1).
        let shares = match self.stem {
            Some(Stem::Late) => block.stride != 1 || g.channels(&block.name, x)? != channels,
            _ => block.is_first,
        };
        let source = if shares { h } else { x };
        let norm = match self.order {
            Order::BnAfterAdd | Order::FullPreact => ProjectionNorm::Bare,
            _ => ProjectionNorm::Normed,
        };
        let y = match block.shortcut(g, source, channels, self.shortcut, norm)? {
            Some(s) => self.join(g, source, s, y, block)?,
            None => y,
        };
        self.activate_sum(g, y, block)
    }

    /// What pre-activated units do before their first convolution.
    fn activate(&self, g: &mut Builder, x: NodeId, block: &Block) -> Result<NodeId, GraphError> {
        let follows_stem = block.stage == 1 && block.is_first;
        Ok(match self.order {
            Order::FullPreact if follows_stem && self.stem == Some(Stem::Early) => x,
            Order::FullPreact => {
                let x = g.batch_norm(&block.part("bn1"), x)?;
                g.relu(&block.part("relu1"), x)
            }
            Order::ReluOnlyPreact => g.relu(&block.part("relu1"), x),
            _ => x,
        })
    }

    /// `F`, from its first convolution to what is added.
    fn branch(&self, g: &mut Builder, mut h: NodeId, block: &Block) -> Result<NodeId, GraphError> {
        let (last, order) = (self.layers.count(), self.order);
        for (i, shape) in (1..).zip(self.layers.shapes(block)) {
            let bn = block.part(&format!("bn{i}"));
            if order == Order::FullPreact && i > 1 {
                h = g.batch_norm(&bn, h)?;
                h = g.relu(&block.part(&format!("relu{i}")), h);
            }
            h = block.conv(g, &format!("conv{i}"), h, shape)?;
            if order != Order::FullPreact && (i < last || order != Order::BnAfterAdd) {
                h = g.batch_norm(&bn, h)?;
            }
            if order != Order::FullPreact && (i < last || order == Order::ReluBeforeAdd) {
                let number = if order == Order::ReluOnlyPreact { i + 1 } else { i };
                h = g.relu(&block.part(&format!("relu{number}")), h);
            }
        }
        Ok(h)
    }

    /// The sum of the branch's `y` and the shortcut's `s`, which leads around from `x`.
    fn join(
        &self,
        g: &mut Builder,
        x: NodeId,
        s: NodeId,
        y: NodeId,
        block: &Block,
    ) -> Result<NodeId, GraphError> {
        let (y, s) = match self.skip {
            Skip::Identity => (y, s),
            Skip::Constant { shortcut, branch } => {
                (scaled(g, &block.part("branch"), y, branch), scaled(g, &block.part("shortcut"), s, shortcut))
            }
            Skip::Exclusive { bias } => {
                let gate = self.gate(g, x, y, bias, block)?;
                (g.mul(&block.part("branch"), y, gate)?, rest(g, s, gate, block)?)
            }
            Skip::ShortcutOnly { bias } => {
                let gate = self.gate(g, x, y, bias, block)?;
                (y, rest(g, s, gate, block)?)
            }
            Skip::Dropout { rate } => (y, g.dropout(&block.part("shortcut"), s, rate)?),
        };
        g.add(&block.part("add"), y, s)
    }

    /// `g = sigmoid(W x + b)`, of the branch's shape.
    fn gate(
        &self,
        g: &mut Builder,
        x: NodeId,
        y: NodeId,
        bias: f32,
        block: &Block,
    ) -> Result<NodeId, GraphError> {
        let channels = g.channels(&block.name, y)?;
        let spec = ConvSpec {
            bias: Some(bias),
            init: Init::HeNormal(self.layers.fan()),
            ..ConvSpec::new(channels, 1, block.stride)
        };
        let gate = g.conv(&block.part("gate"), x, spec)?;
        Ok(g.sigmoid(&block.part("gate.sigmoid"), gate))
    }

    /// `f`: what happens to the sum.
    fn activate_sum(&self, g: &mut Builder, y: NodeId, block: &Block) -> Result<NodeId, GraphError> {
        let last = self.layers.count();
        let relu = block.part(&format!("relu{last}"));
        Ok(match self.order {
            Order::Original => g.relu(&relu, y),
            Order::BnAfterAdd => {
                let y = g.batch_norm(&block.part(&format!("bn{last}")), y)?;
                g.relu(&relu, y)
            }
            _ => y,
        })
    }
}

/// `(1 − gate) ⊙ s`.
fn rest(g: &mut Builder, s: NodeId, gate: NodeId, block: &Block) -> Result<NodeId, GraphError> {
    let rest = g.scale(&block.part("gate.rest"), gate, -1.0, 1.0);
    g.mul(&block.part("shortcut"), s, rest)
}

/// A factor of 1 leaves no node behind.
fn scaled(g: &mut Builder, name: &str, x: NodeId, factor: f32) -> NodeId {
    if factor.to_bits() == 1f32.to_bits() { x } else { g.scale(name, x, factor, 0.0) }
}

/// What follows the last unit, whose sum nothing has activated in the orders that activate first (§4.1).
fn last_activation(g: &mut Builder, x: NodeId, order: Order) -> Result<NodeId, GraphError> {
    Ok(match order {
        Order::FullPreact => {
            let x = g.batch_norm("norm", x)?;
            g.relu("relu_last", x)
        }
        Order::ReluOnlyPreact => g.relu("relu_last", x),
        _ => x,
    })
}
