//! `residuum show`: a network as a table of layers, in letters, as a graph for other programs, as a picture.

mod diagram;
mod layers;
mod view;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;
use residuum::formats::disk;
use residuum::graph::rewrite::fold_residual;
use residuum::models::{self, initialise};

use self::view::View;
use super::{batch_size, check_new_file, load, positive};
use crate::exit::ExitStatus;
use crate::output;

/// Show a network: layers, stages, blocks and shortcuts
///
/// The table has a line for each layer with its output, parameters, multiply-adds, the memory of its output, and
/// the receptive field of its units. Pictures are drawn as in He et al. 2015, Fig. 3; many equal blocks are
/// drawn once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of a network, run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "NAME|MODEL")]
    subject: String,
    /// Name of the network of a foreign file, such as resnet50.tv
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Height, or height and width, of the images in pixels [default: the network's own]
    #[arg(long, value_name = "H[xW]", value_parser = size)]
    size: Option<[usize; 2]>,
    /// Images in a batch, for the memory
    #[arg(long, short, value_name = "N", default_value = "1", value_parser = batch_size)]
    batch_size: usize,
    /// What to make [default: what the ending of --out says, else the table]
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<Format>,
    /// New file for the result, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show the network and, beside it, the same function without additions (see `fold`)
    #[arg(long)]
    fold: bool,
    /// Draw every block of a large network
    #[arg(long)]
    expand: bool,
    /// Print JSON: the same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// What is made of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each layer
    Table,
    /// The drawing in letters
    Text,
    /// The graph in Graphviz's language
    Dot,
    /// The drawing as SVG
    Svg,
    /// The drawing as PNG
    Png,
    /// The table as JSON
    Json,
}

/// `H` or `HxW`.
fn size(text: &str) -> Result<[usize; 2], String> {
    let side = |text: &str| positive(text, 65_535);
    let (h, w) = text.split_once(['x', '×']).unwrap_or((text, text));
    match (side(h), side(w)) {
        (Ok(h), Ok(w)) => Ok([h, w]),
        _ => Err("expected a side such as 224, or height and width such as 224x320".into()),
    }
}

pub(crate) fn run(args: Args) -> Result<ExitStatus> {
    let format = args.format()?;
    args.out.as_deref().map_or(Ok(()), check_new_file)?;
    let views = views(&args)?;
    let text = match format {
        Format::Table => layers::table(&views),
        Format::Text => diagram::diagram(&views, args.expand).text(),
        Format::Dot => dot(&views),
        Format::Svg => diagram::diagram(&views, args.expand).svg(),
        Format::Json => output::json_text("show", layers::Json::new(&views))?,
        Format::Png => {
            let png = diagram::diagram(&views, args.expand).png()?;
            match &args.out {
                Some(path) => disk::write_bytes(path, &png)?,
                None => output::bytes(&png)?,
            }
            return Ok(ExitStatus::Done);
        }
    };
    match &args.out {
        Some(path) => disk::write_bytes(path, text.as_bytes())?,
        None => output::data(&text)?,
    }
    Ok(ExitStatus::Done)
}

impl Args {
    fn format(&self) -> Result<Format> {
        if self.json {
            return Ok(Format::Json);
        }
        let ending = self.out.as_ref().and_then(|path| path.extension()).map(|text| text.to_string_lossy());
        let by_ending = match ending.as_deref() {
            Some("svg") => Format::Svg,
            Some("png") => Format::Png,
            Some("dot" | "gv") => Format::Dot,
            Some("json") => Format::Json,
            _ => Format::Table,
        };
        let format = self.format.unwrap_or(by_ending);
        if format == Format::Png && self.out.is_none() && std::io::stdout().is_terminal() {
            bail!("--format png: expected --out FILE or a file as standard output, found a terminal");
        }
        Ok(format)
    }
}

/// The network, and the one without additions where it is asked for.
fn views(args: &Args) -> Result<Vec<View>> {
    let is_file = disk::exists(&args.subject) || args.model.is_some();
    let (name, graph, weights, side) = if is_file {
        let loaded = load(&args.subject, args.model.as_deref())?;
        (loaded.model.name, loaded.model.graph, Some(loaded.weights), loaded.info.preprocess.crop)
    } else {
        let looks_like_a_path = args.subject.contains(['/', '\\']);
        let model = models::build(&args.subject, None).map_err(|error| {
            if looks_like_a_path {
                anyhow!("{}: no such file or folder", args.subject)
            } else {
                anyhow!("{error}; nor is there a file or folder of this name")
            }
        })?;
        (model.name, model.graph, None, model.family.input_size())
    };
    let size = args.size.unwrap_or([side, side]);
    let view = |name: String, graph| {
        let [h, w] = size;
        View::new(name, graph, size, args.batch_size)
            .map_err(|error| anyhow!("{}: does not admit images of {h}×{w}: {error}", args.subject))
    };
    let mut views = vec![view(name.clone(), graph)?];
    if args.fold {
        let graph = &views[0].graph;
        let weights = weights.unwrap_or_else(|| initialise(graph, 0));
        let (folded, _) = fold_residual(graph, &weights)
            .map_err(|error| anyhow!("{}: cannot fold: {error}", args.subject))?;
        views.push(view(format!("{name}, folded"), folded)?);
    }
    Ok(views)
}

/// One graph after the other.
fn dot(views: &[View]) -> String {
    views.iter().map(|view| view.graph.to_dot()).collect()
}
