//! At what scale and on what data an experiment runs, and how that changes a recipe.

use residuum_train::{Augmentation, Recipe, Schedule, WarmUp};
use serde::{Deserialize, Serialize};

/// How much of the paper's effort an experiment takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// A few minutes on two cores; what was scaled down is said.
    #[default]
    Quick,
    /// The original protocol.
    Paper,
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Quick => "quick",
            Self::Paper => "paper",
        })
    }
}

/// What the runs of an experiment have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// How much of the paper's effort.
    pub scale: Scale,
    /// Data set, as [`residuum_train::Recipe::data`].
    pub data: String,
    /// Seed of every run.
    pub seed: u64,
    /// Training pictures there are.
    pub train_images: usize,
}

/// Pictures of a step at the quick scale.
const QUICK_BATCH: usize = 32;
/// Side of a picture at the quick scale.
const QUICK_SIDE: usize = 16;
/// Full learning rate at the quick scale.
const QUICK_RATE: f64 = 0.05;

impl Setting {
    /// A preset for a network with this setting's data and seed; colours of the embedded set are spread
    /// evenly, so that it is prepared by that.
    pub(crate) fn preset(&self, preset: &str, model: &str) -> crate::Result<Recipe> {
        let mut recipe = Recipe::preset(preset, model)?;
        recipe.model = residuum_models::find(model)?.name;
        recipe.data.clone_from(&self.data);
        recipe.seed = self.seed;
        if self.data == "shapes" {
            (recipe.preprocess.mean, recipe.preprocess.std) = ([0.5; 3].into(), [0.25; 3]);
        }
        Ok(recipe)
    }

    /// Steps of a run by this recipe.
    pub(crate) fn steps(&self, recipe: &Recipe) -> u64 {
        recipe.epochs.saturating_mul(self.epoch_steps(recipe)).min(recipe.iterations.unwrap_or(u64::MAX))
    }

    /// Steps of an epoch by this recipe.
    fn epoch_steps(&self, recipe: &Recipe) -> u64 {
        (self.train_images.saturating_sub(recipe.validation.unwrap_or(0)) / recipe.batch_size) as u64
    }

    /// Shortens a recipe of the paper to `iterations` small steps on small pictures without random changes,
    /// the first tenth of them a warm-up, without which so short a run says more about the first steps than
    /// about the net. Falls of the learning rate keep their share of the run.
    pub(crate) fn shorten(&self, recipe: &mut Recipe, iterations: u64) {
        let before = self.steps(recipe).max(1);
        if let Schedule::Steps { at, .. } = &mut recipe.schedule {
            for step in at.iter_mut() {
                *step = (u128::from(*step) * u128::from(iterations) / u128::from(before)) as u64;
            }
        }
        // A tenth of CIFAR's training pictures are 5,000.
        recipe.validation = recipe.validation.map(|held| held.min(self.train_images / 10).max(1));
        let tenth = iterations / 10;
        recipe.warm_up = Some(WarmUp { iterations: tenth, lr: QUICK_RATE / 10.0, linear: true });
        recipe.batch_size = QUICK_BATCH.min(self.train_images.max(1));
        recipe.optimiser.lr = QUICK_RATE;
        recipe.augmentation = Augmentation::None {};
        (recipe.preprocess.resize, recipe.preprocess.crop) = (None, QUICK_SIDE);
        recipe.epochs = iterations.div_ceil(self.epoch_steps(recipe).max(1));
        recipe.iterations = Some(iterations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting { scale: Scale::Quick, data: "shapes".into(), seed: 3, train_images: 10_000 }
    }

    #[test]
    fn a_shortened_recipe_keeps_the_papers_proportions() {
        let setting = setting();
        let mut recipe = setting.preset("he2015-cifar", "cifar_resnet20").unwrap();
        // The embedded set is smaller than CIFAR: 165 epochs are fewer than 64,000 steps.
        assert_eq!(setting.steps(&recipe), 165 * 78);
        (recipe.epochs, recipe.iterations) = (1000, Some(64_000));
        setting.shorten(&mut recipe, 1000);
        assert_eq!(recipe.schedule, Schedule::Steps { at: vec![500, 750], factor: 0.1 });
        assert_eq!((setting.steps(&recipe), recipe.seed, recipe.epochs), (1000, 3, 4));
        recipe.check().unwrap();
        // The paper holds out a tenth of the training pictures.
        let mut recipe = setting.preset("stochastic-depth-cifar", "sd_resnet20").unwrap();
        setting.shorten(&mut recipe, 1000);
        assert_eq!((recipe.validation, setting.steps(&recipe), recipe.epochs), (Some(1000), 1000, 4));
        recipe.check().unwrap();
    }
}
