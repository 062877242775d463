//! Eigenvectors of symmetric matrices: all of small ones by Jacobi's rotations, the leading ones of large ones
//! by orthogonal iteration.

use rayon::prelude::*;

use crate::random::gaussian;

/// Rotations through all pairs; the off-diagonal vanishes quadratically, so that a few suffice.
const SWEEPS: usize = 60;

/// Eigenvalues, the largest first, and their eigenvectors as rows, of a symmetric `n` × `n` matrix.
pub(crate) fn symmetric(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut v: Vec<f64> = (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect();
    let scale: f64 = a.iter().map(|x| x * x).sum::<f64>().sqrt();
    for _ in 0..SWEEPS {
        let off: f64 = (0..n * n).filter(|i| i / n != i % n).map(|i| a[i] * a[i]).sum();
        if off.sqrt() <= 1e-15 * scale {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, n, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]));
    let vector = |&column: &usize| (0..n).map(|row| v[row * n + column]).collect();
    (order.iter().map(|&i| a[i * n + i]).collect(), order.iter().map(vector).collect())
}

/// Matrices up to this side are rotated; the work grows with its cube.
const SMALL: usize = 200;
/// Vectors iterated beyond those wanted: what converges is the ratio of the eigenvalues of the last wanted one
/// and of the first left out.
const SPARE: usize = 16;
const ITERATIONS: usize = 300;

/// The `count` largest eigenvalues, or all, and their eigenvectors as rows, of a symmetric `n` × `n` matrix
/// without negative ones.
pub(crate) fn leading(a: Vec<f64>, n: usize, count: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let width = count + SPARE;
    if n <= SMALL || width >= n {
        let (mut values, mut vectors) = symmetric(a, n);
        values.truncate(count);
        vectors.truncate(count);
        return (values, vectors);
    }
    let start = gaussian(0, &[width, n]);
    let mut vectors: Vec<Vec<f64>> =
        start.data().chunks(n).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect();
    let mut values = vec![0.0; width];
    for _ in 0..ITERATIONS {
        orthonormalise(&mut vectors);
        let images: Vec<Vec<f64>> = vectors.par_iter().map(|v| times(&a, v)).collect();
        let projected = vectors.iter().flat_map(|v| images.iter().map(|image| dot(v, image))).collect();
        let (found, rotation) = symmetric(projected, width);
        let combine = |weights: &Vec<f64>| {
            let mut sum = vec![0.0; n];
            for (weight, image) in weights.iter().zip(&images) {
                sum.iter_mut().zip(image).for_each(|(sum, x)| *sum += weight * x);
            }
            sum
        };
        vectors = rotation.par_iter().map(combine).collect();
        let change = found.iter().zip(&values).take(count).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        values = found;
        if change <= 1e-13 * values[0] {
            break;
        }
    }
    orthonormalise(&mut vectors);
    values.truncate(count);
    vectors.truncate(count);
    (values, vectors)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    matrix.chunks(vector.len()).map(|row| dot(row, vector)).collect()
}

/// Gram and Schmidt's, twice, so that rounding does no harm.
fn orthonormalise(vectors: &mut [Vec<f64>]) {
    for i in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(i);
        let own = &mut rest[0];
        for other in before.iter().chain(before.iter()) {
            let along = dot(own, other);
            own.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
        }
        let norm = dot(own, own).sqrt().max(f64::MIN_POSITIVE);
        for x in own.iter_mut() {
            *x /= norm;
        }
    }
}

/// The rotation of rows and columns `p` and `q` that makes their common element zero.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let common = a[p * n + q];
    if common == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * common);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..n {
        let (x, y) = (a[p * n + k], a[q * n + k]);
        (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..n {
        let (x, y) = (v[k * n + p], v[k * n + q]);
        (v[k * n + p], v[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
}

/// Projection of the rows of a matrix (`rows` × `columns`, means of the columns taken off) on its first
/// right singular vector; the entry of largest magnitude is positive.
pub(crate) fn principal_axis(matrix: &[f64], columns: usize) -> Vec<f64> {
    let centred = centre(matrix, columns);
    let rows = centred.len() / columns;
    // The smaller of the two Gram matrices has the same eigenvalues.
    let (values, vectors) = symmetric(gram(&centred, columns), rows);
    let root = values.first().copied().unwrap_or(0.0).max(0.0).sqrt();
    vectors.first().map_or_else(Vec::new, |u| oriented(u.iter().map(|x| x * root).collect()))
}

/// The vector or its opposite, whichever has its entry of largest magnitude positive.
pub(crate) fn oriented(vector: Vec<f64>) -> Vec<f64> {
    let largest = vector.iter().copied().fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a });
    if largest < 0.0 { vector.into_iter().map(|x| -x).collect() } else { vector }
}

/// The matrix with the mean of every column taken off.
pub(crate) fn centre(matrix: &[f64], columns: usize) -> Vec<f64> {
    let rows = (matrix.len() / columns.max(1)).max(1);
    let mut means = vec![0.0; columns];
    for row in matrix.chunks(columns) {
        means.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / rows as f64);
    }
    matrix.iter().enumerate().map(|(index, x)| x - means[index % columns]).collect()
}

/// Products of all pairs of rows.
pub(crate) fn gram(matrix: &[f64], columns: usize) -> Vec<f64> {
    let rows: Vec<&[f64]> = matrix.chunks(columns).collect();
    rows.par_iter().flat_map_iter(|a| rows.iter().map(move |b| dot(a, b))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvectors_give_back_the_matrix() {
        let n = 6;
        let half: Vec<f64> = (0..n * n).map(|i| ((i * 37 % 11) as f64 - 5.0) / 3.0).collect();
        let a: Vec<f64> = (0..n * n).map(|i| half[i] + half[i % n * n + i / n]).collect();
        let (values, vectors) = symmetric(a.clone(), n);
        assert!(values.is_sorted_by(|x, y| x >= y));
        for i in 0..n * n {
            let back: f64 = (0..n).map(|k| values[k] * vectors[k][i / n] * vectors[k][i % n]).sum();
            assert!((back - a[i]).abs() < 1e-12, "{back} and {}", a[i]);
        }
    }

    #[test]
    fn the_leading_ones_are_those_of_the_whole() {
        let (n, width) = (SMALL + 30, 400);
        // Directions of falling weight, so that the eigenvalues lie apart.
        let noise = gaussian(4, &[n, width]);
        let weighed = |i: usize| f64::from(noise.data()[i]) * 0.9f64.powi((i % width) as i32);
        let a = gram(&(0..n * width).map(weighed).collect::<Vec<f64>>(), width);
        let (values, vectors) = leading(a.clone(), n, 5);
        let (all, axes) = symmetric(a, n);
        assert_eq!((values.len(), vectors.len()), (5, 5));
        for i in 0..5 {
            assert!((values[i] / all[i] - 1.0).abs() < 1e-9, "{} and {}", values[i], all[i]);
            assert!(dot(&vectors[i], &axes[i]).abs() > 1.0 - 1e-6, "vector {i}");
        }
    }
}
