//! A network as text for people and as dot for drawing programs.

use std::fmt::Write as _;

use crate::error::GraphError;
use crate::graph::{Graph, Kind, Node};
use crate::op::{MaxPool, Op};

impl Graph {
    /// One line a node: name, operation, output shape for images of `h` × `w`, inputs.
    ///
    /// # Errors
    /// When the network does not admit that size.
    pub fn to_text(&self, h: usize, w: usize) -> Result<String, GraphError> {
        let extents = self.extents(h, w)?;
        let width = self.nodes.iter().map(|node| node.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (node, extent) in self.nodes.iter().zip(&extents) {
            let inputs: Vec<&str> = node.inputs.iter().map(|&id| self.node(id).name.as_str()).collect();
            let shape = shape_text(node, *extent);
            let operation = describe(&node.op);
            let _ = writeln!(text, "{:width$}  {operation:24}  {shape:14}  {}", node.name, inputs.join(", "));
        }
        Ok(text)
    }

    /// The network in Graphviz's language.
    pub fn to_dot(&self) -> String {
        let mut dot = format!("digraph \"{}\" {{\n  node [shape=box, fontname=\"sans-serif\"];\n", self.name);
        for id in self.ids() {
            let node = self.node(id);
            let _ = writeln!(dot, "  n{} [label=\"{}\\n{}\"];", id.0, node.name, describe(&node.op));
            for input in &node.inputs {
                let _ = writeln!(dot, "  n{} -> n{};", input.0, id.0);
            }
        }
        dot.push_str("}\n");
        dot
    }
}

fn shape_text(node: &Node, extent: [usize; 2]) -> String {
    match node.kind {
        Kind::Map { channels } => format!("{channels}×{}×{}", extent[0], extent[1]),
        Kind::Vector { features } => format!("{features}"),
        Kind::Statistics { channels } => format!("2×{channels}"),
        Kind::Gradient(_) => "as parameter".into(),
        Kind::Scalar => "1".into(),
    }
}

/// The operation in the papers' words, such as `conv 3×3, 64, /2`.
fn describe(op: &Op) -> String {
    let by_stride =
        |stride: [usize; 2]| if stride == [1, 1] { String::new() } else { format!(", /{}", stride[0]) };
    let window = |pool: &MaxPool| format!("{}×{}{}", pool.kernel[0], pool.kernel[1], by_stride(pool.stride));
    match op {
        Op::Conv2d(c) => {
            let groups = if c.groups == 1 { String::new() } else { format!(", {} groups", c.groups) };
            format!("conv {}×{}, {}{}{groups}", c.kernel[0], c.kernel[1], c.c_out, by_stride(c.stride))
        }
        Op::MaxPool(pool) => format!("max pool {}", window(pool)),
        Op::AvgPool(pool) => format!("average pool {}", window(&pool.window)),
        Op::Subsample { stride } => format!("subsample /{stride}"),
        Op::PadChannels { before, after } => format!("pad channels {before}+{after}"),
        Op::Linear(l) => format!("linear {}", l.outputs),
        Op::Scale { factor, offset: 0.0 } => format!("scale by {factor}"),
        Op::Scale { factor, offset } => format!("scale by {factor}, add {offset}"),
        Op::Dropout(dropout) => format!("dropout {}", dropout.rate),
        Op::DropPath(path) => format!("drop path, survival {}", path.survival),
        Op::Blur(blur) => format!("blur {0}×{0}, /{1}", blur.size, blur.stride),
        other => other.name().to_owned(),
    }
}
