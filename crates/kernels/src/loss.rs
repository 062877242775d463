//! Cross-entropy of a softmax, with PyTorch's label smoothing: the target of an image is
//! `1 - smoothing + smoothing / classes` for its class and `smoothing / classes` for every other one. An
//! image that was mixed of two has `1 - smoothing` shared out between two classes. Or binary cross-entropy with the
//! same targets, a sigmoid for each class (Wightman, Touvron & Jégou 2021, "ResNet strikes back", §4).

use rayon::prelude::*;

use crate::check;

/// What the logits of a batch are compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Targets<'a> {
    /// Class of each image.
    pub labels: &'a [u32],
    /// What was mixed in, where images were mixed.
    pub mixed: Option<Mixed<'a>>,
}

/// The second of the two images that each image of a batch was mixed of (Zhang et al. 2018, "mixup", §2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixed<'a> {
    /// Class of the second.
    pub labels: &'a [u32],
    /// Share of the first, 0 to 1; the second has the rest.
    pub shares: &'a [f32],
}

impl Targets<'_> {
    /// Checks that there is one target for each of `n` images.
    ///
    /// # Panics
    /// When there is not, or a share is not between 0 and 1.
    pub fn check(&self, n: usize) {
        assert_eq!(self.labels.len(), n, "one label for each image");
        if let Some(Mixed { labels, shares }) = self.mixed {
            assert_eq!((labels.len(), shares.len()), (n, n), "one second label and share for each image");
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "shares are between 0 and 1");
        }
    }

    /// The two classes of image `i` and the share of the first.
    pub(crate) fn of(&self, i: usize) -> ([usize; 2], f64) {
        let first = self.labels[i] as usize;
        match self.mixed {
            Some(Mixed { labels, shares }) => ([first, labels[i] as usize], shares[i].into()),
            None => ([first, first], 1.0),
        }
    }
}

impl<'a> From<&'a [u32]> for Targets<'a> {
    fn from(labels: &'a [u32]) -> Self {
        Self { labels, mixed: None }
    }
}

impl<'a> From<&'a Vec<u32>> for Targets<'a> {
    fn from(labels: &'a Vec<u32>) -> Self {
        labels.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [u32; N]> for Targets<'a> {
    fn from(labels: &'a [u32; N]) -> Self {
        labels.as_slice().into()
    }
}

/// Mean loss over the batch, taken in `f64`, and the number of images whose largest logit (the first among
/// equal ones) is their label's, of two labels the one with the larger share (the first of equals). `logits`
/// is `[n, classes]`; `dlogits` becomes the gradient of the mean loss. Stable for logits of any finite size.
/// Panics where a label is no class, or [`Targets::check`] does.
pub fn softmax_cross_entropy<'a>(
    logits: &[f32],
    targets: impl Into<Targets<'a>>,
    classes: usize,
    smoothing: f32,
    dlogits: Option<&mut [f32]>,
) -> (f64, usize) {
    cross_entropy(Loss::Softmax, logits, targets.into(), classes, smoothing, dlogits)
}

/// What is made of the logits before they are compared with the targets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// Probabilities that sum to 1; the loss of an image is its cross-entropy.
    #[default]
    Softmax,
    /// A probability for each class by itself; the loss of an image is the mean of its binary cross-entropies.
    Sigmoid {
        /// Targets above it become 1, others 0, so that each of the mixed classes counts as present.
        threshold: Option<f32>,
    },
}

/// [`softmax_cross_entropy`] or, with [`Loss::Sigmoid`], the mean over images and classes that PyTorch's
/// `binary_cross_entropy_with_logits` takes.
pub fn cross_entropy(
    loss: Loss,
    logits: &[f32],
    targets: Targets<'_>,
    classes: usize,
    smoothing: f32,
    dlogits: Option<&mut [f32]>,
) -> (f64, usize) {
    let n = targets.labels.len();
    targets.check(n);
    check::length("logits", logits.len(), n * classes);
    if n == 0 {
        return (0.0, 0);
    }
    let smoothing = f64::from(smoothing);
    let rows = logits.par_chunks_exact(classes).enumerate();
    let rows = rows.map(|(i, row)| Row::new(row, targets.of(i)));
    let results: Vec<(f64, bool)> = if let Some(dlogits) = dlogits {
        check::length("dlogits", dlogits.len(), logits.len());
        let scale = 1.0 / n as f64;
        rows.zip(dlogits.par_chunks_exact_mut(classes))
            .map(|(row, d)| {
                row.gradient(loss, smoothing, scale, d);
                (row.loss(loss, smoothing), row.is_correct())
            })
            .collect()
    } else {
        rows.map(|row| (row.loss(loss, smoothing), row.is_correct())).collect()
    };
    let total: f64 = results.iter().map(|&(loss, _)| loss).sum();
    (total / n as f64, results.iter().filter(|&&(_, correct)| correct).count())
}

/// The logits of one image.
struct Row<'a> {
    logits: &'a [f32],
    labels: [usize; 2],
    /// Of the first label.
    share: f64,
    /// `ln Σ exp(logits)`
    normaliser: f64,
}

impl<'a> Row<'a> {
    fn new(logits: &'a [f32], (labels, share): ([usize; 2], f64)) -> Self {
        let classes = logits.len();
        for label in labels {
            assert!(label < classes, "label {label} is no class; expected less than {classes}");
        }
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
        Self { logits, labels, share, normaliser: largest + sum.ln() }
    }

    fn loss(&self, loss: Loss, smoothing: f64) -> f64 {
        match loss {
            Loss::Softmax => self.softmax(smoothing),
            Loss::Sigmoid { threshold } => {
                // ln(1 + exp(x)) - t x, without an overflow.
                let of = |(class, &logit): (usize, &f32)| {
                    let (x, t) = (f64::from(logit), self.target(class, smoothing, threshold));
                    x.max(0.0) - t * x + (-x.abs()).exp().ln_1p()
                };
                self.logits.iter().enumerate().map(of).sum::<f64>() / self.logits.len() as f64
            }
        }
    }

    fn softmax(&self, smoothing: f64) -> f64 {
        let of = |label: usize| self.normaliser - f64::from(self.logits[label]);
        let own = match self.labels {
            [first, second] if first == second => of(first),
            [first, second] => self.share * of(first) + (1.0 - self.share) * of(second),
        };
        if smoothing == 0.0 {
            return own;
        }
        let all: f64 = self.logits.iter().map(|&logit| self.normaliser - f64::from(logit)).sum();
        (1.0 - smoothing) * own + smoothing * all / self.logits.len() as f64
    }

    fn is_correct(&self) -> bool {
        let label = self.labels[usize::from(self.share < 0.5)];
        let own = self.logits[label];
        let (before, after) = (&self.logits[..label], &self.logits[label + 1..]);
        before.iter().all(|&logit| own > logit) && after.iter().all(|&logit| own >= logit) && !own.is_nan()
    }

    fn target(&self, class: usize, smoothing: f64, threshold: Option<f32>) -> f64 {
        let [first, second] = self.labels;
        let share = match (class == first, class == second) {
            (true, true) => 1.0,
            (true, false) => self.share,
            (false, true) => 1.0 - self.share,
            (false, false) => 0.0,
        };
        let target = share * (1.0 - smoothing) + smoothing / self.logits.len() as f64;
        threshold.map_or(target, |threshold| f64::from(u8::from(target > f64::from(threshold))))
    }

    fn gradient(&self, loss: Loss, smoothing: f64, scale: f64, out: &mut [f32]) {
        for (class, (out, &logit)) in out.iter_mut().zip(self.logits).enumerate() {
            let logit = f64::from(logit);
            *out = match loss {
                Loss::Softmax => {
                    ((logit - self.normaliser).exp() - self.target(class, smoothing, None)) * scale
                }
                Loss::Sigmoid { threshold } => {
                    let sigmoid = 1.0 / (1.0 + (-logit).exp());
                    (sigmoid - self.target(class, smoothing, threshold)) * scale / self.logits.len() as f64
                }
            } as f32;
        }
    }
}
