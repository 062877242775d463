//! Where every value lives: one arena, shared by values whose lifetimes do not meet.

use residuum_kernels::conv::SLACK;
use residuum_tensor::{MapLayout, Quantizer};

use crate::step::ValueId;

/// Values start at multiples of this many floats, a cache line.
const ALIGNMENT: usize = 16;

/// Memory to be given a place: that of one value, or of several whose channels lie side by side.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    /// How it lies in memory.
    pub(crate) layout: MapLayout,
    /// The grid of its bytes, where it holds bytes and not floats.
    pub(crate) grid: Option<Quantizer>,
    /// The step that makes it.
    pub(crate) first: usize,
    /// The last step that reads it.
    pub(crate) last: usize,
}

impl Storage {
    /// Floats that the storage takes; bytes are four to one, and have a few behind them that kernels may read.
    pub(crate) fn floats(&self) -> usize {
        if self.grid.is_some() { (self.layout.len() + SLACK).div_ceil(4) } else { self.layout.len() }
    }
}

/// A value: some or all of the channels of a storage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// Index of the storage.
    pub(crate) storage: usize,
    /// First channel.
    pub(crate) channel: usize,
    /// How the value lies in memory, from its first channel on.
    pub(crate) layout: MapLayout,
    /// The grid of its bytes, where it holds bytes and not floats.
    pub(crate) grid: Option<Quantizer>,
}

/// The place of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// First float in the arena.
    pub(crate) offset: usize,
    /// Floats to the end of the storage.
    pub(crate) len: usize,
    /// How it lies in memory.
    pub(crate) layout: MapLayout,
    /// The grid of its bytes, where it holds bytes and not floats.
    pub(crate) grid: Option<Quantizer>,
    /// Whether the border has to be made zero in every run: other values use the place too, or zeros of memory do
    /// not stand for 0.
    pub(crate) clears_border: bool,
    /// Floats from a group of images to the next, where the place holds more than one.
    pub(crate) group_step: usize,
}

impl Slot {
    pub(crate) const fn end(&self) -> usize {
        self.offset + self.len
    }
}

/// The arena: its size and the places in it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) slots: Vec<Slot>,
    pub(crate) arena_len: usize,
}

impl Plan {
    /// The place of a value, for the first group of images.
    pub(crate) fn slot(&self, value: ValueId) -> &Slot {
        &self.slots[value.0]
    }

    /// The place of a value for a group of images.
    pub(crate) fn slot_of(&self, value: ValueId, group: usize) -> Slot {
        let slot = self.slots[value.0];
        let skipped = group * slot.group_step;
        Slot { offset: slot.offset + skipped, len: slot.len - skipped, ..slot }
    }
}

/// Memory that a compiled network holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanSummary {
    /// Activations, their gradients and those of parameters, each place shared by values whose lifetimes do not meet.
    pub activations_bytes: usize,
    /// The same without sharing.
    pub unshared_bytes: usize,
    /// Parameters, and in training their velocities.
    pub parameters_bytes: usize,
    /// Filters in the order that the kernels read them in.
    pub packed_bytes: usize,
    /// Working memory of single steps, and of the threads.
    pub scratch_bytes: usize,
}

impl PlanSummary {
    /// All of it.
    pub const fn peak_bytes(&self) -> usize {
        self.activations_bytes + self.parameters_bytes + self.packed_bytes + self.scratch_bytes
    }
}

/// Places the storages, the largest first, each at the lowest offset where it meets none that lives at the
/// same time; and the views in them.
pub(crate) fn plan(storages: &[Storage], views: &[View]) -> Plan {
    let Plan { slots: places, arena_len } = plan_storages(storages);
    let slots = views
        .iter()
        .map(|view| {
            let place = places[view.storage];
            Slot {
                offset: place.offset + view.channel,
                len: place.len - view.channel,
                layout: view.layout,
                grid: view.grid,
                clears_border: place.clears_border,
                group_step: if view.layout.n < place.layout.n {
                    view.layout.n * view.layout.image_stride()
                } else {
                    0
                },
            }
        })
        .collect();
    Plan { slots, arena_len }
}

fn plan_storages(values: &[Storage]) -> Plan {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(values[index].floats()), index));
    let mut offsets: Vec<Option<usize>> = vec![None; values.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(values.len());
    for &index in &order {
        let value = &values[index];
        let offset = lowest_gap(value, values, &offsets, &placed);
        offsets[index] = Some(offset);
        let at = placed.partition_point(|&other| offsets[other] < Some(offset));
        placed.insert(at, index);
    }
    let end = |index: usize| offsets[index].unwrap_or(0) + values[index].floats();
    let arena_len = (0..values.len()).map(end).max().unwrap_or(0);
    let slots = (0..values.len())
        .map(|index| {
            let offset = offsets[index].unwrap_or(0);
            let shared = placed.iter().any(|&other| {
                other != index && offsets[other].unwrap_or(0) < end(index) && offset < end(other)
            });
            let Storage { layout, grid, .. } = values[index];
            let is_zero = grid.is_none_or(|grid| grid.zero_point == 0);
            let clears_border = layout.border > 0 && (shared || !is_zero);
            Slot { offset, len: values[index].floats(), layout, grid, clears_border, group_step: 0 }
        })
        .collect();
    Plan { slots, arena_len }
}

/// The lowest offset at which `value` fits between the values that live when it does; `placed` is sorted
/// by offset.
fn lowest_gap(value: &Storage, values: &[Storage], offsets: &[Option<usize>], placed: &[usize]) -> usize {
    let mut offset = 0;
    for &other in placed {
        let (start, neighbour) = (offsets[other].unwrap_or(0), &values[other]);
        let alive_together = neighbour.first <= value.last && value.first <= neighbour.last;
        if !alive_together {
            continue;
        }
        if offset + value.floats() <= start {
            break;
        }
        offset = offset.max((start + neighbour.floats()).next_multiple_of(ALIGNMENT));
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(len: usize, border: usize, first: usize, last: usize) -> Storage {
        Storage { layout: MapLayout::new(1, 1, len, 1, border), grid: None, first, last }
    }

    #[test]
    fn values_that_live_together_never_overlap() {
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let values: Vec<Storage> = (0..200)
            .map(|_| {
                let first = random(50) as usize;
                value(1 + random(1000) as usize, random(2) as usize, first, first + random(10) as usize)
            })
            .collect();
        let plan = plan_storages(&values);
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate().skip(i + 1) {
                let (x, y) = (&plan.slots[i], &plan.slots[j]);
                let apart = x.end() <= y.offset || y.end() <= x.offset;
                assert!(apart || a.last < b.first || b.last < a.first, "{x:?} and {y:?} overlap");
                assert!(apart || x.layout.border == 0 || x.clears_border);
            }
        }
        let sum: usize = values.iter().map(Storage::floats).sum();
        assert!(plan.arena_len < sum / 2, "lifetimes of a fifth of the run share little: {}", plan.arena_len);
    }

    #[test]
    fn a_chain_needs_two_places() {
        let values: Vec<Storage> = (0..10).map(|i| value(64, 0, i, i + 1)).collect();
        assert_eq!(plan_storages(&values).arena_len, 128);
    }
}
