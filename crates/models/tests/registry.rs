//! Names: every one builds, aliases and rules reach what they should, and a wrong one is told so.

use std::collections::HashSet;

use residuum_graph::{Graph, Init, Op};
use residuum_models::{Entry, Family, ModelError, build, entries, find, matching, small_image_warning};

#[test]
fn every_registered_name_builds_a_network_that_holds_together() {
    for entry in entries() {
        let model = entry.build(None).unwrap();
        let (graph, side) = (&model.graph, model.family.input_size());
        graph.verify().unwrap();
        let extents = graph.extents(side, side).unwrap();
        assert_eq!(extents[graph.output().index()], [1, 1], "{}", entry.name);
        assert_eq!(graph.output_features(), model.family.default_classes(), "{}", entry.name);
        assert_eq!(graph.input_channels(), 3);
        assert_eq!((&model.name, graph.name()), (&entry.name, entry.name.as_str()));
        assert_eq!(build(&entry.name, Some(7)).unwrap().graph.output_features(), 7);
        assert!(entry.name.contains(&entry.depth.to_string()), "{}", entry.name);
        // The paper of the wide nets counts projections, and names nets of other blocks by those of 3×3 and
        // 3×3; a stem of three convolutions counts as one; DenseNet-264 has a layer more than its name says.
        let is_wide = entry.name.starts_with("wrn_");
        let has_deep_stem =
            ["conv1.3.weight", "stem.conv2.weight"].iter().any(|p| graph.find_param(p).is_some());
        let uncounted = 2 * usize::from(has_deep_stem) + usize::from(entry.name == "densenet264");
        let depth = graph.count(side, side).unwrap().depth;
        assert!(is_wide || entry.depth + uncounted == depth, "{}: {depth}", entry.name);
    }
}

#[test]
fn no_two_networks_share_a_name() {
    let mut seen = HashSet::new();
    for name in entries().iter().flat_map(Entry::all_names) {
        assert!(seen.insert(name), "{name} means two networks");
    }
}

#[test]
fn aliases_and_rules_reach_the_network_they_mean() {
    for (asked, meant) in [
        ("resnet20", "cifar_resnet20"),
        ("resnet1202", "cifar_resnet1202"),
        ("plain56", "cifar_plain56"),
        ("resnet20.A", "cifar_resnet20"),
        ("resnet20.B", "cifar_resnet20b"),
        ("resnet20.C", "cifar_resnet20c"),
        ("resnet56.A", "cifar_resnet56"),
        ("resnet110.A", "cifar_resnet110"),
        ("resnet20.akamaster", "cifar_resnet20.akamaster"),
        ("resnet18.A", "resnet18a"),
        ("resnet18.tv", "resnet18"),
        ("resnet50.stride1x1", "resnet50"),
        ("preact20.full_preact", "cifar_preact20"),
        ("preact20.full_preact_B", "cifar_preact20b"),
        ("preact164.full_preact", "cifar_preact164"),
        ("preact20.bn_after_add", "cifar_preact20.bn_after_add"),
        ("bottleneck20.original", "cifar_bottleneck20"),
        ("bottleneck20.full_preact", "cifar_bottleneck20.full_preact"),
        ("skip20.constant_0.5_1", "cifar_resnet20.constant_0.5_1"),
        ("skip20.exclusive", "cifar_resnet20.exclusive"),
        ("cifar_resnet110.exclusive_-6", "cifar_resnet110.exclusive"),
        ("cifar_resnet20.exclusive_-3", "cifar_resnet20.exclusive_-3"),
        ("cifar_resnet110.constant_0_1", "cifar_plain110"),
        ("cifar_preact173", "cifar_preact173"),
        ("cifar_preact14", "cifar_preact14"),
        ("wrn_16_2_b31", "wrn_16_2.b31"),
        ("wrn_10_2_b333", "wrn_10_2.b333"),
        ("wrn_34_2", "wrn_34_2"),
        ("wrn_28_10.dropout_0.3", "wrn_28_10.dropout"),
        ("wide_resnet50_2", "wide_resnet50_2"),
        ("sd_resnet20_gated", "sd_resnet20"),
        ("sd_resnet56.sample", "sd_resnet56.sample"),
        ("cifar_resnet8", "cifar_resnet8"),
        ("cifar_resnet50c", "cifar_resnet50c"),
        ("cifar_plain14", "cifar_plain14"),
        ("cifar_resnet26.akamaster", "cifar_resnet26.akamaster"),
    ] {
        assert_eq!(find(asked).unwrap().name, meant, "{asked}");
        assert_eq!(build(asked, None).unwrap().graph.name(), meant, "{asked}");
    }
    assert_eq!(find("resnet50").unwrap().family, Family::ImageNet);
    assert_eq!(find("cifar_resnet50").unwrap().family, Family::Cifar);
}

#[test]
fn a_wrong_name_is_answered_in_one_line_with_the_nearest() {
    let message = |name| find(name).unwrap_err().to_string();
    assert_eq!(
        message("resnt50"),
        "unknown model `resnt50`, did you mean `resnet50`?; `residuum models` lists all names"
    );
    assert_eq!(message("vgg"), "unknown model `vgg`; `residuum models` lists all names");
    assert_eq!(
        message("cifar_resnet21"),
        "model `cifar_resnet21`: expected a depth of 6n+2 from 8 to 12002, found 21; try `cifar_resnet20`"
    );
    for (name, nearest) in [
        ("cifar_plain25", "cifar_plain26"),
        ("cifar_resnet2b", "cifar_resnet8b"),
        ("cifar_preact21", "cifar_preact20"),
        ("wrn_29_10", "wrn_28_10"),
        ("wrn_28_0", "wrn_28_1"),
        ("sd_resnet111.uniform", "sd_resnet110.uniform"),
        ("cifar_preact163", "cifar_preact164"),
        ("cifar_preact1000", "cifar_preact1001"),
        ("cifar_resnet20.exclusive_-11", "cifar_resnet20.exclusive_-10"),
        ("cifar_resnet99999999999999999999999", "cifar_resnet12002"),
    ] {
        let ModelError::Number { nearest: found, .. } = find(name).unwrap_err() else {
            panic!("{name} is no wrong depth")
        };
        assert_eq!(found, nearest, "{name}");
        find(nearest).unwrap();
    }
    for name in ["", "cifar_resnet", "cifar_resnet020", "cifar_resnet+20", "resnet", "resnet26", "resnet201"]
    {
        assert!(matches!(find(name), Err(ModelError::Unknown { .. })), "{name}");
    }
    let error = build("resnet18", Some(0)).unwrap_err().to_string();
    assert_eq!(error, "model `resnet18`: fc: expected at least one output, found 0");
}

#[test]
fn patterns_list_names() {
    let list = |pattern| matching(pattern).map(|entry| entry.name.as_str()).collect::<Vec<_>>();
    assert_eq!(list("resnet*.tv"), ["resnet18", "resnet34", "resnet50.tv", "resnet101.tv", "resnet152.tv"]);
    assert_eq!(list("cifar_plain?0"), ["cifar_plain20"]);
    assert_eq!(list("preact50*"), ["preact50", "preact50.timm"]);
    assert_eq!(list("*").len(), entries().len());
    assert!(list("alexnet").is_empty());
}

#[test]
fn small_images_are_warned_of_where_they_would_vanish() {
    let text = small_image_warning(&build("resnet50", None).unwrap(), 32).unwrap();
    assert!(text.contains("resnet50") && text.contains("32×32") && text.contains("1×1"), "{text}");
    assert!(small_image_warning(&build("resnet50", None).unwrap(), 64).is_none());
    assert!(small_image_warning(&build("cifar_resnet20", None).unwrap(), 32).is_none());
}

/// Start values of the biases of a network's gates.
fn gate_starts(name: &str) -> Vec<Init> {
    let graph = build(name, None).unwrap().graph;
    graph.params().iter().filter(|p| p.name.ends_with("gate.bias")).map(|p| p.init).collect()
}

#[test]
fn gates_start_where_their_name_says() {
    for (name, bias) in [
        ("cifar_resnet20.exclusive", -6.0),
        ("cifar_resnet20.exclusive_0", 0.0),
        ("cifar_resnet20.exclusive_-10", -10.0),
        ("cifar_resnet20.shortcut_only", -6.0),
        ("cifar_resnet20.shortcut_only_0", 0.0),
    ] {
        assert_eq!(gate_starts(name), [Init::Constant(bias); 9], "{name}");
    }
}

fn inputs<'a>(graph: &'a Graph, name: &str) -> Vec<&'a str> {
    let node = graph.node(graph.find(name).unwrap());
    node.inputs.iter().map(|&id| graph.node(id).name.as_str()).collect()
}

#[test]
fn blocks_are_wired_as_the_figures_show() {
    let graph = build("cifar_resnet20", None).unwrap().graph;
    assert_eq!(inputs(&graph, "layer1.0.add"), ["layer1.0.bn2", "relu"]);
    assert_eq!(inputs(&graph, "layer2.0.add"), ["layer2.0.bn2", "layer2.0.downsample.pad"]);
    assert_eq!(inputs(&graph, "layer2.0.downsample.pad"), ["layer2.0.downsample.subsample"]);
    assert_eq!(graph.node(graph.find("layer2.0").unwrap()).name, "layer2.0.relu2");
    let plain = build("cifar_plain20", None).unwrap().graph;
    assert_eq!(inputs(&plain, "layer2.0.relu2"), ["layer2.0.bn2"]);
    let deep = build("resnet50", None).unwrap().graph;
    assert_eq!(inputs(&deep, "layer1.0.add"), ["layer1.0.bn3", "layer1.0.downsample.1"]);
    assert_eq!(inputs(&deep, "layer1.1.add"), ["layer1.1.bn3", "layer1.0.relu3"]);
    assert_eq!(inputs(&deep, "layer1.0.downsample.0"), ["maxpool"]);
    assert_eq!(deep.node(deep.find("layer4").unwrap()).name, "layer4.2.relu3");
}

#[test]
fn variants_differ_where_they_should() {
    let op = |name, node| {
        let graph = build(name, None).unwrap().graph;
        graph.node(graph.find(node).unwrap()).op
    };
    let padding = |name| op(name, "layer2.0.downsample.pad");
    assert_eq!(padding("cifar_resnet20"), Op::PadChannels { before: 0, after: 16 });
    assert_eq!(padding("cifar_resnet20.akamaster"), Op::PadChannels { before: 8, after: 8 });
    let stride = |name, node| match op(name, node) {
        Op::Conv2d(conv) => conv.stride[0],
        other => panic!("{node} is {other:?}"),
    };
    for (name, first, middle) in [("resnet50", 2, 1), ("resnet50.tv", 1, 2), ("resnet50.caffe", 2, 1)] {
        let strides = (stride(name, "layer3.0.conv1"), stride(name, "layer3.0.conv2"));
        assert_eq!(strides, (first, middle), "{name}");
    }
    for (name, padding, ceil) in
        [("resnet50", 1, false), ("resnet50.tv", 1, false), ("resnet50.caffe", 0, true)]
    {
        let Op::MaxPool(pool) = op(name, "maxpool") else { panic!("maxpool is no pool") };
        assert_eq!((pool.padding, pool.ceil), ([padding; 2], ceil), "{name}");
    }
}

#[test]
fn networks_are_printed_with_their_layers() {
    let graph = build("cifar_resnet20", None).unwrap().graph;
    let text = graph.to_text(32, 32).unwrap();
    assert_eq!(text.lines().count(), graph.nodes().len());
    let line = text.lines().find(|line| line.starts_with("layer2.0.conv1 ")).unwrap();
    assert!(line.contains("3×3 conv, 32, /2") && line.contains("32×16×16"), "{line}");
    let dot = graph.to_dot();
    let arrows: usize = graph.nodes().iter().map(|node| node.inputs.len()).sum();
    assert_eq!(dot.matches(" -> ").count(), arrows);
    assert!(dot.contains("layer3.2.relu2"));
}
