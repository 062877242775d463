//! From a Caffe definition and its weights to one of our graphs and its parameters.
//!
//! ```text
//! Definition ─ flow: whose value each layer reads ─▶ units: layers that belong together ─▶ Graph
//! CaffeWeights ─ per unit, in f64 ─▶ Weights
//! ```
//!
//! What changes on the way (He et al.'s published models, 2015): a `BatchNorm` and the `Scale` behind it become one
//! batch norm, whose statistics are the accumulated ones divided by their factor; a bias in front of it moves
//! into the running mean; the colours of the first convolution's filters are swapped, so that the network
//! reads red, green, blue; the softmax at the end is left out. Pooling keeps Caffe's placement of windows.

mod build;
mod flow;
mod mean;
mod name;
mod values;

use residuum_formats::caffe::{CaffeWeights, Definition};
use residuum_graph::{Graph, Weights};
use residuum_models::{Model, find, fitting};

use crate::error::Result;
use crate::same::same_function;

pub use mean::{channel_means, mean_image};

/// A network that was made from a definition.
#[derive(Clone, Debug)]
pub struct Network {
    /// The network. It reads red, green, blue.
    pub graph: Graph,
    /// Rows and columns of the images that the definition is written for.
    pub input: [usize; 2],
    /// What was left out or is worth knowing.
    pub notes: Vec<String>,
    units: Vec<build::Unit>,
}

/// Makes a graph of a definition by following its blobs in the order of the layers.
///
/// Parameters are called as torchvision calls them where the layers have the names of the published models
/// (`res2a_branch2a`), else after their layers; a batch norm after the layer `BatchNorm`.
///
/// # Errors
/// When a layer computes something that no operation of the graph does, a blob is read that nobody wrote, or
/// the network is not one chain from one input of images to one answer; the message names the layer.
pub fn network(definition: &Definition) -> Result<Network> {
    build::network(definition)
}

impl Network {
    /// The network's parameters out of a file of weights, which are found by the layers' names; layers of
    /// the file that the definition lacks are passed over, as Caffe does.
    ///
    /// # Errors
    /// When a layer is not in the file, has more or fewer blobs than the definition says, or one of another
    /// shape; when a variance is negative or a number not finite.
    pub fn weights(&self, file: &CaffeWeights) -> Result<Weights> {
        values::weights(&self.graph, &self.units, file)
    }

    /// The registered network that computes the same function of the same parameters, if there is one.
    ///
    /// # Errors
    /// When a registered network cannot be built, which is a fault of the registry.
    pub fn registered(&self) -> Result<Option<Model>> {
        let params = self.graph.params().iter().map(|param| (param.name.as_str(), &param.shape[..]));
        for name in fitting(params) {
            let model = find(&name)?.build(Some(self.graph.output_features()))?;
            if same_function(&model.graph, &self.graph) {
                return Ok(Some(model));
            }
        }
        Ok(None)
    }
}
