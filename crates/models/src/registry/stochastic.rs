//! Names of the networks of Huang et al. 2016, "Deep networks with stochastic depth".

use residuum_graph::DropRule;

use super::Family;
use super::form::{Form, Numbers, Write};
use crate::stochastic::{Cifar, Decay, ImageNet, Survival};

const SMALL: &str = "Huang et al. 2016, arXiv 1603.09382, §4";
const ADMITS: &[Numbers] = &[Numbers::depths(6, 2)];

const UNIFORM: Survival = Survival { decay: Decay::Uniform, ..Survival::PAPER };

/// A net of 6n+2 layers: 110 for CIFAR, 152 for SVHN, 1202 for CIFAR.
const fn cifar(
    name: &'static str,
    listed: &'static [&'static [usize]],
    description: &'static str,
    write: Write,
) -> Form {
    Form {
        name,
        aliases: &[],
        short: &[],
        family: Family::Cifar,
        paper: SMALL,
        description,
        admits: ADMITS,
        listed,
        write,
    }
}

const fn of_depth(depth: &[usize], survival: Survival, rule: DropRule) -> Cifar {
    Cifar { n: (depth[0] - 2) / 6, survival, rule }
}

pub(super) const FORMS: &[Form] = &[
    Form {
        aliases: &["sd_resnet#_gated"],
        ..cifar(
            "sd_resnet#",
            &[&[110], &[152], &[1202]],
            "stochastic depth, linear decay to 0.5",
            |n, name, classes| of_depth(n, Survival::PAPER, DropRule::Paper).graph(name, classes),
        )
    },
    cifar("sd_resnet#.uniform", &[&[110]], "stochastic depth, 0.5 everywhere", |n, name, classes| {
        of_depth(n, UNIFORM, DropRule::Paper).graph(name, classes)
    }),
    cifar(
        "sd_resnet#.sample",
        &[&[110]],
        "stochastic depth, linear decay to 0.5, drawn for each image",
        |n, name, classes| of_depth(n, Survival::PAPER, DropRule::Sample).graph(name, classes),
    ),
    cifar(
        "sd_resnet#.batch",
        &[],
        "stochastic depth, linear decay to 0.5, survivors rescaled in training",
        |n, name, classes| of_depth(n, Survival::PAPER, DropRule::Batch).graph(name, classes),
    ),
    Form {
        family: Family::ImageNet,
        admits: &[],
        ..cifar(
            "sd_resnet#.imagenet",
            &[&[152]],
            "stochastic depth, linear decay to 0.5, bottlenecks, stride in the first 1×1",
            |n, name, classes| {
                let (survival, rule) = (Survival::PAPER, DropRule::Paper);
                ImageNet { depth: n[0], survival, rule }.graph(name, classes)
            },
        )
    },
];
