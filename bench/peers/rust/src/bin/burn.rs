//! burn: the list of layers, with norms folded for inference; training by its own differentiation.

use std::collections::HashMap;

use anyhow::{Result, anyhow, bail};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Device, Gradients, Tensor, TensorData, activation, loss, module};
use peers::Task;
use peers::layers::{Layer, Layers};

/// A tensor with what the optimiser knows of it.
struct Parameter<const D: usize> {
    value: Tensor<D>,
    velocity: Option<Tensor<D>>,
}

impl<const D: usize> Parameter<D> {
    fn new(value: Tensor<D>, is_training: bool) -> Self {
        Self { value: if is_training { value.require_grad() } else { value }, velocity: None }
    }

    /// A step of SGD with momentum.
    fn update(&mut self, gradients: &mut Gradients) {
        let Some(gradient) = self.value.grad_remove(gradients) else { return };
        let velocity = match self.velocity.take() {
            Some(velocity) => velocity * 0.9 + gradient,
            None => gradient,
        };
        let value = self.value.clone().inner() - velocity.clone() * 0.001;
        self.value = value.autodiff().require_grad();
        self.velocity = Some(velocity);
    }
}

/// Weights by rank, which is part of burn's types.
enum Weight {
    Vector(Parameter<1>),
    Matrix(Parameter<2>),
    Filters(Parameter<4>),
}

impl Weight {
    fn new((shape, values): &(Vec<usize>, Vec<f32>), device: &Device, is_training: bool) -> Self {
        let data = TensorData::new(values.clone(), shape.clone());
        match shape.len() {
            1 => Self::Vector(Parameter::new(Tensor::from_data(data, device), is_training)),
            2 => Self::Matrix(Parameter::new(Tensor::<2>::from_data(data, device).transpose(), is_training)),
            _ => Self::Filters(Parameter::new(Tensor::from_data(data, device), is_training)),
        }
    }

    fn update(&mut self, gradients: &mut Gradients) {
        match self {
            Self::Vector(vector) => vector.update(gradients),
            Self::Matrix(matrix) => matrix.update(gradients),
            Self::Filters(filters) => filters.update(gradients),
        }
    }
}

struct Network {
    layers: Layers,
    weights: HashMap<String, Weight>,
    images: Tensor<4>,
}

impl Network {
    fn new(task: &Task) -> Result<Self> {
        let device = if task.is_training { Device::flex().autodiff() } else { Device::flex() };
        let layers = Layers::load(&task.folder, task.is_training)?;
        let weight =
            |(name, values): (&String, &_)| (name.clone(), Weight::new(values, &device, task.is_training));
        let weights = layers.weights.iter().map(weight).collect();
        let images = Tensor::from_data(TensorData::new(task.images.clone(), task.shape.to_vec()), &device);
        Ok(Self { layers, weights, images })
    }

    fn run(&self) -> Result<Tensor<4>> {
        self.layers.run(self.images.clone(), |layer, x| step(layer, x, &self.weights))
    }

    /// A step of training; returns the loss. `targets` is one-hot.
    fn train(&mut self, targets: &Tensor<2>) -> Result<Vec<f32>> {
        let loss = loss::cross_entropy_with_logits(self.run()?.flatten::<2>(1, 3), targets.clone());
        let mut gradients = loss.backward();
        self.weights.values_mut().for_each(|weight| weight.update(&mut gradients));
        Ok(vec![loss.into_scalar()])
    }
}

fn step(layer: &Layer, x: &[Tensor<4>], weights: &HashMap<String, Weight>) -> Result<Tensor<4>> {
    let vector = |i: usize| match layer.weights.get(i).map(|name| &weights[name]) {
        Some(Weight::Vector(vector)) => Some(vector.value.clone()),
        _ => None,
    };
    let wanted = |i| vector(i).ok_or_else(|| anyhow!("expected a vector"));
    let channels = |i| wanted(i).map(|v| v.reshape([1, -1, 1, 1]));
    let Layer { kernel, stride, padding, channels: [before, after], epsilon, .. } = *layer;
    let input = x[0].clone();
    Ok(match (layer.op.as_str(), layer.weights.first().map(|name| &weights[name])) {
        ("conv", Some(Weight::Filters(filters))) => {
            let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
            module::conv2d(input, filters.value.clone(), vector(1), options)
        }
        ("linear", Some(Weight::Matrix(matrix))) => {
            let flat = input.flatten::<2>(1, 3).matmul(matrix.value.clone());
            let [n, classes] = flat.dims();
            flat.reshape([n, classes, 1, 1]) + channels(1)?
        }
        ("affine", _) => input * channels(0)? + channels(1)?,
        ("norm", _) => module::batch_norm_train(input, wanted(0)?, wanted(1)?, epsilon).output,
        ("relu", _) => activation::relu(input),
        ("add", _) => input + x[1].clone(),
        ("concat", _) => Tensor::cat(x.to_vec(), 1),
        ("pad", _) => input.pad([(0, 0), (before, after), (0, 0), (0, 0)], PadMode::Constant(0.0)),
        ("max_pool", _) => {
            let mut options = MaxPoolOptions::new([kernel; 2]);
            options.stride = [stride; 2];
            options.padding = [(padding, padding); 2];
            module::max_pool2d(input, options)
        }
        ("avg_pool", _) => module::avg_pool2d(input, AvgPoolOptions::new([kernel; 2])),
        ("mean", _) => module::adaptive_avg_pool2d(input, [1, 1]),
        (other, _) => bail!("no operation {other}"),
    })
}

/// One-hot rows.
fn targets(task: &Task, classes: usize, device: &Device) -> Tensor<2> {
    let labels = task.labels(classes);
    let mut values = vec![0.0_f32; labels.len() * classes];
    labels.iter().enumerate().for_each(|(row, &label)| values[row * classes + label as usize] = 1.0);
    Tensor::from_data(TensorData::new(values, [labels.len(), classes]), device)
}

fn main() -> Result<()> {
    let task = Task::from_args()?;
    task.rayon()?;
    let mut network = Network::new(&task)?;
    if task.is_training {
        let classes = network.run()?.dims()[1];
        let targets = targets(&task, classes, &network.images.device());
        return task.serve(|| network.train(&targets));
    }
    task.serve(|| network.run()?.into_data().try_into_vec::<f32>().map_err(|error| anyhow!("{error:?}")))
}
