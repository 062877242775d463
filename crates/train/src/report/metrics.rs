//! Following a `metrics.jsonl` that grows, in memory that does not.

use std::path::PathBuf;

use residuum_formats::disk;
use serde::Serialize;

use crate::error::Result;
use crate::run_folder::{MetricsLine, Phase};

/// Points of a curve over the steps: between this many and half of it, once there are so many steps.
const MAX_POINTS: usize = 1200;
/// Epochs that are kept, the latest.
const MAX_EPOCHS: usize = 10_000;
/// Bytes read at once, and the longest line that is understood.
const PIECE_BYTES: usize = 1 << 20;

/// Curves over the steps, column by column. A point is the mean of neighbouring steps, as many for each.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Steps {
    /// Steps of a point.
    pub width: u64,
    /// The last step of each point.
    pub step: Vec<u64>,
    /// Mean loss.
    pub loss: Vec<f32>,
    /// Mean error on the batches in percent.
    pub error: Vec<f32>,
    /// Learning rate of the last step.
    pub lr: Vec<f32>,
    /// Pictures a second over all steps of the point.
    pub images_per_second: Vec<f32>,
    /// Seconds of training until its end.
    pub wall_s: Vec<f32>,
}

/// Results of an epoch. Errors in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpochPoint {
    /// Counted from 1.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// Mean loss over its steps.
    pub train_loss: f64,
    /// Error over its steps.
    pub train_error: f64,
    /// Loss on the test pictures.
    pub test_loss: f64,
    /// Error on the test pictures.
    pub test_error: f64,
    /// Share of the test pictures whose class was not among the first five.
    pub test_error5: Option<f64>,
    /// Learning rate of its last step.
    pub lr: f64,
    /// Training pictures a second over its steps.
    pub images_per_second: f64,
    /// Seconds of training until its evaluation was done.
    pub wall_s: f64,
}

/// Sums over neighbouring steps.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    steps: u64,
    last: u64,
    loss: f64,
    error: f64,
    /// Of the reciprocals of speeds: the time of one picture.
    picture_s: f64,
    lr: f64,
    wall_s: f64,
}

impl Sums {
    fn add(&mut self, line: &MetricsLine) {
        self.join(&Self {
            steps: 1,
            last: line.step,
            loss: line.loss,
            error: 100.0 - line.top1,
            picture_s: 1.0 / line.images_per_second.max(f64::MIN_POSITIVE),
            lr: line.lr,
            wall_s: line.wall_s,
        });
    }

    /// Takes in the steps that come next.
    fn join(&mut self, next: &Self) {
        self.steps += next.steps;
        self.loss += next.loss;
        self.error += next.error;
        self.picture_s += next.picture_s;
        (self.last, self.lr, self.wall_s) = (next.last, next.lr, next.wall_s);
    }

    fn mean(&self, sum: f64) -> f64 {
        sum / self.steps.max(1) as f64
    }

    fn images_per_second(&self) -> f64 {
        self.steps as f64 / self.picture_s.max(f64::MIN_POSITIVE)
    }
}

/// The curves, thinned by half whenever there are too many points.
#[derive(Debug)]
struct Thinned {
    width: u64,
    points: Vec<Sums>,
}

impl Thinned {
    fn add(&mut self, line: &MetricsLine) {
        if self.points.last().is_none_or(|last| last.steps == self.width) {
            if self.points.len() == MAX_POINTS {
                self.halve();
            }
            self.points.push(Sums::default());
        }
        let last = self.points.last_mut().expect("one has just been made if there was none");
        last.add(line);
    }

    fn halve(&mut self) {
        let joined = self.points.chunks(2).map(|pair| {
            let mut sums = pair[0];
            pair[1..].iter().for_each(|next| sums.join(next));
            sums
        });
        self.points = joined.collect();
        self.width *= 2;
    }
}

/// Reads on where it stopped reading.
#[derive(Debug)]
pub(super) struct Metrics {
    path: PathBuf,
    /// Bytes read, whole lines all of them.
    offset: u64,
    /// The last line read; if it is no longer in its place, the file is another.
    last_line: Vec<u8>,
    steps: Thinned,
    epoch: Sums,
    epochs: Vec<EpochPoint>,
    latest: Option<MetricsLine>,
}

impl Metrics {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            offset: 0,
            last_line: Vec::new(),
            steps: Thinned { width: 1, points: Vec::new() },
            epoch: Sums::default(),
            epochs: Vec::new(),
            latest: None,
        }
    }

    /// Reads what was written since the last time. A file that was cut, as a resume does, is read anew.
    pub(super) fn read(&mut self) -> Result<()> {
        if !disk::exists(&self.path) {
            *self = Self::new(std::mem::take(&mut self.path));
            return Ok(());
        }
        let start = self.offset - self.last_line.len() as u64;
        if disk::read_from(&self.path, start, self.last_line.len())? != self.last_line {
            *self = Self::new(std::mem::take(&mut self.path));
        }
        loop {
            let piece = disk::read_from(&self.path, self.offset, PIECE_BYTES)?;
            let Some(end) = piece.iter().rposition(|&byte| byte == b'\n') else { return Ok(()) };
            for line in piece[..=end].split_inclusive(|&byte| byte == b'\n') {
                self.take(line);
            }
            self.offset += end as u64 + 1;
        }
    }

    /// A line that is no line of metrics is passed over.
    fn take(&mut self, bytes: &[u8]) {
        bytes.clone_into(&mut self.last_line);
        let Ok(line) = serde_json::from_slice::<MetricsLine>(bytes) else { return };
        match line.phase {
            Phase::Train => {
                self.steps.add(&line);
                self.epoch.add(&line);
                self.latest = Some(line);
            }
            Phase::Eval => self.end_epoch(&line),
        }
    }

    fn end_epoch(&mut self, line: &MetricsLine) {
        let sums = std::mem::take(&mut self.epoch);
        if self.epochs.len() == MAX_EPOCHS {
            self.epochs.remove(0);
        }
        self.epochs.push(EpochPoint {
            epoch: line.epoch,
            step: line.step,
            train_loss: sums.mean(sums.loss),
            train_error: sums.mean(sums.error),
            test_loss: line.loss,
            test_error: 100.0 - line.top1,
            test_error5: line.top5.map(|top5| 100.0 - top5),
            lr: line.lr,
            images_per_second: sums.images_per_second(),
            wall_s: line.wall_s,
        });
    }

    pub(super) fn steps(&self) -> Steps {
        let mut steps = Steps { width: self.steps.width, ..Steps::default() };
        for point in &self.steps.points {
            steps.step.push(point.last);
            steps.loss.push(point.mean(point.loss) as f32);
            steps.error.push(point.mean(point.error) as f32);
            steps.lr.push(point.lr as f32);
            steps.images_per_second.push(point.images_per_second() as f32);
            steps.wall_s.push(point.wall_s as f32);
        }
        steps
    }

    pub(super) fn epochs(&self) -> &[EpochPoint] {
        &self.epochs
    }

    /// The last step.
    pub(super) fn latest(&self) -> Option<&MetricsLine> {
        self.latest.as_ref()
    }

    /// Pictures a second at the last point of the curves.
    pub(super) fn speed(&self) -> Option<f64> {
        self.steps.points.last().map(Sums::images_per_second)
    }

    /// Bytes read so far: changes with everything that is read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn line(step: u64, phase: &str, loss: f64) -> String {
        format!(
            "{{\"step\":{step},\"epoch\":1,\"phase\":\"{phase}\",\"loss\":{loss},\"top1\":75.0,\"lr\":0.1,\
             \"images_per_second\":100.0,\"wall_s\":{step}.5}}\n"
        )
    }

    fn steps(range: std::ops::RangeInclusive<u64>) -> String {
        range.fold(String::new(), |mut text, step| {
            let _ = write!(text, "{}", line(step, "train", step as f64));
            text
        })
    }

    #[test]
    fn a_growing_file_is_read_on_and_a_cut_one_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut metrics = Metrics::new(path.clone());
        metrics.read().unwrap();
        assert!(metrics.steps().step.is_empty());

        let torn = line(4, "train", 4.0);
        let (head, tail) = torn.split_at(20);
        std::fs::write(&path, steps(1..=3) + head).unwrap();
        metrics.read().unwrap();
        assert_eq!(metrics.steps().step, [1, 2, 3]);
        std::fs::write(&path, steps(1..=3) + head + tail + "no metrics\n" + &line(4, "eval", 9.0)).unwrap();
        metrics.read().unwrap();
        metrics.read().unwrap();
        assert_eq!(metrics.steps().step, [1, 2, 3, 4]);
        let epoch = &metrics.epochs()[0];
        assert_eq!((epoch.train_loss, epoch.test_loss, epoch.test_error), (2.5, 9.0, 25.0));
        assert!((epoch.images_per_second - 100.0).abs() < 1e-9);

        // Cut after two steps, and grown beyond its old length before anybody looked.
        std::fs::write(&path, steps(1..=2) + &steps(10..=30)).unwrap();
        metrics.read().unwrap();
        assert_eq!((metrics.steps().step.len(), metrics.epochs().len()), (23, 0));
        std::fs::remove_file(&path).unwrap();
        metrics.read().unwrap();
        assert!(metrics.steps().step.is_empty());
    }

    #[test]
    fn a_long_run_needs_no_more_points_than_a_short_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let count = 11 * MAX_POINTS as u64 + 5;
        std::fs::write(&path, steps(1..=count)).unwrap();
        let mut metrics = Metrics::new(path);
        metrics.read().unwrap();
        let found = metrics.steps();
        assert_eq!(found.width, 16);
        assert_eq!(found.step.len() as u64, count.div_ceil(16));
        assert_eq!((found.step[0], found.loss[0]), (16, 8.5));
        assert_eq!(found.step.last(), Some(&count));
        assert_eq!(metrics.latest().unwrap().step, count);
    }
}
