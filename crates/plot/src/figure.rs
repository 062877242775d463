//! Charts side by side under one title.

use std::fmt::Write as _;

use crate::canvas::{Anchor, Canvas, Style};
use crate::chart::{BOTTOM, Chart, LEFT, Line, PLOT, RIGHT, TOP};
use crate::error::PlotError;
use crate::raster::Raster;
use crate::svg::Svg;

/// Charts next to each other before a new row begins, unless said otherwise.
const COLUMNS: usize = 3;
/// Charts in a figure, so that a PNG stays of a size that viewers take.
const MAX_CHARTS: usize = 48;
const CHART_WIDTH: f64 = LEFT + PLOT.0 + RIGHT;
const TITLE_HEIGHT: f64 = 36.0;
const TITLE_SIZE: f64 = 16.0;
/// Below each row.
const MARGIN: f64 = 14.0;
/// Pixels of a PNG for one of the SVG.
const PNG_SCALE: f64 = 2.0;

/// Charts side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Stands above all.
    pub title: String,
    /// From left to right, row by row.
    pub charts: Vec<Chart>,
    /// Charts in a row, at least 1.
    pub columns: usize,
}

impl Figure {
    /// A figure of these charts.
    pub fn new(title: impl Into<String>, charts: Vec<Chart>) -> Self {
        Self { title: title.into(), charts, columns: COLUMNS }
    }

    /// The same figure with another number of charts in a row.
    ///
    /// # Panics
    /// When there are to be none.
    #[must_use]
    pub fn in_columns(self, columns: usize) -> Self {
        assert!(columns > 0, "a row holds a chart");
        Self { columns, ..self }
    }

    /// Width and height of the SVG in pixels. A PNG has twice as many.
    pub fn size(&self) -> (u32, u32) {
        let columns = self.charts.len().clamp(1, self.columns);
        let height: f64 = self.charts.chunks(self.columns).map(row_height).sum();
        ((columns as f64 * CHART_WIDTH) as u32, (TITLE_HEIGHT + height) as u32)
    }

    /// The figure as an SVG document.
    pub fn svg(&self) -> String {
        let mut svg = Svg::new(self.extent(), &self.title);
        self.draw(&mut svg);
        svg.finish()
    }

    /// The figure as a PNG file.
    ///
    /// # Errors
    /// When there are more charts than a picture holds.
    pub fn png(&self) -> Result<Vec<u8>, PlotError> {
        let title = || self.title.clone();
        if self.charts.len() > MAX_CHARTS {
            let charts = self.charts.len();
            return Err(PlotError::TooManyCharts { title: title(), charts, limit: MAX_CHARTS });
        }
        let mut raster = Raster::new(self.extent(), PNG_SCALE);
        self.draw(&mut raster);
        raster.finish().map_err(|error| PlotError::Png { title: title(), problem: error.to_string() })
    }

    /// All points of all series: `chart,series,line,x,y`, with the chart's title, or its number from 1 where it has none.
    pub fn csv(&self) -> String {
        let mut out = String::from("chart,series,line,x,y\n");
        for (i, chart) in self.charts.iter().enumerate() {
            let title = if chart.title.is_empty() { (i + 1).to_string() } else { csv_field(&chart.title) };
            for series in &chart.series {
                let line = match (&chart.lines, series.line) {
                    (Some([solid, _]), Line::Solid) => csv_field(solid),
                    (Some([_, dashed]), Line::Dashed) => csv_field(dashed),
                    (None, Line::Solid) => "solid".to_owned(),
                    (None, Line::Dashed) => "dashed".to_owned(),
                    (_, Line::Reference) => "reference".to_owned(),
                    (_, Line::Marks) => "marks".to_owned(),
                };
                for (x, y) in &series.points {
                    // Writing to a `String` cannot fail.
                    let _ = writeln!(out, "{title},{},{line},{x},{y}", csv_field(&series.name));
                }
            }
        }
        out
    }

    fn extent(&self) -> (f64, f64) {
        let (width, height) = self.size();
        (width.into(), height.into())
    }

    fn draw(&self, canvas: &mut dyn Canvas) {
        let (width, _) = self.extent();
        canvas.text((width / 2.0, 25.0), &self.title, &Style::new(TITLE_SIZE, Anchor::Middle).bold());
        let mut top = TITLE_HEIGHT;
        for row in self.charts.chunks(self.columns) {
            for (column, chart) in row.iter().enumerate() {
                chart.draw(canvas, (column as f64 * CHART_WIDTH, top));
            }
            top += row_height(row);
        }
    }
}

fn row_height(charts: &[Chart]) -> f64 {
    TOP + PLOT.1 + BOTTOM + charts.iter().map(Chart::foot_height).fold(0.0, f64::max) + MARGIN
}

/// A field of a CSV line, quoted where it has to be.
pub fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
