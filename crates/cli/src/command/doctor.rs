//! `residuum doctor`: what this machine is and what residuum makes of it.

use anyhow::Result;
use residuum::engine::{Engine, EngineOptions, Isa, peak};
use residuum::formats::disk;
use serde::Serialize;

use crate::exit::ExitStatus;
use crate::output::{self, Table};

/// Show the machine: CPU, instruction sets, threads, measured peak, memory, settings
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Every environment variable that is read, and what it means.
const VARIABLES: [(&str, &str); 2] = [
    (
        "RESIDUUM_CONV",
        "algorithm of convolutions: auto, direct, sparse, strassen or winograd; unset or empty: auto, the fastest for each",
    ),
    ("RESIDUUM_ISA", "instruction set to use: plain, avx2 or avx512; unset or empty: the best that there is"),
];

/// Memory that is copied, read and written: more than caches hold.
const COPIED_BYTES: usize = 256 << 20;
/// Longest file of the system that is read.
const MAX_SYSTEM_FILE: usize = 4 << 20;

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    let report = Report::measure()?;
    if args.json {
        output::json("doctor", report)?;
    } else {
        output::data(&report.text())?;
    }
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct Report {
    residuum: &'static str,
    target: String,
    cpu: Option<String>,
    isa_available: Vec<&'static str>,
    isa: &'static str,
    threads: usize,
    peak_gflops_one_thread: f64,
    peak_gflops: f64,
    read_gbytes_per_second: Option<f64>,
    copy_gbytes_per_second: Option<f64>,
    memory_bytes: Option<u64>,
    memory_available_bytes: Option<u64>,
    variables: Vec<Variable>,
}

#[derive(Serialize)]
struct Variable {
    name: &'static str,
    value: Option<String>,
    meaning: &'static str,
}

impl Report {
    fn measure() -> Result<Self> {
        let engine = Engine::new(&EngineOptions::default())?;
        let isa = engine.isa();
        let one =
            Engine::new(&EngineOptions { threads: Some(1), isa: Some(isa), ..EngineOptions::default() })?;
        let memory = disk::read_text("/proc/meminfo", MAX_SYSTEM_FILE).ok();
        let kib = |key| field(memory.as_deref()?, key)?.strip_suffix("kB")?.trim().parse::<u64>().ok();
        let value = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let variables =
            VARIABLES.iter().map(|&(name, meaning)| Variable { name, value: value(name), meaning });
        Ok(Self {
            residuum: env!("CARGO_PKG_VERSION"),
            target: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
            cpu: cpu_name(),
            isa_available: Isa::available().into_iter().map(Isa::name).collect(),
            isa: isa.name(),
            threads: engine.threads().count(),
            peak_gflops_one_thread: one.threads().run(|| peak::peak_flops(isa)) / 1e9,
            peak_gflops: engine.threads().run(|| peak::peak_flops(isa)) / 1e9,
            read_gbytes_per_second: engine
                .threads()
                .run(|| peak::memory_bandwidth(isa))
                .map(|rate| rate / 1e9),
            copy_gbytes_per_second: engine
                .threads()
                .run(|| peak::copy_bandwidth(COPIED_BYTES))
                .map(|rate| rate / 1e9),
            memory_bytes: kib("MemTotal").map(|kib| kib * 1024),
            memory_available_bytes: kib("MemAvailable").map(|kib| kib * 1024),
            variables: variables.collect(),
        })
    }

    fn text(&self) -> String {
        let unknown = || "unknown".to_owned();
        let mut facts = Table::pairs();
        facts.pair("residuum", format!("{} ({})", self.residuum, self.target));
        facts.pair("CPU", self.cpu.clone().unwrap_or_else(unknown));
        facts.pair("instruction sets", self.isa_available.join(", "));
        facts.pair("in use", self.isa);
        facts.pair("threads", self.threads.to_string());
        let one = self.peak_gflops_one_thread;
        facts.pair("peak", format!("{one:.1} GFLOP/s on one thread, {:.1} on all", self.peak_gflops));
        let rates = [("reading", self.read_gbytes_per_second), ("copying", self.copy_gbytes_per_second)];
        for (what, rate) in rates {
            let rate = rate.map(|rate| format!("{rate:.1} GB/s"));
            facts.pair(&format!("{what} memory"), rate.unwrap_or_else(unknown));
        }
        facts.pair("memory", self.memory_bytes.map_or_else(unknown, output::mib));
        facts.pair("memory available", self.memory_available_bytes.map_or_else(unknown, output::mib));
        for variable in &self.variables {
            let value =
                variable.value.as_ref().map_or_else(|| "unset".to_owned(), |value| format!("{value:?}"));
            facts.pair(variable.name, format!("{value} ({})", variable.meaning));
        }
        facts.render()
    }
}

/// What the system calls the CPU, where it tells.
fn cpu_name() -> Option<String> {
    let text = disk::read_text("/proc/cpuinfo", MAX_SYSTEM_FILE).ok()?;
    field(&text, "model name").map(str::to_owned)
}

/// The value of the first line `key: value`.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}
