//! The laws that every graph obeys, whoever made it.

use crate::error::GraphError;
use crate::graph::{Graph, Kind, Node, NodeId, ParamId};
use crate::op::Op;

impl Graph {
    /// Checks that inputs come before their users, that every operation has the number and kinds of inputs
    /// it takes, that names are unique and that parameters have the shapes their operations want.
    ///
    /// # Errors
    /// Names the first node at fault.
    pub fn verify(&self) -> Result<(), GraphError> {
        if self.nodes.iter().filter(|node| node.op == Op::Input).count() != 1 {
            return Err(GraphError::new(&self.name, "exactly one input", "none or several"));
        }
        if let Some(name) = self.duplicate_name() {
            return Err(GraphError::new(name, "a name of its own", "another node with this name"));
        }
        for id in self.ids() {
            let node = self.node(id);
            if node.inputs.iter().any(|input| *input >= id) {
                return Err(GraphError::new(&node.name, "inputs that come before it", "a later node"));
            }
            self.verify_inputs(node)?;
            self.verify_params(node)?;
            self.verify_channels(node)?;
        }
        if self.output.index() >= self.nodes.len() {
            return Err(GraphError::new(&self.name, "an output that is a node", "none"));
        }
        Ok(())
    }

    fn verify_inputs(&self, node: &Node) -> Result<(), GraphError> {
        let wanted = input_kinds(node);
        let found: Vec<Kind> = node.inputs.iter().map(|&id| self.node(id).kind).collect();
        let fits =
            wanted.len() == found.len() && wanted.iter().zip(&found).all(|(want, kind)| want.admits(*kind));
        if fits {
            return Ok(());
        }
        let list = |kinds: &[String]| if kinds.is_empty() { "no inputs".into() } else { kinds.join(", ") };
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        Err(GraphError::new(&node.name, list(&wanted), list(&found)))
    }

    /// Operations whose output's channels follow from their inputs'.
    fn verify_channels(&self, node: &Node) -> Result<(), GraphError> {
        let channels = |id: &NodeId| match self.node(*id).kind {
            Kind::Map { channels } | Kind::Vector { features: channels } => channels,
            _ => 0,
        };
        let inputs: Vec<usize> = node.inputs.iter().map(channels).collect();
        let (Kind::Map { channels: made } | Kind::Vector { features: made }) = node.kind else {
            return Ok(());
        };
        let expected = match node.op {
            Op::Concat => inputs.iter().sum(),
            Op::PadChannels { before, after } => before + inputs[0] + after,
            Op::SliceChannels { start } if start + made <= inputs[0] => made,
            Op::SliceChannels { start } => inputs[0].saturating_sub(start),
            Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::GlobalAvgPool
            | Op::Subsample { .. }
            | Op::Flatten
            | Op::Blur(_) => inputs[0],
            Op::Conv2d(c) => c.c_out,
            Op::Linear(l) => l.outputs,
            _ => return Ok(()),
        };
        if made == expected {
            return Ok(());
        }
        Err(GraphError::new(&node.name, format!("{expected} channels"), made.to_string()))
    }

    fn verify_params(&self, node: &Node) -> Result<(), GraphError> {
        let check = |id: ParamId, shape: &[usize]| match self.params.get(id.index()) {
            Some(param) if param.shape == shape => Ok(()),
            Some(param) => {
                Err(GraphError::new(&param.name, format!("shape {shape:?}"), format!("{:?}", param.shape)))
            }
            None => Err(GraphError::new(&node.name, "parameters of this graph", "an unknown one")),
        };
        match node.op {
            Op::Conv2d(c) => {
                check(c.weight, &[c.c_out, c.c_in / c.groups, c.kernel[0], c.kernel[1]])?;
                c.bias.map_or(Ok(()), |bias| check(bias, &[c.c_out]))
            }
            Op::BatchNorm(b) | Op::Normalize(b) => [b.weight, b.bias, b.running_mean, b.running_var]
                .iter()
                .try_for_each(|&id| check(id, &[b.channels])),
            Op::Linear(l) => {
                check(l.weight, &[l.outputs, l.inputs])?;
                l.bias.map_or(Ok(()), |bias| check(bias, &[l.outputs]))
            }
            _ => Ok(()),
        }
    }
}

/// What an operation takes at one place.
enum Wanted {
    Exactly(Kind),
    AnyMap,
    MapOrVector,
}

impl Wanted {
    fn admits(&self, kind: Kind) -> bool {
        match self {
            Self::Exactly(wanted) => *wanted == kind,
            Self::AnyMap => matches!(kind, Kind::Map { .. }),
            Self::MapOrVector => matches!(kind, Kind::Map { .. } | Kind::Vector { .. }),
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(kind) => kind.fmt(f),
            Self::AnyMap => f.write_str("a map"),
            Self::MapOrVector => f.write_str("a map or vector"),
        }
    }
}

/// Inputs of an operation, in its node's order. An operation that takes any number of inputs takes as many
/// as the node has.
fn input_kinds(node: &Node) -> Vec<Wanted> {
    use Wanted::{AnyMap, Exactly, MapOrVector};
    let map = |channels| Exactly(Kind::Map { channels });
    let vector = |features| Exactly(Kind::Vector { features });
    let statistics = |channels| Exactly(Kind::Statistics { channels });
    match node.op {
        Op::Input | Op::Seed { .. } => vec![],
        Op::Conv2d(c) => vec![map(c.c_in)],
        Op::BatchNorm(b) | Op::Moments(b) | Op::BatchNormBackward(b) => vec![map(b.channels)],
        Op::Normalize(b) => vec![map(b.channels), statistics(b.channels)],
        Op::NormalizeBackwardSums(b) => vec![map(b.channels), map(b.channels), statistics(b.channels)],
        Op::NormalizeBackward(b) => {
            vec![map(b.channels), map(b.channels), statistics(b.channels), statistics(b.channels)]
        }
        Op::Relu
        | Op::CrossEntropyBackward
        | Op::Scale { .. }
        | Op::Sigmoid
        | Op::Dropout(_)
        | Op::DropPath(_)
        | Op::Mask(_)
        | Op::Gate(_) => vec![Exactly(node.kind)],
        Op::Concat => node.inputs.iter().map(|_| AnyMap).collect(),
        Op::Add | Op::ReluBackward | Op::Mul | Op::MulBackward { .. } | Op::SigmoidBackward => {
            vec![Exactly(node.kind), Exactly(node.kind)]
        }
        Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::GlobalAvgPool
        | Op::Subsample { .. }
        | Op::PadChannels { .. }
        | Op::AvgPoolBackward { .. }
        | Op::SubsampleBackward { .. }
        | Op::Blur(_)
        | Op::BlurBackward { .. }
        | Op::SliceChannels { .. }
        | Op::PadChannelsBackward { .. } => vec![AnyMap],
        Op::MaxPoolBackward(_) => vec![AnyMap, Exactly(node.kind)],
        Op::Linear(l) => vec![vector(l.inputs)],
        Op::LinearBackwardData(l) => vec![vector(l.outputs)],
        Op::LinearBackwardWeights(l) => vec![vector(l.inputs), vector(l.outputs)],
        Op::Flatten | Op::CrossEntropy | Op::GlobalAvgPoolBackward { .. } | Op::BiasBackward { .. } => {
            vec![MapOrVector]
        }
        Op::ConvBackwardData { conv, .. } => vec![map(conv.c_out)],
        Op::ConvBackwardWeights(c) => vec![map(c.c_in), map(c.c_out)],
    }
}
