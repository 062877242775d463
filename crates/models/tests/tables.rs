//! Parameters, multiply-adds, depth and layer shapes against the paper's tables, to the unit.

use residuum_graph::{Counts, DropPath, DropRule, Graph, Kind, Node, Op};
use residuum_models::preact::{self, Layers, Order, Skip, Stem};
use residuum_models::resnet::{Shortcut, StrideIn, Zeros};
use residuum_models::stochastic::{Decay, Survival};
use residuum_models::{build, find};

fn count(name: &str, classes: usize, side: usize) -> Counts {
    build(name, Some(classes)).unwrap().graph.count(side, side).unwrap()
}

/// n, then parameters and multiply-adds with options A, B and C.
const CIFAR: [(usize, [(u64, u64); 3]); 6] = [
    (3, [(269_722, 40_551_040), (272_474, 40_813_184), (283_962, 42_648_192)]),
    (5, [(464_154, 68_862_592), (466_906, 69_124_736), (489_594, 72_532_608)]),
    (7, [(658_586, 97_174_144), (661_338, 97_436_288), (695_226, 102_417_024)]),
    (9, [(853_018, 125_485_696), (855_770, 125_747_840), (900_858, 132_301_440)]),
    (18, [(1_727_962, 252_887_680), (1_730_714, 253_149_824), (1_826_202, 266_781_312)]),
    (200, [(19_421_274, 2_829_238_912), (19_424_026, 2_829_501_056), (20_538_714, 2_986_263_168)]),
];

#[test]
fn cifar_nets_have_the_sizes_of_table_6() {
    for (n, [a, b, c]) in CIFAR {
        let depth = 6 * n + 2;
        let forms = [
            (format!("cifar_resnet{depth}"), a),
            (format!("cifar_resnet{depth}.akamaster"), a),
            (format!("cifar_plain{depth}"), a),
            (format!("cifar_resnet{depth}b"), b),
            (format!("cifar_resnet{depth}c"), c),
        ];
        for (name, expected) in forms {
            let counts = count(&name, 10, 32);
            assert_eq!((counts.parameters, counts.multiply_adds), expected, "{name}");
            assert_eq!(counts.depth, depth, "{name}");
            let more = count(&name, 100, 32);
            let difference = (more.parameters - counts.parameters, more.multiply_adds - counts.multiply_adds);
            assert_eq!(difference, (5850, 5760), "{name} with 100 classes");
        }
    }
}

#[test]
fn cifar_nets_of_any_depth_follow_the_closed_forms() {
    for n in 1..=30u64 {
        let a = count(&format!("cifar_resnet{}", 6 * n + 2), 10, 32);
        assert_eq!(a.parameters, 97_216 * n - 21_926);
        assert_eq!(a.multiply_adds, 14_155_776 * n - 1_916_288);
        let b = count(&format!("cifar_resnet{}b", 6 * n + 2), 10, 32);
        assert_eq!((b.parameters - a.parameters, b.multiply_adds - a.multiply_adds), (2752, 262_144));
    }
}

/// Name, depth, parameters, multiply-adds.
const IMAGENET: [(&str, usize, u64, u64); 18] = [
    ("plain18", 18, 11_515_688, 1_794_805_760),
    ("resnet18a", 18, 11_515_688, 1_794_805_760),
    ("resnet18", 18, 11_689_512, 1_814_073_344),
    ("resnet18c", 18, 12_043_816, 1_878_298_624),
    ("plain34", 34, 21_623_848, 3_644_493_824),
    ("resnet34a", 34, 21_623_848, 3_644_493_824),
    ("resnet34", 34, 21_797_672, 3_663_761_408),
    ("resnet34c", 34, 22_716_840, 3_830_747_136),
    ("resnet50", 50, 25_557_032, 3_857_973_248),
    ("resnet50.caffe", 50, 25_557_032, 3_857_973_248),
    ("resnet50.tv", 50, 25_557_032, 4_089_184_256),
    ("resnet50c", 50, 40_128_552, 6_324_224_000),
    ("resnet101", 101, 44_549_160, 7_570_194_432),
    ("resnet101.caffe", 101, 44_549_160, 7_570_194_432),
    ("resnet101.tv", 101, 44_549_160, 7_801_405_440),
    ("resnet152", 152, 60_192_808, 11_282_415_616),
    ("resnet152.caffe", 152, 60_192_808, 11_282_415_616),
    ("resnet152.tv", 152, 60_192_808, 11_513_626_624),
];

#[test]
fn imagenet_nets_have_the_sizes_of_table_1() {
    for (name, depth, parameters, multiply_adds) in IMAGENET {
        let counts = count(name, 1000, 224);
        let found = (counts.depth, counts.parameters, counts.multiply_adds);
        assert_eq!(found, (depth, parameters, multiply_adds), "{name}");
    }
}

#[test]
fn resnet50_costs_what_it_should_at_every_side_of_image() {
    let graph = build("resnet50", None).unwrap().graph;
    for (side, multiply_adds) in [
        (200, 3_314_699_264),
        (256, 5_038_358_528),
        (288, 6_376_128_512),
        (320, 7_871_283_200),
        (384, 11_333_746_688),
        (480, 17_707_827_200),
        (640, 31_478_988_800),
    ] {
        assert_eq!(graph.count(side, side).unwrap().multiply_adds, multiply_adds, "side {side}");
    }
}

/// Channels and rows of a module's output.
fn shape(graph: &Graph, module: &str, side: usize) -> (usize, usize) {
    let id = graph.find(module).unwrap();
    let [rows, columns] = graph.extents(side, side).unwrap()[id.index()];
    assert_eq!(rows, columns);
    match graph.node(id).kind {
        Kind::Map { channels } => (channels, rows),
        other => panic!("{module} is {other}"),
    }
}

#[test]
fn stages_have_the_output_sizes_of_the_paper() {
    for (name, widths) in [
        ("plain34", [64, 128, 256, 512]),
        ("resnet18a", [64, 128, 256, 512]),
        ("resnet34", [64, 128, 256, 512]),
        ("resnet50", [256, 512, 1024, 2048]),
        ("resnet101.tv", [256, 512, 1024, 2048]),
        ("resnet152.caffe", [256, 512, 1024, 2048]),
    ] {
        let graph = build(name, None).unwrap().graph;
        assert_eq!(shape(&graph, "conv1", 224), (64, 112), "{name}");
        assert_eq!(shape(&graph, "maxpool", 224), (64, 56), "{name}");
        for (stage, (width, rows)) in widths.into_iter().zip([56, 28, 14, 7]).enumerate() {
            let layer = format!("layer{}", stage + 1);
            assert_eq!(shape(&graph, &layer, 224), (width, rows), "{name} {layer}");
        }
    }
    let graph = build("cifar_resnet20", None).unwrap().graph;
    for (module, expected) in
        [("relu", (16, 32)), ("layer1", (16, 32)), ("layer2", (32, 16)), ("layer3", (64, 8))]
    {
        assert_eq!(shape(&graph, module, 32), expected, "{module}");
    }
}

const A: Shortcut = Shortcut::ZeroPad(Zeros::After);
const ORDERS: [Order; 5] =
    [Order::Original, Order::BnAfterAdd, Order::ReluBeforeAdd, Order::ReluOnlyPreact, Order::FullPreact];

/// Parameters and multiply-adds of a pre-activation net for 10 classes.
fn cifar(n: usize, layers: Layers, order: Order, shortcut: Shortcut) -> (u64, u64) {
    let net = preact::Cifar { n, layers, order, shortcut, skip: Skip::Identity };
    let counts = net.graph("net", 10).unwrap().count(32, 32).unwrap();
    assert_eq!(counts.depth, net.depth());
    (counts.parameters, counts.multiply_adds)
}

/// A bare projection lacks a scale and a shift for each channel it makes.
const fn is_bare(order: Order) -> bool {
    matches!(order, Order::BnAfterAdd | Order::FullPreact)
}

#[test]
fn units_of_all_orders_have_the_sizes_of_the_sheet() {
    let bottleneck = |n, order, stride| cifar(n, Layers::Bottleneck(stride), order, Shortcut::Projection);
    for order in ORDERS {
        let bare = is_bare(order);
        assert_eq!(cifar(18, Layers::Basic, order, A), (1_727_962, 252_887_680), "{order:?}");
        let expected = (if bare { 1_730_522 } else { 1_730_714 }, 253_149_824);
        assert_eq!(cifar(18, Layers::Basic, order, Shortcut::Projection), expected, "{order:?}");
        for (n, [normed, plain], [first, middle]) in [
            (18, [1_704_154, 1_703_258], [244_500_992, 247_646_720]),
            (111, [10_328_602, 10_327_706], [1_487_849_984, 1_490_995_712]),
        ] {
            let parameters = if bare { plain } else { normed };
            assert_eq!(bottleneck(n, order, StrideIn::First), (parameters, first), "{n} {order:?}");
            assert_eq!(bottleneck(n, order, StrideIn::Middle), (parameters, middle), "{n} {order:?}");
        }
    }
}

/// Name, then parameters and multiply-adds for 10 classes.
const CIFAR_2016: [(&str, u64, u64); 13] = [
    ("cifar_preact20", 269_722, 40_551_040),
    ("cifar_preact20b", 272_282, 40_813_184),
    ("cifar_preact110", 1_727_962, 252_887_680),
    ("cifar_preact110b", 1_730_522, 253_149_824),
    ("cifar_preact164", 1_703_258, 244_500_992),
    ("cifar_preact164.relu_only_preact", 1_704_154, 244_500_992),
    ("cifar_preact1001", 10_327_706, 1_487_849_984),
    ("cifar_bottleneck1001", 10_328_602, 1_487_849_984),
    ("cifar_resnet110.constant_0.5_0.5", 1_727_962, 252_887_680),
    ("cifar_resnet110.exclusive", 1_824_186, 266_781_312),
    ("cifar_resnet20.shortcut_only", 283_626, 42_648_192),
    ("cifar_resnet110.conv1x1", 1_826_202, 266_781_312),
    ("cifar_resnet20.conv1x1", 283_962, 42_648_192),
];

#[test]
fn pre_activation_nets_for_cifar_have_the_sizes_of_the_sheet() {
    for (name, parameters, multiply_adds) in CIFAR_2016 {
        let counts = count(name, 10, 32);
        assert_eq!((counts.parameters, counts.multiply_adds), (parameters, multiply_adds), "{name}");
        assert_eq!(counts.depth, find(name).unwrap().depth, "{name}");
    }
    for (name, parameters) in [("cifar_preact164", 1_726_388), ("cifar_preact1001", 10_350_836)] {
        let (ten, hundred) = (count(name, 10, 32), count(name, 100, 32));
        assert_eq!(hundred.parameters, parameters, "{name}");
        assert_eq!(hundred.multiply_adds - ten.multiply_adds, 23_040, "{name}");
    }
}

/// Depth, parameters, multiply-adds with the stride in the first 1×1 and in the 3×3.
const IMAGENET_2016: [(usize, u64, [u64; 2]); 6] = [
    (18, 11_687_720, [1_814_073_344; 2]),
    (34, 21_795_880, [3_663_761_408; 2]),
    (50, 25_549_352, [3_857_973_248, 4_089_184_256]),
    (101, 44_541_480, [7_570_194_432, 7_801_405_440]),
    (152, 60_185_128, [11_282_415_616, 11_513_626_624]),
    (200, 64_666_152, [14_776_270_848, 15_007_481_856]),
];

#[test]
fn pre_activation_nets_for_imagenet_have_the_sizes_of_the_sheet() {
    let size = |net: preact::ImageNet, side| {
        let counts = net.graph("net", 1000).unwrap().count(side, side).unwrap();
        assert_eq!(counts.depth, net.depth);
        (counts.parameters, counts.multiply_adds)
    };
    let net = |depth, stride_in, stem| preact::ImageNet { depth, order: Order::FullPreact, stride_in, stem };
    for (depth, parameters, [first, middle]) in IMAGENET_2016 {
        for stem in [Stem::Early, Stem::Late] {
            assert_eq!(size(net(depth, StrideIn::First, stem), 224), (parameters, first), "{depth} {stem:?}");
            assert_eq!(
                size(net(depth, StrideIn::Middle, stem), 224),
                (parameters, middle),
                "{depth} {stem:?}"
            );
        }
        for name in [format!("preact{depth}"), format!("preact{depth}.timm")] {
            let counts = count(&name, 1000, 224);
            assert_eq!((counts.parameters, counts.multiply_adds), (parameters, middle), "{name}");
        }
    }
    for (depth, [first, middle]) in
        [(152, [23_023_206_400, 23_495_065_600]), (200, [30_153_523_200, 30_625_382_400])]
    {
        assert_eq!(size(net(depth, StrideIn::First, Stem::Early), 320).1, first);
        assert_eq!(size(net(depth, StrideIn::Middle, Stem::Early), 320).1, middle);
    }
    let original = count("resnet200", 1000, 224);
    assert_eq!((original.parameters, original.multiply_adds), (64_673_832, 14_776_270_848));
}

/// Depth, width, parameters for 10 and for 100 classes, multiply-adds.
const WIDE: [(usize, usize, [u64; 2], u64); 18] = [
    (16, 1, [175_066, 180_916], 26_657_408),
    (16, 2, [691_674, 703_284], 101_106_944),
    (16, 4, [2_748_890, 2_772_020], 392_612_352),
    (16, 8, [10_961_370, 11_007_540], 1_548_145_664),
    (16, 10, [17_116_634, 17_174_324], 2_412_173_568),
    (22, 8, [17_158_106, 17_204_276], 2_454_115_328),
    (22, 10, [26_797_914, 26_855_604], 3_827_751_168),
    (28, 1, [369_498, 375_348], 54_968_960),
    (28, 2, [1_467_610, 1_479_220], 214_353_152),
    (28, 10, [36_479_194, 36_536_884], 5_243_328_768),
    (28, 12, [52_517_850, 52_587_060], 7_543_905_792),
    (34, 2, [1_855_578, 1_867_188], 270_976_256),
    (40, 1, [563_930, 569_780], 83_280_512),
    (40, 2, [2_243_546, 2_255_156], 327_599_360),
    (40, 4, [8_949_210, 8_972_340], 1_298_582_016),
    (40, 8, [35_748_314, 35_794_484], 5_172_024_320),
    (40, 10, [55_841_754, 55_899_444], 8_074_483_968),
    (52, 1, [758_362, 764_212], 111_592_064),
];

/// Wide nets of other blocks (Tables 2 and 3), and for ImageNet (Tables 7 and 8).
const WIDE_FORMS: [(&str, u64, u64); 10] = [
    ("wrn_40_2.b131", 1_429_082, 208_061_696),
    ("wrn_40_2.b31", 1_211_354, 176_604_416),
    ("wrn_40_2.b13", 1_297_370, 189_187_328),
    ("wrn_40_2.b311", 1_343_066, 195_478_784),
    ("wrn_28_2", 1_467_610, 214_353_152),
    ("wrn_22_2.b313", 1_145_498, 167_167_232),
    ("wrn_76_2.b3", 2_243_546, 327_599_360),
    ("wrn_28_2.b333", 2_243_546, 327_599_360),
    ("wrn_22_2.b3333", 2_243_546, 327_599_360),
    ("wrn_16_4.dropout", 2_748_890, 392_612_352),
];

const WIDE_IMAGENET: [(&str, u64, u64); 6] = [
    ("wide_resnet18_1.5", 25_901_896, 3_992_770_560),
    ("wide_resnet18_2", 45_693_032, 7_019_241_472),
    ("wide_resnet18_3", 102_011_560, 15_615_504_384),
    ("wide_resnet34_1.5", 48_639_688, 8_154_568_704),
    ("wide_resnet34_2", 86_110_824, 14_417_993_728),
    ("resnet34", 21_797_672, 3_663_761_408),
];

/// Their multiply-adds in millions, as torchvision prints them.
const WIDE_TORCHVISION: [(&str, u64, u64); 2] =
    [("wide_resnet50_2", 68_883_240, 11_398), ("wide_resnet101_2", 126_886_696, 22_753)];

#[test]
fn wide_nets_have_the_sizes_of_the_sheet() {
    for (depth, width, [ten, hundred], multiply_adds) in WIDE {
        let name = format!("wrn_{depth}_{width}");
        let counts = count(&name, 10, 32);
        assert_eq!((counts.parameters, counts.multiply_adds), (ten, multiply_adds), "{name}");
        let more = count(&name, 100, 32);
        let difference = 90 * 64 * width as u64;
        assert_eq!((more.parameters, more.multiply_adds), (hundred, multiply_adds + difference), "{name}");
    }
    for (name, parameters, multiply_adds) in WIDE_FORMS {
        let counts = count(name, 10, 32);
        assert_eq!((counts.parameters, counts.multiply_adds), (parameters, multiply_adds), "{name}");
    }
    for (name, parameters, multiply_adds) in WIDE_IMAGENET {
        let counts = count(name, 1000, 224);
        let found = (counts.parameters, counts.multiply_adds, counts.depth);
        assert_eq!(found, (parameters, multiply_adds, find(name).unwrap().depth), "{name}");
    }
    for (name, parameters, millions) in WIDE_TORCHVISION {
        let counts = count(name, 1000, 224);
        let rounded = (counts.multiply_adds + 500_000) / 1_000_000;
        assert_eq!((counts.parameters, rounded), (parameters, millions), "{name}");
    }
}

/// Blocks, then those computed in the mean with the last surviving with 0.5, 0.2 and 0.8, and the first
/// probability.
const STOCHASTIC: [(usize, [f64; 3], f64); 7] = [
    (9, [6.5, 5.0, 8.0], 0.944_444),
    (15, [11.0, 8.6, 13.4], 0.966_667),
    (27, [20.0, 15.8, 24.2], 0.981_481),
    (54, [40.25, 32.0, 48.5], 0.990_741),
    (75, [56.0, 44.6, 67.4], 0.993_333),
    (50, [37.25, 29.6, 44.9], 0.99),
    (600, [449.75, 359.6, 539.9], 0.999_167),
];

#[test]
fn as_many_blocks_survive_as_the_paper_expects() {
    let near = |a: f64, b: f64, allowed: f64| assert!((a - b).abs() <= allowed, "{a} instead of {b}");
    for (blocks, expected, first) in STOCHASTIC {
        for (last, expected) in [0.5, 0.2, 0.8].into_iter().zip(expected) {
            let survival = Survival { last, ..Survival::PAPER };
            near(survival.expected_blocks(blocks), expected, 1e-9);
            near(survival.of(blocks, blocks), last, 1e-12);
        }
        near(Survival::PAPER.of(1, blocks), first, 5e-7);
    }
    near(Survival::PAPER.blocks_deviation(54), 3.02, 0.005);
    near(Survival { last: 0.5, decay: Decay::Uniform }.expected_blocks(54), 27.0, 1e-12);
}

#[test]
fn nets_of_stochastic_depth_have_the_sizes_of_the_sheet() {
    for (depth, parameters, multiply_adds) in [
        (20, 269_722, 40_551_040),
        (110, 1_727_962, 252_887_680),
        (152, 2_408_474, 351_978_112),
        (1202, 19_421_274, 2_829_238_912),
    ] {
        for tag in ["", ".uniform", ".sample"] {
            let name = format!("sd_resnet{depth}{tag}");
            let counts = count(&name, 10, 32);
            let found = (counts.depth, counts.parameters, counts.multiply_adds);
            assert_eq!(found, (depth, parameters, multiply_adds), "{name}");
        }
    }
    let counts = count("sd_resnet152.imagenet", 1000, 224);
    assert_eq!((counts.parameters, counts.multiply_adds), (60_192_808, 11_282_415_616));
}

/// Probabilities of survival of a network's blocks, in order.
fn survival(name: &str) -> Vec<f32> {
    let graph = build(name, None).unwrap().graph;
    let path = |node: &Node| match node.op {
        Op::DropPath(path) => Some(path.survival),
        _ => None,
    };
    graph.nodes().iter().filter_map(path).collect()
}

#[test]
fn every_block_has_its_own_probability_of_survival() {
    let linear: Vec<f32> = (1..=54).map(|l| Survival::PAPER.of(l, 54) as f32).collect();
    assert_eq!(survival("sd_resnet110"), linear);
    assert_eq!(survival("sd_resnet110.sample"), linear);
    assert_eq!(survival("sd_resnet110.uniform"), [0.5; 54]);
    let imagenet = survival("sd_resnet152.imagenet");
    assert_eq!((imagenet.len(), imagenet[0], imagenet[49]), (50, 0.99, 0.5));
}

/// timm's rule: `rate · i / (n − 1)` of block i is dropped, counted from 0.
#[test]
fn any_residual_network_can_drop_its_branches() {
    for (name, blocks) in [("resnet50", 16), ("cifar_resnet20", 9), ("preact18", 8), ("seresnet50", 16)] {
        let graph = build(name, None).unwrap().graph;
        let dropping = graph.with_drop_path(0.05).unwrap();
        let paths: Vec<(&str, DropPath)> = dropping
            .nodes()
            .iter()
            .filter_map(|node| match node.op {
                Op::DropPath(path) => Some((node.name.as_str(), path)),
                _ => None,
            })
            .collect();
        assert_eq!(paths.len(), blocks - 1, "{name}");
        for (index, (name, path)) in paths.iter().enumerate() {
            let expected = 1.0 - 0.05 * (index + 1) as f64 / (blocks - 1) as f64;
            assert!((f64::from(path.survival) - expected).abs() < 1e-7, "{name}: {path:?}");
            assert_eq!(path.rule, DropRule::Sample);
            assert!(paths[..index].iter().all(|(_, other)| other.stream != path.stream));
            // Behind the branch, before the addition.
            let id = dropping.find(name).unwrap();
            let users: Vec<_> = dropping.users()[id.index()].iter().map(|&id| dropping.node(id).op).collect();
            assert_eq!(users, [Op::Add], "{name}");
        }
        assert_eq!(dropping.params(), graph.params());
        let (without, _) = dropping.bypass(|node| matches!(node.op, Op::DropPath(_)).then_some(0));
        let work = |graph: &Graph| graph.count(64, 64).unwrap().multiply_adds;
        assert_eq!(work(&without), work(&graph));
        assert_eq!(graph.with_drop_path(0.0).unwrap(), graph);
        assert!(graph.with_drop_path(1.0).is_err() && dropping.with_drop_path(0.1).is_err());
    }
    for name in ["cifar_plain20", "densenet121", "sd_resnet110"] {
        let error = build(name, None).unwrap().graph.with_drop_path(0.05).unwrap_err();
        assert!(error.to_string().contains("branches"), "{error}");
    }
}

/// Share of a network's multiply-adds that a step of training computes in the mean.
fn expected_share(name: &str) -> f64 {
    let graph = build(name, Some(10)).unwrap().graph;
    let extents = graph.extents(32, 32).unwrap();
    let (mut all, mut expected) = (0.0, 0.0);
    for id in graph.ids() {
        let Op::Conv2d(conv) = graph.node(id).op else { continue };
        let [h, w] = extents[id.index()];
        let work = (h * w * conv.c_out * conv.c_in * conv.kernel[0] * conv.kernel[1]) as f64;
        let block = graph.node(id).name.rsplit_once('.').map_or("", |(block, _)| block);
        let survival = match graph.find(&format!("{block}.drop_path")).map(|id| graph.node(id).op) {
            Some(Op::DropPath(path)) => f64::from(path.survival),
            _ => 1.0,
        };
        all += work;
        expected += work * survival;
    }
    expected / all
}

#[test]
fn stochastic_depth_saves_a_quarter_of_the_work() {
    for (depth, share) in [(20, 0.7269), (110, 0.7459), (152, 0.7470), (1202, 0.7496)] {
        let found = expected_share(&format!("sd_resnet{depth}"));
        assert!((found - share).abs() < 1e-4, "{depth}: {found}");
    }
}
