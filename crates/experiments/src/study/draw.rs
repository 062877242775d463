//! One channel of a stage as a picture: nine images and their guided gradients, a column for each block.

use std::sync::atomic::AtomicBool;

use residuum_data::{Interpolation, RgbImage, resize};
use residuum_explain::{BEST, Excited, ReluRule, StageBlock, Survey, UnitGradient};
use residuum_formats::{disk, npy};
use residuum_plot::{Picture, Sheet};
use residuum_tensor::Tensor;

use super::{Examination, Shown, is_stopped};
use crate::error::Result;
use crate::table::Table;

pub(super) const FOLDER: &str = "channels";
/// Side of one of nine, with a margin.
const CELL: usize = 96;
const MARGIN: usize = 2;
/// Pixels of the images whose gradients are computed together, which bounds the memory.
const MOST_PIXELS: usize = BEST * 64 * 64;

/// What a unit sees of an image: first row and column, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) top: usize,
    pub(super) left: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Seen {
    pub(super) fn by(block: &StageBlock, unit: &Excited, side: usize) -> Self {
        let (rows, columns) = (block.field.pixels(unit.row, side), block.field.pixels(unit.column, side));
        Self { top: rows.start, left: columns.start, height: rows.len(), width: columns.len() }
    }
}

impl Examination<'_> {
    /// Draws a channel of a stage, unless it is drawn already; nothing where it was stopped.
    pub(super) fn show(
        &self,
        survey: &Survey,
        stage: usize,
        channel: usize,
        stop: &AtomicBool,
    ) -> Result<Option<Shown>> {
        let name = &self.stages[stage].name;
        let base = format!("{FOLDER}/{}-{channel:04}", crate::reproduction::plain(name));
        let (picture, array) = (format!("{base}.png"), format!("{base}.npy"));
        let [picture_path, array_path] = [&picture, &array].map(|name| self.folder.join(name));
        let shown = Shown { stage: name.clone(), channel, picture, array };
        if disk::exists(&picture_path) && disk::exists(&array_path) {
            return Ok(Some(shown));
        }
        let blocks = &self.stages[stage].blocks;
        let side = self.loaded.info.preprocess.crop;
        let (mut images, mut gradients) = (Vec::new(), Vec::new());
        let mut all = Vec::with_capacity(blocks.len() * BEST * 3 * side * side);
        for (index, block) in blocks.iter().enumerate() {
            let best = survey.best(stage, index, channel);
            let views = self.views(best)?;
            let gradient = self.gradients(block, channel, best, &views)?;
            images.push(Some(nine(best, block, side, |unit, seen| {
                let crop = views[unit].crop(seen.left, seen.top, seen.width, seen.height);
                Picture::new(seen.width, seen.height, crop.into_pixels())
            })));
            gradients.push(Some(nine(best, block, side, |unit, seen| {
                let image = &gradient[unit * 3 * side * side..][..3 * side * side];
                Picture::signed_colours(&cropped(image, side, seen), seen.width, seen.height)
            })));
            all.extend(gradient);
            all.resize((index + 1) * BEST * 3 * side * side, 0.0);
            if is_stopped(stop) {
                return Ok(None);
            }
        }
        let legend = |picture: &mut Option<Picture>, index: usize| {
            let best = survey.best(stage, index, channel);
            if let (Some(first), Some(last)) = (best.first(), best.last()) {
                let text = format!("excited by {:.2} to {:.2}", first.value, last.value);
                *picture = picture.take().map(|picture| picture.with_legend(text));
            }
        };
        images.iter_mut().enumerate().for_each(|(index, picture)| legend(picture, index));
        let sheet = Sheet {
            title: format!("{name}, channel {channel} of {}", self.title()),
            columns: blocks
                .iter()
                .map(|block| format!("{}, sees {} px", block.name, block.field.size))
                .collect(),
            rows: vec![
                ("the images that excite it most, as much as the unit sees".into(), images),
                (
                    "guided backpropagation of the unit: grey is 0, each on a scale of its own".into(),
                    gradients,
                ),
            ],
        };
        npy::write_f32(&array_path, &Tensor::from_fn([blocks.len(), BEST, 3, side, side], |i| all[i]))?;
        disk::write_bytes(&picture_path, &sheet.png()?)?;
        Ok(Some(shown))
    }

    /// The images as the network sees them, before they are normalised.
    fn views(&self, best: &[Excited]) -> Result<Vec<RgbImage>> {
        let view = |unit: &Excited| {
            let image = self.data.image(unit.image)?;
            Ok(self.loaded.info.preprocess.view(&image).into_owned())
        };
        best.iter().map(view).collect()
    }

    /// The guided gradient of each image's unit with respect to the image.
    fn gradients(
        &self,
        block: &StageBlock,
        channel: usize,
        best: &[Excited],
        views: &[RgbImage],
    ) -> Result<Vec<f32>> {
        let preprocess = &self.loaded.info.preprocess;
        let side = preprocess.crop;
        let at_once = (MOST_PIXELS / (side * side)).clamp(1, BEST);
        let mut compiled: Option<(usize, UnitGradient)> = None;
        let mut gradients = Vec::with_capacity(views.len() * 3 * side * side);
        for (units, views) in best.chunks(at_once).zip(views.chunks(at_once)) {
            let mut values = vec![0.0; views.len() * 3 * side * side];
            for (view, values) in views.iter().zip(values.chunks_mut(3 * side * side)) {
                preprocess.normalise(view, values);
            }
            let images = Tensor::from_fn([views.len(), 3, side, side], |index| values[index]);
            let mut program = match compiled.take() {
                Some((n, program)) if n == views.len() => program,
                _ => UnitGradient::new(&self.subject(), &images, &block.output, ReluRule::Guided)?,
            };
            let places: Vec<[usize; 3]> = units.iter().map(|unit| [channel, unit.row, unit.column]).collect();
            gradients.extend(program.of(&images, &places)?.into_data());
            compiled = Some((views.len(), program));
        }
        Ok(gradients)
    }

    /// A line for each picture that is shown.
    pub(super) fn units(&self, survey: &Survey, chosen: &[(usize, usize)]) -> Table {
        let mut table = Table::new(&[
            "stage", "channel", "block", "rank", "image", "source", "class", "value", "row", "column", "top",
            "left", "height", "width",
        ]);
        let side = self.loaded.info.preprocess.crop;
        for &(stage, channel) in chosen {
            for (index, block) in self.stages[stage].blocks.iter().enumerate() {
                for (rank, unit) in survey.best(stage, index, channel).iter().enumerate() {
                    let Seen { top, left, height, width } = Seen::by(block, unit, side);
                    let (stage, block) = (self.stages[stage].name.clone(), block.name.clone());
                    let mut row = vec![stage, channel.to_string(), block, (rank + 1).to_string()];
                    row.push(unit.image.to_string());
                    row.extend([self.data.describe(unit.image), self.class_of(unit.image).to_owned()]);
                    row.push(unit.value.to_string());
                    let numbers = [unit.row, unit.column, top, left, height, width];
                    row.extend(numbers.map(|number| number.to_string()));
                    table.rows.push(row);
                }
            }
        }
        table
    }

    /// Name of an image's class.
    pub(super) fn class_of(&self, image: usize) -> &str {
        &self.data.classes()[self.data.label(image) as usize]
    }
}

/// Nine pictures of what units see, three in a row, on one scale.
fn nine(
    best: &[Excited],
    block: &StageBlock,
    side: usize,
    picture: impl Fn(usize, Seen) -> Picture,
) -> Picture {
    let seen: Vec<Seen> = best.iter().map(|unit| Seen::by(block, unit, side)).collect();
    let largest = seen.iter().map(|seen| seen.height.max(seen.width)).max().unwrap_or(1);
    let white = Picture::new(1, 1, vec![0xff; 3]);
    let cell = |index: usize| match seen.get(index) {
        Some(&seen) => fitted(&picture(index, seen), largest).centred(CELL, CELL),
        None => white.centred(CELL, CELL),
    };
    Picture::grid(&(0..BEST).map(cell).collect::<Vec<Picture>>(), 3)
}

/// On the scale on which `largest` pixels fill a cell: pixels stay squares where there are few of them.
fn fitted(picture: &Picture, largest: usize) -> Picture {
    let room = CELL - 2 * MARGIN;
    let size = |from: usize| (from * room / largest.max(1)).max(1);
    let (width, height) = (size(picture.width()), size(picture.height()));
    let Ok(image) = RgbImage::new(picture.width(), picture.height(), picture.pixels().to_vec()) else {
        return picture.clone();
    };
    let fitted = if largest > room {
        resize(&image, width, height, Interpolation::Bilinear)
    } else {
        RgbImage::from_fn(width, height, |x, y| {
            let at = 3 * (x * image.width() / width);
            let row = image.row(y * image.height() / height);
            [row[at], row[at + 1], row[at + 2]]
        })
    };
    Picture::new(width, height, fitted.into_pixels())
}

/// The part of three planes that a unit sees.
fn cropped(planes: &[f32], side: usize, seen: Seen) -> Vec<f32> {
    let row =
        |plane: usize, y: usize| &planes[(plane * side + seen.top + y) * side + seen.left..][..seen.width];
    (0..3).flat_map(|plane| (0..seen.height).flat_map(move |y| row(plane, y).iter().copied())).collect()
}
