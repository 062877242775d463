//! `residuum unfold`: a plain network as a residual one.

use anyhow::Result;
use clap::ValueEnum;
use residuum::graph::rewrite::{Form, unfold};

use super::rewrite::{self, RewriteArgs};
use crate::exit::ExitStatus;

/// Rewrite a plain network as an identical residual one
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    rewrite: RewriteArgs,
    /// Residual form of the network
    #[arg(long, value_enum, default_value = "carry")]
    form: FormName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormName {
    /// Cut out the carried shortcuts of a network that `fold` made; to the bit
    Carry,
    /// Every convolution as a unit of its own, for any plain network
    One,
    /// Two convolutions as a unit that carries and subtracts its input, for any plain network
    Two,
}

pub(crate) fn run(args: &Args) -> Result<ExitStatus> {
    let form = match args.form {
        FormName::Carry => Form::Thin,
        FormName::One => Form::OneConvolution,
        FormName::Two => Form::TwoConvolutions,
    };
    rewrite::run(&args.rewrite, "unfold", "unfolded", |loaded, _| {
        Ok(unfold(&loaded.model.graph, &loaded.weights, form)?)
    })
}
