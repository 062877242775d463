//! How the features of images lie: principal components and neighbours.

use crate::eigen::{centre, gram, oriented, symmetric};

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
        let projections =
            if count <= width { of_rows(&centred, width, count) } else { of_columns(&centred, width, count) };
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
fn of_rows(centred: &[f64], width: usize, count: usize) -> Vec<Vec<f64>> {
    let (values, vectors) = symmetric(gram(centred, width), count);
    let scaled = |(value, vector): (&f64, Vec<f64>)| {
        let root = value.max(0.0).sqrt();
        oriented(vector.into_iter().map(|x| x * root).collect())
    };
    values.iter().zip(vectors).map(scaled).collect()
}

/// The same from the covariance of the columns.
fn of_columns(centred: &[f64], width: usize, count: usize) -> Vec<Vec<f64>> {
    let transposed: Vec<f64> = (0..width * count).map(|i| centred[i % count * width + i / count]).collect();
    let (_, axes) = symmetric(gram(&transposed, count), width);
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
        others.sort_by(|a, b| b.0.total_cmp(&a.0));
        others.truncate(k);
        let votes = |label: u32| others.iter().filter(|(_, other)| *other == label).count();
        let best = others.iter().map(|&(_, label)| votes(label)).max().unwrap_or(0);
        others.iter().find(|&&(_, label)| votes(label) == best).is_some_and(|&(_, l)| l == labels[*index])
    };
    (0..labels.len()).filter(is_right).count() as f64 / labels.len().max(1) as f64
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
        let (a, b) = (of_rows(&centred, 3, 4), of_columns(&centred, 3, 4));
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
