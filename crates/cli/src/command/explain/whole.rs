//! `residuum explain` for networks as a whole: a chart and its numbers, of a network and a data set.

mod connection_strength;
mod features;
mod landscape;
mod lesions;
mod paths;
mod receptive_field;
mod responses;
mod shuffles;
mod study;

use anyhow::Result;
use clap::Subcommand;

use crate::exit::ExitStatus;
use study::{DataArgs, ModelArgs, Numbers, Sample, Study};

/// Show what an answer depends on, and what a network does as a whole
///
/// Of images: `residuum explain METHOD[,METHOD…] MODEL IMAGE…`. Every method gives a labelled picture (PNG) and its
/// array (npy) for each image; several images or methods give a contact sheet as well. Scores are logits, images
/// are prepared as the model asks. Signed maps are blue below and red above zero, up to the 99th percentile of
/// the magnitudes; other maps go from dark to bright, overlays are half image, half map.
///
/// Of whole networks: `residuum explain METHOD MODEL --data DATA`, with one of the methods listed first below.
/// Each gives a chart (SVG, PNG) and its numbers (CSV), and has flags of its own: `residuum explain METHOD
/// --help`. What is found when it is interrupted is written.
#[derive(Debug, clap::Args)]
#[command(
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    override_usage = "residuum explain [OPTIONS] METHOD[,METHOD…] MODEL [IMAGE]...\n       \
                      residuum explain METHOD MODEL --data DATA [OPTIONS]",
    subcommand_value_name = "METHOD",
    subcommand_help_heading = "Methods for whole networks (MODEL --data DATA)"
)]
pub(crate) struct Command {
    #[command(subcommand)]
    whole: Option<Whole>,
    #[command(flatten)]
    pictures: super::Args,
}

/// Names of the methods for whole networks.
pub(super) fn names() -> Vec<String> {
    let command = Whole::augment_subcommands(clap::Command::new("explain"));
    command.get_subcommands().map(|method| method.get_name().to_owned()).collect()
}

#[derive(Debug, Subcommand)]
enum Whole {
    Responses(responses::Args),
    Lesions(lesions::Args),
    Shuffles(shuffles::Args),
    Paths(paths::Args),
    ReceptiveField(receptive_field::Args),
    Landscape(landscape::Args),
    ConnectionStrength(connection_strength::Args),
    Features(features::Args),
}

pub(crate) fn run(command: Command) -> Result<ExitStatus> {
    match command.whole {
        Some(Whole::Responses(args)) => responses::run(&args),
        Some(Whole::Lesions(args)) => lesions::run(&args),
        Some(Whole::Shuffles(args)) => shuffles::run(&args),
        Some(Whole::Paths(args)) => paths::run(&args),
        Some(Whole::ReceptiveField(args)) => receptive_field::run(&args),
        Some(Whole::Landscape(args)) => landscape::run(&args),
        Some(Whole::ConnectionStrength(args)) => connection_strength::run(&args),
        Some(Whole::Features(args)) => features::run(&args),
        None => super::explain(command.pictures),
    }
}
