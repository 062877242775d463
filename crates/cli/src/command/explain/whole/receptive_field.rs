//! How far units see (Luo et al. 2016).

use anyhow::{Result, bail};
use residuum::explain::{
    ReceptiveField, default_layer, effective_receptive_field, effective_side, receptive_field,
};
use residuum::plot::{Axis, Chart, Field, Figure, Line, Series, View};
use residuum::tensor::Tensor;
use serde::Serialize;

use super::study::{Rounds, nothing};
use super::{DataArgs, ModelArgs, Numbers, Study};
use crate::exit::ExitStatus;
use crate::output::Table;

/// Effective receptive field of a layer's middle unit beside the theoretical one (Luo et al. 2016)
///
/// Magnitude of the gradient of the unit, summed over channels, with respect to the image, as a mean over
/// images and colours. The effective side is that of a square of as many pixels as have more than 4.55 % of the
/// largest value.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "MODEL")]
    path: String,
    #[command(flatten)]
    data: DataArgs,
    /// Layers whose units are looked at, separated by commas [default: the last map]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    layer: Vec<String>,
    #[command(flatten)]
    common: ModelArgs,
}

const USUAL: usize = 64;

/// What was found for the middle unit of a layer.
#[derive(Serialize)]
struct Seen {
    layer: String,
    unit: (usize, usize),
    /// Pixels of a side.
    theoretical_side: f64,
    effective_side: f64,
    #[serde(skip)]
    field: ReceptiveField,
    #[serde(skip)]
    map: Tensor,
}

pub(super) fn run(args: &Args) -> Result<ExitStatus> {
    let study = Study::new(&args.path, &args.common)?;
    let subject = study.subject();
    let layers = match (&args.layer[..], default_layer(&subject)) {
        ([], Some(last)) => vec![last],
        ([], None) => bail!("--layer: the network has no pooled map; name a layer"),
        (named, _) => named.to_vec(),
    };
    let mut fields = Vec::new();
    for layer in &layers {
        subject.map_layer(layer)?;
        fields.push(receptive_field(subject.graph, layer)?);
    }
    let sample = study.sample(&args.data, USUAL)?;
    let mut rounds = Rounds::new(&study, "receptive-field", layers.len(), sample.len());
    let mut found: Vec<Seen> = Vec::new();
    for (layer, field) in layers.into_iter().zip(fields) {
        let one = Tensor::from_fn([1, 3, side(&sample.images), side(&sample.images)], |_| 0.0);
        let shape = subject.values(&one, std::slice::from_ref(&layer))?.remove(0);
        let unit = (shape.shape()[2] / 2, shape.shape()[3] / 2);
        let tell = |done| rounds.tell(done, &layer);
        let map = effective_receptive_field(&subject, &sample.images, &layer, unit, tell)?;
        if map.is_empty() {
            break;
        }
        let (theoretical_side, effective_side) = (field.size, effective_side(&map));
        found.push(Seen { layer, unit, theoretical_side, effective_side, field, map });
        rounds.next();
        if study.is_stopped() {
            break;
        }
    }
    drop(rounds);
    if found.is_empty() {
        return Ok(nothing());
    }
    let mut table = Table::new(&["layer", "unit", "theoretical side", "effective side", "image side"]);
    let mut numbers = Numbers::new(&["layer", "row", "column", "influence"]);
    for seen in &found {
        let unit = format!("{},{}", seen.unit.0, seen.unit.1);
        let [theoretical, effective] =
            [seen.theoretical_side, seen.effective_side].map(|x| format!("{x:.1}"));
        let image = seen.map.shape()[1].to_string();
        table.row([seen.layer.clone(), unit, theoretical, effective, image]);
        for (at, value) in seen.map.data().iter().enumerate() {
            let [row, column] = [at / seen.map.shape()[1], at % seen.map.shape()[1]].map(|x| x.to_string());
            numbers.row([seen.layer.clone(), row, column, value.to_string()]);
        }
    }
    let charts = found.iter().flat_map(|seen| [map(seen), profile(seen)]).collect();
    let figure = Figure::new(format!("Receptive fields in {}", study.name()), charts).in_columns(2);
    let content = serde_json::json!({ "layers": found });
    study.finish("receptive-field", Some(&sample), &figure, &numbers, &table, content)
}

fn side(images: &Tensor) -> usize {
    images.shape()[3]
}

/// The map with the edges of the theoretical field. Rows count from above, so they grow downwards: the axis
/// tells how far above the unit's middle a pixel lies.
fn map(seen: &Seen) -> Chart {
    let &[rows, columns] = seen.map.shape() else { return Chart::new(Axis::new(""), Axis::new("")) };
    let (cy, cx) = middle(seen);
    let values = (0..rows)
        .rev()
        .flat_map(|y| (0..columns).map(move |x| (x, y)))
        .map(|(x, y)| seen.map.data()[y * columns + x]);
    let mut chart =
        Chart::new(Axis::new("pixels to the right of the unit"), Axis::new("pixels above the unit"))
            .titled(format!("{}: influence of the pixels", seen.layer));
    let (left, right) = (-cx, columns as f64 - 1.0 - cx);
    let (bottom, top) = (cy - (rows as f64 - 1.0), cy);
    chart.field = Some(Field {
        columns,
        values: values.map(f64::from).collect(),
        x: (left, right),
        y: (bottom, top),
        scale: Axis::new("mean magnitude of the gradient").from_zero(),
        view: View::Cells,
    });
    let half = seen.field.size / 2.0;
    let (l, r) = ((-half).max(left - 0.5), half.min(right + 0.5));
    let (b, t) = ((-half).max(bottom - 0.5), half.min(top + 0.5));
    let edges = vec![(l, b), (r, b), (r, t), (l, t), (l, b)];
    chart.series.push(Series::new("theoretical field within the image", 1, Line::Reference, edges));
    chart
}

/// Row and column of the middle of what the unit sees.
fn middle(seen: &Seen) -> (f64, f64) {
    let at = |unit: usize| seen.field.centre + unit as f64 * seen.field.step;
    (at(seen.unit.0), at(seen.unit.1))
}

/// Influence summed over rows and over columns, as shares of the largest sum.
fn profile(seen: &Seen) -> Chart {
    let &[rows, columns] = seen.map.shape() else { return Chart::new(Axis::new(""), Axis::new("")) };
    let (cy, cx) = middle(seen);
    let at = |row: usize, column: usize| f64::from(seen.map.data()[row * columns + column]);
    let across: Vec<f64> = (0..columns).map(|x| (0..rows).map(|y| at(y, x)).sum()).collect();
    let down: Vec<f64> = (0..rows).map(|y| (0..columns).map(|x| at(y, x)).sum()).collect();
    let scaled = |sums: &[f64], middle: f64| -> Vec<(f64, f64)> {
        let largest = sums.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        (0..sums.len()).map(|i| (i as f64 - middle, sums[i] / largest)).collect()
    };
    let mut chart =
        Chart::new(Axis::new("pixels from the unit"), Axis::new("share of the largest").from_zero())
            .titled(format!("{}: profile", seen.layer));
    chart.series.push(Series::new("columns, left to right", 0, Line::Solid, scaled(&across, cx)));
    chart.series.push(Series::new("rows, top to bottom", 4, Line::Solid, scaled(&down, cy)));
    for (half, colour, name) in [
        (seen.field.size / 2.0, 1, format!("theoretical side {:.0}", seen.field.size)),
        (seen.effective_side / 2.0, 6, format!("effective side {:.1}", seen.effective_side)),
    ] {
        for x in [-half, half] {
            chart.series.push(Series::new(name.clone(), colour, Line::Reference, vec![(x, 0.0), (x, 1.0)]));
        }
    }
    chart
}
