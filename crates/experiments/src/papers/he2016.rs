//! He, Zhang, Ren and Sun, "Identity mappings in deep residual networks" (arXiv 1603.05027, 2016).

use residuum_train::Recipe;

use super::{compared, preset, ranking, training_error};
use crate::error::Result;
use crate::experiment::{Experiment, Findings, Run};
use crate::reproduction::{Results, RunResult};
use crate::setting::{Scale, Setting};
use crate::table::percent;

const PAPER: &str = "He et al. 2016, arXiv 1603.05027";
const PROTOCOL: &str = "CIFAR, 110 layers: 64,000 iterations of 128 pictures, SGD with momentum 0.9, weight decay 1e-4, \
    learning rate 0.01 for 400 iterations, then 0.1, divided by 10 after 32,000 and 48,000. Pictures are padded by 4, \
    cut out at random and mirrored by chance. The paper's figures are medians of five runs, ours come from one.";

fn recipe(setting: &Setting, model: &str) -> Result<Recipe> {
    preset(setting, "he2016-cifar", model)
}

/// A variant: name of its run, what follows the depth in the network's name, what precedes it, its published
/// error.
struct Variant {
    name: &'static str,
    family: &'static str,
    tag: &'static str,
    published: &'static str,
    is_quick: bool,
}

const fn variant(
    name: &'static str,
    family: &'static str,
    tag: &'static str,
    published: &'static str,
    is_quick: bool,
) -> Variant {
    Variant { name, family, tag, published, is_quick }
}

fn runs(variants: &[Variant], setting: &Setting) -> Vec<Run> {
    let depth = if setting.scale == Scale::Quick { 20 } else { 110 };
    let taken = variants.iter().filter(|variant| variant.is_quick || setting.scale == Scale::Paper);
    taken.map(|v| Run::new(v.name, format!("{}{depth}{}", v.family, v.tag), recipe)).collect()
}

fn published(variants: &[Variant], run: &RunResult) -> (String, &'static str) {
    let known = variants.iter().find(|variant| variant.name == run.run.name);
    (run.run.name.clone(), known.map_or("none", |variant| variant.published))
}

/// Table 1: what is put on the shortcut.
pub(super) const SHORTCUTS: Experiment = Experiment {
    name: "he2016-shortcuts",
    title: "On the shortcut: nothing is better than anything",
    paper: PAPER,
    figure: "table 1",
    question: "Shortcuts that are scaled, gated, convolved or dropped out instead of the identity. In the paper each of \
        them trains worse, although gates and convolutions could learn to be the identity.",
    protocol: PROTOCOL,
    scaled_down: &[],
    runs: |setting| runs(SHORTCUT_VARIANTS, setting),
    findings: shortcuts,
};

const SHORTCUT_VARIANTS: &[Variant] = &[
    variant("original", "cifar_resnet", "", "6.61", true),
    variant("constant-0-1", "cifar_plain", "", "fail (above 20)", false),
    variant("constant-0.5-1", "cifar_resnet", ".constant_0.5_1", "fail (above 20)", true),
    variant("constant-0.5-0.5", "cifar_resnet", ".constant_0.5_0.5", "12.35", false),
    variant("exclusive-0", "cifar_resnet", ".exclusive_0", "fail (above 20)", false),
    variant("exclusive-6", "cifar_resnet", ".exclusive", "8.70", true),
    variant("exclusive-7", "cifar_resnet", ".exclusive_-7", "9.81", false),
    variant("shortcut-only-0", "cifar_resnet", ".shortcut_only_0", "12.86", false),
    variant("shortcut-only-6", "cifar_resnet", ".shortcut_only", "6.91", false),
    variant("convolution", "cifar_resnet", "c", "12.22", true),
    variant("dropout", "cifar_resnet", ".dropout", "fail (above 20)", true),
];

/// Table 2: the order within a unit.
pub(super) const UNITS: Experiment = Experiment {
    name: "he2016-units",
    title: "Order of a unit: norm and activation before the convolutions",
    paper: PAPER,
    figure: "table 2",
    question: "The same parts of a residual unit in five orders. In the paper norm and activation before every \
        convolution (full pre-activation) are best, a batch norm after the addition is worst.",
    protocol: PROTOCOL,
    scaled_down: &[
        "in nets of 20 layers the orders hardly differ: what is asked of them is only whether those that put \
        a batch norm or a ReLU on the way of the signal train worse",
    ],
    runs: |setting| runs(UNIT_VARIANTS, setting),
    findings: units,
};

const UNIT_VARIANTS: &[Variant] = &[
    variant("original", "cifar_resnet", "", "6.61", true),
    variant("bn-after-add", "cifar_preact", ".bn_after_add", "8.17", true),
    variant("relu-before-add", "cifar_preact", ".relu_before_add", "7.84", true),
    variant("relu-only-preact", "cifar_preact", ".relu_only_preact", "6.71", true),
    variant("full-preact", "cifar_preact", "", "6.37", true),
];

fn shortcuts(results: &Results<'_>) -> Result<Findings> {
    let shows = best(results).map(|best| best.run.name == "original");
    Ok(compared(
        results,
        "On the shortcut",
        |run| published(SHORTCUT_VARIANTS, run),
        vec![ranking(results)],
        shows,
    ))
}

/// The run with the lowest training error.
fn best<'r>(results: &'r Results<'_>) -> Option<&'r RunResult> {
    results.runs.iter().min_by(|a, b| training_error(a).total_cmp(&training_error(b)))
}

fn units(results: &Results<'_>) -> Result<Findings> {
    let (mut sentences, mut shows) = (vec![ranking(results)], None);
    if results.setting.scale == Scale::Paper {
        shows = best(results).map(|best| best.run.name == "full-preact");
    } else {
        let (after, clear): (Vec<&RunResult>, Vec<&RunResult>) = results
            .runs
            .iter()
            .partition(|run| ["bn-after-add", "relu-before-add"].contains(&&*run.run.name));
        let [(after, one), (clear, other)] = [after, clear].map(|runs| mean_error(&runs));
        let uncertainty = one.hypot(other);
        sentences.push(format!(
            "With a batch norm or a ReLU on the way of the signal (bn-after-add, relu-before-add) the mean training \
             error is {} %, without {} % (two standard errors of the difference: {}).",
            percent(after),
            percent(clear),
            percent(uncertainty)
        ));
        if (after - clear).abs() > uncertainty {
            shows = Some(after > clear);
        }
    }
    Ok(compared(results, "Order of a unit", |run| published(UNIT_VARIANTS, run), sentences, shows))
}

/// Mean training error of runs, and two standard errors of it.
fn mean_error(runs: &[&RunResult]) -> (f64, f64) {
    let count = runs.len().max(1) as f64;
    let squares: f64 = runs.iter().map(|run| run.record.uncertainty().powi(2)).sum();
    (runs.iter().map(|run| training_error(run)).sum::<f64>() / count, squares.sqrt() / count)
}
