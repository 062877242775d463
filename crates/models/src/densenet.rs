//! The networks of Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks"
//! (arXiv 1608.06993, 2016).
//!
//! Sections are those of the paper. Layer l of a block reads everything before it in the block (§3, "Dense
//! connectivity", equation 2), `x_l = H([x_0, x_1, …, x_{l-1}])`, and adds `growth` maps. A block is written
//! as a chain of concatenations, each of which appends one layer's maps. Parameters and nodes have the names
//! that torchvision gives them (`features.denseblock1.denselayer1.norm1`); a net for CIFAR has no
//! `features.norm0`, and its last norm is `features.norm5` all the same.

use residuum_graph::{AvgPool, Builder, ConvSpec, Fan, Graph, GraphError, Init, MaxPool, NodeId};

/// Channels of an input image: red, green, blue.
const COLOURS: usize = 3;

/// A bottleneck makes this many times the growth rate (§3, "Bottleneck layers").
const BOTTLENECK: usize = 4;

/// Channels after the first convolution of the nets for CIFAR that are not BC (§3, "Implementation details").
/// The Torch program that followed makes twice the growth rate everywhere; the sizes printed in Table 2 are
/// those of the text.
const STEM: usize = 16;

/// The letters of a net's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// B: a 1×1 convolution to four times the growth rate comes before each 3×3.
    pub bottleneck: bool,
    /// C: a transition keeps half of the maps, rounded down (θ = 0.5); otherwise all.
    pub compression: bool,
}

impl Variant {
    /// `DenseNet`.
    pub const PLAIN: Self = Self { bottleneck: false, compression: false };
    /// `DenseNet-B`.
    pub const B: Self = Self { bottleneck: true, compression: false };
    /// `DenseNet-C`.
    pub const C: Self = Self { bottleneck: false, compression: true };
    /// `DenseNet-BC`.
    pub const BC: Self = Self { bottleneck: true, compression: true };

    /// Convolutions of a layer.
    const fn convolutions(self) -> usize {
        1 + self.bottleneck as usize
    }

    /// Maps that a transition makes of `channels`: ⌊θ m⌋ (§3, "Compression").
    const fn kept(self, channels: usize) -> usize {
        if self.compression { channels / 2 } else { channels }
    }
}

/// A net for CIFAR and SVHN: three blocks with equal numbers of layers (§3, "Implementation details").
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cifar {
    /// Number of weighted layers: 3n+4, or 6n+4 with bottlenecks.
    pub depth: usize,
    /// Maps that a layer adds, k.
    pub growth: usize,
    /// The letters.
    pub variant: Variant,
    /// Channels after the first convolution.
    pub stem: usize,
    /// Dropout after every convolution but the first: 0.2 where training images are not augmented (§4.2).
    pub dropout: f32,
}

impl Cifar {
    /// The net of a row of Table 2: a stem of 16 channels, or 2k for BC; no dropout.
    pub const fn new(depth: usize, growth: usize, variant: Variant) -> Self {
        let stem = if variant.bottleneck && variant.compression { 2 * growth } else { STEM };
        Self { depth, growth, variant, stem, dropout: 0.0 }
    }

    /// Writes the network for images of 32×32 or any other size of at least four.
    ///
    /// # Errors
    /// When the depth is not one that three equal blocks have, the growth rate, the stem or the number of
    /// classes is 0, or the rate of dropout is not in `[0, 1)`.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        let step = 3 * self.variant.convolutions();
        if self.depth < 4 + step || !(self.depth - 4).is_multiple_of(step) {
            return Err(GraphError {
                node: name.into(),
                expected: format!("a depth of {step}n+4 with n of at least 1"),
                found: self.depth.to_string(),
            });
        }
        let layers = (self.depth - 4) / step;
        let mut g = Builder::new(name);
        let x = g.input(COLOURS);
        // No norm and no ReLU follow: every layer of the first block has its own.
        let x = g.conv("features.conv0", x, conv(self.stem, 3))?;
        let dense = Dense { growth: self.growth, variant: self.variant, dropout: self.dropout };
        let x = dense.blocks(&mut g, x, &[layers; 3])?;
        classify(g, x, classes)
    }
}

/// A net for ImageNet (§3, Table 1): DenseNet-BC with four blocks and a stem of 2k channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageNet {
    /// Maps that a layer adds, k.
    pub growth: usize,
    /// Layers of each block.
    pub layers: [usize; 4],
}

impl ImageNet {
    /// Number of weighted layers.
    pub const fn depth(&self) -> usize {
        let [a, b, c, d] = self.layers;
        2 * (a + b + c + d) + 5
    }

    /// Writes the network for images of 224×224 or any other size.
    ///
    /// # Errors
    /// When the growth rate or the number of classes is 0.
    pub fn graph(&self, name: &str, classes: usize) -> Result<Graph, GraphError> {
        let mut g = Builder::new(name);
        let x = g.input(COLOURS);
        let x = g.conv("features.conv0", x, ConvSpec { stride: 2, ..conv(2 * self.growth, 7) })?;
        let x = g.batch_norm("features.norm0", x)?;
        let x = g.relu("features.relu0", x);
        let window = MaxPool { kernel: [3; 2], stride: [2; 2], padding: [1; 2], ceil: false };
        let x = g.max_pool("features.pool0", x, window)?;
        let dense = Dense { growth: self.growth, variant: Variant::BC, dropout: 0.0 };
        let x = dense.blocks(&mut g, x, &self.layers)?;
        classify(g, x, classes)
    }
}

/// What all blocks of a network have in common.
struct Dense {
    growth: usize,
    variant: Variant,
    dropout: f32,
}

impl Dense {
    /// The blocks, with a transition between each and the next.
    fn blocks(&self, g: &mut Builder, mut x: NodeId, layers: &[usize]) -> Result<NodeId, GraphError> {
        for (index, &count) in layers.iter().enumerate() {
            let number = index + 1;
            for layer in 1..=count {
                x = self.layer(g, &format!("features.denseblock{number}.denselayer{layer}"), x)?;
            }
            if number < layers.len() {
                x = self.transition(g, &format!("features.transition{number}"), x)?;
            }
        }
        Ok(x)
    }

    /// `[x, H(x)]`: H is BN-ReLU-conv 3×3 (§3, "Composite function"), or BN-ReLU-conv 1×1-BN-ReLU-conv 3×3
    /// ("Bottleneck layers").
    fn layer(&self, g: &mut Builder, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
        let part = |part: &str| format!("{name}.{part}");
        let (mut h, mut last) = (x, 1);
        if self.variant.bottleneck {
            h = g.batch_norm(&part("norm1"), h)?;
            h = g.relu(&part("relu1"), h);
            h = g.conv(&part("conv1"), h, conv(BOTTLENECK * self.growth, 1))?;
            h = g.dropout(&part("drop1"), h, self.dropout)?;
            last = 2;
        }
        h = g.batch_norm(&part(&format!("norm{last}")), h)?;
        h = g.relu(&part(&format!("relu{last}")), h);
        h = g.conv(&part(&format!("conv{last}")), h, conv(self.growth, 3))?;
        h = g.dropout(&part(&format!("drop{last}")), h, self.dropout)?;
        g.concat(&part("concat"), &[x, h])
    }

    /// BN-ReLU-conv 1×1, then the mean of each two by two pixels (§3, "Pooling layers").
    fn transition(&self, g: &mut Builder, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
        let part = |part: &str| format!("{name}.{part}");
        let channels = self.variant.kept(g.channels(name, x)?);
        let x = g.batch_norm(&part("norm"), x)?;
        let x = g.relu(&part("relu"), x);
        let x = g.conv(&part("conv"), x, conv(channels, 1))?;
        let x = g.dropout(&part("drop"), x, self.dropout)?;
        let window = MaxPool { kernel: [2; 2], stride: [2; 2], padding: [0; 2], ceil: false };
        g.avg_pool(&part("pool"), x, AvgPool { window, count_include_pad: true })
    }
}

/// BN-ReLU, the mean of each map, and the linear layer that answers.
fn classify(mut g: Builder, x: NodeId, classes: usize) -> Result<Graph, GraphError> {
    let x = g.batch_norm("features.norm5", x)?;
    let x = g.relu("relu", x);
    let x = g.global_avg_pool("avgpool", x)?;
    let x = g.linear("classifier", x, classes)?;
    g.finish(x)
}

/// A convolution without bias that starts as in the authors' program: normal, by its outputs.
const fn conv(channels: usize, kernel: usize) -> ConvSpec {
    ConvSpec { init: Init::HeNormal(Fan::Out), ..ConvSpec::new(channels, kernel, 1) }
}

/// The name that a parameter of a checkpoint has today. Files written before `PyTorch` forbade dots in names
/// of modules call it `….denselayer1.norm.1.weight`, those that torchvision downloads among them; the authors'
/// memory-efficient program calls the last norm `features.norm_final`. Any other name stays.
pub fn old_densenet_name(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("features.norm_final.") {
        return format!("features.norm5.{rest}");
    }
    modern_layer_name(name).unwrap_or_else(|| name.to_owned())
}

/// `{before}denselayer{i}.{norm|relu|conv}.{1|2}.{rest}` without the dot before the last digit.
fn modern_layer_name(name: &str) -> Option<String> {
    let (before, layer) = name.split_once("denselayer")?;
    let mut parts = layer.splitn(4, '.');
    let (index, kind, number, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_index = !index.is_empty() && index.bytes().all(|c| c.is_ascii_digit());
    let is_old = is_index && matches!(kind, "norm" | "relu" | "conv") && matches!(number, "1" | "2");
    is_old.then(|| format!("{before}denselayer{index}.{kind}{number}.{rest}"))
}
