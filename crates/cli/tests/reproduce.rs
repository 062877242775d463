//! `residuum reproduce` as a process: what it lists, what it refuses, and how it ends when it is stopped.
#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn residuum(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_residuum"));
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

#[test]
fn it_lists_what_there_is_and_refuses_what_there_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["reproduce"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("he2015-degradation") && text.contains("fig. 6"), "{text}");
    let output = run(folder.path(), &["reproduce", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("\"schema\":\"residuum.experiments\"") && text.contains("he2015-responses"),
        "{text}"
    );

    std::fs::create_dir(folder.path().join("taken")).unwrap();
    std::fs::write(folder.path().join("taken/file"), "something").unwrap();
    for (arguments, named) in [
        (vec!["reproduce", "he2015"], "he2015-degradation"),
        (vec!["reproduce", "he2015-degradation", "--data", "nowhere"], "nowhere"),
        (vec!["reproduce", "he2015-degradation", "--scale", "huge"], "huge"),
        (vec!["reproduce", "he2015-degradation", "--output", "taken"], "--output"),
    ] {
        let output = run(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", errors(&output));
        assert!(errors(&output).contains(named), "{arguments:?}: {}", errors(&output));
    }
    assert!(!folder.path().join("reproductions").exists());
}

#[test]
fn a_signal_saves_and_the_same_command_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let command = ["reproduce", "he2015-shortcuts", "--output", "out"];
    let metrics = folder.path().join("out/runs/plain-20/metrics.jsonl");
    let mut lines = Vec::new();
    for _ in 0..2 {
        let child = residuum(folder.path(), &command).spawn().unwrap();
        let known = lines.last().copied().unwrap_or(0);
        let count = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
        let mut waited = 0;
        while count() <= known {
            waited += 1;
            assert!(waited < 1200, "the run does not go on");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", errors(&output));
        let advice = "go on with: residuum reproduce he2015-shortcuts --output out";
        assert!(errors(&output).contains(advice), "{}", errors(&output));
        lines.push(count());
        if known > 0 {
            assert!(errors(&output).contains("goes on from its checkpoint"), "{}", errors(&output));
        }
    }
    assert!(lines[1] > lines[0] && !folder.path().join("out/README.md").exists());
}
