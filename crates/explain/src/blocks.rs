//! Residual blocks as the parts of an ensemble (Veit, Wilber & Belongie 2016): delete one, exchange two, let
//! gradients through some of them only.

use residuum_engine::SensitivityOptions;
use residuum_graph::{Block, Graph, Weights};
use residuum_tensor::Tensor;

use crate::error::{ExplainError, Result};
use crate::subject::{Subject, one_hot};

/// The network with the branches of blocks left out: their shortcuts alone remain.
#[must_use]
pub fn delete_blocks(graph: &Graph, deleted: &[&Block]) -> Graph {
    let shortcut = |name: &str| {
        let block = deleted.iter().find(|block| graph.node(block.add).name == name)?;
        Some(block.shortcut())
    };
    graph.bypass(|node| shortcut(&node.name)).0
}

/// The weights with those of modules of one shape put in another order: module `i` gets the weights of
/// module `order[i]`.
///
/// # Errors
/// When a module has no weights, or two that are exchanged are not alike.
pub fn permute_modules(weights: &Weights, modules: &[&str], order: &[usize]) -> Result<Weights> {
    let mut permuted = weights.clone();
    for (place, &from) in order.iter().enumerate().filter(|&(place, from)| place != *from) {
        let (theirs, own) = (modules[from], modules[place]);
        let parts = |module: &'_ str| part_shapes(weights, module);
        let (expected, found) = (parts(own), parts(theirs));
        if expected.is_empty() || expected != found {
            let shapes = |parts: &[(&str, &[usize])]| format!("{parts:?}");
            let what = format!("modules {own} and {theirs}");
            return Err(ExplainError::unfit(
                what,
                format!("the weights {}", shapes(&expected)),
                shapes(&found),
            ));
        }
        for (part, _) in found {
            let tensor = weights[&format!("{theirs}.{part}")].clone();
            permuted.insert(format!("{own}.{part}"), tensor);
        }
    }
    Ok(permuted)
}

/// Names, without the module's, and shapes of a module's weights.
pub(crate) fn part_shapes<'a>(weights: &'a Weights, module: &str) -> Vec<(&'a str, &'a [usize])> {
    let part = |name: &'a str| name.strip_prefix(module)?.strip_prefix('.');
    let parts = weights.iter().filter_map(|(name, tensor)| Some((part(name)?, tensor.shape())));
    let mut parts: Vec<_> = parts.collect();
    parts.sort_unstable();
    parts
}

/// Gradient of each image's score with respect to the image, `[n, 3, h, w]`, along the paths that go
/// through the branches of the blocks `through` (by their places among [`Graph::residual_blocks`]) and through the shortcuts
/// of all others.
///
/// # Errors
/// When a class does not exist or the network does not admit the images.
pub fn identity_path_gradient(
    subject: &Subject<'_>,
    images: &Tensor,
    classes: &[usize],
    through: &[usize],
) -> Result<Tensor> {
    classes.iter().try_for_each(|&class| subject.check_class(class))?;
    let cut = subject.graph.residual_blocks().into_iter().enumerate().map(|(index, block)| {
        let operand = if through.contains(&index) { block.shortcut() } else { block.branch };
        (subject.graph.node(block.add).name.clone(), operand)
    });
    let options =
        SensitivityOptions { to: vec!["input".into()], cut: cut.collect(), ..SensitivityOptions::default() };
    let mut program = subject.sensitivity(images, &options)?;
    program.forward(images.data());
    program.backward(&one_hot(classes, subject.classes()));
    Ok(program.gradient("input").unwrap_or_else(|| Tensor::filled(images.shape().to_vec(), 0.0)))
}
