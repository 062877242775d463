//! The embedded data set: ten shapes, 32 x 32, drawn by this crate, so that everything can be tried at once.
//!
//! What makes a picture is told by its outline alone. Colours, brightness of shape against ground (either
//! way round), size, place, turn, stretch, texture, clutter and noise vary and tell nothing, so that a
//! linear classifier on pixels fails where a convolutional network does not. Picture `i` of a split is
//! drawn from a random stream of its own with integers and exact `f32` steps (no sine, no power), hence
//! has the same bits on every machine and for any number of threads.

mod outline;
mod paint;

use rayon::prelude::*;

use crate::dataset::{Dataset, Split};
use crate::random::{Purpose, Stream};
use outline::{CLASSES, OUTLINES, Outline};
use paint::{Colour, Paint, distance, random_colour};

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// Sub-pixels per pixel and axis.
const SUBPIXELS: usize = 4;
/// Outlines reach this far from their centre, in units of the radius.
const REACH: f32 = 1.05;
const TRAIN_PICTURES: usize = 10_000;
const TEST_PICTURES: usize = 2_000;

/// The data set `shapes`: 10,000 pictures to learn from, 2,000 to test with, classes in turn, so that each
/// has the same number. Another `seed` draws other pictures of the same kind; 0 is the one that figures
/// are given for.
#[allow(clippy::missing_panics_doc, reason = "the numbers are constants that fit together")]
pub fn shapes(seed: u64, split: Split) -> Dataset {
    let (count, part) = match split {
        Split::Train => (TRAIN_PICTURES, 0),
        Split::Test => (TEST_PICTURES, 1),
    };
    let mut bytes = vec![0; count * PIXELS * 3];
    bytes.par_chunks_exact_mut(PIXELS * 3).enumerate().for_each(|(i, picture)| {
        let mut random = Stream::new(seed, Purpose::Shapes, part, i as u64);
        draw(&OUTLINES[i % CLASSES.len()], &mut random, picture);
    });
    let labels = (0..count).map(|i| (i % CLASSES.len()) as u32).collect();
    let classes = CLASSES.map(str::to_owned).to_vec();
    Dataset::from_pixels("shapes", classes, labels, (SIDE, SIDE), bytes)
        .expect("the numbers above fit together")
}

/// Ground with texture, clutter, the shape with texture, noise; in this order.
fn draw(outline: &Outline, random: &mut Stream, picture: &mut [u8]) {
    let (ground, shape) = paints(random);
    let mut canvas: Vec<Colour> =
        (0..PIXELS).map(|i| ground.at((i % SIDE) as f32, (i / SIDE) as f32)).collect();
    for _ in 0..random.below(6) {
        let colour = if random.coin() { shape.at(0.0, 0.0) } else { random_colour(random) };
        let radius = random.between(0.8, 1.8);
        let frame = Frame::anywhere(random, radius, 0.4);
        let bit = if random.coin() { &outline::DISC } else { &outline::SQUARE };
        cover(&mut canvas, bit, &frame, |_, _| colour);
    }
    let radius = random.between(9.0, 13.5);
    let frame = Frame::inside(random, radius);
    cover(&mut canvas, outline, &frame, |x, y| shape.at(x, y));
    let strength = random.between(0.0, 0.11);
    let mut noise = [0; PIXELS * 6];
    random.fill(&mut noise);
    let values = canvas.as_flattened().iter().zip(noise.as_chunks::<2>().0);
    for (byte, (value, &[a, b])) in picture.iter_mut().zip(values) {
        let noise = (f32::from(a) + f32::from(b) - 255.0) / 255.0;
        *byte = ((value + strength * noise) * 255.0 + 0.5) as u8;
    }
}

/// Paints of ground and shape that can be told apart; the textures stay well within their difference.
fn paints(random: &mut Stream) -> (Paint, Paint) {
    let wanted = random.between(0.24, 0.5);
    let ground = random_colour(random);
    let shape = (0..64).map(|_| random_colour(random)).find(|c| distance(*c, ground) >= wanted);
    let shape = shape.unwrap_or_else(|| ground.map(|v| if v < 0.5 { v + 0.5 } else { v - 0.5 }));
    let strength = 0.45 * distance(ground, shape);
    (Paint::random(random, ground, strength), Paint::random(random, shape, strength))
}

/// Where an outline lies: place, turn and size.
struct Frame {
    centre: [f32; 2],
    /// Cosine and sine of the turn.
    turn: [f32; 2],
    /// Half axes in pixels.
    radii: [f32; 2],
}

impl Frame {
    /// Wholly inside the picture.
    fn inside(random: &mut Stream, radius: f32) -> Self {
        let room = SIDE as f32 / 2.0 - radius;
        Self::around(random, radius, room, 0.85)
    }

    /// With its centre anywhere; narrowed to at least `narrowest` of its height.
    fn anywhere(random: &mut Stream, radius: f32, narrowest: f32) -> Self {
        Self::around(random, radius, SIDE as f32 / 2.0, narrowest)
    }

    fn around(random: &mut Stream, radius: f32, room: f32, narrowest: f32) -> Self {
        let mut place = || SIDE as f32 / 2.0 + random.between(-room, room);
        let centre = [place(), place()];
        Self { centre, turn: random_turn(random), radii: [radius * random.between(narrowest, 1.0), radius] }
    }

    /// A point of the picture in the outline's own coordinates.
    fn outline_point(&self, x: f32, y: f32) -> [f32; 2] {
        let ([dx, dy], [cos, sin]) = ([x - self.centre[0], y - self.centre[1]], self.turn);
        [(cos * dx + sin * dy) / self.radii[0], (cos * dy - sin * dx) / self.radii[1]]
    }
}

/// A point on the unit circle, each direction equally likely: a point of the disc, moved outwards.
fn random_turn(random: &mut Stream) -> [f32; 2] {
    loop {
        let (x, y) = (random.between(-1.0, 1.0), random.between(-1.0, 1.0));
        let square = x * x + y * y;
        if (0.01..1.0).contains(&square) {
            let length = square.sqrt();
            return [x / length, y / length];
        }
    }
}

/// Lays colour over the canvas, each pixel by the share of its sub-pixels that the outline holds.
fn cover(canvas: &mut [Colour], outline: &Outline, frame: &Frame, colour: impl Fn(f32, f32) -> Colour) {
    let reach = REACH * frame.radii[1] + 1.0;
    for (i, pixel) in canvas.iter_mut().enumerate() {
        let (x, y) = ((i % SIDE) as f32, (i / SIDE) as f32);
        let (dx, dy) = (x + 0.5 - frame.centre[0], y + 0.5 - frame.centre[1]);
        if dx * dx + dy * dy > reach * reach {
            continue;
        }
        let inside = (0..SUBPIXELS * SUBPIXELS).filter(|s| {
            let step = |k: usize| (k as f32 + 0.5) / SUBPIXELS as f32;
            outline.contains(frame.outline_point(x + step(s % SUBPIXELS), y + step(s / SUBPIXELS)))
        });
        let share = inside.count() as f32 / (SUBPIXELS * SUBPIXELS) as f32;
        let over = colour(x, y);
        pixel.iter_mut().zip(over).for_each(|(under, over)| *under += share * (over - *under));
    }
}

#[cfg(test)]
mod tests;
