//! A diagram in letters.

use super::{BoxShape, Chain, Column, Diagram, DiagramBox};
use crate::diagram::layout::lanes;

/// One network under the other.
pub(super) fn render(diagram: &Diagram) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&diagram.title);
    for column in &diagram.columns {
        if !column.title.is_empty() {
            line("");
            line(&column.title);
        }
        for row in column.facts.iter().chain(&groups(column)) {
            line(row);
        }
    }
    if !diagram.legend.is_empty() {
        line("");
        for (is_dotted, words) in &diagram.legend {
            line(&format!("{} {words}", if *is_dotted { '┊' } else { '│' }));
        }
    }
    text
}

fn groups(column: &Column) -> Vec<String> {
    let mut rows = Vec::new();
    for group in &column.groups {
        rows.push(String::new());
        rows.push(format!("{}  {}", group.name, group.note));
        for chain in &group.chains {
            if chain.repeat > 1 {
                rows.push(format!("  × {}", chain.repeat));
            }
            rows.extend(boxes(chain));
        }
    }
    rows
}

/// A line for each box, after a bracket for each arc.
fn boxes(chain: &Chain) -> Vec<String> {
    let lanes = lanes(&chain.arcs);
    let count = lanes.iter().max().map_or(0, |lane| lane + 1);
    let row = |(index, element): (usize, &DiagramBox)| {
        // Outer arcs stand to the left of inner ones.
        let mut brackets = vec![' '; count];
        let mut notes = String::new();
        for (arc, lane) in chain.arcs.iter().zip(&lanes) {
            let first = arc.from.map_or(0, |from| from + 1);
            let sign = match index {
                _ if index == arc.to => '╰',
                _ if index == first => '╭',
                _ if (first..arc.to).contains(&index) => {
                    if arc.is_dotted {
                        '┊'
                    } else {
                        '│'
                    }
                }
                _ => continue,
            };
            brackets[count - 1 - lane] = sign;
            if index == arc.to && !arc.labels.is_empty() {
                notes = format!("   ({})", arc.labels.join(", "));
            }
        }
        let dotted = chain.arcs.iter().any(|arc| arc.to == index && arc.is_dotted);
        let rule = if dotted { '╌' } else { '─' };
        let mut lead: String = brackets.iter().collect();
        if let Some(at) = lead.find('╰') {
            let (left, right) = lead.split_at(at + '╰'.len_utf8());
            lead = format!("{left}{}{rule}", right.replace(' ', &rule.to_string()));
        } else {
            lead.push(' ');
        }
        format!("    {lead} {}{notes}", words(element))
    };
    chain.boxes.iter().enumerate().map(row).collect()
}

fn words(element: &DiagramBox) -> String {
    let DiagramBox { before, label, after, .. } = element;
    let label = match element.shape {
        BoxShape::Joint => format!("({label})"),
        _ => label.clone(),
    };
    let parts: Vec<&str> =
        [before, &label, after].into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    parts.join(" · ")
}
