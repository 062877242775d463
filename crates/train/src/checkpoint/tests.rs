use residuum_tensor::Tensor;

use super::*;

fn checkpoint(iteration: u64) -> Checkpoint {
    let recipe = Recipe::preset("shapes", "cifar_resnet20").unwrap();
    let tensor = |scale: f32| Tensor::from_fn([2, 3], |i| scale * (i as f32 + iteration as f32) / 7.0);
    let mut progress = Progress { iteration, ..Progress::default() };
    progress.sums.loss = 0.1 + 0.2 / iteration as f64;
    progress.wall_s = 1.0 / 3.0;
    Checkpoint {
        graph: None,
        identity: Identity {
            recipe_digest: recipe.digest().unwrap(),
            recipe,
            train_digest: "a".into(),
            test_digest: "b".into(),
            isa: "plain".into(),
        },
        progress,
        weights: Weights::from([("conv1.weight".to_owned(), tensor(1.0))]),
        velocity: Weights::from([("conv1.weight".to_owned(), tensor(-1.0))]),
        second_moments: (iteration == 5).then(|| Weights::from([("conv1.weight".to_owned(), tensor(0.25))])),
        mean: (iteration == 9)
            .then(|| MeanImage::new(2, vec![[0.1, 0.2, 1.0 / 3.0], [0.0; 3], [1.0; 3], [1e-9; 3]]).unwrap()),
        average: (iteration == 5).then(|| Weights::from([("conv1.weight".to_owned(), tensor(0.5))])),
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in disk::list(from).unwrap() {
        std::fs::copy(&entry.path, to.join(&entry.name)).unwrap();
    }
}

#[test]
fn what_is_saved_comes_back_to_the_bit() {
    let run = tempfile::tempdir().unwrap();
    for iteration in [3, 5, 9] {
        checkpoint(iteration).save(run.path()).unwrap();
        assert_eq!(Checkpoint::load(run.path()).unwrap(), (checkpoint(iteration), Place(FOLDER)));
        let names: Vec<String> = disk::list(run.path()).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, [FOLDER]);
    }
}

/// Source, name and completeness of each folder.
type Folders<'a> = &'a [(&'a Path, &'a str, bool)];

/// The states of the disk between any two steps of a save, and the iteration that must be found.
#[test]
fn every_crash_leaves_the_old_or_the_new_one() {
    let source = tempfile::tempdir().unwrap();
    let [a, b] = [5, 6].map(|iteration| {
        let folder = source.path().join(iteration.to_string());
        checkpoint(iteration).write(&folder).unwrap();
        folder
    });
    let states: [(Folders<'_>, u64); 6] = [
        (&[(&a, FOLDER, true), (&b, NEW, false)], 5),
        (&[(&a, FOLDER, true), (&b, NEW, true)], 6),
        (&[(&a, OLD, true), (&b, NEW, true)], 6),
        (&[(&a, OLD, true), (&b, FOLDER, true)], 6),
        (&[(&a, OLD, false), (&b, FOLDER, true)], 6),
        (&[(&b, FOLDER, false), (&a, OLD, true)], 5),
    ];
    for (folders, expected) in states {
        let run = tempfile::tempdir().unwrap();
        for &(from, name, is_complete) in folders {
            copy(from, &run.path().join(name));
            if !is_complete {
                std::fs::write(run.path().join(name).join(VELOCITY), "cut off").unwrap();
            }
        }
        let (found, place) = Checkpoint::load(run.path()).unwrap();
        assert_eq!(found, checkpoint(expected), "{folders:?}");
        place.settle(run.path()).unwrap();
        assert_eq!(Checkpoint::load(run.path()).unwrap(), (checkpoint(expected), Place(FOLDER)));
        assert_eq!(disk::list(run.path()).unwrap().len(), 1);
        checkpoint(8).save(run.path()).unwrap();
        assert_eq!(Checkpoint::load(run.path()).unwrap().0, checkpoint(8));
    }
}

#[test]
fn damage_is_named() {
    let run = tempfile::tempdir().unwrap();
    let error = |run: &Path| Checkpoint::load(run).unwrap_err().to_string();
    assert!(error(run.path()).contains("residuum train"), "{}", error(run.path()));
    for name in [WEIGHTS, VELOCITY, SECOND_MOMENTS, AVERAGE, MANIFEST] {
        checkpoint(5).save(run.path()).unwrap();
        let path = run.path().join(FOLDER).join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(error(run.path()).contains(name), "{}", error(run.path()));
        std::fs::remove_file(&path).unwrap();
        assert!(error(run.path()).contains(name), "{}", error(run.path()));
    }
}
