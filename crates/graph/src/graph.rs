//! The list of nodes and parameters that is a network.

use std::collections::HashSet;

use crate::error::GraphError;
use crate::op::Op;
use crate::param::Param;

/// Index of a node in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

/// Index of a parameter in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub(crate) u32);

impl NodeId {
    /// Position in [`Graph::nodes`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl ParamId {
    /// Position in [`Graph::params`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a node makes. The batch and the spatial sizes stay open until [`Graph::extents`] fixes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[n, channels, h, w]`.
    Map {
        /// Channels.
        channels: usize,
    },
    /// `[n, features]`.
    Vector {
        /// Features.
        features: usize,
    },
    /// `[2, channels]`, whatever the batch.
    Statistics {
        /// Channels.
        channels: usize,
    },
    /// The shape of a parameter.
    Gradient(ParamId),
    /// One number.
    Scalar,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Map { channels } => write!(f, "a map of {channels} channels"),
            Self::Vector { features } => write!(f, "a vector of {features} features"),
            Self::Statistics { channels } => write!(f, "statistics of {channels} channels"),
            Self::Gradient(_) => write!(f, "a parameter's gradient"),
            Self::Scalar => write!(f, "a scalar"),
        }
    }
}

/// One operation of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The name that PyTorch would give the module, unique in the graph.
    pub name: String,
    /// What is computed.
    pub op: Op,
    /// From what, all of them earlier in the list.
    pub inputs: Vec<NodeId>,
    /// What comes out.
    pub kind: Kind,
}

/// A network: nodes in topological order and the parameters that they refer to.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub(crate) name: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) params: Vec<Param>,
    pub(crate) output: NodeId,
}

impl Graph {
    /// Name of the network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All nodes, inputs before their users.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All parameters, running statistics among them, in the order of the nodes that use them.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The node of an index.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The parameter of an index.
    pub fn param(&self, id: ParamId) -> &Param {
        &self.params[id.index()]
    }

    /// The node whose value answers: the logits of a classifier.
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// Indices of all nodes in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// Indices of all parameters in order.
    pub fn param_ids(&self) -> impl DoubleEndedIterator<Item = ParamId> + use<> {
        (0..self.params.len() as u32).map(ParamId)
    }

    /// Channels of the images that the network takes.
    pub fn input_channels(&self) -> usize {
        self.nodes
            .iter()
            .find_map(|node| match (node.op, node.kind) {
                (Op::Input, Kind::Map { channels }) => Some(channels),
                _ => None,
            })
            .unwrap_or(0)
    }

    /// Number of values that the output has for each image: the classes of a classifier.
    pub fn output_features(&self) -> usize {
        match self.node(self.output).kind {
            Kind::Map { channels: count } | Kind::Vector { features: count } => count,
            _ => 0,
        }
    }

    /// The node of a name. The name of a module (`layer1.0`, `layer1`) means its last node, which makes
    /// the module's output.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        let exact = self.ids().find(|&id| self.node(id).name == name);
        exact.or_else(|| {
            self.ids()
                .rev()
                .find(|&id| self.node(id).name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
        })
    }

    /// The parameter of a name.
    pub fn find_param(&self, name: &str) -> Option<ParamId> {
        self.params.iter().position(|p| p.name == name).map(|index| ParamId(index as u32))
    }

    /// For every node, the nodes that read it.
    pub fn users(&self) -> Vec<Vec<NodeId>> {
        let mut users = vec![Vec::new(); self.nodes.len()];
        for id in self.ids() {
            for input in &self.node(id).inputs {
                users[input.index()].push(id);
            }
        }
        users
    }

    /// The same nodes, where for some of them one of their inputs stands: every reader of a node for which
    /// `by` names an input reads that input instead. Beside the graph, for each node the one whose value
    /// stands for its own.
    #[must_use]
    pub fn bypass(&self, by: impl Fn(&Node) -> Option<usize>) -> (Self, Vec<NodeId>) {
        let mut graph = self.clone();
        let mut stands_for: Vec<NodeId> = Vec::with_capacity(self.nodes.len());
        for (id, node) in self.ids().zip(&mut graph.nodes) {
            node.inputs.iter_mut().for_each(|input| *input = stands_for[input.index()]);
            let source = by(node).and_then(|index| node.inputs.get(index).copied());
            stands_for.push(source.unwrap_or(id));
        }
        graph.output = stands_for[self.output.index()];
        (graph, stands_for)
    }

    /// The same classifier for another number of classes: its last linear layer, which answers, is resized.
    ///
    /// # Errors
    /// When the node that answers is no linear layer, or there are no classes.
    pub fn with_classes(mut self, classes: usize) -> Result<Self, GraphError> {
        let index = self.output.index();
        let Op::Linear(linear) = &mut self.nodes[index].op else {
            let node = &self.nodes[index];
            return Err(GraphError::new(&node.name, "a linear layer that answers", node.op.name()));
        };
        if classes == 0 {
            return Err(GraphError::new(&self.nodes[index].name, "at least one class", "0"));
        }
        linear.outputs = classes;
        for id in std::iter::once(linear.weight).chain(linear.bias) {
            self.params[id.index()].shape[0] = classes;
        }
        self.nodes[index].kind = Kind::Vector { features: classes };
        self.verify()?;
        Ok(self)
    }

    pub(crate) fn duplicate_name(&self) -> Option<&str> {
        let mut seen = HashSet::new();
        self.nodes.iter().map(|node| node.name.as_str()).find(|name| !seen.insert(*name))
    }
}
