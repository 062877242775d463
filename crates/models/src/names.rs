//! A file's tensors against a network's parameters.
//!
//! Nothing is renamed silently: a `linear.weight` where `fc.weight` is expected most likely comes with
//! another placement of option A's zeros, and would answer wrongly. What does not fit is listed by name with
//! the shapes expected and found, and the networks that the tensors do fit are named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use residuum_graph::{Graph, Op, ParamId};

use crate::registry::candidates;

/// A tensor in which a file and a network differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// The shape that the network wants; `None` where it has no such parameter.
    pub expected: Option<Vec<usize>>,
    /// The shape in the file; `None` where it has no such tensor.
    pub found: Option<Vec<usize>>,
    /// True for a parameter of the network's last linear layer, whose size follows the classes.
    pub is_head: bool,
}

/// A file's tensors compared with a network's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matching {
    /// Name of the network.
    pub model: String,
    /// Parameters that are there in their shape.
    pub matched: Vec<String>,
    /// Parameters that the file lacks.
    pub missing: Vec<Difference>,
    /// Tensors that the network has no use for.
    pub unexpected: Vec<Difference>,
    /// Parameters that are there in another shape.
    pub mis_shaped: Vec<Difference>,
    /// Where something does not fit: the networks that the tensors do fit.
    pub fitting: Vec<String>,
}

/// Compares the names and shapes of a file's tensors with the parameters of a network. The counters
/// `….num_batches_tracked`, which PyTorch stores beside running statistics, are passed over.
pub fn match_names<'a>(graph: &Graph, found: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Matching {
    let found = tensors(found);
    let mut matching = compare(graph, &found);
    if !matching.is_complete() {
        matching.fitting = fitting_names(&found);
    }
    matching
}

/// Names of the registered networks whose parameters are exactly these tensors, whatever the number of
/// classes. Networks that differ in function only, such as `resnet50` and `resnet50.tv`, all appear.
pub fn fitting<'a>(found: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Vec<String> {
    fitting_names(&tensors(found))
}

/// The parameters of a network's last layer, which fine-tuning for other classes replaces: a linear layer, or
/// the 1×1 convolution that stands for one.
pub fn head_params(graph: &Graph) -> Vec<ParamId> {
    let last = graph.nodes().iter().rev().find_map(|node| match node.op {
        Op::Linear(linear) => Some((linear.weight, linear.bias)),
        Op::Conv2d(conv) => Some((conv.weight, conv.bias)),
        _ => None,
    });
    last.into_iter().flat_map(|(weight, bias)| std::iter::once(weight).chain(bias)).collect()
}

impl Matching {
    /// True when every parameter is there and nothing else is.
    pub fn is_complete(&self) -> bool {
        self.differences().next().is_none()
    }

    /// True when nothing but the last linear layer is missing or of another size.
    pub fn differs_in_head_only(&self) -> bool {
        !self.is_complete() && self.differences().all(|difference| difference.is_head)
    }

    /// Accepts a complete match and, if a new head is asked for, one that differs in the head only.
    ///
    /// # Errors
    /// Lists what differs, and says what to do.
    pub fn check(&self, replaces_head: bool) -> Result<(), MatchError> {
        if self.is_complete() || replaces_head && self.differs_in_head_only() {
            Ok(())
        } else {
            Err(MatchError { matching: Box::new(self.clone()) })
        }
    }

    fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.missing.iter().chain(&self.unexpected).chain(&self.mis_shaped)
    }
}

/// Tensors that are not those of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchError {
    /// What differs.
    pub matching: Box<Matching>,
}

impl std::error::Error for MatchError {}

impl fmt::Display for MatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Matching { model, missing, unexpected, mis_shaped, .. } = &*self.matching;
        let lists = [("missing", missing), ("unexpected", unexpected), ("of another shape", mis_shaped)];
        let lists: Vec<String> = lists
            .iter()
            .filter(|(_, differences)| !differences.is_empty())
            .map(|(what, differences)| format!("{what}: {}", list(differences)))
            .collect();
        write!(f, "the tensors are not those of `{model}`; {}; {}", lists.join("; "), self.advice())
    }
}

impl MatchError {
    fn advice(&self) -> String {
        let matching = &self.matching;
        if matching.differs_in_head_only() {
            let classes = matching.mis_shaped.iter().find_map(|d| d.found.as_ref()?.first());
            return classes.map_or("ask for a new last layer".into(), |classes| {
                format!("build the network for {classes} classes, or ask for a new last layer")
            });
        }
        let names: Vec<String> = matching.fitting.iter().map(|name| format!("`--model {name}`")).collect();
        if names.is_empty() {
            "no registered network has these tensors".into()
        } else {
            format!("they fit {}", shortened(names))
        }
    }
}

fn list(differences: &[Difference]) -> String {
    shortened(differences.iter().map(ToString::to_string).collect())
}

/// Some items in full, the rest by number.
fn shortened(mut items: Vec<String>) -> String {
    const SHOWN: usize = 4;
    let more = items.len().saturating_sub(SHOWN);
    items.truncate(SHOWN);
    if more > 0 {
        items.push(format!("and {more} more"));
    }
    items.join(", ")
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => {
                write!(f, "{} (expected {expected:?}, found {found:?})", self.name)
            }
            (Some(shape), None) | (None, Some(shape)) => write!(f, "{} {shape:?}", self.name),
            (None, None) => f.write_str(&self.name),
        }
    }
}

type Tensors<'a> = BTreeMap<&'a str, &'a [usize]>;

fn tensors<'a>(found: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Tensors<'a> {
    found.into_iter().filter(|(name, _)| !name.ends_with(".num_batches_tracked")).collect()
}

fn compare(graph: &Graph, found: &Tensors<'_>) -> Matching {
    let head: BTreeSet<&str> = head_params(graph).iter().map(|&id| graph.param(id).name.as_str()).collect();
    let mut matching = Matching {
        model: graph.name().to_owned(),
        matched: Vec::new(),
        missing: Vec::new(),
        unexpected: Vec::new(),
        mis_shaped: Vec::new(),
        fitting: Vec::new(),
    };
    for param in graph.params() {
        let difference = |found: Option<&[usize]>| Difference {
            name: param.name.clone(),
            expected: Some(param.shape.clone()),
            found: found.map(<[usize]>::to_vec),
            is_head: head.contains(param.name.as_str()),
        };
        match found.get(param.name.as_str()) {
            None => matching.missing.push(difference(None)),
            Some(&shape) if shape == param.shape => matching.matched.push(param.name.clone()),
            Some(&shape) => matching.mis_shaped.push(difference(Some(shape))),
        }
    }
    let known: BTreeSet<&str> = graph.params().iter().map(|param| param.name.as_str()).collect();
    for (name, shape) in found.iter().filter(|(name, _)| !known.contains(*name)) {
        let (name, found) = ((*name).to_owned(), Some(shape.to_vec()));
        matching.unexpected.push(Difference { name, expected: None, found, is_head: false });
    }
    matching
}

fn fitting_names(found: &Tensors<'_>) -> Vec<String> {
    let blocks = (0..found.len())
        .take_while(|i| found.contains_key(format!("layer1.{i}.conv1.weight").as_str()))
        .count();
    let fits = |matching: &Matching| matching.missing.is_empty() && matching.differs_in_head_only();
    candidates(blocks)
        .filter_map(|entry| entry.build(None).ok())
        .map(|model| compare(&model.graph, found))
        .filter(|matching| matching.is_complete() || fits(matching))
        .map(|matching| matching.model)
        .collect()
}
