//! burn: the list of layers, norms folded.

use std::collections::HashMap;

use anyhow::{Result, anyhow, bail};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Device, Tensor, TensorData, activation, module};
use peers::Task;
use peers::layers::{Layer, Layers};

/// Weights by rank, which is part of burn's types.
enum Weight {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
    Filters(Tensor<4>),
}

impl Weight {
    fn new((shape, values): &(Vec<usize>, Vec<f32>), device: &Device) -> Self {
        let data = TensorData::new(values.clone(), shape.clone());
        match shape.len() {
            1 => Self::Vector(Tensor::from_data(data, device)),
            2 => Self::Matrix(Tensor::<2>::from_data(data, device).transpose()),
            _ => Self::Filters(Tensor::from_data(data, device)),
        }
    }
}

fn step(layer: &Layer, x: &[Tensor<4>], weights: &HashMap<String, Weight>) -> Result<Tensor<4>> {
    let vector = |i: usize| match layer.weights.get(i).map(|name| &weights[name]) {
        Some(Weight::Vector(vector)) => Some(vector.clone()),
        _ => None,
    };
    let channels =
        |i| vector(i).map(|v| v.reshape([1, -1, 1, 1])).ok_or_else(|| anyhow!("expected a vector"));
    let Layer { kernel, stride, padding, channels: [before, after], .. } = *layer;
    let input = x[0].clone();
    Ok(match (layer.op.as_str(), layer.weights.first().map(|name| &weights[name])) {
        ("conv", Some(Weight::Filters(filters))) => {
            let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
            module::conv2d(input, filters.clone(), vector(1), options)
        }
        ("linear", Some(Weight::Matrix(matrix))) => {
            let flat = input.flatten::<2>(1, 3).matmul(matrix.clone());
            let [n, classes] = flat.dims();
            flat.reshape([n, classes, 1, 1]) + channels(1)?
        }
        ("affine", _) => input * channels(0)? + channels(1)?,
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

fn main() -> Result<()> {
    let task = Task::from_args()?;
    task.rayon()?;
    let device = Device::flex();
    let network = Layers::load(&task.folder)?;
    let weights = network.weights.iter().map(|(name, values)| (name.clone(), Weight::new(values, &device)));
    let weights: HashMap<String, Weight> = weights.collect();
    let images: Tensor<4> =
        Tensor::from_data(TensorData::new(task.images.clone(), task.shape.to_vec()), &device);
    task.serve(|| {
        let answer = network.run(images.clone(), |layer, x| step(layer, x, &weights))?;
        answer.into_data().into_vec::<f32>().map_err(|error| anyhow!("{error:?}"))
    })
}
