//! `residuum recipes` as a process.

use std::process::{Command, Output};

fn recipes(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_residuum")).arg("recipes").args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn all_are_listed_and_each_is_shown_in_both_forms() {
    let list = text(&recipes(&[]));
    let json: serde_json::Value = serde_json::from_str(&text(&recipes(&["--json"]))).unwrap();
    let all = json["recipes"].as_array().unwrap();
    assert_eq!(list.lines().count(), all.len() + 1);
    assert!(all.len() > 20);
    for recipe in all {
        let name = recipe["name"].as_str().unwrap();
        assert!(list.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
    }
    let wide = text(&recipes(&["wide-cifar"]));
    for part in ["at = [59, 119, 159]", "\"reflect\"", "nesterov = true", "\"wrn_28_10\"", "error = 4.0"] {
        assert!(wide.contains(part), "{part} in {wide}");
    }
    let json: serde_json::Value = serde_json::from_str(&text(&recipes(&["wide-cifar", "--json"]))).unwrap();
    assert_eq!(json["recipe"]["optimiser"]["weight_decay"], 5e-4);
    assert!(json["paper"]["figures"].as_array().unwrap().iter().any(|row| row["error"] == 4.0));
}

#[test]
fn an_unknown_name_is_answered_with_what_to_do() {
    let output = recipes(&["wide"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("`wide`") && error.contains("residuum recipes"), "{error}");
}
