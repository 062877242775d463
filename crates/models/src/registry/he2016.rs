//! Names of the networks of He et al. 2016, "Identity mappings in deep residual networks".

use super::Family;
use super::form::{Form, Numbers, Write};
use crate::preact::{Cifar, ImageNet, Layers, Order, Skip, Stem};
use crate::resnet::{Shortcut, StrideIn, Zeros};

const UNITS: &str = "He et al. 2016, arXiv 1603.05027, §4.1";
const SHORTCUTS: &str = "He et al. 2016, arXiv 1603.05027, §3.1";
const RESULTS: &str = "He et al. 2016, arXiv 1603.05027, §5";

/// Where the paper's nets for CIFAR begin to be made of bottlenecks (Table 2).
const BOTTLENECKS_FROM: usize = 164;

/// Basic units: 6n+2 layers, shallower than the paper's nets of bottlenecks.
const BASIC: &[Numbers] = &[Numbers { most: BOTTLENECKS_FROM - 6, ..Numbers::depths(6, 2) }];

/// Bottlenecks as deep as the paper's.
const DEEP: &[Numbers] = &[Numbers { least: BOTTLENECKS_FROM, ..Numbers::depths(9, 2) }];

/// Units of one, two and three layers, of any depth.
const BY_ONE: &[Numbers] = &[Numbers::depths(3, 2)];
const BY_TWO: &[Numbers] = &[Numbers::depths(6, 2)];
const BY_THREE: &[Numbers] = &[Numbers::depths(9, 2)];

const fn cifar(name: &'static str, description: &'static str, write: Write) -> Form {
    Form {
        name,
        aliases: &[],
        short: &[],
        family: Family::Cifar,
        paper: UNITS,
        description,
        admits: BASIC,
        listed: &[&[110]],
        write,
    }
}

/// A shortcut of Table 1.
const fn shortcut(name: &'static str, description: &'static str, write: Write) -> Form {
    Form { paper: SHORTCUTS, admits: BY_TWO, ..cifar(name, description, write) }
}

const fn deep(name: &'static str, description: &'static str, write: Write) -> Form {
    Form { admits: DEEP, listed: &[&[164]], ..cifar(name, description, write) }
}

/// Bottlenecks of any depth, for comparisons at few layers.
const fn bottleneck(name: &'static str, description: &'static str, write: Write) -> Form {
    Form { admits: BY_THREE, listed: &[], ..cifar(name, description, write) }
}

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
        paper: RESULTS,
        description,
        admits: &[],
        listed,
        write,
    }
}

const A: Shortcut = Shortcut::ZeroPad(Zeros::After);

const fn basic(depth: &[usize], order: Order) -> Cifar {
    Cifar { n: (depth[0] - 2) / 6, layers: Layers::Basic, order, shortcut: A, skip: Skip::Identity }
}

const fn single(depth: &[usize], order: Order) -> Cifar {
    Cifar { n: (depth[0] - 2) / 3, layers: Layers::Single, ..basic(depth, order) }
}

const fn bottlenecks(depth: &[usize], order: Order) -> Cifar {
    let (n, layers) = ((depth[0] - 2) / 9, Layers::Bottleneck(StrideIn::First));
    Cifar { n, layers, order, shortcut: Shortcut::Projection, skip: Skip::Identity }
}

const fn skip(depth: &[usize], skip: Skip) -> Cifar {
    Cifar { skip, ..basic(depth, Order::Original) }
}

const fn for_imagenet(depth: &[usize], order: Order, stem: Stem) -> ImageNet {
    ImageNet { depth: depth[0], order, stride_in: StrideIn::Middle, stem }
}

pub(super) const FORMS: &[Form] = &[
    Form {
        aliases: &["cifar_preact#.full_preact", "preact#.full_preact"],
        ..cifar("cifar_preact#", "full pre-activation", |n, name, classes| {
            basic(n, Order::FullPreact).graph(name, classes)
        })
    },
    Form {
        aliases: &["cifar_preact#.full_preact", "preact#.full_preact"],
        listed: &[&[164], &[1001]],
        ..deep("cifar_preact#", "full pre-activation, bottlenecks", |n, name, classes| {
            bottlenecks(n, Order::FullPreact).graph(name, classes)
        })
    },
    Form {
        aliases: &["cifar_preact#.full_preact_b", "preact#.full_preact_B"],
        admits: BY_TWO,
        ..cifar("cifar_preact#b", "full pre-activation, shortcut option B", |n, name, classes| {
            Cifar { shortcut: Shortcut::Projection, ..basic(n, Order::FullPreact) }.graph(name, classes)
        })
    },
    Form {
        aliases: &["preact#.bn_after_add"],
        ..cifar("cifar_preact#.bn_after_add", "batch norm after the addition", |n, name, classes| {
            basic(n, Order::BnAfterAdd).graph(name, classes)
        })
    },
    Form {
        aliases: &["preact#.relu_before_add"],
        ..cifar("cifar_preact#.relu_before_add", "ReLU before the addition", |n, name, classes| {
            basic(n, Order::ReluBeforeAdd).graph(name, classes)
        })
    },
    Form {
        aliases: &["preact#.relu_only_preact"],
        ..cifar("cifar_preact#.relu_only_preact", "ReLU-only pre-activation", |n, name, classes| {
            basic(n, Order::ReluOnlyPreact).graph(name, classes)
        })
    },
    deep("cifar_preact#.bn_after_add", "batch norm after the addition, bottlenecks", |n, name, classes| {
        bottlenecks(n, Order::BnAfterAdd).graph(name, classes)
    }),
    deep("cifar_preact#.relu_before_add", "ReLU before the addition, bottlenecks", |n, name, classes| {
        bottlenecks(n, Order::ReluBeforeAdd).graph(name, classes)
    }),
    deep("cifar_preact#.relu_only_preact", "ReLU-only pre-activation, bottlenecks", |n, name, classes| {
        bottlenecks(n, Order::ReluOnlyPreact).graph(name, classes)
    }),
    Form {
        aliases: &["cifar_bottleneck#.original", "bottleneck#.original"],
        listed: &[&[164], &[1001]],
        ..bottleneck("cifar_bottleneck#", "original order, bottlenecks", |n, name, classes| {
            bottlenecks(n, Order::Original).graph(name, classes)
        })
    },
    Form {
        aliases: &["bottleneck#.full_preact"],
        ..bottleneck(
            "cifar_bottleneck#.full_preact",
            "full pre-activation, bottlenecks",
            |n, name, classes| bottlenecks(n, Order::FullPreact).graph(name, classes),
        )
    },
    Form {
        aliases: &["bottleneck#.bn_after_add"],
        ..bottleneck(
            "cifar_bottleneck#.bn_after_add",
            "batch norm after the addition, bottlenecks",
            |n, name, classes| bottlenecks(n, Order::BnAfterAdd).graph(name, classes),
        )
    },
    Form {
        aliases: &["bottleneck#.relu_before_add"],
        ..bottleneck(
            "cifar_bottleneck#.relu_before_add",
            "ReLU before the addition, bottlenecks",
            |n, name, classes| bottlenecks(n, Order::ReluBeforeAdd).graph(name, classes),
        )
    },
    Form {
        aliases: &["bottleneck#.relu_only_preact"],
        ..bottleneck(
            "cifar_bottleneck#.relu_only_preact",
            "ReLU-only pre-activation, bottlenecks",
            |n, name, classes| bottlenecks(n, Order::ReluOnlyPreact).graph(name, classes),
        )
    },
    Form {
        paper: RESULTS,
        admits: BY_ONE,
        ..cifar("cifar_resnet#.single", "original order, shortcuts around every layer", |n, name, classes| {
            single(n, Order::Original).graph(name, classes)
        })
    },
    Form {
        paper: RESULTS,
        admits: BY_ONE,
        ..cifar(
            "cifar_preact#.single",
            "full pre-activation, shortcuts around every layer",
            |n, name, classes| single(n, Order::FullPreact).graph(name, classes),
        )
    },
    Form {
        aliases: &["skip#.constant_0.5_1"],
        ..shortcut("cifar_resnet#.constant_0.5_1", "shortcut scaled by 0.5", |n, name, classes| {
            skip(n, Skip::Constant { shortcut: 0.5, branch: 1.0 }).graph(name, classes)
        })
    },
    Form {
        aliases: &["skip#.constant_0.5_0.5"],
        ..shortcut(
            "cifar_resnet#.constant_0.5_0.5",
            "shortcut and branch scaled by 0.5",
            |n, name, classes| skip(n, Skip::Constant { shortcut: 0.5, branch: 0.5 }).graph(name, classes),
        )
    },
    Form {
        aliases: &["cifar_resnet#.exclusive_-6", "skip#.exclusive"],
        ..shortcut("cifar_resnet#.exclusive", "exclusive gating, biases start at −6", |n, name, classes| {
            skip(n, Skip::Exclusive { bias: -6.0 }).graph(name, classes)
        })
    },
    shortcut("cifar_resnet#.exclusive_0", "exclusive gating, biases start at 0", |n, name, classes| {
        skip(n, Skip::Exclusive { bias: 0.0 }).graph(name, classes)
    }),
    Form {
        admits: &[
            Numbers::depths(6, 2),
            Numbers { what: "bias below zero", step: 1, rest: 0, least: 1, most: 10 },
        ],
        listed: &[&[110, 5], &[110, 7]],
        ..shortcut(
            "cifar_resnet#.exclusive_-#",
            "exclusive gating, biases start as named",
            |n, name, classes| skip(n, Skip::Exclusive { bias: -(n[1] as f32) }).graph(name, classes),
        )
    },
    Form {
        aliases: &["cifar_resnet#.shortcut_only_-6", "skip#.shortcut_only"],
        ..shortcut(
            "cifar_resnet#.shortcut_only",
            "shortcut-only gating, biases start at −6",
            |n, name, classes| skip(n, Skip::ShortcutOnly { bias: -6.0 }).graph(name, classes),
        )
    },
    shortcut(
        "cifar_resnet#.shortcut_only_0",
        "shortcut-only gating, biases start at 0",
        |n, name, classes| skip(n, Skip::ShortcutOnly { bias: 0.0 }).graph(name, classes),
    ),
    shortcut("cifar_resnet#.dropout", "dropout of 0.5 on the shortcut", |n, name, classes| {
        skip(n, Skip::Dropout { rate: 0.5 }).graph(name, classes)
    }),
    imagenet(
        "preact#",
        &[&[18], &[34], &[50], &[101], &[152], &[200]],
        "full pre-activation, as in the program that followed the paper",
        |n, name, classes| for_imagenet(n, Order::FullPreact, Stem::Early).graph(name, classes),
    ),
    imagenet(
        "preact#.timm",
        &[&[18], &[34], &[50], &[101], &[152], &[200]],
        "full pre-activation, batch norm after the pool, as in timm",
        |n, name, classes| for_imagenet(n, Order::FullPreact, Stem::Late).graph(name, classes),
    ),
    imagenet(
        "preact#.bn_after_add",
        &[&[101]],
        "batch norm after the addition, bottlenecks",
        |n, name, classes| for_imagenet(n, Order::BnAfterAdd, Stem::Early).graph(name, classes),
    ),
    imagenet("resnet#", &[&[200]], "bottlenecks, stride in the first 1×1", |n, name, classes| {
        let net = for_imagenet(n, Order::Original, Stem::Early);
        ImageNet { stride_in: StrideIn::First, ..net }.graph(name, classes)
    }),
];
