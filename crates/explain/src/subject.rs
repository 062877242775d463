//! The network that is looked into.

use residuum_engine::{Engine, Inference, InputShape, Sensitivity, SensitivityOptions};
use residuum_graph::{Graph, Kind, NodeId, Weights};
use residuum_tensor::Tensor;

use crate::error::{ExplainError, Result};

/// A network with weights on an engine.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What it runs on.
    pub engine: &'a Engine,
    /// The network.
    pub graph: &'a Graph,
    /// Values of all its parameters.
    pub weights: &'a Weights,
}

impl Subject<'_> {
    /// Logits of a batch, `[n, classes]`.
    ///
    /// # Errors
    /// When the images are no batch that the network admits.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let mut program = self.inference(images, &[])?;
        let logits = program.run(images.data()).to_vec();
        Ok(Tensor::from_fn([program.shape().n, program.classes()], |index| logits[index]))
    }

    /// The values of layers for a batch, each `[n, c, h, w]` or `[n, c]`.
    ///
    /// # Errors
    /// When a layer does not exist or the network does not admit the images.
    pub fn values(&self, images: &Tensor, layers: &[String]) -> Result<Vec<Tensor>> {
        let mut program = self.inference(images, layers)?;
        program.run(images.data());
        Ok(layers.iter().filter_map(|layer| program.tap(layer)).collect())
    }

    /// A program that answers batches of the size of `images`, with layers whose values can be read.
    ///
    /// # Errors
    /// As [`Subject::values`].
    pub(crate) fn inference(&self, images: &Tensor, layers: &[String]) -> Result<Inference> {
        Ok(self.engine.inference(self.graph, self.weights, self.shape_of(images)?, layers)?)
    }

    /// A program that follows gradients, for batches of the size of `images`.
    ///
    /// # Errors
    /// When a layer does not exist or the network does not admit the size.
    pub fn sensitivity(&self, images: &Tensor, options: &SensitivityOptions) -> Result<Sensitivity> {
        let shape = self.shape_of(images)?;
        Ok(self.engine.sensitivity(self.graph, self.weights, shape, options)?)
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.graph.output_features()
    }

    /// The node of a layer that is a map.
    ///
    /// # Errors
    /// When there is none of that name, or it is a vector.
    pub fn map_layer(&self, name: &str) -> Result<NodeId> {
        let is_map = |id: &NodeId| matches!(self.graph.node(*id).kind, Kind::Map { .. });
        self.graph.find(name).filter(is_map).ok_or_else(|| {
            ExplainError::unfit(
                format!("layer {name}"),
                format!("a module with a map, such as {}", self.map_modules().join(", ")),
                if self.graph.find(name).is_some() { "a vector" } else { "no such module" },
            )
        })
    }

    /// Names of the modules with maps, without their parts: `layer1` for `layer1.0.conv1`.
    pub fn map_modules(&self) -> Vec<&str> {
        let maps = self.graph.nodes().iter().filter(|node| matches!(node.kind, Kind::Map { .. }));
        let mut modules: Vec<&str> =
            maps.map(|node| node.name.split('.').next().unwrap_or(&node.name)).collect();
        modules.dedup();
        modules
    }

    pub(crate) fn check_class(&self, class: usize) -> Result<()> {
        if class < self.classes() {
            return Ok(());
        }
        let expected = format!("0 to {}", self.classes().saturating_sub(1));
        Err(ExplainError::unfit("class", expected, class.to_string()))
    }

    pub(crate) fn check_channel(&self, layer: &str, channel: usize) -> Result<()> {
        let Kind::Map { channels } = self.graph.node(self.map_layer(layer)?).kind else { return Ok(()) };
        if channel < channels {
            return Ok(());
        }
        let expected = format!("0 to {}", channels.saturating_sub(1));
        Err(ExplainError::unfit(format!("channel of layer {layer}"), expected, channel.to_string()))
    }

    /// The size of a batch that the network takes.
    pub(crate) fn shape_of(&self, images: &Tensor) -> Result<InputShape> {
        match *images.shape() {
            [n, c, h, w] if n > 0 && c == self.graph.input_channels() => Ok(InputShape { n, h, w }),
            _ => Err(ExplainError::unfit(
                "images",
                format!("[n, {}, h, w]", self.graph.input_channels()),
                format!("{:?}", images.shape()),
            )),
        }
    }
}

/// Numbers of one image of a batch.
pub(crate) fn image_len(images: &Tensor) -> usize {
    images.shape()[1..].iter().product()
}

/// A seed that asks for one value of each image: `[n, width]`, 1 at the place given for the image.
pub(crate) fn one_hot(places: &[usize], width: usize) -> Vec<f32> {
    let mut seed = vec![0.0; places.len() * width];
    for (image, &place) in places.iter().enumerate() {
        seed[image * width + place] = 1.0;
    }
    seed
}
