//! Batches whose pictures are mixed of two: mixup and cutmix.
//!
//! ```text
//! λ ~ Beta(α, α); the partner of picture i is picture i − 1 of the batch, of the first the last
//!                 (rolled by one, as torchvision does it)
//! mixup   x ← λ x + (1 − λ) partner                                (Zhang et al. 2018, §2)
//! cutmix  a box of H √(1 − λ) x W √(1 − λ) at a uniform centre, clipped to the picture, shows the partner;
//!         λ becomes the share that is left of the picture          (Yun et al. 2019, §3.1)
//! ```
//! The targets get the same shares. One λ, and one of the two where both are asked for, holds for a whole
//! batch. The draws depend on seed, epoch and number of the batch.
//!
//! Beta numbers by Jöhnk's method (1964): with U and V uniform, X = U^(1/α) and Y = V^(1/α) are drawn until
//! X + Y ≤ 1; then X / (X + Y) has exactly the distribution Beta(α, α). In logarithms nothing underflows.

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::random::Stream;

/// How batches are mixed. Nothing where both are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    /// α of mixup; 0 is none.
    pub mixup: f64,
    /// α of cutmix; 0 is none.
    pub cutmix: f64,
}

/// What was mixed into a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct MixedIn {
    /// Class of each picture's partner.
    pub labels: Vec<u32>,
    /// Share of the picture itself; the partner has the rest. One for each picture.
    pub shares: Vec<f32>,
}

/// Jöhnk's method takes `Γ(2α + 1) / Γ(α + 1)²` tries: 70 at this α, and soon millions above it.
const LARGEST_ALPHA: f64 = 4.0;

impl Mix {
    /// Whether pictures are mixed at all.
    pub fn is_on(&self) -> bool {
        self.mixup > 0.0 || self.cutmix > 0.0
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// When one is not in 0 to 4.
    pub fn check(&self) -> Result<()> {
        for (name, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if !(0.0..=LARGEST_ALPHA).contains(&alpha) {
                return Err(DataError::Settings(format!(
                    "mix.{name}: expected 0 to {LARGEST_ALPHA}, found {alpha}"
                )));
            }
        }
        Ok(())
    }

    /// Mixes a batch of pictures of `side` x `side`, three planes each.
    pub(crate) fn apply(
        &self,
        pixels: &mut [f32],
        labels: &[u32],
        side: usize,
        random: &mut Stream,
    ) -> Option<MixedIn> {
        let is_mixup = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (false, false) => return None,
            (true, true) => random.coin(),
            (mixup, _) => mixup,
        };
        if labels.is_empty() {
            return None;
        }
        let share = if is_mixup {
            let share = beta(self.mixup, random) as f32;
            blend(pixels, 3 * side * side, share);
            share
        } else {
            let share = beta(self.cutmix, random);
            let area = Area::draw(side, share, random);
            paste(pixels, side, &area);
            area.share_left(side)
        };
        let mut partners = labels.to_vec();
        partners.rotate_right(1);
        Some(MixedIn { labels: partners, shares: vec![share; labels.len()] })
    }
}

/// A number of the distribution Beta(alpha, alpha).
fn beta(alpha: f64, random: &mut Stream) -> f64 {
    loop {
        let mut draw = || libm::log(random.open_unit()) / alpha;
        let (x, y) = (draw(), draw());
        if libm::exp(x) + libm::exp(y) <= 1.0 {
            return 1.0 / (1.0 + libm::exp(y - x));
        }
    }
}

/// `λ x + (1 − λ) partner`, the partner being the picture before as it was.
fn blend(pixels: &mut [f32], len: usize, share: f32) {
    with_partners(pixels, len, |picture, partner| {
        for (x, &y) in picture.iter_mut().zip(partner) {
            *x = share * *x + (1.0 - share) * y;
        }
    });
}

/// Rows and columns that show the partner.
struct Area {
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
}

impl Area {
    /// The box of a share: half its side is `⌊side √(1 − λ) / 2⌋`, about a centre that may be any pixel.
    fn draw(side: usize, share: f64, random: &mut Stream) -> Self {
        let half = (0.5 * (1.0 - share).sqrt() * side as f64) as usize;
        let mut range = || {
            let centre = random.below(side as u32) as usize;
            centre.saturating_sub(half)..(centre + half).min(side)
        };
        let columns = range();
        Self { rows: range(), columns }
    }

    fn share_left(&self, side: usize) -> f32 {
        1.0 - (self.rows.len() * self.columns.len()) as f32 / (side * side) as f32
    }
}

fn paste(pixels: &mut [f32], side: usize, area: &Area) {
    with_partners(pixels, 3 * side * side, |picture, partner| {
        let planes = picture.chunks_exact_mut(side * side).zip(partner.chunks_exact(side * side));
        for (plane, from) in planes {
            for y in area.rows.clone() {
                let places = y * side + area.columns.start..y * side + area.columns.end;
                plane[places.clone()].copy_from_slice(&from[places]);
            }
        }
    });
}

/// Goes through the pictures from the last to the first, so that each partner is still as it was; the first
/// one's is a copy of the last.
fn with_partners(pixels: &mut [f32], len: usize, mut change: impl FnMut(&mut [f32], &[f32])) {
    let last = pixels[pixels.len() - len..].to_vec();
    for i in (0..pixels.len() / len).rev() {
        let (before, rest) = pixels.split_at_mut(i * len);
        let partner = if i == 0 { &last } else { &before[(i - 1) * len..] };
        change(&mut rest[..len], partner);
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "what is not pasted stays to the bit")]
mod tests {
    use super::*;
    use crate::random::Purpose;

    fn stream(number: u64) -> Stream {
        Stream::new(3, Purpose::Mix, 0, number)
    }

    /// Mean 1/2, variance 1 / (4 (2α + 1)); the distribution function of Beta(1, 1) is a line, of
    /// Beta(1/2, 1/2) it is 2/π arcsin √x.
    #[test]
    fn beta_numbers_have_the_moments_and_shape_of_their_distribution() {
        const COUNT: usize = 40_000;
        let mut random = stream(0);
        for alpha in [0.05, 0.2, 0.5, 1.0, 2.0, 4.0] {
            let mut numbers: Vec<f64> = (0..COUNT).map(|_| beta(alpha, &mut random)).collect();
            assert!(numbers.iter().all(|x| (0.0..=1.0).contains(x)));
            let mean = numbers.iter().sum::<f64>() / COUNT as f64;
            let variance = numbers.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / COUNT as f64;
            let expected = 0.25 / (2.0 * alpha + 1.0);
            // Five standard errors; that of a mean square is below the square of the largest deviation.
            assert!((mean - 0.5).abs() < 5.0 * (expected / COUNT as f64).sqrt(), "α {alpha}: mean {mean}");
            assert!(
                (variance - expected).abs() < 5.0 * 0.125 / (COUNT as f64).sqrt(),
                "α {alpha}: {variance}"
            );
            numbers.sort_by(f64::total_cmp);
            let share_below = |x: f64| numbers.partition_point(|n| *n < x) as f64 / COUNT as f64;
            let distribution: fn(f64) -> f64 = match alpha {
                0.5 => |x| x.sqrt().asin() * std::f64::consts::FRAC_2_PI,
                1.0 => |x| x,
                2.0 => |x| x * x * (3.0 - 2.0 * x),
                _ => continue,
            };
            for x in [0.01, 0.1, 0.25, 0.5, 0.8, 0.95] {
                let (found, expected) = (share_below(x), distribution(x));
                assert!(
                    (found - expected).abs() < 5.0 * 0.5 / (COUNT as f64).sqrt(),
                    "α {alpha}, {x}: {found}"
                );
            }
        }
    }

    const SIDE: usize = 6;
    const LEN: usize = 3 * SIDE * SIDE;

    fn batch() -> Vec<f32> {
        (0..4 * LEN).map(|i| (i / LEN * 1000 + i % LEN) as f32).collect()
    }

    #[test]
    fn mixup_is_the_weighted_mean_with_the_picture_before() {
        let mix = Mix { mixup: 0.4, cutmix: 0.0 };
        for number in 0..10 {
            let mut pixels = batch();
            let mixed = mix.apply(&mut pixels, &[5, 6, 7, 8], SIDE, &mut stream(number)).unwrap();
            assert_eq!(mixed.labels, [8, 5, 6, 7]);
            let share = mixed.shares[0];
            assert!((0.0..=1.0).contains(&share) && mixed.shares == [share; 4]);
            for (i, &found) in pixels.iter().enumerate() {
                let (own, partner) = (batch()[i], batch()[(i + 3 * LEN) % (4 * LEN)]);
                assert_eq!(found.to_bits(), (share * own + (1.0 - share) * partner).to_bits());
            }
        }
    }

    #[test]
    fn cutmix_pastes_one_box_and_counts_its_pixels() {
        let mix = Mix { mixup: 0.0, cutmix: 1.0 };
        let mut seen = std::collections::HashSet::new();
        for number in 0..50 {
            let mut pixels = batch();
            let mixed = mix.apply(&mut pixels, &[0, 1, 2, 3], SIDE, &mut stream(number)).unwrap();
            let is_pasted: Vec<bool> =
                pixels.iter().zip(batch()).map(|(a, b)| (*a - b).abs() > 0.0).collect();
            for (i, &found) in pixels.iter().enumerate() {
                let from = if is_pasted[i] { (i + 3 * LEN) % (4 * LEN) } else { i };
                assert_eq!(found.to_bits(), batch()[from].to_bits());
                assert_eq!(is_pasted[i], is_pasted[i % (SIDE * SIDE)], "the same box in every plane");
            }
            let plane = &is_pasted[..SIDE * SIDE];
            let pasted = plane.iter().filter(|is| **is).count();
            assert_eq!(mixed.shares[0].to_bits(), (1.0 - pasted as f32 / (SIDE * SIDE) as f32).to_bits());
            let rows: Vec<usize> = (0..SIDE).filter(|y| plane[y * SIDE..][..SIDE].contains(&true)).collect();
            let columns = (0..SIDE).filter(|x| (0..SIDE).any(|y| plane[y * SIDE + x])).count();
            assert_eq!(pasted, rows.len() * columns, "a rectangle");
            seen.insert(pasted);
        }
        assert!(seen.len() > 4, "{seen:?}");
    }

    #[test]
    fn both_take_turns_and_nothing_is_nothing() {
        let mix = Mix { mixup: 0.2, cutmix: 1.0 };
        let is_cut = |number| {
            let mut pixels = batch();
            mix.apply(&mut pixels, &[0, 1, 2, 3], SIDE, &mut stream(number)).unwrap();
            pixels.iter().all(|x| batch().contains(x))
        };
        let cuts = (0..40).filter(|&number| is_cut(number)).count();
        assert!((10..=30).contains(&cuts), "{cuts}");
        assert!(Mix::default().apply(&mut batch(), &[0, 1, 2, 3], SIDE, &mut stream(0)).is_none());
        for bad in [-0.1, 4.1, f64::NAN] {
            assert!(Mix { mixup: bad, cutmix: 0.0 }.check().is_err());
            assert!(Mix { mixup: 0.0, cutmix: bad }.check().is_err());
        }
    }
}
