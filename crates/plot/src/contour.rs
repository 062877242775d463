//! Contours of a field, by marching squares.

use crate::canvas::Point;
use crate::field::Field;

/// An edge of the grid between two neighbouring nodes, by both.
type Edge = [(usize, usize); 2];

/// Lines on which the field has this value, in columns and rows of nodes. A square with a corner that is no
/// number has none.
pub(crate) fn contour(field: &Field, level: f64) -> Vec<Vec<Point>> {
    let mut pieces = Vec::new();
    for row in 1..field.rows() {
        for column in 1..field.columns {
            square(field, (column - 1, row - 1), level, &mut pieces);
        }
    }
    joined(pieces)
        .into_iter()
        .map(|line| line.into_iter().map(|edge| crossing(field, edge, level)).collect())
        .collect()
}

/// The pieces in one square, by the edges at their ends, joined so that what lies above the level in the middle
/// stays together.
fn square(field: &Field, (column, row): (usize, usize), level: f64, pieces: &mut Vec<(Edge, Edge)>) {
    let corners = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(i, j)| (column + i, row + j));
    let values = corners.map(|(column, row)| field.at(column, row));
    if values.iter().any(|value| value.is_nan()) {
        return;
    }
    let is_above = values.map(|value| value > level);
    let edge = |i: usize| {
        let (a, b) = (corners[i], corners[(i + 1) % 4]);
        [a.min(b), a.max(b)]
    };
    let crossed: Vec<Edge> = (0..4).filter(|i| is_above[*i] != is_above[(i + 1) % 4]).map(edge).collect();
    match crossed[..] {
        [a, b] => pieces.push((a, b)),
        [a, b, c, d] => {
            let middle = values.iter().sum::<f64>() / 4.0 > level;
            pieces.extend(if middle == is_above[0] { [(a, b), (c, d)] } else { [(d, a), (b, c)] });
        }
        _ => {}
    }
}

/// Where an edge has the value.
fn crossing(field: &Field, [a, b]: Edge, level: f64) -> Point {
    let [from, to] = [a, b].map(|(column, row)| field.at(column, row));
    let share = (level - from) / (to - from);
    let between = |from: usize, to: usize| from as f64 + share * (to as f64 - from as f64);
    (between(a.0, b.0), between(a.1, b.1))
}

/// Pieces that share an end make one line.
fn joined(mut pieces: Vec<(Edge, Edge)>) -> Vec<Vec<Edge>> {
    let mut lines = Vec::new();
    while let Some((a, b)) = pieces.pop() {
        let mut line = vec![a, b];
        for _ in 0..2 {
            while let Some(end) = line.last().copied()
                && let Some(next) = pieces.iter().position(|piece| piece.0 == end || piece.1 == end)
            {
                let (a, b) = pieces.swap_remove(next);
                line.push(if a == end { b } else { a });
            }
            line.reverse();
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Axis;
    use crate::field::View;

    #[test]
    fn the_contour_of_a_cone_is_a_circle() {
        let n = 41;
        let place = |i: usize| i as f64 / 20.0 - 1.0;
        let values = (0..n * n).map(|i| place(i % n).hypot(place(i / n))).collect();
        let mut field = Field {
            columns: n,
            values,
            x: (-1.0, 1.0),
            y: (-1.0, 1.0),
            scale: Axis::new("height"),
            view: View::Contours,
        };
        let lines = contour(&field, 0.5);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].first(), lines[0].last(), "closed");
        for &(x, y) in &lines[0] {
            assert!(((x - 20.0).hypot(y - 20.0) - 10.0).abs() < 0.05, "({x}, {y})");
        }
        assert!(contour(&field, 9.0).is_empty());
        field.values[20 * n + 30] = f64::NAN;
        assert_eq!(contour(&field, 0.5).len(), 1, "open where a value is missing");
        assert_ne!(contour(&field, 0.5)[0].first(), contour(&field, 0.5)[0].last());
    }
}
