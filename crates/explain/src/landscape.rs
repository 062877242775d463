//! How the loss lies around trained weights (Li et al. 2018, "Visualizing the loss landscape of neural
//! nets").

use residuum_graph::{Graph, Weights};
use residuum_tensor::Tensor;

use crate::error::Result;
use crate::random::gaussian;
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

/// Mean cross-entropy of a batch at each of the points `(a, b)` of the plane that two directions span
/// through the weights, running statistics as they are. `tell` hears how many of how many points are done
/// and stops the work by returning false; what is not done is not-a-number.
///
/// # Errors
/// When the network does not admit the images.
pub fn landscape(
    subject: &Subject<'_>,
    images: &Tensor,
    labels: &[u32],
    directions: [&Direction; 2],
    points: &[(f64, f64)],
    mut tell: impl FnMut(usize, usize) -> bool,
) -> Result<Vec<f64>> {
    let mut losses = vec![f64::NAN; points.len()];
    for (index, &(a, b)) in points.iter().enumerate() {
        let weights = shifted(subject.weights, &[(a, directions[0]), (b, directions[1])]);
        let moved = Subject { weights: &weights, ..*subject };
        losses[index] = cross_entropy(&moved.logits(images)?, labels);
        if !tell(index + 1, points.len()) {
            break;
        }
    }
    Ok(losses)
}

/// Mean cross-entropy of logits `[n, classes]`.
pub(crate) fn cross_entropy(logits: &Tensor, labels: &[u32]) -> f64 {
    let classes = logits.shape()[1];
    let loss = |(row, &label): (&[f32], &u32)| {
        let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = row.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
        largest + sum.ln() - f64::from(row[label as usize])
    };
    logits.data().chunks(classes).zip(labels).map(loss).sum::<f64>() / labels.len().max(1) as f64
}
