//! A field as a surface, seen from above one side in parallel projection.

use crate::axis::Axis;
use crate::canvas::{Anchor, Canvas, FRAME, Pen, Point, Style};
use crate::chart::PLOT;
use crate::field::{Field, colour};

/// How far the plane is turned, and how far it leans towards the reader.
const TURN: f64 = 0.6;
const LEAN: f64 = 0.55;
/// Height of the surface over the side of the plane.
const HEIGHT: f64 = 0.62;
const SIZE: f64 = 12.0;
const TICK_SIZE: f64 = 11.0;

/// The projection of a unit cube onto the place of a chart.
struct View {
    corner: Point,
    scale: f64,
}

impl View {
    fn new(corner: Point) -> Self {
        let width = TURN.cos() + TURN.sin();
        let height = width * LEAN.sin() + HEIGHT * LEAN.cos();
        Self { corner, scale: (PLOT.0 / width).min((PLOT.1 - 12.0) / height) }
    }

    /// A place in the cube: along both sides of the plane, and up.
    fn place(&self, x: f64, y: f64, z: f64) -> Point {
        let (x, y) = (x - 0.5, y - 0.5);
        let (along, away) = (x * TURN.cos() - y * TURN.sin(), x * TURN.sin() + y * TURN.cos());
        let up = away * LEAN.sin() + (z - 0.5) * HEIGHT * LEAN.cos();
        (
            self.corner.0 + PLOT.0 / 2.0 + along * self.scale,
            self.corner.1 + PLOT.1 / 2.0 - 4.0 - up * self.scale,
        )
    }
}

/// Draws the surface with the names of the axes into the place of a chart.
pub(crate) fn draw(field: &Field, [x, y]: [&Axis; 2], canvas: &mut dyn Canvas, corner: Point) {
    let view = View::new(corner);
    base(field, &view, canvas);
    let span = field.span();
    let share = |at: usize, count: usize| at as f64 / (count.max(2) - 1) as f64;
    let node = |column: usize, row: usize| {
        let height = span.share(field.at(column, row));
        view.place(share(column, field.columns), share(row, field.rows()), height)
    };
    // From the far side to the near one.
    let mut cells: Vec<(usize, usize)> =
        (1..field.rows()).flat_map(|row| (1..field.columns).map(move |column| (column, row))).collect();
    let depth = |&(column, row): &(usize, usize)| {
        share(column, field.columns) * TURN.sin() + share(row, field.rows()) * TURN.cos()
    };
    cells.sort_by(|a, b| depth(b).total_cmp(&depth(a)));
    for (column, row) in cells {
        let corners = [(column - 1, row - 1), (column, row - 1), (column, row), (column - 1, row)];
        let mean = corners.iter().map(|&(c, r)| span.share(field.at(c, r))).sum::<f64>() / 4.0;
        if mean.is_finite() {
            let places = corners.map(|(column, row)| node(column, row));
            canvas.face(&places, shaded(colour(span.value(mean), &span), places));
        }
    }
    let (front, side) = (view.place(0.5, 0.0, 0.0), view.place(0.0, 0.5, 0.0));
    canvas.text((front.0 + 12.0, front.1 + 18.0), &x.label, &Style::new(SIZE, Anchor::Start));
    canvas.text((side.0 - 12.0, side.1 + 18.0), &y.label, &Style::new(SIZE, Anchor::End));
}

/// Facets that lean to the right are a little darker, so that the form is seen where colours are alike.
fn shaded(colour: [u8; 3], [a, b, _, d]: [Point; 4]) -> [u8; 3] {
    let slope = ((b.1 - a.1) - (d.1 - a.1)) / ((b.0 - a.0).abs() + (d.0 - a.0).abs()).max(1.0);
    let light = 1.0 - 0.25 * slope.clamp(-0.4, 1.0).max(0.0);
    colour.map(|part| (f64::from(part) * light) as u8)
}

/// The plane's edges with the values at their ends.
fn base(field: &Field, view: &View, canvas: &mut dyn Canvas) {
    let corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0)];
    let places = corners.map(|(x, y)| view.place(x, y, 0.0));
    canvas.line(&places, &Pen::thin(FRAME));
    let name = |value: f64| format!("{value}");
    for ((x, y), dx, dy, text) in [
        (places[0], 12.0, 16.0, name(field.x.0)),
        (places[1], 10.0, 14.0, name(field.x.1)),
        (places[0], -14.0, 10.0, name(field.y.0)),
        (places[3], -12.0, 10.0, name(field.y.1)),
    ] {
        canvas.text((x + dx, y + dy), &text, &Style::new(TICK_SIZE, Anchor::Middle));
    }
}
