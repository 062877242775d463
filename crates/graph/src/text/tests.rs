use proptest::prelude::*;

use super::*;
use crate::builder::{Builder, ConvSpec};

/// A network with every operation that can be stored.
fn example() -> Graph {
    let mut g = Builder::new("example");
    let x = g.input(4);
    let x = g.conv("conv1", x, ConvSpec { groups: 2, bias: Some(0.0), ..ConvSpec::new(8, 3, 2) }).unwrap();
    let x = g.batch_norm("bn1", x).unwrap();
    let x = g.relu("relu", x);
    let pool = MaxPool { kernel: [3; 2], stride: [2; 2], padding: [1; 2], ceil: true };
    let x = g.max_pool("maxpool", x, pool).unwrap();
    let s = g.subsample("subsample", x, 2).unwrap();
    let s = g.pad_channels("pad", s, 3, 5).unwrap();
    let y = g.avg_pool("mean", x, AvgPool { window: pool, count_include_pad: false }).unwrap();
    let y = g.conv("conv2", y, ConvSpec::new(16, 1, 1)).unwrap();
    let x = g.add("add", y, s).unwrap();
    let x = g.global_avg_pool("avgpool", x).unwrap();
    let x = g.linear("fc", x, 7).unwrap();
    g.finish(x).unwrap()
}

#[test]
fn a_network_comes_back_as_it_was() {
    let graph = example();
    assert_eq!(Graph::from_json(&graph.to_json().unwrap()).unwrap(), graph);
}

#[test]
fn the_text_is_what_the_documentation_says() {
    let text = example().to_json().unwrap();
    for part in [
        r#"{"version":1,"name":"example","output":"fc","params":[{"name":"conv1.weight","shape":[8,2,3,3],"role":"conv_weight","init":{"he_normal":"in"}}"#,
        r#"{"name":"input","op":{"type":"input","channels":4},"inputs":[]}"#,
        r#""type":"conv","weight":"conv1.weight","bias":"conv1.bias","stride":[2,2],"padding":[1,1],"dilation":[1,1],"groups":2}"#,
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn what_is_wrong_is_told_by_name() {
    let good = example().to_json().unwrap();
    for (from, to, named) in [
        (r#""version":1"#, r#""version":2"#, "version 2"),
        (r#""groups":2"#, r#""groups":0"#, "conv1"),
        (r#""groups":2"#, r#""groups":3"#, "conv1"),
        (r#""stride":[2,2]"#, r#""stride":[2,0]"#, "conv1"),
        (r#""shape":[8,2,3,3]"#, r#""shape":[8,2,3,4611686018427387904]"#, "conv1.weight"),
        (r#""shape":[8,2,3,3]"#, r#""shape":[8,2,9]"#, "conv1"),
        (r#""shape":[8,2,3,3]"#, r#""shape":[9,2,3,3]"#, "conv1"),
        (r#""before":3"#, r#""before":18446744073709551615"#, "pad"),
        (r#""before":3"#, r#""before":4"#, "add"),
        (r#""inputs":["conv2","pad"]"#, r#""inputs":["conv2"]"#, "add"),
        (r#""inputs":["conv2","pad"]"#, r#""inputs":["conv2","fc"]"#, "`fc`"),
        (r#""inputs":["input"]"#, r#""inputs":[]"#, "conv1"),
        (r#""name":"bn1""#, r#""name":"conv1""#, "conv1"),
        (r#""name":"bn1.bias""#, r#""name":"conv1.bias""#, "conv1.bias"),
        (r#""output":"fc""#, r#""output":"gc""#, "gc"),
        (r#""type":"relu""#, r#""type":"swish""#, "swish"),
        (r#""role":"norm_bias""#, r#""role":"nothing""#, "nothing"),
        (r#""padding":[1,1],"ceil""#, r#""padding":[2,2],"ceil""#, "maxpool"),
        (r#""type":"add""#, r#""type":"add","of":2"#, "of"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let error = Graph::from_json(&text).unwrap_err().to_string();
        assert!(error.contains(named), "{from} → {to}: {error}");
    }
}

proptest! {
    /// Damage is refused or makes another network that obeys the laws; it never panics.
    #[test]
    fn damaged_text_never_panics(at in 0.0..1.0f64, byte in 32u8..127) {
        let mut text = example().to_json().unwrap().into_bytes();
        let at = (at * text.len() as f64) as usize;
        text[at] = byte;
        if let Ok(graph) = Graph::from_json(std::str::from_utf8(&text).unwrap()) {
            prop_assert!(graph.verify().is_ok());
            let _ = graph.count(32, 32);
        }
    }
}
