//! Residual blocks as the parts of an ensemble (Veit, Wilber & Belongie 2016): delete one, exchange two, let
//! gradients through some of them only.

use residuum_engine::SensitivityOptions;
use residuum_graph::{Block, Graph, Weights};
use residuum_tensor::Tensor;

use crate::error::{ExplainError, Result};
use crate::subject::{Subject, one_hot};

/// The residual blocks of a network, in order.
pub fn blocks(graph: &Graph) -> Vec<Block> {
    graph.residual_blocks()
}

/// The network with a block's branch left out: its shortcut alone remains.
#[must_use]
pub fn delete_block(graph: &Graph, block: &Block) -> Graph {
    let name = &graph.node(block.add).name;
    graph.bypass(|node| (node.name == *name).then_some(block.shortcut())).0
}

/// The weights with those of two modules of the same shape exchanged.
///
/// # Errors
/// When a module has no weights, or the two are not alike.
pub fn swap_modules(weights: &Weights, a: &str, b: &str) -> Result<Weights> {
    let renamed = |name: &str, from: &str, to: &str| {
        name.strip_prefix(from).filter(|rest| rest.starts_with('.')).map(|rest| format!("{to}{rest}"))
    };
    let mut swapped = weights.clone();
    let mut count = 0;
    for (name, tensor) in weights {
        let Some(other) = renamed(name, a, b).or_else(|| renamed(name, b, a)) else { continue };
        match weights.get(&other) {
            Some(theirs) if theirs.shape() == tensor.shape() => {
                swapped.insert(other, tensor.clone());
                count += 1;
            }
            found => {
                let found = found.map_or("none".into(), |found| format!("{:?}", found.shape()));
                return Err(ExplainError::unfit(other, format!("shape {:?}", tensor.shape()), found));
            }
        }
    }
    if count == 0 {
        return Err(ExplainError::unfit(format!("modules {a} and {b}"), "weights", "none"));
    }
    Ok(swapped)
}

/// Gradient of each image's score with respect to the image, `[n, 3, h, w]`, along the paths that go
/// through the branches of the blocks `through` (by their places among [`blocks`]) and through the shortcuts
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
    let cut = blocks(subject.graph).into_iter().enumerate().map(|(index, block)| {
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
