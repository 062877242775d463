//! A study of a network that is given, rather than trained here: what its blocks do to features, as pictures
//! and as numbers (Chu, Yang & Tadinada 2017).
//!
//! ```text
//! report.html            all of it on one page that needs nothing else
//! channels/NAME.png      a channel of a stage: nine images and their guided gradients, a column a block
//! channels/NAME.npy      the gradients, [blocks, 9, 3, h, w]
//! refinement.svg, .png   the measurable side; its points in refinement.csv
//! blocks.csv             a line for each block
//! correlations.csv       a line for each block and channel
//! units.csv              a line for each picture: image, unit, what it sees
//! result.json            for programs; its presence says that everything is done
//! survey.json            what was gathered of every channel, to go on from or to show other channels
//! ```

mod draw;
mod gather;
mod numbers;
mod page;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use residuum_classify::Loaded;
use residuum_data::{Dataset, OpenOptions, Split};
use residuum_engine::Engine;
use residuum_explain::{Stage, Subject, Survey, stages};
use residuum_formats::disk;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::error::{ExperimentError, Result};
use crate::observer::Observer;
use crate::reproduction::{FOLDER, Outcome, SETTING, plain};
use crate::table::Table;

const RESULT: &str = "result.json";
const MAX_FILE_BYTES: usize = 1 << 30;

/// What is studied, in words.
#[derive(Debug)]
pub struct Study {
    /// Its name, such as `chu2017`.
    pub name: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// Where it is described.
    pub paper: &'static str,
    /// Figure or table of the paper.
    pub figure: &'static str,
    /// What is asked and what the paper found, in a few sentences.
    pub question: &'static str,
    /// How it is done, in a few sentences.
    pub protocol: &'static str,
}

/// Which channels are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    /// So many of each stage that tell images apart best, as [`Survey::most_varied`] ranks them.
    MostVaried(usize),
    /// These, in every stage that has them.
    These(Vec<usize>),
}

/// How a study is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyOptions {
    /// Data set, of which the test pictures are looked at: `shapes`, a path, or `KIND:PATH`.
    pub data: String,
    /// The first so many pictures; all where absent.
    pub images: Option<usize>,
    /// Which channels are shown.
    pub channels: Channels,
    /// Folder of the results; `reproductions/NAME-MODEL-DATA` where it is not given.
    pub output: Option<PathBuf>,
}

/// A channel that is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// Name of the stage.
    pub stage: String,
    /// Which of its channels.
    pub channel: usize,
    /// The picture, within the folder.
    pub picture: String,
    /// The gradients, within the folder.
    pub array: String,
}

/// What a study found, for programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyReport {
    /// Name of the study.
    pub experiment: String,
    /// Where it is described.
    pub paper: String,
    /// Name of the network.
    pub model: String,
    /// Data set.
    pub data: String,
    /// Pictures that were looked at.
    pub images: usize,
    /// Which channels were asked for.
    pub channels: Channels,
    /// Those that are shown.
    pub shown: Vec<Shown>,
    /// What came out, a sentence each.
    pub sentences: Vec<String>,
    /// What each block does.
    pub table: Table,
}

/// What the folder belongs to.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    study: String,
    model: String,
    model_digest: String,
    data_digest: String,
    images: usize,
}

/// A study in its folder.
#[derive(Debug)]
pub struct Examination<'a> {
    study: &'static Study,
    engine: &'a Engine,
    loaded: &'a Loaded,
    data: Dataset,
    channels: Channels,
    stages: Vec<Stage>,
    folder: PathBuf,
}

impl<'a> Examination<'a> {
    /// Opens data and folder. Writes nothing.
    ///
    /// # Errors
    /// When the data cannot be read, the network has no residual blocks, there are no such channels, or the
    /// folder holds something else.
    pub fn open(
        engine: &'a Engine,
        study: &'static Study,
        loaded: &'a Loaded,
        options: &StudyOptions,
    ) -> Result<Self> {
        let mut data = residuum_data::open(&options.data, Split::Test, &OpenOptions::default())?;
        if let Some(count) = options.images.filter(|&count| count < data.len()) {
            data = data.subset(&(0..count).collect::<Vec<usize>>());
        }
        let side = loaded.info.preprocess.crop;
        let stages = stages(&loaded.model.graph, side, side)?;
        let widest = stages.iter().map(|stage| stage.channels).max().unwrap_or(0);
        if let Channels::These(asked) = &options.channels
            && let Some(missing) = asked.iter().find(|&&channel| channel >= widest)
        {
            let sizes = stages.iter().map(|stage| format!("{} (0 to {})", stage.name, stage.channels - 1));
            let problem =
                format!("expected a channel of {}, found {missing}", sizes.collect::<Vec<_>>().join(", "));
            return Err(ExperimentError::Measure { what: loaded.model.name.clone(), problem });
        }
        let folder = options.output.clone().unwrap_or_else(|| {
            let name = format!("{}-{}-{}", study.name, plain(&loaded.model.name), plain(data.name()));
            Path::new(FOLDER).join(name)
        });
        let channels = options.channels.clone();
        let examination = Self { study, engine, loaded, data, channels, stages, folder };
        examination.check_folder()?;
        Ok(examination)
    }

    /// Where the results are or will be.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Does whatever is not done yet, until all is done or `stop` is true.
    ///
    /// # Errors
    /// When a picture cannot be read or a file not be written. What was done until then stays.
    pub fn run(&self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome<StudyReport>> {
        if let Some(report) = self.read::<StudyReport>(RESULT)?
            && report.channels == self.channels
        {
            return Ok(Outcome::WasDone(report));
        }
        disk::create_dir_all(self.folder.join(draw::FOLDER))?;
        self.write(SETTING, &self.owner()?)?;
        let Some(survey) = self.gather(stop, observer)? else { return Ok(Outcome::Interrupted) };
        let chosen = self.chosen(&survey);
        let mut shown = Vec::with_capacity(chosen.len());
        for (number, &(stage, channel)) in chosen.iter().enumerate() {
            observer.on_progress("pictures", number as u64, chosen.len() as u64);
            match self.show(&survey, stage, channel, stop)? {
                Some(one) => shown.push(one),
                None => return Ok(Outcome::Interrupted),
            }
        }
        Ok(Outcome::Finished(self.report(&survey, &chosen, shown)?))
    }

    /// Stages, by number, and channels that are shown.
    fn chosen(&self, survey: &Survey) -> Vec<(usize, usize)> {
        let of = |(number, stage): (usize, &Stage)| -> Vec<(usize, usize)> {
            let channels = match &self.channels {
                Channels::MostVaried(count) => survey.most_varied(number).into_iter().take(*count).collect(),
                Channels::These(asked) => asked.clone(),
            };
            channels.into_iter().filter(|&channel| channel < stage.channels).map(|c| (number, c)).collect()
        };
        self.stages.iter().enumerate().flat_map(of).collect()
    }

    /// Writes the numbers and the page; the report for programs last, since it says that all is there.
    fn report(&self, survey: &Survey, chosen: &[(usize, usize)], shown: Vec<Shown>) -> Result<StudyReport> {
        let put = |name: &str, bytes: &[u8]| disk::write_bytes(self.folder.join(name), bytes);
        let numbers = numbers::Numbers::new(&self.stages, survey);
        let figure = numbers.figure(&self.title());
        put("refinement.svg", figure.svg().as_bytes())?;
        put("refinement.png", &figure.png()?)?;
        put("refinement.csv", figure.csv().as_bytes())?;
        put("blocks.csv", numbers.table().csv().as_bytes())?;
        put("correlations.csv", numbers.correlations().csv().as_bytes())?;
        put("units.csv", self.units(survey, chosen).csv().as_bytes())?;
        let report = StudyReport {
            experiment: self.study.name.into(),
            paper: self.study.paper.into(),
            model: self.loaded.model.name.clone(),
            data: self.data.name().into(),
            images: survey.images(),
            channels: self.channels.clone(),
            shown,
            sentences: numbers.sentences(),
            table: numbers.table(),
        };
        put("report.html", self.page(&report, survey, chosen, &figure.svg())?.as_bytes())?;
        self.write(RESULT, &report)?;
        Ok(report)
    }

    fn title(&self) -> String {
        format!("{} on {}", self.loaded.model.name, self.data.name())
    }

    fn subject(&self) -> Subject<'_> {
        Subject { engine: self.engine, graph: &self.loaded.model.graph, weights: &self.loaded.weights }
    }

    fn owner(&self) -> Result<Owner> {
        let mut digest = Sha256::new_with_prefix(self.loaded.model.graph.to_json()?);
        digest.update(self.loaded.info.preprocess.to_json());
        for (name, tensor) in &self.loaded.weights {
            digest.update(name);
            tensor.data().iter().for_each(|x| digest.update(x.to_le_bytes()));
        }
        Ok(Owner {
            study: self.study.name.into(),
            model: self.loaded.model.name.clone(),
            model_digest: digest
                .finalize()
                .iter()
                .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")),
            data_digest: self.data.digest().into(),
            images: self.data.len(),
        })
    }

    /// Whether the folder is new or holds this study.
    fn check_folder(&self) -> Result<()> {
        let is_new =
            !disk::exists(&self.folder) || (self.folder.is_dir() && disk::list(&self.folder)?.is_empty());
        if is_new {
            return Ok(());
        }
        let mixed =
            |problem: &str| ExperimentError::Mixed { path: self.folder.clone(), problem: problem.into() };
        if !disk::exists(self.folder.join(SETTING)) {
            return Err(mixed("holds something that is no reproduction"));
        }
        match self.read::<Owner>(SETTING) {
            Ok(Some(owner)) if owner == self.owner()? => Ok(()),
            Ok(Some(owner)) if owner.study == self.study.name => {
                let problem = format!(
                    "holds {} of another network or of other pictures ({}, {} pictures)",
                    owner.study, owner.model, owner.images
                );
                Err(mixed(&problem))
            }
            _ => Err(mixed("holds another reproduction")),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.folder.join(name);
        if !disk::exists(&path) {
            return Ok(None);
        }
        let content = serde_json::from_str(&disk::read_text(&path, MAX_FILE_BYTES)?);
        content.map(Some).map_err(|e| ExperimentError::Record { path, problem: e.to_string() })
    }

    fn write(&self, name: &str, content: &impl Serialize) -> Result<()> {
        let path = self.folder.join(name);
        let text = serde_json::to_string(content)
            .map_err(|e| ExperimentError::Record { path: path.clone(), problem: e.to_string() })?;
        Ok(disk::write_bytes(path, text.as_bytes())?)
    }
}

fn is_stopped(stop: &AtomicBool) -> bool {
    stop.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests;
