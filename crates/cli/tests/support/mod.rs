//! What the tests of the commands share: a folder to run in, refusals, pictures.
#![allow(dead_code, reason = "every test program takes a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of the test's own, in which the command runs.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_residuum"));
        command.current_dir(self.folder.path()).args(arguments).output().unwrap()
    }

    /// What the command, which must succeed, prints.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        succeeded(self.run(arguments), &format!("{arguments:?}"))
    }

    /// The object that the command, which must succeed, prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.text(arguments)).unwrap()
    }

    /// All files, those of folders inside too.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        walk(self.folder.path(), &mut found);
        found.sort();
        found
    }

    /// Runs the command, which must refuse with one line that holds all of `parts`, and write nothing.
    pub(crate) fn refuses(&self, arguments: &[&str], parts: &[&str]) {
        let before = self.files();
        refused(self.run(arguments), &format!("{arguments:?}"), parts);
        assert_eq!(self.files(), before, "{arguments:?}");
    }
}

/// Runs the command with arguments between blanks.
pub(crate) fn run(folder: &TempDir, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_residuum"));
    command.current_dir(folder.path()).args(arguments.split(' ')).output().unwrap()
}

/// What such a command, which must succeed, prints.
pub(crate) fn printed(folder: &TempDir, arguments: &str) -> String {
    succeeded(run(folder, arguments), arguments)
}

fn succeeded(output: Output, arguments: &str) -> String {
    assert_eq!(output.status.code(), Some(0), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Beside notes, the output is one line of error that holds all of `parts`.
pub(crate) fn refused(output: Output, arguments: &str, parts: &[&str]) {
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments}: {text}");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("note: ")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("error: "), "{arguments}: {text}");
    for part in parts {
        assert!(lines[0].contains(part), "{arguments}: `{part}` is not in: {text}");
    }
    assert!(output.stdout.is_empty(), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
}

/// An uncompressed picture.
pub(crate) fn bmp(width: u32, height: u32, seed: u32) -> Vec<u8> {
    let row = (3 * width).next_multiple_of(4);
    let mut bytes = b"BM".to_vec();
    for number in [54 + row * height, 0, 54, 40, width, height, 1 | 24 << 16, 0, row * height, 0, 0, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend((0..row * height).map(|i| (i * (7 + seed) + (i / row) * 13 * seed) as u8));
    bytes
}
