//! The canvas that paints pixels.
//!
//! Everything is a stroke of a round pen. How much of a pixel it covers follows from the distance between
//! the pixel's centre and the stroke: all of it half a pixel inside the edge, nothing half a pixel outside.
//! A stroke of several pieces covers what its best piece covers, so that joints are not painted twice.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use crate::canvas::{Anchor, Canvas, Colour, DASHES, EDGE, Pen, Point, Rect, Style};
use crate::font;
use crate::picture::Picture;

/// Width of a text's lines in units of its size.
const TEXT_PEN: f64 = 0.085;
const BOLD_PEN: f64 = 0.125;

/// A picture being painted.
pub(crate) struct Raster {
    /// Pixels for one unit of the figure.
    scale: f64,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Raster {
    /// A white picture of `scale` pixels for one unit of the figure.
    pub(crate) fn new((width, height): (f64, f64), scale: f64) -> Self {
        let (width, height) = ((width * scale).round() as usize, (height * scale).round() as usize);
        Self { scale, width, height, pixels: vec![0xff; 3 * width * height] }
    }

    /// The picture as a PNG file.
    pub(crate) fn finish(self) -> image::ImageResult<Vec<u8>> {
        encode(&self.pixels, self.width, self.height)
    }

    /// Puts a picture in, pixel by pixel, as far as it fits.
    pub(crate) fn paste(&mut self, left: usize, top: usize, tile: &Picture) {
        let width = 3 * tile.width().min(self.width.saturating_sub(left));
        for (y, row) in
            tile.pixels().chunks(3 * tile.width()).enumerate().take(self.height.saturating_sub(top))
        {
            self.pixels[3 * ((top + y) * self.width + left)..][..width].copy_from_slice(&row[..width]);
        }
    }

    /// Paints pieces of lines, given in pixels, as one stroke.
    fn stroke(&mut self, pieces: &[(Point, Point)], width: f64, colour: Colour) {
        let reach = width / 2.0 + 0.5;
        let bounds = |low: f64, high: f64, end: usize| {
            ((low - reach).floor().max(0.0) as usize, ((high + reach).ceil().max(0.0) as usize).min(end))
        };
        let all = || pieces.iter().flat_map(|(a, b)| [a, b]);
        let low = |part: fn(&Point) -> f64| all().map(part).fold(f64::INFINITY, f64::min);
        let high = |part: fn(&Point) -> f64| all().map(part).fold(f64::NEG_INFINITY, f64::max);
        let (left, right) = bounds(low(|p| p.0), high(|p| p.0), self.width);
        let (top, bottom) = bounds(low(|p| p.1), high(|p| p.1), self.height);
        if left >= right || top >= bottom {
            return;
        }
        let columns = right - left;
        let mut cover = vec![0.0f64; columns * (bottom - top)];
        for &(a, b) in pieces {
            let (from, to) = bounds(a.0.min(b.0), a.0.max(b.0), self.width);
            let (first, last) = bounds(a.1.min(b.1), a.1.max(b.1), self.height);
            for y in first..last {
                for x in from..to {
                    let share = (reach - distance((x as f64 + 0.5, y as f64 + 0.5), a, b)).clamp(0.0, 1.0);
                    let best = &mut cover[(y - top) * columns + x - left];
                    *best = best.max(share);
                }
            }
        }
        for (i, share) in cover.into_iter().enumerate().filter(|&(_, share)| share > 0.0) {
            self.blend(left + i % columns, top + i / columns, share, colour);
        }
    }

    /// Lays `share` of a colour over a pixel.
    fn blend(&mut self, x: usize, y: usize, share: f64, colour: Colour) {
        let at = 3 * (y * self.width + x);
        for (under, over) in self.pixels[at..at + 3].iter_mut().zip(colour) {
            let mixed = f64::from(*under) + share * (f64::from(over) - f64::from(*under));
            *under = mixed.round() as u8;
        }
    }

    /// Paints a box with round corners, given in pixels.
    fn fill(&mut self, rect: &Rect, radius: f64, colour: Colour) {
        let (x, y) = rect.middle();
        // The middles of the corners' circles, from the box's middle.
        let inner = (rect.width / 2.0 - radius, rect.height / 2.0 - radius);
        let columns = rect.left.floor().max(0.0) as usize..(rect.right().ceil() as usize).min(self.width);
        let rows = rect.top.floor().max(0.0) as usize..(rect.bottom().ceil() as usize).min(self.height);
        for row in rows {
            for column in columns.clone() {
                let dx = (column as f64 + 0.5 - x).abs() - inner.0;
                let dy = (row as f64 + 0.5 - y).abs() - inner.1;
                let outside = dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius;
                let share = (0.5 - outside).clamp(0.0, 1.0);
                if share > 0.0 {
                    self.blend(column, row, share, colour);
                }
            }
        }
    }

    fn scaled(&self, (x, y): Point) -> Point {
        (x * self.scale, y * self.scale)
    }
}

impl Canvas for Raster {
    fn line(&mut self, points: &[Point], pen: &Pen) {
        let points: Vec<Point> = points.iter().map(|&point| self.scaled(point)).collect();
        let whole: Vec<(Point, Point)> = points.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let pieces = if pen.is_dashed { dashes(&whole, DASHES.map(|d| d * self.scale)) } else { whole };
        self.stroke(&pieces, pen.width * self.scale, pen.colour);
    }

    fn disc(&mut self, centre: Point, radius: f64, colour: Colour) {
        let centre = self.scaled(centre);
        self.stroke(&[(centre, centre)], 2.0 * radius * self.scale, colour);
    }

    fn panel(&mut self, rect: &Rect, radius: f64, fill: Colour, outline: Colour) {
        let scaled = |grown: f64| {
            let ((left, top), side) = (self.scaled((rect.left - grown, rect.top - grown)), 2.0 * grown);
            let (width, height) = self.scaled((rect.width + side, rect.height + side));
            Rect { left, top, width, height }
        };
        // The line lies half inside, half outside, as in SVG.
        let (outer, inner) = (scaled(0.5), scaled(-0.5));
        self.fill(&outer, (radius + 0.5) * self.scale, outline);
        self.fill(&inner, (radius - 0.5).max(0.0) * self.scale, fill);
    }

    fn face(&mut self, corners: &[Point], colour: Colour) {
        let corners: Vec<Point> = corners.iter().map(|&corner| self.scaled(corner)).collect();
        let edges = || corners.iter().zip(corners.iter().cycle().skip(1));
        let low = corners.iter().map(|corner| corner.1).fold(f64::INFINITY, f64::min);
        let high = corners.iter().map(|corner| corner.1).fold(0.0, f64::max);
        for y in low.max(0.0) as usize..(high.ceil() as usize).min(self.height) {
            // Pixels whose centre lies inside, between the crossings of their row with the edges: neighbours
            // share no pixel and leave none out.
            let at = y as f64 + 0.5;
            let crosses = |(a, b): &(&Point, &Point)| (a.1 <= at) != (b.1 <= at);
            let mut crossings: Vec<f64> =
                edges().filter(crosses).map(|(a, b)| a.0 + (b.0 - a.0) * (at - a.1) / (b.1 - a.1)).collect();
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                let [from, to] =
                    [pair[0], pair[1]].map(|x| ((x - 0.5).ceil().max(0.0) as usize).min(self.width));
                for x in from..to {
                    self.pixels[3 * (y * self.width + x)..][..3].copy_from_slice(&colour);
                }
            }
        }
    }

    fn picture(&mut self, at: Point, size: Point, picture: &Picture) {
        let (left, top) = self.scaled(at);
        let (width, height) = self.scaled(size);
        let from = |x: f64, end: usize| (x.round().max(0.0) as usize).min(end);
        for y in from(top, self.height)..from(top + height, self.height) {
            for x in from(left, self.width)..from(left + width, self.width) {
                let share = |at: usize, start: f64, len: f64, count: usize| {
                    (((at as f64 + 0.5 - start) / len * count as f64).max(0.0) as usize).min(count - 1)
                };
                let pixel = picture
                    .pixel(share(x, left, width, picture.width()), share(y, top, height, picture.height()));
                self.pixels[3 * (y * self.width + x)..][..3].copy_from_slice(&pixel);
            }
        }
    }

    fn text(&mut self, at: Point, text: &str, style: &Style) {
        let start = match style.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -font::width(text, style.size) / 2.0,
            Anchor::End => -font::width(text, style.size),
        };
        let place = |(x, y): Point| {
            let (along, up) = (start + x, y);
            if style.is_turned { (at.0 - up, at.1 - along) } else { (at.0 + along, at.1 - up) }
        };
        let pieces: Vec<(Point, Point)> = font::strokes(text, style.size)
            .into_iter()
            .map(|(a, b)| (self.scaled(place(a)), self.scaled(place(b))))
            .collect();
        let pen = style.size * if style.is_bold { BOLD_PEN } else { TEXT_PEN };
        if style.has_edge {
            self.stroke(&pieces, (pen + EDGE * style.size) * self.scale, [0xff; 3]);
        }
        self.stroke(&pieces, pen * self.scale, style.colour);
    }
}

/// Red, green and blue of all pixels as a PNG file.
pub(crate) fn encode(pixels: &[u8], width: usize, height: usize) -> image::ImageResult<Vec<u8>> {
    let mut out = Vec::new();
    PngEncoder::new(&mut out).write_image(pixels, width as u32, height as u32, ExtendedColorType::Rgb8)?;
    Ok(out)
}

/// Distance of a point from the piece of a line between `a` and `b`.
fn distance(point: Point, a: Point, b: Point) -> f64 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let square = dx * dx + dy * dy;
    let along = ((point.0 - a.0) * dx + (point.1 - a.1) * dy) / if square > 0.0 { square } else { 1.0 };
    let along = along.clamp(0.0, 1.0);
    let (x, y) = (point.0 - a.0 - along * dx, point.1 - a.1 - along * dy);
    (x * x + y * y).sqrt()
}

/// The drawn parts of a dashed line.
fn dashes(pieces: &[(Point, Point)], lengths: [f64; 2]) -> Vec<(Point, Point)> {
    let mut drawn = Vec::new();
    let (mut turn, mut left) = (0, lengths[0]);
    for &(a, b) in pieces {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = (dx * dx + dy * dy).sqrt();
        let at = |s: f64| (a.0 + dx * s / length, a.1 + dy * s / length);
        let mut done = 0.0;
        while done < length {
            let step = left.min(length - done);
            if turn == 0 {
                drawn.push((at(done), at(done + step)));
            }
            done += step;
            left -= step;
            if left <= 0.0 {
                turn = 1 - turn;
                left = lengths[turn];
            }
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stroke_covers_its_middle_and_leaves_the_rest_white() {
        let mut raster = Raster::new((20.0, 10.0), 1.0);
        let pen = Pen { colour: [0, 0, 0], width: 3.0, is_dashed: false };
        raster.line(&[(2.0, 5.5), (18.0, 5.5)], &pen);
        let pixel = |x: usize, y: usize| raster.pixels[3 * (y * 20 + x)];
        assert_eq!((pixel(10, 5), pixel(10, 4), pixel(10, 6)), (0, 0, 0));
        assert_eq!((pixel(10, 2), pixel(10, 8), pixel(0, 0)), (255, 255, 255));
    }

    #[test]
    fn a_panel_is_filled_and_its_corners_are_round() {
        let mut raster = Raster::new((20.0, 10.0), 1.0);
        let rect = Rect { left: 2.0, top: 2.0, width: 16.0, height: 6.0 };
        raster.panel(&rect, 3.0, [200, 0, 0], [0, 0, 0]);
        let pixel = |x: usize, y: usize| raster.pixels[3 * (y * 20 + x)];
        assert_eq!((pixel(10, 5), pixel(3, 5)), (200, 200), "inside");
        assert_eq!((pixel(0, 5), pixel(10, 0), pixel(1, 1)), (255, 255, 255), "outside and in the corner");
        assert!(pixel(10, 1) < 255 && pixel(10, 2) < 200, "the line around it");
    }

    #[test]
    fn faces_that_meet_share_no_pixel_and_leave_none_out() {
        let mut raster = Raster::new((20.0, 20.0), 1.0);
        let (corner, middle) = ([(2.0, 2.0), (18.0, 3.0), (17.0, 18.0), (3.0, 16.0)], (9.3, 10.7));
        for i in 0..4 {
            raster.face(&[corner[i], corner[(i + 1) % 4], middle], [i as u8; 3]);
        }
        let count = |raster: &Raster| raster.pixels.chunks(3).filter(|pixel| pixel[0] < 4).count();
        let apart = count(&raster);
        let mut whole = Raster::new((20.0, 20.0), 1.0);
        whole.face(&corner, [0; 3]);
        assert!(apart == count(&whole) && apart > 150, "{apart} and {}", count(&whole));
    }

    #[test]
    fn pictures_are_stretched_to_their_place() {
        let mut raster = Raster::new((10.0, 10.0), 1.0);
        raster.picture((2.0, 2.0), (6.0, 4.0), &Picture::grey(&[0.0, 1.0, 1.0, 0.0], 2, 2));
        let pixel = |x: usize, y: usize| raster.pixels[3 * (y * 10 + x)];
        assert_eq!((pixel(2, 2), pixel(4, 3), pixel(5, 5), pixel(7, 5)), (0, 0, 0, 0));
        assert_eq!(
            (pixel(1, 2), pixel(8, 5), pixel(4, 6), pixel(5, 2), pixel(2, 4)),
            (255, 255, 255, 255, 255)
        );
    }

    #[test]
    fn dashes_leave_gaps_of_their_length() {
        let drawn = dashes(&[((0.0, 0.0), (10.0, 0.0)), ((10.0, 0.0), (10.0, 7.0))], [4.0, 2.0]);
        let length: f64 = drawn.iter().map(|(a, b)| (b.0 - a.0).abs() + (b.1 - a.1).abs()).sum();
        assert!((length - 12.0).abs() < 1e-9, "{drawn:?}");
    }
}
