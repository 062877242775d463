//! Zagoruyko and Komodakis, "Wide residual networks" (arXiv 1605.07146, 2016).

use residuum_train::Recipe;

use super::{compared, preset, ranking};
use crate::error::Result;
use crate::experiment::{Experiment, Findings, Run};
use crate::reproduction::{Results, RunResult};
use crate::setting::{Scale, Setting};

/// Tables 4 and 5: width against depth.
pub(super) const WIDE_VS_DEEP: Experiment = Experiment {
    name: "wide-vs-deep",
    title: "Width against depth: wide nets of few layers beat thin nets of many",
    paper: "Zagoruyko, Komodakis 2016, arXiv 1605.07146",
    figure: "table 4",
    question: "Nets of other depth and width, some with about the same number of parameters. In the paper a wide net of \
        few layers is as good as a thin one of many or better, and trains several times faster.",
    protocol: "CIFAR: 200 epochs of batches of 128, SGD with Nesterov momentum 0.9, weight decay 5e-4, learning rate \
        0.1, multiplied by 0.2 after 60, 120 and 160 epochs. Pictures are padded by 4 in a mirror at their edges, cut out at \
        random and mirrored by chance, and normalised by mean and deviation; the paper's table 4 has whitened \
        pictures.",
    scaled_down: &[],
    runs,
    findings,
};

/// Depth, width and published error.
const NETS: [(usize, usize, &str); 5] =
    [(40, 1, "6.85"), (40, 2, "5.33"), (40, 4, "4.97"), (16, 8, "4.81"), (28, 10, "4.17")];
/// The same at the quick scale, where about 0.7 million parameters are deep and thin or shallow and wide.
const QUICK_NETS: [(usize, usize, &str); 3] = [(16, 1, "none"), (40, 1, "6.85"), (16, 2, "none")];

fn nets(setting: &Setting) -> &'static [(usize, usize, &'static str)] {
    if setting.scale == Scale::Quick { &QUICK_NETS } else { &NETS }
}

fn runs(setting: &Setting) -> Vec<Run> {
    let run = |&(depth, width, _): &(usize, usize, &str)| {
        Run::new(format!("wrn-{depth}-{width}"), format!("wrn_{depth}_{width}"), recipe)
    };
    nets(setting).iter().map(run).collect()
}

fn recipe(setting: &Setting, model: &str) -> Result<Recipe> {
    preset(setting, "wide-cifar", model)
}

fn findings(results: &Results<'_>) -> Result<Findings> {
    let published = |run: &RunResult| {
        let place = results.runs.iter().position(|other| other.run.name == run.run.name).unwrap_or_default();
        (run.run.name.clone(), nets(results.setting).get(place).map_or("none", |net| net.2))
    };
    let times = results.runs.iter().map(|run| format!("{} {:.1} ms", run.run.name, run.record.step_ms));
    let times = format!("Median time of a step: {}.", times.collect::<Vec<_>>().join(", "));
    let error =
        |name: &str| results.runs.iter().find(|r| r.run.name == name).and_then(|r| r.record.test_error);
    let (wide, deep) = if results.setting.scale == Scale::Quick {
        ("wrn-16-2", "wrn-40-1")
    } else {
        ("wrn-16-8", "wrn-40-4")
    };
    let shows = error(wide).zip(error(deep)).map(|(wide, deep)| wide <= deep);
    Ok(compared(results, "Width against depth", published, vec![ranking(results), times], shows))
}
