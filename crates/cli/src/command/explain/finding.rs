//! What a method found, and how it is shown.

use anyhow::{Result, bail};
use residuum::classify::Loaded;
use residuum::explain::upsample;
use residuum::plot::Picture;
use residuum::tensor::Tensor;

/// Side that filters are brought to.
const FILTER_SIDE: usize = 40;
/// Side that activations are brought to.
const ACTIVATION_SIDE: usize = 32;

/// An array, and pictures of it with their names; the last one says most.
pub(super) struct Finding {
    pub(super) array: Tensor,
    pub(super) pictures: Vec<(String, Picture)>,
}

impl Finding {
    pub(super) fn new(array: Tensor, name: &str, picture: Picture) -> Self {
        Self { array, pictures: vec![(name.to_owned(), picture)] }
    }
}

/// Rows and columns of an array's planes.
fn size(array: &Tensor) -> (usize, usize) {
    match array.shape() {
        [.., h, w] => (*h, *w),
        _ => (1, array.len()),
    }
}

/// A class map, as it is and laid over the image.
pub(super) fn over(image: &Picture, map: Tensor) -> Finding {
    let (w, h) = (image.width(), image.height());
    let large = upsample(&map, h, w);
    let colours = Picture::heat(large.data(), w, h);
    let together = image.under(&colours);
    Finding { array: map, pictures: vec![("map".into(), colours), ("map over image".into(), together)] }
}

/// What scores lose at each place, as it is and laid over the image.
pub(super) fn lost(image: &Picture, map: Tensor) -> Finding {
    let (w, h) = (image.width(), image.height());
    let large = upsample(&map, h, w);
    let colours = Picture::signed(large.data(), w, h);
    let together = image.under(&colours);
    Finding { array: map, pictures: vec![("loss of score".into(), colours), ("over image".into(), together)] }
}

/// A gradient's sum over the colours in signed colours.
pub(super) fn signed(gradient: Tensor) -> Finding {
    let (h, w) = size(&gradient);
    let sum = |at: usize| (0..3).map(|colour| gradient.data()[colour * h * w + at]).sum();
    let map: Vec<f32> = (0..h * w).map(sum).collect();
    let picture = Picture::signed(&map, w, h);
    Finding::new(gradient, "sum over colours", picture)
}

/// A map without signs.
pub(super) fn heat(map: Tensor) -> Finding {
    let (h, w) = size(&map);
    let picture = Picture::heat(map.data(), w, h);
    Finding::new(map, "largest of colours", picture)
}

/// A gradient as a picture of its own.
pub(super) fn coloured(gradient: Tensor) -> Finding {
    let (h, w) = size(&gradient);
    let picture = Picture::signed_colours(gradient.data(), w, h);
    Finding::new(gradient, "gradient in colours", picture)
}

/// The channels of a map, one tile each on a scale of its own.
pub(super) fn activations(values: Tensor, layer: &str) -> Result<Finding> {
    let [_, channels, h, w] = values.shape()[..] else { bail!("{layer}: expected a map, found a vector") };
    let factor = (ACTIVATION_SIDE / w.max(1)).max(1);
    let tile = |plane| Picture::heat(plane, w, h).enlarged(factor);
    let tiles: Vec<Picture> = values.data().chunks(h * w).map(tile).collect();
    let columns = (channels as f64).sqrt().ceil() as usize;
    let picture =
        Picture::grid(&tiles, columns).with_legend("each from its least, dark, to its greatest, bright");
    Ok(Finding::new(values, &format!("{channels} channels, row by row"), picture))
}

/// The filters of the first convolution, all on one scale.
pub(super) fn filters(loaded: &Loaded) -> Result<Finding> {
    let first = loaded.model.graph.params().iter().find(|param| param.shape.len() == 4);
    let Some(weights) = first.and_then(|param| loaded.weights.get(&param.name)) else {
        bail!("filters: expected a convolution in {}, found none", loaded.model.name)
    };
    let [count, channels, h, w] = weights.shape()[..] else { bail!("filters have four dimensions") };
    let columns = (count as f64).sqrt().ceil() as usize;
    let (least, greatest) =
        weights.data().iter().fold((f32::MAX, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    let byte = |x: f32| (255.0 * (x - least) / (greatest - least).max(f32::MIN_POSITIVE)).round() as u8;
    let tile = |filter: &[f32]| {
        let value = |colour: usize, at: usize| byte(filter[colour.min(channels - 1) * h * w + at]);
        Picture::new(w, h, (0..h * w).flat_map(|at| [0, 1, 2].map(|colour| value(colour, at))).collect())
    };
    let factor = (FILTER_SIDE / w.max(1)).max(1);
    let tiles: Vec<Picture> =
        weights.data().chunks(channels * h * w).map(|filter| tile(filter).enlarged(factor)).collect();
    let legend = format!("all on one scale: black {least:.3}, white {greatest:.3}");
    let picture = Picture::grid(&tiles, columns).with_legend(legend);
    Ok(Finding::new(weights.clone(), &format!("{count} filters, row by row"), picture))
}
