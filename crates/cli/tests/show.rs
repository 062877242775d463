//! `show`: the table adds up, drawings hold together, folding removes the additions, refusals say why.

mod support;

use residuum::classify::{ModelFile, ModelInfo};
use residuum::data::Preprocess;
use residuum::models::{build, entries, initialise};
use serde_json::Value;

use support::Place;

/// A network of every form: basic, bottleneck, plain, pre-activation, gates, dense, grouped, excited, blurred.
const SAMPLE: [&str; 16] = [
    "cifar_resnet20",
    "cifar_resnet110",
    "cifar_plain20",
    "resnet18",
    "resnet50",
    "resnet152",
    "preact18",
    "cifar_preact164",
    "cifar_resnet110.exclusive",
    "cifar_resnet110.constant_0.5_1",
    "wrn_16_4.dropout",
    "cifar_densenet_40_12",
    "densenet121",
    "sd_resnet110",
    "seresnext50_32x4d",
    "resnetv2_50d",
];

fn sum(layers: &Value, field: &str) -> u64 {
    layers.as_array().unwrap().iter().map(|layer| layer[field].as_u64().unwrap()).sum()
}

#[test]
fn layers_add_up_to_what_models_prints() {
    let place = Place::new();
    for name in SAMPLE {
        let known = &place.json(&["models", name, "--json"])["models"][0];
        let shown = place.json(&["show", name, "--json"]);
        assert_eq!(shown["schema"], "residuum.show");
        for field in ["depth", "parameters", "multiply_adds"] {
            assert_eq!(shown[field], known[field], "{name}: {field}");
        }
        for field in ["parameters", "multiply_adds", "memory_bytes"] {
            assert_eq!(sum(&shown["layers"], field), shown[field].as_u64().unwrap(), "{name}: {field}");
        }
        let names: Vec<&str> =
            shown["layers"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap()).collect();
        let graph = build(name, None).unwrap().graph;
        assert!(
            graph.nodes().iter().map(|node| node.name.as_str()).eq(names),
            "{name}: every node, in order"
        );
    }
}

#[test]
fn the_table_has_fields_totals_and_stages() {
    let place = Place::new();
    let table = place.text(&["show", "resnet50.tv"]);
    let cells = |name: &str| -> Vec<String> {
        let line = table.lines().find(|line| line.trim_start().starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    // The sizes of `visualizing.md`: after the stages of a net with the stride in the 3×3.
    for (stage, field, step) in
        [("layer1", "35", "4"), ("layer2", "91", "8"), ("layer3", "267", "16"), ("layer4", "427", "32")]
    {
        assert!(cells(stage).ends_with(&[field.to_owned(), step.to_owned()]), "{stage}: {:?}", cells(stage));
    }
    for total in ["25,557,032", "4,089,184,256"] {
        assert!(table.contains(total), "{total}");
    }
    let doubled = place.json(&["show", "resnet18", "--size", "64x96", "--batch-size", "2", "--json"]);
    assert_eq!(doubled["input"], serde_json::json!([2, 3, 64, 96]));
    assert_eq!(doubled["layers"][0]["memory_bytes"], 2 * 3 * 64 * 96 * 4);
    assert_eq!(doubled["layers"][1]["output"], "64×32×48");
}

/// Left, top, right and bottom of what is drawn.
type Area = [f64; 4];

fn attribute(line: &str, name: &str) -> Option<f64> {
    let start = line.find(&format!(" {name}=\""))? + name.len() + 3;
    line[start..].split('"').next()?.parse().ok()
}

fn boxes(svg: &str) -> Vec<Area> {
    let drawn = svg.lines().filter(|line| line.starts_with("<rect x="));
    drawn
        .map(|line| {
            let [x, y, w, h] = ["x", "y", "width", "height"].map(|name| attribute(line, name).unwrap());
            [x, y, x + w, y + h]
        })
        .collect()
}

/// Room that texts take, a little less than half a text's size for each letter, about what the fonts of pages do.
fn texts(svg: &str) -> Vec<Area> {
    let drawn = svg.lines().filter(|line| line.starts_with("<text "));
    drawn
        .map(|line| {
            let [x, y, size] = ["x", "y", "font-size"].map(|name| attribute(line, name).unwrap());
            let letters = line.split_once('>').unwrap().1.split('<').next().unwrap().chars().count();
            let width = 0.44 * size * letters as f64;
            let left = match line {
                _ if line.contains("\"middle\"") => x - width / 2.0,
                _ if line.contains("\"end\"") => x - width,
                _ => x,
            };
            [left, y - 0.7 * size, left + width, y]
        })
        .collect()
}

fn inside(inner: &Area, outer: &Area) -> bool {
    inner[0] >= outer[0] && inner[1] >= outer[1] && inner[2] <= outer[2] && inner[3] <= outer[3]
}

fn apart(a: &Area, b: &Area) -> bool {
    a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1]
}

fn assert_holds_together(name: &str, svg: &str) {
    let head = svg.lines().next().unwrap();
    let page = [0.0, 0.0, attribute(head, "width").unwrap(), attribute(head, "height").unwrap()];
    let (boxes, texts) = (boxes(svg), texts(svg));
    assert!(boxes.len() > 10 && texts.len() > 10, "{name}");
    for (index, one) in boxes.iter().enumerate() {
        assert!(inside(one, &page), "{name}: {one:?} lies on the page {page:?}");
        for other in &boxes[index + 1..] {
            let fits = apart(one, other) || inside(one, other) || inside(other, one);
            assert!(fits, "{name}: {one:?} and {other:?}");
        }
    }
    for (index, text) in texts.iter().enumerate() {
        assert!(inside(text, &page), "{name}: the text {text:?} lies on the page {page:?}");
        for other in &texts[index + 1..] {
            assert!(apart(text, other), "{name}: the texts {text:?} and {other:?}");
        }
        for area in &boxes {
            assert!(apart(text, area) || inside(text, area), "{name}: {text:?} in {area:?}");
        }
    }
}

#[test]
fn drawings_have_nothing_on_top_of_each_other_or_off_the_page() {
    let place = Place::new();
    for name in SAMPLE {
        assert_holds_together(name, &place.text(&["show", name, "--format", "svg"]));
    }
    let all = place.text(&["show", "cifar_resnet110", "--format", "svg", "--expand"]);
    assert_holds_together("expanded", &all);
    assert_eq!(all.matches(">+</text>").count(), 54);
    assert_holds_together("folded", &place.text(&["show", "cifar_resnet20", "--fold", "--format", "svg"]));
}

#[test]
fn shortcuts_that_change_the_shape_are_dotted() {
    let place = Place::new();
    let svg = place.text(&["show", "resnet34", "--format", "svg"]);
    // One for each stage but the first, and one in the legend.
    assert_eq!(svg.matches("stroke-dasharray").count(), 3 + 1);
    assert_eq!(svg.matches(">+</text>").count(), 16);
    let text = place.text(&["show", "cifar_preact110", "--format", "text"]);
    for part in ["× 17", "BN ReLU · 3×3 conv, 16", "╰╌ (+)   (1×1 conv, 32, /2)", "layer3  64×8×8"]
    {
        let found = text.contains(part) || part.contains("1×1") && text.contains("/2, +16 zeros");
        assert!(found, "`{part}` is not in\n{text}");
    }
    let dense = place.text(&["show", "cifar_densenet_40_12", "--format", "text"]);
    for part in ["denseblock2  304×16×16", "× 12", "╰─ (concat)", "transition1"] {
        assert!(dense.contains(part), "`{part}` is not in\n{dense}");
    }
}

#[test]
fn every_registered_network_has_an_outline_of_all_its_nodes() {
    for entry in entries().iter().filter(|entry| entry.depth < 300) {
        let graph = entry.build(None).unwrap().graph;
        let outline = graph.outline();
        let nodes = outline.stages.iter().flat_map(|stage| &stage.parts).flat_map(|part| &part.nodes);
        assert!(nodes.copied().eq(graph.ids()), "{}", entry.name);
        let arcs = || outline.stages.iter().flat_map(|stage| &stage.parts).flat_map(|part| &part.arcs);
        let joints = graph.residual_blocks().len()
            + graph.nodes().iter().filter(|node| node.op.name() == "concat").count();
        assert_eq!(arcs().count(), joints, "{}: an arc for each shortcut", entry.name);
        assert!(
            arcs().all(|arc| !arc.labels.iter().any(|label| label.starts_with("from "))),
            "{}",
            entry.name
        );
        assert!(outline.blocks() > 0, "{}", entry.name);
    }
}

#[test]
fn dot_has_every_node_once_and_balanced_clusters() {
    let place = Place::new();
    for name in ["cifar_resnet20", "seresnet18", "cifar_densenet_bc_40_12"] {
        let dot = place.text(&["show", name, "--format", "dot"]);
        let graph = build(name, None).unwrap().graph;
        let arrows: usize = graph.nodes().iter().map(|node| node.inputs.len()).sum();
        assert_eq!(dot.matches(" -> ").count(), arrows, "{name}");
        let mut depth = 0;
        for line in dot.lines() {
            let quotes = line.matches('"').count() - line.matches("\\\"").count();
            assert!(quotes.is_multiple_of(2), "{line}");
            depth += line.matches('{').count();
            depth -= line.matches('}').count();
            assert!(matches!(line.trim_end().chars().last(), Some('{' | '}' | ';')), "{line}");
        }
        assert_eq!(depth, 0, "{name}");
        for id in graph.ids() {
            assert_eq!(dot.matches(&format!("  n{} [label=", id.index())).count(), 1, "{name}");
        }
        assert!(dot.contains("label=\"layer1.0\"") || dot.contains("denselayer1\""), "{name}");
    }
}

#[test]
fn folding_removes_every_addition() {
    let place = Place::new();
    let shown = place.json(&["show", "cifar_resnet20", "--fold", "--json"]);
    assert_eq!((&shown["additions"], &shown["folded"]["additions"]), (&9.into(), &0.into()));
    assert_eq!(shown["folded"]["longest_path"], 20);
    let operations = shown["folded"]["layers"].as_array().unwrap();
    assert!(operations.iter().all(|layer| layer["operation"] != "add" && layer["operation"] != "batch norm"));
    let table = place.text(&["show", "cifar_resnet20", "--fold"]);
    assert!(
        table.lines().any(|line| line.split_whitespace().eq(["additions", "9", "0", "0.000"])),
        "{table}"
    );

    let model = build("cifar_resnet8", Some(3)).unwrap();
    let names = ["cat", "dog", "owl"].map(str::to_owned).to_vec();
    let info = ModelInfo::new(&model.name, names, Preprocess::cifar10());
    ModelFile { weights: initialise(&model.graph, 0), info }.save(place.path("m.safetensors")).unwrap();
    let ours = place.json(&["show", "m.safetensors", "--fold", "--json"]);
    assert_eq!((&ours["model"], &ours["folded"]["additions"]), (&"cifar_resnet8".into(), &0.into()));
    assert_eq!(ours["layers"].as_array().unwrap().last().unwrap()["output"], "3");
}

#[test]
fn files_are_of_the_format_that_their_ending_says() {
    let place = Place::new();
    for (file, start) in [
        ("net.png", &b"\x89PNG"[..]),
        ("net.svg", b"<svg"),
        ("net.dot", b"digraph"),
        ("net.json", b"{\"schema\""),
        ("net.txt", b"layer"),
    ] {
        assert!(place.text(&["show", "cifar_resnet20", "--out", file]).is_empty());
        let bytes = std::fs::read(place.path(file)).unwrap();
        assert!(bytes.starts_with(start), "{file}");
    }
    let to_pipe = place.run(&["show", "cifar_resnet20", "--format", "png"]);
    assert_eq!(to_pipe.stdout, std::fs::read(place.path("net.png")).unwrap());
    place.refuses(&["show", "resnet18", "--out", "net.png"], &["net.png", "exists already"]);
}

#[test]
fn refusals_say_what_and_why() {
    let place = Place::new();
    place.refuses(&["show", "resnet5O"], &["resnet5O", "did you mean `resnet"]);
    place.refuses(&["show", "runs/nothing"], &["runs/nothing", "no such file"]);
    place.refuses(
        &["show", "densenet121", "--size", "16"],
        &["densenet121", "16×16", "a map that its window fits into"],
    );
    place.refuses(&["show", "resnet18", "--size", "64x"], &["--size", "224x320"]);
    place.refuses(&["show", "resnet18", "--size", "0"], &["--size"]);
    place.refuses(&["show", "cifar_resnet20", "--out", "nowhere/net.svg"], &["nowhere", "no such folder"]);
    place.refuses(&["show", "cifar_resnet20", "--json", "--format", "dot"], &["--json", "--format"]);
    place.refuses(
        &["show", "cifar_densenet_40_12", "--fold", "--out", "net.svg"],
        &["cannot fold", "features.denseblock1", "dense connectivity"],
    );
    place.refuses(
        &["show", "cifar_seresnet20", "--fold"],
        &["cannot fold", "layer1.0.bn2", "neither a chain nor a residual unit"],
    );
}
