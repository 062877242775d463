//! `residuum deepen`: identity layers in a trained network.

use anyhow::Result;
use residuum::graph::rewrite::deepen;
use residuum::models::initialise;

use super::positive;
use super::rewrite::{self, RewriteArgs};
use crate::exit::ExitStatus;

/// Insert blocks that compute the identity, to train the deeper network on
///
/// Every stage of the network gets N blocks at its end. A ResNet-20 with 6 more blocks a stage is a ResNet-56.
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
}

fn blocks(text: &str) -> Result<usize, String> {
    positive(text, 1000)
}

pub(crate) fn run(args: &Args) -> Result<ExitStatus> {
    rewrite::run(&args.rewrite, "deepen", "deepened", |graph, weights| {
        deepen(graph, weights, args.blocks, |deeper| initialise(deeper, args.seed))
    })
}
