//! The figures that most experiments draw: errors over the iterations, dashed in training, solid in test, as
//! in the papers.

use residuum_plot::{Axis, Chart, Line, Series};

use crate::reproduction::RunResult;

/// Which curves of a run are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curves {
    /// Training and test error.
    Errors,
    /// Training loss and test error would need two axes: the loss alone.
    Losses,
}

/// A chart of some runs, a colour each, named by what `name` makes of them.
pub(crate) fn over_iterations(
    title: &str,
    curves: Curves,
    runs: &[&RunResult],
    name: impl Fn(&RunResult) -> String,
) -> Chart {
    let x = Axis::new("iterations");
    let mut chart = match curves {
        Curves::Errors => Chart::new(x, Axis::new("error in %").from_zero()).with_lines("test", "training"),
        Curves::Losses => Chart::new(x, Axis::log("training loss")),
    }
    .titled(title);
    for (colour, run) in runs.iter().enumerate() {
        let record = &run.record;
        match curves {
            Curves::Errors => {
                let series = |line, points: &[_]| Series::new(name(run), colour, line, points.to_vec());
                chart.series.push(series(Line::Dashed, &record.train_errors));
                chart.series.push(series(Line::Solid, &record.test_errors));
            }
            Curves::Losses => {
                chart.series.push(Series::new(name(run), colour, Line::Solid, record.train_losses.clone()));
            }
        }
    }
    chart
}
