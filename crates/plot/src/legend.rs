//! The legend below a chart: names in rows, so that it never covers a curve.

use crate::canvas::{Anchor, Canvas, GREY, Pen, Point, Style};
use crate::chart::{Chart, LEFT, Line, PLOT, RIGHT};
use crate::{font, mark};

const SIZE: f64 = 12.0;
const ROW: f64 = 19.0;
const SAMPLE: f64 = 24.0;
/// Between a sample and its name, and between two entries.
const GAPS: [f64; 2] = [6.0, 18.0];
const WIDTH: f64 = LEFT + PLOT.0 + RIGHT - 16.0;

struct Entry<'a> {
    name: &'a str,
    pen: Pen,
    /// Number of the colour of a series of marks.
    mark: Option<usize>,
}

/// One entry for each name, then what the lines mean.
fn entries(chart: &Chart) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for series in &chart.series {
        let pen = series.pen();
        if let Some(known) =
            entries.iter_mut().find(|entry| entry.name == series.name && entry.pen.colour == pen.colour)
        {
            if series.line == Line::Solid {
                known.pen = pen;
            }
        } else {
            let mark = (series.line == Line::Marks).then_some(series.colour);
            entries.push(Entry { name: &series.name, pen, mark });
        }
    }
    if let Some([solid, dashed]) = &chart.lines {
        for (name, width, is_dashed) in [(solid, 2.0, false), (dashed, 1.5, true)] {
            entries.push(Entry { name, pen: Pen { colour: GREY, width, is_dashed }, mark: None });
        }
    }
    entries.retain(|entry| !entry.name.is_empty());
    entries
}

/// Entries with row and place in it.
fn places(entries: &[Entry<'_>]) -> Vec<(usize, f64)> {
    let (mut row, mut x) = (0, 0.0);
    let place = |entry: &Entry<'_>| {
        let width = SAMPLE + GAPS[0] + font::width(entry.name, SIZE);
        if x > 0.0 && x + width > WIDTH {
            (row, x) = (row + 1, 0.0);
        }
        let place = (row, x);
        x += width + GAPS[1];
        place
    };
    entries.iter().map(place).collect()
}

/// Height of a chart's legend.
pub(crate) fn height(chart: &Chart) -> f64 {
    places(&entries(chart)).last().map_or(0.0, |(row, _)| (*row + 1) as f64 * ROW)
}

/// Draws the legend from its upper left corner.
pub(crate) fn draw(chart: &Chart, canvas: &mut dyn Canvas, (left, top): Point) {
    let entries = entries(chart);
    for (entry, (row, x)) in entries.iter().zip(places(&entries)) {
        let (x, y) = (left + x, top + (row as f64 + 0.5) * ROW);
        match entry.mark {
            Some(number) => mark::draw(canvas, (x + SAMPLE / 2.0, y), 4.0, number),
            None => canvas.line(&[(x, y), (x + SAMPLE, y)], &entry.pen),
        }
        canvas.text((x + SAMPLE + GAPS[0], y + 4.0), entry.name, &Style::new(SIZE, Anchor::Start));
    }
}
