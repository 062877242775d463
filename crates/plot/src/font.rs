//! A line font of our own: every letter is a few strokes of a round pen, so that a PNG needs no font file.
//!
//! A glyph is written as a path in units of a twentieth of the text's size, from its left edge on the base
//! line, upwards: `M x y` sets the pen down, `L x y` draws a straight line, `Q x y x y` a quadratic curve by
//! its control point and its end. Capitals are 14 units high, small letters 10. The font is under the
//! licence of this crate.

use crate::canvas::Point;

/// Units in a text's size.
const UNITS: f64 = 20.0;
/// Straight pieces that a curve is drawn by.
const PIECES: u32 = 8;
/// Units between two letters, beside the room in their own advance.
const SPACING: f64 = 0.4;

/// Advance and path of what the font lacks: an empty box.
const MISSING: (f64, &str) = (12.0, "M2 0L2 14L10 14L10 0L2 0");

const GLYPHS: &[(char, f64, &str)] = &[
    (' ', 5.5, ""),
    ('0', 11.0, "M1 7Q1 14 5.5 14Q10 14 10 7Q10 0 5.5 0Q1 0 1 7"),
    ('1', 11.0, "M2 11L6 14L6 0"),
    ('2', 11.0, "M1.5 10.5Q1.5 14 5.5 14Q9.5 14 9.5 10.5Q9.5 8 6 5L1 0L10 0"),
    ('3', 11.0, "M1.5 12Q3 14 5.5 14Q9.3 14 9.3 10.7Q9.3 7.5 5 7.5Q10 7.5 10 3.8Q10 0 5.5 0Q2 0 1 2.5"),
    ('4', 11.0, "M8 0L8 14L1 4.5L10.5 4.5"),
    ('5', 11.0, "M9 14L2.5 14L1.8 7.5Q3.5 8.8 5.5 8.8Q10 8.8 10 4.5Q10 0 5.5 0Q2 0 1 2.5"),
    ('6', 11.0, "M9.3 12Q8 14 6 14Q1 14 1 6Q1 0 5.5 0Q10 0 10 4.3Q10 8.6 5.7 8.6Q2 8.6 1.1 4.5"),
    ('7', 11.0, "M1 14L10 14L4.5 0"),
    (
        '8',
        11.0,
        "M5.5 7.6Q1.8 7.6 1.8 10.8Q1.8 14 5.5 14Q9.2 14 9.2 10.8Q9.2 7.6 5.5 7.6Q1 7.6 1 3.8Q1 0 5.5 0\
         Q10 0 10 3.8Q10 7.6 5.5 7.6",
    ),
    ('9', 11.0, "M1.7 2Q3 0 5 0Q10 0 10 8Q10 14 5.5 14Q1 14 1 9.7Q1 5.4 5.3 5.4Q9 5.4 9.9 9.5"),
    ('A', 13.0, "M0.5 0L6.5 14L12.5 0M2.6 5L10.4 5"),
    ('B', 13.0, "M2 0L2 14L7 14Q11 14 11 10.8Q11 7.5 7 7.5L2 7.5M7 7.5Q12 7.5 12 3.8Q12 0 7 0L2 0"),
    ('C', 14.0, "M12.5 11Q11 14 7.3 14Q1.2 14 1.2 7Q1.2 0 7.3 0Q11 0 12.5 3.2"),
    ('D', 14.0, "M2 0L2 14L6.5 14Q12.8 14 12.8 7Q12.8 0 6.5 0L2 0"),
    ('E', 12.5, "M11 14L2 14L2 0L11 0M2 7.3L10 7.3"),
    ('F', 12.0, "M10.7 14L2 14L2 0M2 7L9.5 7"),
    ('G', 15.0, "M13 11Q11.3 14 7.5 14Q1.2 14 1.2 7Q1.2 0 7.5 0Q11 0 13.2 2.2L13.2 6.5L8 6.5"),
    ('H', 14.0, "M2 0L2 14M12 0L12 14M2 7.3L12 7.3"),
    ('I', 6.0, "M3 0L3 14"),
    ('J', 10.0, "M8 14L8 4Q8 0 4.5 0Q1 0 1 4"),
    ('K', 13.0, "M2 0L2 14M12 14L2 4.8M5.3 7.8L12.3 0"),
    ('L', 11.0, "M2 14L2 0L10.5 0"),
    ('M', 16.0, "M2 0L2 14L8 0.5L14 14L14 0"),
    ('N', 14.0, "M2 0L2 14L12 0L12 14"),
    ('O', 15.0, "M1.2 7Q1.2 14 7.5 14Q13.8 14 13.8 7Q13.8 0 7.5 0Q1.2 0 1.2 7"),
    ('P', 13.0, "M2 0L2 14L7.5 14Q12 14 12 10.3Q12 6.5 7.5 6.5L2 6.5"),
    ('Q', 15.0, "M1.2 7Q1.2 14 7.5 14Q13.8 14 13.8 7Q13.8 0 7.5 0Q1.2 0 1.2 7M8.8 3.5L13.5 -1"),
    ('R', 13.5, "M2 0L2 14L7.5 14Q12 14 12 10.3Q12 6.5 7.5 6.5L2 6.5M7.5 6.5L12.5 0"),
    (
        'S',
        13.0,
        "M11.3 11Q10.3 14 6.5 14Q1.8 14 1.8 10.7Q1.8 8.2 6.5 7.3Q11.8 6.3 11.8 3.7Q11.8 0 6.5 0Q2 0 1 3.5",
    ),
    ('T', 12.0, "M0.7 14L11.3 14M6 14L6 0"),
    ('U', 14.0, "M2 14L2 5.5Q2 0 7 0Q12 0 12 5.5L12 14"),
    ('V', 13.0, "M0.5 14L6.5 0L12.5 14"),
    ('W', 18.0, "M0.6 14L4.8 0L9 13.5L13.2 0L17.4 14"),
    ('X', 13.0, "M1 14L12 0M12 14L1 0"),
    ('Y', 13.0, "M0.5 14L6.5 6.5L12.5 14M6.5 6.5L6.5 0"),
    ('Z', 12.0, "M1.2 14L11 14L1 0L11.3 0"),
    ('a', 11.0, "M9.3 10L9.3 0M9.3 5Q9.3 10 5.2 10Q1 10 1 5Q1 0 5.2 0Q9.3 0 9.3 5"),
    ('b', 11.0, "M1.8 14L1.8 0M1.8 5Q1.8 10 5.9 10Q10 10 10 5Q10 0 5.9 0Q1.8 0 1.8 5"),
    ('c', 10.0, "M9 7.7Q8 10 5.3 10Q1 10 1 5Q1 0 5.3 0Q8 0 9 2.3"),
    ('d', 11.0, "M9.3 14L9.3 0M9.3 5Q9.3 10 5.2 10Q1 10 1 5Q1 0 5.2 0Q9.3 0 9.3 5"),
    ('e', 11.0, "M1.1 5.3L9.8 5.3Q9.8 10 5.5 10Q1 10 1 5Q1 0 5.5 0Q8.5 0 9.6 2.2"),
    ('f', 6.5, "M6.3 14Q3 14.6 3 11.5L3 0M0.6 10L6 10"),
    (
        'g',
        11.0,
        "M9.3 10L9.3 0Q9.3 -4 5.2 -4Q2.3 -4 1.3 -2.3M9.3 5Q9.3 10 5.2 10Q1 10 1 5Q1 0 5.2 0Q9.3 0 9.3 5",
    ),
    ('h', 11.0, "M1.8 14L1.8 0M1.8 5.5Q2 10 5.8 10Q9.2 10 9.2 6.2L9.2 0"),
    ('i', 5.0, "M2.5 10L2.5 0M2.5 13.6L2.5 13.6"),
    ('j', 5.0, "M2.8 10L2.8 -1.5Q2.8 -4 0.2 -4M2.8 13.6L2.8 13.6"),
    ('k', 10.0, "M1.8 14L1.8 0M8.8 10L1.8 3.7M4.3 6L9.3 0"),
    ('l', 5.0, "M2.5 14L2.5 0"),
    (
        'm',
        16.5,
        "M1.8 10L1.8 0M1.8 6Q2 10 5.3 10Q8.2 10 8.2 6.2L8.2 0M8.2 6Q8.5 10 11.7 10Q14.7 10 14.7 6.2L14.7 0",
    ),
    ('n', 11.0, "M1.8 10L1.8 0M1.8 5.5Q2 10 5.8 10Q9.2 10 9.2 6.2L9.2 0"),
    ('o', 11.0, "M1 5Q1 10 5.5 10Q10 10 10 5Q10 0 5.5 0Q1 0 1 5"),
    ('p', 11.0, "M1.8 10L1.8 -4M1.8 5Q1.8 10 5.9 10Q10 10 10 5Q10 0 5.9 0Q1.8 0 1.8 5"),
    ('q', 11.0, "M9.3 10L9.3 -4M9.3 5Q9.3 10 5.2 10Q1 10 1 5Q1 0 5.2 0Q9.3 0 9.3 5"),
    ('r', 7.0, "M1.8 10L1.8 0M1.8 5.5Q2.2 9.8 6.5 9.8"),
    ('s', 10.0, "M8.6 7.8Q7.8 10 5 10Q1.4 10 1.4 7.5Q1.4 5.8 5 5.1Q9 4.4 9 2.5Q9 0 5 0Q1.8 0 0.9 2.3"),
    ('t', 6.5, "M3 13L3 2.5Q3 0 6 0.2M0.6 10L6 10"),
    ('u', 11.0, "M1.7 10L1.7 3.8Q1.7 0 5.2 0Q9 0 9.2 4.5M9.2 10L9.2 0"),
    ('v', 10.0, "M0.6 10L5 0L9.4 10"),
    ('w', 14.5, "M0.6 10L4 0L7.25 9.5L10.5 0L13.9 10"),
    ('x', 10.0, "M1 10L9 0M9 10L1 0"),
    ('y', 10.0, "M0.6 10L5 0M9.4 10L4 -2.5Q3.3 -4 1 -4"),
    ('z', 10.0, "M1 10L9 10L1 0L9.2 0"),
    ('.', 5.5, "M2.7 0.5L2.7 0.5"),
    (',', 5.5, "M3 0.6L2 -2.4"),
    (':', 5.5, "M2.7 0.6L2.7 0.6M2.7 8.4L2.7 8.4"),
    (';', 5.5, "M3 0.6L2 -2.4M3 8.4L3 8.4"),
    ('!', 5.5, "M2.7 14L2.7 4.5M2.7 0.5L2.7 0.5"),
    ('?', 10.0, "M1 11Q1.2 14 5 14Q9 14 9 10.7Q9 8.5 6.5 7Q4.8 6 4.8 4.2M4.8 0.5L4.8 0.5"),
    ('-', 7.0, "M1.2 5L5.8 5"),
    ('–', 11.0, "M1 5L10 5"),
    ('−', 12.0, "M1.5 5.5L10.5 5.5"),
    ('+', 12.0, "M1.5 5.5L10.5 5.5M6 10L6 1"),
    ('=', 12.0, "M1.5 7.5L10.5 7.5M1.5 3.5L10.5 3.5"),
    ('×', 12.0, "M2.2 9.3L9.8 1.7M9.8 9.3L2.2 1.7"),
    ('÷', 12.0, "M1.5 5.5L10.5 5.5M6 9.6L6 9.6M6 1.4L6 1.4"),
    ('<', 12.0, "M10 10L2 5.5L10 1"),
    ('>', 12.0, "M2 10L10 5.5L2 1"),
    ('/', 6.5, "M0.5 -1L6 14.5"),
    ('\\', 6.5, "M0.5 14.5L6 -1"),
    ('|', 5.0, "M2.5 -3L2.5 15"),
    ('_', 10.0, "M0.5 -2L9.5 -2"),
    ('(', 6.5, "M5 15.5Q2 12 2 6Q2 0 5 -3.5"),
    (')', 6.5, "M1.5 15.5Q4.5 12 4.5 6Q4.5 0 1.5 -3.5"),
    ('[', 6.5, "M5 15L2 15L2 -3L5 -3"),
    (']', 6.5, "M1.5 15L4.5 15L4.5 -3L1.5 -3"),
    ('{', 7.0, "M6 15Q3.5 15 3.5 11L3.5 8.5Q3.5 6 1.5 6Q3.5 6 3.5 3.5L3.5 1Q3.5 -3 6 -3"),
    ('}', 7.0, "M1 15Q3.5 15 3.5 11L3.5 8.5Q3.5 6 5.5 6Q3.5 6 3.5 3.5L3.5 1Q3.5 -3 1 -3"),
    ('\'', 4.5, "M2.2 14L2.2 10.5"),
    ('’', 4.5, "M2.7 14L1.8 10.8"),
    ('"', 7.5, "M2.2 14L2.2 10.5M5.3 14L5.3 10.5"),
    ('`', 6.0, "M1.5 14L4 11.3"),
    ('^', 10.0, "M1 8.5L5 14L9 8.5"),
    ('~', 12.0, "M1.5 4.5Q3.5 8 6 5.5Q8.5 3 10.5 6.5"),
    ('*', 8.0, "M4 14L4 7.5M1.2 12.4L6.8 9.1M6.8 12.4L1.2 9.1"),
    ('·', 5.5, "M2.7 5.5L2.7 5.5"),
    ('°', 8.0, "M1.3 11.3Q1.3 14 4 14Q6.7 14 6.7 11.3Q6.7 8.6 4 8.6Q1.3 8.6 1.3 11.3"),
    ('²', 7.0, "M1 12.2Q1 14 3.3 14Q5.6 14 5.6 12.2Q5.6 11 3.6 9.3L0.9 7L5.9 7"),
    (
        '³',
        7.0,
        "M1 13Q1.8 14 3.3 14Q5.4 14 5.4 12.4Q5.4 10.8 3 10.8Q5.8 10.8 5.8 8.9Q5.8 7 3.3 7Q1.4 7 0.8 8.2",
    ),
    ('…', 16.5, "M2.7 0.5L2.7 0.5M8.2 0.5L8.2 0.5M13.7 0.5L13.7 0.5"),
    ('→', 18.0, "M1.5 5.5L16 5.5M11.5 9.5L16 5.5L11.5 1.5"),
    ('λ', 10.0, "M1.2 14Q3.6 14 4.4 11L8.8 0M5.2 8.4L1 0"),
    ('μ', 11.0, "M1.8 10L1.8 -4M1.8 3.8Q1.8 0 5.2 0Q9 0 9.2 4.5M9.2 10L9.2 0"),
    ('σ', 11.5, "M11 10L5.3 10Q1 10 1 5Q1 0 5.3 0Q9.6 0 9.6 5Q9.6 8.6 6.5 10"),
    (
        '§',
        10.0,
        "M8.3 12Q7.8 14 5 14Q2 14 2 11.8Q2 10 5 9Q8.6 7.8 8.6 5.8Q8.6 3.8 5.5 3.3M5 9.8Q1.4 8.6 1.4 6.4Q1.4 4.6 5 3.3\
         Q8 2.2 8 0.2Q8 -2 5 -2Q2.2 -2 1.7 0",
    ),
    (
        '%',
        18.0,
        "M1 10.7Q1 14 4.2 14Q7.4 14 7.4 10.7Q7.4 7.4 4.2 7.4Q1 7.4 1 10.7M10.6 3.3Q10.6 6.6 13.8 6.6\
         Q17 6.6 17 3.3Q17 0 13.8 0Q10.6 0 10.6 3.3M14.3 14L3.7 0",
    ),
    ('#', 12.0, "M4.4 13.5L2.6 0M9.4 13.5L7.6 0M1.2 9L11 9M0.8 4.5L10.6 4.5"),
    (
        '$',
        11.0,
        "M9.5 10.6Q8.8 13 5.5 13Q1.6 13 1.6 10Q1.6 7.8 5.5 7Q10 6.1 10 3.7Q10 1 5.5 1Q2 1 1 3.6M5.5 15L5.5 -1",
    ),
    (
        '&',
        14.0,
        "M12.8 0L3.9 9.5Q2.6 11 3.2 12.6Q4 14 5.7 14Q8.6 14 8.4 11.3Q8.3 9.6 5 7.8Q1 5.6 1.1 3.4Q1.3 0 5.3 0Q10.6 0 11.6 7",
    ),
    (
        '@',
        19.0,
        "M13 9L12.3 4.8Q12.2 3 13.8 3Q17.6 3.3 17.6 8Q17.6 14 10 14Q1.2 14 1.2 6Q1.2 -2.5 9.6 -2.5Q13 -2.5 15.4 -1\
         M12.8 7.4Q12.2 10.2 9.6 10.2Q6 10.2 6 6Q6 3 8.6 3Q11.4 3 12.3 6",
    ),
];

fn glyph(c: char) -> (f64, &'static str) {
    GLYPHS.iter().find(|(known, ..)| *known == c).map_or(MISSING, |&(_, advance, path)| (advance, path))
}

/// Width of a text of this size.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(|c| glyph(c).0 + SPACING).sum::<f64>() * size / UNITS
}

/// The straight pieces of a text of this size: from its start on the base line, along and up.
pub(crate) fn strokes(text: &str, size: f64) -> Vec<(Point, Point)> {
    let unit = size / UNITS;
    let (mut pieces, mut start) = (Vec::new(), 0.0);
    for c in text.chars() {
        let (advance, path) = glyph(c);
        draw(path, |(ax, ay), (bx, by)| {
            pieces.push((((start + ax) * unit, ay * unit), ((start + bx) * unit, by * unit)));
        });
        start += advance + SPACING;
    }
    pieces
}

/// Follows a path and tells its straight pieces.
fn draw(path: &str, mut piece: impl FnMut(Point, Point)) {
    let mut at = (0.0, 0.0);
    for (name, numbers) in commands(path) {
        match (name, numbers.as_slice()) {
            ('M', &[x, y]) => at = (x, y),
            ('L', &[x, y]) => {
                piece(at, (x, y));
                at = (x, y);
            }
            ('Q', &[cx, cy, x, y]) => {
                let from = at;
                for step in 1..=PIECES {
                    let t = f64::from(step) / f64::from(PIECES);
                    let mix = |a: f64, c: f64, b: f64| {
                        (1.0 - t) * (1.0 - t) * a + 2.0 * t * (1.0 - t) * c + t * t * b
                    };
                    let next = (mix(from.0, cx, x), mix(from.1, cy, y));
                    piece(at, next);
                    at = next;
                }
            }
            _ => unreachable!("the table above holds no such command; a test follows every path"),
        }
    }
}

/// Letters of a path with the numbers after them.
fn commands(path: &str) -> impl Iterator<Item = (char, Vec<f64>)> {
    let starts = path.char_indices().filter(|(_, c)| c.is_ascii_alphabetic());
    starts.map(|(start, name)| {
        let rest = &path[start + 1..];
        let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let numbers = rest[..end].split_whitespace().map(|n| n.parse().unwrap_or(f64::NAN));
        (name, numbers.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_glyph_is_drawn_within_its_line() {
        for &(c, advance, path) in GLYPHS {
            let pieces = strokes(&c.to_string(), UNITS);
            assert_eq!(pieces.is_empty(), path.is_empty(), "{c}");
            for point in pieces.iter().flat_map(|(a, b)| [a, b]) {
                assert!(
                    (0.0..=advance).contains(&point.0) && (-4.0..=15.5).contains(&point.1),
                    "{c}: {point:?}"
                );
            }
            assert_eq!(GLYPHS.iter().filter(|(other, ..)| *other == c).count(), 1, "{c}");
        }
        for c in ' '..='~' {
            assert!(GLYPHS.iter().any(|(known, ..)| *known == c), "{c}");
        }
    }

    #[test]
    fn a_letter_that_is_missing_is_a_box() {
        assert_eq!(strokes("\u{4e2d}", UNITS).len(), 4);
        assert!((width("il", 20.0) - 10.8).abs() < 1e-12);
    }
}
