//! Axes: which values they span, where their ticks are and what these are called.

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// By their logarithm; what is not above 0 is left out.
    Log,
}

/// One axis of a chart. Its ends follow from the points.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What is measured, with its unit.
    pub label: String,
    /// How values are spread.
    pub scale: Scale,
    /// Whether a linear axis begins at 0 where nothing lies below.
    pub begins_at_zero: bool,
}

impl Axis {
    /// A linear axis.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear, begins_at_zero: false }
    }

    /// A logarithmic axis.
    pub fn log(label: impl Into<String>) -> Self {
        Self { scale: Scale::Log, ..Self::new(label) }
    }

    /// The same axis, with 0 on it.
    #[must_use]
    pub fn from_zero(self) -> Self {
        Self { begins_at_zero: true, ..self }
    }

    /// Whether a value has a place on this axis.
    pub(crate) fn holds(&self, value: f64) -> bool {
        value.is_finite() && (self.scale == Scale::Linear || value > 0.0)
    }

    /// The axis over these values, which it holds, with at most about `wanted` ticks. Where `is_round`, it
    /// ends at ticks.
    pub(crate) fn span(&self, values: impl Iterator<Item = f64>, wanted: f64, is_round: bool) -> Span {
        let (mut low, mut high) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            (low, high) = if self.scale == Scale::Log { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        if self.scale == Scale::Log {
            log_span(low, high)
        } else {
            self.linear_span(low, high, wanted, is_round)
        }
    }

    fn linear_span(&self, mut low: f64, mut high: f64, wanted: f64, is_round: bool) -> Span {
        if self.begins_at_zero {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        if high - low <= f64::EPSILON * low.abs().max(high.abs()) {
            let room = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
            (low, high) = if self.begins_at_zero { (low, low + room) } else { (low - room, low + room) };
        }
        let step = tick_step(high - low, wanted);
        if is_round {
            (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        }
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        let ticks = (first..=last).map(|i| i as f64 * step).map(|value| (value, short(value))).collect();
        Span { low, high, scale: Scale::Linear, ticks }
    }
}

/// From the power of ten, or its double or fivefold, below all values to that above.
fn log_span(low: f64, high: f64) -> Span {
    let decades = high.log10().ceil() - low.log10().floor();
    let factors: &[f64] = if decades > 4.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let (first, last) = (low.log10().floor() as i32 - 1, high.log10().ceil() as i32 + 1);
    let marks: Vec<f64> =
        (first..=last).flat_map(|power| factors.iter().map(move |f| f * 10f64.powi(power))).collect();
    let below = marks.iter().copied().filter(|mark| *mark <= low * (1.0 + 1e-9)).fold(low, |_, mark| mark);
    let above = marks.iter().copied().find(|mark| *mark >= high * (1.0 - 1e-9) && *mark > below);
    let above = above.unwrap_or(high);
    let ticks = marks
        .into_iter()
        .filter(|mark| (below..=above).contains(mark))
        .map(|mark| (mark, short(mark)))
        .collect();
    Span { low: below, high: above, scale: Scale::Log, ticks }
}

/// An axis with its ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    low: f64,
    high: f64,
    scale: Scale,
    /// Values and names.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Span {
    /// Where a value lies between the ends, 0 to 1.
    pub(crate) fn share(&self, value: f64) -> f64 {
        let place = |value: f64| if self.scale == Scale::Log { value.log10() } else { value };
        (place(value) - place(self.low)) / (place(self.high) - place(self.low))
    }

    /// The value that lies there.
    pub(crate) fn value(&self, share: f64) -> f64 {
        if self.scale == Scale::Log {
            10f64.powf(self.low.log10() + share * (self.high / self.low).log10())
        } else {
            self.low + share * (self.high - self.low)
        }
    }
}

/// 1, 2 or 5 times a power of ten, so that at most `wanted` steps fill the range.
fn tick_step(range: f64, wanted: f64) -> f64 {
    let rough = range / wanted;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= rough * (1.0 - 1e-9)).unwrap_or(10.0);
    step * power
}

/// A tick's name: without the last digits that decimal fractions have in binary, thousands as `k`.
fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 1e7 || (size > 0.0 && size < 1e-4) {
        return format!("{value:.0e}");
    }
    if size >= 1e4 && value % 100.0 == 0.0 {
        return format!("{}k", short(value / 1000.0));
    }
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(span: &Span) -> Vec<&str> {
        span.ticks.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (range, step) in [(1.0, 0.2), (2.3, 0.5), (60.0, 10.0), (61.0, 20.0), (8.0, 2.0)] {
            assert!((tick_step(range, 6.0) - step).abs() < 1e-12, "{range}");
        }
        let span = Axis::new("error").from_zero().span([3.0, 57.0].into_iter(), 6.0, true);
        assert_eq!(names(&span), ["0", "10", "20", "30", "40", "50", "60"]);
        let span = Axis::new("iterations").span([0.0, 64_000.0].into_iter(), 6.0, false);
        assert_eq!(names(&span), ["0", "20k", "40k", "60k"]);
        assert!((span.share(32_000.0) - 0.5).abs() < 1e-12);
        let span = Axis::new("change").span([-0.31, 0.1].into_iter(), 6.0, true);
        assert_eq!(names(&span), ["-0.4", "-0.3", "-0.2", "-0.1", "0", "0.1"]);
    }

    #[test]
    fn a_logarithmic_axis_ends_at_marks() {
        let span = Axis::log("loss").span([0.03, 2.3].into_iter(), 6.0, true);
        assert_eq!(names(&span), ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5"]);
        assert!((span.value(span.share(0.3)) - 0.3).abs() < 1e-12);
        assert!((span.share(0.02)).abs() < 1e-12 && (span.share(5.0) - 1.0).abs() < 1e-12);
        let span = Axis::log("loss").span([1e-6, 1.0].into_iter(), 6.0, true);
        assert_eq!(names(&span).first(), Some(&"1e-6"));
    }

    #[test]
    fn every_value_has_a_place_even_where_all_are_the_same_or_none_is() {
        for axis in [Axis::new(""), Axis::new("").from_zero(), Axis::log("")] {
            for values in [vec![], vec![5.0], vec![5.0, 5.0], vec![1e-9], vec![3e30]] {
                for is_round in [false, true] {
                    let span = axis.span(values.iter().copied(), 6.0, is_round);
                    for &value in &values {
                        let share = span.share(value);
                        assert!((-1e-9..=1.0 + 1e-9).contains(&share), "{axis:?} {values:?}: {share}");
                    }
                    assert!(span.ticks.len() < 20, "{axis:?} {values:?}");
                }
            }
        }
        assert!(!Axis::log("").holds(0.0) && !Axis::new("").holds(f64::NAN) && Axis::new("").holds(-1.0));
    }
}
