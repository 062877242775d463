//! The table of layers, for people and for programs.

use std::ops::AddAssign;

use residuum::graph::{NodeId, ReceptiveField};
use serde::Serialize;

use super::view::View;
use crate::output::{self, Table};

/// The tables of all networks, and what changed between two.
pub(super) fn table(views: &[View]) -> String {
    let tables: Vec<String> = views.iter().map(|view| layers(view) + "\n" + &totals(view)).collect();
    let comparison = match views {
        [before, after] => format!("\n{}", compared(before, after)),
        _ => String::new(),
    };
    tables.join("\n") + &comparison
}

/// Memory is told in these, rounded up.
const KIB: u64 = 1024;

/// Sums over layers.
#[derive(Clone, Copy, Default)]
struct Sums {
    parameters: u64,
    multiply_adds: u64,
    bytes: u64,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.parameters += other.parameters;
        self.multiply_adds += other.multiply_adds;
        self.bytes += other.bytes;
    }
}

fn sums(view: &View, id: NodeId) -> Sums {
    let node = &view.nodes[id.index()];
    let bytes = view.bytes(node.outputs);
    Sums { parameters: node.parameters, multiply_adds: node.multiply_adds, bytes }
}

const TITLES: [&str; 8] =
    ["layer", "operation", "output", "parameters", "multiply-adds", "KiB", "field", "step"];

/// A line for each layer under a line for its block and one for its stage.
fn layers(view: &View) -> String {
    let mut table = Table::new(&TITLES).left(&[0, 1]);
    let row = |depth: usize, name: &str, operation: &str, id: NodeId, sums: Sums| {
        let output = view.graph.node(id).shape(view.nodes[id.index()].extent);
        let number = |count: u64| if count == 0 { String::new() } else { output::grouped(count) };
        let field = view.fields[id.index()];
        let side =
            |of: fn(&ReceptiveField) -> f64| field.as_ref().map_or("all".into(), |f| of(f).to_string());
        [
            format!("{:1$}{name}", "", 2 * depth),
            operation.to_owned(),
            output,
            number(sums.parameters),
            number(sums.multiply_adds),
            output::grouped(sums.bytes.div_ceil(KIB)),
            side(|field| field.size),
            side(|field| field.step),
        ]
    };
    let total = |nodes: &[NodeId]| {
        let mut total = Sums::default();
        for &id in nodes {
            total += sums(view, id);
        }
        total
    };
    for stage in &view.outline.stages {
        let nodes: Vec<NodeId> = stage.parts.iter().flat_map(|part| &part.nodes).copied().collect();
        let Some(output) = stage.output() else { continue };
        let blocks = stage.parts.iter().filter(|part| part.block.is_some()).count();
        let what = match blocks {
            0 => String::new(),
            1 => "1 block".to_owned(),
            count => format!("{count} blocks"),
        };
        table.row(row(0, &stage.name, &what, output, total(&nodes)));
        for part in &stage.parts {
            let depth = if let (Some(block), Some(&last)) = (&part.block, part.nodes.last()) {
                table.row(row(1, block, "", last, total(&part.nodes)));
                2
            } else {
                1
            };
            for &id in &part.nodes {
                let node = view.graph.node(id);
                table.row(row(depth, &node.name, &node.op.describe(), id, sums(view, id)));
            }
        }
    }
    table.render()
}

fn totals(view: &View) -> String {
    let mut facts = Table::pairs();
    facts.pair("network", &view.name);
    facts.pair("input", format!("{} × {}", view.batch_size, view.image()));
    facts.pair("depth", view.depth_text());
    facts.pair("parameters", output::grouped(view.counts.parameters));
    facts.pair("multiply-adds", output::grouped(view.counts.multiply_adds));
    facts.pair("memory of all outputs", output::mib(memory(view)));
    facts.pair("additions", view.additions.to_string());
    facts.render()
}

fn memory(view: &View) -> u64 {
    view.bytes(view.nodes.iter().map(|node| node.outputs).sum())
}

fn compared(before: &View, after: &View) -> String {
    let mut table = Table::new(&["", "before", "after", "ratio"]);
    let mut row = |name: &str, [old, new]: [u64; 2]| {
        let ratio = if old == 0 { String::new() } else { format!("{:.3}", new as f64 / old as f64) };
        table.row([name.to_owned(), output::grouped(old), output::grouped(new), ratio]);
    };
    let both = [before, after];
    row("additions", both.map(|view| view.additions as u64));
    row("nodes", both.map(|view| view.nodes.len() as u64));
    row("layers on the longest path", both.map(|view| view.counts.depth as u64));
    row("parameters", both.map(|view| view.counts.parameters));
    row("multiply-adds", both.map(|view| view.counts.multiply_adds));
    row("bytes of all outputs", both.map(memory));
    table.render()
}

/// The stable form.
#[derive(Serialize)]
pub(super) struct Json {
    #[serde(flatten)]
    network: NetworkJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    folded: Option<NetworkJson>,
}

#[derive(Serialize)]
struct NetworkJson {
    model: String,
    input: [usize; 4],
    /// As its paper counts it; nothing for a network without a registered name.
    depth: Option<usize>,
    longest_path: usize,
    parameters: u64,
    multiply_adds: u64,
    memory_bytes: u64,
    additions: usize,
    layers: Vec<LayerJson>,
}

#[derive(Serialize)]
struct LayerJson {
    name: String,
    stage: String,
    block: Option<String>,
    operation: String,
    inputs: Vec<String>,
    output: String,
    parameters: u64,
    multiply_adds: u64,
    memory_bytes: u64,
    /// Nothing for what sees the whole image.
    receptive_field: Option<FieldJson>,
}

#[derive(Serialize)]
struct FieldJson {
    size: f64,
    step: f64,
}

impl Json {
    pub(super) fn new(views: &[View]) -> Self {
        Self { network: NetworkJson::new(&views[0]), folded: views.get(1).map(NetworkJson::new) }
    }
}

impl NetworkJson {
    fn new(view: &View) -> Self {
        let mut layers = Vec::with_capacity(view.nodes.len());
        for stage in &view.outline.stages {
            for part in &stage.parts {
                layers.extend(part.nodes.iter().map(|&id| {
                    let (node, Sums { parameters, multiply_adds, bytes }) =
                        (view.graph.node(id), sums(view, id));
                    LayerJson {
                        name: node.name.clone(),
                        stage: stage.name.clone(),
                        block: part.block.clone(),
                        operation: node.op.describe(),
                        inputs: node
                            .inputs
                            .iter()
                            .map(|&input| view.graph.node(input).name.clone())
                            .collect(),
                        output: node.shape(view.nodes[id.index()].extent),
                        parameters,
                        multiply_adds,
                        memory_bytes: bytes,
                        receptive_field: view.fields[id.index()]
                            .map(|ReceptiveField { size, step, .. }| FieldJson { size, step }),
                    }
                }));
            }
        }
        let [h, w] = view.size;
        Self {
            model: view.name.clone(),
            input: [view.batch_size, view.graph.input_channels(), h, w],
            depth: view.depth,
            longest_path: view.counts.depth,
            parameters: view.counts.parameters,
            multiply_adds: view.counts.multiply_adds,
            memory_bytes: memory(view),
            additions: view.additions,
            layers,
        }
    }
}
