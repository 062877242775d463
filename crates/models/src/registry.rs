//! The names of networks: `name` for the paper's form, `name.tag` where weights or variants differ.
//!
//! Names are data: two tables of forms, from which the list of [`entries`] is made. A CIFAR net may have any
//! depth of 6n+2 although only the paper's depths are listed.

use std::sync::LazyLock;

use residuum_graph::{Graph, GraphError};

use crate::error::ModelError;
use crate::glob::{glob_matches, nearest};
use crate::resnet::{Cifar, ImageNet, Shortcut, StemPool, StrideIn, Zeros};

/// What a network was drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Images of 32×32 (He et al. 2015, §4.2).
    Cifar,
    /// Images of 224×224 (He et al. 2015, §4.1): a 7×7 convolution of stride 2 and a max pool come first.
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

    /// Where the network is described.
    pub const fn paper(self) -> &'static str {
        match self {
            Self::Cifar => "He et al. 2015, arXiv 1512.03385, §4.2",
            Self::ImageNet => "He et al. 2015, arXiv 1512.03385, §4.1",
        }
    }
}

/// A registered name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// Other names that mean the same network.
    pub aliases: Vec<String>,
    /// What it was drawn for.
    pub family: Family,
    /// How it differs from its sisters, in a few words.
    pub description: &'static str,
    net: Net,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Net {
    Cifar(Cifar),
    ImageNet(ImageNet),
}

impl Entry {
    /// Writes the network; without a number of classes, for those of the paper's data set.
    ///
    /// # Errors
    /// When there are no classes.
    pub fn build(&self, classes: Option<usize>) -> Result<Model, ModelError> {
        let classes = classes.unwrap_or(self.family.default_classes());
        let fail = |error: GraphError| ModelError::Graph { name: self.name.clone(), error };
        let graph = match self.net {
            Net::Cifar(net) => net.graph(&self.name, classes),
            Net::ImageNet(net) => net.graph(&self.name, classes),
        };
        Ok(Model {
            name: self.name.clone(),
            graph: graph.map_err(fail)?,
            family: self.family,
            description: self.description,
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
}

/// All registered names, by family, form and depth.
pub fn entries() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let cifar = CIFAR_FORMS.iter().flat_map(|form| CIFAR_DEPTHS.map(|depth| form.entry((depth - 2) / 6)));
        cifar.chain(IMAGENET.iter().map(ImageNetForm::entry)).collect()
    });
    &ENTRIES
}

/// The registered names that a pattern with `*` and `?` covers, or one of whose aliases it covers.
pub fn matching(pattern: &str) -> impl Iterator<Item = &'static Entry> {
    entries().iter().filter(move |entry| entry.all_names().any(|name| glob_matches(pattern, name)))
}

/// The network of a name, an alias, or a CIFAR name of any depth.
///
/// # Errors
/// When the name is unknown, with the nearest that is known; when a CIFAR net's depth is not 6n+2.
pub fn find(name: &str) -> Result<Entry, ModelError> {
    if let Some(entry) = entries().iter().find(|entry| entry.all_names().any(|known| known == name)) {
        return Ok(entry.clone());
    }
    let by_rule = CIFAR_FORMS.iter().find_map(|form| form.depth(name).map(|depth| (form, depth)));
    let Some((form, depth)) = by_rule else {
        let known = entries().iter().flat_map(Entry::all_names);
        let nearest = nearest(name, known).map(str::to_owned);
        return Err(ModelError::Unknown { name: name.into(), nearest });
    };
    if depth % 6 == 2 && (8..=DEEPEST).contains(&depth) {
        return Ok(form.entry((depth - 2) / 6));
    }
    let n = (depth.saturating_add(1) / 6).clamp(1, (DEEPEST - 2) / 6);
    Err(ModelError::Depth { name: name.into(), depth, deepest: DEEPEST, nearest: form.name(6 * n + 2) })
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
    let is_built = n >= 1 && 6 * n + 2 <= DEEPEST;
    let cifar = CIFAR_FORMS.iter().filter(move |_| is_built).map(move |form| form.entry(n));
    cifar.chain(IMAGENET.iter().map(ImageNetForm::entry))
}

/// The depths of the paper's Table 6.
const CIFAR_DEPTHS: [usize; 6] = [20, 32, 44, 56, 110, 1202];

/// Deeper nets are taken for a slip of the finger.
const DEEPEST: usize = 12_002;

/// A way to write CIFAR nets of any depth.
struct CifarForm {
    /// What stands before and after the depth in the name.
    affixes: [&'static str; 2],
    /// The same of other names, which hold for the listed depths only.
    aliases: &'static [[&'static str; 2]],
    shortcut: Shortcut,
    classifier: &'static str,
    description: &'static str,
}

const CIFAR_FORMS: [CifarForm; 5] = [
    CifarForm {
        affixes: ["cifar_resnet", ""],
        aliases: &[["resnet", ""], ["resnet", ".A"], ["cifar_resnet", "a"]],
        shortcut: Shortcut::ZeroPad(Zeros::After),
        classifier: "fc",
        description: "shortcut option A",
    },
    CifarForm {
        affixes: ["cifar_resnet", "b"],
        aliases: &[["resnet", "b"], ["resnet", ".B"]],
        shortcut: Shortcut::Projection,
        classifier: "fc",
        description: "shortcut option B",
    },
    CifarForm {
        affixes: ["cifar_resnet", "c"],
        aliases: &[["resnet", "c"], ["resnet", ".C"]],
        shortcut: Shortcut::ProjectionEverywhere,
        classifier: "fc",
        description: "shortcut option C",
    },
    CifarForm {
        affixes: ["cifar_resnet", ".akamaster"],
        aliases: &[["resnet", ".akamaster"]],
        shortcut: Shortcut::ZeroPad(Zeros::Around),
        classifier: "linear",
        description: "shortcut option A, zeros on both sides, as in akamaster's weights",
    },
    CifarForm {
        affixes: ["cifar_plain", ""],
        aliases: &[["plain", ""]],
        shortcut: Shortcut::Plain,
        classifier: "fc",
        description: "plain twin, no shortcuts",
    },
];

impl CifarForm {
    fn name(&self, depth: usize) -> String {
        self.affixes.map(str::to_owned).join(&depth.to_string())
    }

    /// The number between the affixes; one too large to be stored counts as the largest.
    fn depth(&self, name: &str) -> Option<usize> {
        let digits = name.strip_prefix(self.affixes[0])?.strip_suffix(self.affixes[1])?;
        let is_number = digits.bytes().all(|c| c.is_ascii_digit()) && !digits.starts_with('0');
        (is_number && !digits.is_empty()).then(|| digits.parse().unwrap_or(usize::MAX))
    }

    fn entry(&self, n: usize) -> Entry {
        let net = Cifar { n, shortcut: self.shortcut, classifier: self.classifier };
        let depth = net.depth();
        let aliases = if CIFAR_DEPTHS.contains(&depth) { self.aliases } else { &[] };
        Entry {
            name: self.name(depth),
            aliases: aliases.iter().map(|[before, after]| format!("{before}{depth}{after}")).collect(),
            family: Family::Cifar,
            description: self.description,
            net: Net::Cifar(net),
        }
    }
}

/// One net for ImageNet.
struct ImageNetForm {
    name: &'static str,
    aliases: &'static [&'static str],
    net: ImageNet,
    description: &'static str,
}

const fn plain(depth: usize) -> ImageNet {
    with_shortcut(depth, Shortcut::Plain)
}

const fn option_a(depth: usize) -> ImageNet {
    with_shortcut(depth, Shortcut::ZeroPad(Zeros::After))
}

const fn option_b(depth: usize) -> ImageNet {
    with_shortcut(depth, Shortcut::Projection)
}

const fn option_c(depth: usize) -> ImageNet {
    with_shortcut(depth, Shortcut::ProjectionEverywhere)
}

const fn with_shortcut(depth: usize, shortcut: Shortcut) -> ImageNet {
    ImageNet { depth, shortcut, stride_in: StrideIn::First, pool: StemPool::Padded }
}

const fn torchvision(depth: usize) -> ImageNet {
    ImageNet { stride_in: StrideIn::Middle, ..option_b(depth) }
}

/// The published ResNet-50 has a bias in `conv1` too; a constant before batch norm, it belongs into the
/// running mean.
const fn caffe(depth: usize) -> ImageNet {
    ImageNet { pool: StemPool::Ceil, ..option_b(depth) }
}

const PLAIN: &str = "plain twin, no shortcuts";
const A: &str = "shortcut option A";
const B: &str = "shortcut option B";
const C: &str = "shortcut option C";
const BOTTLENECK: &str = "bottlenecks, stride in the first 1×1";
const BOTTLENECK_C: &str = "bottlenecks, stride in the first 1×1, shortcut option C";
const TORCHVISION: &str = "bottlenecks, stride in the 3×3, as in torchvision";
const CAFFE: &str = "bottlenecks, stride in the first 1×1, pool without padding, as in the Caffe models";

const IMAGENET: [ImageNetForm; 18] = [
    ImageNetForm { name: "plain18", aliases: &[], net: plain(18), description: PLAIN },
    ImageNetForm { name: "plain34", aliases: &[], net: plain(34), description: PLAIN },
    ImageNetForm { name: "resnet18a", aliases: &["resnet18.A"], net: option_a(18), description: A },
    ImageNetForm { name: "resnet34a", aliases: &["resnet34.A"], net: option_a(34), description: A },
    ImageNetForm {
        name: "resnet18",
        aliases: &["resnet18b", "resnet18.B", "resnet18.tv"],
        net: option_b(18),
        description: B,
    },
    ImageNetForm {
        name: "resnet34",
        aliases: &["resnet34b", "resnet34.B", "resnet34.tv"],
        net: option_b(34),
        description: B,
    },
    ImageNetForm { name: "resnet18c", aliases: &["resnet18.C"], net: option_c(18), description: C },
    ImageNetForm { name: "resnet34c", aliases: &["resnet34.C"], net: option_c(34), description: C },
    ImageNetForm {
        name: "resnet50",
        aliases: &["resnet50b", "resnet50.stride1x1"],
        net: option_b(50),
        description: BOTTLENECK,
    },
    ImageNetForm {
        name: "resnet101",
        aliases: &["resnet101b", "resnet101.stride1x1"],
        net: option_b(101),
        description: BOTTLENECK,
    },
    ImageNetForm {
        name: "resnet152",
        aliases: &["resnet152b", "resnet152.stride1x1"],
        net: option_b(152),
        description: BOTTLENECK,
    },
    ImageNetForm {
        name: "resnet50c",
        aliases: &["resnet50.C"],
        net: option_c(50),
        description: BOTTLENECK_C,
    },
    ImageNetForm { name: "resnet50.tv", aliases: &[], net: torchvision(50), description: TORCHVISION },
    ImageNetForm { name: "resnet101.tv", aliases: &[], net: torchvision(101), description: TORCHVISION },
    ImageNetForm { name: "resnet152.tv", aliases: &[], net: torchvision(152), description: TORCHVISION },
    ImageNetForm { name: "resnet50.caffe", aliases: &[], net: caffe(50), description: CAFFE },
    ImageNetForm { name: "resnet101.caffe", aliases: &[], net: caffe(101), description: CAFFE },
    ImageNetForm { name: "resnet152.caffe", aliases: &[], net: caffe(152), description: CAFFE },
];

impl ImageNetForm {
    fn entry(&self) -> Entry {
        Entry {
            name: self.name.into(),
            aliases: self.aliases.iter().map(|&alias| alias.to_owned()).collect(),
            family: Family::ImageNet,
            description: self.description,
            net: Net::ImageNet(self.net),
        }
    }
}
