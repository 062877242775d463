//! Names of the residual networks of later papers, as torchvision and timm have them.

use residuum_graph::{Graph, GraphError};

use super::Family;
use super::form::{Form, Numbers, Write};
use crate::bag_of_tricks::{Stem, deep};
use crate::blur_pool::{SIZE, blurred};
use crate::kin::{Branch, Cifar, ImageNet, Projection};
use crate::resnetv2::ImageNet as PreActivated;
use crate::resnext::{self, Grouping};
use crate::squeeze_excite;

const RESNEXT: &str = "Xie et al. 2016, arXiv 1611.05431";
const SQUEEZE: &str = "Hu et al. 2017, arXiv 1709.01507";
const TRICKS: &str = "He et al. 2018, arXiv 1812.01187, §4";
const TIMM: &str = "timm, after He et al. 2018, arXiv 1812.01187";
const BLUR: &str = "Zhang 2019, arXiv 1904.11486";
const V2: &str = "timm, after He et al. 2016, arXiv 1603.05027";

const fn count(what: &'static str) -> Numbers {
    Numbers { what, step: 1, rest: 0, least: 1, most: 256 }
}

const fn imagenet(
    name: &'static str,
    paper: &'static str,
    listed: &'static [&'static [usize]],
    description: &'static str,
    write: Write,
) -> Form {
    let family = Family::ImageNet;
    Form { name, aliases: &[], short: &[], family, paper, description, admits: &[], listed, write }
}

const fn cifar(
    name: &'static str,
    paper: &'static str,
    admits: &'static [Numbers],
    listed: &'static [&'static [usize]],
    description: &'static str,
    write: Write,
) -> Form {
    let family = Family::Cifar;
    Form { name, aliases: &[], short: &[], family, paper, description, admits, listed, write }
}

const BOTTLENECK: Branch = Branch::Bottleneck(Grouping::NONE);

/// Blocks of the four stages by the number of layers, and what a block is made of.
const fn layout(depth: usize) -> ([usize; 4], Branch) {
    match depth {
        10 => ([1, 1, 1, 1], Branch::Basic),
        14 => ([1, 1, 1, 1], BOTTLENECK),
        18 => ([2, 2, 2, 2], Branch::Basic),
        26 => ([2, 2, 2, 2], BOTTLENECK),
        34 => ([3, 4, 6, 3], Branch::Basic),
        50 => ([3, 4, 6, 3], BOTTLENECK),
        101 => ([3, 4, 23, 3], BOTTLENECK),
        152 => ([3, 8, 36, 3], BOTTLENECK),
        _ => ([3, 24, 36, 3], BOTTLENECK),
    }
}

fn grouped(n: &[usize], name: &str, classes: usize) -> Result<Graph, GraphError> {
    resnext::imagenet(layout(n[0]).0, n[1], n[2]).graph(name, classes)
}

const fn tricks(n: &[usize], stem: Stem, projection: Projection) -> ImageNet {
    let (blocks, branch) = layout(n[0]);
    deep(blocks, branch, stem, projection)
}

const fn v2(n: &[usize], stem: Stem, projection: Projection) -> PreActivated {
    let (blocks, branch) = layout(n[0]);
    PreActivated { blocks, is_bottleneck: !matches!(branch, Branch::Basic), stem, projection }
}

/// `ResNeXt`.
const GROUPS: &[Form] = &[
    Form {
        short: &["resnext#_#x#d"],
        ..cifar(
            "cifar_resnext#_#x#d",
            RESNEXT,
            &[Numbers::depths(9, 2), count("cardinality"), count("base width")],
            &[&[29, 8, 64], &[29, 16, 64], &[29, 8, 16], &[29, 4, 24], &[29, 32, 4], &[29, 1, 64]],
            "bottlenecks with grouped 3×3",
            |n, name, classes| {
                let net = resnext::cifar29(n[1], n[2]);
                Cifar { n: (n[0] - 2) / 9, ..net }.graph(name, classes)
            },
        )
    },
    Form {
        aliases: &["resnext#_#x#d.tv"],
        ..imagenet(
            "resnext#_#x#d",
            RESNEXT,
            &[&[50, 32, 4], &[101, 32, 8], &[101, 64, 4]],
            "bottlenecks with grouped 3×3",
            grouped,
        )
    },
    imagenet("resnext#_#x#d", RESNEXT, &[&[101, 32, 4]], "bottlenecks with grouped 3×3", grouped),
];

/// Squeeze and excitation.
const GATES: &[Form] = &[
    Form {
        aliases: &["se_resnet#"],
        short: &["seresnet#"],
        ..cifar(
            "cifar_seresnet#",
            SQUEEZE,
            &[Numbers::depths(6, 2)],
            &[&[20], &[56], &[110]],
            "squeeze and excitation",
            |n, name, classes| squeeze_excite::cifar((n[0] - 2) / 6).graph(name, classes),
        )
    },
    Form {
        aliases: &["timm_seresnet#"],
        ..imagenet(
            "seresnet#",
            SQUEEZE,
            &[&[18], &[50], &[101], &[152]],
            "squeeze and excitation",
            |n, name, classes| {
                let (blocks, branch) = layout(n[0]);
                squeeze_excite::imagenet(blocks, branch).graph(name, classes)
            },
        )
    },
    imagenet(
        "seresnext#_#x#d",
        SQUEEZE,
        &[&[50, 32, 4], &[101, 32, 4]],
        "squeeze and excitation, bottlenecks with grouped 3×3",
        |n, name, classes| {
            let branch = Branch::Bottleneck(Grouping { groups: n[1], base: n[2] });
            squeeze_excite::imagenet(layout(n[0]).0, branch).graph(name, classes)
        },
    ),
];

/// Stems of three convolutions and averaging shortcuts. Option C of 2015 has the names `resnet50c` …
/// already, so the stem's C bears a tag.
const STEMS: &[Form] = &[
    imagenet("resnet#c.timm", TRICKS, &[&[50], &[101], &[152]], "stem of three 3×3", |n, name, classes| {
        tricks(n, Stem::C, Projection::Strided).graph(name, classes)
    }),
    Form {
        aliases: &["timm_resnet#d"],
        ..imagenet(
            "resnet#d",
            TRICKS,
            &[&[18], &[26], &[34], &[50], &[101], &[152], &[200]],
            "stem of three 3×3, averaging shortcuts",
            |n, name, classes| tricks(n, Stem::C, Projection::Averaged).graph(name, classes),
        )
    },
    Form {
        aliases: &["timm_resnet#s"],
        ..imagenet("resnet#s", TIMM, &[&[50]], "wide stem of three 3×3", |n, name, classes| {
            tricks(n, Stem::S, Projection::Strided).graph(name, classes)
        })
    },
    Form {
        aliases: &["timm_resnet#t"],
        ..imagenet(
            "resnet#t",
            TIMM,
            &[&[10], &[14], &[26], &[50]],
            "tiered stem of three 3×3, averaging shortcuts",
            |n, name, classes| tricks(n, Stem::T, Projection::Averaged).graph(name, classes),
        )
    },
];

/// Blurring, and pre-activation as in timm.
const OTHERS: &[Form] = &[
    Form {
        aliases: &["timm_resnetblur#"],
        ..imagenet("resnetblur#", BLUR, &[&[18], &[50]], "blurs before subsampling", |n, name, classes| {
            let (blocks, branch) = layout(n[0]);
            blurred(blocks, branch, SIZE).graph(name, classes)
        })
    },
    Form {
        aliases: &["timm_resnetv2_#"],
        ..imagenet(
            "resnetv2_#",
            V2,
            &[&[18], &[34], &[50], &[101], &[152]],
            "full pre-activation, timm's names",
            |n, name, classes| v2(n, Stem::Single, Projection::Strided).graph(name, classes),
        )
    },
    Form {
        aliases: &["timm_resnetv2_#d"],
        ..imagenet(
            "resnetv2_#d",
            V2,
            &[&[50]],
            "full pre-activation, stem of three 3×3, averaging shortcuts, timm's names",
            |n, name, classes| v2(n, Stem::C, Projection::Averaged).graph(name, classes),
        )
    },
];

pub(super) const TABLES: [&[Form]; 4] = [GROUPS, GATES, STEMS, OTHERS];
