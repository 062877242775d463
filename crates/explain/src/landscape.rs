//! How the loss lies around trained weights (Li et al. 2018, "Visualizing the loss landscape of neural
//! nets").

use residuum_graph::{Graph, Weights};
use residuum_tensor::Tensor;

use crate::error::{ExplainError, Result};
use crate::random::gaussian;
use crate::score::Score;
use crate::subject::Subject;

/// A direction in the space of weights, filter-normalised (§4): each filter has the norm of the network's
/// own; biases and batch norms stand still.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction(Weights);

impl Direction {
    /// A random direction.
    pub fn random(graph: &Graph, weights: &Weights, seed: u64) -> Self {
        let mut place = 0;
        Self::new(graph, weights, |_, len| {
            place += 1;
            gaussian(seed.wrapping_add(place << 20), &[len]).data().iter().map(|&x| f64::from(x)).collect()
        })
    }

    /// The direction whose numbers, before normalisation, `values` gives for each parameter's name and
    /// number of elements.
    pub fn new(graph: &Graph, weights: &Weights, mut values: impl FnMut(&str, usize) -> Vec<f64>) -> Self {
        let mut direction = Weights::new();
        for param in graph.params().iter().filter(|param| param.role.is_learned() && param.shape.len() >= 2) {
            let Some(own) = weights.get(&param.name) else { continue };
            let mut d = values(&param.name, param.len());
            let filter = param.len() / param.shape[0].max(1);
            for (d, w) in d.chunks_mut(filter).zip(own.data().chunks(filter)) {
                let norm = |sum: f64| sum.sqrt();
                let ours = norm(w.iter().map(|&w| f64::from(w) * f64::from(w)).sum());
                let theirs = norm(d.iter().map(|d| d * d).sum());
                for d in d {
                    *d *= ours / (theirs + 1e-10);
                }
            }
            direction.insert(param.name.clone(), Tensor::from_fn(param.shape.clone(), |i| d[i] as f32));
        }
        Self(direction)
    }
}

/// `weights + Σ distance · direction`
pub fn shifted(weights: &Weights, steps: &[(f64, &Direction)]) -> Weights {
    let mut moved = weights.clone();
    for (distance, Direction(direction)) in steps {
        for (name, d) in direction {
            if let Some(tensor) = moved.get_mut(name) {
                for (w, &d) in tensor.data_mut().iter_mut().zip(d.data()) {
                    *w = (f64::from(*w) + distance * f64::from(d)) as f32;
                }
            }
        }
    }
    moved
}

/// The score of images at each of the points `(a, b)` of the plane that two directions span through the
/// weights, running statistics as they are. `tell` hears how many of how many points are done and stops the
/// work by returning false; what is not done is [`Score::UNKNOWN`].
///
/// # Errors
/// When the network does not admit the images.
pub fn landscape(
    subject: &Subject<'_>,
    images: &Tensor,
    labels: &[u32],
    directions: [&Direction; 2],
    points: &[(f64, f64)],
    tell: impl FnMut(usize, usize) -> bool,
) -> Result<Vec<Score>> {
    let at = |&(a, b): &(f64, f64)| Ok(shifted(subject.weights, &[(a, directions[0]), (b, directions[1])]));
    scores(subject, images, labels, points, at, tell)
}

/// The score on the line between two trained networks of one form: at 0 that of `subject`, at 1 that of the
/// weights `to`. Running statistics go along, or else those of one end would judge the activations of the
/// other. `tell` is that of [`landscape`].
///
/// # Errors
/// When the weights are not alike or the network does not admit the images.
pub fn interpolation(
    subject: &Subject<'_>,
    to: &Weights,
    images: &Tensor,
    labels: &[u32],
    points: &[f64],
    tell: impl FnMut(usize, usize) -> bool,
) -> Result<Vec<Score>> {
    scores(subject, images, labels, points, |&t| interpolated(subject.weights, to, t), tell)
}

/// `(1 − t) · a + t · b` of every tensor, running statistics too. A variance that this makes negative, beyond
/// one of the ends, is 0.
///
/// # Errors
/// When the tensors have not the same names and shapes.
pub fn interpolated(a: &Weights, b: &Weights, t: f64) -> Result<Weights> {
    let mix = |(name, own): (&String, &Tensor)| {
        let theirs = b.get(name).filter(|theirs| theirs.shape() == own.shape()).ok_or_else(|| {
            let found = b.get(name).map_or("none".into(), |theirs| format!("{:?}", theirs.shape()));
            ExplainError::unfit(
                format!("{name} of the other network"),
                format!("shape {:?}", own.shape()),
                found,
            )
        })?;
        let least = if name.ends_with("running_var") { 0.0 } else { f64::NEG_INFINITY };
        let value = |i: usize| {
            ((1.0 - t) * f64::from(own.data()[i]) + t * f64::from(theirs.data()[i])).max(least) as f32
        };
        Ok((name.clone(), Tensor::from_fn(own.shape().to_vec(), value)))
    };
    a.iter().map(mix).collect()
}

fn scores<P>(
    subject: &Subject<'_>,
    images: &Tensor,
    labels: &[u32],
    points: &[P],
    weights: impl Fn(&P) -> Result<Weights>,
    mut tell: impl FnMut(usize, usize) -> bool,
) -> Result<Vec<Score>> {
    let mut found = vec![Score::UNKNOWN; points.len()];
    for (index, point) in points.iter().enumerate() {
        let weights = weights(point)?;
        let moved = Subject { weights: &weights, ..*subject };
        match moved.score(images, labels, |_| tell(index, points.len()))? {
            Some(score) => found[index] = score,
            None => return Ok(found),
        }
        if !tell(index + 1, points.len()) {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(value: f32, side: usize) -> Weights {
        Weights::from([
            ("bn.running_var".into(), Tensor::filled([side], value)),
            ("bn.bias".into(), Tensor::filled([side], -value)),
        ])
    }

    #[test]
    fn everything_is_interpolated_and_variances_stay_variances() {
        let (a, b) = (weights(1.0, 2), weights(3.0, 2));
        assert_eq!(interpolated(&a, &b, 0.0).unwrap(), a);
        assert_eq!(interpolated(&a, &b, 1.0).unwrap(), b);
        let middle = interpolated(&a, &b, 0.25).unwrap();
        assert_eq!((middle["bn.running_var"].data()[0], middle["bn.bias"].data()[0]), (1.5, -1.5));
        let beyond = interpolated(&a, &b, -1.0).unwrap();
        assert_eq!((beyond["bn.running_var"].data()[0], beyond["bn.bias"].data()[0]), (0.0, 1.0));
        let error = interpolated(&a, &weights(1.0, 3), 0.5).unwrap_err().to_string();
        assert!(error.contains("[2]") && error.contains("[3]"), "{error}");
    }
}
