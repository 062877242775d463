//! Names of classes, and which class of a model a class of a data set is.

use std::collections::HashMap;

use crate::error::{ClassifyError, Result};

/// The names of `count` classes that have none: `0`, `1`, ….
pub fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|i| i.to_string()).collect()
}

/// True where each name is the class's own number, so that nothing is known but how many there are.
pub fn are_numbers(names: &[String]) -> bool {
    names.iter().enumerate().all(|(i, name)| *name == i.to_string())
}

/// For each class of a data set, the model's class of the same name. Where one side has numbers only, the
/// classes correspond by place, if there are equally many. A data set may have fewer classes than the model.
///
/// # Errors
/// When a name is unknown to the model, occurs twice in it, or the counts differ where only they are known.
pub fn correspondence(data: &[String], model: &[String]) -> Result<Vec<usize>> {
    if are_numbers(data) || are_numbers(model) {
        return if data.len() == model.len() {
            Ok((0..model.len()).collect())
        } else {
            Err(ClassifyError::Classes(format!(
                "the model has {}, the data {}, and one of them has no names to match them by",
                model.len(),
                data.len()
            )))
        };
    }
    let mut places = HashMap::new();
    for (i, name) in model.iter().enumerate() {
        if places.insert(name.as_str(), i).is_some() {
            return Err(ClassifyError::Classes(format!("the model has the name `{name}` twice")));
        }
    }
    let unknown: Vec<&str> =
        data.iter().map(String::as_str).filter(|name| !places.contains_key(name)).collect();
    if unknown.is_empty() {
        Ok(data.iter().map(|name| places[name.as_str()]).collect())
    } else {
        Err(ClassifyError::Classes(format!(
            "expected those of the model ({}), found {} others in the data ({})",
            some(model.iter().map(String::as_str)),
            unknown.len(),
            some(unknown.iter().copied())
        )))
    }
}

/// The first names of a list that may be long.
fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let rest = names.len().saturating_sub(SHOWN);
    let shown = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if rest == 0 { shown } else { format!("{shown} and {rest} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn classes_are_matched_by_name_whatever_their_order() {
        let model = names(&["cat", "dog", "eel"]);
        assert_eq!(correspondence(&names(&["eel", "cat", "dog"]), &model).unwrap(), [2, 0, 1]);
        assert_eq!(correspondence(&names(&["dog"]), &model).unwrap(), [1]);
    }

    #[test]
    fn numbers_are_matched_by_place_and_only_by_equal_count() {
        let model = names(&["cat", "dog"]);
        assert_eq!(correspondence(&numbers(2), &model).unwrap(), [0, 1]);
        assert_eq!(correspondence(&model, &numbers(2)).unwrap(), [0, 1]);
        assert!(correspondence(&numbers(3), &model).is_err());
        assert!(correspondence(&names(&["ape"]), &numbers(2)).is_err());
    }

    #[test]
    fn a_name_that_the_model_does_not_know_is_told() {
        let error = correspondence(&names(&["cat", "emu"]), &names(&["cat", "dog"])).unwrap_err().to_string();
        assert!(error.contains("emu") && error.contains("dog"), "{error}");
        assert!(correspondence(&names(&["cat"]), &names(&["cat", "cat"])).is_err());
    }
}
