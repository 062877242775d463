//! `residuum watch`: runs as a local page, while they go on and after.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use residuum_watch::{Door, Server};
use serde::Serialize;

use super::train::listen;
use crate::exit::ExitStatus;
use crate::output;

/// Time between two looks at whether to stop.
const PAUSE: Duration = Duration::from_millis(50);

/// Show runs as a local page: curves while they are trained, mistakes, confusions, layer responses
///
/// Prints the address of the page and serves it until Ctrl-C (exit code 130). Several runs stand side by side;
/// new ones appear by themselves. Nothing is changed, and nothing but this machine is asked. The same page of
/// one run, without a server, is the file report.html that its folder holds once it has ended.
///
/// Programs may ask as well, for JSON: /api/runs lists the runs; /api/runs/ID has one run's curves over steps
/// and epochs and the responses of its layers; /api/runs/ID/evaluation the classes, confusions and mistakes of
/// its last evaluation. ID is the `id` of the list, percent-encoded.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folders, or folders of run folders (searched three levels deep)
    #[arg(value_name = "RUN|DIR", default_value = "runs")]
    paths: Vec<PathBuf>,
    /// Address to listen on; 0.0.0.0 lets other machines look
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 for a free one
    #[arg(long, value_name = "PORT", default_value_t = 8015)]
    port: u16,
    /// Print the address as a JSON object
    #[arg(long)]
    json: bool,
}

/// The stable form.
#[derive(Serialize)]
struct Report {
    url: String,
    runs: usize,
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    let stop = listen()?;
    let server = Server::start(Door::open(&args.host, args.port)?, args.paths)?;
    let report = Report { url: server.url(), runs: server.runs() };
    output::note(&format!("{} runs; Ctrl-C stops", report.runs));
    if args.json {
        output::json("watch", report)?;
    } else {
        output::data(&report.url)?;
    }
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(PAUSE);
    }
    Ok(ExitStatus::Interrupted)
}
