//! A run's folder, read back.

use std::time::SystemTime;

use residuum_formats::disk;
use serde::Serialize;

use super::metrics::{EpochPoint, Metrics, Steps};
use crate::findings::{EvaluationRecord, ResponseRecord};
use crate::recipe::Recipe;
use crate::run_folder::RunFolder;
use crate::state::{PlanRecord, RunState, RunStatus};

/// Epochs whose responses are shown.
const RESPONSE_EPOCHS: usize = 16;
const MAX_RESPONSES_BYTES: usize = 256 << 20;
const MAX_EVALUATION_BYTES: usize = 64 << 20;

/// A run in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// Name of its folder.
    pub name: String,
    /// The folder, as the reader was given it.
    pub folder: String,
    /// What it is at.
    pub state: RunState,
    /// Why it is at that.
    pub reason: Option<String>,
    /// When the process that trains or trained last began, by RFC 3339.
    pub begun: Option<String>,
    /// Name of the network.
    pub model: Option<String>,
    /// The data set, as it was asked for.
    pub data: Option<String>,
    /// Pictures of a step.
    pub batch_size: Option<usize>,
    /// How long it is.
    pub plan: Option<PlanRecord>,
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Loss of the last step.
    pub loss: Option<f64>,
    /// Learning rate of the last step.
    pub lr: Option<f64>,
    /// Pictures a second at the last point of the curves.
    pub images_per_second: Option<f64>,
    /// Seconds of training.
    pub wall_s: f64,
    /// The epoch with the lowest error on the test pictures; the first of equals.
    pub best: Option<EpochPoint>,
    /// The last epoch.
    pub last: Option<EpochPoint>,
    /// Whether there are confusions and mistakes to show: another text for each evaluation.
    pub evaluated: Option<String>,
    /// Another one whenever anything of the run is another.
    pub revision: String,
}

/// A run with its curves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunReport {
    /// The run in short.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Over the steps.
    pub steps: Steps,
    /// Over the epochs.
    pub epochs: Vec<EpochPoint>,
    /// What the layers do to the signal, where that was measured.
    pub responses: Option<Responses>,
}

/// Responses of the layers, of a few epochs: the first, the last, and others evenly between.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Responses {
    /// Names of the layers in their order.
    pub layers: Vec<String>,
    /// Epochs, counted from 1.
    pub epochs: Vec<u64>,
    /// Standard deviations for each epoch and layer.
    pub std: Vec<Vec<Option<f64>>>,
}

/// Length and time of the last change of a file.
type Stamp = (u64, SystemTime);

/// Reads a run's folder again and again, and each time only what is new.
#[derive(Debug)]
pub struct RunReader {
    folder: RunFolder,
    name: String,
    recipe: Option<Recipe>,
    metrics: Metrics,
    responses: Option<(Stamp, Option<Responses>)>,
}

impl RunReader {
    /// A reader of a folder. Nothing is read yet.
    pub fn open(folder: RunFolder) -> Self {
        let name = |path: &std::path::Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name(folder.path()).or_else(|| name(&folder.path().canonicalize().ok()?));
        let metrics = Metrics::new(folder.metrics());
        Self { folder, name: name.unwrap_or_default(), recipe: None, metrics, responses: None }
    }

    /// The folder.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// The run in short, as it is now. What cannot be read is absent, with a reason.
    pub fn summary(&mut self) -> RunSummary {
        if self.recipe.is_none() {
            self.recipe = Recipe::read(self.folder.recipe()).ok();
        }
        let problem = self.metrics.read().err().map(|error| error.to_string());
        let RunStatus { state, reason, begun, plan } = self.status();
        let (latest, epochs) = (self.metrics.latest(), self.metrics.epochs());
        let last = epochs.last();
        let evaluation = disk::file_stamp(self.folder.evaluation()).ok();
        let recipe = self.recipe.as_ref();
        RunSummary {
            name: self.name.clone(),
            folder: self.folder.path().display().to_string(),
            state,
            begun,
            model: recipe.map(|recipe| recipe.model.clone()),
            data: recipe.map(|recipe| recipe.data.clone()),
            batch_size: recipe.map(|recipe| recipe.batch_size),
            step: latest.map_or(0, |line| line.step),
            epoch: last.map_or(0, |last| last.epoch),
            loss: latest.map(|line| line.loss),
            lr: latest.map(|line| line.lr),
            images_per_second: self.metrics.speed(),
            wall_s: latest
                .map(|line| line.wall_s)
                .into_iter()
                .chain(last.map(|last| last.wall_s))
                .fold(0.0, f64::max),
            best: epochs
                .iter()
                .reduce(|best, x| if x.test_error < best.test_error { x } else { best })
                .cloned(),
            last: last.cloned(),
            evaluated: evaluation.map(written),
            revision: revision(state, self.metrics.offset(), evaluation),
            reason: problem.or(reason),
            plan,
        }
    }

    /// The run with its curves, as it is now.
    pub fn report(&mut self) -> RunReport {
        let summary = self.summary();
        let epochs = self.metrics.epochs().to_vec();
        RunReport { summary, steps: self.metrics.steps(), epochs, responses: self.responses() }
    }

    /// Confusions and mistakes of the last evaluation; nothing where there are none or they cannot be read.
    pub fn evaluation(&self) -> Option<EvaluationRecord> {
        let text = disk::read_text(self.folder.evaluation(), MAX_EVALUATION_BYTES).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Of a run that never said how it ended, the metrics tell whether it did all that it was to do.
    fn status(&self) -> RunStatus {
        let status = self.folder.status();
        let planned = self.recipe.as_ref().map(|recipe| recipe.epochs);
        let done = self.metrics.epochs().last().map(|last| last.epoch);
        if status.plan.is_none() && status.state == RunState::Stopped && done.is_some() && done >= planned {
            return RunStatus { state: RunState::Finished, reason: None, ..status };
        }
        status
    }

    fn responses(&mut self) -> Option<Responses> {
        let path = self.folder.responses();
        let stamp = disk::file_stamp(&path).ok()?;
        if self.responses.as_ref().is_none_or(|(known, _)| *known != stamp) {
            let text = disk::read_text(&path, MAX_RESPONSES_BYTES).ok()?;
            self.responses = Some((stamp, thinned(&text)));
        }
        self.responses.as_ref().and_then(|(_, responses)| responses.clone())
    }
}

/// Metrics and evaluation of a run that changes nothing stay as they are.
fn revision(state: RunState, offset: u64, evaluation: Option<Stamp>) -> String {
    format!("{state:?}-{offset}-{}", evaluation.map(written).unwrap_or_default())
}

fn written((_, time): Stamp) -> String {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis()).to_string()
}

/// The first and the last epoch and others evenly between, of one network each. A line that is none is passed
/// over.
fn thinned(text: &str) -> Option<Responses> {
    let records: Vec<ResponseRecord> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let layers = records.last()?.layers.clone();
    let records: Vec<ResponseRecord> = records
        .into_iter()
        .filter(|record| record.layers == layers && record.std.len() == layers.len())
        .collect();
    let last = records.len().checked_sub(1)?;
    let shown = records.len().min(RESPONSE_EPOCHS);
    let place = |i: usize| if shown == 1 { last } else { i * last / (shown - 1) };
    let chosen = || (0..shown).map(|i| &records[place(i)]);
    let (epochs, std) = (chosen().map(|x| x.epoch).collect(), chosen().map(|x| x.std.clone()).collect());
    Some(Responses { layers, epochs, std })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses(epochs: u64) -> String {
        let line = |e| format!("{{\"epoch\":{e},\"layers\":[\"a\"],\"std\":[{e}.5]}}\n");
        (1..=epochs).map(line).collect()
    }

    #[test]
    fn responses_are_those_of_the_first_and_the_last_epoch_and_some_between() {
        assert_eq!(thinned(""), None);
        assert_eq!(thinned("torn"), None);
        assert_eq!(thinned(&responses(1)).unwrap().epochs, [1]);
        assert_eq!(thinned(&responses(3)).unwrap().epochs, [1, 2, 3]);
        let many = thinned(&responses(1000)).unwrap();
        assert_eq!((many.epochs.len(), many.epochs[0], many.epochs[15]), (RESPONSE_EPOCHS, 1, 1000));
        assert_eq!(many.std[15], [Some(1000.5)]);
    }

    #[test]
    fn an_empty_folder_is_a_run_of_which_nothing_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = RunReader::open(RunFolder::at(folder.path()));
        let report = reader.report();
        assert_eq!((report.summary.state, report.summary.step), (RunState::Stopped, 0));
        assert!(report.epochs.is_empty() && report.responses.is_none() && reader.evaluation().is_none());
    }
}
