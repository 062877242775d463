//! A study of a network that is given.

use anyhow::{Result, bail};
use residuum::experiments::{Channels, Examination, Outcome, Study, StudyOptions, StudyReport};
use serde::Serialize;

use super::{Args, Display};
use crate::command::load;
use crate::command::train::{listen, quoted};
use crate::exit::ExitStatus;
use crate::output::{self, Table};

/// Channels of each stage that are shown unless others are asked for.
const MOST_VARIED: usize = 3;

pub(super) fn run(args: &Args, study: &'static Study) -> Result<ExitStatus> {
    let Some(path) = &args.model_path else {
        bail!("{}: expected a MODEL to look into, found none", study.name)
    };
    if args.scale.is_some() || args.seed.is_some() {
        bail!("{}: --scale and --seed are for experiments that train", study.name);
    }
    let loaded = load(path, args.model.as_deref())?;
    let options = StudyOptions {
        data: args.data.clone(),
        images: args.images,
        channels: match &args.channels[..] {
            [] => Channels::MostVaried(args.most_varied.unwrap_or(MOST_VARIED)),
            these => Channels::These(these.to_vec()),
        },
        output: args.output.clone(),
    };
    let stop = listen()?;
    let engine = args.engine.engine()?;
    let examination = Examination::open(&engine, study, &loaded, &options)?;
    let folder = examination.folder().display().to_string();
    output::note(&format!("{}, {}; results go to {folder}", study.paper, study.figure));
    let report = match examination.run(&stop, &mut Display::new())? {
        Outcome::Finished(report) => report,
        Outcome::WasDone(report) => {
            output::note(&format!("everything was done before; {folder} is left as it is"));
            report
        }
        Outcome::Interrupted => {
            output::note(&format!("stopped and saved; go on with: {}", command(args, study, path)));
            return Ok(ExitStatus::Interrupted);
        }
    };
    print(&report, &folder, args.json)?;
    Ok(ExitStatus::Done)
}

/// The command that goes on.
fn command(args: &Args, study: &Study, path: &str) -> String {
    let mut words = vec!["residuum reproduce".to_owned(), study.name.to_owned(), quoted(path)];
    let channels: Vec<String> = args.channels.iter().map(ToString::to_string).collect();
    let flags = [
        ("--data", Some(args.data.clone())),
        ("--model", args.model.clone()),
        ("--images", args.images.map(|count| count.to_string())),
        ("--most-varied", args.most_varied.map(|count| count.to_string())),
        ("--channels", (!channels.is_empty()).then(|| channels.join(","))),
        ("--output", args.output.as_ref().map(|output| output.display().to_string())),
    ];
    for (flag, value) in flags {
        words.extend(value.map(|value| format!("{flag} {}", quoted(&value))));
    }
    words.join(" ")
}

#[derive(Serialize)]
struct Found<'a> {
    folder: &'a str,
    #[serde(flatten)]
    report: &'a StudyReport,
}

fn print(report: &StudyReport, folder: &str, is_json: bool) -> Result<()> {
    if is_json {
        return output::json("study", Found { folder, report });
    }
    let mut table = Table::new(&["block", "sees", "F(x)/x", "correlation", "kept, %"]).left(&[0]);
    // The stage is the beginning of the block's name.
    report.table.rows.iter().for_each(|row| table.row(row.iter().skip(1).cloned()));
    let lines = report.sentences.iter().fold(String::new(), |text, line| text + line + "\n");
    output::data(&format!("{}\n{lines}\nsee          {folder}/report.html", table.render()))
}
