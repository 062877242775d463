//! `residuum deepen`: identity layers in a trained network.

use std::collections::BTreeMap;

use anyhow::Result;
use residuum::classify::Loaded;
use residuum::data::{self, OpenOptions, Split, sample};
use residuum::engine::Engine;
use residuum::explain::{Subject, channel_moments};
use residuum::graph::rewrite::{Moments, deepen, stage_ends};
use residuum::models::initialise;

use super::positive;
use super::rewrite::{self, RewriteArgs};
use crate::exit::ExitStatus;

/// Insert blocks that compute the identity, to train the deeper network on
///
/// Every stage of the network gets N blocks at its end. A ResNet-20 with 6 more blocks a stage is a ResNet-56.
/// Residual nets can be trained on as they are; the layers of identity of plain nets need --statistics for
/// that, without which their norms are another function in training.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    rewrite: RewriteArgs,
    /// Blocks that every stage gets
    #[arg(long, value_name = "N", value_parser = blocks)]
    blocks: usize,
    /// Seed of the start values of what is new and not 0
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Give norms of identity layers the statistics of this data set's training pictures
    #[arg(long, value_name = "DATA")]
    statistics: Option<String>,
}

/// Pictures that statistics are taken over.
const STATISTICS_IMAGES: usize = 256;

fn blocks(text: &str) -> Result<usize, String> {
    positive(text, 1000)
}

pub(crate) fn run(args: &Args) -> Result<ExitStatus> {
    rewrite::run(&args.rewrite, "deepen", "deepened", |loaded, engine| {
        let moments = args.statistics.as_deref().map(|data| moments(loaded, engine, data)).transpose()?;
        let (graph, start) = (&loaded.model.graph, |deeper: &_| initialise(deeper, args.seed));
        Ok(deepen(graph, &loaded.weights, args.blocks, &moments.unwrap_or_default(), start)?)
    })
}

/// Mean and variance of what the ends of the stages hand on.
fn moments(loaded: &Loaded, engine: &Engine, data: &str) -> Result<BTreeMap<String, Moments>> {
    let (graph, weights) = (&loaded.model.graph, &loaded.weights);
    let ends = stage_ends(graph, weights)?;
    let data = data::open(data, Split::Train, &OpenOptions::default())?;
    let images = sample(&data, &loaded.info.preprocess, STATISTICS_IMAGES)?;
    let moments = channel_moments(&Subject { engine, graph, weights }, &images, &ends)?;
    Ok(ends.into_iter().zip(moments).collect())
}
