//! A network in bytes: on which grids its values and its weights lie.

use std::collections::BTreeMap;

use residuum_tensor::{Quantizer, Tensor};

/// Largest magnitude of a quantised weight: the range is symmetric.
pub const LARGEST_WEIGHT: i8 = 127;

/// What makes bytes of a network's numbers: one grid for each value that is kept in bytes, one scale for each output
/// channel of each quantised parameter (Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient
/// inference", §3). The graph and its weights stay what they are; a weight of the network is a whole multiple of
/// its channel's scale.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantization {
    /// Grids of values, by the name of the node that makes them.
    pub activations: BTreeMap<String, Quantizer>,
    /// Scales of output channels, by the name of the parameter, whose first side they belong to.
    pub weights: BTreeMap<String, Vec<f32>>,
}

impl Quantization {
    /// The multiples that the values of a parameter are, where it is quantised and has the channels of its scales.
    pub fn multiples(&self, name: &str, values: &Tensor) -> Option<Vec<i8>> {
        let scales = self.weights.get(name)?;
        if scales.is_empty() || values.shape().first() != Some(&scales.len()) {
            return None;
        }
        let per_channel = values.len() / scales.len();
        let channels = values.data().chunks(per_channel.max(1)).zip(scales);
        Some(
            channels.flat_map(|(channel, &scale)| channel.iter().map(move |&w| multiple(w, scale))).collect(),
        )
    }
}

/// The multiple of `scale` that is nearest to a weight.
pub fn multiple(weight: f32, scale: f32) -> i8 {
    let largest = f32::from(LARGEST_WEIGHT);
    (weight / scale).round_ties_even().clamp(-largest, largest) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_come_back_from_the_numbers_that_they_stand_for() {
        let scales = vec![0.001_37, 3.3e-20, 811.7];
        let integers: Vec<i8> = (0..3 * 255).map(|i| (i % 255 - 127) as i8).collect();
        let values = Tensor::from_fn([3, 255], |i| f32::from(integers[i]) * scales[i / 255]);
        let quantization =
            Quantization { weights: [("w".to_owned(), scales)].into(), ..Quantization::default() };
        assert_eq!(quantization.multiples("w", &values).unwrap(), integers);
        assert_eq!(quantization.multiples("v", &values), None);
        assert_eq!(quantization.multiples("w", &Tensor::filled([2, 5], 0.0)), None);
    }
}
