//! `residuum train` as a process: what it leaves behind however it ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const EXE: &str = env!("CARGO_BIN_EXE_residuum");

fn residuum(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(EXE);
    command
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    residuum(folder, arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A small data set on the disk: two classes, one bright and one dark, in CIFAR's binary form.
fn write_data(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let records = |count: u8| -> Vec<u8> {
        (0..count)
            .flat_map(|i| {
                let pixels =
                    (0..3072u32).map(move |p| (p.wrapping_mul(7 + u32::from(i)) % 64) as u8 + 128 * (i % 2));
                std::iter::once(i % 2).chain(pixels)
            })
            .collect()
    };
    for i in 1..=5 {
        std::fs::write(data.join(format!("data_batch_{i}.bin")), records(16)).unwrap();
    }
    std::fs::write(data.join("test_batch.bin"), records(8)).unwrap();
    data
}

const SMALL: [&str; 9] =
    ["train", "data", "--model", "cifar_resnet8", "--recipe", "short", "--batch-size", "8", "--epochs"];

fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SMALL[..], more].concat()
}

fn bytes(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join(file)).unwrap()
}

#[test]
fn a_run_ends_with_its_folder_and_refuses_to_be_mixed() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let output = run(folder.path(), &train(&["2", "--output", "run"]));
    assert!(output.status.success(), "{}", errors(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("residuum predict run") && text.contains("of 8 test images"), "{text}");
    for file in
        ["recipe.toml", "metrics.jsonl", "summary.csv", "curves.svg", "best.safetensors", "last.safetensors"]
    {
        assert!(!bytes(&folder.path().join("run"), file).is_empty(), "{file}");
    }
    let before = bytes(&folder.path().join("run"), "last.safetensors");
    let again = run(folder.path(), &train(&["1", "--output", "run"]));
    assert_eq!(again.status.code(), Some(2));
    assert!(errors(&again).contains("--resume"), "{}", errors(&again));
    assert!(before == bytes(&folder.path().join("run"), "last.safetensors"));

    let other = run(folder.path(), &["train", "--resume", "run", "--lr", "0.5"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(errors(&other).contains("optimiser.lr"), "{}", errors(&other));

    let recipe = run(folder.path(), &["train", "--recipe", "run/recipe.toml", "--output", "again", "--json"]);
    assert!(recipe.status.success(), "{}", errors(&recipe));
    let report: serde_json::Value = serde_json::from_slice(&recipe.stdout).unwrap();
    assert_eq!((&report["finished"], &report["steps"]), (&true.into(), &20.into()), "{report}");
    assert!(before == bytes(&folder.path().join("again"), "last.safetensors"));
}

#[test]
fn lamb_is_asked_for_by_flag_and_by_recipe() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let done = |arguments: &[&str]| {
        let output = run(folder.path(), arguments);
        assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
    };
    done(&train(&["1", "--optimiser", "lamb", "--lr", "0.01", "--output", "run"]));
    let recipe = String::from_utf8(bytes(&folder.path().join("run"), "recipe.toml")).unwrap();
    assert!(recipe.contains("kind = \"lamb\"") && recipe.contains("betas = [0.9, 0.999]"), "{recipe}");
    done(&["train", "--recipe", "run/recipe.toml", "--output", "again"]);
    let [first, second] = ["run", "again"].map(|run| bytes(&folder.path().join(run), "last.safetensors"));
    assert!(first == second);
    done(&["train", "--resume", "run", "--optimiser", "lamb"]);
    let other = run(folder.path(), &["train", "--resume", "run", "--optimiser", "sgd"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(
        errors(&other).contains("optimiser.kind: the run has \"lamb\", asked for \"sgd\""),
        "{}",
        errors(&other)
    );
}

#[test]
fn folded_and_deepened_networks_are_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let done = |arguments: &[&str]| {
        let output = run(folder.path(), arguments);
        assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
        output
    };
    done(&train(&["1", "--output", "run"]));
    done(&["fold", "run", "plain.safetensors"]);
    done(&["train", "data", "--from", "plain.safetensors", "-b", "8", "-e", "2", "--output", "on"]);
    done(&["train", "--resume", "on"]);
    done(&["eval", "on", "--data", "data"]);
    done(&["train", "--recipe", "on/recipe.toml", "--output", "again"]);
    let [first, second] = ["on", "again"].map(|run| bytes(&folder.path().join(run), "last.safetensors"));
    assert!(first == second);
    done(&["deepen", "plain.safetensors", "deep.safetensors", "--blocks", "1", "--statistics", "data"]);
    done(&["train", "data", "--from", "deep.safetensors", "-b", "8", "-e", "1", "--output", "deeper"]);
    let wrong = run(folder.path(), &["train", "data", "--from", "plain.safetensors", "--model", "resnet20"]);
    assert!(wrong.status.code() == Some(2) && errors(&wrong).contains("+folded"), "{}", errors(&wrong));
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    std::fs::write(folder.path().join("bad.toml"), "epochs = 1\nbatchsize = 3\n").unwrap();
    for (arguments, named) in [
        (vec!["train", "data", "--model", "resnt20"], "resnt20"),
        (vec!["train", "nowhere"], "nowhere"),
        (vec!["train", "data", "--recipe", "bad.toml"], "batchsize"),
        (vec!["train", "data", "--recipe", "he2051"], "he2015-cifar"),
        (vec!["train", "data", "--batch-size", "4096"], "batch_size"),
        (vec!["train", "data", "--batch-size", "8", "--freeze", "stem.*"], "stem.*"),
        (vec!["train", "data", "--optimiser", "lamb"], "--lr"),
        (vec!["train", "data", "--optimiser", "adam", "--lr", "0.1"], "lamb"),
        (vec!["train", "data", "--optimiser", "lamb", "--lr", "0.005", "--momentum", "0.9"], "--momentum"),
        (vec!["train", "--resume", "data"], "data"),
    ] {
        let output = run(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", errors(&output));
        assert!(errors(&output).contains(named), "{arguments:?}: {}", errors(&output));
    }
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bad.toml", "data"]);
}

#[test]
fn divergence_has_its_own_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let output = run(folder.path(), &train(&["2", "--lr", "1e30", "--output", "run"]));
    assert_eq!(output.status.code(), Some(4), "{}", errors(&output));
    assert!(errors(&output).contains("diverged") && errors(&output).contains("--lr"), "{}", errors(&output));
}

#[cfg(unix)]
fn signal(child: &std::process::Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until the run has made its folder and done a step.
fn wait_for_steps(run: &Path) {
    for _ in 0..600 {
        if std::fs::read_to_string(run.join("metrics.jsonl")).is_ok_and(|text| text.contains('\n')) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the run does not begin");
}

#[cfg(unix)]
#[test]
fn a_signal_saves_and_a_kill_loses_nothing_that_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let epochs = "6";
    let whole = run(folder.path(), &train(&[epochs, "--output", "whole"]));
    assert!(whole.status.success(), "{}", errors(&whole));

    let child = residuum(folder.path(), &train(&[epochs, "--output", "run"])).spawn().unwrap();
    wait_for_steps(&folder.path().join("run"));
    signal(&child, "INT");
    let stopped = child.wait_with_output().unwrap();
    if stopped.status.code() != Some(0) {
        assert_eq!(stopped.status.code(), Some(130), "{}", errors(&stopped));
        assert!(errors(&stopped).contains("residuum train --resume run"), "{}", errors(&stopped));
    }

    for wait in [0, 40, 90, 170, 260, 330] {
        let mut child = residuum(folder.path(), &["train", "--resume", "run"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let end = run(folder.path(), &["train", "--resume", "run"]);
    assert!(end.status.success(), "{}", errors(&end));
    for file in ["best.safetensors", "last.safetensors", "summary.csv", "curves.svg"] {
        let [a, b] = ["whole", "run"].map(|run| bytes(&folder.path().join(run), file));
        assert!(a == b, "{file} differs");
    }
}
