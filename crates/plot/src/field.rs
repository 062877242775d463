//! A field: a value at every node of a grid, as a map in colours with contours, or as a surface.

use crate::axis::{Axis, Span};
use crate::canvas::{Anchor, Canvas, Colour, Pen, Point, Style};
use crate::contour::contour;
use crate::picture::{Picture, SEQUENTIAL, ramp};

/// How a field is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A cell of one colour around each node.
    Cells,
    /// Colours that pass into each other, and contours at the marks of the scale.
    Contours,
    /// Heights over the plane, seen from the side.
    Surface,
}

/// Values at the nodes of a grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Nodes from left to right.
    pub columns: usize,
    /// Values row by row, the lowest first. What is no number stays blank.
    pub values: Vec<f64>,
    /// Places of the first and last column along the chart's axis.
    pub x: (f64, f64),
    /// Places of the first and last row.
    pub y: (f64, f64),
    /// What is measured, and how values become colours.
    pub scale: Axis,
    /// How it is drawn.
    pub view: View,
}

/// Colours between two nodes of a field with contours.
const FINE: usize = 8;
const BLANK: Colour = [0xf0; 3];
const CONTOUR_WIDTH: f64 = 0.8;
/// The scale below the chart.
const BAR: (f64, f64) = (270.0, 10.0);
const BAR_TICK: f64 = 11.0;
const BAR_LABEL: f64 = 12.0;
const MARKS: f64 = 8.0;
/// Height of the scale with its names.
pub(crate) const SCALE_HEIGHT: f64 = 52.0;

impl Field {
    /// Nodes from bottom to top.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    /// Value of a node; not-a-number where there is none, or none that the scale holds.
    pub(crate) fn at(&self, column: usize, row: usize) -> f64 {
        let value = self.values.get(row * self.columns + column).copied().unwrap_or(f64::NAN);
        if self.scale.holds(value) { value } else { f64::NAN }
    }

    /// The ends of what is drawn: of cells, half of one beyond the nodes.
    pub(crate) fn ends(&self) -> [(f64, f64); 2] {
        let beyond = |(first, last): (f64, f64), count: usize| {
            let half = if count > 1 { (last - first) / (count - 1) as f64 / 2.0 } else { 0.5 };
            if self.view == View::Cells { (first - half, last + half) } else { (first, last) }
        };
        [beyond(self.x, self.columns), beyond(self.y, self.rows())]
    }

    /// The values' scale.
    pub(crate) fn span(&self) -> Span {
        let held = self.values.iter().copied().filter(|value| self.scale.holds(*value));
        self.scale.span(held, MARKS, false)
    }

    /// Draws the map into the rectangle with this upper left corner and size.
    pub(crate) fn draw(&self, canvas: &mut dyn Canvas, corner: Point, size: Point) {
        let span = self.span();
        canvas.picture(corner, size, &self.picture(&span));
        if self.view != View::Contours {
            return;
        }
        let place = |(column, row): Point| {
            let share = |at: f64, count: usize| at / (count.max(2) - 1) as f64;
            let (x, y) = (share(column, self.columns), 1.0 - share(row, self.rows()));
            (corner.0 + x * size.0, corner.1 + y * size.1)
        };
        for (level, _) in &span.ticks {
            // Dark lines on bright ground and the reverse.
            let colour = if span.share(*level) < 0.6 { [0xff; 3] } else { [0x22; 3] };
            let pen = Pen { colour, width: CONTOUR_WIDTH, is_dashed: false };
            for line in contour(self, *level) {
                canvas.line(&line.into_iter().map(place).collect::<Vec<_>>(), &pen);
            }
        }
    }

    /// One pixel a cell, or several between the nodes of contours; the top row first.
    fn picture(&self, span: &Span) -> Picture {
        let fine = if self.view == View::Contours { FINE } else { 1 };
        let size = |count: usize| if fine == 1 { count.max(1) } else { (count.max(2) - 1) * fine };
        let (width, height) = (size(self.columns), size(self.rows()));
        let value = |x: usize, y: usize| {
            if fine == 1 {
                return self.at(x, y);
            }
            let place = |at: usize| (at as f64 + 0.5) / fine as f64;
            self.between(place(x), place(y), span)
        };
        let pixels = (0..height).rev().flat_map(|y| (0..width).map(move |x| (x, y)));
        Picture::new(width, height, pixels.flat_map(|(x, y)| colour(value(x, y), span)).collect())
    }

    /// The value between four nodes, by their places on the scale.
    fn between(&self, x: f64, y: f64, span: &Span) -> f64 {
        let (column, row) = (x as usize, y as usize);
        let (u, v) = (x - column as f64, y - row as f64);
        let at = |i: usize, j: usize| span.share(self.at(column + i, row + j));
        let share =
            (1.0 - v) * ((1.0 - u) * at(0, 0) + u * at(1, 0)) + v * ((1.0 - u) * at(0, 1) + u * at(1, 1));
        span.value(share)
    }

    /// Draws the scale from its upper left corner.
    pub(crate) fn draw_scale(&self, canvas: &mut dyn Canvas, (left, top): Point) {
        let span = self.span();
        let shades: Vec<u8> = (0..256).flat_map(|i| ramp(&SEQUENTIAL, f64::from(i) / 255.0)).collect();
        canvas.picture((left, top), BAR, &Picture::new(256, 1, shades));
        let mut free = f64::NEG_INFINITY;
        for (value, name) in &span.ticks {
            let x = left + span.share(*value) * BAR.0;
            canvas.line(&[(x, top + BAR.1), (x, top + BAR.1 + 4.0)], &Pen::thin(crate::canvas::FRAME));
            let half = crate::font::width(name, BAR_TICK) / 2.0;
            if x - half > free {
                canvas.text((x, top + BAR.1 + 15.0), name, &Style::new(BAR_TICK, Anchor::Middle));
                free = x + half + 5.0;
            }
        }
        let middle = left + BAR.0 / 2.0;
        canvas.text((middle, top + BAR.1 + 32.0), &self.scale.label, &Style::new(BAR_LABEL, Anchor::Middle));
    }
}

/// The colour of a value.
pub(crate) fn colour(value: f64, span: &Span) -> Colour {
    if value.is_finite() { ramp(&SEQUENTIAL, span.share(value)) } else { BLANK }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn field(view: View) -> Field {
        let values = vec![0.0, 1.0, 2.0, 3.0, f64::NAN, 5.0];
        Field { columns: 3, values, x: (1.0, 3.0), y: (0.0, 1.0), scale: Axis::new("value"), view }
    }

    #[test]
    fn cells_reach_half_a_cell_beyond_their_nodes() {
        assert_eq!(field(View::Cells).ends(), [(0.5, 3.5), (-0.5, 1.5)]);
        assert_eq!(field(View::Contours).ends(), [(1.0, 3.0), (0.0, 1.0)]);
    }

    #[test]
    fn the_least_is_dark_the_greatest_bright_and_the_lowest_row_below() {
        let field = field(View::Cells);
        let picture = field.picture(&field.span());
        assert_eq!((picture.width(), picture.height()), (3, 2));
        assert_eq!((picture.pixel(0, 1), picture.pixel(2, 0)), (SEQUENTIAL[0], SEQUENTIAL[4]));
        assert_eq!(picture.pixel(1, 0), BLANK);
    }
}
