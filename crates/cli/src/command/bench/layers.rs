//! The steps of a run with their times.

use residuum::engine::StepTime;
use residuum::engine::peak::Limits;
use serde::Serialize;

use crate::output::Table;

/// One step of a run.
#[derive(Serialize)]
pub(super) struct Layer {
    name: String,
    kind: String,
    ms: f64,
    multiply_adds: u64,
    gflops: f64,
    peak_share: f64,
    limit_ms: f64,
    limit_share: f64,
    is_bound_by_memory: bool,
}

impl Layer {
    pub(super) fn new(step: &StepTime, limits: &Limits) -> Self {
        let seconds = step.time.as_secs_f64();
        let least = limits.least_seconds(step.cost.multiply_adds, step.cost.bytes);
        let flops = if seconds > 0.0 { 2.0 * step.multiply_adds as f64 / seconds } else { 0.0 };
        Self {
            name: step.name.clone(),
            kind: step.kind.clone(),
            ms: 1000.0 * seconds,
            multiply_adds: step.multiply_adds,
            gflops: flops / 1e9,
            peak_share: flops / limits.flops,
            limit_ms: 1000.0 * least,
            limit_share: if seconds > 0.0 { least / seconds } else { 0.0 },
            is_bound_by_memory: limits.is_bound_by_memory(step.cost.multiply_adds, step.cost.bytes),
        }
    }
}

/// The steps in order, with a last line for all of them.
pub(super) fn table(layers: &[Layer]) -> Table {
    let titles = ["step", "kind", "ms", "time %", "GFLOP/s", "peak %", "limit ms", "limit %", "bound by"];
    let mut table = Table::new(&titles).left(&[0, 1, 8]);
    let total: f64 = layers.iter().map(|layer| layer.ms).sum();
    for layer in layers {
        let has_work = layer.multiply_adds > 0;
        let of_work = |text: String| if has_work { text } else { "-".to_owned() };
        table.row([
            layer.name.clone(),
            layer.kind.clone(),
            format!("{:.3}", layer.ms),
            format!("{:.1}", 100.0 * layer.ms / total),
            of_work(format!("{:.1}", layer.gflops)),
            of_work(format!("{:.1}", 100.0 * layer.peak_share)),
            format!("{:.3}", layer.limit_ms),
            format!("{:.1}", 100.0 * layer.limit_share),
            bound(layer.is_bound_by_memory).to_owned(),
        ]);
    }
    table.row(["all steps".to_owned(), String::new(), format!("{total:.3}"), "100.0".to_owned()]);
    table
}

/// What a limit comes from.
pub(super) fn bound(is_by_memory: bool) -> &'static str {
    if is_by_memory { "memory" } else { "arithmetic" }
}
