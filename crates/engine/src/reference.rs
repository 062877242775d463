//! Evaluates a graph node by node with the plain kernels: slow, simple, and right.
//!
//! Values are dense NCHW. In `f64` this is the yardstick for the engine and for the derivative rules.

use std::collections::BTreeMap;

use residuum_graph::{
    AvgPool, BatchNorm, Conv2d, Dropout, Graph, GraphError, Kind, MaxPool, Node, NodeId, Op, ParamId,
};
use residuum_kernels::plain::{self, Real};
use residuum_kernels::{ConvShape, Draws, PoolShape};

use crate::gates::{gate_factors, gate_index};
use crate::geometry::{blur_shape, conv_shape, pool_shape};

/// What a graph is evaluated on.
#[derive(Clone, Debug)]
pub struct Feed<'a, T> {
    /// Every parameter by name.
    pub weights: &'a BTreeMap<String, Vec<T>>,
    /// Images, `[n, c, h, w]`.
    pub images: &'a [T],
    /// Images in the batch, rows and columns of an image.
    pub shape: [usize; 3],
    /// One class for each image; empty for graphs without a loss.
    pub labels: &'a [u32],
    /// Share of the target that is spread over all classes.
    pub label_smoothing: T,
    /// What sensitivities start from, in the order of the value that is looked at; empty elsewhere.
    pub seed: &'a [T],
    /// The step's random numbers.
    pub draws: Draws,
    /// Whether each branch with stochastic depth survives, in the order of the nodes, instead of drawn.
    pub gates: Option<&'a [bool]>,
}

/// The value of every node, in the graph's order.
///
/// # Errors
/// When the network does not admit the size.
///
/// # Panics
/// When a weight is missing or has another length.
pub fn evaluate<T: Real>(graph: &Graph, feed: &Feed<'_, T>) -> Result<Vec<Vec<T>>, GraphError> {
    evaluate_with(graph, feed, |_, _| {})
}

/// [`evaluate`], with every value shown to `adjust` before others read it.
///
/// # Errors
/// As [`evaluate`].
///
/// # Panics
/// As [`evaluate`].
pub fn evaluate_with<T: Real>(
    graph: &Graph,
    feed: &Feed<'_, T>,
    mut adjust: impl FnMut(NodeId, &mut [T]),
) -> Result<Vec<Vec<T>>, GraphError> {
    let [n, h, w] = feed.shape;
    let evaluation = Evaluation { graph, feed, n, extents: graph.extents(h, w)? };
    let mut values: Vec<Vec<T>> = Vec::with_capacity(graph.nodes().len());
    for id in graph.ids() {
        let mut value = evaluation.node(id, &values);
        adjust(id, &mut value);
        values.push(value);
    }
    Ok(values)
}

struct Evaluation<'a, T> {
    graph: &'a Graph,
    feed: &'a Feed<'a, T>,
    n: usize,
    extents: Vec<[usize; 2]>,
}

impl<T: Real> Evaluation<'_, T> {
    fn param(&self, id: ParamId) -> &[T] {
        let name = &self.graph.param(id).name;
        self.feed.weights.get(name).unwrap_or_else(|| panic!("no values for {name}"))
    }

    fn channels(&self, id: NodeId) -> usize {
        match self.graph.node(id).kind {
            Kind::Map { channels } | Kind::Statistics { channels } => channels,
            Kind::Vector { features } => features,
            Kind::Gradient(_) | Kind::Scalar => 1,
        }
    }

    fn area(&self, id: NodeId) -> usize {
        self.extents[id.index()].iter().product()
    }

    fn len(&self, id: NodeId) -> usize {
        match self.graph.node(id).kind {
            Kind::Map { channels } => self.n * channels * self.area(id),
            Kind::Vector { features } => self.n * features,
            Kind::Statistics { channels } => 2 * channels,
            Kind::Gradient(param) => self.graph.param(param).len(),
            Kind::Scalar => 1,
        }
    }

    fn conv_shape(&self, conv: &Conv2d, x: NodeId) -> ConvShape {
        conv_shape(conv, self.n, self.extents[x.index()])
    }

    fn pool_shape(&self, pool: &MaxPool, x: NodeId) -> PoolShape {
        pool_shape(pool, self.n, self.channels(x), self.extents[x.index()])
    }

    fn scale_and_shift(&self, norm: &BatchNorm) -> (Vec<T>, Vec<T>) {
        let params = [norm.weight, norm.bias, norm.running_mean, norm.running_var].map(|id| self.param(id));
        let eps = T::from_f64(f64::from(norm.eps));
        let scale: Vec<T> =
            params[0].iter().zip(params[3]).map(|(&g, &var)| g / (var + eps).sqrt()).collect();
        let shift =
            params[1].iter().zip(params[2]).zip(&scale).map(|((&b, &mean), &s)| b - mean * s).collect();
        (scale, shift)
    }

    fn node(&self, id: NodeId, values: &[Vec<T>]) -> Vec<T> {
        let node = self.graph.node(id);
        let mut out = vec![T::ZERO; self.len(id)];
        if node.op == Op::Input {
            out.copy_from_slice(self.feed.images);
        } else if matches!(node.op, Op::Seed { .. }) {
            out.copy_from_slice(self.feed.seed);
        } else if !self.forward(id, node, values, &mut out) {
            self.backward(id, node, values, &mut out);
        }
        out
    }

    /// Evaluates a network's own operation; false where the operation belongs to training.
    fn forward(&self, id: NodeId, node: &Node, values: &[Vec<T>], out: &mut [T]) -> bool {
        let n = self.n;
        let source = node.inputs[0];
        let x = &values[source.index()];
        let input = |i: usize| &values[node.inputs[i].index()];
        let [h, w] = self.extents[source.index()];
        match &node.op {
            Op::Conv2d(c) => {
                let bias = c.bias.map(|bias| self.param(bias));
                plain::conv2d(x, self.param(c.weight), bias, &self.conv_shape(c, source), out);
            }
            Op::BatchNorm(norm) => {
                let (scale, shift) = self.scale_and_shift(norm);
                plain::affine_norm(x, n, norm.channels, h * w, &scale, &shift, out);
            }
            Op::Relu => plain::relu(x, out),
            Op::Add => plain::add(x, input(1), out),
            Op::MaxPool(pool) => plain::max_pool(x, &self.pool_shape(pool, source), out),
            Op::AvgPool(AvgPool { window, count_include_pad }) => {
                plain::avg_pool(x, &self.pool_shape(window, source), *count_include_pad, out);
            }
            Op::GlobalAvgPool => plain::global_avg_pool(x, n * self.channels(source), h * w, out),
            Op::Subsample { stride } => plain::subsample(x, n * self.channels(source), h, w, *stride, out),
            Op::PadChannels { before, after } => {
                plain::pad_channels(x, n, self.channels(source), h * w, *before, *after, out);
            }
            Op::Linear(l) => {
                let bias = l.bias.map(|bias| self.param(bias));
                plain::linear(x, self.param(l.weight), bias, n, l.inputs, l.outputs, out);
            }
            Op::Moments(norm) => {
                let (mean, var) = out.split_at_mut(norm.channels);
                plain::moments(x, n, norm.channels, h * w, mean, var);
            }
            Op::Normalize(norm) => {
                let (mean, var) = input(1).split_at(norm.channels);
                let (gamma, beta) = (self.param(norm.weight), self.param(norm.bias));
                let eps = T::from_f64(f64::from(norm.eps));
                plain::normalize(x, n, norm.channels, h * w, mean, var, eps, gamma, beta, out);
            }
            Op::Scale { factor, offset } => {
                plain::scale(x, T::from_f64((*factor).into()), T::from_f64((*offset).into()), out);
            }
            Op::DropPath(path) => {
                plain::scale(x, T::from_f64(path.evaluation_factor().into()), T::ZERO, out);
            }
            Op::Mul => plain::mul(x, input(1), n * self.channels(id), out),
            Op::Sigmoid => plain::sigmoid(x, out),
            Op::Concat => {
                let maps: Vec<(&[T], usize)> =
                    node.inputs.iter().map(|&x| (&values[x.index()][..], self.channels(x))).collect();
                plain::concat(&maps, n, h * w, out);
            }
            Op::Flatten | Op::Dropout(_) => out.copy_from_slice(x),
            Op::Blur(blur) => plain::blur(x, &blur_shape(blur, n, self.channels(source), [h, w]), out),
            Op::Mask(Dropout { rate, stream }) => {
                plain::dropout(self.feed.draws, *stream, *rate, x, n, self.channels(source), h * w, out);
            }
            Op::Gate(path) => {
                let is_open = self.feed.gates.map(|gates| gates[gate_index(self.graph, path)]);
                let factors = gate_factors(path, self.feed.draws, is_open, n);
                let factors: Vec<T> = factors.iter().map(|&factor| T::from_f64(factor.into())).collect();
                plain::scale_images(x, &factors, out);
            }
            Op::CrossEntropy => {
                let (labels, smoothing) = (self.feed.labels, self.feed.label_smoothing);
                out[0] = plain::softmax_cross_entropy(x, labels, self.channels(source), smoothing);
            }
            Op::CrossEntropyBackward => {
                let (labels, smoothing) = (self.feed.labels, self.feed.label_smoothing);
                plain::softmax_cross_entropy_backward(x, labels, self.channels(id), smoothing, out);
            }
            _ => return false,
        }
        true
    }

    /// Evaluates an operation that differentiation made.
    fn backward(&self, id: NodeId, node: &Node, values: &[Vec<T>], out: &mut [T]) {
        let n = self.n;
        let input = |i: usize| &values[node.inputs[i].index()];
        let dy = input(0);
        match &node.op {
            Op::ConvBackwardData { conv, like } => {
                let shape = self.conv_shape(conv, *like);
                plain::conv2d_backward_data(dy, self.param(conv.weight), &shape, out);
            }
            Op::ConvBackwardWeights(c) => {
                plain::conv2d_backward_weights(input(0), input(1), &self.conv_shape(c, node.inputs[0]), out);
            }
            Op::BiasBackward { .. } => {
                let source = node.inputs[0];
                plain::channel_sums(dy, n, self.channels(source), self.area(source), out);
            }
            Op::LinearBackwardData(l) => {
                plain::linear_backward_data(dy, self.param(l.weight), n, l.inputs, l.outputs, out);
            }
            Op::LinearBackwardWeights(l) => {
                plain::linear_backward_weights(input(0), input(1), n, l.inputs, l.outputs, out);
            }
            Op::NormalizeBackwardSums(norm) | Op::NormalizeBackward(norm) => {
                self.normalize_backward(node, norm, values, out);
            }
            Op::BatchNormBackward(norm) => {
                let scale = self.scale_and_shift(norm).0;
                plain::affine_norm_backward(dy, n, norm.channels, self.area(id), &scale, out);
            }
            Op::ReluBackward => plain::relu_backward(dy, input(1), out),
            Op::MaxPoolBackward(pool) => {
                plain::max_pool_backward(dy, input(1), &self.pool_shape(pool, node.inputs[1]), out);
            }
            Op::AvgPoolBackward { pool, like } => {
                let shape = self.pool_shape(&pool.window, *like);
                plain::avg_pool_backward(dy, &shape, pool.count_include_pad, out);
            }
            Op::GlobalAvgPoolBackward { .. } => {
                plain::global_avg_pool_backward(dy, n * self.channels(id), self.area(id), out);
            }
            Op::SubsampleBackward { stride, .. } => {
                let [h, w] = self.extents[id.index()];
                plain::subsample_backward(dy, n * self.channels(id), h, w, *stride, out);
            }
            Op::MulBackward { .. } => plain::mul_backward(dy, input(1), n * self.channels(id), out),
            Op::SigmoidBackward => plain::sigmoid_backward(dy, input(1), out),
            Op::SliceChannels { start } => {
                plain::slice_channels(dy, n, self.channels(node.inputs[0]), self.area(id), *start, out);
            }
            Op::BlurBackward { blur, like } => {
                let shape = blur_shape(blur, n, self.channels(*like), self.extents[like.index()]);
                plain::blur_backward(dy, &shape, out);
            }
            Op::PadChannelsBackward { before, after } => {
                plain::pad_channels_backward(dy, n, self.channels(id), self.area(id), *before, *after, out);
            }
            forward => unreachable!("{} was evaluated as a forward operation", forward.name()),
        }
    }

    fn normalize_backward(&self, node: &Node, norm: &BatchNorm, values: &[Vec<T>], out: &mut [T]) {
        let [dy, x, moments] = [0, 1, 2].map(|i| &values[node.inputs[i].index()]);
        let (n, c, area) = (self.n, norm.channels, self.area(node.inputs[1]));
        let (mean, var) = moments.split_at(c);
        let eps = T::from_f64(f64::from(norm.eps));
        if matches!(node.op, Op::NormalizeBackwardSums(_)) {
            let (sum_dy, sum_dy_xhat) = plain::normalize_backward_sums(dy, x, n, c, area, mean, var, eps);
            out[..c].copy_from_slice(&sum_dy);
            out[c..].copy_from_slice(&sum_dy_xhat);
        } else {
            let sums = values[node.inputs[3].index()].split_at(c);
            plain::normalize_backward(dy, x, n, c, area, mean, var, eps, self.param(norm.weight), sums, out);
        }
    }
}
