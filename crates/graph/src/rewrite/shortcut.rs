//! Residual units on the graph: where a value forks, the two ways to the addition, and what the shortcut does.

use super::error::RewriteError;
use super::layer::Carry;
use super::matrix::Matrix;
use super::source::{Source, refusal};
use crate::graph::NodeId;
use crate::op::{AvgPool, MaxPool, Op};

/// A value that is read twice, and the addition where the two ways meet.
pub(crate) struct Unit {
    /// The nodes of the branch `F`, in order.
    pub(crate) branch: Vec<NodeId>,
    /// The nodes of the shortcut, in order; none for the identity.
    pub(crate) shortcut: Vec<NodeId>,
    /// The addition.
    pub(crate) add: NodeId,
}

impl Unit {
    /// The unit that begins at a node which is read by `users`.
    ///
    /// # Errors
    /// When there is no such unit, with the node that breaks the pattern.
    pub(crate) fn find(source: &Source<'_>, fork: NodeId, users: [NodeId; 2]) -> Result<Self, RewriteError> {
        let [(one, add), (other, end)] = [way(source, users[0])?, way(source, users[1])?];
        if add != end {
            let [a, b] = [add, end].map(|id| source.node(id).name.as_str());
            let reason = format!("is read twice, but the two ways end in different additions, {a} and {b}");
            return Err(RewriteError::new(&source.node(fork).name, reason));
        }
        let relu = |way: &[NodeId]| way.iter().find(|&&id| source.node(id).op == Op::Relu).copied();
        let (branch, shortcut) = match (relu(&one), relu(&other)) {
            (Some(_), Some(second)) => {
                let reason = "a ReLU on the shortcut: it is not linear, and the other way has one too";
                return Err(RewriteError::new(&source.node(second).name, reason));
            }
            (Some(_), None) => (one, other),
            (None, None) if taps(source, &one) >= taps(source, &other) => (one, other),
            (None, _) => (other, one),
        };
        Ok(Self { branch, shortcut, add })
    }
}

/// The nodes from `start` up to an addition, each the only reader of the one before.
fn way(source: &Source<'_>, start: NodeId) -> Result<(Vec<NodeId>, NodeId), RewriteError> {
    let (mut nodes, mut at) = (Vec::new(), start);
    loop {
        let node = source.node(at);
        if node.op == Op::Add {
            return Ok((nodes, at));
        }
        if node.inputs.len() != 1 {
            return Err(RewriteError::new(&node.name, refusal(&node.op)));
        }
        nodes.push(at);
        match *source.users(at) {
            [next] => at = next,
            [] => return Err(RewriteError::new(&node.name, "is on a way that ends without an addition")),
            ref users => return Err(RewriteError::new(&node.name, read_by(source, users))),
        }
    }
}

/// What to say of a value with more readers than a unit has.
pub(crate) fn read_by(source: &Source<'_>, users: &[NodeId]) -> String {
    let names = users.iter().map(|&id| format!("{} ({})", source.node(id).name, source.node(id).op.name()));
    let names: Vec<String> = names.collect();
    format!("is read by {}: neither a chain nor a residual unit", names.join(", "))
}

/// Taps of all convolutions of a way.
fn taps(source: &Source<'_>, way: &[NodeId]) -> usize {
    let taps = way.iter().map(|&id| match &source.node(id).op {
        Op::Conv2d(conv) => conv.kernel[0] * conv.kernel[1],
        _ => 0,
    });
    taps.sum()
}

/// A shortcut as one linear map: `y = matrix · x↓stride + bias`.
pub(crate) struct Shortcut {
    pub(crate) matrix: Matrix,
    pub(crate) bias: Vec<f64>,
    pub(crate) stride: [usize; 2],
    /// How a strided layer hands the signal on.
    pub(crate) carry: Carry,
}

impl Shortcut {
    /// # Errors
    /// When a node of the way is not linear, or depends on the position.
    pub(crate) fn of(source: &Source<'_>, way: &[NodeId], channels: usize) -> Result<Self, RewriteError> {
        let (matrix, bias) = (Matrix::identity(channels), vec![0.0; channels]);
        let mut shortcut = Self { matrix, bias, stride: [1; 2], carry: Carry::Centre };
        for &id in way {
            shortcut.then(source, id)?;
        }
        Ok(shortcut)
    }

    fn then(&mut self, source: &Source<'_>, id: NodeId) -> Result<(), RewriteError> {
        let node = source.node(id);
        let refuse = |reason: String| Err(RewriteError::new(&node.name, reason));
        if let Some(affine) = source.affine(node)? {
            self.matrix = self.matrix.scaled(&affine.scale);
            let bias = self.bias.iter().zip(&affine.scale).zip(&affine.shift);
            self.bias = bias.map(|((b, a), t)| a * b + t).collect();
            return Ok(());
        }
        match &node.op {
            Op::Subsample { stride } => self.stride([*stride; 2]),
            Op::PadChannels { before, after } => {
                self.matrix =
                    std::mem::replace(&mut self.matrix, Matrix::identity(0)).padded(*before, *after);
                self.bias.splice(0..0, vec![0.0; *before]);
                self.bias.extend(vec![0.0; *after]);
            }
            Op::Conv2d(conv) if conv.kernel == [1, 1] && conv.padding == [0, 0] => {
                let layer = source.layer(&node.name, conv);
                let projection = Matrix::dense(&layer.weight, layer.inputs);
                let sum = |row: &Vec<(usize, f64)>| row.iter().map(|&(i, w)| w * self.bias[i]).sum::<f64>();
                self.bias = projection.rows.iter().map(sum).zip(&layer.bias).map(|(a, b)| a + b).collect();
                self.matrix = projection.of(&self.matrix);
                self.stride(conv.stride);
            }
            Op::Conv2d(conv) => {
                return refuse(format!(
                    "a {}×{} convolution on the shortcut",
                    conv.kernel[0], conv.kernel[1]
                ));
            }
            Op::MaxPool(pool) | Op::AvgPool(AvgPool { window: pool, .. }) if is_subsampling(pool) => {
                self.stride(pool.stride);
            }
            Op::AvgPool(pool) => return self.average(&node.name, &pool.window),
            op => return refuse(format!("on the shortcut, {}", refusal(op))),
        }
        Ok(())
    }

    fn stride(&mut self, stride: [usize; 2]) {
        self.stride = [self.stride[0] * stride[0], self.stride[1] * stride[1]];
    }

    fn average(&mut self, name: &str, pool: &MaxPool) -> Result<(), RewriteError> {
        let refuse = |reason: &str| Err(RewriteError::new(name, format!("on the shortcut, {reason}")));
        if pool.ceil || pool.padding != [0, 0] {
            return refuse("the pool's windows hold fewer elements at the border");
        }
        if pool.kernel != [2, 2] || pool.stride != [2, 2] {
            return refuse("of average pools only 2×2 with stride 2 can be carried");
        }
        if self.stride != [1, 1] {
            return refuse("the pool comes after another stride");
        }
        (self.stride, self.carry) = ([2, 2], Carry::Mean);
        Ok(())
    }
}

fn is_subsampling(pool: &MaxPool) -> bool {
    pool.kernel == [1, 1] && pool.padding == [0, 0] && !pool.ceil
}
