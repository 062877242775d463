//! What the layers of a dense net reuse (Huang et al. 2016, Figure 5).

use anyhow::{Result, bail};
use residuum::explain::{BlockConnections, connection_strength};
use residuum::plot::{Axis, Chart, Field, Figure, View};
use serde::Serialize;

use super::{ModelArgs, Numbers, Study};
use crate::exit::ExitStatus;
use crate::output::Table;

/// How strongly each layer of a dense block uses each earlier one; needs no data (Huang et al. 2016, fig. 5)
///
/// The mean magnitude of a layer's weights on the channels of each source: the block's input (0), its first
/// layer (1), and so on. The last reader of a block is what follows it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "MODEL")]
    path: String,
    #[command(flatten)]
    common: ModelArgs,
}

#[derive(Serialize)]
struct Block<'a> {
    readers: &'a [String],
    strengths: &'a [Vec<f64>],
}

pub(super) fn run(args: &Args) -> Result<ExitStatus> {
    let study = Study::new(&args.path, &args.common)?;
    let blocks = connection_strength(&study.loaded.model.graph, &study.loaded.weights);
    if blocks.is_empty() {
        bail!(
            "connection-strength: expected a network with dense blocks, such as cifar_densenet_40_12, found none in \
             {}; lesions and paths look into residual blocks",
            study.name()
        );
    }
    let mut table = Table::new(&["block", "layers", "mean", "on the block's input", "of what follows"]);
    let mut numbers = Numbers::new(&["block", "reader", "source", "strength"]);
    for (number, block) in (1..).zip(&blocks) {
        for (reader, row) in block.readers.iter().zip(&block.strengths) {
            for (source, strength) in row.iter().enumerate() {
                numbers.row([number.to_string(), reader.clone(), source.to_string(), strength.to_string()]);
            }
        }
        let mean = |values: &[f64]| format!("{:.4}", values.iter().sum::<f64>() / values.len().max(1) as f64);
        let (last, layers) = (block.strengths.last(), block.readers.len() - 1);
        let firsts: Vec<f64> = block.strengths.iter().filter_map(|row| row.first().copied()).collect();
        let last = last.map_or_else(String::new, |row| mean(row));
        let number = number.to_string();
        table.row([number, layers.to_string(), mean(&block.strengths.concat()), mean(&firsts), last]);
    }
    let charts = (1..).zip(&blocks).map(|(number, block)| chart(number, block)).collect();
    let title = format!("Strength of the connections in {}", study.name());
    let content: Vec<Block<'_>> =
        blocks.iter().map(|block| Block { readers: &block.readers, strengths: &block.strengths }).collect();
    let content = serde_json::json!({ "blocks": content });
    study.finish("connection-strength", None, &Figure::new(title, charts), &numbers, &table, content)
}

/// Readers from left to right, sources upwards, as in the paper.
fn chart(number: usize, block: &BlockConnections) -> Chart {
    let readers = block.readers.len();
    let sources = block.strengths.iter().map(Vec::len).max().unwrap_or(0);
    let strength =
        |reader: usize, source: usize| block.strengths[reader].get(source).copied().unwrap_or(f64::NAN);
    let values = (0..sources).flat_map(|source| (0..readers).map(move |reader| (reader, source)));
    let x = format!("reading layer; {readers} is what follows");
    let mut chart = Chart::new(Axis::new(x), Axis::new("source; 0 is the block's input"))
        .titled(format!("dense block {number}"));
    chart.field = Some(Field {
        columns: readers,
        values: values.map(|(reader, source)| strength(reader, source)).collect(),
        x: (1.0, readers as f64),
        y: (0.0, sources as f64 - 1.0),
        scale: Axis::new("mean magnitude of the weights").from_zero(),
        view: View::Cells,
    });
    chart
}
