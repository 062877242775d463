//! The `residuum` command: flags in, calls of the façade, output.
#![forbid(unsafe_code)]

mod command;
mod exit;
mod output;
mod progress;

fn main() -> std::process::ExitCode {
    exit::code(command::run())
}
