//! Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks" (arXiv 1608.06993,
//! 2017).

use residuum_train::Recipe;

use super::{compared, preset, ranking};
use crate::error::Result;
use crate::experiment::{Experiment, Findings, Run};
use crate::reproduction::{Results, RunResult};
use crate::setting::{Scale, Setting};

/// Table 2, columns C10+.
pub(super) const DENSENET_CIFAR: Experiment = Experiment {
    name: "densenet-cifar",
    title: "Dense connections: every layer reads all before it",
    paper: "Huang et al. 2017, arXiv 1608.06993",
    figure: "table 2",
    question: "Densely connected nets beside a residual net. In the paper they reach the same error with a third of the \
        parameters, and bottlenecks with compression (BC) save more.",
    protocol: "CIFAR: 300 epochs of batches of 64, SGD with Nesterov momentum 0.9, weight decay 1e-4, learning rate 0.1, \
        divided by 10 after 150 and 225 epochs. Pictures are padded by 4, cut out at random and mirrored by chance; no \
        dropout.",
    scaled_down: &[
        "a dense net of 40 layers, of two thirds of the residual net's parameters and far fewer than the \
        paper's, cannot be expected to be the better one",
    ],
    runs,
    findings,
};

/// Name of the run, network, published error and whether it is part of the quick scale.
const NETS: [(&str, &str, &str, bool); 5] = [
    ("resnet-110", "cifar_resnet110", "6.61", false),
    ("resnet-20", "cifar_resnet20", "8.75 (by the recipe of He et al. 2015)", true),
    ("densenet-bc-40-12", "cifar_densenet_bc_40_12", "none", true),
    ("densenet-40-12", "cifar_densenet_40_12", "5.24", false),
    ("densenet-bc-100-12", "cifar_densenet_bc_100_12", "4.51", false),
];

fn runs(setting: &Setting) -> Vec<Run> {
    let is_part = |net: &&(&str, &str, &str, bool)| net.3 == (setting.scale == Scale::Quick);
    NETS.iter().filter(is_part).map(|&(name, model, ..)| Run::new(name, model, recipe)).collect()
}

fn recipe(setting: &Setting, model: &str) -> Result<Recipe> {
    preset(setting, "densenet-cifar", model)
}

fn findings(results: &Results<'_>) -> Result<Findings> {
    let published = |run: &RunResult| {
        let known = NETS.iter().find(|net| net.0 == run.run.name);
        (run.run.name.clone(), known.map_or("none", |net| net.2))
    };
    Ok(compared(results, "Dense connections", published, vec![ranking(results)], None))
}
