//! The `residuum` command: flags in, calls of the façade, output.
#![forbid(unsafe_code)]
// A command takes its flags over: nobody else has a use for them.
#![allow(clippy::needless_pass_by_value)]

mod command;
mod exit;
mod output;
mod progress;

fn main() -> std::process::ExitCode {
    exit::code(command::run())
}
