//! From logits to probabilities, means, ranks and losses, in `f64`.

/// Probabilities of the classes, by the softmax of their logits.
pub(crate) fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = largest(logits);
    let powers: Vec<f64> = logits.iter().map(|&x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// Cross-entropy: the negative logarithm of the probability of `label`.
pub(crate) fn cross_entropy(logits: &[f64], label: usize) -> f64 {
    log_sum_exp(logits) - logits[label]
}

/// Classes before `class` in the order of falling logits; of equal ones the first comes first.
pub(crate) fn rank(logits: &[f64], class: usize) -> usize {
    let own = logits[class];
    let [before, after] = [&logits[..class], &logits[class..]];
    before.iter().filter(|&&x| x >= own).count() + after.iter().filter(|&&x| x > own).count()
}

/// The `k` classes of the largest logits, the largest first; of equal ones the first comes first.
pub(crate) fn top(logits: &[f64], k: usize) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    classes.truncate(k);
    classes
}

fn largest(logits: &[f64]) -> f64 {
    logits.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Logarithm of the sum of the powers of `e`.
fn log_sum_exp(logits: &[f64]) -> f64 {
    let largest = largest(logits);
    logits.iter().map(|&x| (x - largest).exp()).sum::<f64>().ln() + largest
}

/// Logits as they are worked with here.
pub(crate) fn widen(logits: &[f32]) -> Vec<f64> {
    logits.iter().map(|&x| f64::from(x)).collect()
}

/// What is averaged where a network answers several times for one picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Average {
    /// The probabilities, after the softmax (Krizhevsky et al. 2012, §4.1, and He et al. 2015).
    #[default]
    Probabilities,
    /// The logits, before the softmax.
    Logits,
}

/// The mean of answers, taken in one by one. Probabilities are kept as logarithms, so that none is lost
/// however small it is.
#[derive(Clone, Debug)]
pub(crate) struct Mean {
    average: Average,
    sum: Vec<f64>,
    count: usize,
}

impl Mean {
    pub(crate) fn new(average: Average) -> Self {
        Self { average, sum: Vec::new(), count: 0 }
    }

    /// Takes in an answer: logits, or anything whose softmax is the probabilities.
    pub(crate) fn add(&mut self, logits: &[f64]) {
        let shift = match self.average {
            Average::Logits => 0.0,
            Average::Probabilities => log_sum_exp(logits),
        };
        self.count += 1;
        if self.count == 1 {
            self.sum = logits.iter().map(|x| x - shift).collect();
            return;
        }
        for (sum, x) in self.sum.iter_mut().zip(logits) {
            *sum = match self.average {
                Average::Logits => *sum + x,
                Average::Probabilities => log_add_exp(*sum, x - shift),
            };
        }
    }

    /// Scores whose softmax is the mean; none where nothing was taken in.
    pub(crate) fn scores(&self) -> Vec<f64> {
        let count = self.count as f64;
        match self.average {
            Average::Logits => self.sum.iter().map(|sum| sum / count).collect(),
            Average::Probabilities => self.sum.iter().map(|sum| sum - count.ln()).collect(),
        }
    }
}

fn log_add_exp(a: f64, b: f64) -> f64 {
    a.max(b) + (-(a - b).abs()).exp().ln_1p()
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
    fn means_are_of_logits_or_of_probabilities() {
        let answers = [[2.0, 0.0, -1.0], [-3.0, 1.0, 0.5], [0.0, 0.0, 4.0]];
        let mean = |average| {
            let mut mean = Mean::new(average);
            for answer in &answers {
                mean.add(answer);
            }
            mean.scores()
        };
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-14);
        assert!(close(&mean(Average::Logits), &[-1.0 / 3.0, 1.0 / 3.0, 3.5 / 3.0]));
        let by_hand: Vec<f64> =
            (0..3).map(|class| answers.iter().map(|a| softmax(a)[class]).sum::<f64>() / 3.0).collect();
        let scores = mean(Average::Probabilities);
        assert!(close(&softmax(&scores), &by_hand));
        assert!((cross_entropy(&scores, 1) + by_hand[1].ln()).abs() < 1e-14);
    }

    #[test]
    fn a_mean_keeps_probabilities_too_small_for_a_float() {
        let mut mean = Mean::new(Average::Probabilities);
        mean.add(&[0.0, -2000.0, -1000.0]);
        mean.add(&[0.0, -2000.0, -1000.0]);
        assert_eq!((rank(&mean.scores(), 2), rank(&mean.scores(), 1)), (1, 2));
        assert!((cross_entropy(&mean.scores(), 1) - 2000.0).abs() < 1e-9);
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
