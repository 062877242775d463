//! Colours and textures.

use crate::random::Stream;

/// Red, green, blue in 0..1.
pub(super) type Colour = [f32; 3];

/// Corners per axis of the grid that blotches are interpolated on.
const GRID: usize = 6;

pub(super) fn random_colour(random: &mut Stream) -> Colour {
    [random.unit(), random.unit(), random.unit()]
}

/// How far two colours are apart to the eye, 0..1: mostly brightness, some hue.
pub(super) fn distance(a: Colour, b: Colour) -> f32 {
    let [r, g, b] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
    let brightness = 0.3 * r + 0.59 * g + 0.11 * b;
    (0.7 * brightness * brightness + 0.3 * (r * r + g * g + b * b) / 3.0).sqrt()
}

/// A colour and how it varies over the picture.
pub(super) struct Paint {
    base: Colour,
    change: Colour,
    texture: Texture,
}

/// A number in -1..1 for each place.
enum Texture {
    Flat,
    Gradient { direction: [f32; 2] },
    Stripes { direction: [f32; 2], phase: f32 },
    Checks { direction: [f32; 2], phase: f32 },
    Blotches { grid: Box<[[f32; GRID]; GRID]> },
}

impl Paint {
    pub(super) fn random(random: &mut Stream, base: Colour, strength: f32) -> Self {
        let strength = random.between(0.2, 1.0) * strength;
        let change = std::array::from_fn(|_| strength * random.between(-1.0, 1.0));
        Self { base, change, texture: Texture::random(random) }
    }

    pub(super) fn at(&self, x: f32, y: f32) -> Colour {
        let amount = self.texture.at(x, y);
        std::array::from_fn(|c| self.base[c] + amount * self.change[c])
    }
}

impl Texture {
    fn random(random: &mut Stream) -> Self {
        let kind = random.below(5);
        let [cos, sin] = super::random_turn(random);
        let (period, phase) = (random.between(3.5, 9.0), random.unit());
        let direction = [cos / period, sin / period];
        match kind {
            0 => Self::Flat,
            1 => Self::Gradient { direction: [cos / 16.0, sin / 16.0] },
            2 => Self::Stripes { direction, phase },
            3 => Self::Checks { direction, phase },
            _ => {
                let mut row = || std::array::from_fn(|_| random.between(-1.0, 1.0));
                Self::Blotches { grid: Box::new(std::array::from_fn(|_| row())) }
            }
        }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        let wave = |t: f32| if t - t.floor() < 0.5 { 1.0 } else { -1.0 };
        match self {
            Self::Flat => 0.0,
            Self::Gradient { direction: [a, b] } => (a * (x - 15.5) + b * (y - 15.5)).clamp(-1.0, 1.0),
            Self::Stripes { direction: [a, b], phase } => wave(a * x + b * y + phase),
            Self::Checks { direction: [a, b], phase } => {
                wave(a * x + b * y + phase) * wave(a * y - b * x + phase)
            }
            Self::Blotches { grid } => blotch(grid, x, y),
        }
    }
}

/// Bilinear interpolation between the corners of the grid.
fn blotch(grid: &[[f32; GRID]; GRID], x: f32, y: f32) -> f32 {
    let step = (GRID - 1) as f32 / super::SIDE as f32;
    let (u, v) = (x * step, y * step);
    let (i, j) = (u as usize, v as usize);
    let (s, t) = (u - i as f32, v - j as f32);
    let row = |j: usize| grid[j][i] + s * (grid[j][i + 1] - grid[j][i]);
    row(j) + t * (row(j + 1) - row(j))
}
