use residuum_formats::{RawTensor, safetensors};
use residuum_graph::Weights;
use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn net(name: &str, classes: usize) -> (Model, Weights) {
    let model = residuum_models::build(name, Some(classes)).unwrap();
    let weights = initialise(&model.graph, 3);
    (model, weights)
}

/// A file without our metadata.
fn write_foreign(path: &Path, weights: &Weights) {
    let named: NamedTensors =
        weights.iter().map(|(name, tensor)| (name.clone(), RawTensor::from_f32(tensor))).collect();
    safetensors::write(path, &named).unwrap();
}

fn write_ours(path: &Path, name: &str, classes: usize) -> ModelFile {
    let (model, weights) = net(name, classes);
    let names = (0..classes).map(|i| format!("class {i}")).collect();
    let file = ModelFile { weights, info: ModelInfo::new(model.name, names, Preprocess::cifar10()) };
    file.save(path).unwrap();
    file
}

fn error(path: &Path, options: &LoadOptions<'_>) -> String {
    load_model(path, options).unwrap_err().to_string()
}

#[test]
fn a_run_folder_means_its_best_file_else_its_last() {
    let folder = folder();
    assert!(error(folder.path(), &LoadOptions::default()).contains("best.safetensors"));
    let last = write_ours(&folder.path().join("last.safetensors"), "cifar_resnet8", 2);
    assert_eq!(load_model(folder.path(), &LoadOptions::default()).unwrap().weights, last.weights);
    let best = write_ours(&folder.path().join("best.safetensors"), "cifar_resnet14", 5);
    let loaded = load_model(folder.path(), &LoadOptions::default()).unwrap();
    assert_eq!((loaded.classes(), &loaded.info, &loaded.notes[..]), (5, &best.info, &[][..]));
}

#[test]
fn the_name_given_may_repeat_the_files_and_not_contradict_it() {
    let folder = folder();
    let path = folder.path().join("model.safetensors");
    write_ours(&path, "cifar_resnet20", 2);
    let named = |name| LoadOptions { model: Some(name), head: Head::Keep };
    assert!(load_model(&path, &named("resnet20")).is_ok());
    assert!(error(&path, &named("cifar_resnet20b")).contains("leave out --model"));
    assert!(error(&path, &named("resnet1")).contains("resnet1"));
}

#[test]
fn a_foreign_file_needs_a_name_and_brings_its_number_of_classes() {
    let folder = folder();
    let path = folder.path().join("foreign.safetensors");
    let (_, weights) = net("cifar_resnet14.akamaster", 7);
    write_foreign(&path, &weights);
    assert!(error(&path, &LoadOptions::default()).contains("--model cifar_resnet14.akamaster"));
    let loaded =
        load_model(&path, &LoadOptions { model: Some("cifar_resnet14.akamaster"), head: Head::Keep })
            .unwrap();
    assert_eq!((loaded.classes(), &loaded.weights), (7, &weights));
    assert_eq!(loaded.info.preprocess, Preprocess::cifar_imagenet_stats());
    assert_eq!(loaded.notes.len(), 2);
}

#[test]
fn the_published_models_read_colours_from_0_to_255() {
    let preset = |name| preset(&find(name).unwrap());
    assert_eq!(preset("resnet101.caffe"), Preprocess::caffe(224, Preprocess::CAFFE_MEAN));
    assert_eq!(preset("resnet50.tv"), Preprocess::imagenet());
}

#[test]
fn weights_of_another_network_are_refused_with_names_and_counts() {
    let folder = folder();
    let path = folder.path().join("foreign.safetensors");
    write_foreign(&path, &net("cifar_resnet56.akamaster", 10).1);
    let error = error(&path, &LoadOptions { model: Some("cifar_resnet20.akamaster"), head: Head::Keep });
    for part in ["foreign.safetensors", "unexpected", "more", "--model cifar_resnet56.akamaster"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_head_is_replaced_only_when_asked() {
    let folder = folder();
    let path = folder.path().join("model.safetensors");
    let file = write_ours(&path, "cifar_resnet8", 2);
    let head = Head::Replace { classes: 5, seed: 9 };
    let loaded = load_model(&path, &LoadOptions { model: None, head }).unwrap();
    assert_eq!((loaded.classes(), loaded.weights["fc.weight"].shape()), (5, &[5, 64][..]));
    assert_eq!(loaded.info.class_names, numbers(5));
    assert_eq!(loaded.weights["conv1.weight"], file.weights["conv1.weight"]);

    // Even a head of the same size is new, since its classes are others.
    let head = Head::Replace { classes: 2, seed: 9 };
    let loaded = load_model(&path, &LoadOptions { model: None, head }).unwrap();
    assert_ne!(loaded.weights["fc.weight"], file.weights["fc.weight"]);
}

#[test]
fn names_must_be_as_many_as_classes() {
    let folder = folder();
    let path = folder.path().join("model.safetensors");
    let mut file = write_ours(&path, "cifar_resnet8", 3);
    file.info.class_names.pop();
    file.save(&path).unwrap();
    assert!(error(&path, &LoadOptions::default()).contains("3 classes, found 2"));
}

#[test]
fn small_images_before_a_large_stem_are_warned_of() {
    let (model, weights) = net("resnet18", 2);
    let loaded = Loaded::new(model, weights, numbers(2), Preprocess::cifar10());
    assert_eq!(loaded.notes.len(), 1);
    assert!(loaded.notes[0].contains("32×32"), "{}", loaded.notes[0]);
}
