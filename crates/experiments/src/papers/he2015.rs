//! He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (arXiv 1512.03385, 2015).

use residuum_classify::{Classifier, EvaluateOptions};
use residuum_data::sample;
use residuum_explain::{Subject, response_std};
use residuum_plot::{Axis, Chart, Figure, Line, Series};
use residuum_train::Recipe;

use super::{ERRORS, compared, error_row, named, preset, ranking, training_error};
use crate::charts::{Curves, over_iterations};
use crate::error::Result;
use crate::experiment::{Experiment, Findings, Picture, Run, Start};
use crate::reproduction::{Results, RunResult};
use crate::setting::{Scale, Setting};
use crate::table::{Table, percent};

const PAPER: &str = "He et al. 2015, arXiv 1512.03385";
const PROTOCOL: &str = "64,000 iterations of 128 pictures, SGD with momentum 0.9, weight decay 1e-4, learning rate 0.1, \
    divided by 10 after 32,000 and 48,000 iterations; 110 layers begin with 400 iterations at 0.01. Pictures are \
    padded by 4, cut out at random and mirrored by chance; colours are normalised by mean and deviation where the \
    paper subtracts the mean picture. On data of another size than CIFAR's a run also ends after 165 epochs.";

/// Fig. 6 without the 1202 layers: depth with and without shortcuts.
pub(super) const DEGRADATION: Experiment = Experiment {
    name: "he2015-degradation",
    title: "Degradation: deeper plain nets train worse, deeper residual nets do not",
    paper: PAPER,
    figure: "fig. 6",
    question: "Plain nets and residual nets of the same layers, over depth. In the paper the deeper plain net has the \
        higher error in training already, so that it is no overfitting; with shortcuts the deeper net is the better.",
    protocol: PROTOCOL,
    scaled_down: &[],
    runs: by_depth,
    findings: degradation,
};

fn depths(setting: &Setting) -> &'static [usize] {
    match setting.scale {
        Scale::Quick => &[20, 32],
        Scale::Paper => &[20, 32, 44, 56, 110],
    }
}

/// §4.2; nets of 110 layers have a recipe of their own.
fn he2015_cifar(setting: &Setting, model: &str) -> Result<Recipe> {
    preset(setting, if model.ends_with("110") { "he2015-cifar-110" } else { "he2015-cifar" }, model)
}

fn by_depth(setting: &Setting) -> Vec<Run> {
    nets(depths(setting), he2015_cifar)
}

/// Plain nets of these depths, then residual ones.
fn nets(depths: &[usize], recipe: MakesRecipe) -> Vec<Run> {
    let of = |kind: &'static str| {
        depths
            .iter()
            .map(move |depth| Run::new(format!("{kind}-{depth}"), format!("cifar_{kind}{depth}"), recipe))
    };
    of("plain").chain(of("resnet")).collect()
}

/// Table 6, test error; plain nets are drawn in fig. 6 only.
fn published_depth(run: &RunResult) -> &'static str {
    match run.run.name.as_str() {
        "resnet-20" => "8.75",
        "resnet-32" => "7.51",
        "resnet-44" => "7.17",
        "resnet-56" => "6.97",
        "resnet-110" => "6.43 (best of 5; 6.61 ± 0.16)",
        "plain-110" => "above 60, not drawn",
        _ => "drawn only: worse with depth",
    }
}

fn degradation(results: &Results<'_>) -> Result<Findings> {
    let of = |kind: &str| -> Vec<&RunResult> {
        results.runs.iter().filter(|run| run.run.name.starts_with(kind)).collect()
    };
    let kinds = [("plain", "plain nets"), ("resnet", "residual nets")];
    let mut table = Table::new(&ERRORS);
    table.rows = results.runs.iter().map(|run| error_row(run, &run.run.name, published_depth(run))).collect();
    let charts = kinds
        .map(|(kind, title)| over_iterations(title, Curves::Errors, &of(kind), |run| run.run.name.clone()));
    let (mut sentences, mut rises) = (Vec::new(), Vec::new());
    for (kind, title) in kinds {
        if let [shallow, .., deep] = of(kind)[..] {
            let rise = Rise::between(shallow, deep);
            sentences.push(rise.sentence(title));
            rises.push(rise);
        }
    }
    let shows = match &rises[..] {
        [plain, residual] => Some(plain.is_clear() && !residual.is_clear()),
        _ => None,
    };
    let title = format!("Error over iterations, {}", results.setting.data);
    let figure = Figure::new(title, charts.into());
    Ok(Findings { pictures: vec![Picture { stem: "curves", figure }], table, sentences, shows })
}

/// How the training error changes from a shallow net to a deep one.
struct Rise {
    layers: [usize; 2],
    errors: [f64; 2],
    /// Two standard errors of the difference.
    uncertainty: f64,
}

impl Rise {
    fn between(shallow: &RunResult, deep: &RunResult) -> Self {
        let both = [shallow, deep];
        Self {
            layers: both.map(|run| run.record.depth),
            errors: both.map(training_error),
            uncertainty: shallow.record.uncertainty().hypot(deep.record.uncertainty()),
        }
    }

    fn is_clear(&self) -> bool {
        self.errors[1] - self.errors[0] > self.uncertainty
    }

    fn sentence(&self, who: &str) -> String {
        let ([from, to], [first, last]) = (self.layers, self.errors);
        let verdict = if self.is_clear() {
            "the deeper net trains worse"
        } else if last < first - self.uncertainty {
            "the deeper net trains better"
        } else {
            "no clear difference"
        };
        format!(
            "Of {who} the training error goes from {} % with {from} layers to {} % with {to} (two standard errors of \
             the difference: {}): {verdict}.",
            percent(first),
            percent(last),
            percent(self.uncertainty)
        )
    }
}

/// Fig. 7: how strongly layers respond.
pub(super) const RESPONSES: Experiment = Experiment {
    name: "he2015-responses",
    title: "Layer responses: residual nets respond less than plain nets, deeper ones less per layer",
    paper: PAPER,
    figure: "fig. 7",
    question: "The standard deviation of every layer's response after its batch norm and before anything else, in the \
        nets' order and sorted. In the paper residual nets respond less than plain nets, and deeper residual nets less \
        per layer: shortcuts make what a layer adds small.",
    protocol: PROTOCOL,
    scaled_down: &[],
    runs: for_responses,
    findings: responses,
};

/// Test pictures that responses are measured on.
const RESPONSE_IMAGES: usize = 256;

/// Weight decay at the quick scale: over so few steps it pulls scales of batch norms towards zero about as far
/// as the paper's does over all of its run.
const QUICK_DECAY: f64 = 5e-3;

fn for_responses(setting: &Setting) -> Vec<Run> {
    let Scale::Paper = setting.scale else { return nets(&[20, 32], responding) };
    let drawn = ["plain-20", "plain-56", "resnet-20", "resnet-56", "resnet-110"];
    by_depth(setting).into_iter().filter(|run| drawn.contains(&run.name.as_str())).collect()
}

fn responding(setting: &Setting, model: &str) -> Result<Recipe> {
    let mut recipe = he2015_cifar(setting, model)?;
    recipe.optimiser.weight_decay = QUICK_DECAY;
    Ok(recipe)
}

fn responses(results: &Results<'_>) -> Result<Findings> {
    let axis = || Axis::new("standard deviation").from_zero();
    let mut in_order = Chart::new(Axis::new("layer"), axis()).titled("in the net's order");
    let mut sorted = Chart::new(Axis::new("layer, by magnitude"), axis()).titled("sorted");
    let mut table =
        Table::new(&["network", "layers", "mean response", "largest", "smallest", "published (CIFAR-10)"]);
    let mut means = Vec::new();
    for (colour, run) in results.runs.iter().enumerate() {
        let net = run.trained()?;
        let images = sample(&results.data.test, &net.info.preprocess, RESPONSE_IMAGES)?;
        let subject = Subject { engine: results.engine, graph: &net.model.graph, weights: &net.weights };
        let mut values: Vec<f64> =
            response_std(&subject, &images, |_| true)?.into_iter().map(|layer| layer.std).collect();
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let line = if run.run.name.starts_with("plain") { Line::Dashed } else { Line::Solid };
        let numbered = |values: &[f64]| (1..).map(f64::from).zip(values.iter().copied()).collect();
        in_order.series.push(Series::new(&run.run.name, colour, line, numbered(&values)));
        values.sort_by(|a, b| b.total_cmp(a));
        sorted.series.push(Series::new(&run.run.name, colour, line, numbered(&values)));
        let end = |value: Option<&f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
        let published = if line == Line::Dashed {
            "drawn only: above the residual nets"
        } else {
            "drawn only: smaller with depth"
        };
        table.rows.push(vec![
            run.run.name.clone(),
            run.record.depth.to_string(),
            format!("{mean:.3}"),
            end(values.first()),
            end(values.last()),
            published.into(),
        ]);
        means.push((run.run.name.as_str(), mean));
    }
    let mean_of = |kind: &str, place: fn(&[f64]) -> Option<f64>| {
        place(
            &means
                .iter()
                .filter(|(name, _)| name.starts_with(kind))
                .map(|(_, mean)| *mean)
                .collect::<Vec<_>>(),
        )
    };
    let first = |values: &[f64]| values.first().copied();
    let last = |values: &[f64]| values.last().copied();
    let (mut sentences, mut shows) = (Vec::new(), None);
    if let (Some(plain), Some(residual), Some(deep)) =
        (mean_of("plain", first), mean_of("resnet", first), mean_of("resnet", last))
    {
        sentences.push(format!(
            "Of the shallowest nets the plain one's mean response is {plain:.3}, the residual one's {residual:.3}; of \
             the deepest residual net it is {deep:.3}."
        ));
        shows = Some(residual < plain && deep < residual);
    }
    let deep_plain = results.runs.iter().rfind(|run| run.run.name.starts_with("plain"));
    if deep_plain.is_some_and(|run| training_error(run) > 50.0) {
        sentences.push(
            "A net that has hardly learnt, as the deep plain one here, responds as its start values make it."
                .into(),
        );
    }
    let figure =
        Figure::new(format!("Responses of trained layers, {}", results.setting.data), vec![in_order, sorted]);
    Ok(Findings { pictures: vec![Picture { stem: "curves", figure }], table, sentences, shows })
}

/// Table 3: shortcut options.
pub(super) const SHORTCUTS: Experiment = Experiment {
    name: "he2015-shortcuts",
    title: "Shortcut options: zero padding (A), projections where shapes change (B), projections everywhere (C)",
    paper: PAPER,
    figure: "table 3",
    question: "Does it matter how shortcuts are made? In the paper all three options are far better than the plain net, B \
        a little better than A, C a little better than B: projections are not essential.",
    protocol: "ImageNet, 34 layers: 120 epochs of batches of 256, SGD with momentum 0.9, weight decay 1e-4, learning \
        rate 0.1, divided by 10 after 30 and 60 epochs; scales 256 to 480, cut out at random and mirrored by chance. \
        Tested with one centre crop where the paper's table has ten crops.",
    scaled_down: &["networks for small pictures: 20 layers with the same three options stand for 34"],
    runs: by_shortcut,
    findings: shortcuts,
};

/// What a run's recipe is made by, from the name of its network.
type MakesRecipe = fn(&Setting, &str) -> Result<Recipe>;

fn by_shortcut(setting: &Setting) -> Vec<Run> {
    let (models, recipe): ([&str; 4], MakesRecipe) = match setting.scale {
        Scale::Quick => {
            (["cifar_plain20", "cifar_resnet20", "cifar_resnet20b", "cifar_resnet20c"], he2015_cifar)
        }
        Scale::Paper => (["plain34", "resnet34a", "resnet34", "resnet34c"], he2015_imagenet),
    };
    let depth = if setting.scale == Scale::Quick { 20 } else { 34 };
    let names = [
        format!("plain-{depth}"),
        format!("resnet-{depth}"),
        format!("resnet-{depth}-b"),
        format!("resnet-{depth}-c"),
    ];
    names.into_iter().zip(models).map(|(name, model)| Run::new(name, model, recipe)).collect()
}

fn he2015_imagenet(setting: &Setting, model: &str) -> Result<Recipe> {
    preset(setting, "he2015-imagenet", model)
}

fn shortcuts(results: &Results<'_>) -> Result<Findings> {
    let published = |run: &RunResult| {
        let place = results.runs.iter().position(|other| other.run.name == run.run.name).unwrap_or_default();
        let known =
            [("no shortcuts", "28.54"), ("option A", "25.03"), ("option B", "24.52"), ("option C", "24.19")];
        let (what, figure) = known[place.min(3)];
        (format!("{} ({what})", run.run.name), figure)
    };
    let shows = match &results.runs[..] {
        [plain, options @ ..] => Some(options.iter().all(|run| training_error(run) < training_error(plain))),
        [] => None,
    };
    let mut found = compared(results, "Shortcut options", published, vec![ranking(results)], shows);
    if let Some(last) = found.table.columns.last_mut() {
        *last = "published top-1 error, % (ImageNet, 34 layers, ten crops)".into();
    }
    Ok(found)
}

/// §1: the solution by construction, and what training makes of it.
pub(super) const IDENTITY: Experiment = Experiment {
    name: "he2015-identity",
    title: "Solution by construction: a deep plain net that begins as a shallow one and layers of identity",
    paper: PAPER,
    figure: "§1",
    question: "A deep plain net can do what a shallow one does: copy its layers and let the others be the identity. The \
        paper says that training does not find such a solution. Here it is given: the shallow net is trained, layers of \
        identity are added, and both are trained on by the same recipe, beside a deep net from start values.",
    protocol: PROTOCOL,
    scaled_down: &[],
    runs: for_identity,
    findings: identity,
};

fn for_identity(setting: &Setting) -> Vec<Run> {
    let depth = if setting.scale == Scale::Quick { 32 } else { 56 };
    let deep = format!("cifar_plain{depth}");
    let from = || "plain-20".to_owned();
    vec![
        Run::new("plain-20", "cifar_plain20", he2015_cifar),
        Run::new(format!("plain-{depth}"), &deep, he2015_cifar),
        Run {
            start: Start::Continued { from: from() },
            ..Run::new("plain-20-continued", "cifar_plain20", he2015_cifar)
        },
        Run {
            start: Start::Deepened { from: from() },
            ..Run::new(format!("plain-{depth}-deepened"), &deep, he2015_cifar)
        },
    ]
}

fn identity(results: &Results<'_>) -> Result<Findings> {
    let [shallow, fresh, continued, deepened] = &results.runs[..] else {
        return Ok(compared(
            results,
            "Identity layers",
            |run| (run.run.name.clone(), "none"),
            Vec::new(),
            None,
        ));
    };
    let start = results.start(deepened)?;
    let mut classifier = Classifier::new(results.engine.clone(), start);
    let begun = classifier.evaluate(&results.data.test, &EvaluateOptions::default(), |_| ())?;
    let begun = 100.0 - begun.top1();
    let sentences = vec![
        format!(
            "With layers of identity the deep net begins with a test error of {} %; the shallow net it was made of has {} %.",
            percent(begun),
            shallow.record.test_error.map_or("no".into(), percent)
        ),
        format!(
            "Trained on, the training error becomes {} % for the deepened net and {} % for the shallow one; from start \
             values the deep net reaches {} %.",
            percent(training_error(deepened)),
            percent(training_error(continued)),
            percent(training_error(fresh))
        ),
    ];
    let mut found =
        compared(results, "Identity layers", |run| (run.run.name.clone(), "none"), sentences, None);
    let difference = shallow.record.test_error.map(|error| (error - begun).abs());
    found.shows =
        difference.map(|difference| difference < 1.0 && training_error(deepened) < training_error(fresh));
    if let Some(series) = named(results, &deepened.run.name).and_then(|run| {
        found.pictures[0].figure.charts[0]
            .series
            .iter_mut()
            .find(|s| s.name == run.run.name && s.line == Line::Solid)
    }) {
        series.points.insert(0, (0.0, begun));
    }
    Ok(found)
}
