//! The outlines of the ten classes, in coordinates in which each fills the unit disc.

/// Names of the classes, by label.
pub(super) const CLASSES: [&str; 10] =
    ["arrow", "circle", "crescent", "cross", "heart", "hourglass", "ring", "square", "star", "triangle"];

/// The outline of each class.
pub(super) const OUTLINES: [Outline; 10] =
    [ARROW, DISC, CRESCENT, CROSS, HEART, HOURGLASS, RING, SQUARE, STAR, TRIANGLE];

/// A region of the plane.
pub(super) enum Outline {
    /// Corners in order; inside by the even-odd rule.
    Polygon(&'static [[f32; 2]]),
    /// Inside where true.
    Formula(fn(f32, f32) -> bool),
}

impl Outline {
    pub(super) fn contains(&self, [u, v]: [f32; 2]) -> bool {
        match self {
            Self::Formula(inside) => inside(u, v),
            Self::Polygon(corners) => {
                let ends = corners.iter().cycle().skip(1);
                let crossings = corners.iter().zip(ends).filter(|([ax, ay], [bx, by])| {
                    (*ay > v) != (*by > v) && u < (bx - ax) * (v - ay) / (by - ay) + ax
                });
                crossings.count() % 2 == 1
            }
        }
    }
}

const fn disc(u: f32, v: f32, radius: f32) -> bool {
    u * u + v * v <= radius * radius
}

pub(super) const DISC: Outline = Outline::Formula(|u, v| disc(u, v, 0.9));
pub(super) const SQUARE: Outline =
    Outline::Polygon(&[[-0.74, -0.74], [0.74, -0.74], [0.74, 0.74], [-0.74, 0.74]]);

const RING: Outline = Outline::Formula(|u, v| disc(u, v, 1.0) && !disc(u, v, 0.55));
const CRESCENT: Outline = Outline::Formula(|u, v| disc(u, v, 1.0) && !disc(u - 0.5, v, 0.8));

/// (x² + y² - 1)³ ≤ x² y³, shrunk into the disc.
const HEART: Outline = Outline::Formula(|u, v| {
    let (x, y) = (1.22 * u, -1.22 * v + 0.1);
    let circle = x * x + y * y - 1.0;
    circle * circle * circle <= x * x * y * y * y
});

const TRIANGLE: Outline = Outline::Polygon(&[[0.0, -1.0], [0.866_025_4, 0.5], [-0.866_025_4, 0.5]]);
const HOURGLASS: Outline =
    Outline::Polygon(&[[-0.72, -0.85], [0.72, -0.85], [0.1, 0.0], [0.72, 0.85], [-0.72, 0.85], [-0.1, 0.0]]);

const CROSS: Outline = Outline::Polygon(&[
    [-0.27, -0.95],
    [0.27, -0.95],
    [0.27, -0.27],
    [0.95, -0.27],
    [0.95, 0.27],
    [0.27, 0.27],
    [0.27, 0.95],
    [-0.27, 0.95],
    [-0.27, 0.27],
    [-0.95, 0.27],
    [-0.95, -0.27],
    [-0.27, -0.27],
]);

const ARROW: Outline = Outline::Polygon(&[
    [0.0, -1.0],
    [0.8, -0.05],
    [0.25, -0.05],
    [0.25, 0.95],
    [-0.25, 0.95],
    [-0.25, -0.05],
    [-0.8, -0.05],
]);

/// Five points of the unit circle and, between them, five of the circle of radius 0.42.
const STAR: Outline = Outline::Polygon(&[
    [0.0, 1.0],
    [-0.246_869_8, 0.339_787_1],
    [-0.951_056_5, 0.309_017],
    [-0.399_443_74, -0.129_787_13],
    [-0.587_785_25, -0.809_017],
    [0.0, -0.42],
    [0.587_785_25, -0.809_017],
    [0.399_443_74, -0.129_787_13],
    [0.951_056_5, 0.309_017],
    [0.246_869_8, 0.339_787_1],
]);

#[cfg(test)]
mod tests {
    use super::*;

    /// The drawing skips what lies further out than `REACH`.
    #[test]
    fn outlines_fill_the_unit_disc_and_stay_inside() {
        for (name, outline) in CLASSES.iter().zip(&OUTLINES) {
            let mut longest = 0f32;
            for i in 0..90_000 {
                let point = [(i % 300) as f32 / 120.0 - 1.25, (i / 300) as f32 / 120.0 - 1.25];
                if outline.contains(point) {
                    longest = longest.max((point[0] * point[0] + point[1] * point[1]).sqrt());
                }
            }
            assert!((0.88..=super::super::REACH + 0.1).contains(&longest), "{name}: {longest}");
        }
    }
}
