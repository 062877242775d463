//! What a run tells while it goes on.

use crate::progress::EpochRecord;

/// Listens to a run. Every method may be left out.
pub trait Observer {
    /// The run begins or goes on.
    fn on_start(&mut self, plan: &Plan) {
        let _ = plan;
    }

    /// Something the user should know.
    fn on_note(&mut self, note: &str) {
        let _ = note;
    }

    /// Part of the mean image is taken: so many of all training pictures.
    fn on_mean(&mut self, images: usize, all: usize) {
        let _ = (images, all);
    }

    /// A step is done.
    fn on_step(&mut self, step: &Step) {
        let _ = step;
    }

    /// Part of an evaluation is done: so many of all test pictures.
    fn on_evaluation(&mut self, images: usize, all: usize) {
        let _ = (images, all);
    }

    /// An epoch is evaluated and saved; `is_best` tells that no earlier one was as good.
    fn on_epoch(&mut self, record: &EpochRecord, is_best: bool) {
        let _ = (record, is_best);
    }
}

/// Listens to nothing.
impl Observer for () {}

/// What a run is going to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Steps of a whole epoch.
    pub epoch_steps: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps that were done before.
    pub steps_done: u64,
    /// Training pictures.
    pub train_images: usize,
    /// Test pictures.
    pub test_images: usize,
    /// Memory that the compiled network needs at most.
    pub peak_bytes: usize,
}

/// One step of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Steps done, this one included.
    pub step: u64,
    /// Epoch, counted from 1.
    pub epoch: u64,
    /// Steps of this epoch done, this one included.
    pub epoch_step: u64,
    /// Mean loss of the batch.
    pub loss: f64,
    /// Accuracy on the batch in percent.
    pub top1: f64,
    /// Mean loss of the epoch so far.
    pub mean_loss: f64,
    /// Accuracy of the epoch so far in percent.
    pub mean_top1: f64,
    /// Learning rate.
    pub lr: f64,
    /// Pictures a second, from one step's end to the next.
    pub images_per_second: f64,
}
