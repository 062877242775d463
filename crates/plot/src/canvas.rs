//! What a figure is drawn on, in pixels from the upper left corner.

use crate::picture::Picture;

/// Right and down.
pub(crate) type Point = (f64, f64);

/// Red, green and blue.
pub(crate) type Colour = [u8; 3];

pub(crate) const BLACK: Colour = [0x22; 3];
pub(crate) const GREY: Colour = [0x77; 3];
pub(crate) const FRAME: Colour = [0x44; 3];
pub(crate) const GRID: Colour = [0xdd; 3];

/// The colours of Okabe and Ito, which the colour blind can tell apart, without the yellow that is lost on
/// white; blue and vermilion first.
pub const PALETTE: [[u8; 3]; 7] = [
    [0x00, 0x72, 0xb2],
    [0xd5, 0x5e, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0x56, 0xb4, 0xe9],
    [0xe6, 0x9f, 0x00],
    [0x22, 0x22, 0x22],
];

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pen {
    pub(crate) colour: Colour,
    pub(crate) width: f64,
    pub(crate) is_dashed: bool,
}

impl Pen {
    pub(crate) const fn thin(colour: Colour) -> Self {
        Self { colour, width: 1.0, is_dashed: false }
    }
}

/// Lengths of a dash and of the gap after it.
pub(crate) const DASHES: [f64; 2] = [5.0, 3.5];

/// Width of a white edge in units of the text's size.
pub(crate) const EDGE: f64 = 0.3;

/// Which end of a text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text is written. Its place is on the base line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Style {
    pub(crate) size: f64,
    pub(crate) anchor: Anchor,
    pub(crate) is_bold: bool,
    /// Reads upwards.
    pub(crate) is_turned: bool,
    pub(crate) colour: Colour,
    /// Has a white edge, to be read on anything.
    pub(crate) has_edge: bool,
}

impl Style {
    pub(crate) const fn new(size: f64, anchor: Anchor) -> Self {
        Self { size, anchor, is_bold: false, is_turned: false, colour: BLACK, has_edge: false }
    }

    pub(crate) const fn bold(self) -> Self {
        Self { is_bold: true, ..self }
    }

    pub(crate) const fn edged(self) -> Self {
        Self { has_edge: true, ..self }
    }

    pub(crate) const fn turned(self) -> Self {
        Self { is_turned: true, ..self }
    }

    pub(crate) const fn coloured(self, colour: Colour) -> Self {
        Self { colour, ..self }
    }
}

/// A rectangle whose sides lie along those of the page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Rect {
    pub(crate) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.top + self.height
    }

    pub(crate) fn middle(&self) -> Point {
        (self.left + self.width / 2.0, self.top + self.height / 2.0)
    }
}

/// Lines, discs, boxes, texts, faces and pictures are all that figures are made of.
pub(crate) trait Canvas {
    /// A filled box with round corners, and a thin line of another colour around it.
    fn panel(&mut self, rect: &Rect, radius: f64, fill: Colour, outline: Colour);
    /// A line through all points, which are finite; one point alone draws nothing.
    fn line(&mut self, points: &[Point], pen: &Pen);
    /// A filled circle.
    fn disc(&mut self, centre: Point, radius: f64, colour: Colour);
    /// A text in one line.
    fn text(&mut self, at: Point, text: &str, style: &Style);
    /// The filled inside of a closed line.
    fn face(&mut self, corners: &[Point], colour: Colour);
    /// A picture, stretched from its upper left corner to this size; every pixel stays a rectangle.
    fn picture(&mut self, at: Point, size: Point, picture: &Picture);
}
