//! Writes one of our networks as its authors' Caffe files would hold it.
#![allow(dead_code, reason = "each test uses its part")]

#[path = "../../../formats/tests/support/caffe.rs"]
pub(crate) mod file;

use std::fmt::Write as _;

use file::LayerFile;
use residuum_graph::{Graph, Node, Op, ParamId, Weights};

/// How a network is written down.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// Caffe's names of a module, and of the `Scale` that goes with it where it is a batch norm.
    pub(crate) names: fn(&str) -> [String; 2],
    /// Whether the first convolution has a bias that the batch norm behind it takes away again.
    pub(crate) has_conv1_bias: bool,
    /// What the statistics were accumulated to.
    pub(crate) factor: f32,
}

/// The names of the published models.
pub(crate) fn published_names(module: &str) -> [String; 2] {
    let both = |name: &str| [format!("bn{name}"), format!("scale{name}")];
    match module {
        "conv1" => return ["conv1".into(), String::new()],
        "bn1" => return both("_conv1"),
        "fc" => return ["fc1000".into(), String::new()],
        _ => {}
    }
    let mut parts = module.strip_prefix("layer").unwrap().splitn(3, '.');
    let mut next = || parts.next().unwrap();
    let (stage, index, part) = (next().parse::<usize>().unwrap() + 1, next().parse::<u8>().unwrap(), next());
    let block = format!("{stage}{}", char::from(b'a' + index));
    let conv = |branch| [format!("res{block}_branch{branch}"), String::new()];
    let norm = |branch| both(&format!("{block}_branch{branch}"));
    match part {
        "conv1" => conv("2a"),
        "conv2" => conv("2b"),
        "conv3" => conv("2c"),
        "downsample.0" => conv("1"),
        "bn1" => norm("2a"),
        "bn2" => norm("2b"),
        "bn3" => norm("2c"),
        "downsample.1" => norm("1"),
        other => panic!("{other}"),
    }
}

/// The names of our modules.
pub(crate) fn own_names(module: &str) -> [String; 2] {
    [module.to_owned(), format!("{module}.scale")]
}

/// The definition for images of `side` × `side`, and the layers of the file of weights.
pub(crate) fn publish(
    graph: &Graph,
    weights: &Weights,
    side: usize,
    style: Style,
) -> (String, Vec<LayerFile>) {
    let mut author =
        Author { graph, weights, style, text: String::new(), layers: Vec::new(), blobs: Vec::new() };
    let sides = graph.extents(side, side).unwrap();
    let _ = write!(author.text, "name: \"{}\"\ninput: \"data\"\n", graph.name());
    for dim in [1, 3, side, side] {
        let _ = writeln!(author.text, "input_dim: {dim}");
    }
    for node in graph.nodes() {
        let blob = author.node(node, &sides);
        author.blobs.push(blob);
    }
    let answer = author.blobs[graph.output().index()].clone();
    author.define("prob", "Softmax", &[&answer], "prob", "");
    (author.text, author.layers)
}

struct Author<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    style: Style,
    text: String,
    layers: Vec<LayerFile>,
    /// Name of the blob that holds each node's value.
    blobs: Vec<String>,
}

impl Author<'_> {
    /// Writes a node; gives the name of the blob that holds its value.
    fn node(&mut self, node: &Node, sides: &[[usize; 2]]) -> String {
        let bottoms: Vec<String> = node.inputs.iter().map(|x| self.blobs[x.index()].clone()).collect();
        let bottom = bottoms.first().cloned().unwrap_or_default();
        match node.op {
            Op::Input => "data".into(),
            Op::Conv2d(c) => {
                let [name, _] = (self.style.names)(&node.name);
                let is_first = self.graph.node(node.inputs[0]).op == Op::Input;
                let has_bias = is_first && self.style.has_conv1_bias;
                let mut param = format!("num_output: {} kernel_size: {}", c.c_out, c.kernel[0]);
                let _ = write!(param, " pad: {} stride: {}", c.padding[0], c.stride[0]);
                if !has_bias {
                    param.push_str(" bias_term: false");
                }
                self.define(
                    &name,
                    "Convolution",
                    &[&bottom],
                    &name,
                    &format!("convolution_param {{ {param} }}"),
                );
                let (shape, mut filters) = self.values(c.weight);
                if is_first {
                    let area = shape[2] * shape[3];
                    for filter in filters.chunks_exact_mut(3 * area) {
                        filter.rotate_left(area);
                        filter[..2 * area].rotate_left(area);
                    }
                }
                let mut blobs = vec![(shape, filters)];
                if has_bias {
                    blobs.push((vec![c.c_out], (0..c.c_out).map(conv1_bias).collect()));
                }
                self.store(&name, "Convolution", blobs);
                name
            }
            Op::BatchNorm(n) => {
                let [name, scale] = (self.style.names)(&node.name);
                self.define(
                    &name,
                    "BatchNorm",
                    &[&bottom],
                    &bottom,
                    "batch_norm_param { use_global_stats: true }",
                );
                self.define(&scale, "Scale", &[&bottom], &bottom, "scale_param { bias_term: true }");
                let is_first = bottom == "conv1" && self.style.has_conv1_bias;
                let factor = self.style.factor;
                let (shape, mut means) = self.values(n.running_mean);
                for (channel, mean) in means.iter_mut().enumerate() {
                    *mean = (*mean + if is_first { conv1_bias(channel) } else { 0.0 }) * factor;
                }
                let variances = self.values(n.running_var).1.iter().map(|x| x * factor).collect();
                let statistics = vec![(shape.clone(), means), (shape, variances), (vec![1], vec![factor])];
                self.store(&name, "BatchNorm", statistics);
                let affine = vec![self.values(n.weight), self.values(n.bias)];
                self.store(&scale, "Scale", affine);
                bottom
            }
            Op::Relu => {
                self.define(&node.name, "ReLU", &[&bottom], &bottom, "");
                bottom
            }
            Op::Add => {
                // The shortcut comes first.
                self.define(&node.name, "Eltwise", &[&bottoms[1], &bottom], &node.name, "");
                node.name.clone()
            }
            Op::MaxPool(pool) => {
                let round = if pool.ceil { "CEIL" } else { "FLOOR" };
                let (kernel, stride, pad) = (pool.kernel[0], pool.stride[0], pool.padding[0]);
                let param = format!(
                    "pooling_param {{ kernel_size: {kernel} stride: {stride} pad: {pad} round_mode: {round} pool: MAX }}"
                );
                self.define("pool1", "Pooling", &[&bottom], "pool1", &param);
                "pool1".into()
            }
            Op::GlobalAvgPool => {
                let side = sides[node.inputs[0].index()][0];
                let param = format!("pooling_param {{ kernel_size: {side} stride: 1 pool: AVE }}");
                self.define("pool5", "Pooling", &[&bottom], "pool5", &param);
                "pool5".into()
            }
            Op::Linear(l) => {
                let [name, _] = (self.style.names)(&node.name);
                let param = format!("inner_product_param {{ num_output: {} }}", l.outputs);
                self.define(&name, "InnerProduct", &[&bottom], &name, &param);
                let blobs = vec![self.values(l.weight), self.values(l.bias.unwrap())];
                self.store(&name, "InnerProduct", blobs);
                name
            }
            other => panic!("{other:?}"),
        }
    }

    fn define(&mut self, name: &str, kind: &str, bottoms: &[&str], top: &str, param: &str) {
        self.text.push_str("\nlayer {\n");
        for bottom in bottoms {
            let _ = writeln!(self.text, "\tbottom: \"{bottom}\"");
        }
        let _ =
            write!(self.text, "\ttop: \"{top}\"\n\tname: \"{name}\"\n\ttype: \"{kind}\"\n\t{param}\n}}\n");
    }

    fn store(&mut self, name: &str, kind: &str, blobs: Vec<(Vec<usize>, Vec<f32>)>) {
        self.layers.push(LayerFile { name: name.into(), kind: kind.into(), blobs });
    }

    fn values(&self, id: ParamId) -> (Vec<usize>, Vec<f32>) {
        let tensor = &self.weights[&self.graph.param(id).name];
        (tensor.shape().to_vec(), tensor.data().to_vec())
    }
}

fn conv1_bias(channel: usize) -> f32 {
    (channel as f32).sin()
}
