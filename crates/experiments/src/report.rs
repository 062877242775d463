//! What a finished reproduction leaves behind: pictures, table, commands, and a page that explains them.

use std::path::Path;

use residuum_formats::disk;
use residuum_train::{Augmentation, Recipe};
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::experiment::{Experiment, Findings, Start};
use crate::reproduction::{Results, RunResult};
use crate::setting::{Scale, Setting};
use crate::table::{Table, grouped};

const RESULT: &str = "result.json";
const MAX_RESULT_BYTES: usize = 16 << 20;

/// What a reproduction found, for programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Name of the experiment.
    pub experiment: String,
    /// Where it is described.
    pub paper: String,
    /// Figure or table of the paper.
    pub figure: String,
    /// How much of the paper's effort.
    pub scale: Scale,
    /// Data set.
    pub data: String,
    /// Seed of every run.
    pub seed: u64,
    /// Whether the paper's effect shows; nothing where one cannot say.
    pub shows: Option<bool>,
    /// What came out, a sentence each.
    pub sentences: Vec<String>,
    /// Ours beside the published figures.
    pub table: Table,
    /// What differs from the original protocol.
    pub scaled_down: Vec<String>,
    /// Seconds of training in all runs together.
    pub seconds: f64,
}

impl Report {
    /// The report of a folder, if all is done there.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(RESULT);
        if !disk::exists(&path) {
            return Ok(None);
        }
        let report = serde_json::from_str(&disk::read_text(&path, MAX_RESULT_BYTES)?);
        report.map(Some).map_err(|e| ExperimentError::Record { path, problem: e.to_string() })
    }
}

/// Writes everything; the report for programs last, since it says that all is there.
pub(crate) fn write(experiment: &Experiment, results: &Results<'_>, findings: Findings) -> Result<Report> {
    let folder = results.folder;
    let put = |name: &str, bytes: &[u8]| disk::write_bytes(folder.join(name), bytes);
    for picture in &findings.pictures {
        put(&format!("{}.svg", picture.stem), picture.figure.svg().as_bytes())?;
        put(&format!("{}.png", picture.stem), &picture.figure.png()?)?;
        put(&format!("{}.csv", picture.stem), picture.figure.csv().as_bytes())?;
    }
    put("table.md", findings.table.markdown().as_bytes())?;
    put("table.csv", findings.table.csv().as_bytes())?;
    put("commands.sh", commands(experiment, results).as_bytes())?;
    let report = Report {
        experiment: experiment.name.into(),
        paper: experiment.paper.into(),
        figure: experiment.figure.into(),
        scale: results.setting.scale,
        data: results.setting.data.clone(),
        seed: results.setting.seed,
        shows: findings.shows,
        sentences: findings.sentences,
        table: findings.table,
        scaled_down: scaled_down(experiment, results)?,
        seconds: results.runs.iter().map(|run| run.record.seconds).sum(),
    };
    let stems: Vec<&str> = findings.pictures.iter().map(|picture| picture.stem).collect();
    put("README.md", readme(experiment, &report, &stems).as_bytes())?;
    let path = folder.join(RESULT);
    let text = serde_json::to_string_pretty(&report)
        .map_err(|e| ExperimentError::Record { path: path.clone(), problem: e.to_string() })?;
    disk::write_bytes(path, text.as_bytes())?;
    Ok(report)
}

/// What differs from the original protocol, a line each.
fn scaled_down(experiment: &Experiment, results: &Results<'_>) -> Result<Vec<String>> {
    let ours = results.setting;
    if ours.scale == Scale::Paper {
        return Ok(Vec::new());
    }
    let original = Setting { scale: Scale::Paper, ..ours.clone() };
    let mut lines = Vec::new();
    let mut tell = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            lines.push(format!("{what}: {ours} instead of {theirs}"));
        }
    };
    let nets = |setting: &Setting| {
        let names = experiment.runs(setting).into_iter().map(|run| run.model);
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.dedup();
        names.join(", ")
    };
    tell("networks", nets(ours), nets(&original));
    let first = experiment.runs(&original).into_iter().next();
    if let (Some(first), Some(run)) = (first, results.runs.first()) {
        let theirs = first.recipe(&original)?;
        let ours = &run.recipe;
        let steps = |recipe: &Recipe| {
            recipe.iterations.map_or(format!("{} epochs", recipe.epochs), |n| format!("{} steps", grouped(n)))
        };
        let side = |recipe: &Recipe| format!("{0} x {0}", recipe.preprocess.crop);
        tell("length of a run", steps(ours), steps(&theirs));
        tell("pictures of a step", ours.batch_size.to_string(), theirs.batch_size.to_string());
        tell("warm-up", warm_up(ours), warm_up(&theirs));
        tell("full learning rate", ours.optimiser.lr.to_string(), theirs.optimiser.lr.to_string());
        tell(
            "weight decay",
            ours.optimiser.weight_decay.to_string(),
            theirs.optimiser.weight_decay.to_string(),
        );
        let held = |recipe: &Recipe| grouped(recipe.validation.unwrap_or(0) as u64);
        tell("held-out training pictures", held(ours), held(&theirs));
        tell("size of a picture in pixels", side(ours), side(&theirs));
        tell("random changes of the pictures", augmentation(ours).into(), augmentation(&theirs).into());
    }
    lines.push("repetitions: one run of each network, so small differences mean nothing".into());
    lines.extend(experiment.scaled_down.iter().map(|&line| line.to_owned()));
    Ok(lines)
}

fn warm_up(recipe: &Recipe) -> String {
    recipe.warm_up.as_ref().map_or("none".into(), |warm_up| format!("{} steps", warm_up.iterations))
}

fn augmentation(recipe: &Recipe) -> &'static str {
    match recipe.augmentation {
        Augmentation::None {} => "none",
        Augmentation::Crop { .. } => "shifts and mirror images",
        _ => "scales, shifts and mirror images",
    }
}

fn readme(experiment: &Experiment, report: &Report, stems: &[&str]) -> String {
    let list =
        |lines: &[String]| lines.iter().fold(String::new(), |text, line| text + &format!("- {line}\n"));
    let pictures =
        stems.iter().fold(String::new(), |text, stem| text + &format!("![{stem}]({stem}.svg)\n\n"));
    let scaled = if report.scaled_down.is_empty() {
        "Nothing: this is the original protocol, on the data given.\n".to_owned()
    } else {
        list(&report.scaled_down)
    };
    let verdict = match report.shows {
        Some(true) => "The paper's effect shows.\n\n",
        Some(false) => "The paper's effect does not show here.\n\n",
        None => "",
    };
    format!(
        "# {}\n\n{} ({}, {}), scale `{}`, data `{}`, seed {}.\n\n{}\n\n## Result\n\n{verdict}{}\n{}\n{pictures}\
         Training took {:.0} s in all. The points of the pictures are in the `.csv` beside them, the table in\n\
         `table.csv`, everything for programs in `{RESULT}`, each run with its recipe and models in `runs/`, and\n\
         the command of each run in `commands.sh`.\n\n## Protocol\n\n{}\n\n## What was scaled down\n\n{scaled}",
        experiment.title,
        experiment.name,
        experiment.paper,
        experiment.figure,
        report.scale,
        report.data,
        report.seed,
        experiment.question,
        list(&report.sentences),
        report.table.markdown(),
        report.seconds,
        experiment.protocol,
    )
}

/// A script with the command of each run.
fn commands(experiment: &Experiment, results: &Results<'_>) -> String {
    let data = &results.setting.data;
    let data = match data.split_once(':') {
        Some((kind, path)) => format!("{kind}:{}", absolute(path)),
        None if data == "shapes" => data.clone(),
        None => absolute(data),
    };
    let lines: String = results.runs.iter().map(|run| command(run, results.folder) + "\n").collect();
    format!(
        "#!/bin/sh\n# The runs of {}, one after the other, into the folder `again`.\nset -e\ncd \"$(dirname \"$0\")\"\n\
         DATA={}\n\n{lines}",
        experiment.name,
        quoted(&data)
    )
}

fn command(run: &RunResult, folder: &Path) -> String {
    let within = |path: &Path| match path.strip_prefix(folder) {
        Ok(path) => path.display().to_string(),
        Err(_) => absolute(&path.to_string_lossy()),
    };
    let name = &run.run.name;
    let from = match &run.run.start {
        Start::Fresh => String::new(),
        Start::Continued { from } => format!(" --from again/{from}/last.safetensors"),
        Start::Deepened { .. } => format!(" --from starts/{name}.safetensors"),
    };
    let recipe = quoted(&within(&run.folder.recipe()));
    format!("residuum train \"$DATA\" --recipe {recipe}{from} --output again/{name}")
}

fn absolute(path: &str) -> String {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:,@%".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
