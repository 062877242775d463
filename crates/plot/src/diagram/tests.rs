use super::*;
use crate::font;

fn filled(label: &str) -> DiagramBox {
    let (before, after) = (String::new(), "BN, ReLU".to_owned());
    DiagramBox { shape: BoxShape::Filled, before, label: label.into(), after }
}

fn sum() -> DiagramBox {
    DiagramBox { shape: BoxShape::Joint, label: "+".into(), after: "ReLU".into(), before: String::new() }
}

fn block(repeat: usize, labels: &[&str]) -> Chain {
    let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
    let is_dotted = !labels.is_empty();
    Chain {
        repeat,
        boxes: vec![filled("3×3 conv, 64"), filled("3×3 conv, 64"), sum()],
        arcs: vec![DiagramArc { from: None, to: 2, is_dotted, is_filled: is_dotted, labels }],
    }
}

fn diagram(blocks: usize) -> Diagram {
    let group = |number: usize| Group {
        name: format!("layer{number}"),
        note: "64×56×56".into(),
        colour: Some(number),
        chains: std::iter::once(block(1, &["2×2 average pool, /2", "1×1 conv, 64, /2", "BN"]))
            .chain((1..blocks).map(|_| block(1, &[])))
            .chain([block(7, &[])])
            .collect(),
    };
    let column = Column {
        title: "a net".into(),
        facts: vec!["many parameters".into()],
        groups: (0..4).map(group).collect(),
    };
    Diagram { title: "Two nets".into(), columns: vec![column.clone(), column], legend: vec![] }
}

fn overlap(a: &Rect, b: &Rect) -> bool {
    a.left < b.right() && b.left < a.right() && a.top < b.bottom() && b.top < a.bottom()
}

#[test]
fn boxes_lie_apart_and_everything_on_the_page() {
    for blocks in [1, 3, 40] {
        let layout = Layout::new(&diagram(blocks));
        let (width, height) = layout.size;
        for (i, one) in layout.boxes.iter().enumerate() {
            let rect = &one.rect;
            assert!(rect.left >= 0.0 && rect.top >= 0.0 && rect.right() <= width && rect.bottom() <= height);
            for other in &layout.boxes[i + 1..] {
                assert!(!overlap(rect, &other.rect), "{rect:?} and {:?} of {blocks}", other.rect);
            }
        }
        for text in &layout.texts {
            let wide = font::width(&text.words, text.style.size);
            let left = match text.style.anchor {
                Anchor::Start => text.at.0,
                Anchor::Middle => text.at.0 - wide / 2.0,
                Anchor::End => text.at.0 - wide,
            };
            assert!(left >= 0.0 && left + wide <= width && text.at.1 <= height, "{}", text.words);
        }
        for (x, y) in layout.lines.iter().flat_map(|line| &line.points) {
            assert!((0.0..=width).contains(x) && (0.0..=height).contains(y), "{x} {y}");
        }
    }
}

#[test]
fn long_columns_are_cut_into_pieces_of_a_page() {
    let (width, height) = Layout::new(&diagram(40)).size;
    assert!((0.7..4.0).contains(&(width / height)), "{width}×{height}");
    let png = diagram(40).png().unwrap();
    assert_eq!(&png[1..4], b"PNG");
    assert!(diagram(4000).png().unwrap_err().to_string().contains("take SVG"));
}

#[test]
fn inner_arcs_run_inside_outer_ones() {
    let arc = |from, to| DiagramArc { from, to, is_dotted: false, is_filled: false, labels: vec![] };
    let arcs = [arc(None, 5), arc(Some(0), 3), arc(Some(3), 5)];
    assert_eq!(layout::lanes(&arcs), [1, 0, 0]);
}

#[test]
fn in_letters_arcs_are_brackets() {
    let mut diagram = diagram(1);
    diagram.columns.truncate(1);
    diagram.columns[0].groups.truncate(1);
    let text = diagram.text();
    for line in [
        "layer0  64×56×56",
        "    ╭  3×3 conv, 64 · BN, ReLU",
        "    ┊  3×3 conv, 64 · BN, ReLU",
        "    ╰╌ (+) · ReLU   (2×2 average pool, /2, 1×1 conv, 64, /2, BN)",
        "  × 7",
        "    ╰─ (+) · ReLU",
    ] {
        assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
    }
}
