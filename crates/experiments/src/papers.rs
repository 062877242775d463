//! The experiments, one file a paper.

#![allow(clippy::unnecessary_wraps, reason = "every experiment has functions of the same form")]

mod chu2017;
mod densenet;
mod he2015;
mod he2016;
mod stochastic_depth;
mod wide;

use residuum_plot::Figure;
use residuum_train::Recipe;

use crate::charts::{Curves, over_iterations};
use crate::error::Result;
use crate::experiment::{Experiment, Findings, Picture};
use crate::reproduction::{Results, RunResult};
use crate::setting::{Scale, Setting};
use crate::study::Study;
use crate::table::{Table, grouped, percent};

/// All experiments in the papers' order.
pub(crate) const ALL: &[&Experiment] = &[
    &he2015::DEGRADATION,
    &he2015::RESPONSES,
    &he2015::SHORTCUTS,
    &he2015::IDENTITY,
    &he2016::SHORTCUTS,
    &he2016::UNITS,
    &stochastic_depth::STOCHASTIC_DEPTH,
    &wide::WIDE_VS_DEEP,
    &densenet::DENSENET_CIFAR,
];

pub(crate) use chu2017::CHU2017;

/// All studies of networks that are given.
pub(crate) const STUDIES: &[&Study] = &[&CHU2017];

/// Steps of a run at the quick scale: six times through the embedded set.
const QUICK_STEPS: u64 = 1872;

/// A recipe that comes along, as it is or shortened.
fn preset(setting: &Setting, name: &str, model: &str) -> Result<Recipe> {
    let mut recipe = setting.preset(name, model)?;
    if setting.scale == Scale::Quick {
        setting.shorten(&mut recipe, QUICK_STEPS);
    }
    Ok(recipe)
}

/// Columns of a table of errors; the last is the published one.
const ERRORS: [&str; 6] = [
    "network",
    "layers",
    "parameters",
    "training error, %",
    "test error, %",
    "published test error, % (CIFAR-10)",
];

/// A row of [`ERRORS`].
fn error_row(run: &RunResult, name: &str, published: &str) -> Vec<String> {
    let record = &run.record;
    let ours = |value: Option<f64>| match (&record.diverged, value) {
        (None, Some(value)) => percent(value),
        _ => "diverged".to_owned(),
    };
    vec![
        name.to_owned(),
        record.depth.to_string(),
        grouped(record.parameters),
        ours(Some(record.train_error)),
        ours(record.test_error),
        published.to_owned(),
    ]
}

/// Training error, that of a run which diverged being the worst there is.
fn training_error(run: &RunResult) -> f64 {
    if run.record.diverged.is_some() { 100.0 } else { run.record.train_error }
}

/// The run of a name.
fn named<'r>(results: &'r Results<'_>, name: &str) -> Option<&'r RunResult> {
    results.runs.iter().find(|result| result.run.name == name)
}

/// What experiments that only compare runs find: a table in order, errors and losses over the iterations.
/// `published` gives a name and the published figure of each run.
fn compared(
    results: &Results<'_>,
    title: &str,
    published: impl Fn(&RunResult) -> (String, &'static str),
    sentences: Vec<String>,
    shows: Option<bool>,
) -> Findings {
    let runs: Vec<&RunResult> = results.runs.iter().collect();
    let mut table = Table::new(&ERRORS);
    for run in &runs {
        let (name, figure) = published(run);
        table.rows.push(error_row(run, &name, figure));
    }
    let charts = vec![
        over_iterations("error", Curves::Errors, &runs, |run| run.run.name.clone()),
        over_iterations("loss", Curves::Losses, &runs, |run| run.run.name.clone()),
    ];
    let figure = Figure::new(format!("{title}, {}", results.setting.data), charts);
    Findings { pictures: vec![Picture { stem: "curves", figure }], table, sentences, shows }
}

/// The runs by training error, the best first, in words.
fn ranking(results: &Results<'_>) -> String {
    let mut runs: Vec<&RunResult> = results.runs.iter().collect();
    runs.sort_by(|a, b| training_error(a).total_cmp(&training_error(b)));
    let words = runs.iter().map(|run| format!("{} {} %", run.run.name, percent(training_error(run))));
    format!("By training error: {}.", words.collect::<Vec<_>>().join(", "))
}
