//! What the residual nets have in common: stages of blocks, stems, shortcuts, the classifier.

use residuum_graph::{Builder, ConvSpec, Fan, Graph, GraphError, Init, NodeId};

use crate::resnet::{DEPTHS, Shortcut, StemPool, Zeros};

/// Channels of an input image: red, green, blue.
const COLOURS: usize = 3;

/// Widths of the three stages for CIFAR (He et al. 2015, §4.2).
pub(crate) const CIFAR_WIDTHS: [usize; 3] = [16, 32, 64];

/// Widths of the four stages for ImageNet (He et al. 2015, Table 1).
pub(crate) const IMAGENET_WIDTHS: [usize; 4] = [64, 128, 256, 512];

/// One block of a network, before it is written.
pub(crate) struct Block {
    /// Such as `layer1.0`.
    pub(crate) name: String,
    /// Channels of its stage, by which its layers are measured.
    pub(crate) width: usize,
    /// 2 where it halves the map.
    pub(crate) stride: usize,
    /// Stage, from 1.
    pub(crate) stage: usize,
    /// Whether it is the first of its stage.
    pub(crate) is_first: bool,
    /// Number among all blocks of the network, from 1.
    pub(crate) number: usize,
    /// What its filters' spread is scaled by.
    pub(crate) fan: Fan,
}

impl Block {
    /// Full name of a part of the block, such as `layer1.0.conv1`.
    pub(crate) fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }

    /// A `kernel`×`kernel` convolution of the block that keeps the size up to its stride.
    pub(crate) fn conv(
        &self,
        g: &mut Builder,
        part: &str,
        x: NodeId,
        [channels, kernel, stride]: [usize; 3],
    ) -> Result<NodeId, GraphError> {
        let init = Init::HeNormal(self.fan);
        g.conv(&self.part(part), x, ConvSpec { init, ..ConvSpec::new(channels, kernel, stride) })
    }

    /// What leads around the layers that made `channels` channels out of `x`; nothing in a plain net.
    pub(crate) fn shortcut(
        &self,
        g: &mut Builder,
        x: NodeId,
        channels: usize,
        shortcut: Shortcut,
        norm: ProjectionNorm,
    ) -> Result<Option<NodeId>, GraphError> {
        let carried = g.channels(&self.name, x)?;
        let changes = self.stride != 1 || carried != channels;
        Ok(match shortcut {
            Shortcut::Plain => None,
            Shortcut::ProjectionEverywhere => Some(self.project(g, x, channels, norm)?),
            Shortcut::Projection if changes => Some(self.project(g, x, channels, norm)?),
            Shortcut::ZeroPad(zeros) if changes => Some(self.zero_pad(g, x, channels - carried, zeros)?),
            Shortcut::Projection | Shortcut::ZeroPad(_) => Some(x),
        })
    }

    /// Options B and C: a 1×1 convolution with the block's stride, and batch norm where it has one.
    fn project(
        &self,
        g: &mut Builder,
        x: NodeId,
        channels: usize,
        norm: ProjectionNorm,
    ) -> Result<NodeId, GraphError> {
        let s = self.conv(g, "downsample.0", x, [channels, 1, self.stride])?;
        match norm {
            ProjectionNorm::Normed => g.batch_norm(&self.part("downsample.1"), s),
            ProjectionNorm::Bare => Ok(s),
        }
    }

    /// Option A: the rows and columns 0, 2, 4 …, without averaging, and `extra` channels of zeros.
    fn zero_pad(&self, g: &mut Builder, x: NodeId, extra: usize, zeros: Zeros) -> Result<NodeId, GraphError> {
        let s = match self.stride {
            1 => x,
            stride => g.subsample(&self.part("downsample.subsample"), x, stride)?,
        };
        let before = match zeros {
            Zeros::After => 0,
            Zeros::Around => extra / 2,
        };
        g.pad_channels(&self.part("downsample.pad"), s, before, extra - before)
    }
}

/// Whether batch norm follows the 1×1 convolution of a shortcut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProjectionNorm {
    /// As after every convolution of He et al. 2015.
    Normed,
    /// Not in nets whose batch norms stand elsewhere.
    Bare,
}

/// The stages `layer1`, `layer2` …, each of its width and number of blocks; the first block of each but the
/// first halves the map (He et al. 2015, §3.3).
pub(crate) fn stages(
    g: &mut Builder,
    mut x: NodeId,
    fan: Fan,
    stages: impl IntoIterator<Item = (usize, usize)>,
    mut unit: impl FnMut(&mut Builder, NodeId, &Block) -> Result<NodeId, GraphError>,
) -> Result<NodeId, GraphError> {
    let mut number = 0;
    for (stage, (width, count)) in (1..).zip(stages) {
        for index in 0..count {
            number += 1;
            let is_first = index == 0;
            let stride = if stage > 1 && is_first { 2 } else { 1 };
            let block =
                Block { name: format!("layer{stage}.{index}"), width, stride, stage, is_first, number, fan };
            x = unit(g, x, &block)?;
        }
    }
    Ok(x)
}

/// The first layer, on a network's input.
pub(crate) fn first_conv(g: &mut Builder, fan: Fan, spec: [usize; 3]) -> Result<NodeId, GraphError> {
    let [channels, kernel, stride] = spec;
    let x = g.input(COLOURS);
    g.conv("conv1", x, ConvSpec { init: Init::HeNormal(fan), ..ConvSpec::new(channels, kernel, stride) })
}

/// Batch norm and ReLU after the first layer.
pub(crate) fn first_activation(g: &mut Builder, x: NodeId) -> Result<NodeId, GraphError> {
    let x = g.batch_norm("bn1", x)?;
    Ok(g.relu("relu", x))
}

/// The first layers for CIFAR: a 3×3 convolution of 16 filters.
pub(crate) fn cifar_stem(g: &mut Builder, fan: Fan) -> Result<NodeId, GraphError> {
    let x = first_conv(g, fan, [16, 3, 1])?;
    first_activation(g, x)
}

/// The first layers for ImageNet: a 7×7 convolution of stride 2 and a max pool.
pub(crate) fn imagenet_stem(
    g: &mut Builder,
    fan: Fan,
    width: usize,
    pool: StemPool,
) -> Result<NodeId, GraphError> {
    let x = first_conv(g, fan, [width, 7, 2])?;
    let x = first_activation(g, x)?;
    g.max_pool("maxpool", x, pool.window())
}

/// The last layers: the mean over all positions and a linear layer of the name `classifier`.
pub(crate) fn classify(
    mut g: Builder,
    x: NodeId,
    classifier: &str,
    classes: usize,
) -> Result<Graph, GraphError> {
    let x = g.global_avg_pool("avgpool", x)?;
    let x = g.linear(classifier, x, classes)?;
    g.finish(x)
}

/// Refuses a network without blocks.
pub(crate) fn check_blocks(name: &str, n: usize) -> Result<(), GraphError> {
    if n > 0 {
        return Ok(());
    }
    Err(GraphError { node: name.into(), expected: "at least one block a stage".into(), found: "none".into() })
}

/// Blocks of the four stages of an ImageNet net.
pub(crate) fn imagenet_blocks(name: &str, depth: usize) -> Result<[usize; 4], GraphError> {
    let known = || DEPTHS.map(|(depth, _)| depth.to_string()).join(", ");
    let row = DEPTHS.iter().find(|(known, _)| *known == depth);
    row.map(|(_, blocks)| *blocks).ok_or_else(|| GraphError {
        node: name.into(),
        expected: format!("a depth among {}", known()),
        found: depth.to_string(),
    })
}
