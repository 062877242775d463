//! How the numbers of a value are distributed, and the grids that suit them.

use residuum_tensor::Quantizer;

/// The least and the greatest number seen, zero among them.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(super) struct Range {
    least: f32,
    greatest: f32,
}

impl Range {
    pub(super) fn see(&mut self, values: &[f32]) {
        for &x in values {
            // A comparison would pass over what is not a number.
            if x < self.least || x.is_nan() {
                self.least = x;
            }
            if x > self.greatest {
                self.greatest = x;
            }
        }
    }

    pub(super) fn is_finite(self) -> bool {
        self.least.is_finite() && self.greatest.is_finite()
    }

    pub(super) fn grid(self) -> Quantizer {
        Quantizer::covering(self.least, self.greatest)
    }
}

/// Counts of numbers in equal parts of their range.
pub(super) struct Histogram {
    range: Range,
    /// Parts to a unit.
    density: f64,
    counts: Vec<u64>,
}

const BINS: usize = 2048;

impl Histogram {
    pub(super) fn new(range: Range) -> Self {
        let width = f64::from(range.greatest) - f64::from(range.least);
        let density = if width > 0.0 { BINS as f64 / width } else { 0.0 };
        Self { range, density, counts: vec![0; BINS] }
    }

    pub(super) fn see(&mut self, values: &[f32]) {
        let (least, density) = (self.range.least, self.density as f32);
        for &x in values {
            // A conversion saturates at both ends.
            self.counts[(((x - least) * density) as usize).min(BINS - 1)] += 1;
        }
    }

    /// The number in the middle of a part.
    fn centre(&self, bin: usize) -> f64 {
        f64::from(self.range.least) + (bin as f64 + 0.5) / self.density.max(f64::MIN_POSITIVE)
    }

    /// The grid of what `percent` of the numbers lie in. Numbers of both signs are cut at both ends alike.
    pub(super) fn percentile(&self, percent: f64) -> Quantizer {
        let total: u64 = self.counts.iter().sum();
        let spare = total as f64 * (1.0 - percent / 100.0);
        let is_signed = self.range.least < 0.0;
        let per_end = if is_signed { spare / 2.0 } else { spare };
        let inside = |counts: &mut dyn Iterator<Item = &u64>| {
            let mut cut = 0.0;
            counts
                .take_while(|&&count| {
                    cut += count as f64;
                    cut <= per_end
                })
                .count()
        };
        let high = BINS - inside(&mut self.counts.iter().rev());
        let low = if is_signed { inside(&mut self.counts.iter()) } else { 0 };
        let end = |bin: usize| (f64::from(self.range.least) + bin as f64 / self.density.max(1e-30)) as f32;
        if low >= high { self.range.grid() } else { Quantizer::covering(end(low), end(high)) }
    }

    /// Of the grids of the whole range and of `1/parts`, `2/parts` … of it, the one with the least squared error.
    pub(super) fn least_error(&self, parts: usize) -> Quantizer {
        let grids = (parts / 5..=parts).map(|part| {
            let share = part as f32 / parts as f32;
            Quantizer::covering(share * self.range.least, share * self.range.greatest)
        });
        let errors = grids.map(|grid| (grid, self.error(grid)));
        let least = errors.min_by(|(_, a), (_, b)| a.total_cmp(b));
        least.map_or_else(|| self.range.grid(), |(grid, _)| grid)
    }

    fn error(&self, grid: Quantizer) -> f64 {
        let off = |(bin, &count): (usize, &u64)| {
            let x = self.centre(bin);
            count as f64 * (x - f64::from(grid.number(grid.byte(x as f32)))).powi(2)
        };
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(off).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bulk between 0 and 1 and one number far away.
    fn values() -> Vec<f32> {
        (0..100_000).map(|i| (i % 1000) as f32 / 1000.0).chain([50.0]).collect()
    }

    fn histogram(values: &[f32]) -> Histogram {
        let mut range = Range::default();
        range.see(values);
        let mut histogram = Histogram::new(range);
        histogram.see(values);
        histogram
    }

    #[test]
    fn one_number_far_away_costs_the_others_no_points_but_by_min_max() {
        let histogram = histogram(&values());
        let end = |grid: Quantizer| grid.number(255);
        assert!((end(histogram.range.grid()) - 50.0).abs() < 0.01);
        assert!(end(histogram.percentile(99.99)) < 1.1);
        assert!(end(histogram.percentile(100.0)) > 49.0);
        let best = histogram.least_error(50);
        assert!(histogram.error(best) <= histogram.error(histogram.range.grid()));
        assert!(histogram.error(best) <= histogram.error(histogram.percentile(99.99)));
    }

    #[test]
    fn both_ends_are_cut_where_there_are_both() {
        let values: Vec<f32> =
            (0..10_000).map(|i| (i as f32 - 5000.0) / 5000.0).chain([-30.0, 30.0]).collect();
        let grid = histogram(&values).percentile(99.9);
        assert!(grid.number(0) > -1.5 && grid.number(255) < 1.5, "{grid:?}");
        assert_eq!(grid.number(grid.byte(0.0)).to_bits(), 0);
    }

    #[test]
    fn a_value_that_is_always_zero_has_a_grid() {
        let histogram = histogram(&[0.0; 10]);
        for grid in [histogram.percentile(99.0), histogram.least_error(50), histogram.range.grid()] {
            assert!(grid.is_valid());
        }
    }

    #[test]
    fn what_is_not_a_number_is_seen() {
        let mut range = Range::default();
        range.see(&[1.0, f32::NAN, 2.0]);
        assert!(!range.is_finite());
    }
}
