//! The network as boxes and arcs.

use residuum::graph::{Arc, Part, Stage, StageRole, Step, StepKind};
use residuum::plot::{BoxShape, Chain, Column, Diagram, DiagramArc, DiagramBox, Group};

use super::view::View;
use crate::output;

/// A network of more blocks has equal ones drawn once.
const MANY_BLOCKS: usize = 18;

/// All networks side by side.
pub(super) fn diagram(views: &[View], expand: bool) -> Diagram {
    let is_large = views.iter().any(|view| view.outline.blocks() > MANY_BLOCKS);
    let collapses = is_large && !expand;
    let mut columns: Vec<Column> = views.iter().map(|view| column(view, collapses)).collect();
    if let [only] = &mut columns[..] {
        // The title says it.
        only.title.clear();
    }
    let title = match views {
        [view] => view.name.clone(),
        _ => format!("{}, before and after folding", views[0].name),
    };
    Diagram { title, legend: legend(views), columns }
}

/// What kinds of arcs there are.
fn legend(views: &[View]) -> Vec<(bool, String)> {
    let parts = || views.iter().flat_map(|view| &view.outline.stages).flat_map(|stage| &stage.parts);
    let has = |changes_shape: bool| {
        parts().flat_map(|part| &part.arcs).any(|arc| arc.changes_shape == changes_shape)
    };
    let mut legend = Vec::new();
    if has(false) {
        legend.push((false, "shortcut".to_owned()));
    }
    if has(true) {
        legend.push((true, "shortcut that changes the shape".to_owned()));
    }
    legend
}

fn column(view: &View, collapses: bool) -> Column {
    let counts = &view.counts;
    let mut number = 0;
    let groups = view.outline.stages.iter().map(|stage| {
        let colour = (stage.role == StageRole::Blocks).then(|| {
            number += 1;
            number - 1
        });
        group(view, stage, colour, collapses)
    });
    let additions = match view.additions {
        1 => "1 addition".to_owned(),
        count => format!("{count} additions"),
    };
    Column {
        title: view.name.clone(),
        groups: groups.collect(),
        facts: vec![
            format!("depth {}, {additions}", view.depth_text()),
            format!("{} parameters", output::grouped(counts.parameters)),
            format!("{} multiply-adds", output::grouped(counts.multiply_adds)),
        ],
    }
}

fn group(view: &View, stage: &Stage, colour: Option<usize>, collapses: bool) -> Group {
    let mut chains: Vec<(&Part, usize)> = Vec::new();
    for part in stage.parts.iter().filter(|part| !part.steps.is_empty()) {
        match chains.last_mut() {
            Some((last, count)) if collapses && last.looks_like(part) => *count += 1,
            _ => chains.push((part, 1)),
        }
    }
    let output = stage.output();
    let note = output.map(|id| view.graph.node(id).shape(view.nodes[id.index()].extent));
    Group {
        name: short(&stage.name).to_owned(),
        note: note.unwrap_or_default(),
        colour,
        chains: chains.into_iter().map(|(part, repeat)| chain(view, part, repeat)).collect(),
    }
}

/// A stage's name without the modules around it: `denseblock1` of `features.denseblock1`, `stages.0` of
/// `stages.0.blocks`.
fn short(name: &str) -> &str {
    let name = name.strip_suffix(".blocks").unwrap_or(name);
    let (_, last) = name.rsplit_once('.').unwrap_or(("", name));
    if last.bytes().all(|c| c.is_ascii_digit()) { name } else { last }
}

fn chain(view: &View, part: &Part, repeat: usize) -> Chain {
    let boxes = part.steps.iter().map(|step| diagram_box(view, step)).collect();
    let arcs = part.arcs.iter().map(|arc| {
        let Arc { from, to, changes_shape, has_weights, ref labels } = *arc;
        DiagramArc { from, to, is_dotted: changes_shape, is_filled: has_weights, labels: labels.clone() }
    });
    Chain { repeat, boxes, arcs: arcs.collect() }
}

fn diagram_box(view: &View, step: &Step) -> DiagramBox {
    let (shape, label) = match step.kind {
        StepKind::Image => (BoxShape::Plain, format!("{}, {}", step.label, view.image())),
        StepKind::Layer => (BoxShape::Filled, step.label.clone()),
        StepKind::Pool | StepKind::Gate => (BoxShape::Plain, step.label.clone()),
        StepKind::Add => (BoxShape::Joint, "+".to_owned()),
        StepKind::Concat => (BoxShape::Joint, "concat".to_owned()),
        StepKind::Activation => (BoxShape::Low, String::new()),
    };
    let words = |parts: &[String]| parts.join(" ");
    DiagramBox { shape, before: words(&step.before), label, after: words(&step.after) }
}
