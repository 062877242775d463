//! What `fold`, `unfold` and `deepen` have in common: load, rewrite, compare, write, tell.

use anyhow::{Result, bail};
use residuum::classify::{Agreement, Classifier, Loaded};
use residuum::data::{self, Dataset, OpenOptions};
use residuum::engine::Engine;
use residuum::graph::rewrite::{RewriteError, Rewritten};
use residuum::models::formula;
use serde::Serialize;

use super::{EngineArgs, InOut, check_new_file, images};
use crate::exit::ExitStatus;
use crate::output::{self, Table};
use crate::progress::Progress;

/// Images that go through both networks together.
const BATCH: usize = 50;
/// Images that are compared where no data set is named.
const RANDOM_IMAGES: usize = 32;

/// Flags of every command that rewrites a network.
#[derive(Debug, clap::Args)]
pub(crate) struct RewriteArgs {
    #[command(flatten)]
    files: InOut,
    /// Compare the two networks on the test pictures of this data set [default: 32 random pictures]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Compare on the first N pictures of --data only
    #[arg(long, value_name = "N", requires = "data", value_parser = images)]
    images: Option<usize>,
    /// Write nothing and exit with 1 if a logit differs by more than this
    #[arg(long, value_name = "TOL", value_parser = tolerance)]
    verify: Option<f64>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number from 0 on".into())
}

/// Does what a command is for: `rewrite` makes the new network, which is called by its old name and `suffix`
/// where it has no registered one.
pub(crate) fn run(
    args: &RewriteArgs,
    verb: &'static str,
    suffix: &str,
    rewrite: impl FnOnce(&Loaded, &Engine) -> Result<Rewritten>,
) -> Result<ExitStatus> {
    check_new_file(&args.files.output)?;
    let data = args.data.as_deref().map(|data| data::open(data, data::Split::Test, &OpenOptions::default()));
    let data = data.transpose()?;
    let engine = args.engine.exact_engine()?;
    let before = args.files.load_floats(verb)?;
    let rewritten = rewrite(&before, &engine).map_err(|error| match error.downcast::<RewriteError>() {
        Ok(error) => anyhow::anyhow!("{}: cannot {verb}: {error}", before.path.display()),
        Err(other) => other,
    })?;
    let after = before.rewritten(rewritten, suffix);
    let report = Report::new(args, verb, &before, &after);
    let mut one = Classifier::new(engine.clone(), before);
    let mut other = Classifier::new(engine, after);
    let agreement = compare(&mut one, &mut other, data.as_ref(), args.images)?;
    let is_far = args.verify.is_some_and(|tolerance| agreement.largest_difference > tolerance);
    if !is_far {
        other.loaded().save(&args.files.output)?;
    }
    report.print(args, data.as_ref(), &agreement, !is_far)?;
    if let (true, Some(tolerance)) = (is_far, args.verify) {
        let difference = agreement.largest_difference;
        output::note(&format!(
            "a logit differs by {difference:.3e}, more than {tolerance:e}; nothing is written"
        ));
        return Ok(ExitStatus::No);
    }
    Ok(ExitStatus::Done)
}

/// Asks both networks about the same pictures.
fn compare(
    one: &mut Classifier,
    other: &mut Classifier,
    data: Option<&Dataset>,
    images: Option<usize>,
) -> Result<Agreement> {
    let preprocess = one.loaded().info.preprocess.clone();
    let mut agreement = Agreement::default();
    let Some(data) = data else {
        let side = preprocess.crop;
        let channels = preprocess.len() / (side * side);
        let pictures = formula::input("input", &[RANDOM_IMAGES, channels, side, side]);
        for picture in pictures.data().chunks(8 * preprocess.len()) {
            agreement.add(one, other, picture)?;
        }
        return Ok(agreement);
    };
    let count = images.unwrap_or(data.len()).min(data.len());
    if count == 0 {
        bail!("{}: expected pictures, found none", data.name());
    }
    let mut bar = Progress::new("compare", count as u64);
    for first in (0..count).step_by(BATCH) {
        let mut batch = Vec::new();
        for index in first..count.min(first + BATCH) {
            batch.extend(preprocess.apply(&data.image(index)?));
        }
        agreement.add(one, other, &batch)?;
        bar.set(agreement.images as u64, &format!("difference {:.1e}", agreement.largest_difference));
    }
    Ok(agreement)
}

/// What is known before the comparison.
struct Report {
    verb: &'static str,
    architectures: [String; 2],
    parameters: [u64; 2],
    convolution_weights: [u64; 2],
}

/// The stable form.
#[derive(Serialize)]
struct Json<'a> {
    model: &'a str,
    output: String,
    written: bool,
    architecture: [&'a str; 2],
    parameters: [u64; 2],
    convolution_weights: [u64; 2],
    data: &'a str,
    images: usize,
    same_class: usize,
    largest_difference: f64,
    largest_logit: f64,
}

impl Report {
    fn new(args: &RewriteArgs, verb: &'static str, before: &Loaded, after: &Loaded) -> Self {
        let both = [before, after];
        let convolution_weights = both.map(|loaded| {
            let filters = loaded.model.graph.params().iter().filter(|param| param.shape.len() == 4);
            filters.map(|param| param.len() as u64).sum()
        });
        let report = Self {
            verb,
            architectures: both.map(|loaded| loaded.model.name.clone()),
            parameters: both.map(|loaded| loaded.model.graph.parameter_count()),
            convolution_weights,
        };
        output::note(&format!(
            "{}: {} becomes {}",
            args.files.input, report.architectures[0], report.architectures[1]
        ));
        report
    }

    fn print(
        &self,
        args: &RewriteArgs,
        data: Option<&Dataset>,
        agreement: &Agreement,
        written: bool,
    ) -> Result<()> {
        let data = data.map_or("random pictures", Dataset::name);
        let Agreement { images, same_class, largest_difference, largest_logit } = *agreement;
        let output = args.files.output.display().to_string();
        if args.json {
            let json = Json {
                model: &args.files.input,
                output,
                written,
                architecture: self.architectures.each_ref().map(String::as_str),
                parameters: self.parameters,
                convolution_weights: self.convolution_weights,
                data,
                images,
                same_class,
                largest_difference,
                largest_logit,
            };
            return output::json(self.verb, json);
        }
        let pair =
            |[before, after]: [u64; 2]| format!("{} → {}", output::grouped(before), output::grouped(after));
        let mut facts = Table::pairs();
        facts.pair("network", format!("{} → {}", self.architectures[0], self.architectures[1]));
        facts.pair("parameters", pair(self.parameters));
        facts.pair("convolution weights", pair(self.convolution_weights));
        facts.pair("compared on", format!("{images} images, {data}"));
        facts.pair(
            "largest difference",
            format!("{largest_difference:.3e} (largest logit {largest_logit:.3})"),
        );
        facts.pair("same class", format!("{same_class} of {images}"));
        facts.pair("written", if written { output } else { "nothing".to_owned() });
        output::data(&facts.render())
    }
}
