use super::*;

fn presets() -> Vec<Recipe> {
    let models = ["cifar_resnet20", "cifar_resnet110", "resnet50"];
    let all = Recipe::PRESETS.iter().flat_map(|(name, _)| models.map(|model| Recipe::preset(name, model)));
    all.collect::<Result<_>>().unwrap()
}

#[test]
fn every_preset_is_sound_and_reads_back() {
    for mut recipe in presets() {
        recipe.check().unwrap();
        recipe.preprocess.mean[1] = 0.1 + 0.2;
        recipe.optimiser.lr = 0.1 + 0.2;
        recipe.freeze = vec!["conv1.*".into()];
        recipe.from = Some("a \"quoted\" path".into());
        let text = recipe.to_toml().unwrap();
        assert_eq!(Recipe::from_toml(&text).unwrap(), recipe, "{text}");
        assert_eq!(Recipe::from_toml(&text).unwrap().digest().unwrap(), recipe.digest().unwrap());
    }
}

#[test]
fn the_papers_recipes() {
    let shallow = Recipe::preset("he2015-cifar", "cifar_resnet56").unwrap();
    let rates: Vec<f64> = [0, 399, 31_999, 32_000, 48_000].map(|i| shallow.learning_rate(i, 64_000)).into();
    assert_eq!(
        rates.iter().map(|rate| format!("{rate:.3}")).collect::<Vec<_>>(),
        ["0.100", "0.100", "0.100", "0.010", "0.001"]
    );
    assert_eq!((shallow.batch_size, shallow.iterations), (128, Some(64_000)));
    assert_eq!((shallow.optimiser.momentum, shallow.optimiser.weight_decay), (0.9, 1e-4));
    let deep = Recipe::preset("he2015-cifar", "cifar_resnet110").unwrap();
    assert!((deep.learning_rate(399, 64_000) - 0.01).abs() < 1e-15);
    assert!((deep.learning_rate(400, 64_000) - 0.1).abs() < 1e-15);
}

#[test]
fn what_is_unknown_or_wrong_is_named() {
    let good = Recipe::preset("shapes", "cifar_resnet20").unwrap().to_toml().unwrap();
    for (from, to, named) in [
        ("batch_size", "batchsize", "batchsize"),
        ("momentum", "momentun", "momentun"),
        ("kind = \"cosine\"", "kind = \"cosine\"\nsteps = 3", "steps"),
        ("kind = \"cosine\"", "kind = \"cosinus\"", "cosinus"),
        ("epochs = 4", "epochs = 0", "epochs"),
        ("epochs = 4", "epochs = \"x\"", "epochs"),
        ("label_smoothing = 0.0", "label_smoothing = nan", "label_smoothing"),
        ("pad = 4", "pad = 4\nflip = true", "flip"),
        ("crop = 32", "crop = 0", "crop"),
    ] {
        assert!(good.contains(from), "{from} in\n{good}");
        let error = Recipe::from_toml(&good.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[test]
fn other_epochs_keep_the_shape_of_the_schedule() {
    let mut recipe = Recipe::preset("he2015-cifar", "cifar_resnet20").unwrap();
    let note = recipe.set_epochs(33).unwrap();
    assert!(note.contains("6400"), "{note}");
    assert_eq!(recipe.schedule, Schedule::Steps { at: vec![6_400, 9_600], factor: 0.1 });
    assert_eq!(recipe.iterations, Some(12_800));
    let mut recipe = Recipe::preset("short", "cifar_resnet20").unwrap();
    assert_eq!(recipe.set_epochs(33), None);
}

#[test]
fn differences_name_the_key_and_both_values() {
    let ours = Recipe::preset("shapes", "cifar_resnet20").unwrap();
    let mut theirs = ours.clone();
    assert!(ours.differences(&theirs).is_empty());
    theirs.data = "elsewhere".into();
    theirs.optimiser.lr = 0.25;
    theirs.iterations = Some(7);
    let differences = ours.differences(&theirs);
    assert_eq!(differences.len(), 2, "{differences:?}");
    assert!(differences[0].contains("iterations") && differences[0].contains('7'), "{differences:?}");
    assert!(differences[1].contains("optimiser.lr") && differences[1].contains("0.25"), "{differences:?}");
}
