//! `residuum models`: the registered names.

use anyhow::{Result, bail};
use residuum::models::{Entry, entries, matching};
use serde::Serialize;

use crate::exit::ExitStatus;
use crate::output::{self, Table};

/// List the networks: depth, parameters, multiply-adds, paper
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names to list; `*` and `?` stand for any text and any character
    #[arg(value_name = "GLOB")]
    pattern: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    let found: Vec<&Entry> = match &args.pattern {
        Some(pattern) => matching(pattern).collect(),
        None => entries().iter().collect(),
    };
    if let (Some(pattern), true) = (&args.pattern, found.is_empty()) {
        bail!("no model is called `{pattern}`; `residuum models` lists all names");
    }
    let rows = found.into_iter().map(describe).collect::<Result<Vec<_>>>()?;
    if args.json {
        output::json("models", Models { models: rows })?;
    } else {
        output::data(&table(&rows).render())?;
    }
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct Models {
    models: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    aliases: Vec<String>,
    depth: usize,
    parameters: u64,
    multiply_adds: u64,
    input: usize,
    classes: usize,
    description: &'static str,
    paper: &'static str,
}

fn describe(entry: &Entry) -> Result<Row> {
    let side = entry.family.input_size();
    let model = entry.build(None)?;
    let counts = model.graph.count(side, side)?;
    Ok(Row {
        name: entry.name.clone(),
        aliases: entry.aliases.clone(),
        depth: entry.depth,
        parameters: counts.parameters,
        multiply_adds: counts.multiply_adds,
        input: side,
        classes: model.graph.output_features(),
        description: entry.description,
        paper: entry.paper,
    })
}

fn table(rows: &[Row]) -> Table {
    let titles = ["name", "depth", "parameters", "multiply-adds", "input", "classes", "form", "paper"];
    let mut table = Table::new(&titles).left(&[0, 6, 7]);
    for row in rows {
        table.row([
            row.name.clone(),
            row.depth.to_string(),
            output::grouped(row.parameters),
            output::grouped(row.multiply_adds),
            row.input.to_string(),
            row.classes.to_string(),
            row.description.to_owned(),
            row.paper.to_owned(),
        ]);
    }
    table
}
