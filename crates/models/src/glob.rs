//! Patterns over names, and the name nearest to a misspelt one.

/// True when `pattern` covers all of `name`: `*` stands for any characters, `?` for one.
pub fn glob_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // `reached[i]`: the pattern read so far covers the first `i` characters of the name.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for symbol in pattern {
        if symbol == '*' {
            let first = reached.iter().position(|&is| is).unwrap_or(reached.len());
            reached[first..].fill(true);
        } else {
            for i in (0..name.len()).rev() {
                reached[i + 1] = reached[i] && (symbol == '?' || symbol == name[i]);
            }
            reached[0] = false;
        }
    }
    reached[name.len()]
}

/// The candidate with the fewest edits from `name`, if they are few for its length.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let few = (name.chars().count() / 3).clamp(1, 4);
    let scored = candidates.map(|candidate| (edits(name, candidate), candidate));
    scored.filter(|(edits, _)| *edits <= few).min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// Levenshtein's distance: characters inserted, removed or replaced. Case is not counted.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_whole_names() {
        for (pattern, name, covers) in [
            ("resnet50", "resnet50", true),
            ("resnet5", "resnet50", false),
            ("*", "", true),
            ("", "a", false),
            ("resnet*", "cifar_resnet20", false),
            ("*resnet*", "cifar_resnet20", true),
            ("resnet??.tv", "resnet50.tv", true),
            ("resnet??.tv", "resnet101.tv", false),
            ("*.*", "resnet50.caffe", true),
            ("*a*a", "banana", true),
            ("*a*b", "banana", false),
        ] {
            assert_eq!(glob_matches(pattern, name), covers, "{pattern} {name}");
        }
    }

    #[test]
    fn edits_are_counted_and_far_names_are_not_offered() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("ResNet", "resnet"), 0);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(nearest("resnt50", ["resnet18", "resnet50"].into_iter()), Some("resnet50"));
        assert_eq!(nearest("vgg", ["resnet18", "resnet50"].into_iter()), None);
    }
}
