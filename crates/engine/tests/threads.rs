//! Which threads an answer is computed on.
#![cfg(target_os = "linux")]

use std::fs::read_dir;

use residuum_engine::{Engine, EngineOptions, InputShape};
use residuum_models::{build, formula, initialise};

/// A loop that is no crew's would start a second pool, with as many threads again.
#[test]
fn an_answer_starts_no_threads() {
    let options = EngineOptions { threads: Some(2), ..EngineOptions::default() };
    let engine = Engine::new(&options).unwrap();
    let threads = || read_dir("/proc/self/task").unwrap().count();
    let count = threads();
    // Every kind of step that a network of the family has; images that are large enough to be shared.
    for name in ["cifar_resnet20", "densenet121", "seresnet50", "resnet50d", "cifar_preact20"] {
        let graph = build(name, Some(10)).unwrap().graph;
        let shape = InputShape { n: 1, h: 96, w: 96 };
        let images = formula::input("input", &[1, 3, 96, 96]);
        let mut inference = engine.inference(&graph, &initialise(&graph, 1), shape, &[]).unwrap();
        assert!(inference.run(images.data()).iter().all(|x| x.is_finite()));
        assert_eq!(threads(), count, "{name}");
    }
}
