//! He, Zhang, Ren and Sun, "Identity mappings in deep residual networks" (arXiv 1603.05027, 2016).

use residuum_train::Recipe;

use super::{compared, preset, ranking, training_error};
use crate::error::Result;
use crate::experiment::{Experiment, Findings, Run};
use crate::reproduction::{Results, RunResult};
use crate::setting::{Scale, Setting};

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
    findings: |results| found(results, SHORTCUT_VARIANTS, "On the shortcut"),
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
    scaled_down: &[],
    runs: |setting| runs(UNIT_VARIANTS, setting),
    findings: |results| found(results, UNIT_VARIANTS, "Order of a unit"),
};

const UNIT_VARIANTS: &[Variant] = &[
    variant("original", "cifar_resnet", "", "6.61", true),
    variant("bn-after-add", "cifar_preact", ".bn_after_add", "8.17", true),
    variant("relu-before-add", "cifar_preact", ".relu_before_add", "7.84", true),
    variant("relu-only-preact", "cifar_preact", ".relu_only_preact", "6.71", true),
    variant("full-preact", "cifar_preact", "", "6.37", true),
];

fn found(results: &Results<'_>, variants: &[Variant], title: &str) -> Result<Findings> {
    let best = results.runs.iter().min_by(|a, b| training_error(a).total_cmp(&training_error(b)));
    let expected = if title == "Order of a unit" { "full-preact" } else { "original" };
    let shows = best.map(|best| best.run.name == expected);
    Ok(compared(results, title, |run| published(variants, run), vec![ranking(results)], shows))
}
