//! Where everything stands.

use super::{
    BoxShape, Chain, Column, Diagram, DiagramArc, DiagramBox, Group, Panel, group_colour, style, tint,
};
use crate::canvas::{Anchor, Colour, Point, Rect, Style};
use crate::font;

const MARGIN: f64 = 16.0;
const TITLE_SIZE: f64 = 16.0;
const TITLE: f64 = 34.0;
const HEADING_SIZE: f64 = 13.0;
const HEADING: f64 = 20.0;
const FACT_SIZE: f64 = 10.5;
const FACT: f64 = 15.0;
const LEGEND: f64 = 26.0;
const LABEL_SIZE: f64 = 11.5;
const SMALL_SIZE: f64 = 9.5;
const NAME_SIZE: f64 = 12.0;
/// Between the parts of a box's text.
const WORD: f64 = 7.0;

const BOX: f64 = 24.0;
const LOW: f64 = 16.0;
const JOINT: f64 = 18.0;
/// Between two boxes, and between a joint and what follows it in the same box.
const GAP: f64 = 13.0;
const SHORT_GAP: f64 = 5.0;
/// Between two chains: an arc ends above the middle and another begins below it.
const CHAIN_GAP: f64 = 20.0;
/// Between the ground of a group and its first and last box.
const GROUP_PAD: f64 = 16.0;
const GROUP_GAP: f64 = 10.0;
/// A group is high enough for its name and note.
const LEAST_GROUP: f64 = 46.0;
/// Between the pieces of a column that was cut, and between columns.
const GUTTER: f64 = 34.0;
const SIDE_LINE: f64 = 12.5;
const LANE: f64 = 18.0;
const CORNER: f64 = 8.0;
/// How far above its first box a chain's input can be read.
const ENTRY: f64 = 8.5;
/// How far a frame stands around a chain that is repeated: the arcs' beginning lies inside.
const FRAME_ABOVE: f64 = 13.0;
const FRAME_BELOW: f64 = 6.0;
/// How far from the ground a line runs around a piece.
const TURN: f64 = 9.0;

/// A column up to this height is not cut.
const ONE_PIECE: f64 = 1650.0;
/// Width of a page for its height, where columns are cut.
const ASPECT: f64 = 1.4;

/// Which ends of a line have arrow heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrow {
    Nowhere,
    AtEnd,
}

pub(super) struct Line {
    pub(super) points: Vec<Point>,
    pub(super) is_dotted: bool,
    pub(super) arrow: Arrow,
}

pub(super) struct Text {
    pub(super) at: Point,
    pub(super) words: String,
    pub(super) style: Style,
}

/// Everything with its place, in the order in which it is drawn.
pub(super) struct Layout {
    pub(super) size: (f64, f64),
    /// Grounds and frames.
    pub(super) panels: Vec<Panel>,
    pub(super) lines: Vec<Line>,
    pub(super) boxes: Vec<Panel>,
    pub(super) texts: Vec<Text>,
}

impl Layout {
    pub(super) fn new(diagram: &Diagram) -> Self {
        let mut layout =
            Self { size: (0.0, 0.0), panels: vec![], lines: vec![], boxes: vec![], texts: vec![] };
        let facts = diagram.columns.iter().map(|column| column.facts.len()).max().unwrap_or(0);
        let heading =
            if diagram.columns.iter().all(|column| column.title.is_empty()) { 0.0 } else { HEADING };
        let head = MARGIN + TITLE + heading + facts as f64 * FACT + 2.0 * TURN;
        let (mut left, mut bottom) = (MARGIN, head);
        for column in &diagram.columns {
            let (right, end) = layout.column(column, left, head);
            let title = font::width(&column.title, HEADING_SIZE) * BOLD;
            let texts = column.facts.iter().map(|fact| font::width(fact, FACT_SIZE));
            let widest = texts.fold(title, f64::max);
            layout.text((left, MARGIN + TITLE + 10.0), &column.title, bold(HEADING_SIZE, Anchor::Start));
            for (index, fact) in column.facts.iter().enumerate() {
                let y = MARGIN + TITLE + heading + 8.0 + index as f64 * FACT;
                layout.text((left, y), fact, style(FACT_SIZE, Anchor::Start).coloured(SOFT));
            }
            left = right.max(left + widest) + GUTTER;
            bottom = bottom.max(end);
        }
        let mut width = left - GUTTER + MARGIN;
        let title = bold(TITLE_SIZE, Anchor::Start);
        layout.text((MARGIN, MARGIN + 14.0), &diagram.title, title);
        width = width.max(font::width(&diagram.title, TITLE_SIZE) * BOLD + 2.0 * MARGIN);
        let mut x = MARGIN;
        for (is_dotted, words) in &diagram.legend {
            if x > MARGIN && x + 44.0 + font::width(words, FACT_SIZE) + MARGIN > width {
                (x, bottom) = (MARGIN, bottom + FACT);
            }
            let y = bottom + LEGEND - 8.0;
            layout.line(vec![(x, y), (x + 32.0, y)], *is_dotted, Arrow::AtEnd);
            layout.text((x + 38.0, y + 4.0), words, style(FACT_SIZE, Anchor::Start));
            x += 38.0 + font::width(words, FACT_SIZE) + 20.0;
            width = width.max(x - 20.0 + MARGIN);
        }
        let legend = if diagram.legend.is_empty() { 0.0 } else { LEGEND };
        layout.size = (width.ceil(), (bottom + legend + MARGIN).ceil());
        layout
    }

    fn text(&mut self, at: Point, text: &str, style: Style) {
        if !text.is_empty() {
            self.texts.push(Text { at, words: text.to_owned(), style });
        }
    }

    fn line(&mut self, points: Vec<Point>, is_dotted: bool, arrow: Arrow) {
        self.lines.push(Line { points, is_dotted, arrow });
    }

    /// Draws a network from a corner on; returns its right end and its bottom.
    fn column(&mut self, column: &Column, left: f64, top: f64) -> (f64, f64) {
        let widths = Widths::of(column);
        let (mut bottom, mut x) = (top, left);
        let mut above: Option<Point> = None;
        for piece in pieces(column, &widths) {
            let (mut y, mut is_first) = (top, true);
            for (group, chains) in &piece {
                let colour = group_colour(group.colour);
                let height = group_height(chains);
                let ground = Rect { left: x, top: y, width: widths.all(), height };
                let (fill, outline) = (tint(colour, 0.10), tint(colour, 0.35));
                self.panels.push(Panel { rect: ground, radius: 6.0, fill, outline });
                self.text((x + 8.0, y + 17.0), &group.name, bold(NAME_SIZE, Anchor::Start));
                let note = style(SMALL_SIZE + 0.5, Anchor::Start).coloured(SOFT);
                self.text((x + 8.0, y + 31.0), &group.note, note);
                let mut at = y + (height - chains_height(chains)) / 2.0;
                for chain in *chains {
                    let beside = is_first.then_some((x - GUTTER / 2.0, top));
                    if let Some(end) = above {
                        self.connect(end, (x + widths.axis(), at), beside);
                    }
                    is_first = false;
                    above = Some(self.chain(chain, colour, &widths, (x, at)));
                    if chain.repeat > 1 {
                        let middle = (at + chain_height(chain) / 2.0 + 4.0).max(y + 47.0);
                        let words = format!("× {}", chain.repeat);
                        self.text((x + widths.names - 4.0, middle), &words, bold(NAME_SIZE, Anchor::End));
                    }
                    at += chain_height(chain) + CHAIN_GAP;
                }
                y += height + GROUP_GAP;
            }
            bottom = bottom.max(y - GROUP_GAP);
            x += widths.all() + GUTTER;
        }
        (x - GUTTER, bottom + TURN)
    }

    /// A line from the end of a chain to the next one; where that begins a piece at `top`, around the piece
    /// before it, through the gutter.
    fn connect(&mut self, from: Point, to: Point, beside: Option<(f64, f64)>) {
        let mut points = vec![from];
        if let Some((gutter, top)) = beside {
            let (low, high) = (from.1 + GROUP_PAD + TURN, top - TURN);
            points.extend(corner((from.0, low), (0.0, -1.0), (1.0, 0.0)));
            points.extend(corner((gutter, low), (-1.0, 0.0), (0.0, -1.0)));
            points.extend(corner((gutter, high), (0.0, 1.0), (1.0, 0.0)));
            points.extend(corner((to.0, high), (-1.0, 0.0), (0.0, 1.0)));
        }
        points.push(to);
        self.line(points, false, Arrow::AtEnd);
    }

    /// Draws a chain from a corner on; returns where its last box ends.
    fn chain(&mut self, chain: &Chain, colour: Colour, widths: &Widths, (x, top): Point) -> Point {
        let axis = x + widths.axis();
        if chain.repeat > 1 {
            let rect = Rect {
                left: x + widths.names + 2.0,
                top: top - FRAME_ABOVE,
                width: widths.boxes + widths.sides + 6.0,
                height: chain_height(chain) + FRAME_ABOVE + FRAME_BELOW,
            };
            let (fill, outline) = (tint(colour, 0.04), tint(colour, 0.7));
            self.panels.push(Panel { rect, radius: 5.0, fill, outline });
        }
        let mut ends: Vec<Rect> = Vec::new();
        let mut y = top;
        for (index, element) in chain.boxes.iter().enumerate() {
            y += extra_gap(chain, index);
            if let Some(last) = ends.last() {
                self.line(vec![(axis, last.bottom()), (axis, y)], false, Arrow::AtEnd);
            }
            let rect = self.element(element, colour, widths, (axis, y));
            y = rect.bottom() + GAP;
            ends.push(rect);
        }
        for (arc, lane) in chain.arcs.iter().zip(lanes(&chain.arcs)) {
            let Some(end) = ends.get(arc.to) else { continue };
            let start = match arc.from.and_then(|from| ends.get(from)) {
                Some(from) => from.bottom() + GAP * 0.35,
                None => top - ENTRY,
            };
            let joint = joint_rect(&chain.boxes[arc.to], (axis, end.top));
            self.arc(arc, colour, x + widths.lane(lane), axis, start, &joint);
        }
        ends.last().map_or((axis, top), |last| (axis, last.bottom()))
    }

    /// Draws a box whose top is at a point; returns what it covers.
    fn element(&mut self, element: &DiagramBox, colour: Colour, widths: &Widths, (axis, y): Point) -> Rect {
        let height = element_height(element);
        let (fill, outline) = match element.shape {
            BoxShape::Filled => (tint(colour, 0.38), colour),
            BoxShape::Plain | BoxShape::Joint => (WHITE, tint(colour, 0.8)),
            BoxShape::Low => (tint(colour, 0.16), tint(colour, 0.6)),
        };
        let centred =
            |width: f64, top: f64, height: f64| Rect { left: axis - width / 2.0, top, width, height };
        match element.shape {
            BoxShape::Joint => {
                let rect = joint_rect(element, (axis, y));
                self.boxes.push(Panel { rect, radius: rect.height / 2.0, fill, outline: [0x33; 3] });
                let size = if is_sign(&element.label) { 15.0 } else { SMALL_SIZE + 0.5 };
                let text = if is_sign(&element.label) {
                    bold(size, Anchor::Middle)
                } else {
                    style(size, Anchor::Middle)
                };
                let drop = if is_sign(&element.label) { 4.2 } else { 3.4 };
                self.text((axis, rect.middle().1 + drop), &element.label, text);
                if !element.after.is_empty() {
                    let top = rect.bottom() + SHORT_GAP;
                    self.line(vec![(axis, rect.bottom()), (axis, top)], false, Arrow::Nowhere);
                    self.low(&element.after, colour, axis, top);
                }
            }
            BoxShape::Low => self.low(&element.after, colour, axis, y),
            BoxShape::Filled | BoxShape::Plain => {
                self.boxes.push(Panel { rect: centred(widths.boxes, y, height), radius: 4.0, fill, outline });
                let mut at = axis - words_width(element) / 2.0;
                let base = y + height / 2.0 + 4.0;
                for (words, size, colour) in words(element) {
                    self.text((at, base), words, style(size, Anchor::Start).coloured(colour));
                    at += font::width(words, size) + WORD;
                }
            }
        }
        centred(widths.boxes, y, height)
    }

    /// A low box for activations.
    fn low(&mut self, words: &str, colour: Colour, axis: f64, top: f64) {
        let width = font::width(words, SMALL_SIZE) + 16.0;
        let rect = Rect { left: axis - width / 2.0, top, width, height: LOW };
        self.boxes.push(Panel { rect, radius: LOW / 2.0, fill: WHITE, outline: tint(colour, 0.7) });
        let text = style(SMALL_SIZE, Anchor::Middle).coloured(SOFT);
        self.text((axis, top + LOW / 2.0 + 3.3), words, text);
    }

    fn arc(&mut self, arc: &DiagramArc, colour: Colour, lane: f64, axis: f64, start: f64, joint: &Rect) {
        let end = joint.middle().1;
        let mut points = vec![(axis, start)];
        points.extend(corner((lane, start), (-1.0, 0.0), (0.0, 1.0)));
        points.extend(corner((lane, end), (0.0, -1.0), (-1.0, 0.0)));
        points.push((joint.right() + 1.0, end));
        self.line(points, arc.is_dotted, Arrow::AtEnd);
        if arc.labels.is_empty() {
            return;
        }
        let (width, height) = side_size(arc);
        let top = f64::midpoint(start, end) - height / 2.0;
        let rect = Rect { left: lane - SIDE_INDENT, top, width, height };
        let (fill, outline) =
            if arc.is_filled { (tint(colour, 0.38), colour) } else { (WHITE, tint(colour, 0.8)) };
        self.boxes.push(Panel { rect, radius: 4.0, fill, outline });
        for (index, label) in arc.labels.iter().enumerate() {
            let y = top + 3.0 + SIDE_LINE * (index as f64 + 0.76);
            self.text((rect.left + 6.0, y), label, style(SMALL_SIZE + 0.5, Anchor::Start));
        }
    }
}

const WHITE: Colour = [0xff; 3];
const SOFT: Colour = [0x4a; 3];
/// How much wider than light text bold text is on the page's own fonts.
const BOLD: f64 = 1.1;
/// How far the box on an arc stands out to the left of the arc.
const SIDE_INDENT: f64 = 12.0;

fn bold(size: f64, anchor: Anchor) -> Style {
    style(size, anchor).bold()
}

fn is_sign(label: &str) -> bool {
    label.chars().count() == 1
}

/// A quarter of a circle around a corner that a line comes to from one side and leaves to the other.
fn corner((x, y): Point, from: Point, to: Point) -> Vec<Point> {
    const PIECES: u32 = 6;
    let at = |t: f64, (dx, dy): Point| (x + t * CORNER * dx, y + t * CORNER * dy);
    let (begin, end) = (at(1.0, from), at(1.0, to));
    let mix =
        |t: f64, a: f64, c: f64, b: f64| (1.0 - t) * (1.0 - t) * a + 2.0 * t * (1.0 - t) * c + t * t * b;
    (0..=PIECES)
        .map(|piece| f64::from(piece) / f64::from(PIECES))
        .map(|t| (mix(t, begin.0, x, end.0), mix(t, begin.1, y, end.1)))
        .collect()
}

/// The texts of a box with their sizes and colours.
fn words(element: &DiagramBox) -> impl Iterator<Item = (&str, f64, Colour)> {
    let all = [
        (element.before.as_str(), SMALL_SIZE, SOFT),
        (element.label.as_str(), LABEL_SIZE, crate::canvas::BLACK),
        (element.after.as_str(), SMALL_SIZE, SOFT),
    ];
    all.into_iter().filter(|(words, ..)| !words.is_empty())
}

fn words_width(element: &DiagramBox) -> f64 {
    words(element).map(|(words, size, _)| font::width(words, size) + WORD).sum::<f64>() - WORD
}

fn joint_rect(element: &DiagramBox, (axis, top): Point) -> Rect {
    let width =
        if is_sign(&element.label) { JOINT } else { font::width(&element.label, SMALL_SIZE + 0.5) + 18.0 };
    Rect { left: axis - width / 2.0, top, width, height: JOINT }
}

fn element_height(element: &DiagramBox) -> f64 {
    match element.shape {
        BoxShape::Filled | BoxShape::Plain => BOX,
        BoxShape::Low => LOW,
        BoxShape::Joint if element.after.is_empty() => JOINT,
        BoxShape::Joint => JOINT + SHORT_GAP + LOW,
    }
}

fn side_size(arc: &DiagramArc) -> (f64, f64) {
    let widths = arc.labels.iter().map(|label| font::width(label, SMALL_SIZE + 0.5));
    let height = if arc.labels.is_empty() { 0.0 } else { arc.labels.len() as f64 * SIDE_LINE + 6.0 };
    (widths.fold(0.0, f64::max) + 12.0, height)
}

/// Room that is added above a box because the box on an arc to it needs more than there is.
fn extra_gap(chain: &Chain, index: usize) -> f64 {
    let missing = chain.arcs.iter().filter(|arc| arc.to == index && !arc.labels.is_empty()).map(|arc| {
        let first = arc.from.map_or(0, |from| from + 1);
        let between = chain.boxes[first.min(index)..index].iter();
        let there: f64 = between.map(|element| element_height(element) + GAP).sum::<f64>() + GAP;
        side_size(arc).1 + 2.0 * CORNER - there
    });
    missing.fold(0.0, f64::max)
}

fn chain_height(chain: &Chain) -> f64 {
    let boxes = chain.boxes.iter().enumerate();
    boxes.map(|(i, element)| element_height(element) + GAP + extra_gap(chain, i)).sum::<f64>() - GAP
}

fn chains_height(chains: &[Chain]) -> f64 {
    chains.iter().map(|chain| chain_height(chain) + CHAIN_GAP).sum::<f64>() - CHAIN_GAP
}

fn group_height(chains: &[Chain]) -> f64 {
    let repeats = chains.first().is_some_and(|chain| chain.repeat > 1);
    let least = if repeats { LEAST_GROUP + 12.0 } else { LEAST_GROUP };
    (chains_height(chains) + 2.0 * GROUP_PAD).max(least)
}

/// For each arc the place beside the column where it runs, from 0 on: inner arcs first.
pub(super) fn lanes(arcs: &[DiagramArc]) -> Vec<usize> {
    let span = |arc: &DiagramArc| (arc.from.map_or(0, |from| from + 1), arc.to);
    let mut order: Vec<usize> = (0..arcs.len()).collect();
    order.sort_by_key(|&index| {
        let (first, last) = span(&arcs[index]);
        last.saturating_sub(first)
    });
    let mut lanes: Vec<Option<usize>> = vec![None; arcs.len()];
    for index in order {
        let (first, last) = span(&arcs[index]);
        let crosses = |other: &usize| {
            let (a, b) = span(&arcs[*other]);
            a <= last && first <= b
        };
        let taken: Vec<usize> = (0..arcs.len()).filter(crosses).filter_map(|other| lanes[other]).collect();
        lanes[index] = (0..arcs.len()).find(|lane| !taken.contains(lane));
    }
    lanes.into_iter().map(|lane| lane.unwrap_or(0)).collect()
}

/// Widths of the three parts of a column: names, boxes, arcs.
struct Widths {
    names: f64,
    boxes: f64,
    sides: f64,
    /// From the boxes' right side.
    lanes: Vec<f64>,
}

impl Widths {
    fn of(column: &Column) -> Self {
        let chains = || column.groups.iter().flat_map(|group| &group.chains);
        let boxes = chains().flat_map(|chain| &chain.boxes);
        let boxes = boxes.filter(|element| !matches!(element.shape, BoxShape::Joint | BoxShape::Low));
        let boxes = boxes.map(words_width).fold(100.0, f64::max) + 24.0;
        let names = column.groups.iter().map(|group| {
            let name = font::width(&group.name, NAME_SIZE) * BOLD;
            name.max(font::width(&group.note, SMALL_SIZE + 0.5))
        });
        let names = names.fold(44.0, f64::max) + 20.0;
        let mut rooms: Vec<f64> = Vec::new();
        for chain in chains() {
            for (arc, lane) in chain.arcs.iter().zip(lanes(&chain.arcs)) {
                rooms.resize(rooms.len().max(lane + 1), LANE);
                if !arc.labels.is_empty() {
                    rooms[lane] = rooms[lane].max(side_size(arc).0 + 10.0 - SIDE_INDENT);
                }
            }
        }
        let mut lanes = Vec::new();
        let mut x = SIDE_INDENT + 8.0;
        for room in &rooms {
            lanes.push(x);
            x += room;
        }
        let sides = if rooms.is_empty() { 10.0 } else { x - 4.0 };
        Self { names, boxes, sides, lanes }
    }

    fn all(&self) -> f64 {
        self.names + self.boxes + self.sides + 16.0
    }

    /// The middle of the boxes.
    fn axis(&self) -> f64 {
        self.names + 8.0 + self.boxes / 2.0
    }

    fn lane(&self, lane: usize) -> f64 {
        self.names + 8.0 + self.boxes + self.lanes.get(lane).copied().unwrap_or(LANE)
    }
}

/// Chains of a group that stand together.
type Run<'a> = (&'a Group, &'a [Chain]);

/// A column cut into pieces of about the same height.
fn pieces<'a>(column: &'a Column, widths: &Widths) -> Vec<Vec<Run<'a>>> {
    let all = cut(column, f64::INFINITY);
    let height: f64 = all.iter().flatten().map(|(_, chains)| group_height(chains) + GROUP_GAP).sum();
    if height <= ONE_PIECE {
        return all;
    }
    let wanted = (height * (widths.all() + GUTTER) / ASPECT).sqrt().max(0.6 * ONE_PIECE);
    let count = (height / wanted).ceil().max(2.0);
    // The lowest page with that many pieces; a step is less than a box.
    let mut limit = height / count;
    loop {
        let pieces = cut(column, limit);
        if pieces.len() <= count as usize {
            return pieces;
        }
        limit += BOX / 2.0;
    }
}

/// Cuts a column between chains wherever a piece would become higher than `limit`.
fn cut(column: &Column, limit: f64) -> Vec<Vec<Run<'_>>> {
    let mut pieces: Vec<Vec<Run<'_>>> = vec![Vec::new()];
    let mut used = 0.0;
    for group in &column.groups {
        let mut rest = &group.chains[..];
        while !rest.is_empty() {
            let fits = |count: &usize| used + group_height(&rest[..*count]) <= limit;
            let count = (1..=rest.len()).take_while(fits).last().unwrap_or(0);
            let is_fresh = pieces.last().is_none_or(Vec::is_empty);
            if count == 0 && !is_fresh {
                used = 0.0;
                pieces.push(Vec::new());
                continue;
            }
            let (now, later) = rest.split_at(count.max(1));
            if let Some(piece) = pieces.last_mut() {
                piece.push((group, now));
            }
            used += group_height(now) + GROUP_GAP;
            rest = later;
        }
    }
    pieces
}
