//! Layer responses (He et al. 2015, Figure 7).

use anyhow::{Result, bail};
use residuum::explain::{Response, Subject, response_std};
use residuum::plot::{Axis, Chart, Figure, Line, Series};
use serde::Serialize;

use super::study::Rounds;
use super::{DataArgs, ModelArgs, Numbers, Study};
use crate::command::load_floats;
use crate::exit::ExitStatus;
use crate::output::Table;

/// Spread of every layer's response, in order and sorted; several models on one chart (He et al. 2015, fig. 7)
///
/// The standard deviation of every 3×3 convolution's output after batch norm, before ReLU and addition.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folders, model files, or foreign files of weights with --model
    #[arg(value_name = "MODEL", required = true)]
    models: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    common: ModelArgs,
}

const USUAL: usize = 1000;

#[derive(Serialize)]
struct Found {
    model: String,
    layers: Vec<String>,
    std: Vec<f64>,
}

pub(super) fn run(args: &Args) -> Result<ExitStatus> {
    let paths: Vec<&str> = args.models.iter().map(String::as_str).collect();
    let study = Study::of_several(&paths, &args.common)?;
    let sample = study.sample(&args.data, USUAL)?;
    let mut found = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let other =
            if index > 0 { Some(load_floats(path, args.common.name(index), "explain")?) } else { None };
        let loaded = other.as_ref().unwrap_or(&study.loaded);
        let prepared = other.as_ref().map(|other| study.sample_for(other, &args.data, USUAL)).transpose()?;
        let own = prepared.as_ref().unwrap_or(&sample);
        let mut rounds = Rounds::new(&study, &format!("responses of {},", loaded.model.name), 1, own.len());
        let subject = Subject { engine: &study.engine, graph: &loaded.model.graph, weights: &loaded.weights };
        let responses = response_std(&subject, &own.images, |done| rounds.tell(done, ""))?;
        if responses.is_empty() {
            bail!(
                "responses: expected convolutions wider than 1×1 with a batch norm behind them, found none in {}",
                loaded.model.name
            );
        }
        found.push((label(&loaded.model.name, &found), responses));
        if study.is_stopped() {
            break;
        }
    }
    let mut numbers = Numbers::new(&["model", "number", "layer", "std"]);
    let mut table = Table::new(&["model", "layers", "mean", "largest", "smallest"]);
    for (name, responses) in &found {
        for (number, response) in (1..).zip(responses) {
            let cells = [name.clone(), number.to_string(), response.layer.clone(), response.std.to_string()];
            numbers.row(cells);
        }
        let values = sorted(responses);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let [mean, first, last] = [mean, values[0], values[values.len() - 1]].map(|x| format!("{x:.4}"));
        table.row([name.clone(), values.len().to_string(), mean, first, last]);
    }
    let content: Vec<Found> = found
        .iter()
        .map(|(model, responses)| Found {
            model: model.clone(),
            layers: responses.iter().map(|response| response.layer.clone()).collect(),
            std: responses.iter().map(|response| response.std).collect(),
        })
        .collect();
    let figure = figure(&found);
    study.finish(
        "responses",
        Some(&sample),
        &figure,
        &numbers,
        &table,
        serde_json::json!({ "networks": content }),
    )
}

/// The network's name, numbered where it is there already.
fn label(name: &str, known: &[(String, Vec<Response>)]) -> String {
    let same = known.iter().filter(|(other, _)| other.split(" (").next() == Some(name)).count();
    if same == 0 { name.to_owned() } else { format!("{name} ({})", same + 1) }
}

fn sorted(responses: &[Response]) -> Vec<f64> {
    let mut values: Vec<f64> = responses.iter().map(|response| response.std).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

fn figure(found: &[(String, Vec<Response>)]) -> Figure {
    let axis = || Axis::new("standard deviation").from_zero();
    let mut in_order = Chart::new(Axis::new("layer"), axis()).titled("in the net's order");
    let mut by_size = Chart::new(Axis::new("layer, by magnitude"), axis()).titled("sorted");
    let numbered = |values: Vec<f64>| (1..).map(f64::from).zip(values).collect();
    for (colour, (name, responses)) in found.iter().enumerate() {
        let values = responses.iter().map(|response| response.std).collect();
        in_order.series.push(Series::new(name, colour, Line::Solid, numbered(values)));
        by_size.series.push(Series::new(name, colour, Line::Solid, numbered(sorted(responses))));
    }
    Figure::new("Responses of the layers after batch norm", vec![in_order, by_size])
}
