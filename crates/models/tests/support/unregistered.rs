//! The network of a golden file: by its registered name, or from the tables of its paper.

use residuum_graph::Graph;
use residuum_models::{bag_of_tricks, blur_pool, build, densenet, resnetv2, resnext, squeeze_excite};

/// The network that a golden file is named after.
pub(crate) fn network(name: &str, classes: usize) -> Result<Graph, String> {
    macro_rules! look_up {
        ($($table:expr),+) => {
            $(if let Some(form) = $table.iter().find(|form| form.is_called(name)) {
                return form.net.graph(form.name, classes).map_err(|error| error.to_string());
            })+
        };
    }
    look_up!(
        densenet::CIFAR,
        densenet::IMAGENET,
        resnext::CIFAR,
        resnext::IMAGENET,
        squeeze_excite::CIFAR,
        squeeze_excite::IMAGENET,
        bag_of_tricks::IMAGENET,
        blur_pool::IMAGENET,
        resnetv2::IMAGENET
    );
    Ok(build(name, Some(classes)).map_err(|error| error.to_string())?.graph)
}
