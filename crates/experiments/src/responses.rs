//! How strongly the layers of a trained network respond (He et al. 2015, §4.2, fig. 7).

use residuum_classify::Loaded;
use residuum_data::{Dataset, Loader, LoaderOptions};
use residuum_engine::{Engine, InputShape};
use residuum_graph::Op;
use residuum_tensor::Tensor;

use crate::error::Result;

const BATCH: usize = 32;

/// Standard deviation of each layer's response over the first `images` pictures of `data`: of what its batch
/// norm makes, before anything else, all channels and positions together. In the network's order;
/// projections of shortcuts are no layers.
///
/// # Errors
/// When the network cannot be compiled, or a picture not be read.
pub fn layer_responses(
    engine: &Engine,
    net: &Loaded,
    data: &Dataset,
    images: usize,
) -> Result<Vec<(String, f64)>> {
    let is_layer = |name: &str| !name.contains("downsample");
    let nodes = net.model.graph.nodes().iter();
    let layers: Vec<String> = nodes
        .filter(|node| matches!(node.op, Op::BatchNorm(_)) && is_layer(&node.name))
        .map(|node| node.name.clone())
        .collect();
    let mut sums = vec![(0.0, 0.0, 0.0); layers.len()];
    each_batch(engine, net, &layers, data, images, BATCH, |layer, value| {
        let (count, sum, squares) = &mut sums[layer];
        *count += value.len() as f64;
        for &x in value.data() {
            *sum += f64::from(x);
            *squares += f64::from(x) * f64::from(x);
        }
    })?;
    let deviation = |(count, sum, squares): (f64, f64, f64)| {
        let mean = sum / count;
        (squares / count - mean * mean).max(0.0).sqrt()
    };
    Ok(layers.into_iter().zip(sums.into_iter().map(deviation)).collect())
}

/// Runs the first `images` pictures, less those that fill no batch, and hands on the values of layers by
/// their number.
pub(crate) fn each_batch(
    engine: &Engine,
    net: &Loaded,
    layers: &[String],
    data: &Dataset,
    images: usize,
    batch: usize,
    mut take: impl FnMut(usize, &Tensor),
) -> Result<()> {
    let images = images.clamp(1, data.len());
    let batch = batch.min(images);
    let preprocess = &net.info.preprocess;
    let sample = data.subset(&(0..images).collect::<Vec<_>>());
    let options = LoaderOptions { drop_last: true, ..LoaderOptions::evaluation(batch) };
    let shape = InputShape { n: batch, h: preprocess.crop, w: preprocess.crop };
    let mut program = engine.inference(&net.model.graph, &net.weights, shape, layers)?;
    for batch in Loader::new(&sample, preprocess, options)? {
        program.run(batch?.images.data());
        for (i, layer) in layers.iter().enumerate() {
            if let Some(value) = program.tap(layer) {
                take(i, &value);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use residuum_data::{Preprocess, Split, shapes};
    use residuum_engine::EngineOptions;
    use residuum_models::{build, initialise};

    #[test]
    fn responses_are_taken_after_the_norm_and_before_the_relu() {
        let engine = Engine::new(&EngineOptions::default()).unwrap();
        let data = shapes(0, Split::Test).subset(&(0..40).collect::<Vec<_>>());
        let model = build("cifar_resnet8b", None).unwrap();
        let mut weights = initialise(&model.graph, 1);
        // A scale of 0 leaves the shift alone: no deviation. A scale doubled doubles it.
        weights.get_mut("layer2.0.bn1.weight").unwrap().data_mut().fill(0.0);
        let plain = Loaded::new(model, weights, data.classes().to_vec(), Preprocess::cifar10());
        let before = layer_responses(&engine, &plain, &data, 40).unwrap();
        let names: Vec<&str> = before.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "bn1",
                "layer1.0.bn1",
                "layer1.0.bn2",
                "layer2.0.bn1",
                "layer2.0.bn2",
                "layer3.0.bn1",
                "layer3.0.bn2"
            ]
        );
        assert!(before[3].1 < 1e-6 && before[0].1 > 0.01, "{before:?}");
        let mut doubled = plain.clone();
        doubled.weights.get_mut("layer3.0.bn2.weight").unwrap().data_mut().fill(2.0);
        let after = layer_responses(&engine, &doubled, &data, 40).unwrap();
        assert!((after[6].1 / before[6].1 - 2.0).abs() < 1e-4, "{} {}", after[6].1, before[6].1);

        // Below zero too: the response is not what the ReLU lets through.
        let mut least = 0.0f32;
        each_batch(&engine, &plain, &["layer1.0.bn1".to_owned()], &data, 40, 8, |_, value| {
            least = value.data().iter().fold(least, |least, &x| least.min(x));
        })
        .unwrap();
        assert!(least < 0.0);
    }
}
