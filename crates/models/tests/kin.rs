//! `ResNeXt`, squeeze and excitation, deep stems, blurring and pre-activation as timm has it: sizes to the
//! unit, names, starts, and what combines.

use residuum_graph::{Counts, Graph, Init, Kind, Op};
use residuum_models::kin::{Block, Branch, Cifar, ImageNet, Projection};
use residuum_models::squeeze_excite::Hidden;
use residuum_models::{bag_of_tricks, build, find, resnext, squeeze_excite};

const NETS: [&str; 27] = [
    "resnext50_32x4d",
    "resnext101_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "seresnet18",
    "seresnet50",
    "seresnet101",
    "seresnet152",
    "seresnext50_32x4d",
    "seresnext101_32x4d",
    "resnet50c.timm",
    "resnet101c.timm",
    "resnet152c.timm",
    "resnet18d",
    "resnet34d",
    "resnet26d",
    "resnet50d",
    "resnet101d",
    "resnet152d",
    "resnet200d",
    "resnet50s",
    "resnet10t",
    "resnet14t",
    "resnet26t",
    "resnet50t",
    "resnetblur18",
    "resnetblur50",
];

const V2: [&str; 6] =
    ["resnetv2_18", "resnetv2_34", "resnetv2_50", "resnetv2_50d", "resnetv2_101", "resnetv2_152"];

fn imagenet(name: &str) -> Graph {
    build(name, None).unwrap().graph
}

fn counts(name: &str) -> Counts {
    build(name, None).unwrap().graph.count(32, 32).unwrap()
}

#[test]
fn nets_for_cifar_have_the_sizes_of_the_reference() {
    for (name, parameters, multiply_adds) in [
        ("cifar_resnext29_8x64d", 34_426_698, 5_387_266_048),
        ("cifar_resnext29_16x64d", 68_155_210, 10_688_866_304),
        ("cifar_resnext29_8x16d", 5_646_666, 901_457_920),
        ("cifar_resnext29_4x24d", 4_845_002, 761_210_880),
        ("cifar_resnext29_32x4d", 4_775_754, 774_055_936),
        ("cifar_resnext29_1x64d", 4_914_250, 748_365_824),
    ] {
        let counts = counts(name);
        assert_eq!((counts.parameters, counts.multiply_adds), (parameters, multiply_adds), "{name}");
        assert_eq!(counts.depth, 29, "{name}");
    }
    for (name, parameters, depth) in [
        ("cifar_seresnet20", 274_847, 20),
        ("cifar_seresnet56", 862_889, 56),
        ("cifar_seresnet110", 1_744_952, 110),
    ] {
        let counts = counts(name);
        assert_eq!((counts.parameters, counts.depth), (parameters, depth), "{name}");
    }
    assert_eq!(counts("cifar_seresnet20").multiply_adds, 40_815_200);
}

#[test]
fn nets_for_imagenet_have_the_sizes_of_torchvision_and_timm() {
    for (name, parameters) in [
        ("resnext50_32x4d", 25_028_904),
        ("resnext101_32x4d", 44_177_704),
        ("resnext101_32x8d", 88_791_336),
        ("resnext101_64x4d", 83_455_272),
        ("seresnet18", 11_779_624),
        ("seresnet50", 28_088_024),
        ("seresnet101", 49_326_872),
        ("seresnext50_32x4d", 27_559_896),
        ("seresnext101_32x4d", 48_955_416),
        ("resnet50c.timm", 25_576_264),
        ("resnet50d", 25_576_264),
        ("resnet50t", 25_573_728),
        ("resnet50s", 25_680_808),
        ("resnet18d", 11_708_744),
        ("resnet34d", 21_816_904),
        ("resnet26d", 16_014_408),
        ("resnet26t", 16_011_872),
        ("resnet10t", 5_435_488),
        ("resnet14t", 10_081_632),
        ("resnet101d", 44_568_392),
        ("resnet152d", 60_212_040),
        ("resnet200d", 64_693_064),
        // Blurring has no parameters.
        ("resnetblur18", 11_689_512),
        ("resnetblur50", 25_557_032),
    ] {
        assert_eq!(imagenet(name).parameter_count(), parameters, "{name}");
    }
    // The sheet of sizes gives this one rounded.
    assert_eq!(format!("{:.1}", imagenet("seresnet152").parameter_count() as f64 / 1e6), "66.8");
    for (name, parameters) in [
        ("resnetv2_18", 11_687_720),
        ("resnetv2_34", 21_795_880),
        ("resnetv2_50", 25_549_352),
        ("resnetv2_50d", 25_568_584),
        ("resnetv2_101", 44_541_480),
        ("resnetv2_152", 60_185_128),
    ] {
        assert_eq!(imagenet(name).parameter_count(), parameters, "{name}");
    }
}

#[test]
fn groups_cost_the_multiply_adds_that_torchvision_prints() {
    for (name, printed) in
        [("resnext50_32x4d", "4.230"), ("resnext101_32x8d", "16.414"), ("resnext101_64x4d", "15.460")]
    {
        let counts = imagenet(name).count(224, 224).unwrap();
        assert_eq!(format!("{:.3}", counts.multiply_adds as f64 / 1e9), printed, "{name}");
    }
}

#[test]
fn names_tell_the_depth_and_stages_their_sizes() {
    for (name, first) in NETS.iter().map(|name| (name, 1)).chain(V2.iter().map(|name| (name, 0))) {
        let entry = find(name).unwrap();
        let graph = imagenet(name);
        // Names count a stem of three convolutions as one layer.
        let deep = graph
            .params()
            .iter()
            .filter(|param| param.name.contains("conv1.3") || param.name == "stem.conv2.weight");
        let stem = 2 * usize::from(deep.count() > 0);
        assert_eq!(graph.count(224, 224).unwrap().depth, entry.depth + stem, "{name}");
        let extents = graph.extents(224, 224).unwrap();
        for (stage, side) in [56, 28, 14, 7].into_iter().enumerate() {
            let module = if first == 1 { format!("layer{}", stage + 1) } else { format!("stages.{stage}") };
            assert_eq!(extents[graph.find(&module).unwrap().index()], [side; 2], "{name} {module}");
        }
        assert_eq!(graph.node(graph.output()).kind, Kind::Vector { features: 1000 });
    }
}

#[test]
fn a_gates_middle_follows_timm_or_the_paper() {
    for (channels, eights, sixteenth) in
        [(16, 8, 1), (64, 8, 4), (128, 8, 8), (192, 16, 12), (256, 16, 16), (2048, 128, 128), (8, 8, 1)]
    {
        assert_eq!(Hidden::Eights.channels(channels), eights, "{channels}");
        assert_eq!(Hidden::Sixteenth.channels(channels), sixteenth, "{channels}");
    }
}

#[test]
fn a_gate_stands_behind_the_last_norm_and_before_the_addition() {
    for name in ["seresnet18", "seresnet50"] {
        let graph = imagenet(name);
        let last = if name == "seresnet18" { "bn2" } else { "bn3" };
        let gate = graph.node(graph.find("layer2.1.se.scale").unwrap());
        assert_eq!(graph.node(gate.inputs[0]).name, format!("layer2.1.{last}"));
        let sum = graph.node(graph.find("layer2.1.add").unwrap());
        assert_eq!(graph.node(sum.inputs[0]).name, "layer2.1.se.scale");
        let bias = graph.param(graph.find_param("layer2.1.se.fc2.bias").unwrap());
        assert_eq!(bias.init, Init::Constant(0.0));
    }
}

#[test]
fn blurs_take_the_strides_of_pools_and_3x3_convolutions() {
    let graph = imagenet("resnetblur50");
    let blurs: Vec<&str> = graph
        .nodes()
        .iter()
        .filter(|node| matches!(node.op, Op::Blur(blur) if blur.size == 3 && blur.stride == 2))
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(blurs, ["maxpool.1", "layer2.0.aa", "layer3.0.aa", "layer4.0.aa"]);
    for node in graph.nodes() {
        let Op::Conv2d(conv) = node.op else { continue };
        let strided = conv.stride != [1; 2];
        assert_eq!(
            strided,
            node.name == "conv1" || node.name.contains("downsample") && !node.name.starts_with("layer1"),
            "{}",
            node.name
        );
    }
}

#[test]
fn branches_start_at_zero_where_timm_starts_them_so() {
    let start = |graph: &Graph, name: &str| graph.param(graph.find_param(name).unwrap()).init;
    let zero = Init::Constant(0.0);
    assert_eq!(start(&imagenet("resnet50d"), "layer1.0.bn3.weight"), zero);
    assert_eq!(start(&imagenet("resnet50d"), "layer1.0.bn2.weight"), Init::Constant(1.0));
    assert_eq!(start(&imagenet("resnet18d"), "layer4.1.bn2.weight"), zero);
    assert_eq!(start(&imagenet("seresnet50"), "layer4.2.bn3.weight"), zero);
    assert_eq!(start(&imagenet("resnetblur50"), "layer4.2.bn3.weight"), zero);
    assert_eq!(start(&imagenet("resnetv2_50"), "stages.3.blocks.2.conv3.weight"), zero);
    assert_eq!(start(&imagenet("resnetv2_18"), "stages.0.blocks.0.conv2.weight"), zero);
    assert_ne!(start(&imagenet("resnetv2_18"), "stages.0.blocks.0.conv1.weight"), zero);
    // torchvision leaves it to the caller.
    let plain = resnext::imagenet([3, 4, 6, 3], 32, 4);
    assert_eq!(start(&plain.graph("net", 10).unwrap(), "layer1.0.bn3.weight"), Init::Constant(1.0));
    let zeroed = ImageNet { block: Block { zero_init: true, ..plain.block }, ..plain };
    assert_eq!(start(&zeroed.graph("net", 10).unwrap(), "layer1.0.bn3.weight"), zero);
}

#[test]
fn averaging_shortcuts_count_what_lies_inside_only_and_leave_stride_one_alone() {
    for graph in [imagenet("resnet50d"), imagenet("resnetv2_50d")] {
        let pools: Vec<_> = graph.nodes().iter().filter(|node| matches!(node.op, Op::AvgPool(_))).collect();
        assert_eq!(pools.len(), 3, "the first stage keeps its size");
        for node in pools {
            let Op::AvgPool(pool) = node.op else { unreachable!("filtered") };
            assert!(pool.window.ceil && !pool.count_include_pad && pool.window.stride == [2; 2]);
        }
        // An odd side is halved upwards, as the branch's strided convolution does.
        let extents = graph.extents(200, 200).unwrap();
        assert_eq!(extents[graph.find("layer4").or(graph.find("stages.3")).unwrap().index()], [7; 2]);
    }
}

#[test]
fn everything_combines() {
    let block = Block {
        projection: Projection::Averaged,
        excitation: Some(Hidden::Eights),
        blur: Some(4),
        zero_init: true,
        ..Block::new(Branch::Bottleneck(resnext::Grouping { groups: 32, base: 4 }))
    };
    let net = ImageNet { blocks: [1, 2, 1, 1], stem: bag_of_tricks::Stem::T, block };
    let graph = net.graph("net", 10).unwrap();
    assert_eq!(net.depth(), 17);
    graph.extents(64, 64).unwrap();
    for param in ["conv1.6.weight", "layer2.0.downsample.2.weight", "layer3.0.se.fc1.bias"] {
        assert!(graph.find_param(param).is_some(), "{param}");
    }
}

#[test]
fn what_cannot_be_built_says_why() {
    let error = ImageNet { blocks: [3, 0, 6, 3], ..resnext::imagenet([3, 4, 6, 3], 32, 4) }
        .graph("net", 10)
        .unwrap_err();
    assert!(error.to_string().contains("layer2"), "{error}");
    let error = resnext::cifar29(0, 4).graph("net", 10).unwrap_err().to_string();
    assert!(error.contains("layer1.0.conv1"), "{error}");
    assert!(Cifar { n: 0, ..squeeze_excite::cifar(3) }.graph("net", 10).is_err());
    assert!(resnext::cifar29(8, 16).graph("net", 0).is_err());
}

#[test]
fn fine_tuning_replaces_the_last_layer_whatever_it_is_made_of() {
    for (graph, head) in [
        (imagenet("resnetv2_50"), ["head.fc.weight", "head.fc.bias"]),
        (imagenet("seresnet50"), ["fc.weight", "fc.bias"]),
    ] {
        let found: Vec<&str> =
            residuum_models::head_params(&graph).iter().map(|id| graph.param(*id).name.as_str()).collect();
        assert_eq!(found, head);
    }
}
