//! The network that is looked into.

use std::ops::Range;

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
    /// Logits of images, `[n, classes]`.
    ///
    /// # Errors
    /// When the images are no batch that the network admits.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let mut logits = Vec::with_capacity(images.shape()[0] * self.classes());
        self.in_batches(images, &[], |_, answer, _| {
            logits.extend_from_slice(answer);
            true
        })?;
        let shape = [images.shape()[0], self.classes()];
        Ok(Tensor::from_fn(shape, |index| logits[index]))
    }

    /// The values of layers for images, each `[n, c, h, w]` or `[n, c]`.
    ///
    /// # Errors
    /// When a layer does not exist or the network does not admit the images.
    pub fn values(&self, images: &Tensor, layers: &[String]) -> Result<Vec<Tensor>> {
        let mut found: Vec<(Vec<usize>, Vec<f32>)> = vec![Default::default(); layers.len()];
        self.in_batches(images, layers, |_, _, program| {
            for ((shape, values), tap) in found.iter_mut().zip(layers.iter().map(|layer| program.tap(layer)))
            {
                let Some(tap) = tap else { continue };
                *shape = tap.shape().to_vec();
                values.extend(tap.into_data());
            }
            true
        })?;
        let whole = |(mut shape, values): (Vec<usize>, Vec<f32>)| {
            shape[0] = images.shape()[0];
            Tensor::from_fn(shape, |index| values[index])
        };
        Ok(found.into_iter().map(whole).collect())
    }

    /// Answers images in batches, so that memory is bounded by [`batch_size`]. `see` gets each batch's place,
    /// its logits and the program with the values of `taps`, and stops the work by returning false, as does
    /// this function then.
    pub(crate) fn in_batches(
        &self,
        images: &Tensor,
        taps: &[String],
        mut see: impl FnMut(Range<usize>, &[f32], &Inference) -> bool,
    ) -> Result<bool> {
        let whole = self.shape_of(images)?;
        let len = image_len(images);
        let mut compiled = Compiled::default();
        for range in batches(images) {
            let shape = InputShape { n: range.len(), ..whole };
            let compile = || Ok(self.engine.inference(self.graph, self.weights, shape, taps)?);
            let program = compiled.of(range.len(), compile)?;
            let answer = program.run(&images.data()[range.start * len..range.end * len]).to_vec();
            if !see(range, &answer, program) {
                return Ok(false);
            }
        }
        Ok(true)
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

/// A program for batches of one size, compiled anew only where the size changes: as a rule for the last batch.
pub(crate) struct Compiled<P>(Option<(usize, P)>);

impl<P> Default for Compiled<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P> Compiled<P> {
    /// The program for batches of `n` images.
    pub(crate) fn of(&mut self, n: usize, compile: impl FnOnce() -> Result<P>) -> Result<&mut P> {
        let known = self.0.take().filter(|(size, _)| *size == n);
        let entry = match known {
            Some(entry) => entry,
            None => (n, compile()?),
        };
        Ok(&mut self.0.insert(entry).1)
    }
}

/// Pixels that go through a network together: 64 images of 32×32, 10 of 224×224.
const BATCH_PIXELS: usize = 1 << 19;

/// Images of this size that go through a network together.
pub fn batch_size(height: usize, width: usize) -> usize {
    (BATCH_PIXELS / (height * width).max(1)).clamp(1, 64)
}

/// The places of the batches that images `[n, 3, h, w]` go through a network in.
pub(crate) fn batches(images: &Tensor) -> impl Iterator<Item = Range<usize>> + use<> {
    let (count, size) = match *images.shape() {
        [n, _, h, w] => (n, batch_size(h, w)),
        _ => (0, 1),
    };
    (0..count).step_by(size).map(move |start| start..(start + size).min(count))
}

/// The images at these places alone.
pub(crate) fn part(images: &Tensor, range: &Range<usize>) -> Tensor {
    let len = image_len(images);
    let mut shape = images.shape().to_vec();
    shape[0] = range.len();
    Tensor::from_fn(shape, |index| images.data()[range.start * len + index])
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
