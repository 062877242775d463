//! Recipes that come along.

use residuum_data::Preprocess;
use residuum_models::Family;

use super::{
    Augmentation, Decayed, Optimiser, PaddingValue, Recipe, default_momentum, default_norm_momentum,
};
use crate::error::{Result, TrainError};
use crate::schedule::{Schedule, WarmUp};

/// Layers from which on the paper warms up (He et al. 2015, §4.2).
const WARM_UP_DEPTH: usize = 110;

impl Recipe {
    /// Every preset by name, with what it is for.
    pub const PRESETS: [(&str, &str); 4] = [
        ("shapes", "the embedded data set in about two minutes"),
        ("short", "few epochs on pictures of any kind: warm-up and half a cosine"),
        (
            "he2015-cifar",
            "He et al. 2015, §4.2: 64,000 iterations of 128 pictures, divided by 10 at 32,000 and 48,000",
        ),
        (
            "he2015-imagenet",
            "He et al. 2015, §3.4: 120 epochs of batches of 256, divided by 10 at 30 and 60 epochs",
        ),
    ];

    /// A preset for a network.
    ///
    /// # Errors
    /// When there is no preset or no network of that name.
    pub fn preset(name: &str, model: &str) -> Result<Self> {
        let family = residuum_models::find(model)?.family;
        let recipe = match name {
            "shapes" => shapes(family),
            "short" => short(family),
            "he2015-cifar" => he2015_cifar(depth(model)?),
            "he2015-imagenet" => he2015_imagenet(),
            _ => {
                let known = Self::PRESETS.map(|(name, _)| format!("`{name}`")).join(", ");
                return Err(TrainError::Recipe(format!(
                    "recipe `{name}`: there is neither such a file nor such a preset; presets are {known}"
                )));
            }
        };
        Ok(Self { model: model.into(), ..recipe })
    }

    /// The preset that is meant where none is named: the embedded set has its own; a run whose epochs are
    /// given, or that goes on from a trained model, is short; any other is the paper's.
    ///
    /// # Errors
    /// When there is no network of that name.
    pub fn default_preset(model: &str, data: &str, is_short: bool) -> Result<&'static str> {
        Ok(match residuum_models::find(model)?.family {
            _ if data == "shapes" => "shapes",
            _ if is_short => "short",
            Family::Cifar => "he2015-cifar",
            Family::ImageNet => "he2015-imagenet",
        })
    }
}

/// Weighted layers of a network.
fn depth(model: &str) -> Result<usize> {
    let model = residuum_models::build(model, None)?;
    let side = model.family.input_size();
    let counts = model.graph.count(side, side).map_err(|e| TrainError::Recipe(e.to_string()))?;
    Ok(counts.depth)
}

fn base(lr: f64, batch_size: usize, epochs: u64) -> Recipe {
    Recipe {
        model: super::default_model(),
        data: super::default_data(),
        epochs,
        iterations: None,
        batch_size,
        seed: 0,
        label_smoothing: 0.0,
        norm_momentum: default_norm_momentum(),
        from: None,
        replace_head: false,
        freeze: Vec::new(),
        optimiser: Optimiser {
            lr,
            momentum: default_momentum(),
            nesterov: false,
            weight_decay: 1e-4,
            decay: Decayed::All,
        },
        schedule: Schedule::Cosine {},
        warm_up: None,
        augmentation: Augmentation::Crop { pad: 4, padding: PaddingValue::Mean },
        preprocess: Preprocess::cifar10(),
    }
}

fn warm(iterations: u64) -> WarmUp {
    WarmUp { iterations, lr: 0.0, linear: true }
}

fn shapes(family: Family) -> Recipe {
    let mut recipe = short(family);
    (recipe.batch_size, recipe.optimiser.lr, recipe.epochs) = (64, 0.1, 4);
    recipe.optimiser.weight_decay = 5e-4;
    recipe.warm_up = Some(warm(100));
    (recipe.preprocess.mean, recipe.preprocess.std) = ([0.5; 3], [0.25; 3]);
    recipe
}

fn short(family: Family) -> Recipe {
    match family {
        Family::Cifar => {
            let mut recipe = base(0.1, 128, 5);
            recipe.optimiser.nesterov = true;
            recipe.optimiser.weight_decay = 5e-4;
            recipe.warm_up = Some(warm(200));
            recipe
        }
        Family::ImageNet => {
            let mut recipe = base(0.0125, 32, 5);
            recipe.optimiser.nesterov = true;
            recipe.warm_up = Some(warm(200));
            recipe.augmentation = Augmentation::Scale { min: 256, max: 480 };
            recipe.preprocess = Preprocess::imagenet();
            recipe
        }
    }
}

/// Means and deviations of the colours stand for the paper's mean image.
fn he2015_cifar(depth: usize) -> Recipe {
    let mut recipe = base(0.1, 128, 165);
    recipe.iterations = Some(64_000);
    recipe.schedule = Schedule::Steps { at: vec![32_000, 48_000], factor: 0.1 };
    if depth >= WARM_UP_DEPTH {
        recipe.warm_up = Some(WarmUp { iterations: 400, lr: 0.01, linear: false });
    }
    recipe
}

/// Without the paper's colour shift; the steps are those of the second paper (He et al. 2016, §5).
fn he2015_imagenet() -> Recipe {
    let mut recipe = base(0.1, 256, 120);
    recipe.iterations = Some(600_000);
    recipe.schedule = Schedule::Steps { at: vec![150_000, 300_000], factor: 0.1 };
    recipe.augmentation = Augmentation::Scale { min: 256, max: 480 };
    recipe.preprocess = Preprocess::imagenet();
    recipe
}
