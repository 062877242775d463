//! Densely connected networks: sizes to the unit, shapes, names of parameters old and new, dropout.

use residuum_graph::{Counts, Fan, Graph, Init, Kind, Op, Role};
use residuum_models::densenet::{Cifar, Variant, old_densenet_name};
use residuum_models::{build, find};

fn imagenet(name: &str) -> Graph {
    build(name, None).unwrap().graph
}

fn count(net: Cifar, classes: usize) -> Counts {
    net.graph("net", classes).unwrap().count(32, 32).unwrap()
}

/// Name, parameters with 10 and 100 classes, multiply-adds with 10, parameters with a stem of 2k.
const CIFAR_SIZES: [(&str, u64, u64, u64, u64); 12] = [
    ("densenet_40_12", 1_019_722, 1_060_132, 264_812_928, 1_059_298),
    ("densenet_100_12", 6_979_642, 7_084_852, 1_769_516_448, 7_083_538),
    ("densenet_100_24", 27_249_082, 27_457_972, 6_889_347_744, 28_071_706),
    ("densenet_b_40_12", 238_306, 259_276, 82_499_856, 249_946),
    ("densenet_c_40_12", 578_090, 601_220, 192_000_512, 599_050),
    ("densenet_bc_40_12", 176_122, 188_092, 72_365_352, 176_122),
    ("densenet_bc_100_12", 769_162, 800_032, 287_929_692, 769_162),
    ("densenet_bc_250_24", 15_324_406, 15_480_556, 5_418_785_724, 15_324_406),
    ("densenet_bc_190_40", 25_624_430, 25_821_620, 9_301_945_740, 25_624_430),
    ("densenet_bc_40_36", 1_542_682, 1_578_412, 647_298_936, 1_542_682),
    ("densenet_bc_40_48", 2_733_130, 2_780_740, 1_149_867_168, 2_733_130),
    ("densenet_bc_40_60", 4_261_690, 4_321_180, 1_795_836_360, 4_261_690),
];

#[test]
fn nets_for_cifar_have_the_sizes_of_table_2() {
    for (name, parameters, more_classes, multiply_adds, wide_stem) in CIFAR_SIZES {
        let counts = imagenet(name).count(32, 32).unwrap();
        assert_eq!((counts.parameters, counts.multiply_adds), (parameters, multiply_adds), "{name}");
        assert_eq!(counts.depth, find(name).unwrap().depth, "{name}");
        assert_eq!(build(name, Some(100)).unwrap().graph.parameter_count(), more_classes, "{name}");
        let numbers: Vec<usize> = name.split('_').filter_map(|part| part.parse().ok()).collect();
        let variant = match name.split('_').nth(1) {
            Some("b") => Variant::B,
            Some("c") => Variant::C,
            Some("bc") => Variant::BC,
            _ => Variant::PLAIN,
        };
        let wide = Cifar { stem: 2 * numbers[1], ..Cifar::new(numbers[0], numbers[1], variant) };
        assert_eq!(count(wide, 10).parameters, wide_stem, "{name} with a stem of 2k");
    }
}

#[test]
fn nets_for_imagenet_have_the_sizes_of_table_1() {
    let sizes = [
        ("densenet121", 7_978_856, 2_834_161_664, 1024),
        ("densenet161", 28_681_000, 7_727_907_072, 2208),
        ("densenet169", 14_149_480, 3_359_843_328, 1664),
        ("densenet201", 20_013_928, 4_291_365_888, 1920),
        ("densenet264", 33_337_704, 5_751_653_376, 2688),
    ];
    for (name, parameters, multiply_adds, features) in sizes {
        let graph = imagenet(name);
        let counts = graph.count(224, 224).unwrap();
        assert_eq!((counts.parameters, counts.multiply_adds), (parameters, multiply_adds), "{name}");
        // Its blocks as printed make 264 layers without the linear one; the others count that too.
        let named = counts.depth - usize::from(name == "densenet264");
        assert_eq!(format!("densenet{named}"), name);
        let extents = graph.extents(224, 224).unwrap();
        for (block, side) in [56, 28, 14, 7].into_iter().enumerate() {
            let id = graph.find(&format!("features.denseblock{}", block + 1)).unwrap();
            assert_eq!(extents[id.index()], [side; 2], "{name} block {}", block + 1);
        }
        let norm = graph.node(graph.find("features.norm5").unwrap());
        assert_eq!(norm.kind, Kind::Map { channels: features }, "{name}");
    }
}

#[test]
fn a_depth_that_three_equal_blocks_cannot_have_is_an_error() {
    for (depth, variant) in [(41, Variant::PLAIN), (43, Variant::B), (4, Variant::BC), (0, Variant::C)] {
        let error = Cifar::new(depth, 12, variant).graph("net", 10).unwrap_err().to_string();
        assert!(error.contains(&depth.to_string()) && error.contains("n+4"), "{error}");
    }
    assert!(Cifar::new(40, 0, Variant::PLAIN).graph("net", 10).is_err());
    assert!(Cifar { dropout: 1.0, ..Cifar::new(40, 12, Variant::PLAIN) }.graph("net", 10).is_err());
}

#[test]
fn dropout_follows_every_convolution_but_the_first_and_nothing_without_it() {
    for variant in [Variant::PLAIN, Variant::B, Variant::C, Variant::BC] {
        let without = Cifar::new(40, 12, variant);
        let graph = Cifar { dropout: 0.2, ..without }.graph("net", 10).unwrap();
        let is_dropout =
            |op: &Op| matches!(op, Op::Dropout(dropout) if dropout.rate.to_bits() == 0.2f32.to_bits());
        let dropped = graph.nodes().iter().filter(|node| is_dropout(&node.op));
        let mut convolutions = 0;
        for node in dropped {
            assert!(matches!(graph.node(node.inputs[0]).op, Op::Conv2d(_)), "{}", node.name);
            convolutions += 1;
        }
        // The 40 layers less the first and the linear one.
        assert_eq!(convolutions, 38, "{variant:?}");
        let plain = without.graph("net", 10).unwrap();
        assert!(!plain.nodes().iter().any(|node| matches!(node.op, Op::Dropout(_))));
        assert_eq!(plain.params(), graph.params());
    }
}

#[test]
fn filters_start_by_their_outputs() {
    let graph = imagenet("densenet121");
    let filters = graph.params().iter().filter(|param| param.role == Role::ConvWeight);
    assert!(filters.clone().count() > 100);
    for param in filters {
        assert_eq!(param.init, Init::HeNormal(Fan::Out), "{}", param.name);
    }
}

#[test]
fn names_of_old_checkpoints_are_brought_up_to_date() {
    for (old, new) in [
        ("features.denseblock1.denselayer1.norm.1.weight", "features.denseblock1.denselayer1.norm1.weight"),
        ("features.denseblock4.denselayer16.conv.2.weight", "features.denseblock4.denselayer16.conv2.weight"),
        (
            "module.features.denseblock2.denselayer3.norm.2.running_var",
            "module.features.denseblock2.denselayer3.norm2.running_var",
        ),
        ("features.norm_final.bias", "features.norm5.bias"),
    ] {
        assert_eq!(old_densenet_name(old), new);
    }
    for today in [
        "features.conv0.weight",
        "features.transition1.norm.weight",
        "features.denselayer.norm.1.weight",
        "features.denseblock1.denselayer1.norm.3.weight",
        "features.denseblock1.denselayer1.norm.1",
        "layer1.0.norm.1.weight",
        "",
    ] {
        assert_eq!(old_densenet_name(today), today);
    }
    let graph = imagenet("densenet121");
    for param in graph.params() {
        assert_eq!(old_densenet_name(&param.name), param.name, "a name of today stays");
    }
}

#[test]
fn every_weight_of_an_old_checkpoint_is_found() {
    let graph = imagenet("densenet169");
    let mut renamed = 0;
    for param in graph.params() {
        // As PyTorch before 0.4 wrote it: `norm1` was `norm.1` inside of a dense layer.
        let mut old = param.name.clone();
        if old.contains("denselayer") {
            for part in ["norm1", "norm2", "conv1", "conv2"] {
                let dotted = format!(".{}.{}.", &part[..4], &part[4..]);
                old = old.replace(&format!(".{part}."), &dotted);
            }
            renamed += 1;
            assert_ne!(old, param.name);
        }
        assert_eq!(old_densenet_name(&old), param.name);
    }
    assert_eq!(renamed, (6 + 12 + 32 + 32) * 10, "two convolutions and eight numbers of norms a layer");
}
