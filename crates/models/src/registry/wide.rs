//! Names of the networks of Zagoruyko and Komodakis 2016, "Wide residual networks".
//!
//! `wrn_n_k` is WRN-n-k. A tag names another block than `B(3,3)`; the depth is then that of the `B(3,3)` net
//! with as many blocks, which is what the paper's Table 2 prints.

use super::Family;
use super::form::{Form, Numbers, Write};
use crate::wide::{Cifar, ImageNet, Widen};

const BLOCKS: &str = "Zagoruyko & Komodakis 2016, arXiv 1605.07146, §3, Table 2";
const DEEPENING: &str = "Zagoruyko & Komodakis 2016, arXiv 1605.07146, §3, Table 3";
const WIDTHS: &str = "Zagoruyko & Komodakis 2016, arXiv 1605.07146, §3, Table 4";
const DROPOUT: &str = "Zagoruyko & Komodakis 2016, arXiv 1605.07146, §3, Table 6";
const BASIC: &str = "Zagoruyko & Komodakis 2016, arXiv 1605.07146, §3, Table 7";
const BOTTLENECK: &str = "Zagoruyko & Komodakis 2016, arXiv 1605.07146, §3, Table 8";

const WIDEST: usize = 64;
const ADMITS: &[Numbers] =
    &[Numbers::depths(6, 4), Numbers { what: "width", step: 1, rest: 0, least: 1, most: WIDEST }];

const fn wrn(
    name: &'static str,
    paper: &'static str,
    listed: &'static [&'static [usize]],
    description: &'static str,
    write: Write,
) -> Form {
    let family = Family::Cifar;
    Form { name, aliases: &[], short: &[], family, paper, description, admits: ADMITS, listed, write }
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

const fn cifar(n: &[usize], kernels: &'static [usize], dropout: f32) -> Cifar {
    Cifar { blocks: (n[0] - 4) / 6, widen: n[1], kernels, dropout }
}

pub(super) const FORMS: &[Form] = &[
    wrn(
        "wrn_#_#",
        WIDTHS,
        &[
            &[16, 4],
            &[16, 8],
            &[16, 10],
            &[22, 8],
            &[22, 10],
            &[28, 2],
            &[28, 10],
            &[28, 12],
            &[40, 1],
            &[40, 2],
            &[40, 4],
            &[40, 8],
            &[40, 10],
            &[52, 1],
        ],
        "wide, blocks of 3×3 and 3×3",
        |n, name, classes| cifar(n, &[3, 3], 0.0).graph(name, classes),
    ),
    Form {
        aliases: &["wrn_#_#.dropout_0.3"],
        ..wrn(
            "wrn_#_#.dropout",
            DROPOUT,
            &[&[16, 4], &[28, 10], &[40, 10], &[52, 1]],
            "wide, dropout of 0.3 in the block, as for CIFAR",
            |n, name, classes| cifar(n, &[3, 3], 0.3).graph(name, classes),
        )
    },
    wrn(
        "wrn_#_#.dropout_0.4",
        DROPOUT,
        &[&[16, 4], &[16, 8], &[52, 1]],
        "wide, dropout of 0.4 in the block, as for SVHN",
        |n, name, classes| cifar(n, &[3, 3], 0.4).graph(name, classes),
    ),
    Form {
        aliases: &["wrn_#_#_b131"],
        ..wrn("wrn_#_#.b131", BLOCKS, &[&[40, 2]], "wide, blocks of 1×1, 3×3, 1×1", |n, name, classes| {
            cifar(n, &[1, 3, 1], 0.0).graph(name, classes)
        })
    },
    Form {
        aliases: &["wrn_#_#_b31"],
        ..wrn("wrn_#_#.b31", BLOCKS, &[&[40, 2]], "wide, blocks of 3×3, 1×1", |n, name, classes| {
            cifar(n, &[3, 1], 0.0).graph(name, classes)
        })
    },
    Form {
        aliases: &["wrn_#_#_b13"],
        ..wrn("wrn_#_#.b13", BLOCKS, &[&[40, 2]], "wide, blocks of 1×1, 3×3", |n, name, classes| {
            cifar(n, &[1, 3], 0.0).graph(name, classes)
        })
    },
    Form {
        aliases: &["wrn_#_#_b311"],
        ..wrn("wrn_#_#.b311", BLOCKS, &[&[40, 2]], "wide, blocks of 3×3, 1×1, 1×1", |n, name, classes| {
            cifar(n, &[3, 1, 1], 0.0).graph(name, classes)
        })
    },
    Form {
        aliases: &["wrn_#_#_b313"],
        ..wrn("wrn_#_#.b313", BLOCKS, &[&[22, 2]], "wide, blocks of 3×3, 1×1, 3×3", |n, name, classes| {
            cifar(n, &[3, 1, 3], 0.0).graph(name, classes)
        })
    },
    Form {
        aliases: &["wrn_#_#_b3"],
        ..wrn("wrn_#_#.b3", DEEPENING, &[&[76, 2]], "wide, blocks of one 3×3", |n, name, classes| {
            cifar(n, &[3], 0.0).graph(name, classes)
        })
    },
    Form {
        aliases: &["wrn_#_#_b333"],
        ..wrn("wrn_#_#.b333", DEEPENING, &[&[28, 2]], "wide, blocks of three 3×3", |n, name, classes| {
            cifar(n, &[3, 3, 3], 0.0).graph(name, classes)
        })
    },
    Form {
        aliases: &["wrn_#_#_b3333"],
        ..wrn("wrn_#_#.b3333", DEEPENING, &[&[22, 2]], "wide, blocks of four 3×3", |n, name, classes| {
            cifar(n, &[3, 3, 3, 3], 0.0).graph(name, classes)
        })
    },
    imagenet("wide_resnet#_1.5", BASIC, &[&[18], &[34]], "all widths times 1.5", |n, name, classes| {
        ImageNet { depth: n[0], widen: Widen::All(1.5) }.graph(name, classes)
    }),
    imagenet(
        "wide_resnet#_#",
        BASIC,
        &[&[18, 2], &[18, 3], &[34, 2]],
        "all widths multiplied",
        |n, name, classes| ImageNet { depth: n[0], widen: Widen::All(n[1] as f32) }.graph(name, classes),
    ),
    imagenet(
        "wide_resnet#_#",
        BOTTLENECK,
        &[&[50, 2], &[101, 2]],
        "bottlenecks of twice the inner width, stride in the 3×3, as in torchvision",
        |n, name, classes| ImageNet { depth: n[0], widen: Widen::Inner(n[1]) }.graph(name, classes),
    ),
];
