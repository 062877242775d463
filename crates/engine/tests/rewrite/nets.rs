//! Small networks of every kind of residual unit, and weights in which no term is trivially 0 or 1.

use residuum_graph::{AvgPool, Builder, ConvSpec, Graph, GraphError, MaxPool, NodeId, Role, Weights};
use residuum_models::formula;
use residuum_tensor::Tensor;

/// Where norms and ReLUs stand (He et al. 2016, "Identity mappings in deep residual networks", Fig. 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Original,
    NormAfterAdd,
    ReluBeforeAdd,
    ReluOnlyPreact,
    FullPreact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortcut {
    PadAfter,
    PadAround,
    Projection,
    ProjectionEverywhere,
    MeanThenProjection,
}

/// A network with two stages of two units, 4 and then twice as many channels (times `widen`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Net {
    pub kind: Kind,
    pub shortcut: Shortcut,
    /// Kernels of a unit and which of them takes the stride: `[3, 3]`, or `[1, 3, 1]`.
    pub kernels: &'static [usize],
    pub stride_in: usize,
    pub groups: usize,
    pub widen: usize,
}

pub(crate) const NET: Net = Net {
    kind: Kind::Original,
    shortcut: Shortcut::PadAfter,
    kernels: &[3, 3],
    stride_in: 0,
    groups: 1,
    widen: 1,
};

impl Net {
    pub(crate) fn graph(&self) -> Graph {
        self.write().unwrap()
    }

    fn write(&self) -> Result<Graph, GraphError> {
        let mut g = Builder::new("net");
        let is_pre = matches!(self.kind, Kind::FullPreact | Kind::ReluOnlyPreact);
        let x = g.input(3);
        let mut x = g.conv("conv1", x, ConvSpec::new(4, 3, 1))?;
        if !is_pre {
            x = g.batch_norm("bn1", x)?;
            x = g.relu("relu", x);
        }
        for (stage, index) in [(1, 0), (1, 1), (2, 0), (2, 1)] {
            let stride = if (stage, index) == (2, 0) { 2 } else { 1 };
            x = self.unit(&mut g, &format!("layer{stage}.{index}"), x, 4 * stage * self.widen, stride)?;
        }
        if self.kind == Kind::FullPreact {
            x = g.batch_norm("norm", x)?;
        }
        if is_pre {
            x = g.relu("relu", x);
        }
        let x = g.global_avg_pool("avgpool", x)?;
        let x = g.linear("fc", x, 5)?;
        g.finish(x)
    }

    fn unit(
        &self,
        g: &mut Builder,
        name: &str,
        x: NodeId,
        channels: usize,
        stride: usize,
    ) -> Result<NodeId, GraphError> {
        let part = |part: &str, i: usize| format!("{name}.{part}{i}");
        let changes = stride != 1 || g.channels(name, x)? != channels;
        let (mut y, mut from) = (x, x);
        for (i, &kernel) in self.kernels.iter().enumerate() {
            let is_last = i + 1 == self.kernels.len();
            match self.kind {
                Kind::FullPreact => {
                    y = g.batch_norm(&part("bn", i + 1), y)?;
                    y = g.relu(&part("relu", i + 1), y);
                }
                Kind::ReluOnlyPreact => y = g.relu(&part("relu", i + 1), y),
                _ => {}
            }
            // A unit that changes the shape shares its first activation with the shortcut.
            if i == 0 && changes && self.kind == Kind::FullPreact {
                from = y;
            }
            let groups = if kernel == 3 { self.groups } else { 1 };
            let stride = if i == self.stride_in { stride } else { 1 };
            let width = if is_last { channels } else { channels / 2 * 2 };
            let spec = ConvSpec { groups, ..ConvSpec::new(width, kernel, stride) };
            y = g.conv(&part("conv", i + 1), y, spec)?;
            match self.kind {
                Kind::Original | Kind::ReluBeforeAdd => {
                    y = g.batch_norm(&part("bn", i + 1), y)?;
                    if !is_last || self.kind == Kind::ReluBeforeAdd {
                        y = g.relu(&part("relu", i + 1), y);
                    }
                }
                Kind::NormAfterAdd if !is_last => {
                    y = g.batch_norm(&part("bn", i + 1), y)?;
                    y = g.relu(&part("relu", i + 1), y);
                }
                Kind::ReluOnlyPreact => y = g.batch_norm(&part("bn", i + 1), y)?,
                _ => {}
            }
        }
        let s = self.shortcut(g, name, from, channels, stride, changes)?;
        let mut sum = g.add(&format!("{name}.add"), y, s)?;
        if self.kind == Kind::NormAfterAdd {
            sum = g.batch_norm(&format!("{name}.bn_sum"), sum)?;
        }
        if matches!(self.kind, Kind::Original | Kind::NormAfterAdd) {
            sum = g.relu(&format!("{name}.relu_sum"), sum);
        }
        Ok(sum)
    }

    fn shortcut(
        &self,
        g: &mut Builder,
        name: &str,
        x: NodeId,
        channels: usize,
        stride: usize,
        changes: bool,
    ) -> Result<NodeId, GraphError> {
        let extra = channels - g.channels(name, x)?;
        if !changes && self.shortcut != Shortcut::ProjectionEverywhere {
            return Ok(x);
        }
        match self.shortcut {
            Shortcut::PadAfter | Shortcut::PadAround => {
                let before = if self.shortcut == Shortcut::PadAround { extra / 2 } else { 0 };
                let s = g.subsample(&format!("{name}.subsample"), x, stride)?;
                g.pad_channels(&format!("{name}.pad"), s, before, extra - before)
            }
            Shortcut::MeanThenProjection if stride == 2 => {
                let window = MaxPool { kernel: [2; 2], stride: [2; 2], padding: [0; 2], ceil: false };
                let pool = AvgPool { window, count_include_pad: true };
                let s = g.avg_pool(&format!("{name}.mean"), x, pool)?;
                let s = g.conv(&format!("{name}.project"), s, ConvSpec::new(channels, 1, 1))?;
                g.batch_norm(&format!("{name}.project_bn"), s)
            }
            _ => {
                let s = g.conv(&format!("{name}.project"), x, ConvSpec::new(channels, 1, stride))?;
                g.batch_norm(&format!("{name}.project_bn"), s)
            }
        }
    }
}

/// Weights by formula, with scales of both signs and statistics of their own.
pub(crate) fn shaken(graph: &Graph) -> Weights {
    let mut weights = formula::weights(graph);
    for param in graph.params() {
        let r = formula::symmetric(&format!("shaken.{}", param.name), param.len());
        let value = |r: f64| match param.role {
            Role::NormWeight => 0.5 + 0.8 * r,
            Role::NormBias | Role::RunningMean => 0.3 * r,
            Role::RunningVar => 1.0 + 0.7 * r,
            _ => f64::NAN,
        };
        if !value(0.0).is_nan() {
            let tensor = Tensor::from_fn(param.shape.clone(), |i| value(r[i]) as f32);
            weights.insert(param.name.clone(), tensor);
        }
    }
    weights
}
