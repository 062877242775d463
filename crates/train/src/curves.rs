//! Loss and error over the epochs as a picture (SVG): two charts side by side.

use std::fmt::Write as _;

use crate::progress::EpochRecord;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 360.0;
const CHART_WIDTH: f64 = 340.0;
const CHART_HEIGHT: f64 = 240.0;
const TOP: f64 = 60.0;
/// Steps between ticks are 1, 2 or 5 times a power of ten, and at most so many.
const TICKS: f64 = 6.0;

/// Two of Okabe and Ito's colours, which the colour blind can tell apart.
const COLOURS: [&str; 2] = ["#0072b2", "#d55e00"];

struct Chart {
    left: f64,
    label: &'static str,
    /// Name and points (epoch, value) of each curve.
    curves: [(&'static str, Vec<(f64, f64)>); 2],
}

/// The picture of a run.
pub(crate) fn svg(title: &str, history: &[EpochRecord]) -> String {
    let points =
        |value: fn(&EpochRecord) -> f64| history.iter().map(|r| (r.epoch as f64, value(r))).collect();
    let charts = [
        Chart {
            left: 60.0,
            label: "loss",
            curves: [("train", points(|r| r.train_loss)), ("test", points(|r| r.eval_loss))],
        },
        Chart {
            left: 490.0,
            label: "error in %",
            curves: [("train", points(|r| 100.0 - r.train_top1)), ("test", points(|r| 100.0 - r.eval_top1))],
        },
    ];
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut out, (WIDTH / 2.0, 28.0), "middle", &escape(title));
    for chart in &charts {
        chart.draw(&mut out);
    }
    out.push_str("</svg>\n");
    out
}

impl Chart {
    fn draw(&self, out: &mut String) {
        let all = || self.curves.iter().flat_map(|(_, points)| points);
        let last = all().map(|point| point.0).fold(2.0, f64::max);
        let highest = all().map(|point| point.1).filter(|y| y.is_finite()).fold(0.0, f64::max);
        let step = tick_step(highest);
        let top = (highest / step).ceil().max(1.0) * step;
        let x = |epoch: f64| self.left + (epoch - 1.0) / (last - 1.0) * CHART_WIDTH;
        let y = |value: f64| TOP + CHART_HEIGHT - value / top * CHART_HEIGHT;
        let mut value = 0.0;
        while value < top + step / 2.0 {
            line(out, (self.left, y(value)), (self.left + CHART_WIDTH, y(value)), "#dddddd");
            text(out, (self.left - 6.0, y(value) + 4.0), "end", &short(value));
            value += step;
        }
        let epoch_step = tick_step(last).max(1.0);
        let mut epoch = 1.0;
        while epoch <= last {
            line(out, (x(epoch), TOP + CHART_HEIGHT), (x(epoch), TOP + CHART_HEIGHT + 4.0), "#444444");
            text(out, (x(epoch), TOP + CHART_HEIGHT + 18.0), "middle", &short(epoch));
            epoch = if epoch < epoch_step { epoch_step.max(2.0) } else { epoch + epoch_step };
        }
        line(out, (self.left, TOP), (self.left, TOP + CHART_HEIGHT), "#444444");
        line(out, (self.left, y(0.0)), (self.left + CHART_WIDTH, y(0.0)), "#444444");
        text(out, (self.left + CHART_WIDTH / 2.0, TOP + CHART_HEIGHT + 38.0), "middle", "epoch");
        text(out, (self.left, TOP - 10.0), "middle", self.label);
        for (i, ((name, points), colour)) in self.curves.iter().zip(COLOURS).enumerate() {
            curve(out, points.iter().map(|&(epoch, value)| (x(epoch), y(value))), colour);
            let (right, height) = (self.left + CHART_WIDTH, TOP + 14.0 + 18.0 * i as f64);
            let _ = writeln!(
                out,
                "<line x1=\"{:.1}\" y1=\"{height:.1}\" x2=\"{:.1}\" y2=\"{height:.1}\" stroke=\"{colour}\" \
                 stroke-width=\"2\"/>",
                right - 70.0,
                right - 46.0
            );
            text(out, (right - 40.0, height + 4.0), "start", name);
        }
    }
}

fn curve(out: &mut String, points: impl Iterator<Item = (f64, f64)>, colour: &str) {
    let points: Vec<(f64, f64)> = points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    // Dots would run into each other where there are many.
    if points.len() <= 40 {
        for (x, y) in points {
            let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>");
        }
    }
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, content: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}

/// 1, 2 or 5 times a power of ten.
fn tick_step(range: f64) -> f64 {
    if !(range.is_finite() && range > 0.0) {
        return 1.0;
    }
    let rough = range / TICKS;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= rough).unwrap_or(10.0);
    step * power
}

/// Without the last digits that decimal fractions have in binary.
fn short(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u64, loss: f64) -> EpochRecord {
        EpochRecord {
            epoch,
            step: epoch * 10,
            train_loss: loss,
            train_top1: 50.0,
            eval_loss: loss * 1.1,
            eval_top1: 40.0,
            eval_top5: 90.0,
            lr: 0.1,
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (range, step) in [(1.0, 0.2), (2.3, 0.5), (60.0, 10.0), (61.0, 20.0), (8.0, 2.0), (0.0, 1.0)] {
            assert!((tick_step(range) - step).abs() < 1e-12, "{range}: {}", tick_step(range));
        }
        assert_eq!((short(0.1 + 0.2), short(20.0)), ("0.3".into(), "20".into()));
    }

    #[test]
    fn every_epoch_is_a_point_within_the_picture() {
        for epochs in [0, 1, 2, 165] {
            let history: Vec<_> = (1..=epochs).map(|e| record(e, 2.3 / e as f64)).collect();
            let picture = svg("a <b> & c", &history);
            assert!(picture.contains("a &lt;b&gt; &amp; c") && !picture.contains("NaN"));
            for label in [">loss<", ">error in %<", ">epoch<", ">train<", ">test<"] {
                assert!(picture.contains(label), "{label}");
            }
            let mut curves = 0;
            for line in picture.lines().filter_map(|line| line.strip_prefix("<polyline points=\"")) {
                let points: Vec<&str> = line.split('"').next().unwrap().split_whitespace().collect();
                assert_eq!(points.len() as u64, epochs);
                for point in points {
                    let (x, y) = point.split_once(',').unwrap();
                    assert!((0.0..=WIDTH).contains(&x.parse().unwrap()), "{point}");
                    assert!((TOP..=TOP + CHART_HEIGHT).contains(&y.parse().unwrap()), "{point}");
                }
                curves += 1;
            }
            assert_eq!(curves, 4);
        }
    }
}
