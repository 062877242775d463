//! Once through all pictures, batch by batch, keeping the place.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use residuum_data::{Loader, LoaderOptions};
use residuum_explain::{Stage, Survey, Surveyor};
use serde::{Deserialize, Serialize};

use super::{Examination, is_stopped};
use crate::error::{ExperimentError, Result};
use crate::observer::Observer;

const SURVEY: &str = "survey.json";
/// What the blocks' outputs and branches of a batch may take.
const MOST_BYTES: usize = 128 << 20;
const MOST_IMAGES: usize = 64;
/// Time between two savings.
const INTERVAL: Duration = Duration::from_secs(30);

/// What was gathered so far.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gathered {
    /// Pictures of a batch: the same ones go through the network together however often it is stopped.
    batch: usize,
    survey: Survey,
}

impl Examination<'_> {
    /// What all pictures do to the blocks; nothing where it was stopped.
    pub(super) fn gather(&self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Option<Survey>> {
        let mut gathered = match self.read::<Gathered>(SURVEY)? {
            Some(gathered) => self.checked(gathered)?,
            None => Gathered { batch: batch_size(&self.stages), survey: Survey::new(&self.stages) },
        };
        let all = self.data.len();
        if gathered.survey.images() == all {
            return Ok(Some(gathered.survey));
        }
        let first_batch = gathered.survey.images() / gathered.batch;
        let options = LoaderOptions { first_batch, ..LoaderOptions::evaluation(gathered.batch) };
        let mut saved = Instant::now();
        let mut surveyor: Option<(usize, Surveyor<'_>)> = None;
        for batch in Loader::new(&self.data, &self.loaded.info.preprocess, options)? {
            let images = batch?.images;
            let n = images.shape()[0];
            let mut program = match surveyor.take() {
                Some((size, program)) if size == n => program,
                _ => Surveyor::new(&self.subject(), &self.stages, &images)?,
            };
            program.add(&mut gathered.survey, &images)?;
            surveyor = Some((n, program));
            observer.on_progress("pictures seen", gathered.survey.images() as u64, all as u64);
            let is_cut = is_stopped(stop) && gathered.survey.images() < all;
            if is_cut || saved.elapsed() > INTERVAL {
                self.write(SURVEY, &gathered)?;
                saved = Instant::now();
            }
            if is_cut {
                return Ok(None);
            }
        }
        self.write(SURVEY, &gathered)?;
        Ok(Some(gathered.survey))
    }

    fn checked(&self, gathered: Gathered) -> Result<Gathered> {
        let (images, batch) = (gathered.survey.images(), gathered.batch);
        let is_whole = images == self.data.len() || (batch > 0 && images.is_multiple_of(batch));
        if is_whole && images <= self.data.len() && gathered.survey.fits(&self.stages) {
            return Ok(gathered);
        }
        let problem =
            format!("expected what {} of {} pictures gave, found something else", images, self.data.len());
        Err(ExperimentError::Record { path: self.folder.join(SURVEY), problem })
    }
}

/// As many pictures as there is room for.
fn batch_size(stages: &[Stage]) -> usize {
    let maps =
        stages.iter().map(|stage| 2 * stage.blocks.len() * stage.channels * stage.rows * stage.columns);
    (MOST_BYTES / (4 * maps.sum::<usize>()).max(1)).clamp(1, MOST_IMAGES)
}
