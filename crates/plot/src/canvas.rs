//! What a figure is drawn on, in pixels from the upper left corner.

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
}

impl Style {
    pub(crate) const fn new(size: f64, anchor: Anchor) -> Self {
        Self { size, anchor, is_bold: false, is_turned: false }
    }

    pub(crate) const fn bold(self) -> Self {
        Self { is_bold: true, ..self }
    }

    pub(crate) const fn turned(self) -> Self {
        Self { is_turned: true, ..self }
    }
}

/// Lines, discs and texts are all that charts are made of.
pub(crate) trait Canvas {
    /// A line through all points, which are finite; one point alone draws nothing.
    fn line(&mut self, points: &[Point], pen: &Pen);
    /// A filled circle.
    fn disc(&mut self, centre: Point, radius: f64, colour: Colour);
    /// A text in one line.
    fn text(&mut self, at: Point, text: &str, style: &Style);
}
