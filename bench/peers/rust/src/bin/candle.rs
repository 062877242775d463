//! candle: the list of layers, norms folded.

use std::collections::HashMap;

use anyhow::{Result, bail};
use candle_core::{D, Device, Tensor};
use peers::Task;
use peers::layers::{Layer, Layers};

fn step(layer: &Layer, x: &[Tensor], weights: &HashMap<String, Tensor>) -> Result<Tensor> {
    let weight = |i: usize| &weights[&layer.weights[i]];
    let channels = |i: usize| weight(i).reshape((1, (), 1, 1));
    let Layer { kernel, stride, padding, channels: [before, after], .. } = *layer;
    Ok(match layer.op.as_str() {
        "conv" => {
            let y = x[0].conv2d(weight(0), padding, stride, 1, 1)?;
            if layer.weights.len() > 1 { y.broadcast_add(&channels(1)?)? } else { y }
        }
        "affine" => x[0].broadcast_mul(&channels(0)?)?.broadcast_add(&channels(1)?)?,
        "relu" => x[0].relu()?,
        "add" => (&x[0] + &x[1])?,
        "concat" => Tensor::cat(x, 1)?,
        "pad" => x[0].pad_with_zeros(1, before, after)?,
        "max_pool" => {
            // Padding of zeros is that of minus infinity here: a pool with padding follows a ReLU.
            let x = x[0].pad_with_zeros(2, padding, padding)?.pad_with_zeros(3, padding, padding)?;
            x.max_pool2d_with_stride(kernel, stride)?
        }
        "avg_pool" => x[0].avg_pool2d_with_stride(kernel, stride)?,
        "mean" => x[0].mean(D::Minus1)?.mean(D::Minus1)?,
        "linear" => x[0].matmul(&weight(0).t()?)?.broadcast_add(weight(1))?,
        other => bail!("no operation {other}"),
    })
}

fn main() -> Result<()> {
    let task = Task::from_args()?;
    task.rayon()?;
    let network = Layers::load(&task.folder, false)?;
    let tensor = |(shape, data): &(Vec<usize>, Vec<f32>)| Tensor::from_slice(data, &shape[..], &Device::Cpu);
    let weights = network.weights.iter().map(|(name, values)| Ok((name.clone(), tensor(values)?)));
    let weights = weights.collect::<Result<HashMap<_, _>>>()?;
    let images = Tensor::from_slice(&task.images, &task.shape[..], &Device::Cpu)?;
    task.serve(|| {
        let answer = network.run(images.clone(), |layer, x| step(layer, x, &weights))?;
        Ok(answer.flatten_all()?.to_vec1()?)
    })
}
