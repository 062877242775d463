//! Loss and error over the epochs as a picture: two charts side by side.

use residuum_plot::{Axis, Chart, Figure, Line, Series};

use crate::progress::EpochRecord;

/// The picture of a run as SVG.
pub(crate) fn svg(title: &str, history: &[EpochRecord]) -> String {
    type Value = fn(&EpochRecord) -> f64;
    let chart = |label: &str, train: Value, test: Value| {
        let mut chart = Chart::new(Axis::new("epoch"), Axis::new(label).from_zero());
        for (colour, (name, value)) in [("train", train), ("test", test)].into_iter().enumerate() {
            let points = history.iter().map(|record| (record.epoch as f64, value(record))).collect();
            chart.series.push(Series::new(name, colour, Line::Solid, points));
        }
        chart
    };
    let charts = vec![
        chart("loss", |r| r.train_loss, |r| r.eval_loss),
        chart("error in %", |r| 100.0 - r.train_top1, |r| 100.0 - r.eval_top1),
    ];
    Figure::new(title, charts).svg()
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
    fn every_epoch_is_a_point_of_four_curves() {
        for epochs in [0, 1, 2, 165] {
            let history: Vec<_> = (1..=epochs).map(|e| record(e, 2.3 / e as f64)).collect();
            let picture = svg("a <b> & c", &history);
            assert!(picture.contains(">a &lt;b&gt; &amp; c<") && !picture.contains("NaN"));
            for label in [">loss<", ">error in %<", ">epoch<", ">train<", ">test<"] {
                assert!(picture.contains(label), "{label}");
            }
            let points = |line: &str| line.split('"').nth(1).unwrap_or("").split_whitespace().count() as u64;
            let curves = picture.lines().filter(|line| line.starts_with("<polyline"));
            let whole = curves.filter(|line| points(line) == epochs && line.contains("stroke-width=\"2\""));
            // Of two points each are the samples of the legend too.
            let expected = [0, 0, 8].get(epochs as usize).copied().unwrap_or(4);
            assert_eq!(whole.count(), expected, "{epochs} epochs");
        }
    }
}
