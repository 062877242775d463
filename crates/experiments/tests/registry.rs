//! Every experiment that is listed can be begun: its networks exist, its recipes hold, its runs follow.

use std::collections::HashSet;

use residuum_experiments::{Scale, Setting, Start, experiments, find};

#[test]
fn every_listed_experiment_names_networks_that_there_are() {
    let all = experiments();
    for name in ["he2015-degradation", "he2015-responses", "he2015-shortcuts", "he2015-identity"] {
        assert_eq!(find(name).unwrap().name(), name);
    }
    let names: HashSet<&str> = all.iter().map(|experiment| experiment.name).collect();
    assert_eq!(names.len(), all.len());
    for experiment in all {
        for (scale, train_images) in [(Scale::Quick, 10_000), (Scale::Paper, 50_000)] {
            let setting = Setting { scale, data: "shapes".into(), seed: 0, train_images };
            let runs = experiment.runs(&setting);
            let mut before = HashSet::new();
            for run in &runs {
                let place = format!("{} {scale}: {}", experiment.name, run.name);
                let model =
                    residuum_models::build(&run.model, None).unwrap_or_else(|e| panic!("{place}: {e}"));
                let recipe = run.recipe(&setting).unwrap_or_else(|e| panic!("{place}: {e}"));
                recipe.check().unwrap_or_else(|e| panic!("{place}: {e}"));
                assert_eq!(recipe.model, model.name, "{place}");
                assert!(run.start.from().is_none_or(|from| before.contains(from)), "{place}");
                assert!(run.start != Start::Fresh || recipe.from.is_none(), "{place}");
                assert!(before.insert(run.name.as_str()), "{place}");
            }
            assert!(runs.len() > 1, "{}", experiment.name);
        }
    }
}

#[test]
fn a_wrong_name_gets_the_right_ones() {
    let error = find("he2015").unwrap_err().to_string();
    assert!(error.contains("`he2015`") && error.contains("he2015-degradation"), "{error}");
    assert!(error.contains("chu2017"), "{error}");
}
