//! One chart: axes, a field, series, and how they are drawn into a place of a figure.

use crate::axis::{Axis, Span};
use crate::canvas::{Anchor, Canvas, FRAME, GRID, PALETTE, Pen, Point, Style};
use crate::field::{Field, SCALE_HEIGHT, View};
use crate::{font, legend, mark, surface};

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
const NAME_SIZE: f64 = 12.0;
/// Points are marked where a series has no more.
const MARKED: usize = 30;
/// Marks are large where a series has no more.
const FEW: usize = 60;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Drawn through.
    Solid,
    /// Dashed.
    Dashed,
    /// Dashed, its points never marked: something to compare with.
    Reference,
    /// Points alone, which are marked: by a disc, from the eighth colour on by a ring, then by a cross.
    Marks,
}

/// Points of one name, joined in their order. Series of one name, one colour and both lines share a place
/// in the legend; one without a name has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Number of its colour; after seven they repeat.
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
        Pen { colour, width, is_dashed: matches!(self.line, Line::Dashed | Line::Reference) }
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
    /// What lies below the series; it makes the chart square, and a surface has no series.
    pub field: Option<Field>,
    /// What is drawn.
    pub series: Vec<Series>,
    /// Names that stand at places of the chart.
    pub names: Vec<((f64, f64), String)>,
    /// What solid and what dashed lines mean, for the legend.
    pub lines: Option<[String; 2]>,
}

impl Chart {
    /// A chart without series.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { title: String::new(), x, y, field: None, series: Vec::new(), names: Vec::new(), lines: None }
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

    /// Height of what stands below the chart: a field's scale and the legend.
    pub(crate) fn foot_height(&self) -> f64 {
        legend::height(self) + if self.field.is_some() { SCALE_HEIGHT } else { 0.0 }
    }

    /// Draws the chart; `left` and `top` is the corner of the place it has.
    pub(crate) fn draw(&self, canvas: &mut dyn Canvas, (left, top): Point) {
        let corner = (left + LEFT, top + TOP);
        let mut foot = corner.1 + PLOT.1 + BOTTOM;
        match &self.field {
            Some(field) if field.view == View::Surface => {
                surface::draw(field, [&self.x, &self.y], canvas, corner);
                self.draw_title(canvas, corner);
            }
            _ => self.draw_plane(canvas, corner),
        }
        if let Some(field) = &self.field {
            field.draw_scale(canvas, (corner.0 + (PLOT.0 - PLOT.1) / 2.0, foot));
            foot += SCALE_HEIGHT;
        }
        legend::draw(self, canvas, (left + 8.0, foot));
    }

    fn draw_plane(&self, canvas: &mut dyn Canvas, (left, top): Point) {
        let holds = |&&(x, y): &&(f64, f64)| self.x.holds(x) && self.y.holds(y);
        let points = self.series.iter().flat_map(|series| &series.points).filter(holds).copied();
        let is_field = self.field.is_some();
        let ends = self.field.iter().flat_map(|field| {
            let [x, y] = field.ends();
            [(x.0, y.0), (x.1, y.1)]
        });
        let all: Vec<(f64, f64)> = points.chain(ends).collect();
        let x = self.x.span(all.iter().map(|point| point.0), TICKS, false);
        let y = self.y.span(all.iter().map(|point| point.1), TICKS, !is_field);
        let size = if is_field { (PLOT.1, PLOT.1) } else { PLOT };
        let place = Place { corner: (left + (PLOT.0 - size.0) / 2.0, top), size, x, y };
        if let Some(field) = &self.field {
            let [x, y] = field.ends();
            let (upper, lower) = (place.point((x.0, y.1)), place.point((x.1, y.0)));
            field.draw(canvas, upper, (lower.0 - upper.0, lower.1 - upper.1));
        }
        self.draw_frame(canvas, &place);
        self.draw_title(canvas, (left, top));
        for series in &self.series {
            self.draw_series(canvas, &place, series);
        }
        for (at, name) in &self.names {
            let (x, y) = place.point(*at);
            // The name keeps within the area.
            let half = font::width(name, NAME_SIZE) / 2.0;
            let x = x.clamp(place.corner.0 + half, place.corner.0 + (size.0 - half).max(half));
            canvas.text((x, y + 4.0), name, &Style::new(NAME_SIZE, Anchor::Middle).bold().edged());
        }
    }

    fn draw_title(&self, canvas: &mut dyn Canvas, (left, top): Point) {
        let style = Style::new(TITLE_SIZE, Anchor::Middle).bold();
        canvas.text((left + PLOT.0 / 2.0, top - 12.0), &self.title, &style);
    }

    fn draw_frame(&self, canvas: &mut dyn Canvas, place: &Place) {
        let (left, top) = place.corner;
        let (right, bottom) = (left + place.size.0, top + place.size.1);
        for (value, name) in &place.y.ticks {
            let y = bottom - place.y.share(*value) * place.size.1;
            let grid =
                if self.field.is_some() { [(left - 5.0, y), (left, y)] } else { [(left, y), (right, y)] };
            canvas.line(&grid, &Pen::thin(if self.field.is_some() { FRAME } else { GRID }));
            canvas.text((left - 7.0, y + 4.0), name, &Style::new(TICK_SIZE, Anchor::End));
        }
        for (value, name) in &place.x.ticks {
            let x = left + place.x.share(*value) * place.size.0;
            canvas.line(&[(x, bottom), (x, bottom + 5.0)], &Pen::thin(FRAME));
            canvas.text((x, bottom + 18.0), name, &Style::new(TICK_SIZE, Anchor::Middle));
        }
        canvas.line(&[(left, top), (left, bottom), (right, bottom)], &Pen::thin(FRAME));
        let middle = left + place.size.0 / 2.0;
        let label = Style::new(LABEL_SIZE, Anchor::Middle);
        canvas.text((middle, bottom + 38.0), &self.x.label, &label);
        canvas.text((left - 48.0, top + place.size.1 / 2.0), &self.y.label, &label.turned());
    }

    fn draw_series(&self, canvas: &mut dyn Canvas, place: &Place, series: &Series) {
        let pen = series.pen();
        let is_held = |&(x, y): &(f64, f64)| self.x.holds(x) && self.y.holds(y);
        for run in series.points.split(|point| !is_held(point)) {
            let points: Vec<Point> = run.iter().map(|&point| place.point(point)).collect();
            if series.line == Line::Marks {
                let radius = if series.points.len() <= FEW { 4.0 } else { 2.4 };
                for point in points {
                    mark::draw(canvas, point, radius, series.colour);
                }
                continue;
            }
            canvas.line(&points, &pen);
            let is_marked = series.line != Line::Reference && series.points.len() <= MARKED;
            if is_marked || points.len() == 1 {
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
    size: Point,
    x: Span,
    y: Span,
}

impl Place {
    fn point(&self, (x, y): (f64, f64)) -> Point {
        (self.corner.0 + self.x.share(x) * self.size.0, self.corner.1 + (1.0 - self.y.share(y)) * self.size.1)
    }
}
