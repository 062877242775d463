//! One chart: axes, series, and how they are drawn into a place of a figure.

use crate::axis::{Axis, Span};
use crate::canvas::{Anchor, Canvas, FRAME, GRID, PALETTE, Pen, Point, Style};
use crate::legend;

/// Size of the area that points lie in.
pub(crate) const PLOT: (f64, f64) = (390.0, 270.0);
/// What surrounds it: left, top, right, bottom; the legend is below.
pub(crate) const LEFT: f64 = 66.0;
pub(crate) const TOP: f64 = 34.0;
pub(crate) const RIGHT: f64 = 24.0;
pub(crate) const BOTTOM: f64 = 52.0;
const TICKS: f64 = 6.0;
const TICK_SIZE: f64 = 11.0;
const LABEL_SIZE: f64 = 12.0;
const TITLE_SIZE: f64 = 13.0;
/// Points are marked where a series has no more.
const MARKED: usize = 30;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Drawn through.
    Solid,
    /// Dashed.
    Dashed,
}

/// Points of one name, joined in their order. Series of one name, one colour and both lines share a place
/// in the legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Number of its colour; from the seventh on they repeat.
    pub colour: usize,
    /// How it is drawn.
    pub line: Line,
    /// Places along both axes. A point that is no number, or not above 0 on a logarithmic axis, is a gap.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// All parts at once.
    pub fn new(name: impl Into<String>, colour: usize, line: Line, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), colour, line, points }
    }

    pub(crate) fn pen(&self) -> Pen {
        let width = if self.line == Line::Solid { 2.0 } else { 1.5 };
        let colour = PALETTE[self.colour % PALETTE.len()];
        Pen { colour, width, is_dashed: self.line == Line::Dashed }
    }
}

/// Series over two axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Stands above; may be empty.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<Series>,
    /// What solid and what dashed lines mean, for the legend.
    pub lines: Option<[String; 2]>,
}

impl Chart {
    /// A chart without series.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { title: String::new(), x, y, series: Vec::new(), lines: None }
    }

    /// The same chart with a title.
    #[must_use]
    pub fn titled(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// The same chart, whose legend tells what solid and dashed lines mean.
    #[must_use]
    pub fn with_lines(self, solid: impl Into<String>, dashed: impl Into<String>) -> Self {
        Self { lines: Some([solid.into(), dashed.into()]), ..self }
    }

    /// Draws the chart; `left` and `top` is the corner of the place it has.
    pub(crate) fn draw(&self, canvas: &mut dyn Canvas, (left, top): Point) {
        let corner = (left + LEFT, top + TOP);
        let holds = |&&(x, y): &&(f64, f64)| self.x.holds(x) && self.y.holds(y);
        let all = || self.series.iter().flat_map(|series| &series.points).filter(holds);
        let x = self.x.span(all().map(|point| point.0), TICKS, false);
        let y = self.y.span(all().map(|point| point.1), TICKS, true);
        let place = Place { corner, x, y };
        self.draw_frame(canvas, &place);
        for series in &self.series {
            self.draw_series(canvas, &place, series);
        }
        legend::draw(self, canvas, (left + 8.0, corner.1 + PLOT.1 + BOTTOM));
    }

    fn draw_frame(&self, canvas: &mut dyn Canvas, place: &Place) {
        let (left, top) = place.corner;
        let (right, bottom) = (left + PLOT.0, top + PLOT.1);
        for (value, name) in &place.y.ticks {
            let y = bottom - place.y.share(*value) * PLOT.1;
            canvas.line(&[(left, y), (right, y)], &Pen::thin(GRID));
            canvas.text((left - 7.0, y + 4.0), name, &Style::new(TICK_SIZE, Anchor::End));
        }
        for (value, name) in &place.x.ticks {
            let x = left + place.x.share(*value) * PLOT.0;
            canvas.line(&[(x, bottom), (x, bottom + 5.0)], &Pen::thin(FRAME));
            canvas.text((x, bottom + 18.0), name, &Style::new(TICK_SIZE, Anchor::Middle));
        }
        canvas.line(&[(left, top), (left, bottom), (right, bottom)], &Pen::thin(FRAME));
        let middle = left + PLOT.0 / 2.0;
        let label = Style::new(LABEL_SIZE, Anchor::Middle);
        canvas.text((middle, bottom + 38.0), &self.x.label, &label);
        canvas.text((left - 48.0, top + PLOT.1 / 2.0), &self.y.label, &label.turned());
        canvas.text((middle, top - 12.0), &self.title, &Style::new(TITLE_SIZE, Anchor::Middle).bold());
    }

    fn draw_series(&self, canvas: &mut dyn Canvas, place: &Place, series: &Series) {
        let pen = series.pen();
        let is_held = |&(x, y): &(f64, f64)| self.x.holds(x) && self.y.holds(y);
        for run in series.points.split(|point| !is_held(point)) {
            let points: Vec<Point> = run.iter().map(|&point| place.point(point)).collect();
            canvas.line(&points, &pen);
            if series.points.len() <= MARKED || points.len() == 1 {
                for point in points {
                    canvas.disc(point, 1.5 * pen.width, pen.colour);
                }
            }
        }
    }
}

/// Where the points of a chart lie.
struct Place {
    corner: Point,
    x: Span,
    y: Span,
}

impl Place {
    fn point(&self, (x, y): (f64, f64)) -> Point {
        (self.corner.0 + self.x.share(x) * PLOT.0, self.corner.1 + (1.0 - self.y.share(y)) * PLOT.1)
    }
}
