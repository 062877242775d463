//! The forms in which evaluations are printed and written.

use std::fmt::Write as _;

use residuum::classify::Evaluation;
use residuum::data::{Dataset, Split};
use serde::Serialize;

use crate::output::{self, Table};

/// An evaluation with the names around it.
pub(super) struct Outcome<'a> {
    /// As the user wrote it, or `ensemble`.
    pub(super) model: &'a str,
    architecture: String,
    data: &'a Dataset,
    split: Split,
    pub(super) evaluation: Evaluation,
}

/// The stable form.
#[derive(Serialize)]
pub(super) struct Json<'a> {
    model: &'a str,
    architecture: &'a str,
    data: &'a str,
    split: String,
    images: usize,
    correct: usize,
    top1: f64,
    top5: f64,
    top1_error: f64,
    top5_error: f64,
    loss: f64,
    classes: Vec<JsonClass<'a>>,
    seconds: f64,
    images_per_second: f64,
    skipped: usize,
}

#[derive(Serialize)]
struct JsonClass<'a> {
    name: &'a str,
    images: usize,
    correct: usize,
    top1: f64,
}

impl<'a> Outcome<'a> {
    pub(super) fn new(
        model: &'a str,
        architecture: &str,
        data: &'a Dataset,
        split: Split,
        evaluation: Evaluation,
    ) -> Self {
        Self { model, architecture: architecture.to_owned(), data, split, evaluation }
    }

    pub(super) fn json(&self) -> Json<'_> {
        let e = &self.evaluation;
        let classes = e.classes.iter().map(|class| JsonClass {
            name: &class.name,
            images: class.images,
            correct: class.correct,
            top1: class.top1(),
        });
        Json {
            model: self.model,
            architecture: &self.architecture,
            data: self.data.name(),
            split: self.split.to_string(),
            images: e.images,
            correct: e.correct,
            top1: e.top1(),
            top5: e.top5(),
            top1_error: 100.0 - e.top1(),
            top5_error: 100.0 - e.top5(),
            loss: e.loss,
            classes: classes.collect(),
            seconds: e.seconds,
            images_per_second: e.images_per_second(),
            skipped: e.skipped.len(),
        }
    }

    pub(super) fn text(&self) -> String {
        let e = &self.evaluation;
        let mut facts = Table::pairs();
        facts.pair("model", format!("{} ({})", self.model, self.architecture));
        facts.pair("data", format!("{} {}", self.data.name(), self.split));
        facts.pair("images", e.images.to_string());
        if !e.skipped.is_empty() {
            facts.pair("skipped", e.skipped.len().to_string());
        }
        facts.pair("correct", e.correct.to_string());
        for (name, accuracy) in [("top-1", e.top1()), ("top-5", e.top5())] {
            facts.pair(name, format!("{accuracy:.2} %, error {:.2} %", 100.0 - accuracy));
        }
        facts.pair("loss", format!("{:.5}", e.loss));
        facts.pair("time", format!("{:.2} s, {:.1} images/s", e.seconds, e.images_per_second()));
        facts.render()
    }

    /// The classes, the worst first; equal ones in the data's order.
    pub(super) fn per_class(&self) -> String {
        let mut classes: Vec<_> = self.evaluation.classes.iter().collect();
        classes.sort_by(|a, b| a.top1().total_cmp(&b.top1()));
        let mut table = Table::new(&["class", "images", "correct", "top-1 %"]);
        for class in classes {
            let top1 = format!("{:.2}", class.top1());
            table.row([class.name.clone(), class.images.to_string(), class.correct.to_string(), top1]);
        }
        table.render()
    }

    /// True classes down, predicted classes across.
    pub(super) fn confusion(&self) -> String {
        let mut text = String::from("class");
        for name in &self.evaluation.answers {
            let _ = write!(text, ",{}", output::csv_field(name));
        }
        text.push('\n');
        for (class, row) in self.evaluation.classes.iter().zip(&self.evaluation.confusion) {
            text.push_str(&output::csv_field(&class.name));
            for count in row {
                let _ = write!(text, ",{count}");
            }
            text.push('\n');
        }
        text
    }
}

/// Several models under each other.
pub(super) fn comparison(results: &[Outcome<'_>]) -> String {
    let titles = [
        "model",
        "network",
        "images",
        "correct",
        "top-1 %",
        "top-5 %",
        "error %",
        "top-5 error %",
        "loss",
        "images/s",
    ];
    let mut table = Table::new(&titles).left(&[0, 1]);
    for result in results {
        let e = &result.evaluation;
        table.row([
            result.model.to_owned(),
            result.architecture.clone(),
            e.images.to_string(),
            e.correct.to_string(),
            format!("{:.2}", e.top1()),
            format!("{:.2}", e.top5()),
            format!("{:.2}", 100.0 - e.top1()),
            format!("{:.2}", 100.0 - e.top5()),
            format!("{:.5}", e.loss),
            format!("{:.1}", e.images_per_second()),
        ]);
    }
    table.render()
}
