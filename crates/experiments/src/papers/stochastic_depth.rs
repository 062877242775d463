//! Huang, Sun, Liu, Sedra and Weinberger, "Deep networks with stochastic depth" (arXiv 1603.09382, 2016).

use residuum_train::Recipe;

use super::{compared, named, preset};
use crate::error::Result;
use crate::experiment::{Experiment, Findings, Run};
use crate::reproduction::{Results, RunResult};
use crate::setting::{Scale, Setting};
use crate::table::percent;

/// Fig. 3 left: constant against stochastic depth.
pub(super) const STOCHASTIC_DEPTH: Experiment = Experiment {
    name: "stochastic-depth",
    title: "Stochastic depth: leaving out layers by chance in training lowers the test error",
    paper: "Huang et al. 2016, arXiv 1603.09382",
    figure: "fig. 3, table 1",
    question: "The same net with all layers in every step, and with layers left out by chance, later ones more often. In \
        the paper the second has the higher training loss and the lower test error, and trains in three quarters of \
        the time.",
    protocol: "CIFAR, 110 layers: 500 epochs of batches of 128, SGD with Nesterov momentum 0.9, weight decay 1e-4, \
        learning rate 0.1, divided by 10 after 250 and 375 epochs; survival falls in a straight line to 0.5. 5,000 \
        training pictures are held out; the curves show the error on them, the table the test error of the epoch \
        that is best on them.",
    scaled_down: &["so short a run hardly overfits, so that the gain of the paper is not to be expected"],
    runs,
    findings,
};

fn runs(setting: &Setting) -> Vec<Run> {
    let depth = if setting.scale == Scale::Quick { 20 } else { 110 };
    let net = |name: &str, family: &str| Run::new(name, format!("{family}{depth}"), recipe);
    vec![net("constant", "cifar_resnet"), net("stochastic", "sd_resnet")]
}

fn recipe(setting: &Setting, model: &str) -> Result<Recipe> {
    preset(setting, "stochastic-depth-cifar", model)
}

fn findings(results: &Results<'_>) -> Result<Findings> {
    let published = |run: &RunResult| {
        let figure = if run.run.name == "constant" { "6.41" } else { "5.25" };
        (run.run.name.clone(), figure)
    };
    let (mut sentences, mut shows) = (Vec::new(), None);
    if let (Some(constant), Some(stochastic)) = (named(results, "constant"), named(results, "stochastic")) {
        let (before, after) = (&constant.record, &stochastic.record);
        sentences.push(format!(
            "Stochastic depth changes the training error from {} to {} %, and the median time of a step from {:.1} to {:.1} \
             ms, to {:.2} of it.",
            percent(before.train_error),
            percent(after.train_error),
            before.step_ms,
            after.step_ms,
            after.step_ms / before.step_ms.max(f64::MIN_POSITIVE)
        ));
        if let (Some(before), Some(after)) = (before.test_error, after.test_error) {
            sentences.push(format!("The test error goes from {} to {} %.", percent(before), percent(after)));
            shows = (results.setting.scale == Scale::Paper).then_some(after < before);
        }
    }
    Ok(compared(results, "Stochastic depth", published, sentences, shows))
}
