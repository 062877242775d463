//! Names of the networks of Huang et al. 2016, "Densely connected convolutional networks".
//!
//! `cifar_densenet_L_k` has L layers and the growth rate k; the letters of a variant come before them.

use super::Family;
use super::form::{Form, Numbers, Write};
use crate::densenet::{Cifar, ImageNet, Variant};

const CIFAR: &str = "Huang et al. 2016, arXiv 1608.06993, §4, Table 2";
const WIDE: &str = "Huang et al. 2016, arXiv 1608.06993, program's page: wide and shallow";
const IMAGENET: &str = "Huang et al. 2016, arXiv 1608.06993, §4, Table 1";

/// Dropout where training images are not augmented (§4.2).
const DROPOUT: f32 = 0.2;

const GROWTH: Numbers = Numbers { what: "growth rate", step: 1, rest: 0, least: 1, most: 256 };
const BY_ONE: &[Numbers] = &[Numbers::depths(3, 4), GROWTH];
const BY_TWO: &[Numbers] = &[Numbers::depths(6, 4), GROWTH];

const fn cifar(
    name: &'static str,
    listed: &'static [&'static [usize]],
    description: &'static str,
    write: Write,
) -> Form {
    let family = Family::Cifar;
    Form { name, aliases: &[], short: &[], family, paper: CIFAR, description, admits: BY_TWO, listed, write }
}

const fn imagenet(name: &'static str, listed: &'static [&'static [usize]], write: Write) -> Form {
    let description = "dense, bottlenecks and compression";
    Form { paper: IMAGENET, family: Family::ImageNet, admits: &[], ..cifar(name, listed, description, write) }
}

const fn net(n: &[usize], variant: Variant) -> Cifar {
    Cifar::new(n[0], n[1], variant)
}

const fn dropped(n: &[usize], variant: Variant) -> Cifar {
    Cifar { dropout: DROPOUT, ..net(n, variant) }
}

/// Table 1; 161 is that of the paper's earlier versions, 264 that of the last. By the layers of its blocks
/// 264 has one more than its name says.
const fn table_1(depth: usize) -> ImageNet {
    let (growth, layers) = match depth {
        121 => (32, [6, 12, 24, 16]),
        161 => (48, [6, 12, 36, 24]),
        169 => (32, [6, 12, 32, 32]),
        201 => (32, [6, 12, 48, 32]),
        _ => (32, [6, 12, 64, 48]),
    };
    ImageNet { growth, layers }
}

pub(super) const FORMS: &[Form] = &[
    Form {
        aliases: &["densenet_#_#"],
        admits: BY_ONE,
        ..cifar("cifar_densenet_#_#", &[&[40, 12], &[100, 12], &[100, 24]], "dense", |n, name, classes| {
            net(n, Variant::PLAIN).graph(name, classes)
        })
    },
    Form {
        aliases: &["densenet_b_#_#"],
        ..cifar("cifar_densenet_b_#_#", &[&[40, 12]], "dense, bottlenecks", |n, name, classes| {
            net(n, Variant::B).graph(name, classes)
        })
    },
    Form {
        aliases: &["densenet_c_#_#"],
        admits: BY_ONE,
        ..cifar("cifar_densenet_c_#_#", &[&[40, 12]], "dense, compression", |n, name, classes| {
            net(n, Variant::C).graph(name, classes)
        })
    },
    Form {
        aliases: &["densenet_bc_#_#"],
        ..cifar(
            "cifar_densenet_bc_#_#",
            &[&[40, 12], &[100, 12], &[250, 24], &[190, 40]],
            "dense, bottlenecks and compression",
            |n, name, classes| net(n, Variant::BC).graph(name, classes),
        )
    },
    Form {
        aliases: &["densenet_bc_#_#"],
        admits: &[],
        paper: WIDE,
        ..cifar(
            "cifar_densenet_bc_#_#",
            &[&[40, 36], &[40, 48], &[40, 60]],
            "dense, bottlenecks and compression, wide and shallow",
            |n, name, classes| net(n, Variant::BC).graph(name, classes),
        )
    },
    Form {
        admits: BY_ONE,
        ..cifar(
            "cifar_densenet_#_#.dropout",
            &[&[40, 12], &[100, 12], &[100, 24]],
            "dense, dropout of 0.2 for images without augmentation",
            |n, name, classes| dropped(n, Variant::PLAIN).graph(name, classes),
        )
    },
    cifar(
        "cifar_densenet_bc_#_#.dropout",
        &[&[100, 12], &[250, 24]],
        "dense, bottlenecks and compression, dropout of 0.2 for images without augmentation",
        |n, name, classes| dropped(n, Variant::BC).graph(name, classes),
    ),
    Form {
        aliases: &["densenet#.tv"],
        ..imagenet("densenet#", &[&[121], &[161], &[169], &[201]], |n, name, classes| {
            table_1(n[0]).graph(name, classes)
        })
    },
    imagenet("densenet#", &[&[264]], |n, name, classes| table_1(n[0]).graph(name, classes)),
];
