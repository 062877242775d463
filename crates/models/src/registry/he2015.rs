//! Names of the networks of He et al. 2015, "Deep residual learning for image recognition".

use super::Family;
use super::form::{Form, Numbers, Write};
use crate::resnet::{Cifar, ImageNet, Shortcut, StemPool, StrideIn, Zeros};

/// Blocks of two layers.
const DEPTHS: &[Numbers] = &[Numbers::depths(6, 2)];

/// A net of 6n+2 layers for CIFAR; the depths are those of Table 6.
const fn cifar(name: &'static str, description: &'static str, write: Write) -> Form {
    Form {
        name,
        aliases: &[],
        short: &[],
        family: Family::Cifar,
        paper: "He et al. 2015, arXiv 1512.03385, §4.2",
        description,
        admits: DEPTHS,
        listed: &[&[20], &[32], &[44], &[56], &[110], &[1202]],
        write,
    }
}

/// A net for ImageNet of the listed depths.
const fn imagenet(
    name: &'static str,
    listed: &'static [&'static [usize]],
    description: &'static str,
    write: Write,
) -> Form {
    Form {
        name,
        aliases: &[],
        short: &[],
        family: Family::ImageNet,
        paper: "He et al. 2015, arXiv 1512.03385, §4.1",
        description,
        admits: &[],
        listed,
        write,
    }
}

const fn of_depth(depth: &[usize], shortcut: Shortcut, classifier: &'static str) -> Cifar {
    Cifar { n: (depth[0] - 2) / 6, shortcut, classifier }
}

const fn with_shortcut(depth: &[usize], shortcut: Shortcut) -> ImageNet {
    ImageNet { depth: depth[0], shortcut, stride_in: StrideIn::First, pool: StemPool::Padded }
}

const A: Shortcut = Shortcut::ZeroPad(Zeros::After);

pub(super) const FORMS: &[Form] = &[
    Form {
        aliases: &["cifar_resnet#a"],
        short: &["resnet#", "resnet#.A"],
        ..cifar("cifar_resnet#", "shortcut option A", |n, name, classes| {
            of_depth(n, A, "fc").graph(name, classes)
        })
    },
    Form {
        short: &["resnet#b", "resnet#.B"],
        ..cifar("cifar_resnet#b", "shortcut option B", |n, name, classes| {
            of_depth(n, Shortcut::Projection, "fc").graph(name, classes)
        })
    },
    Form {
        // The 1×1 shortcut of He et al. 2016, Table 1, is this option.
        aliases: &["cifar_resnet#.conv1x1"],
        short: &["resnet#c", "resnet#.C"],
        ..cifar("cifar_resnet#c", "shortcut option C", |n, name, classes| {
            of_depth(n, Shortcut::ProjectionEverywhere, "fc").graph(name, classes)
        })
    },
    Form {
        short: &["resnet#.akamaster"],
        ..cifar(
            "cifar_resnet#.akamaster",
            "shortcut option A, zeros on both sides, as in akamaster's weights",
            |n, name, classes| of_depth(n, Shortcut::ZeroPad(Zeros::Around), "linear").graph(name, classes),
        )
    },
    Form {
        // Shortcuts scaled by 0 (He et al. 2016, Table 1) are none.
        aliases: &["cifar_resnet#.constant_0_1"],
        short: &["plain#"],
        ..cifar("cifar_plain#", "plain twin, no shortcuts", |n, name, classes| {
            of_depth(n, Shortcut::Plain, "fc").graph(name, classes)
        })
    },
    imagenet("plain#", &[&[18], &[34]], "plain twin, no shortcuts", |n, name, classes| {
        with_shortcut(n, Shortcut::Plain).graph(name, classes)
    }),
    Form {
        aliases: &["resnet#.A"],
        ..imagenet("resnet#a", &[&[18], &[34]], "shortcut option A", |n, name, classes| {
            with_shortcut(n, A).graph(name, classes)
        })
    },
    Form {
        aliases: &["resnet#b", "resnet#.B", "resnet#.tv"],
        ..imagenet("resnet#", &[&[18], &[34]], "shortcut option B", |n, name, classes| {
            with_shortcut(n, Shortcut::Projection).graph(name, classes)
        })
    },
    Form {
        aliases: &["resnet#.C"],
        ..imagenet("resnet#c", &[&[18], &[34]], "shortcut option C", |n, name, classes| {
            with_shortcut(n, Shortcut::ProjectionEverywhere).graph(name, classes)
        })
    },
    Form {
        aliases: &["resnet#b", "resnet#.stride1x1"],
        ..imagenet(
            "resnet#",
            &[&[50], &[101], &[152]],
            "bottlenecks, stride in the first 1×1",
            |n, name, classes| with_shortcut(n, Shortcut::Projection).graph(name, classes),
        )
    },
    Form {
        aliases: &["resnet#.C"],
        ..imagenet(
            "resnet#c",
            &[&[50]],
            "bottlenecks, stride in the first 1×1, shortcut option C",
            |n, name, classes| with_shortcut(n, Shortcut::ProjectionEverywhere).graph(name, classes),
        )
    },
    imagenet(
        "resnet#.tv",
        &[&[50], &[101], &[152]],
        "bottlenecks, stride in the 3×3, as in torchvision",
        |n, name, classes| {
            let net = with_shortcut(n, Shortcut::Projection);
            ImageNet { stride_in: StrideIn::Middle, ..net }.graph(name, classes)
        },
    ),
    // The published ResNet-50 has a bias in `conv1` too; a constant before batch norm, it belongs into the
    // running mean.
    imagenet(
        "resnet#.caffe",
        &[&[50], &[101], &[152]],
        "bottlenecks, stride in the first 1×1, pool without padding, as in the Caffe models",
        |n, name, classes| {
            let net = with_shortcut(n, Shortcut::Projection);
            ImageNet { pool: StemPool::Ceil, ..net }.graph(name, classes)
        },
    ),
];
