//! How the features of a data set lie.

use anyhow::{Result, bail};
use residuum::explain::{Pca, Tsne, feature_layer, features, nearest_neighbours, tsne};
use residuum::plot::{Axis, Chart, Figure, Line, Series};
use serde::Serialize;

use super::study::{Rounds, many, nothing};
use super::{DataArgs, ModelArgs, Numbers, Study};
use crate::exit::ExitStatus;
use crate::output::Table;
use crate::progress::Progress;

/// Features of a data set as PCA and t-SNE show them, coloured by class, with the accuracy of neighbours
///
/// Features are what the classifier reads, or the values of --layer, of maps the means over pixels. Neighbours
/// are by cosine, each image left out of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folder, model file, or foreign file of weights with --model
    #[arg(value_name = "MODEL")]
    path: String,
    #[command(flatten)]
    data: DataArgs,
    /// Layer whose values are the features [default: what the classifier reads]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Effective number of neighbours of t-SNE
    #[arg(long, value_name = "N", default_value = "30", value_parser = perplexity)]
    perplexity: f64,
    /// Steps of t-SNE
    #[arg(long, value_name = "N", default_value = "1000", value_parser = many)]
    steps: usize,
    /// Neighbours that vote
    #[arg(long, value_name = "K", default_value = "10", value_parser = many)]
    neighbours: usize,
    #[command(flatten)]
    common: ModelArgs,
}

const USUAL: usize = 1000;
/// Components of which the variance is told.
const COMPONENTS: usize = 20;
/// Classes with a mark of their own; the rest share one.
const CLASSES: usize = 20;
/// t-SNE compares all pairs.
const MOST: usize = 5000;

fn perplexity(text: &str) -> Result<f64, String> {
    let perplexity = text.parse().ok().filter(|x: &f64| (1.0..=1000.0).contains(x));
    perplexity.ok_or_else(|| "expected a number from 1 to 1000".into())
}

#[derive(Serialize)]
struct Content {
    layer: String,
    width: usize,
    neighbours: usize,
    /// In percent.
    neighbour_accuracy: f64,
    explained: Vec<f64>,
    divergence: f64,
}

pub(super) fn run(args: &Args) -> Result<ExitStatus> {
    let study = Study::new(&args.path, &args.common)?;
    let subject = study.subject();
    let Some(layer) = args.layer.clone().or_else(|| feature_layer(subject.graph)) else {
        bail!("--layer: the network ends in no linear layer; name a layer")
    };
    let sample = study.sample(&args.data, USUAL)?;
    if sample.len() > MOST {
        bail!("--limit: expected at most {MOST} images, as t-SNE compares all pairs, found {}", sample.len());
    }
    if sample.len() < 4 {
        bail!("features: expected at least 4 images, found {}", sample.len());
    }
    let mut rounds = Rounds::new(&study, "features", 1, sample.len());
    let found = features(&subject, &sample.images, &layer, |done| rounds.tell(done, &layer))?;
    drop(rounds);
    if study.is_stopped() {
        return Ok(nothing());
    }
    let (width, labels) = (found.shape()[1], &sample.labels);
    let pca = Pca::new(found.data(), width, COMPONENTS);
    let accuracy = 100.0 * nearest_neighbours(found.data(), width, labels, args.neighbours);
    let mut bar = Progress::new("t-SNE", args.steps as u64);
    let options = Tsne { perplexity: args.perplexity, steps: args.steps };
    let (places, divergence) = tsne(found.data(), width, &options, |done| {
        bar.set(done as u64, "");
        !study.is_stopped()
    });
    drop(bar);
    let plane: Vec<(f64, f64)> =
        pca.coordinates.iter().map(|c| (c[0], c.get(1).copied().unwrap_or(0.0))).collect();
    let places: Vec<(f64, f64)> = places.into_iter().map(|[x, y]| (x, y)).collect();
    let names = &sample.classes;
    let mut numbers = Numbers::new(&["image", "class", "pca1", "pca2", "tsne1", "tsne2"]);
    for (image, (&label, (a, b))) in labels.iter().zip(plane.iter().zip(&places)).enumerate() {
        let [p, q, r, s] = [a.0, a.1, b.0, b.1].map(|x| x.to_string());
        numbers.row([image.to_string(), names[label as usize].clone(), p, q, r, s]);
    }
    let sum = |count: usize| 100.0 * pca.explained.iter().take(count).sum::<f64>();
    let mut table = Table::pairs();
    table.pair("layer", format!("{layer}, {width} features"));
    table.pair("images", sample.len().to_string());
    table.pair(
        "neighbours",
        format!("{accuracy:.2} % of the images have the class of most of their {}", args.neighbours),
    );
    table.pair(
        "variance",
        format!("{:.1} % in 2 components, {:.1} % in {}", sum(2), sum(COMPONENTS), pca.explained.len()),
    );
    table.pair("t-SNE", format!("divergence {divergence:.4} after {} steps at most", args.steps));
    let own = [
        scatter(["first component", "second component"], &plane, labels, names)
            .titled(format!("PCA: {:.1} % of the variance", sum(2))),
        scatter(["", ""], &places, labels, names).titled(format!("t-SNE: perplexity {}", args.perplexity)),
        variance(&pca.explained),
    ];
    let title = format!(
        "Features of {} in {layer}: {accuracy:.1} % agree with their {} neighbours",
        study.name(),
        args.neighbours
    );
    let content = Content {
        layer,
        width,
        neighbours: args.neighbours,
        neighbour_accuracy: accuracy,
        explained: pca.explained.clone(),
        divergence,
    };
    study.finish("features", Some(&sample), &Figure::new(title, own.to_vec()), &numbers, &table, content)
}

/// Points with a mark for each class, whose name stands at its middle.
fn scatter(axes: [&str; 2], points: &[(f64, f64)], labels: &[u32], names: &[String]) -> Chart {
    let [x, y] = axes.map(Axis::new);
    let mut chart = Chart::new(x, y);
    let mut counts = vec![0usize; names.len()];
    for &label in labels {
        counts[label as usize] += 1;
    }
    let mut classes: Vec<usize> = (0..names.len()).filter(|&class| counts[class] > 0).collect();
    classes.sort_by_key(|&class| std::cmp::Reverse(counts[class]));
    classes.truncate(CLASSES);
    classes.sort_unstable();
    let of = |is_own: &dyn Fn(usize) -> bool| -> Vec<(f64, f64)> {
        points
            .iter()
            .zip(labels)
            .filter(|(_, label)| is_own(**label as usize))
            .map(|(point, _)| *point)
            .collect()
    };
    let rest = of(&|class| !classes.contains(&class));
    if !rest.is_empty() {
        chart.series.push(Series::new("others", CLASSES, Line::Marks, rest));
    }
    for (number, &class) in classes.iter().enumerate() {
        let own = of(&|other| other == class);
        chart.names.push((middle(&own), names[class].clone()));
        chart.series.push(Series::new(names[class].clone(), number, Line::Marks, own));
    }
    chart
}

/// Medians along both axes.
fn middle(points: &[(f64, f64)]) -> (f64, f64) {
    let median = |part: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = points.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    (median(|point| point.0), median(|point| point.1))
}

fn variance(explained: &[f64]) -> Chart {
    let mut chart = Chart::new(Axis::new("principal components"), Axis::new("% of the variance").from_zero())
        .titled("variance");
    let numbered = |values: Vec<f64>| (1..).map(f64::from).zip(values).collect();
    let sums = explained.iter().scan(0.0, |sum, share| {
        *sum += 100.0 * share;
        Some(*sum)
    });
    chart.series.push(Series::new("all up to this one", 0, Line::Solid, numbered(sums.collect())));
    let own = explained.iter().map(|share| 100.0 * share).collect();
    chart.series.push(Series::new("this one", 1, Line::Dashed, numbered(own)));
    chart
}
