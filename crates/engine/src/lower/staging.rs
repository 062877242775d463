//! Groups of images, and how long values live.

use residuum_tensor::MapLayout;

use super::Lowering;
use crate::fuse::Fusion;
use crate::stages::{Schedule, Stage};

impl Lowering<'_> {
    /// How many images each step sees. Statistics of a batch want all of them, and so do values that are read again by
    /// steps of another run.
    pub(super) fn scheduled(&self, fusion: &Fusion) -> Schedule {
        if !self.in_groups {
            return Schedule::whole_batch(fusion, self.batch);
        }
        let floats = |id| MapLayout { n: 1, ..self.layout_of(id) }.len();
        Schedule::new(self.graph, fusion, &self.seats, self.kept, self.batch, self.threads, floats)
    }

    /// From here on steps see `images` at a time, and those parts of the values of the whole batch.
    pub(super) fn enter_stage(&mut self, images: usize) {
        if images == self.n {
            return;
        }
        self.end_stage();
        self.n = images;
        for id in self.graph.ids() {
            let Some(&value) = self.value_of.get(&id) else { continue };
            let mut view = self.views[value.0];
            if self.storages[view.storage].layout.n == self.batch && view.layout.n != images {
                view.layout.n = images;
                self.view(id, view);
            }
        }
    }

    pub(super) fn end_stage(&mut self) {
        let steps = self.stages.last().map_or(0, |stage| stage.steps.end)..self.lowered.len();
        if !steps.is_empty() {
            self.stages.push(Stage { steps, images: self.n, groups: self.batch / self.n });
        }
    }

    /// A value lives from its step to its last reader; what was asked for lives to the end.
    pub(super) fn measure_lifetimes(&mut self) {
        for stage in &self.stages {
            for index in stage.steps.clone() {
                let step = &self.lowered[index];
                for value in step.reads().into_iter().chain([step.out]) {
                    let storage = &mut self.storages[self.views[value.0].storage];
                    // What holds more images than the stage sees lives while any of its groups run.
                    if storage.layout.n > stage.images {
                        storage.first = storage.first.min(stage.steps.start);
                        storage.last = stage.steps.end - 1;
                    } else {
                        storage.last = index;
                    }
                }
            }
        }
        let end = self.lowered.len();
        let kept = self.kept.iter().filter_map(|node| self.value_of.get(node));
        for value in kept.chain(self.gradients.values()) {
            self.storages[self.views[value.0].storage].last = end;
        }
    }
}
