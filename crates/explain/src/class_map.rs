//! Which places matter: class activation maps.

use residuum_engine::SensitivityOptions;
use residuum_graph::Op;
use residuum_tensor::Tensor;

use crate::batches::scores;
use crate::eigen::principal_axis;
use crate::error::Result;
use crate::subject::{Subject, one_hot};

/// How a class activation map weighs the activations `A_k` of a layer, given the gradient `g_k` of the
/// class's score with respect to them. Sums over pixels are written Σ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CamMethod {
    /// `max(0, Σ_k w_k A_k)`, `w_k` the mean of `g_k` (Selvaraju et al. 2016).
    GradCam,
    /// `w_k = Σ max(g, 0) α`, `α = g² / (2 g² + (Σ A_k) g³)` (Chattopadhay et al. 2017).
    GradCamPlusPlus,
    /// `Σ_k g_k A_k` (Draelos & Carin 2020).
    HiResCam,
    /// `Σ_k max(g_k, 0) A_k` (Jiang et al. 2021).
    LayerCam,
    /// `w_k = Σ g A / Σ A` (Fu et al. 2020).
    XGradCam,
    /// Projection of the activations on their first principal axis: no class, no gradient (Muhammad & Yeasin
    /// 2020). The entry of largest magnitude is made positive.
    EigenCam,
    /// Weights by the scores of images masked with each channel (Wang et al. 2019).
    ScoreCam,
}

const TINY: f64 = 1e-7;

/// The layer that class maps look at if none is named: the last map before the pooling of the network.
pub fn default_layer(subject: &Subject<'_>) -> Option<String> {
    let pool = subject.graph.nodes().iter().rev().find(|node| node.op == Op::GlobalAvgPool)?;
    Some(subject.graph.node(pool.inputs[0]).name.clone())
}

/// A class activation map of one image, `[h, w]` of the layer, not scaled; negative values are cut off but
/// for [`CamMethod::EigenCam`]. `tell` hears how many of how many masks of [`CamMethod::ScoreCam`] are done,
/// and stops the work by returning false.
///
/// # Errors
/// When the layer is no map, the class does not exist, the network does not admit the image, or it was
/// stopped.
pub fn class_map(
    subject: &Subject<'_>,
    image: &Tensor,
    class: usize,
    layer: &str,
    method: CamMethod,
    mut tell: impl FnMut(usize, usize) -> bool,
) -> Result<Tensor> {
    subject.check_class(class)?;
    subject.map_layer(layer)?;
    let options = SensitivityOptions { to: vec![layer.to_owned()], ..SensitivityOptions::default() };
    let mut program = subject.sensitivity(image, &options)?;
    program.forward(image.data());
    program.backward(&one_hot(&[class], subject.classes()));
    let missing = || Tensor::filled([1, 1, 1, 1], 0.0);
    let layer = Layer::new(
        &program.tap(layer).unwrap_or_else(missing),
        &program.gradient(layer).unwrap_or_else(missing),
    );
    let map = match method {
        CamMethod::EigenCam => principal_axis(&layer.by_pixel(), layer.channels),
        CamMethod::ScoreCam => layer.score_cam(subject, image, class, &mut tell)?,
        _ => layer.weighed(method),
    };
    let floor = if method == CamMethod::EigenCam { f64::NEG_INFINITY } else { 0.0 };
    Ok(Tensor::from_fn([layer.h, layer.w], |index| map[index].max(floor) as f32))
}

/// Activations and gradients of one image at one layer.
struct Layer {
    channels: usize,
    h: usize,
    w: usize,
    values: Vec<f64>,
    gradients: Vec<f64>,
}

impl Layer {
    fn new(values: &Tensor, gradients: &Tensor) -> Self {
        let [channels, h, w] = match values.shape() {
            [_, c, h, w] => [*c, *h, *w],
            other => [other[1], 1, 1],
        };
        let wide = |tensor: &Tensor| tensor.data().iter().map(|&x| f64::from(x)).collect();
        Self { channels, h, w, values: wide(values), gradients: wide(gradients) }
    }

    fn pixels(&self) -> usize {
        self.h * self.w
    }

    /// Activations and gradients of each channel.
    fn planes(&self) -> impl Iterator<Item = (&[f64], &[f64])> {
        self.values.chunks(self.pixels()).zip(self.gradients.chunks(self.pixels()))
    }

    /// The activations, channels of a pixel side by side.
    fn by_pixel(&self) -> Vec<f64> {
        let (pixels, channels) = (self.pixels(), self.channels);
        (0..pixels * channels).map(|i| self.values[i % channels * pixels + i / channels]).collect()
    }

    fn weighed(&self, method: CamMethod) -> Vec<f64> {
        let mut map = vec![0.0; self.pixels()];
        for (a, g) in self.planes() {
            let sum: f64 = a.iter().sum();
            let dot = || a.iter().zip(g).map(|(a, g)| a * g).sum::<f64>();
            let weight = match method {
                CamMethod::GradCam => g.iter().sum::<f64>() / g.len() as f64,
                CamMethod::GradCamPlusPlus => g.iter().map(|&g| g.max(0.0) * plus_plus(g, sum)).sum(),
                CamMethod::XGradCam => dot() / (sum + TINY),
                _ => 0.0,
            };
            for ((map, &a), &g) in map.iter_mut().zip(a).zip(g) {
                *map += match method {
                    CamMethod::HiResCam => g * a,
                    CamMethod::LayerCam => g.max(0.0) * a,
                    _ => weight * a,
                };
            }
        }
        map
    }

    /// Each channel, scaled to 0…1 and brought to the size of the image, masks the image; the softmax of the
    /// class's scores weighs the channels.
    fn score_cam(
        &self,
        subject: &Subject<'_>,
        image: &Tensor,
        class: usize,
        tell: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Vec<f64>> {
        let [_, _, h, w] = image.shape()[..] else { return Ok(vec![0.0; self.pixels()]) };
        let planes: Vec<&[f64]> = self.values.chunks(self.pixels()).collect();
        let masked = |channel: usize| {
            let small = Tensor::from_fn([self.h, self.w], |index| planes[channel][index] as f32);
            let mask = scaled(&upsample(&small, h, w));
            image.data().iter().enumerate().map(|(i, x)| x * mask.data()[i % (h * w)]).collect()
        };
        let scores = scores(subject, image, class, planes.len(), masked, tell)?;
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        let mut map = vec![0.0; self.pixels()];
        for (plane, score) in planes.iter().zip(&scores) {
            let weight = (score - largest).exp() / total;
            map.iter_mut().zip(*plane).for_each(|(map, &a)| *map += weight * a);
        }
        Ok(map)
    }
}

fn plus_plus(g: f64, sum: f64) -> f64 {
    if g == 0.0 { 0.0 } else { g * g / (2.0 * g * g + sum * g * g * g + 1e-6) }
}

/// `(map − min) / (max − min)`.
pub(crate) fn scaled(map: &Tensor) -> Tensor {
    let min = map.data().iter().copied().fold(f32::INFINITY, f32::min);
    let max = map.data().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = max - min + TINY as f32;
    Tensor::from_fn(map.shape().to_vec(), |index| (map.data()[index] - min) / range)
}

/// A map `[h, w]` brought to another size by bilinear interpolation between the centres of its pixels, the
/// border repeated.
pub fn upsample(map: &Tensor, height: usize, width: usize) -> Tensor {
    let [h, w] = map.shape()[..] else { return map.clone() };
    let place = |at: usize, from: usize, to: usize| {
        let position = ((at as f32 + 0.5) * from as f32 / to as f32 - 0.5).clamp(0.0, from as f32 - 1.0);
        let first = position as usize;
        (first, (first + 1).min(from - 1), position - first as f32)
    };
    Tensor::from_fn([height, width], |index| {
        let (top, bottom, down) = place(index / width, h, height);
        let (left, right, across) = place(index % width, w, width);
        let row = |y: usize| {
            let (a, b) = (map.data()[y * w + left], map.data()[y * w + right]);
            a + across * (b - a)
        };
        row(top) + down * (row(bottom) - row(top))
    })
}
