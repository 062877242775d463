//! Which nodes are computed together.
//!
//! A [`Group`] is a root (a convolution, a normalisation, a pool …) and the cheap nodes that follow it and
//! are done while its result is still in registers: a batch norm folded into the filters, the addition of
//! a shortcut, a ReLU, the mask of a ReLU's gradient. A node joins the group of its input only if nobody
//! else reads that input and nobody asked to see it.

use std::collections::{HashMap, HashSet};

use residuum_graph::{BatchNorm, Graph, NodeId, Op};

/// Nodes computed by one step.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The node that gives the step its kind.
    pub(crate) root: NodeId,
    /// Batch norm by constant statistics, folded into the root's filters.
    pub(crate) norm: Option<BatchNorm>,
    /// Constant that the root's value is multiplied by, folded like a norm.
    pub(crate) factor: Option<f32>,
    /// The other half of a subsampling with channel padding, or of its gradient.
    pub(crate) partner: Option<NodeId>,
    /// Value added to the root's.
    pub(crate) residual: Option<NodeId>,
    /// Output of the ReLU whose gradient ends the step.
    pub(crate) mask: Option<NodeId>,
    /// Whether a ReLU ends the step.
    pub(crate) relu: bool,
    /// The norm whose output's gradient the step makes, which takes the sums of that gradient.
    pub(crate) before: Option<NormBefore>,
    /// The node whose value the step makes.
    pub(crate) last: NodeId,
}

impl Group {
    /// Whether the group is its root and a ReLU at most.
    pub(crate) fn is_bare(&self) -> bool {
        let Self { norm, factor, partner, residual, mask, .. } = self;
        norm.is_none() && factor.is_none() && partner.is_none() && residual.is_none() && mask.is_none()
    }
}

/// A norm by the moments of its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormBefore {
    pub(crate) x: NodeId,
    pub(crate) moments: NodeId,
    /// Whether the gradient goes through a ReLU behind the norm.
    pub(crate) relu: bool,
}

/// The groups of a graph in the order in which they run.
#[derive(Debug)]
pub(crate) struct Fusion {
    pub(crate) groups: Vec<Group>,
    /// Gradients of ReLUs that no step makes: whoever reads one takes the gradient at `.0` where the
    /// output at `.1` is positive.
    pub(crate) masked: HashMap<NodeId, (NodeId, NodeId)>,
    /// Norms that no step makes: whoever reads one normalises what he reads.
    pub(crate) normalized: HashMap<NodeId, Group>,
}

/// Groups the nodes of `graph`, those left out for which another stands. `kept` are nodes whose values must
/// exist; `folds_norms` says whether constant batch norms may go into filters (they may not where filters
/// are learned).
pub(crate) fn fuse(
    graph: &Graph,
    stands_for: &[NodeId],
    kept: &HashSet<NodeId>,
    folds_norms: bool,
) -> Fusion {
    let users = users(graph, stands_for);
    let mut fuser = Fuser {
        graph,
        folds_norms,
        masked: masked_gradients(graph, &users, kept),
        users,
        kept,
        groups: Vec::new(),
        group_of: HashMap::new(),
    };
    for id in graph.ids().filter(|id| stands_for[id.index()] == *id) {
        fuser.place(id);
    }
    let mut groups = fuser.groups;
    groups.sort_by_key(|group| group.last);
    Fusion { groups, masked: fuser.masked, normalized: HashMap::new() }
}

/// The readers of every node, those left out for which another stands.
pub(crate) fn users(graph: &Graph, stands_for: &[NodeId]) -> Vec<Vec<NodeId>> {
    let mut users = graph.users();
    for readers in &mut users {
        readers.retain(|user| stands_for[user.index()] == *user);
    }
    users
}

/// ReLU gradients that only the backward steps of one normalisation read: those mask as they read.
fn masked_gradients(
    graph: &Graph,
    users: &[Vec<NodeId>],
    kept: &HashSet<NodeId>,
) -> HashMap<NodeId, (NodeId, NodeId)> {
    let reads_masked = |user: &NodeId, id: NodeId| {
        let node = graph.node(*user);
        let is_norm = matches!(node.op, Op::NormalizeBackwardSums(_) | Op::NormalizeBackward(_));
        is_norm && node.inputs[0] == id && !node.inputs[1..].contains(&id)
    };
    let is_conv = |id: &NodeId| matches!(graph.node(*id).op, Op::ConvBackwardData { .. });
    let joins_conv = |id: &NodeId| is_conv(id) && !kept.contains(id) && users[id.index()].len() == 1;
    let is_of_conv = |id: NodeId| {
        let node = graph.node(id);
        is_conv(&id) || (node.op == Op::Add && node.inputs.iter().any(joins_conv))
    };
    let is_masked = |id: &NodeId| {
        graph.node(*id).op == Op::ReluBackward
            && !kept.contains(id)
            // A convolution's own step does better: it masks before it stores.
            && !is_of_conv(graph.node(*id).inputs[0])
            && users[id.index()].iter().all(|user| reads_masked(user, *id))
    };
    let sources = |id: NodeId| (graph.node(id).inputs[0], graph.node(id).inputs[1]);
    graph.ids().filter(is_masked).map(|id| (id, sources(id))).collect()
}

struct Fuser<'a> {
    graph: &'a Graph,
    folds_norms: bool,
    masked: HashMap<NodeId, (NodeId, NodeId)>,
    users: Vec<Vec<NodeId>>,
    kept: &'a HashSet<NodeId>,
    groups: Vec<Group>,
    /// The group whose value a node is, for now.
    group_of: HashMap<NodeId, usize>,
}

impl Fuser<'_> {
    fn place(&mut self, id: NodeId) {
        let graph = self.graph;
        let node = graph.node(id);
        // The loss is computed together with its gradient.
        if self.masked.contains_key(&id) || (node.op == Op::CrossEntropy && self.has_loss_gradient(id)) {
            return;
        }
        let joined = match node.op {
            Op::BatchNorm(norm) => self.fold_norm(node.inputs[0], norm),
            Op::Scale { factor, offset: 0.0 } => self.fold_factor(node.inputs[0], factor),
            Op::DropPath(path) => self.fold_factor(node.inputs[0], path.evaluation_factor()),
            Op::Add => self.join_addition(node.inputs[0], node.inputs[1]),
            Op::Relu => self.join_relu(node.inputs[0]),
            Op::ReluBackward => self.join_mask(node.inputs[0], node.inputs[1]),
            Op::PadChannels { .. } | Op::SubsampleBackward { .. } => self.join_partner(id, node.inputs[0]),
            _ => None,
        };
        let index = joined.unwrap_or_else(|| {
            self.groups.push(Group {
                root: id,
                norm: None,
                factor: None,
                partner: None,
                residual: None,
                mask: None,
                relu: false,
                before: None,
                last: id,
            });
            self.groups.len() - 1
        });
        self.groups[index].last = id;
        self.group_of.insert(id, index);
    }

    fn has_loss_gradient(&self, loss: NodeId) -> bool {
        let logits = self.graph.node(loss).inputs[0];
        self.users[logits.index()].iter().any(|user| self.graph.node(*user).op == Op::CrossEntropyBackward)
    }

    /// The group that makes `input`, if the next node may join it.
    fn open_group(&self, input: NodeId) -> Option<(usize, Op)> {
        if self.kept.contains(&input) || self.users[input.index()].len() != 1 {
            return None;
        }
        let index = *self.group_of.get(&input)?;
        let group = &self.groups[index];
        (!group.relu && group.mask.is_none()).then(|| (index, self.graph.node(group.root).op))
    }

    fn fold_norm(&mut self, input: NodeId, norm: BatchNorm) -> Option<usize> {
        let (index, root) = self.open_group(input)?;
        let group = &mut self.groups[index];
        let bare = group.norm.is_none() && group.residual.is_none() && group.factor.is_none();
        if !(self.folds_norms && bare && matches!(root, Op::Conv2d(_))) {
            return None;
        }
        group.norm = Some(norm);
        Some(index)
    }

    fn fold_factor(&mut self, input: NodeId, factor: f32) -> Option<usize> {
        let (index, root) = self.open_group(input)?;
        let group = &mut self.groups[index];
        let folds = self.folds_norms && group.residual.is_none();
        if !(folds && matches!(root, Op::Conv2d(_) | Op::BatchNorm(_))) {
            return None;
        }
        group.factor = Some(group.factor.unwrap_or(1.0) * factor);
        Some(index)
    }

    /// Joins the later of the two operands, so that the other one exists by then.
    fn join_addition(&mut self, a: NodeId, b: NodeId) -> Option<usize> {
        let (first, second) = if a > b { (a, b) } else { (b, a) };
        for (own, other) in [(first, second), (second, first)] {
            let Some((index, root)) = self.open_group(own) else { continue };
            let adds = matches!(
                root,
                Op::Conv2d(_)
                    | Op::BatchNorm(_)
                    | Op::Normalize(_)
                    | Op::Scale { .. }
                    | Op::DropPath(_)
                    | Op::Mul
                    | Op::ConvBackwardData { .. }
                    | Op::NormalizeBackward(_)
            );
            if adds && self.groups[index].residual.is_none() {
                self.groups[index].residual = Some(other);
                return Some(index);
            }
        }
        None
    }

    fn join_relu(&mut self, input: NodeId) -> Option<usize> {
        let (index, root) = self.open_group(input)?;
        let ends_in_relu = matches!(
            root,
            Op::Conv2d(_)
                | Op::BatchNorm(_)
                | Op::Normalize(_)
                | Op::Scale { .. }
                | Op::DropPath(_)
                | Op::Mul
                | Op::Add
        );
        if !ends_in_relu {
            return None;
        }
        self.groups[index].relu = true;
        Some(index)
    }

    fn join_mask(&mut self, dy: NodeId, y: NodeId) -> Option<usize> {
        let (index, root) = self.open_group(dy)?;
        if !matches!(root, Op::ConvBackwardData { .. }) {
            return None;
        }
        self.groups[index].mask = Some(y);
        Some(index)
    }

    fn join_partner(&mut self, id: NodeId, input: NodeId) -> Option<usize> {
        let (index, root) = self.open_group(input)?;
        let pairs = match self.graph.node(id).op {
            Op::PadChannels { .. } => matches!(root, Op::Subsample { .. }),
            _ => matches!(root, Op::PadChannelsBackward { .. }),
        };
        let group = &mut self.groups[index];
        if !pairs || group.partner.is_some() {
            return None;
        }
        group.partner = Some(id);
        Some(index)
    }
}
