//! `residuum fold`: a residual network as a plain one.

use anyhow::Result;
use residuum::graph::rewrite::{fold_norm, fold_residual};

use super::rewrite::{self, RewriteArgs};
use crate::exit::ExitStatus;

/// Rewrite a residual network as an identical plain one, without additions
///
/// Batch norm is folded into the convolutions and every shortcut is carried in extra channels, in evaluation
/// mode. The result is a model file that every other command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    rewrite: RewriteArgs,
    /// Fold the batch norms only, and leave the shortcuts as they are
    #[arg(long)]
    norm_only: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitStatus> {
    let (suffix, fold): (_, fn(&_, &_) -> _) =
        if args.norm_only { ("norm_folded", fold_norm) } else { ("folded", fold_residual) };
    rewrite::run(&args.rewrite, "fold", suffix, |loaded, _| Ok(fold(&loaded.model.graph, &loaded.weights)?))
}
