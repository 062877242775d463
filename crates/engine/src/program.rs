//! Steps, their places and their memory: what inference and training have in common.

use std::ops::Range;
use std::time::{Duration, Instant};

use residuum_graph::DropPath;
use residuum_kernels::conv::WorkingMemory;
use residuum_kernels::loss::{Loss, Targets};
use residuum_kernels::{Draws, Isa, rearrange};
use residuum_tensor::{AlignedBuffer, MapLayout, Tensor, bytes};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::gates::gate_factors;
use crate::int8::Int8;
use crate::lower::Lowered;
use crate::memory::allocate;
use crate::plan::{Plan, PlanSummary, Spare, Storage, plan};
use crate::profile::StepTime;
use crate::stages::Stage;
use crate::step::{Action, Run, Step, ValueId};
use crate::threads::Threads;

/// What goes into one run.
#[derive(Clone, Copy)]
pub(crate) struct Feed<'a> {
    pub(crate) images: &'a [f32],
    pub(crate) seed: &'a [f32],
    pub(crate) targets: Targets<'a>,
    pub(crate) loss: Loss,
    pub(crate) label_smoothing: f32,
    pub(crate) norm_momentum: f32,
    pub(crate) draws: Draws,
    pub(crate) gates: Option<&'a [bool]>,
}

impl<'a> Feed<'a> {
    /// Images to be answered.
    pub(crate) const fn images(images: &'a [f32]) -> Self {
        let draws = Draws::new(0, 0);
        let targets = Targets { labels: &[], mixed: None };
        let loss = Loss::Softmax;
        Self {
            images,
            seed: &[],
            targets,
            loss,
            label_smoothing: 0.0,
            norm_momentum: 0.0,
            draws,
            gates: None,
        }
    }
}

/// A compiled graph with its memory.
pub(crate) struct Program {
    threads: Threads,
    isa: Isa,
    steps: Vec<Step>,
    stages: Vec<Stage>,
    plan: Plan,
    unshared_bytes: usize,
    arena: AlignedBuffer,
    /// Parameters and constants.
    pub(crate) store: AlignedBuffer,
    /// Filters that never change, packed.
    packed: AlignedBuffer,
    scratch: AlignedBuffer,
    images: ValueId,
    gates: Vec<DropPath>,
    /// Whoever runs it leads the threads.
    is_led: bool,
}

impl Program {
    /// Gives every value its place and allocates.
    pub(crate) fn new(engine: &Engine, lowered: Lowered) -> Result<Self, EngineError> {
        Self::with(engine, lowered, false)
    }

    /// The same, led by whoever runs it instead of handed to the pool: for forward passes, whose steps may be shorter than the
    /// way to the pool and back. Their kernels have no loops but those of a crew.
    pub(crate) fn led(engine: &Engine, lowered: Lowered) -> Result<Self, EngineError> {
        Self::with(engine, lowered, true)
    }

    fn with(engine: &Engine, lowered: Lowered, is_led: bool) -> Result<Self, EngineError> {
        let spare = if is_led { Spare::INFERENCE } else { Spare::TRAINING };
        let plan = plan(&lowered.storages, &lowered.views, spare);
        let mut store = allocate("the parameters", lowered.store.len())?;
        store.copy_from_slice(&lowered.store);
        let loads = |step: &&Step| matches!(step.action, Action::Load | Action::Int8(Int8::Load));
        let images = lowered.steps.iter().find(loads).map_or(ValueId(0), |step| step.out);
        Ok(Self {
            threads: engine.threads().clone(),
            isa: engine.isa(),
            steps: lowered.steps,
            stages: lowered.stages,
            arena: allocate("the activations", plan.arena_len)?,
            unshared_bytes: 4 * lowered.storages.iter().map(Storage::floats).sum::<usize>(),
            plan,
            store,
            packed: lowered.packed,
            scratch: allocate("the working memory", lowered.scratch_len)?,
            images,
            gates: lowered.gates,
            is_led,
        })
    }

    /// Images of a batch.
    fn batch(&self) -> usize {
        self.stages.first().map_or(0, |stage| stage.images * stage.groups)
    }

    /// Number of branches with stochastic depth.
    pub(crate) fn gates(&self) -> usize {
        self.gates.len()
    }

    pub(crate) fn layout(&self, value: ValueId) -> MapLayout {
        self.plan.slot(value).layout
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }

    /// The floats of a value, as they lie in memory.
    pub(crate) fn value(&self, value: ValueId) -> &[f32] {
        let slot = self.plan.slot(value);
        &self.arena[slot.offset..slot.end()]
    }

    /// The store to write, and the values beside it.
    pub(crate) fn store_and_values<'a>(&'a mut self) -> (&'a mut [f32], impl Fn(ValueId) -> &'a [f32]) {
        let Self { store, arena, plan, .. } = self;
        let arena = &**arena;
        (store, |value| {
            let slot = plan.slot(value);
            &arena[slot.offset..slot.end()]
        })
    }

    /// A copy of a value in PyTorch's order.
    pub(crate) fn tensor(&self, value: ValueId) -> Tensor {
        let layout = self.layout(value);
        let MapLayout { n, h, w, c, .. } = layout;
        let shape = if h * w == 1 { vec![n, c] } else { vec![n, c, h, w] };
        let mut tensor = Tensor::filled(shape, 0.0);
        let floats = self.value(value);
        match self.plan.slot(value).grid {
            Some(grid) => {
                let numbers: Vec<f32> = bytes(floats).iter().map(|&byte| grid.number(byte)).collect();
                rearrange::from_map(&numbers, layout, tensor.data_mut());
            }
            None => rearrange::from_map(floats, layout, tensor.data_mut()),
        }
        tensor
    }

    /// Runs all steps; mean loss and right answers where there are labels.
    pub(crate) fn run(&mut self, feed: &Feed<'_>) -> (f64, usize) {
        self.run_steps(feed, 0..usize::MAX)
    }

    /// Runs some of the steps, as far as there are any.
    pub(crate) fn run_steps(&mut self, feed: &Feed<'_>, steps: Range<usize>) -> (f64, usize) {
        self.run_each(feed, steps, |_, step, run| step.run(run))
    }

    /// Runs all steps and times each.
    pub(crate) fn profile(&mut self, feed: &Feed<'_>) -> Vec<StepTime> {
        let mut times = vec![Duration::ZERO; self.steps.len()];
        self.run_each(feed, 0..usize::MAX, |index, step, run| {
            let start = Instant::now();
            step.run(run);
            times[index] += start.elapsed();
        });
        let timed = |stage: &Stage, index: usize| {
            let step = &self.steps[index];
            StepTime {
                name: step.name.clone(),
                kind: step.kind(),
                multiply_adds: step.multiply_adds,
                cost: step.cost(&self.plan) * stage.groups as u64,
                time: times[index],
            }
        };
        self.stages
            .iter()
            .flat_map(|stage| stage.steps.clone().map(move |index| timed(stage, index)))
            .collect()
    }

    fn run_each(
        &mut self,
        feed: &Feed<'_>,
        range: Range<usize>,
        mut each: impl FnMut(usize, &Step, &mut Run<'_>) + Send,
    ) -> (f64, usize) {
        let mut layout = self.layout(self.images);
        layout.n = self.batch();
        let wanted = if range.start == 0 { layout.pixels() * layout.c } else { 0 };
        assert_eq!(feed.images.len(), wanted, "images of {layout:?} hold {wanted} numbers");
        let Self { threads, isa, steps, stages, plan, arena, store, packed, scratch, gates, is_led, .. } =
            self;
        let decided = |index: usize| feed.gates.map(|gates| gates[index]);
        let n = layout.n;
        let gates: Vec<Vec<f32>> = gates
            .iter()
            .enumerate()
            .map(|(index, path)| gate_factors(path, feed.draws, decided(index), n))
            .collect();
        let all = || {
            let mut run = Run {
                isa: *isa,
                plan,
                group: 0,
                arena,
                store,
                packed,
                scratch,
                images: feed.images,
                seed: feed.seed,
                targets: feed.targets,
                compares: feed.loss,
                label_smoothing: feed.label_smoothing,
                norm_momentum: feed.norm_momentum,
                draws: feed.draws,
                gates: &gates,
                loss: (0.0, 0),
            };
            for stage in stages.iter() {
                let wanted = range.start.max(stage.steps.start)..range.end.min(stage.steps.end);
                for group in 0..stage.groups {
                    run.group = group;
                    wanted.clone().for_each(|index| each(index, &steps[index], &mut run));
                }
            }
            run.loss
        };
        if *is_led { threads.lead(all) } else { threads.run(all) }
    }

    /// Memory held, the velocities of an optimiser not counted.
    pub(crate) fn summary(&self) -> PlanSummary {
        let of_tasks =
            self.steps.iter().map(Step::working_memory).fold(WorkingMemory::default(), WorkingMemory::max);
        let scratch_len = self.scratch.len() + self.threads.count() * of_tasks.thread + of_tasks.shared;
        PlanSummary {
            activations_bytes: 4 * self.arena.len(),
            unshared_bytes: self.unshared_bytes,
            parameters_bytes: 4 * self.store.len(),
            packed_bytes: 4 * self.packed.len() + self.steps.iter().map(Step::packed_bytes).sum::<usize>(),
            scratch_bytes: 4 * scratch_len,
        }
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({} steps, {} floats)", self.steps.len(), self.arena.len())
    }
}
