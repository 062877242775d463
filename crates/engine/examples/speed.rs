//! Times.
use residuum_engine::*;
use residuum_models::formula;
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let name = &args[1];
    let n: usize = args[2].parse().unwrap();
    let train = args.len() > 3 && args[3] == "train";
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let model = residuum_models::build(name, None).unwrap();
    let side = model.family.input_size();
    let g = model.graph;
    let w = residuum_models::initialise(&g, 1);
    let shape = InputShape { n, h: side, w: side };
    let images = formula::input("input", &[n, 3, side, side]);
    let peak = engine.threads().run(|| peak::peak_flops(engine.isa()));
    let mut times = vec![];
    let macs = g.count(side, side).unwrap().multiply_adds as f64 * n as f64;
    let prof;
    if train {
        let labels = formula::labels(n, 10);
        let mut t = engine.training(&g, &w, shape, &TrainingOptions::default()).unwrap();
        let step = SgdStep { lr: 0.01, momentum: 0.9, nesterov: false, weight_decay: 1e-4 };
        t.step(images.data(), &labels, &step);
        for _ in 0..12 { let s = Instant::now(); t.step(images.data(), &labels, &step); times.push(s.elapsed().as_secs_f64()*1e3); }
        prof = t.profile(images.data(), &labels);
        println!("{:?}", t.summary());
    } else {
        let s = Instant::now();
        let mut t = engine.inference(&g, &w, shape, &[]).unwrap();
        println!("compile {:?}", s.elapsed());
        t.run(images.data());
        for _ in 0..12 { let s = Instant::now(); t.run(images.data()); times.push(s.elapsed().as_secs_f64()*1e3); }
        prof = t.profile(images.data());
        println!("{:?}", t.summary());
    }
    times.sort_by(f64::total_cmp);
    let k = if train { 3.0 } else { 1.0 };
    println!("{name} b{n} train={train}: min {:.1} median {:.1} ms; peak {:.1} GF/s; share {:.1} % (min) {:.1} % (median)", times[0], times[6], peak/1e9, 2.0*k*macs/times[0]*1e3/peak*100.0, 2.0*k*macs/times[6]*1e3/peak*100.0);
    if args.last().unwrap() == "layers" || args.len() > 4 {
        let mut by = std::collections::BTreeMap::<String, (f64, f64)>::new();
        for p in &prof { let e = by.entry(p.kind.clone()).or_default(); e.0 += p.time.as_secs_f64()*1e3; e.1 += 2.0*p.multiply_adds as f64; }
        for (k, v) in &by { println!("{:8.2} ms {:6.1} % peak  {k}", v.0, v.1/v.0*1e3/peak*100.0); }
    }
}
