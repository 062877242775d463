//! From logits to probabilities, ranks and losses, in `f64`.

/// Probabilities of the classes, by the softmax of their logits.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = largest(logits);
    let powers: Vec<f64> = logits.iter().map(|&x| (f64::from(x) - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// Cross-entropy: the negative logarithm of the probability of `label`.
pub(crate) fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let largest = largest(logits);
    let sum: f64 = logits.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
    sum.ln() + largest - f64::from(logits[label])
}

/// Classes before `class` in the order of falling logits; of equal ones the first comes first.
pub(crate) fn rank(logits: &[f32], class: usize) -> usize {
    let own = logits[class];
    let [before, after] = [&logits[..class], &logits[class..]];
    before.iter().filter(|&&x| x >= own).count() + after.iter().filter(|&&x| x > own).count()
}

/// The `k` classes of the largest logits, the largest first; of equal ones the first comes first.
pub(crate) fn top(logits: &[f32], k: usize) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    classes.truncate(k);
    classes
}

fn largest(logits: &[f32]) -> f64 {
    f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        let probabilities = softmax(&[1000.0, 1000.0, -1000.0]);
        assert_eq!(probabilities, [0.5, 0.5, 0.0]);
        assert!((cross_entropy(&[1000.0, 1000.0, -1000.0], 2) - (2000.0 + 2f64.ln())).abs() < 1e-9);
        assert!((cross_entropy(&[0.0; 10], 3) - 10f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn ranks_and_the_list_of_the_best_agree() {
        let logits = [0.5, 2.0, -1.0, 2.0, 0.5];
        assert_eq!(top(&logits, 9), [1, 3, 0, 4, 2]);
        for (place, class) in top(&logits, 5).into_iter().enumerate() {
            assert_eq!(rank(&logits, class), place);
        }
    }
}
