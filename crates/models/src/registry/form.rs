//! A form of networks: a name with places for numbers, and how to write the network of given numbers.

use residuum_graph::{Graph, GraphError};

use super::{Entry, Family};

/// Writes the network of some numbers, with a name and a number of classes.
pub(super) type Write = fn(&[usize], &str, usize) -> Result<Graph, GraphError>;

/// Networks of one kind, told apart by numbers, the first of which is the depth.
#[derive(Debug)]
pub(super) struct Form {
    /// The name, a `#` for each number.
    pub(super) name: &'static str,
    /// Other names, which hold for every number.
    pub(super) aliases: &'static [&'static str],
    /// Names that hold for the listed numbers only, as another family has nets of those names too.
    pub(super) short: &'static [&'static str],
    pub(super) family: Family,
    /// Where the form is described.
    pub(super) paper: &'static str,
    /// How it differs from its sisters, in a few words.
    pub(super) description: &'static str,
    /// Numbers that are admitted, for each `#`; where there are none, only those listed.
    pub(super) admits: &'static [Numbers],
    /// The nets of the paper.
    pub(super) listed: &'static [&'static [usize]],
    pub(super) write: Write,
}

/// The numbers `step · n + rest` within bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    /// What the number is: `depth`, `width`.
    pub(super) what: &'static str,
    pub(super) step: usize,
    pub(super) rest: usize,
    pub(super) least: usize,
    pub(super) most: usize,
}

impl Numbers {
    /// Depths of nets of `step` layers for each block of a stage.
    pub(super) const fn depths(step: usize, rest: usize) -> Self {
        Self { what: "depth", step, rest, least: step + rest, most: step * DEEPEST_STAGE + rest }
    }

    pub(super) fn admits(&self, number: usize) -> bool {
        (self.least..=self.most).contains(&number) && number % self.step == self.rest % self.step
    }

    fn nearest(&self, number: usize) -> usize {
        let n = number.saturating_sub(self.rest).saturating_add(self.step / 2) / self.step;
        let at = |bound: usize| (bound - self.rest) / self.step;
        self.step * n.clamp(at(self.least), at(self.most)) + self.rest
    }
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, step, rest, least, most } = self;
        match step {
            1 => write!(f, "a {what} from {least} to {most}"),
            _ => write!(f, "a {what} of {step}n+{rest} from {least} to {most}"),
        }
    }
}

/// A number that a form does not admit.
pub(super) struct Refused {
    pub(super) expected: String,
    pub(super) found: usize,
    pub(super) nearest: String,
    /// How far the nearest is.
    pub(super) distance: usize,
}

/// More blocks a stage are taken for a slip of the finger.
const DEEPEST_STAGE: usize = 2000;

impl Form {
    /// The network of these numbers, with their names.
    pub(super) fn entry(&'static self, numbers: &[usize]) -> Entry {
        let short = if self.listed.contains(&numbers) { self.short } else { &[] };
        Entry {
            name: fill(self.name, numbers),
            aliases: self.aliases.iter().chain(short).map(|alias| fill(alias, numbers)).collect(),
            family: self.family,
            paper: self.paper,
            description: self.description,
            depth: numbers.first().copied().unwrap_or(0),
            numbers: numbers.to_vec(),
            write: self.write,
        }
    }

    /// The nets of the paper.
    pub(super) fn entries(&'static self) -> impl Iterator<Item = Entry> {
        self.listed.iter().map(|numbers| self.entry(numbers))
    }

    /// The numbers of a name that has the form's, or one of its aliases', spelling.
    pub(super) fn numbers(&self, name: &str) -> Option<Vec<usize>> {
        if self.admits.is_empty() {
            return None;
        }
        std::iter::once(&self.name).chain(self.aliases).find_map(|pattern| numbers(pattern, name))
    }

    /// What is wrong with the first number that is not admitted.
    pub(super) fn check(&self, numbers: &[usize]) -> Result<(), Refused> {
        let wrong = self.admits.iter().zip(numbers).find(|(admits, number)| !admits.admits(**number));
        let Some((admits, &found)) = wrong else { return Ok(()) };
        let near: Vec<usize> = self.admits.iter().zip(numbers).map(|(a, &n)| a.nearest(n)).collect();
        Err(Refused {
            expected: admits.to_string(),
            found,
            nearest: fill(self.name, &near),
            distance: admits.nearest(found).abs_diff(found),
        })
    }

    /// The nets whose stages may begin with one of `n` blocks.
    pub(super) fn of_blocks(&'static self, n: usize) -> Vec<Entry> {
        let Some(depths) = self.admits.first() else { return self.entries().collect() };
        let depth = depths.step.saturating_mul(n).saturating_add(depths.rest);
        if !depths.admits(depth) {
            return Vec::new();
        }
        let mut others: Vec<&[usize]> = self.listed.iter().map(|numbers| &numbers[1..]).collect();
        others.sort_unstable();
        others.dedup();
        if self.admits.len() == 1 {
            others = vec![&[]];
        }
        others.iter().map(|rest| self.entry(&[&[depth], *rest].concat())).collect()
    }
}

/// A pattern with its numbers.
fn fill(pattern: &str, numbers: &[usize]) -> String {
    let mut parts = pattern.split('#');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for (part, number) in parts.zip(numbers) {
        name += &number.to_string();
        name += part;
    }
    name
}

/// The numbers that stand in `name` where `pattern` has its `#`; one too large to be stored counts as the
/// largest.
fn numbers(pattern: &str, name: &str) -> Option<Vec<usize>> {
    let mut parts = pattern.split('#');
    let mut left = name.strip_prefix(parts.next()?)?;
    let mut numbers = Vec::new();
    for part in parts {
        let end = left.find(|c: char| !c.is_ascii_digit()).unwrap_or(left.len());
        let (digits, after) = left.split_at(end);
        if digits.is_empty() || digits.starts_with('0') && digits.len() > 1 {
            return None;
        }
        numbers.push(digits.parse().unwrap_or(usize::MAX));
        left = after.strip_prefix(part)?;
    }
    left.is_empty().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_where_they_were_written() {
        for (pattern, name, expected) in [
            ("wrn_#_#", "wrn_28_10", Some(vec![28, 10])),
            ("wrn_#_#", "wrn_28_10.b31", None),
            ("wrn_#_#.b31", "wrn_28_10.b31", Some(vec![28, 10])),
            ("cifar_resnet#", "cifar_resnet020", None),
            ("cifar_resnet#", "cifar_resnet", None),
            ("resnet", "resnet", Some(vec![])),
        ] {
            let found = numbers(pattern, name);
            assert_eq!(found, expected, "{pattern} {name}");
            assert!(found.is_none_or(|numbers| fill(pattern, &numbers) == name));
        }
    }
}
