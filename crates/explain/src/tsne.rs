//! t-SNE (van der Maaten & Hinton 2008), exact: for up to a few thousand vectors.

use rayon::prelude::*;

use crate::features::Pca;

/// How an embedding is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tsne {
    /// Effective number of neighbours.
    pub perplexity: f64,
    /// Steps of descent.
    pub steps: usize,
}

impl Default for Tsne {
    fn default() -> Self {
        Self { perplexity: 30.0, steps: 1000 }
    }
}

/// Steps in which neighbours attract more strongly, so that clusters form.
const EXAGGERATED_STEPS: usize = 250;
const EXAGGERATION: f64 = 12.0;
/// Precision of the entropies of the neighbourhoods, in bits.
const ENTROPY_TOLERANCE: f64 = 1e-5;

/// Places in the plane for vectors of `width` numbers, started from their first two principal components;
/// and the divergence of the embedding. `tell` hears how many steps are done, and stops the descent by
/// returning false.
///
/// # Panics
/// When the vectors do not have that width.
pub fn tsne(
    features: &[f32],
    width: usize,
    options: &Tsne,
    mut tell: impl FnMut(usize) -> bool,
) -> (Vec<[f64; 2]>, f64) {
    let count = features.len() / width;
    let p = affinities(features, width, options.perplexity.min((count as f64 - 1.0) / 3.0).max(1.0));
    let mut y = start(features, width);
    let mut velocity = vec![[0.0; 2]; count];
    let mut gains = vec![[1.0f64; 2]; count];
    let rate = (count as f64 / EXAGGERATION / 4.0).max(50.0);
    for step in 0..options.steps {
        let early = step < EXAGGERATED_STEPS;
        let gradient = gradient(&p, &y, if early { EXAGGERATION } else { 1.0 });
        let momentum = if early { 0.5 } else { 0.8 };
        for i in 0..count {
            for d in 0..2 {
                let (g, v) = (gradient[i][d], velocity[i][d]);
                gains[i][d] = if g * v < 0.0 { gains[i][d] + 0.2 } else { (gains[i][d] * 0.8).max(0.01) };
                velocity[i][d] = momentum * v - rate * gains[i][d] * g;
                y[i][d] += velocity[i][d];
            }
        }
        if !tell(step + 1) {
            break;
        }
    }
    let divergence = divergence(&p, &y);
    (y, divergence)
}

/// Principal components, scaled to be small.
fn start(features: &[f32], width: usize) -> Vec<[f64; 2]> {
    let pca = Pca::new(features, width, 2);
    let first: Vec<f64> = pca.coordinates.iter().map(|c| c.first().copied().unwrap_or(0.0)).collect();
    let spread = (first.iter().map(|x| x * x).sum::<f64>() / first.len().max(1) as f64).sqrt().max(1e-12);
    pca.coordinates.iter().map(|c| [0, 1].map(|d| 1e-4 * c.get(d).copied().unwrap_or(0.0) / spread)).collect()
}

/// Symmetric affinities that sum to 1, row by row.
fn affinities(features: &[f32], width: usize, perplexity: f64) -> Vec<f64> {
    let rows: Vec<&[f32]> = features.chunks(width).collect();
    let count = rows.len();
    let distance = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>()
    };
    let conditional: Vec<Vec<f64>> = (0..count)
        .into_par_iter()
        .map(|i| {
            let distances: Vec<f64> = (0..count).map(|j| distance(rows[i], rows[j])).collect();
            neighbourhood(&distances, i, perplexity.log2())
        })
        .collect();
    let pair = |index: usize| {
        let (i, j) = (index / count, index % count);
        ((conditional[i][j] + conditional[j][i]) / (2 * count) as f64).max(1e-12)
    };
    (0..count * count).map(pair).collect()
}

/// Probabilities of neighbours whose entropy is that asked for, by bisection of the precision.
fn neighbourhood(distances: &[f64], own: usize, entropy: f64) -> Vec<f64> {
    let nearest = distances
        .iter()
        .enumerate()
        .filter(|(j, _)| *j != own)
        .map(|(_, &d)| d)
        .fold(f64::INFINITY, f64::min);
    let (mut low, mut high, mut precision) = (0.0, f64::INFINITY, 1.0);
    let mut p = vec![0.0; distances.len()];
    for _ in 0..200 {
        let weight = |j: usize| if j == own { 0.0 } else { (-(distances[j] - nearest) * precision).exp() };
        p = (0..distances.len()).map(weight).collect();
        let total: f64 = p.iter().sum();
        for p in &mut p {
            *p /= total;
        }
        let found: f64 = p.iter().filter(|&&p| p > 0.0).map(|p| -p * p.log2()).sum();
        if (found - entropy).abs() < ENTROPY_TOLERANCE {
            break;
        }
        if found > entropy {
            low = precision;
            precision = if high.is_finite() { f64::midpoint(low, high) } else { 2.0 * precision };
        } else {
            high = precision;
            precision = f64::midpoint(low, high);
        }
    }
    p
}

/// Unnormalised affinities of the embedding, and their sum.
fn student(y: &[[f64; 2]]) -> (Vec<f64>, f64) {
    let count = y.len();
    let q: Vec<f64> = (0..count * count)
        .into_par_iter()
        .map(|index| {
            let (a, b) = (y[index / count], y[index % count]);
            let square = (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
            if index / count == index % count { 0.0 } else { 1.0 / (1.0 + square) }
        })
        .collect();
    let total = q.iter().sum();
    (q, total)
}

fn gradient(p: &[f64], y: &[[f64; 2]], exaggeration: f64) -> Vec<[f64; 2]> {
    let (count, (q, total)) = (y.len(), student(y));
    (0..count)
        .into_par_iter()
        .map(|i| {
            let mut sum = [0.0; 2];
            for j in 0..count {
                let q = q[i * count + j];
                let force = 4.0 * (exaggeration * p[i * count + j] - q / total) * q;
                for d in 0..2 {
                    sum[d] += force * (y[i][d] - y[j][d]);
                }
            }
            sum
        })
        .collect()
}

/// Kullback–Leibler divergence of the embedding's affinities from the vectors'.
fn divergence(p: &[f64], y: &[[f64; 2]]) -> f64 {
    let (q, total) = student(y);
    let count = y.len();
    let term = |index: usize| p[index] * (p[index] / (q[index] / total).max(1e-12)).ln();
    (0..p.len()).filter(|index| index / count != index % count).map(term).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters() -> Vec<f32> {
        let noise = crate::random::gaussian(3, &[60 * 5]);
        (0..60 * 5).map(|i| noise.data()[i] + if (i / 5) % 3 == i % 5 { 8.0 } else { 0.0 }).collect()
    }

    #[test]
    fn affinities_are_symmetric_and_sum_to_one() {
        let p = affinities(&clusters(), 5, 10.0);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-6);
        assert!((0..60 * 60).all(|i| (p[i] - p[i % 60 * 60 + i / 60]).abs() < 1e-15));
    }

    #[test]
    fn the_gradient_is_that_of_the_divergence() {
        let p = affinities(&clusters(), 5, 10.0);
        let mut y: Vec<[f64; 2]> = start(&clusters(), 5).iter().map(|y| y.map(|y| 1e4 * y)).collect();
        let analytic = gradient(&p, &y, 1.0);
        for (i, d) in [(0, 0), (7, 1), (59, 0)] {
            let mut at = |delta: f64| {
                y[i][d] += delta;
                let value = divergence(&p, &y);
                y[i][d] -= delta;
                value
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((numeric - analytic[i][d]).abs() < 1e-6, "{numeric} and {}", analytic[i][d]);
        }
    }

    #[test]
    fn every_row_has_the_entropy_of_the_perplexity() {
        let noise = clusters();
        let rows: Vec<&[f32]> = noise.chunks(5).collect();
        for perplexity in [5.0f64, 10.0, 19.0] {
            for own in 0..rows.len() {
                let square = |other: &&[f32]| {
                    rows[own].iter().zip(*other).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
                };
                let distances: Vec<f64> = rows.iter().map(square).collect();
                let p = neighbourhood(&distances, own, perplexity.log2());
                let entropy: f64 = p.iter().filter(|&&p| p > 0.0).map(|p| -p * p.log2()).sum();
                assert!((entropy - perplexity.log2()).abs() < 1e-5, "{entropy} for {perplexity}");
                assert!(p[own] == 0.0 && (p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_divergence_falls_after_the_exaggeration() {
        let after = |steps| tsne(&clusters(), 5, &Tsne { perplexity: 10.0, steps }, |_| true).1;
        let falls: Vec<f64> = [EXAGGERATED_STEPS, 300, 400, 800].map(after).to_vec();
        assert!(falls.is_sorted_by(|a, b| a > b), "{falls:?}");
    }

    #[test]
    fn clusters_stay_together() {
        let (y, divergence) = tsne(&clusters(), 5, &Tsne { perplexity: 10.0, steps: 400 }, |_| true);
        let distance = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
        let nearest = |i: usize| {
            let others = (0..60).filter(|&j| j != i);
            others.min_by(|&a, &b| distance(y[i], y[a]).total_cmp(&distance(y[i], y[b]))).unwrap_or(0)
        };
        let right = (0..60).filter(|&i| nearest(i) % 3 == i % 3).count();
        assert!(right >= 58 && divergence < 1.0, "{right} of 60, divergence {divergence}");
    }
}
