//! What the process holds while a densely connected network learns, against the plan. A process of its own,
//! so that nothing else counts.

#![allow(clippy::print_stdout, reason = "the numbers are what is measured")]

use std::collections::BTreeMap;
use std::time::Instant;

use residuum_engine::{Engine, EngineOptions, InputShape, TrainingOptions};
use residuum_kernels::SgdStep;
use residuum_models::densenet::{Cifar, Variant};
use residuum_models::formula;

#[test]
#[cfg(target_os = "linux")]
#[ignore = "time and resident memory of steps of BC-100-12 at batch 64"]
fn the_process_holds_no_more_than_the_plan() {
    let graph = Cifar::new(100, 12, Variant::BC).graph("bc_100_12", 10).unwrap();
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let shape = InputShape { n: 64, h: 32, w: 32 };
    let mut training =
        engine.training(&graph, &formula::weights(&graph), shape, &TrainingOptions::default()).unwrap();
    let (images, labels) = (formula::input("input", &[64, 3, 32, 32]), formula::labels(64, 10));
    let step = SgdStep { lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 1e-4 };
    for _ in 0..3 {
        let start = Instant::now();
        let loss = training.step(images.data(), &labels, &step).loss;
        println!("{:.3} s, loss {loss}", start.elapsed().as_secs_f64());
    }
    let mut kinds: BTreeMap<String, f64> = BTreeMap::new();
    for step in training.profile(images.data(), &labels) {
        *kinds.entry(step.kind).or_default() += step.time.as_secs_f64();
    }
    println!("seconds by kind of step: {kinds:#?}");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let resident = 1024 * peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap();
    let planned = training.summary().peak_bytes();
    println!("{resident} bytes resident at most, {planned} planned");
    // Program text, graph, images and allocator are not in the plan.
    assert!(resident < planned + (64 << 20), "{resident} bytes resident, {planned} planned");
}
