//! Images made from inside: what excites a class or a channel, and what has the features of an image.

use anyhow::Result;
use residuum::data::RgbImage;
use residuum::explain::{Goal, Inversion, Maximisation, gaussian, invert, maximise};
use residuum::plot::Picture;
use residuum::tensor::Tensor;

use super::finding::Finding;
use super::{Explainer, Method, Subjected};

const STEPS: usize = 200;
/// Length of a step of ascent, for each number of the image (root mean square).
const ASCENT: f32 = 0.1;
/// Steps between two blurs, and their width in pixels for each pixel of the image's side, and at least.
const BLUR_EVERY: usize = 4;
const BLUR: [f32; 2] = [1.0 / 224.0, 0.5];
/// Rate of descent, weights of size and variation, for each number of the image (its inverse).
const DESCENT: f32 = 0.02;
const BOUND: f64 = 1e-4;
const VARIATION: f64 = 0.05;

impl Explainer<'_> {
    /// An image that a class or a channel is excited by.
    pub(super) fn maximise(&self) -> Result<Finding> {
        let preprocess = &self.loaded.info.preprocess;
        let side = preprocess.crop;
        let start = self.noise(0.1);
        let goal = match (&self.args.layer, self.args.channel) {
            (Some(layer), Some(channel)) => Goal::Channel { layer: layer.clone(), channel },
            _ => Goal::Class(self.named_class()?.unwrap_or(0)),
        };
        let [black, white] = [0, 255].map(|byte| RgbImage::from_fn(side, side, |_, _| [byte; 3]));
        let options = Maximisation {
            steps: self.args.samples.unwrap_or(STEPS),
            rate: ASCENT * (start.len() as f32).sqrt(),
            decay: 0.01,
            jitter: side / 32,
            seed: 0,
            blur_every: BLUR_EVERY,
            blur: (BLUR[0] * side as f32).max(BLUR[1]),
            range: Some([preprocess.apply(&black), preprocess.apply(&white)]),
        };
        let tell = self.tell(Method::Maximise, &self.loaded.model.name);
        let made = maximise(&self.subject(), &start, &goal, &options, tell)?;
        Ok(self.made(made.image, &made.scores, "score"))
    }

    /// An image whose features at a layer are those of the one given.
    pub(super) fn invert(&self, image: &Subjected, layer: &str) -> Result<Finding> {
        let subject = self.subject();
        let features = subject.values(&image.prepared, &[layer.to_owned()])?.remove(0);
        let count = image.prepared.len();
        let options = Inversion {
            steps: self.args.samples.unwrap_or(STEPS),
            rate: DESCENT * count as f32,
            bound: BOUND / count as f64,
            variation: VARIATION / count as f64,
        };
        let tell = self.tell(Method::Invert, &image.name);
        let made = invert(&subject, &self.noise(0.1), layer, &features, &options, tell)?;
        Ok(self.made(made.image, &made.scores, "distance"))
    }

    /// Something to begin with that is no image yet.
    fn noise(&self, deviation: f32) -> Tensor {
        let side = self.loaded.info.preprocess.crop;
        let noise = gaussian(0, &[1, 3, side, side]);
        Tensor::from_fn([1, 3, side, side], |index| deviation * noise.data()[index])
    }

    /// In the colours that the network would see.
    fn made(&self, image: Tensor, scores: &[f64], what: &str) -> Finding {
        let preprocess = &self.loaded.info.preprocess;
        let side = preprocess.crop;
        let (first, last) = (scores.first().unwrap_or(&f64::NAN), scores.last().unwrap_or(&f64::NAN));
        let picture = Picture::new(side, side, preprocess.restore(image.data()).into_pixels());
        let picture = picture.with_legend(format!("{what} {first:.3}, at the end {last:.3}"));
        Finding::new(image, "made", picture)
    }
}
