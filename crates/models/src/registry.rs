//! The names of networks: `name` for the paper's form, `name.tag` where weights or variants differ.
//!
//! Names are data: a table of forms for each paper, from which the list of [`entries`] is made. Where a form
//! is a rule, such as the 6n+2 layers of a CIFAR net, any number that it admits is found although only the
//! paper's nets are listed.

mod dense;
mod form;
mod he2015;
mod he2016;
mod kin;
mod stochastic;
mod wide;

use std::sync::LazyLock;

use residuum_graph::{Graph, GraphError};

use crate::error::ModelError;
use crate::glob::{glob_matches, nearest};
use form::{Form, Refused, Write};

/// What a network was drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Images of 32×32, as He et al. 2015, §4.2.
    Cifar,
    /// Images of 224×224, as He et al. 2015, §4.1: a 7×7 convolution of stride 2 and a max pool come first.
    ImageNet,
}

impl Family {
    /// Side of the images that the paper gives the network.
    pub const fn input_size(self) -> usize {
        match self {
            Self::Cifar => 32,
            Self::ImageNet => 224,
        }
    }

    /// Classes of the paper's data set.
    pub const fn default_classes(self) -> usize {
        match self {
            Self::Cifar => 10,
            Self::ImageNet => 1000,
        }
    }
}

/// A registered name.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// Other names that mean the same network.
    pub aliases: Vec<String>,
    /// What it was drawn for.
    pub family: Family,
    /// How it differs from its sisters, in a few words.
    pub description: &'static str,
    /// The paper and its section.
    pub paper: &'static str,
    /// Number of layers as the paper counts them.
    pub depth: usize,
    /// The numbers in its name, of which the depth is the first.
    numbers: Vec<usize>,
    write: Write,
}

impl Entry {
    /// Writes the network; without a number of classes, for those of the paper's data set.
    ///
    /// # Errors
    /// When there are no classes.
    pub fn build(&self, classes: Option<usize>) -> Result<Model, ModelError> {
        let classes = classes.unwrap_or(self.family.default_classes());
        let fail = |error: GraphError| ModelError::Graph { name: self.name.clone(), error };
        let graph = (self.write)(&self.numbers, &self.name, classes);
        Ok(Model {
            name: self.name.clone(),
            graph: graph.map_err(fail)?,
            family: self.family,
            description: self.description,
            paper: self.paper,
        })
    }

    /// The name and its aliases.
    pub fn all_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }
}

/// A network with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its registered name, whatever alias it was asked for by.
    pub name: String,
    /// The network.
    pub graph: Graph,
    /// What it was drawn for.
    pub family: Family,
    /// How it differs from its sisters, in a few words.
    pub description: &'static str,
    /// The paper and its section.
    pub paper: &'static str,
}

/// The papers' networks, by paper, form and depth.
pub fn entries() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| forms().flat_map(Form::entries).collect());
    &ENTRIES
}

/// The registered names that a pattern with `*` and `?` covers, or one of whose aliases it covers.
pub fn matching(pattern: &str) -> impl Iterator<Item = &'static Entry> {
    entries().iter().filter(move |entry| entry.all_names().any(|name| glob_matches(pattern, name)))
}

/// The network of a name, an alias, or a name that follows the rule of a form.
///
/// # Errors
/// When the name is unknown, with the nearest that is known; when a rule does not admit the name's number,
/// with the nearest that it does.
pub fn find(name: &str) -> Result<Entry, ModelError> {
    if let Some(entry) = entries().iter().find(|entry| entry.all_names().any(|known| known == name)) {
        return Ok(entry.clone());
    }
    let mut nearest_number: Option<Refused> = None;
    for form in forms() {
        let Some(numbers) = form.numbers(name) else { continue };
        match form.check(&numbers) {
            Ok(()) => return Ok(form.entry(&numbers)),
            Err(refused) if nearest_number.as_ref().is_none_or(|n| refused.distance < n.distance) => {
                nearest_number = Some(refused);
            }
            Err(_) => {}
        }
    }
    if let Some(Refused { expected, found, nearest, .. }) = nearest_number {
        return Err(ModelError::Number { name: name.into(), expected, found, nearest });
    }
    let known = entries().iter().flat_map(Entry::all_names);
    Err(ModelError::Unknown { name: name.into(), nearest: nearest(name, known).map(str::to_owned) })
}

/// Builds the network of a name ([`find`], [`Entry::build`]).
///
/// # Errors
/// When the name is unknown or there are no classes.
pub fn build(name: &str, classes: Option<usize>) -> Result<Model, ModelError> {
    find(name)?.build(classes)
}

/// What to say to someone who gives images of `side` × `side` to a network whose first layers are made for
/// 224×224; nothing where they fit.
pub fn small_image_warning(model: &Model, side: usize) -> Option<String> {
    let (input, last) = (model.family.input_size(), side.div_ceil(32));
    (model.family == Family::ImageNet && side < 64).then(|| {
        format!(
            "{}: images of {side}×{side} leave maps of {last}×{last} to its last stage, which is drawn for \
             {input}×{input}; enlarge the images, or take a CIFAR net such as `cifar_resnet20`",
            model.name
        )
    })
}

/// The networks that tensors may belong to whose `layer1` has `n` blocks.
pub(crate) fn candidates(n: usize) -> impl Iterator<Item = Entry> {
    forms().flat_map(move |form| if n == 0 { form.entries().collect() } else { form.of_blocks(n) })
}

/// The tables of all papers.
fn forms() -> impl Iterator<Item = &'static Form> {
    static TABLES: &[&[Form]] = &[he2015::FORMS, he2016::FORMS, wide::FORMS, dense::FORMS, stochastic::FORMS];
    TABLES.iter().chain(&kin::TABLES).copied().flatten()
}
