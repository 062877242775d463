//! A contact sheet: pictures in rows and columns, each with a name.

use crate::canvas::{Anchor, Canvas, Style};
use crate::error::PlotError;
use crate::font;
use crate::picture::Picture;
use crate::raster::Raster;

const MARGIN: f64 = 10.0;
/// Between columns.
const GAP: f64 = 18.0;
const HEADING: f64 = 24.0;
const TITLE: f64 = 34.0;
const TEXT_SIZE: f64 = 13.0;
const TITLE_SIZE: f64 = 16.0;
/// Room for a row's name, above its pictures.
const ROW_NAME: f64 = 22.0;
/// Room for the legend below a picture, where a picture of the row has one.
const LEGEND: f64 = 18.0;
const LEGEND_SIZE: f64 = 11.0;
/// Tiles are brought to at least this many pixels by whole factors.
const LEAST_TILE: usize = 160;
/// A bold text is so much wider.
const BOLD: f64 = 1.02;
/// A sheet has at most so many pixels.
const MAX_PIXELS: f64 = 1e8;

/// Pictures in rows and columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// Stands above all.
    pub title: String,
    /// Name of each column.
    pub columns: Vec<String>,
    /// Name and pictures of each row; a place may stay empty.
    pub rows: Vec<(String, Vec<Option<Picture>>)>,
}

impl Sheet {
    /// The sheet as a PNG file. Small pictures are enlarged, so that all can be seen; a picture's
    /// legend stands below it.
    ///
    /// # Errors
    /// When the sheet would be larger than pictures can be.
    pub fn png(&self) -> Result<Vec<u8>, PlotError> {
        let fail = |problem: String| PlotError::Png { title: self.title.clone(), problem };
        let enlarged: Vec<Vec<Option<Picture>>> = self
            .rows
            .iter()
            .map(|(_, tiles)| tiles.iter().map(|tile| tile.as_ref().map(readable)).collect())
            .collect();
        let widths = self.widths(&enlarged);
        let height = |row: &Vec<Option<Picture>>| {
            let legend = row.iter().flatten().any(|tile| !tile.legend().is_empty());
            let tallest = row.iter().flatten().map(Picture::height).max().unwrap_or(0);
            tallest as f64 + MARGIN + if legend { LEGEND } else { 0.0 }
        };
        let heights: Vec<f64> = enlarged.iter().map(height).collect();
        let names = self.rows.iter().map(|(name, _)| font::width(name, TEXT_SIZE));
        let texts = names.fold(font::width(&self.title, TITLE_SIZE) * BOLD, f64::max);
        let size = (
            2.0 * MARGIN + widths.iter().sum::<f64>().max(texts),
            TITLE + HEADING + heights.iter().map(|height| height + ROW_NAME).sum::<f64>() + MARGIN,
        );
        if size.0 * size.1 > MAX_PIXELS {
            return Err(fail(format!(
                "{:.0}×{:.0} pixels are too many; ask for fewer pictures",
                size.0, size.1
            )));
        }
        let mut raster = Raster::new(size, 1.0);
        let text = |size: f64| Style::new(size, Anchor::Start);
        raster.text((MARGIN, 23.0), &self.title, &text(TITLE_SIZE).bold());
        let left = |index: usize| MARGIN + widths[..index].iter().sum::<f64>();
        for (index, name) in self.columns.iter().enumerate() {
            raster.text((left(index), TITLE + 16.0), name, &text(TEXT_SIZE).bold());
        }
        let mut top = TITLE + HEADING;
        for (((name, _), row), height) in self.rows.iter().zip(&enlarged).zip(heights) {
            raster.text((MARGIN, top + 14.0), name, &text(TEXT_SIZE));
            for (index, tile) in row.iter().enumerate() {
                if let Some(tile) = tile {
                    raster.paste(left(index) as usize, (top + ROW_NAME) as usize, tile);
                    let below = top + ROW_NAME + tile.height() as f64 + LEGEND - 4.0;
                    raster.text((left(index), below), tile.legend(), &text(LEGEND_SIZE));
                }
            }
            top += height + ROW_NAME;
        }
        raster.finish().map_err(|error| fail(error.to_string()))
    }

    /// Width of each column: its widest picture, name or legend.
    fn widths(&self, rows: &[Vec<Option<Picture>>]) -> Vec<f64> {
        let columns = self.columns.len().max(rows.iter().map(Vec::len).max().unwrap_or(0));
        let width = |column: usize| {
            let name = self.columns.get(column).map_or(0.0, |name| font::width(name, TEXT_SIZE) * BOLD);
            let tiles = rows.iter().filter_map(|row| row.get(column)?.as_ref());
            let tile = |tile: &Picture| font::width(tile.legend(), LEGEND_SIZE).max(tile.width() as f64);
            (tiles.map(tile).fold(name, f64::max) + GAP).ceil()
        };
        (0..columns).map(width).collect()
    }
}

fn readable(tile: &Picture) -> Picture {
    let factor = LEAST_TILE.div_ceil(tile.width().max(1)).max(1);
    if factor == 1 { tile.clone() } else { tile.enlarged(factor) }
}
