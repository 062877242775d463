//! Pictures made of arrays: maps in colours, overlays, enlargements.

use crate::error::PlotError;
use crate::raster::encode;

/// Share of the values that a signed map's colours cover; the few beyond get the colour of the end.
const COVERED: f64 = 0.99;

/// Blue, white, red: signed values, told apart by the colour blind.
const DIVERGING: [[u8; 3]; 5] =
    [[0x05, 0x30, 0x61], [0x43, 0x93, 0xc3], [0xf7, 0xf7, 0xf7], [0xd6, 0x60, 0x4d], [0x67, 0x00, 0x1f]];

/// From dark to bright in even steps of lightness: values from nothing to much.
pub(crate) const SEQUENTIAL: [[u8; 3]; 5] =
    [[0x44, 0x01, 0x54], [0x3b, 0x52, 0x8b], [0x21, 0x91, 0x8c], [0x5e, 0xc9, 0x62], [0xfd, 0xe7, 0x25]];

/// A picture in red, green and blue, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    legend: String,
}

impl Picture {
    /// A picture of these pixels, three bytes each.
    ///
    /// # Panics
    /// When the number of bytes is not that of the size.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Self {
        assert_eq!(pixels.len(), 3 * width * height, "three bytes for each of {width}×{height} pixels");
        Self { width, height, pixels, legend: String::new() }
    }

    /// The same picture with what its colours mean, for a line below it.
    #[must_use]
    pub fn with_legend(self, legend: impl Into<String>) -> Self {
        Self { legend: legend.into(), ..self }
    }

    /// What the colours mean; empty where they speak for themselves.
    pub fn legend(&self) -> &str {
        &self.legend
    }

    /// A map of signed values, `height` rows of `width`: white is nothing, blue less, red more. The ends of
    /// the colours are the 99th percentile of the magnitudes.
    ///
    /// # Panics
    /// When the number of values is not that of the size.
    pub fn signed(values: &[f32], width: usize, height: usize) -> Self {
        let end = end_of(values);
        let colour = |&x: &f32| ramp(&DIVERGING, f64::midpoint(f64::from(x) / end, 1.0));
        let picture = Self::new(width, height, values.iter().flat_map(colour).collect());
        picture.with_legend(format!("blue -{0}, red {0}", short(end)))
    }

    /// A map of values from the least, dark, to the greatest, bright.
    ///
    /// # Panics
    /// When the number of values is not that of the size.
    pub fn heat(values: &[f32], width: usize, height: usize) -> Self {
        let colour = |x: f64| ramp(&SEQUENTIAL, x);
        let picture = Self::new(width, height, scaled(values).flat_map(colour).collect());
        let [least, most] = ends(values).map(|x| short(x.into()));
        picture.with_legend(format!("dark {least}, bright {most}"))
    }

    /// The same in grey.
    ///
    /// # Panics
    /// When the number of values is not that of the size.
    pub fn grey(values: &[f32], width: usize, height: usize) -> Self {
        let colour = |x: f64| [(255.0 * x).round() as u8; 3];
        Self::new(width, height, scaled(values).flat_map(colour).collect())
    }

    /// Planes of red, green and blue, one after the other, from the least of all values to the greatest.
    ///
    /// # Panics
    /// When the number of values is not that of the size.
    pub fn colours(planes: &[f32], width: usize, height: usize) -> Self {
        let (scaled, area): (Vec<f64>, usize) = (scaled(planes).collect(), width * height);
        assert_eq!(planes.len(), 3 * area, "three planes of {width}×{height}");
        let pixel = |at: usize| [0, 1, 2].map(|colour| (255.0 * scaled[colour * area + at]).round() as u8);
        Self::new(width, height, (0..area).flat_map(pixel).collect())
    }

    /// Planes of red, green and blue of signed values: grey is nothing. The ends of the colours are the 99th
    /// percentile of the magnitudes.
    ///
    /// # Panics
    /// When the number of values is not that of the size.
    pub fn signed_colours(planes: &[f32], width: usize, height: usize) -> Self {
        let (end, area) = (end_of(planes), width * height);
        assert_eq!(planes.len(), 3 * area, "three planes of {width}×{height}");
        let byte = |x: f32| (127.5 + 127.5 * (f64::from(x) / end).clamp(-1.0, 1.0)).round() as u8;
        let pixel = |at: usize| [0, 1, 2].map(|colour| byte(planes[colour * area + at]));
        let picture = Self::new(width, height, (0..area).flat_map(pixel).collect());
        picture.with_legend(format!("grey 0, black -{0}, white {0}", short(end)))
    }

    /// This picture under another of the same size: the mean of both, so bright that its brightest value is
    /// the brightest there is.
    ///
    /// # Panics
    /// When the sizes differ.
    #[must_use]
    pub fn under(&self, over: &Self) -> Self {
        assert_eq!((self.width, self.height), (over.width, over.height), "pictures of one size");
        let sum = |(&a, &b): (&u8, &u8)| u16::from(a) + u16::from(b);
        let sums: Vec<u16> = self.pixels.iter().zip(&over.pixels).map(sum).collect();
        let most = f64::from(sums.iter().copied().max().unwrap_or(1).max(1));
        let pixels = sums.into_iter().map(|sum| (255.0 * f64::from(sum) / most).round() as u8).collect();
        Self { pixels, legend: over.legend.clone(), ..*self }
    }

    /// Every pixel as a square of `factor` × `factor`.
    #[must_use]
    pub fn enlarged(&self, factor: usize) -> Self {
        let (width, height) = (self.width * factor, self.height * factor);
        let pixel = |at: usize| self.pixel(at % width / factor, at / width / factor);
        Self { width, height, pixels: (0..width * height).flat_map(pixel).collect(), ..self.clone() }
    }

    /// The picture in the middle of a white one, or as much of its middle as that holds.
    #[must_use]
    pub fn centred(&self, width: usize, height: usize) -> Self {
        let place =
            |at: usize, to: usize, from: usize| (at + from / 2).checked_sub(to / 2).filter(|at| *at < from);
        let pixel = |index: usize| {
            let (x, y) = (index % width, index / width);
            match (place(x, width, self.width), place(y, height, self.height)) {
                (Some(x), Some(y)) => self.pixel(x, y),
                _ => [0xff; 3],
            }
        };
        Self { width, height, pixels: (0..width * height).flat_map(pixel).collect(), ..self.clone() }
    }

    /// Tiles in rows of `columns`, a pixel of white between them.
    ///
    /// # Panics
    /// When the tiles are not of one size, or there are none.
    pub fn grid(tiles: &[Self], columns: usize) -> Self {
        let (w, h) = (tiles[0].width + 1, tiles[0].height + 1);
        let (width, height) = (columns.min(tiles.len()) * w - 1, tiles.len().div_ceil(columns) * h - 1);
        let mut grid = Self::new(width, height, vec![0xff; 3 * width * height]);
        for (index, tile) in tiles.iter().enumerate() {
            assert_eq!((tile.width + 1, tile.height + 1), (w, h), "tiles of one size");
            grid.paste(index % columns * w, index / columns * h, tile);
        }
        grid
    }

    /// Pixels from left to right.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Red, green and blue of the pixels, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// When the picture is larger than the format allows.
    pub fn png(&self) -> Result<Vec<u8>, PlotError> {
        let title = || format!("{}×{}", self.width, self.height);
        encode(&self.pixels, self.width, self.height)
            .map_err(|error| PlotError::Png { title: title(), problem: error.to_string() })
    }

    pub(crate) fn paste(&mut self, left: usize, top: usize, tile: &Self) {
        for y in 0..tile.height {
            let row = &tile.pixels[3 * y * tile.width..][..3 * tile.width];
            self.pixels[3 * ((top + y) * self.width + left)..][..3 * tile.width].copy_from_slice(row);
        }
    }

    pub(crate) fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = 3 * (y * self.width + x);
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }
}

/// Least and greatest.
fn ends(values: &[f32]) -> [f32; 2] {
    let first = [f32::INFINITY, f32::NEG_INFINITY];
    values.iter().fold(first, |[min, max], &x| [min.min(x), max.max(x)])
}

/// Magnitude that stands for the ends of signed colours: so that they show more than signs where most of a
/// map is nothing, zeros are not counted.
fn end_of(values: &[f32]) -> f64 {
    let magnitudes = values.iter().filter(|x| **x != 0.0).map(|x| f64::from(x.abs()));
    percentile(magnitudes, COVERED).max(f64::MIN_POSITIVE)
}

/// A number in three digits.
fn short(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-3..1e5).contains(&size) {
        let decimals = (2 - size.max(1e-3).log10().floor() as i32).clamp(0, 5) as usize;
        let text = format!("{value:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{value:.1e}")
    }
}

/// Values brought to 0…1; all 0 where they are alike.
fn scaled(values: &[f32]) -> impl Iterator<Item = f64> {
    let [min, max] = ends(values);
    let range = f64::from(max) - f64::from(min);
    values.iter().map(move |&x| if range > 0.0 { (f64::from(x) - f64::from(min)) / range } else { 0.0 })
}

/// The value that a share of all does not exceed.
fn percentile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut sorted: Vec<f64> = values.filter(|x| x.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((share * last as f64).round() as usize).copied().unwrap_or(0.0)
}

/// A colour between those listed, for a place from 0 to 1.
pub(crate) fn ramp(colours: &[[u8; 3]], place: f64) -> [u8; 3] {
    let place = if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 } * (colours.len() - 1) as f64;
    let first = (place as usize).min(colours.len() - 2);
    let share = place - first as f64;
    [0, 1, 2].map(|c| {
        let (a, b) = (f64::from(colours[first][c]), f64::from(colours[first + 1][c]));
        (a + share * (b - a)).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_and_greatest_get_the_ends_of_the_scale() {
        let grey = Picture::grey(&[-2.0, 0.0, 2.0, 1.0], 2, 2);
        assert_eq!(grey.pixels(), [0, 0, 0, 128, 128, 128, 255, 255, 255, 191, 191, 191]);
        let heat = Picture::heat(&[1.0, 5.0], 2, 1);
        assert_eq!(heat.pixels(), [SEQUENTIAL[0], SEQUENTIAL[4]].concat());
        assert!(Picture::grey(&[7.0; 4], 2, 2).pixels().iter().all(|&x| x == 0), "all alike");
    }

    #[test]
    fn nothing_is_white_and_signs_are_told_apart() {
        let map = Picture::signed(&[-1.0, 0.0, 1.0], 3, 1);
        assert_eq!(map.pixels(), [DIVERGING[0], DIVERGING[2], DIVERGING[4]].concat());
        assert_eq!(map.legend(), "blue -1, red 1");
        let sparse: Vec<f32> = (0..1000).map(|i| if i < 3 { i as f32 } else { 0.0 }).collect();
        assert_eq!(Picture::signed(&sparse, 1000, 1).legend(), "blue -2, red 2");
        let map = Picture::signed_colours(&[-2.0, 0.0, 0.0, 2.0, 0.0, 0.0], 2, 1);
        assert_eq!(map.pixels(), [0, 128, 128, 128, 255, 128]);
    }

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-0.12345, "-0.123"),
            (0.001_234_5, "0.00123"),
            (123.4, "123"),
            (2e-6, "2.0e-6"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn an_overlay_is_the_mean_made_as_bright_as_can_be() {
        let (dark, map) =
            (Picture::new(2, 1, vec![100, 0, 0, 50, 50, 50]), Picture::new(2, 1, vec![0, 0, 0, 150, 50, 0]));
        assert_eq!(dark.under(&map).pixels(), [128, 0, 0, 255, 128, 64]);
    }

    #[test]
    fn a_picture_keeps_its_middle() {
        let picture = Picture::new(1, 1, vec![1, 2, 3]);
        assert_eq!(picture.centred(3, 1).pixels(), [255, 255, 255, 1, 2, 3, 255, 255, 255]);
        assert_eq!(picture.centred(3, 1).centred(1, 1), picture);
    }

    #[test]
    fn grids_and_enlargements_keep_their_tiles() {
        let tile = |value: f32| Picture::grey(&[0.0, value], 2, 1);
        let grid = Picture::grid(&[tile(1.0), tile(1.0), tile(1.0)], 2);
        assert_eq!((grid.width(), grid.height()), (5, 3));
        assert_eq!(grid.pixel(3, 0), [0; 3]);
        assert_eq!(grid.pixel(1, 2), [255; 3]);
        let large = tile(1.0).enlarged(3);
        assert_eq!((large.width(), large.height()), (6, 3));
        assert_eq!((large.pixel(2, 2), large.pixel(3, 0)), ([0; 3], [255; 3]));
        assert_eq!(&tile(1.0).png().unwrap()[1..4], b"PNG");
    }
}
