#![allow(clippy::print_stdout, reason = "which names are not registered yet is worth reading")]
#![allow(clippy::float_cmp, reason = "numbers of a file are exact")]

use residuum_data::RandAugment;

use super::*;

fn presets() -> Vec<Recipe> {
    let models = ["cifar_resnet20", "cifar_resnet110", "resnet50"];
    let all = Recipe::published().iter();
    all.flat_map(|published| models.map(|model| Recipe::preset(published.name, model)))
        .collect::<Result<_>>()
        .unwrap()
}

/// Every recipe reads as a recipe, too; what it says about its data is what it does with them.
#[test]
fn every_file_is_a_recipe_with_its_paper() {
    for Published { name, text, paper, recipe } in Recipe::published() {
        assert_eq!(Recipe::from_toml(text).unwrap(), *recipe, "{name}");
        let is_ours = paper.source.starts_with("ours");
        assert_eq!(paper.figures.is_empty(), is_ours, "{name}: figures");
        assert_eq!(paper.split.is_none(), is_ours, "{name}: split");
        if let Some(split) = paper.split {
            assert_eq!(recipe.validation.unwrap_or(0) as u64, split.validation, "{name}");
            assert!(split.train > split.test, "{name}");
        }
        for figure in &paper.figures {
            assert!(figure.error > 0.0 && figure.error < 50.0, "{name}: {figure:?}");
            assert!(figure.top5.is_none_or(|top5| top5 < figure.error), "{name}: {figure:?}");
        }
        let mut wrong = text.replacen("[paper]\n", "[paper]\nauthor = \"x\"\n", 1);
        assert!(Recipe::from_toml(&wrong).unwrap_err().to_string().contains("author"), "{name}");
        wrong = text.replacen("epochs =", "epoch =", 1);
        assert!(Recipe::from_toml(&wrong).unwrap_err().to_string().contains("epoch"), "{name}");
    }
}

/// Patterns and rows whose networks the registry does not have are printed; the first paper's it must have.
#[test]
fn recipes_name_networks_of_the_registry() {
    for Published { name, paper, .. } in Recipe::published() {
        for pattern in &paper.networks {
            let covered = residuum_models::matching(pattern).count();
            if covered == 0 {
                println!("{name}: no network is called {pattern}");
            }
            assert!(covered > 0 || !name.starts_with("he2015"), "{name}: {pattern}");
        }
        for figure in &paper.figures {
            match residuum_models::find(&figure.network) {
                Ok(entry) => {
                    assert!(figure.data != "imagenet" || entry.family.input_size() == 224, "{figure:?}");
                }
                Err(error) => {
                    println!("{name}: {error}");
                    assert!(!name.starts_with("he2015"), "{error}");
                }
            }
        }
    }
    for (model, expected) in [
        ("cifar_resnet20", "he2015-cifar"),
        ("cifar_plain56", "he2015-cifar"),
        ("cifar_resnet110", "he2015-cifar-110"),
        ("cifar_resnet1202", "he2015-cifar-110"),
        ("resnet18", "he2015-imagenet"),
        ("resnet50.caffe", "he2015-imagenet"),
        ("resnet50.tv", "torchvision-v1"),
    ] {
        assert_eq!(Recipe::default_preset(model, "pictures", false).unwrap(), expected, "{model}");
        assert_eq!(Recipe::default_preset(model, "pictures", true).unwrap(), "short");
        assert_eq!(Recipe::default_preset(model, "shapes", true).unwrap(), "shapes");
    }
}

/// Steps of an epoch times epochs, and the rate around every change that the papers state (epochs there count
/// from 1 where a program does so).
#[test]
fn rates_change_where_the_papers_say() {
    /// Name, steps, and the rate at some of them.
    type Case<'a> = (&'a str, u64, &'a [(u64, f64)]);
    let cases: [Case<'_>; 17] = [
        (
            "he2015-cifar-110",
            64_000,
            &[(0, 0.01), (399, 0.01), (400, 0.1), (31_999, 0.1), (32_000, 0.01), (48_000, 1e-3)],
        ),
        ("he2016-cifar", 64_000, &[(399, 0.01), (400, 0.1), (32_000, 0.01), (48_000, 1e-3)]),
        ("he2016-cifar-1001", 200 * 781, &[(80 * 781 - 1, 0.1), (80 * 781, 0.01), (121 * 781, 1e-3)]),
        ("he2015-imagenet", 600_000, &[(149_999, 0.1), (150_000, 0.01), (300_000, 1e-3)]),
        (
            "wide-cifar",
            200 * 390,
            &[(59 * 390 - 1, 0.1), (59 * 390, 0.02), (119 * 390, 0.004), (159 * 390, 8e-4)],
        ),
        ("wide-svhn", 160 * 4721, &[(0, 0.01), (79 * 4721 - 1, 0.01), (79 * 4721, 1e-3), (119 * 4721, 1e-4)]),
        ("densenet-cifar", 300 * 781, &[(149 * 781 - 1, 0.1), (149 * 781, 0.01), (224 * 781, 1e-3)]),
        ("densenet-svhn", 40 * 9349, &[(19 * 9349 - 1, 0.1), (19 * 9349, 0.01), (29 * 9349, 1e-3)]),
        ("densenet-imagenet", 90 * 5004, &[(30 * 5004 - 1, 0.1), (30 * 5004, 0.01), (60 * 5004, 1e-3)]),
        ("stochastic-depth-cifar", 500 * 351, &[(249 * 351 - 1, 0.1), (249 * 351, 0.01), (374 * 351, 1e-3)]),
        (
            "stochastic-depth-1202",
            300 * 351,
            &[(3509, 0.01), (3510, 0.1), (149 * 351, 0.01), (224 * 351, 1e-3)],
        ),
        ("stochastic-depth-svhn", 50 * 4674, &[(29 * 4674 - 1, 0.1), (29 * 4674, 0.01), (34 * 4674, 1e-3)]),
        (
            "stochastic-depth-imagenet",
            120 * 10_009,
            &[(30 * 10_009, 0.01), (60 * 10_009, 1e-3), (90 * 10_009, 1e-4)],
        ),
        ("resnext-cifar", 300 * 390, &[(150 * 390 - 1, 0.1), (150 * 390, 0.01), (225 * 390, 1e-3)]),
        ("torchvision-v2", 600 * 1251, &[(0, 0.005), (6255, 0.5), (6255 + (600 * 1251 - 6255) / 2, 0.25)]),
        (
            "strikes-back-a1",
            600 * 625,
            &[(0, 1e-4), (3125, 0.005), (3125 + 595 * 625 / 2, 0.5 * (0.005 + 1e-6)), (600 * 625, 1e-6)],
        ),
        ("strikes-back-a3", 100 * 625, &[(0, 1e-4), (3125, 0.008), (100 * 625, 1e-6)]),
    ];
    for (name, total, rates) in cases {
        let recipe = &Recipe::find(name).unwrap().recipe;
        for &(iteration, expected) in rates {
            let found = recipe.learning_rate(iteration, total);
            assert!((found / expected - 1.0).abs() < 1e-5, "{name}, iteration {iteration}: {found}");
        }
    }
}

#[test]
fn the_modern_recipe_has_its_ingredients() {
    let Published { recipe, .. } = Recipe::find("torchvision-v2").unwrap();
    assert!(recipe.distortion.trivial_augment && recipe.distortion.erasing.unwrap().probability == 0.1);
    assert_eq!((recipe.mix.mixup, recipe.mix.cutmix, recipe.label_smoothing), (0.2, 1.0, 0.1));
    assert_eq!(
        (recipe.train_crop, recipe.preprocess.resize, recipe.preprocess.crop),
        (Some(176), Some(232), 224)
    );
    assert_eq!((recipe.optimiser.decay, recipe.repeats), (Decayed::AllButNorms, 4));
    let average = recipe.average.as_ref().unwrap();
    assert!((average.keep(recipe.batch_size, recipe.epochs) - 0.99891).abs() < 5e-6);
}

/// The table of "ResNet strikes back": epochs, sizes, rate, decay, smoothing, mixup, magnitude, repeats, drop path.
#[test]
fn the_recipes_that_strike_back_have_their_ingredients() {
    let rows = [
        ("strikes-back-a1", 600, None, 5e-3, 0.01, 0.1, 0.2, 7.0, 3, 0.05),
        ("strikes-back-a2", 300, None, 5e-3, 0.02, 0.0, 0.1, 7.0, 3, 0.05),
        ("strikes-back-a3", 100, Some(160), 8e-3, 0.02, 0.0, 0.1, 6.0, 1, 0.0),
    ];
    for (name, epochs, side, lr, weight_decay, smoothing, mixup, magnitude, repeats, drop_path) in rows {
        let Published { recipe, .. } = Recipe::find(name).unwrap();
        assert_eq!((recipe.epochs, recipe.batch_size, recipe.train_crop), (epochs, 2048, side), "{name}");
        let method = Method::named("lamb").unwrap();
        assert_eq!(recipe.optimiser, Optimiser { lr, weight_decay, decay: Decayed::Filters, method });
        assert_eq!(recipe.loss, Loss::BinaryCrossEntropy { threshold: None });
        assert_eq!(
            (recipe.label_smoothing, recipe.repeats, recipe.drop_path),
            (smoothing, repeats, drop_path)
        );
        assert_eq!((recipe.mix.mixup, recipe.mix.cutmix), (mixup, 1.0));
        let expected = RandAugment { operations: 2, magnitude, deviation: 0.5 };
        assert_eq!(recipe.distortion, Distortion { rand_augment: Some(expected), ..Distortion::default() });
        assert_eq!(recipe.augmentation, Augmentation::Area { min: 0.08 });
        assert_eq!(recipe.schedule, Schedule::Cosine { min: 1e-6 });
        assert_eq!(recipe.warm_up, Some(WarmUp { iterations: 5 * 625, lr: 1e-4, linear: true }));
        assert_eq!((recipe.preprocess.resize, recipe.preprocess.crop), (Some(236), 224));
    }
}

#[test]
fn an_optimiser_has_its_own_keys_and_no_others() {
    let read = |table: &str| {
        Recipe::from_toml(&format!(
            "epochs = 1\nbatch_size = 2\n[schedule]\nkind = \"constant\"\n[optimiser]\n{table}"
        ))
    };
    let sgd = read("lr = 0.1").unwrap().optimiser;
    assert_eq!(sgd.method, Method::Sgd { momentum: 0.9, nesterov: false });
    let lamb = read("kind = \"lamb\"\nlr = 0.1\nbetas = [0.8, 0.9]").unwrap();
    assert_eq!(lamb.optimiser.method, Method::Lamb { betas: [0.8, 0.9], epsilon: 1e-6, max_norm: 1.0 });
    assert_eq!(Recipe::from_toml(&lamb.to_toml().unwrap()).unwrap(), lamb);
    for (table, named) in [
        ("kind = \"adam\"\nlr = 0.1", "expected sgd or lamb, found `adam`"),
        ("kind = \"lamb\"\nlr = 0.1\nmomentum = 0.9", "optimiser.momentum"),
        ("kind = \"lamb\"\nlr = 0.1\nnesterov = false", "optimiser.nesterov"),
        ("lr = 0.1\nepsilon = 1e-6", "optimiser.epsilon"),
        ("lr = 0.1\nmomentum = 1.0", "optimiser.momentum"),
        ("lr = 0.1\nweight_decay = -1.0", "optimiser.weight_decay"),
        ("lr = 0.0", "optimiser.lr"),
        ("kind = \"lamb\"\nlr = 0.1\nbetas = [0.9, 1.0]", "optimiser.betas"),
        ("kind = \"lamb\"\nlr = 0.1\nepsilon = 1e-60", "optimiser.epsilon"),
        ("kind = \"lamb\"\nlr = 0.1\nmax_norm = inf", "optimiser.max_norm"),
    ] {
        let error = read(table).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[test]
fn every_preset_is_sound_and_reads_back() {
    for mut recipe in presets() {
        recipe.check().unwrap();
        recipe.preprocess.mean = [0.5, 0.1 + 0.2, 0.5].into();
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
    assert_eq!(shallow.optimiser.method, Method::Sgd { momentum: 0.9, nesterov: false });
    assert_eq!(shallow.optimiser.weight_decay, 1e-4);
    let deep = Recipe::preset("he2015-cifar-110", "cifar_resnet110").unwrap();
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
        ("[preprocess]", "[mix]\nmixup = 9.0\n[preprocess]", "mixup"),
        ("[preprocess]", "[mix]\nmixin = 0.1\n[preprocess]", "mixin"),
        ("[preprocess]", "[average]\ndecay = 1.0\n[preprocess]", "average.decay"),
        ("[preprocess]", "[distortion]\njitter = 2.0\n[preprocess]", "jitter"),
        (
            "[preprocess]",
            "[distortion.rand_augment]\nmagnitude = 11.0\n[preprocess]",
            "rand_augment.magnitude",
        ),
        ("epochs = 4", "epochs = 4\ndrop_path = 1.0", "drop_path"),
        ("kind = \"cosine\"", "kind = \"cosine\"\nmin = 1.0", "schedule.min"),
        ("[preprocess]", "[distortion.erasing]\nprobability = 2.0\n[preprocess]", "erasing"),
        ("epochs = 4", "epochs = 4\nvalidation = 0", "validation"),
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
    let mut theirs = ours.clone();
    theirs.optimiser.method = Method::named("lamb").unwrap();
    assert_eq!(ours.differences(&theirs), ["optimiser.kind: the run has \"sgd\", asked for \"lamb\""]);
}
