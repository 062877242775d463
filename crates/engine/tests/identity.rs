//! Residual branches that start as zero leave blocks that are their shortcuts.

use residuum_engine::{Engine, EngineOptions, InputShape};
use residuum_models::{build, formula, initialise, zero_last_norm};

/// Name of a network, and two nodes that hold the same values when its branches are zero.
const CASES: [(&str, [&str; 2]); 10] = [
    ("cifar_resnet20", ["relu", "layer1.2"]),
    ("cifar_resnet20c", ["layer2.1.downsample.1", "layer2.1.add"]),
    ("cifar_preact20", ["layer2.0.add", "layer2.2.add"]),
    ("cifar_preact20.relu_before_add", ["relu", "layer1.2.add"]),
    ("cifar_preact20.relu_only_preact", ["layer3.0.add", "layer3.2.add"]),
    ("cifar_bottleneck20", ["layer1.0", "layer1.1"]),
    ("cifar_preact20.single", ["layer1.1.add", "layer1.5.add"]),
    ("wrn_16_2", ["layer3.0.add", "layer3.1.add"]),
    ("sd_resnet20", ["relu", "layer1.2"]),
    ("cifar_preact164", ["layer3.0.add", "layer3.17.add"]),
];

#[test]
fn blocks_whose_branches_start_as_zero_are_their_shortcuts() {
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let shape = InputShape { n: 2, h: 16, w: 16 };
    let images = formula::input("input", &[2, 3, 16, 16]);
    for (name, nodes) in CASES {
        let graph = build(name, Some(10)).unwrap().graph;
        let values = |is_zeroed: bool| {
            let mut weights = initialise(&graph, 1);
            if is_zeroed {
                zero_last_norm(&graph, &mut weights);
            }
            let taps = nodes.map(str::to_owned);
            let mut inference = engine.inference(&graph, &weights, shape, &taps).unwrap();
            inference.run(images.data());
            nodes.map(|node| inference.tap(node).unwrap())
        };
        let [before, after] = values(true);
        assert!(before.data().iter().any(|&x| x != 0.0), "{name}: {} is zero", nodes[0]);
        assert_eq!(before.data(), after.data(), "{name}: {nodes:?}");
        let [before, after] = values(false);
        assert_ne!(before.data(), after.data(), "{name} is an identity anyhow");
    }
}
