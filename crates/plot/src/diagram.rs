//! A network drawn as a column of boxes: groups in colours, arcs beside the column for what leads around boxes.
//!
//! The form is that of He et al. 2015, Fig. 3. A long column is cut into several, between chains, so that the
//! page keeps a shape that can be read.

mod layout;
mod text;

use crate::canvas::{Anchor, BLACK, Canvas, Colour, GREY, PALETTE, Pen, Point, Rect, Style};
use crate::error::PlotError;
use crate::raster::Raster;
use crate::svg::Svg;
use layout::{Arrow, Layout};

/// Pixels of a PNG for one of the SVG, where the page is not too large for it.
const PNG_SCALE: f64 = 2.0;
/// Pixels from which on the scale goes down, and which no PNG exceeds.
const LARGE_PIXELS: f64 = 6e7;
const MAX_PIXELS: f64 = 1.2e8;

/// One or several networks side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagram {
    /// Stands above all.
    pub title: String,
    /// From left to right.
    pub columns: Vec<Column>,
    /// What arcs mean: whether they are dotted, and a few words.
    pub legend: Vec<(bool, String)>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Stands above it; may be empty.
    pub title: String,
    /// Stands under the title.
    pub facts: Vec<String>,
    /// From top to bottom.
    pub groups: Vec<Group>,
}

/// Chains on a ground of one colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Stands beside it.
    pub name: String,
    /// Stands under the name.
    pub note: String,
    /// Number of its colour; grey without.
    pub colour: Option<usize>,
    /// From top to bottom.
    pub chains: Vec<Chain>,
}

/// Boxes that are not torn apart, such as a residual block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// How often it stands there; more than once is told beside it.
    pub repeat: usize,
    /// From top to bottom.
    pub boxes: Vec<DiagramBox>,
    /// What leads around boxes.
    pub arcs: Vec<DiagramArc>,
}

/// What a box looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxShape {
    /// A box in the group's colour.
    Filled,
    /// A white box.
    Plain,
    /// A circle, or a pill where the label has more than one letter. What comes after stands in a box below.
    Joint,
    /// A low box for what comes before or after other boxes.
    Low,
}

/// A box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiagramBox {
    /// What it looks like.
    pub shape: BoxShape,
    /// Small, before the label.
    pub before: String,
    /// In the middle.
    pub label: String,
    /// Small, after the label.
    pub after: String,
}

/// An arc around boxes of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiagramArc {
    /// The box after which it begins; none where it begins before the first.
    pub from: Option<usize>,
    /// The box that it leads to.
    pub to: usize,
    /// Whether its line is dotted.
    pub is_dotted: bool,
    /// Whether the box on it is in the group's colour.
    pub is_filled: bool,
    /// Lines of the box on it; without any there is no box.
    pub labels: Vec<String>,
}

impl Diagram {
    /// The diagram as an SVG document.
    pub fn svg(&self) -> String {
        let layout = Layout::new(self);
        let mut svg = Svg::new(layout.size, &self.title);
        draw(&layout, &mut svg);
        svg.finish()
    }

    /// The diagram as a PNG file.
    ///
    /// # Errors
    /// When it is too large for a picture.
    pub fn png(&self) -> Result<Vec<u8>, PlotError> {
        let layout = Layout::new(self);
        let fail = |problem: String| PlotError::Png { title: self.title.clone(), problem };
        let area = layout.size.0 * layout.size.1;
        if area > MAX_PIXELS {
            let (width, height) = layout.size;
            return Err(fail(format!(
                "{width:.0}×{height:.0} pixels are too many; take SVG, or draw less of it"
            )));
        }
        let scale = (LARGE_PIXELS / area).sqrt().clamp(1.0, PNG_SCALE);
        let mut raster = Raster::new(layout.size, scale);
        draw(&layout, &mut raster);
        raster.finish().map_err(|error| fail(error.to_string()))
    }

    /// The diagram in letters, one network under the other: a line for each box, and brackets for arcs.
    pub fn text(&self) -> String {
        text::render(self)
    }
}

fn draw(layout: &Layout, canvas: &mut dyn Canvas) {
    for panel in &layout.panels {
        canvas.panel(&panel.rect, panel.radius, panel.fill, panel.outline);
    }
    for line in &layout.lines {
        let pen = Pen { colour: LINE, width: 1.3, is_dashed: line.is_dotted };
        canvas.line(&line.points, &pen);
        if line.arrow == Arrow::AtEnd {
            let solid = Pen { is_dashed: false, ..pen };
            arrow_head(canvas, &line.points, &solid);
        }
    }
    for panel in &layout.boxes {
        canvas.panel(&panel.rect, panel.radius, panel.fill, panel.outline);
    }
    for text in &layout.texts {
        canvas.text(text.at, &text.words, &text.style);
    }
}

const LINE: Colour = [0x33; 3];

/// Two short strokes at the end of a line, whose last piece is straight.
fn arrow_head(canvas: &mut dyn Canvas, points: &[Point], pen: &Pen) {
    const LENGTH: f64 = 4.5;
    const HALF: f64 = 2.6;
    let [.., from, tip] = points else { return };
    let (dx, dy) = (tip.0 - from.0, tip.1 - from.1);
    let length = dx.hypot(dy);
    if length <= 0.0 {
        return;
    }
    let (ux, uy) = (dx / length, dy / length);
    let back = (tip.0 - LENGTH * ux, tip.1 - LENGTH * uy);
    let side = |sign: f64| (back.0 - sign * HALF * uy, back.1 + sign * HALF * ux);
    canvas.line(&[side(1.0), *tip, side(-1.0)], pen);
}

/// A colour mixed with white; `share` of the colour is left.
fn tint(colour: Colour, share: f64) -> Colour {
    colour.map(|part| (255.0 + share * (f64::from(part) - 255.0)).round() as u8)
}

/// The colour of a group by its number.
fn group_colour(colour: Option<usize>) -> Colour {
    colour.map_or(GREY, |number| PALETTE[number % (PALETTE.len() - 1)])
}

fn style(size: f64, anchor: Anchor) -> Style {
    Style::new(size, anchor).coloured(BLACK)
}

/// A box as it is drawn.
#[derive(Clone, Debug)]
struct Panel {
    rect: Rect,
    radius: f64,
    fill: Colour,
    outline: Colour,
}

#[cfg(test)]
mod tests;
