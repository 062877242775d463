//! What a run begins with: start values or a trained model, and which parameters stay as they are.

use residuum_classify::{Head, LoadOptions, Loaded, are_numbers, load_model, stored_model};
use residuum_data::{Mean, MeanImage};
use residuum_graph::{Graph, Weights};
use residuum_models::{Model, glob_matches, initialise, zero_last_norm};

use crate::data::Data;
use crate::error::{Result, TrainError};
use crate::recipe::Recipe;

/// The network and the weights of the first step.
pub(crate) struct Begin {
    pub(crate) model: Model,
    pub(crate) weights: Weights,
    /// The network itself where its name is not registered, as that of a folded one is not.
    pub(crate) graph: Option<Graph>,
    /// The mean image that the trained model was prepared with, where the recipe asks for one.
    pub(crate) mean: Option<MeanImage>,
}

/// Start values, or the trained model that the recipe names.
pub(crate) fn begin(recipe: &Recipe, data: &Data, notes: &mut Vec<String>) -> Result<Begin> {
    data.check_classes(recipe)?;
    let classes = data.train.classes();
    let Some(from) = &recipe.from else {
        let model = residuum_models::build(&recipe.model, Some(classes.len()))?;
        let mut weights = initialise(&model.graph, recipe.seed);
        if recipe.zero_last_norm {
            zero_last_norm(&model.graph, &mut weights);
        }
        return Ok(Begin { model, weights, graph: None, mean: None });
    };
    let head = if recipe.replace_head {
        Head::Replace { classes: classes.len(), seed: recipe.seed }
    } else {
        Head::Keep
    };
    let loaded = load_model(from, &LoadOptions { model: Some(&recipe.model), head })?;
    loaded.require_floats("training")?;
    if loaded.classes() != classes.len() {
        return Err(TrainError::Recipe(format!(
            "{}: expected {} classes as in {}, found {}; begin its last layer anew with --replace-head",
            loaded.path.display(),
            classes.len(),
            recipe.data,
            loaded.classes()
        )));
    }
    let names = &loaded.info.class_names;
    if !recipe.replace_head && names != classes && !are_numbers(names) {
        notes.push(format!("{from}: was trained for other classes; its last layer learns these anew"));
    }
    let mean = match (&recipe.preprocess.mean, &loaded.info.preprocess.mean) {
        (Mean::PerPixel, Mean::Image(image)) => Some(image.clone()),
        _ => None,
    };
    if loaded.info.preprocess != recipe.preprocess.settled(mean.as_ref()) {
        notes.push(format!("{from}: was trained on pictures prepared in another way than the recipe's"));
    }
    let Loaded { model, weights, info, .. } = loaded;
    let graph = info.graph.map(|_| model.graph.clone());
    Ok(Begin { model, weights, graph, mean })
}

/// The network of a run that goes on.
pub(crate) fn model(recipe: &Recipe, data: &Data, graph: Option<&Graph>) -> Result<Model> {
    data.check_classes(recipe)?;
    Ok(match graph {
        Some(graph) => stored_model(graph.clone(), &recipe.model, recipe.preprocess.crop),
        None => residuum_models::build(&recipe.model, Some(data.train.classes().len()))?,
    })
}

/// Names of the parameters that the recipe's patterns cover.
pub(crate) fn frozen(recipe: &Recipe, graph: &Graph) -> Result<Vec<String>> {
    let names: Vec<&str> =
        graph.params().iter().filter(|p| p.role.is_learned()).map(|p| p.name.as_str()).collect();
    for pattern in &recipe.freeze {
        if !names.iter().any(|name| glob_matches(pattern, name)) {
            const SHOWN: usize = 4;
            return Err(TrainError::Recipe(format!(
                "freeze: expected a pattern of parameters of `{}`, found `{pattern}`, which covers none; they are {}, …",
                recipe.model,
                names[..names.len().min(SHOWN)].join(", ")
            )));
        }
    }
    let is_frozen = |name: &&str| recipe.freeze.iter().any(|pattern| glob_matches(pattern, name));
    let frozen: Vec<String> = names.iter().copied().filter(is_frozen).map(str::to_owned).collect();
    if frozen.len() == names.len() {
        return Err(TrainError::Recipe(
            "freeze: expected something left to learn, found every parameter frozen".into(),
        ));
    }
    Ok(frozen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_freeze_what_they_cover() {
        let graph = residuum_models::build("cifar_resnet20", None).unwrap().graph;
        let frozen_by = |patterns: &[&str]| {
            let mut recipe = Recipe::preset("shapes", "cifar_resnet20").unwrap();
            recipe.freeze = patterns.iter().map(|&p| p.to_owned()).collect();
            frozen(&recipe, &graph)
        };
        assert!(frozen_by(&[]).unwrap().is_empty());
        assert_eq!(frozen_by(&["conv1.weight", "bn?.bias"]).unwrap(), ["conv1.weight", "bn1.bias"]);
        let stage = frozen_by(&["layer1.*"]).unwrap();
        assert!(stage.len() == 18 && stage.iter().all(|name| name.starts_with("layer1.")), "{stage:?}");
        assert!(frozen_by(&["layer9.*"]).unwrap_err().to_string().contains("layer9.*"));
        assert!(frozen_by(&["bn1.running_mean"]).is_err());
        assert!(frozen_by(&["*"]).unwrap_err().to_string().contains("left to learn"));
    }
}
