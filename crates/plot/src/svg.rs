//! The canvas that writes SVG.

use std::fmt::Write as _;

use crate::canvas::{Anchor, Canvas, Colour, DASHES, EDGE, Pen, Point, Rect, Style};
use crate::picture::Picture;

/// An SVG document being written.
pub(crate) struct Svg {
    out: String,
}

impl Svg {
    /// An empty white page; `title` is what a reader that shows no picture tells.
    pub(crate) fn new((width, height): (f64, f64), title: &str) -> Self {
        let title = escape(title);
        Self {
            out: format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
                 width=\"{width}\" height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\">\n\
                 <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
            ),
        }
    }

    /// The whole document.
    pub(crate) fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    fn push(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = self.out.write_fmt(line);
        self.out.push('\n');
    }
}

impl Canvas for Svg {
    fn line(&mut self, points: &[Point], pen: &Pen) {
        if points.len() < 2 {
            return;
        }
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let [dash, gap] = DASHES;
        let dashes =
            if pen.is_dashed { format!(" stroke-dasharray=\"{dash} {gap}\"") } else { String::new() };
        self.push(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" \
             stroke-linejoin=\"round\"{dashes}/>",
            points.join(" "),
            hex(pen.colour),
            pen.width
        ));
    }

    fn disc(&mut self, (x, y): Point, radius: f64, colour: Colour) {
        let colour = hex(colour);
        self.push(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>"));
    }

    fn panel(&mut self, rect: &Rect, radius: f64, fill: Colour, outline: Colour) {
        let Rect { left, top, width, height } = rect;
        let (fill, outline) = (hex(fill), hex(outline));
        self.push(format_args!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             rx=\"{radius}\" fill=\"{fill}\" stroke=\"{outline}\"/>"
        ));
    }

    fn face(&mut self, corners: &[Point], colour: Colour) {
        let corners: Vec<String> = corners.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        // The thin edge closes the seams between neighbours.
        self.push(format_args!(
            "<polygon points=\"{}\" fill=\"{colour}\" stroke=\"{colour}\" stroke-width=\"0.4\"/>",
            corners.join(" "),
            colour = hex(colour)
        ));
    }

    fn picture(&mut self, (x, y): Point, (width, height): Point, picture: &Picture) {
        // A picture that cannot be encoded has no pixels to show.
        let Ok(png) = picture.png() else { return };
        self.push(format_args!(
            "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             preserveAspectRatio=\"none\" image-rendering=\"pixelated\" \
             href=\"data:image/png;base64,{}\"/>",
            base64(&png)
        ));
    }

    fn text(&mut self, (x, y): Point, text: &str, style: &Style) {
        let anchor = match style.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if style.is_bold { " font-weight=\"bold\"" } else { "" };
        let edge = if style.has_edge {
            let width = EDGE * style.size;
            format!(" stroke=\"white\" stroke-width=\"{width:.1}\" paint-order=\"stroke\"")
        } else {
            String::new()
        };
        let turn =
            if style.is_turned { format!(" transform=\"rotate(-90 {x:.1} {y:.1})\"") } else { String::new() };
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{}\" text-anchor=\"{anchor}\" fill=\"{}\"{weight}{edge}{turn}>\
             {}</text>",
            style.size,
            hex(style.colour),
            escape(text)
        ));
    }
}

/// A file as text in an address (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            three.iter().enumerate().fold(0u32, |bits, (i, &byte)| bits | u32::from(byte) << (16 - 8 * i));
        for digit in 0..4 {
            let place = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[place as usize]) } else { '=' });
        }
    }
    text
}

fn hex([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Text as XML takes it; characters that XML has no form for are left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_the_text_of_the_standard() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
