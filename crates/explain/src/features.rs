//! How the features of images lie: principal components and neighbours.

use rayon::prelude::*;
use residuum_graph::{Graph, Kind, Op};
use residuum_tensor::Tensor;

use crate::eigen::{centre, gram, leading, oriented};
use crate::error::{ExplainError, Result};
use crate::subject::Subject;

/// The layer whose values are a network's features if none is named: what its classifier reads.
pub fn feature_layer(graph: &Graph) -> Option<String> {
    let last = graph.nodes().iter().rev().find(|node| matches!(node.op, Op::Linear(_)))?;
    Some(graph.node(last.inputs[0]).name.clone())
}

/// Features of images: the values of a layer, of maps the means over pixels: `[n, width]`. `tell` hears after
/// every batch how many images are done, and stops the work by returning false: there are features of those
/// then.
///
/// # Errors
/// When the layer does not exist or the network does not admit the images.
pub fn features(
    subject: &Subject<'_>,
    images: &Tensor,
    layer: &str,
    mut tell: impl FnMut(usize) -> bool,
) -> Result<Tensor> {
    let graph = subject.graph;
    let Some(node) = graph.find(layer) else {
        let known = feature_layer(graph).unwrap_or_default();
        return Err(ExplainError::unfit(
            format!("layer {layer}"),
            format!("a module, such as {known}"),
            "none",
        ));
    };
    let is_map = matches!(graph.node(node).kind, Kind::Map { .. });
    let (mut values, mut count) = (Vec::new(), 0);
    subject.in_batches(images, &[layer.to_owned()], |range, _, program| {
        let Some(tap) = program.tap(layer) else { return false };
        let area = if is_map { tap.shape()[2..].iter().product() } else { 1 };
        let mean = |plane: &[f32]| (plane.iter().map(|&x| f64::from(x)).sum::<f64>() / area as f64) as f32;
        values.extend(tap.data().chunks(area).map(mean));
        count = range.end;
        tell(count)
    })?;
    Ok(Tensor::from_fn([count, values.len() / count.max(1)], |index| values[index]))
}

/// Principal components of feature vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// Share of the variance of each component, the largest first.
    pub explained: Vec<f64>,
    /// Each vector's coordinates along the components.
    pub coordinates: Vec<Vec<f64>>,
}

impl Pca {
    /// The first `components` of vectors of `width` numbers each, one after the other. The sign of a
    /// component is such that its coordinate of largest magnitude is positive.
    ///
    /// # Panics
    /// When the vectors do not have that width.
    pub fn new(features: &[f32], width: usize, components: usize) -> Self {
        assert!(width > 0 && features.len().is_multiple_of(width), "features of width {width}");
        let wide: Vec<f64> = features.iter().map(|&x| f64::from(x)).collect();
        let (centred, count) = (centre(&wide, width), features.len() / width);
        let projections = if count <= width {
            of_rows(&centred, width, components)
        } else {
            of_columns(&centred, width, components)
        };
        let total: f64 = centred.iter().map(|x| x * x).sum();
        let explained = projections.iter().map(|p| p.iter().map(|x| x * x).sum::<f64>() / total);
        let kept = components.min(projections.len());
        Self {
            explained: explained.take(kept).collect(),
            coordinates: (0..count).map(|i| projections[..kept].iter().map(|p| p[i]).collect()).collect(),
        }
    }
}

/// Coordinates by component, from the products of the vectors with each other.
fn of_rows(centred: &[f64], width: usize, components: usize) -> Vec<Vec<f64>> {
    let (values, vectors) = leading(gram(centred, width), centred.len() / width, components);
    let scaled = |(value, vector): (&f64, Vec<f64>)| {
        let root = value.max(0.0).sqrt();
        oriented(vector.into_iter().map(|x| x * root).collect())
    };
    values.iter().zip(vectors).map(scaled).collect()
}

/// The same from the covariance of the columns.
fn of_columns(centred: &[f64], width: usize, components: usize) -> Vec<Vec<f64>> {
    let count = centred.len() / width;
    let transposed: Vec<f64> = (0..width * count).map(|i| centred[i % count * width + i / count]).collect();
    let (_, axes) = leading(gram(&transposed, count), width, components);
    let along = |axis: Vec<f64>| {
        oriented(centred.chunks(width).map(|row| row.iter().zip(&axis).map(|(a, b)| a * b).sum()).collect())
    };
    axes.into_iter().map(along).collect()
}

/// Share of vectors whose label is that of most of their `k` nearest neighbours by cosine (of equals, the
/// nearest neighbour's), each vector left out of its own neighbours.
///
/// # Panics
/// When the vectors do not have that width, or there is not one label for each.
pub fn nearest_neighbours(features: &[f32], width: usize, labels: &[u32], k: usize) -> f64 {
    assert_eq!(features.len(), labels.len() * width, "one label for each vector");
    let normalised: Vec<Vec<f64>> = features
        .chunks(width)
        .map(|row| {
            let norm = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt().max(1e-30);
            row.iter().map(|&x| f64::from(x) / norm).collect()
        })
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let is_right = |index: &usize| {
        let mut others: Vec<(f64, u32)> = (0..labels.len())
            .filter(|other| other != index)
            .map(|other| (dot(&normalised[*index], &normalised[other]), labels[other]))
            .collect();
        let nearer = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0);
        if k < others.len() {
            others.select_nth_unstable_by(k, nearer);
            others.truncate(k);
        }
        others.sort_by(nearer);
        let votes = |label: u32| others.iter().filter(|(_, other)| *other == label).count();
        let best = others.iter().map(|&(_, label)| votes(label)).max().unwrap_or(0);
        others.iter().find(|&&(_, label)| votes(label) == best).is_some_and(|&(_, l)| l == labels[*index])
    };
    (0..labels.len()).into_par_iter().filter(is_right).count() as f64 / labels.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_find_the_same_components() {
        let features = crate::random::gaussian(5, &[12]).into_data();
        let pca = Pca::new(&features, 3, 3);
        assert!((pca.explained.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{:?}", pca.explained);
        let flat: Vec<f64> = features.iter().map(|&x| f64::from(x)).collect();
        let centred = centre(&flat, 3);
        let (a, b) = (of_rows(&centred, 3, 3), of_columns(&centred, 3, 3));
        for (a, b) in a.iter().take(3).zip(&b) {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9), "{a:?} and {b:?}");
        }
    }

    #[test]
    fn neighbours_of_the_same_direction_agree() {
        let features = [1.0, 0.0, 2.0, 0.1, 0.0, 1.0, 0.1, 3.0];
        assert!((nearest_neighbours(&features, 2, &[0, 0, 1, 1], 1) - 1.0).abs() < 1e-12);
        assert!(nearest_neighbours(&features, 2, &[0, 1, 0, 1], 1) < 1e-12);
    }
}
