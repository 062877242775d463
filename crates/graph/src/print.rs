//! A network as text for people and as dot for drawing programs.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::error::GraphError;
use crate::graph::{Graph, Kind, Node, NodeId};
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
            let shape = node.shape(*extent);
            let operation = node.op.describe();
            let _ = writeln!(text, "{:width$}  {operation:24}  {shape:14}  {}", node.name, inputs.join(", "));
        }
        Ok(text)
    }

    /// The network in Graphviz's language: stages and blocks are clusters, ways around a block's branch that
    /// change the shape are dotted.
    pub fn to_dot(&self) -> String {
        let mut dot = format!(
            "digraph \"{}\" {{\n  node [shape=box, style=filled, fillcolor=white, fontname=\"sans-serif\"];\n",
            quoted(&self.name)
        );
        for (number, stage) in self.outline().stages.iter().enumerate() {
            let colour = number % DOT_COLOURS + 1;
            let _ = writeln!(
                dot,
                "  subgraph \"cluster_{number}\" {{\n    label=\"{}\"; style=filled; fillcolor=\"/pastel28/{colour}\";",
                quoted(&stage.name)
            );
            for (index, part) in stage.parts.iter().enumerate() {
                let block = part.block.as_ref();
                if let Some(name) = block {
                    let name = quoted(name);
                    let _ = writeln!(
                        dot,
                        "    subgraph \"cluster_{number}_{index}\" {{\n      label=\"{name}\"; fillcolor=white;"
                    );
                }
                part.nodes.iter().for_each(|&id| self.dot_node(&mut dot, id));
                if block.is_some() {
                    dot.push_str("    }\n");
                }
            }
            dot.push_str("  }\n");
        }
        self.dot_edges(&mut dot);
        dot.push_str("}\n");
        dot
    }

    fn dot_node(&self, dot: &mut String, id: NodeId) {
        let node = self.node(id);
        let shape = if matches!(node.op, Op::Add | Op::Concat | Op::Mul) { ", shape=ellipse" } else { "" };
        let (name, operation) = (quoted(&node.name), node.op.describe());
        let _ = writeln!(dot, "      n{} [label=\"{name}\\n{operation}\"{shape}];", id.0);
    }

    fn dot_edges(&self, dot: &mut String) {
        // What reads what along a way that changes the shape.
        let mut dotted = HashSet::new();
        for block in self.residual_blocks() {
            let way = &block.ways[block.shortcut()];
            if self.changes_shape(way) {
                dotted.extend(way.iter().flat_map(|&id| self.node(id).inputs.iter().map(move |&x| (x, id))));
                dotted.insert((self.node(block.add).inputs[block.shortcut()], block.add));
            }
        }
        for id in self.ids() {
            for input in &self.node(id).inputs {
                let style = if dotted.contains(&(*input, id)) { " [style=dashed]" } else { "" };
                let _ = writeln!(dot, "  n{} -> n{}{style};", input.0, id.0);
            }
        }
    }
}

/// Colours of the scheme that stages are drawn in.
const DOT_COLOURS: usize = 8;

/// A text as it stands between quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ")
}

impl Node {
    /// What comes out for one image, its map being `extent`, such as `64×56×56`.
    pub fn shape(&self, extent: [usize; 2]) -> String {
        match self.kind {
            Kind::Map { channels } => format!("{channels}×{}×{}", extent[0], extent[1]),
            Kind::Vector { features } => format!("{features}"),
            Kind::Statistics { channels } => format!("2×{channels}"),
            Kind::Gradient(_) => "as parameter".into(),
            Kind::Scalar => "1".into(),
        }
    }
}

impl Op {
    /// The operation in the papers' words, such as `3×3 conv, 64, /2` (He et al. 2015, Fig. 3).
    pub fn describe(&self) -> String {
        let by_stride =
            |stride: [usize; 2]| if stride == [1, 1] { String::new() } else { format!(", /{}", stride[0]) };
        let pool = |name: &str, pool: &MaxPool| {
            format!("{}×{} {name}{}", pool.kernel[0], pool.kernel[1], by_stride(pool.stride))
        };
        match self {
            Self::Conv2d(c) => {
                let groups = if c.groups == 1 { String::new() } else { format!(", {} groups", c.groups) };
                let [h, w] = c.kernel;
                let dilation = c.dilation[0];
                let dilated = if dilation == 1 { String::new() } else { format!(", dilation {dilation}") };
                format!("{h}×{w} conv, {}{}{groups}{dilated}", c.c_out, by_stride(c.stride))
            }
            Self::MaxPool(window) => pool("max pool", window),
            Self::AvgPool(average) => pool("average pool", &average.window),
            Self::Subsample { stride } => format!("subsample /{stride}"),
            Self::PadChannels { before, after } => format!("pad channels {before}+{after}"),
            Self::Linear(l) => format!("linear {}", l.outputs),
            Self::Scale { factor, offset: 0.0 } => format!("scale by {factor}"),
            Self::Scale { factor, offset } => format!("scale by {factor}, add {offset}"),
            Self::Dropout(dropout) => format!("dropout {}", dropout.rate),
            Self::DropPath(path) => format!("drop path, survival {}", path.survival),
            Self::Blur(blur) => format!("{0}×{0} blur, /{1}", blur.size, blur.stride),
            other => other.name().to_owned(),
        }
    }
}
