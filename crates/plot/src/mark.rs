//! Marks of points: told apart by form where colours repeat.

use crate::canvas::{Canvas, PALETTE, Pen, Point};

/// Corners of the line that stands for a ring.
const CORNERS: u32 = 16;

/// A disc in one of the first colours, then a ring, then a cross.
pub(crate) fn draw(canvas: &mut dyn Canvas, (x, y): Point, radius: f64, number: usize) {
    let colour = PALETTE[number % PALETTE.len()];
    let pen = Pen { colour, width: 1.4, is_dashed: false };
    match number / PALETTE.len() % 3 {
        0 => canvas.disc((x, y), radius, colour),
        1 => {
            let corner = |i: u32| {
                let (sin, cos) = (std::f64::consts::TAU * f64::from(i) / f64::from(CORNERS)).sin_cos();
                (x + radius * cos, y + radius * sin)
            };
            canvas.line(&(0..=CORNERS).map(corner).collect::<Vec<_>>(), &pen);
        }
        _ => {
            canvas.line(&[(x - radius, y - radius), (x + radius, y + radius)], &pen);
            canvas.line(&[(x - radius, y + radius), (x + radius, y - radius)], &pen);
        }
    }
}
