//! A plain net made deeper without changing what it answers (He et al. 2015, §1: the solution by
//! construction that shows degradation to be a matter of optimisation).
//!
//! At the end of each stage blocks of two layers are added. Their filters are the identity; what comes in is
//! never negative, so that the ReLU changes nothing. Their batch norms have the mean and the deviation of
//! what comes in, over training pictures, as running statistics, and scale and shift back by the same: the
//! identity in evaluation, and close to it in training.

use residuum_classify::Loaded;
use residuum_data::Dataset;
use residuum_engine::Engine;
use residuum_explain::Subject;
use residuum_graph::Weights;
use residuum_models::Model;
use residuum_tensor::Tensor;

use crate::error::{ExperimentError, Result};
use crate::sample::sample;

/// What a batch norm adds to a variance.
const EPSILON: f64 = 1e-5;
/// Pictures that the statistics are taken over.
const SAMPLE: usize = 256;

/// Weights of the plain net `deep` that answers as the trained plain net `shallow` does; statistics are
/// taken over the first pictures of `data`.
///
/// # Errors
/// When the nets are not plain nets of the same stages, or `deep` has fewer blocks somewhere.
pub(crate) fn deepen(engine: &Engine, shallow: &Loaded, deep: &Model, data: &Dataset) -> Result<Weights> {
    let stages = stages(&shallow.model)?;
    let wrong = |problem: String| ExperimentError::Measure { what: deep.name.clone(), problem };
    let ends: Vec<String> =
        stages.iter().enumerate().map(|(i, blocks)| format!("layer{}.{}.relu2", i + 1, blocks - 1)).collect();
    let moments = moments(engine, shallow, &ends, data)?;
    let mut weights = Weights::new();
    for param in deep.graph.params() {
        let own = shallow.weights.get(&param.name);
        let tensor = match place(&param.name) {
            Some((stage, block, layer)) if stages.get(stage).is_some_and(|&blocks| block >= blocks) => {
                identity(layer, &param.shape, &moments[stage])
            }
            _ => own.cloned(),
        };
        let tensor = tensor.filter(|tensor| tensor.shape() == param.shape).ok_or_else(|| {
            wrong(format!("expected a deeper net than {}, found `{}`", shallow.model.name, param.name))
        })?;
        weights.insert(param.name.clone(), tensor);
    }
    if let Some(lost) = shallow.weights.keys().find(|name| !weights.contains_key(*name)) {
        return Err(wrong(format!(
            "expected at least the layers of {}, `{lost}` is none",
            shallow.model.name
        )));
    }
    Ok(weights)
}

/// Blocks of each stage.
fn stages(model: &Model) -> Result<Vec<usize>> {
    let mut stages: Vec<usize> = Vec::new();
    for param in model.graph.params() {
        if let Some((stage, block, layer)) = place(&param.name) {
            if stages.len() <= stage {
                stages.resize(stage + 1, 0);
            }
            stages[stage] = stages[stage].max(block + 1);
            if layer.starts_with("downsample") {
                let problem = format!("expected a plain net, found `{}`", param.name);
                return Err(ExperimentError::Measure { what: model.name.clone(), problem });
            }
        }
    }
    Ok(stages)
}

/// Stage and block from 0, and the rest, of a name such as `layer1.0.conv1.weight`.
fn place(name: &str) -> Option<(usize, usize, &str)> {
    let (stage, rest) = name.strip_prefix("layer")?.split_once('.')?;
    let (block, layer) = rest.split_once('.')?;
    Some((stage.parse::<usize>().ok()?.checked_sub(1)?, block.parse().ok()?, layer))
}

/// Mean and variance of each channel.
type Moments = Vec<(f64, f64)>;

/// A parameter of an added block.
fn identity(layer: &str, shape: &[usize], moments: &Moments) -> Option<Tensor> {
    let channel = |value: fn(f64, f64) -> f64| {
        (shape == [moments.len()]).then(|| {
            Tensor::from_fn(shape, |c| {
                let (mean, variance) = moments[c];
                value(mean, variance) as f32
            })
        })
    };
    match layer.split_once('.')? {
        ("conv1" | "conv2", "weight") => dirac(shape),
        ("bn1" | "bn2", "weight") => channel(|_, variance| (variance + EPSILON).sqrt()),
        ("bn1" | "bn2", "bias" | "running_mean") => channel(|mean, _| mean),
        ("bn1" | "bn2", "running_var") => channel(|_, variance| variance),
        _ => None,
    }
}

/// A filter that passes every channel on as it is.
fn dirac(shape: &[usize]) -> Option<Tensor> {
    let &[out, inputs, height, width] = shape else { return None };
    let centre = height / 2 * width + width / 2;
    (out == inputs).then(|| {
        Tensor::from_fn(shape, |i| {
            let (filter, tap) = (i / (height * width), i % (height * width));
            f32::from(u8::from(filter / inputs == filter % inputs && tap == centre))
        })
    })
}

/// Moments of the channels of some layers.
fn moments(engine: &Engine, net: &Loaded, layers: &[String], data: &Dataset) -> Result<Vec<Moments>> {
    let images = sample(data, &net.info.preprocess, SAMPLE)?;
    let subject = Subject { engine, graph: &net.model.graph, weights: &net.weights };
    let values = subject.values(&images, layers)?;
    Ok(values.iter().map(channel_moments).collect())
}

/// Mean and variance of each channel of `[n, c, h, w]`.
fn channel_moments(value: &Tensor) -> Moments {
    let &[images, channels, height, width] = value.shape() else { return Moments::new() };
    let mut sums = vec![(0.0, 0.0); channels];
    for (i, map) in value.data().chunks_exact(height * width).enumerate() {
        let (sum, squares) = &mut sums[i % channels];
        for &x in map {
            *sum += f64::from(x);
            *squares += f64::from(x) * f64::from(x);
        }
    }
    let count = (images * height * width) as f64;
    let moment = |(sum, squares): (f64, f64)| {
        let mean = sum / count;
        (mean, (squares / count - mean * mean).max(0.0))
    };
    sums.into_iter().map(moment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use residuum_classify::Classifier;
    use residuum_data::{Preprocess, Split, shapes};
    use residuum_engine::EngineOptions;
    use residuum_models::{build, initialise};

    #[test]
    fn the_deeper_net_answers_as_the_shallow_one() {
        let engine = Engine::new(&EngineOptions::default()).unwrap();
        let data = shapes(0, Split::Test).subset(&(0..32).collect::<Vec<_>>());
        let classes = || data.classes().to_vec();
        let (shallow, deep) = (build("cifar_plain8", None).unwrap(), build("cifar_plain20", None).unwrap());
        let weights = initialise(&shallow.graph, 1);
        let shallow = Loaded::new(shallow, weights, classes(), Preprocess::cifar10());
        let weights = deepen(&engine, &shallow, &deep, &data).unwrap();
        let deep = Loaded::new(deep, weights, classes(), Preprocess::cifar10());
        let images: Vec<_> = (0..8).map(|i| data.image(i).unwrap()).collect();
        let answers = |net: &Loaded| Classifier::new(engine.clone(), net.clone()).logits(&images).unwrap();
        let (ours, theirs) = (answers(&deep), answers(&shallow));
        let largest = theirs.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        for (a, b) in ours.iter().zip(&theirs) {
            assert!((a - b).abs() <= 1e-3 * largest, "{a} instead of {b}");
        }
        assert!(deepen(&engine, &deep, &shallow.model, &data).is_err());
        let residual = build("cifar_resnet20b", None).unwrap();
        let weights = initialise(&residual.graph, 1);
        let residual = Loaded::new(residual, weights, classes(), Preprocess::cifar10());
        assert!(deepen(&engine, &residual, &deep.model, &data).is_err());
    }
}
