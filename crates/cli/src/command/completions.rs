//! `residuum completions`: what a shell needs to complete the command line.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::Cli;
use crate::exit::ExitStatus;
use crate::output;

/// Print the completion script of a shell
///
/// For bash: `residuum completions bash > ~/.local/share/bash-completion/completions/residuum`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "residuum", &mut script);
    output::data(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Done)
}
