//! A run on the disk that can go on.

use crate::checkpoint::{Checkpoint, Place};
use crate::data::Data;
use crate::error::Result;
use crate::recipe::Recipe;
use crate::run_folder::RunFolder;

/// A run that can go on.
#[derive(Debug)]
pub struct Saved {
    pub(crate) folder: RunFolder,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) place: Place,
}

impl Saved {
    /// Finds the newest complete checkpoint of a run. Changes nothing on the disk.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(folder: RunFolder) -> Result<Self> {
        let (checkpoint, place) = Checkpoint::load(folder.path())?;
        Ok(Self { folder, checkpoint, place })
    }

    /// The recipe that the run began with.
    pub fn recipe(&self) -> &Recipe {
        &self.checkpoint.identity.recipe
    }

    /// What differs between this run and a recipe and data, with both values.
    pub(crate) fn differences(&self, recipe: &Recipe, data: &Data) -> Vec<String> {
        let identity = &self.checkpoint.identity;
        let mut differences = identity.recipe.differences(recipe);
        let digests =
            [("training", &identity.train_digest, &data.train), ("test", &identity.test_digest, &data.test)];
        for (part, ours, theirs) in digests {
            if ours != theirs.digest() {
                differences.push(format!(
                    "{part} data: the run has digest {ours}, `{}` has {}",
                    recipe.data,
                    theirs.digest()
                ));
            }
        }
        differences
    }
}
