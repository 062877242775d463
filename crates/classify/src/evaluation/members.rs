//! How the classes of several networks and of the data belong together.

use residuum_data::Dataset;

use crate::classes::{are_numbers, correspondence};
use crate::classifier::Classifier;
use crate::error::{ClassifyError, Result};

/// A network's place in an ensemble.
#[derive(Debug)]
pub(super) struct Seat {
    /// Names of its classes; the data's where it has none.
    pub(super) names: Vec<String>,
    /// For each class of the data, the network's.
    pub(super) corresponding: Vec<usize>,
    /// For each class of the first network, this one's.
    common: Vec<usize>,
}

impl Seat {
    /// Scores in the order of the first network's classes.
    pub(super) fn in_common_order(&self, scores: &[f64]) -> Vec<f64> {
        self.common.iter().map(|&class| scores[class]).collect()
    }
}

/// The networks' places.
///
/// # Errors
/// When a network's classes do not correspond to those of the data, or are not those of the first.
pub(super) fn seats(members: &[Classifier], data: &Dataset) -> Result<Vec<Seat>> {
    let mut seats: Vec<Seat> = Vec::new();
    for member in members {
        let own = &member.loaded().info.class_names;
        let corresponding = correspondence(data.classes(), own)?;
        let names = if are_numbers(own) { data.classes().to_vec() } else { own.clone() };
        let common = match seats.first() {
            None => (0..names.len()).collect(),
            Some(first) => common(&first.names, &names, are_numbers(data.classes())).map_err(|problem| {
                let (a, b) = (members[0].loaded().path.display(), member.loaded().path.display());
                ClassifyError::Classes(format!("{a} and {b}: {problem}; evaluate them one by one"))
            })?,
        };
        seats.push(Seat { names, corresponding, common });
    }
    Ok(seats)
}

/// For each name of the first, its place in the other.
fn common(first: &[String], other: &[String], by_place: bool) -> std::result::Result<Vec<usize>, String> {
    if first == other {
        return Ok((0..first.len()).collect());
    }
    if by_place {
        // The data's classes are numbers, which mean one thing to the one and another to the other.
        return Err("expected the same classes in the same order, as the data have numbers only".into());
    }
    if first.len() != other.len() {
        return Err(format!("expected the same classes, found {} and {}", first.len(), other.len()));
    }
    correspondence(first, other).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn members_agree_on_names_whatever_their_order() {
        let first = names(&["cat", "dog", "eel"]);
        assert_eq!(common(&first, &first, true).unwrap(), [0, 1, 2]);
        assert_eq!(common(&first, &names(&["eel", "cat", "dog"]), false).unwrap(), [1, 2, 0]);
        assert!(common(&first, &names(&["eel", "cat", "dog"]), true).is_err());
        assert!(common(&first, &names(&["cat", "dog"]), false).is_err());
        assert!(common(&first, &names(&["cat", "dog", "emu"]), false).unwrap_err().contains("eel"));
    }
}
