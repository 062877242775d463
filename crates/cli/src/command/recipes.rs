//! `residuum recipes`: the recipes that come along.

use anyhow::{Result, bail};
use residuum::train::{Paper, Published, Recipe};
use serde::Serialize;

use crate::exit::ExitStatus;
use crate::output::{self, Table};

/// List the papers' recipes, or show one: schedule, augmentation, split, test, published figures
///
/// What is shown is a TOML file that `residuum train --recipe FILE` reads, to be changed and used.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recipe to show
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    match (&args.name, args.json) {
        (Some(name), false) => output::data(find(name)?.text)?,
        (Some(name), true) => output::json("recipe", Shown::new(find(name)?))?,
        (None, false) => output::data(&table(Recipe::published()).render())?,
        (None, true) => {
            output::json(
                "recipes",
                Recipes { recipes: Recipe::published().iter().map(Shown::new).collect() },
            )?;
        }
    }
    Ok(ExitStatus::Done)
}

fn find(name: &str) -> Result<&'static Published> {
    match Recipe::find(name) {
        Ok(published) => Ok(published),
        Err(_) => bail!("no recipe is called `{name}`; `residuum recipes` lists all names"),
    }
}

#[derive(Serialize)]
struct Recipes {
    recipes: Vec<Shown>,
}

/// The stable form.
#[derive(Serialize)]
struct Shown {
    name: &'static str,
    recipe: Recipe,
    paper: &'static Paper,
}

impl Shown {
    fn new(published: &'static Published) -> Self {
        Self { name: published.name, recipe: published.recipe.clone(), paper: &published.paper }
    }
}

fn table(published: &[Published]) -> Table {
    let mut table = Table::new(&["name", "epochs", "batch", "networks", "source"]).left(&[0, 3, 4]);
    for Published { name, recipe, paper, .. } in published {
        table.row([
            (*name).to_owned(),
            recipe.epochs.to_string(),
            recipe.batch_size.to_string(),
            networks(&paper.networks),
            paper.source.clone(),
        ]);
    }
    table
}

/// The first of a long list.
fn networks(patterns: &[String]) -> String {
    const SHOWN: usize = 3;
    let rest = if patterns.len() > SHOWN { ", …" } else { "" };
    format!("{}{rest}", patterns[..patterns.len().min(SHOWN)].join(", "))
}
