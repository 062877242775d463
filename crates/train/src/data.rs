//! What is learnt from and what is tested with.

use residuum_data::{Dataset, OpenOptions, Split};

use crate::error::{Result, TrainError};
use crate::recipe::Recipe;

/// The two parts of a data set.
#[derive(Clone, Debug)]
pub struct Data {
    /// What is learnt from.
    pub train: Dataset,
    /// What every epoch is tested with, unless the recipe holds training pictures out for that.
    pub test: Dataset,
}

impl Data {
    /// Opens both parts of `shapes`, a path, or `KIND:PATH`.
    ///
    /// # Errors
    /// When one of them is not there or is damaged.
    pub fn open(data: &str) -> Result<Self> {
        let open = |split| residuum_data::open(data, split, &OpenOptions::default());
        Ok(Self { train: open(Split::Train)?, test: open(Split::Test)? })
    }

    /// The parts as a recipe uses them: with [`Recipe::validation`], the held-out pictures are what is tested
    /// with, and the rest is learnt from.
    ///
    /// # Errors
    /// When there are not so many pictures.
    pub(crate) fn of(self, recipe: &Recipe) -> Result<Self> {
        let Some(count) = recipe.validation else { return Ok(self) };
        let (train, test) = self.train.hold_out(count, recipe.seed)?;
        Ok(Self { train, test })
    }

    /// Whether both parts have the same classes.
    ///
    /// # Errors
    /// When they do not, with the first that differs.
    pub(crate) fn check_classes(&self, recipe: &Recipe) -> Result<()> {
        let (train, test) = (self.train.classes(), self.test.classes());
        if train != test {
            let first =
                (0..train.len().max(test.len())).find(|&i| train.get(i) != test.get(i)).unwrap_or_default();
            let name =
                |classes: &[String]| classes.get(first).map_or("none".into(), |name| format!("`{name}`"));
            return Err(TrainError::Recipe(format!(
                "{}: expected the same classes in both parts, found {} to learn and {} to test; \
                 class {first} is {} and {}",
                recipe.data,
                train.len(),
                test.len(),
                name(train),
                name(test)
            )));
        }
        Ok(())
    }
}
