//! Where every value lives: one arena, shared by values whose lifetimes do not meet.

use residuum_kernels::conv::SLACK;
use residuum_tensor::{MapLayout, Quantizer};

use crate::step::ValueId;

/// Values start at multiples of this many floats, a cache line.
const ALIGNMENT: usize = 16;
/// Most floats that a forward pass takes beyond the least, so that places are shared by values of one layout only.
///
/// A thread has the same part of each of them. Where threads have caches of their own, a line costs several times as much that
/// another thread has written last. Zeros around a map stay zero, too.
pub(crate) const SPARE_FLOATS: usize = 64 << 20;

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
    /// Whether the pixels of the other lie in the same places, and the same bytes stand for zero.
    fn is_alike(&self, other: &Self) -> bool {
        let zero = |storage: &Self| storage.grid.map(|grid| grid.zero_point);
        (self.layout, zero(self)) == (other.layout, zero(other))
    }

    fn lives_with(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

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

/// Places the storages where they meet none that lives at the same time, and the views in them. With at most `spare` floats more
/// than the least, no place is shared by values of different layouts.
pub(crate) fn plan(storages: &[Storage], views: &[View], spare: usize) -> Plan {
    let Plan { slots: places, arena_len } = plan_storages(storages, spare);
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

fn plan_storages(values: &[Storage], spare: usize) -> Plan {
    let arena_len = |offsets: &[usize]| {
        values.iter().zip(offsets).map(|(value, offset)| offset + value.floats()).max().unwrap_or(0)
    };
    let [closest, apart] = [closest(values), apart(values)];
    let offsets = if arena_len(&apart) <= arena_len(&closest) + spare { apart } else { closest };
    let placed = || values.iter().zip(&offsets);
    let slots = placed()
        .map(|(value, &offset)| {
            let is_changed = placed().any(|(other, &start)| {
                let meets = start < offset + value.floats() && offset < start + other.floats();
                meets && !(start == offset && other.is_alike(value))
            });
            let Storage { layout, grid, .. } = *value;
            let is_zero = grid.is_none_or(|grid| grid.zero_point == 0);
            let clears_border = layout.border > 0 && (is_changed || !is_zero);
            Slot { offset, len: value.floats(), layout, grid, clears_border, group_step: 0 }
        })
        .collect();
    Plan { slots, arena_len: arena_len(&offsets) }
}

/// The indices of the values, the largest first.
fn by_size(values: &[Storage]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(values[index].floats()), index));
    order
}

/// Offsets of the values, each the lowest at which it meets none that lives at the same time.
fn closest(values: &[Storage]) -> Vec<usize> {
    let mut offsets: Vec<Option<usize>> = vec![None; values.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(values.len());
    for index in by_size(values) {
        let offset = lowest_gap(&values[index], values, &offsets, &placed);
        offsets[index] = Some(offset);
        let at = placed.partition_point(|&other| offsets[other] < Some(offset));
        placed.insert(at, index);
    }
    offsets.into_iter().map(Option::unwrap_or_default).collect()
}

/// Offsets of the values, the same for two of them only where these are alike.
fn apart(values: &[Storage]) -> Vec<usize> {
    let mut offsets = vec![0; values.len()];
    let mut places: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut end: usize = 0;
    for index in by_size(values) {
        let value = &values[index];
        let is_free = |holders: &[usize]| {
            let mut holders = holders.iter().map(|&holder| &values[holder]);
            holders.all(|holder| holder.is_alike(value) && !holder.lives_with(value))
        };
        if let Some((offset, holders)) = places.iter_mut().find(|(_, holders)| is_free(holders)) {
            offsets[index] = *offset;
            holders.push(index);
        } else {
            offsets[index] = end.next_multiple_of(ALIGNMENT);
            end = offsets[index] + value.floats();
            places.push((offsets[index], vec![index]));
        }
    }
    offsets
}

/// The lowest offset at which `value` fits between the values that live when it does; `placed` is sorted
/// by offset.
fn lowest_gap(value: &Storage, values: &[Storage], offsets: &[Option<usize>], placed: &[usize]) -> usize {
    let mut offset = 0;
    for &other in placed {
        let (start, neighbour) = (offsets[other].unwrap_or(0), &values[other]);
        if !neighbour.lives_with(value) {
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
        let plan = plan_storages(&values, 0);
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
    fn with_floats_to_spare_only_values_of_one_layout_share_a_place() {
        let border = |index: usize| usize::from(index < 2);
        let values: Vec<Storage> =
            (0..12).map(|i| value(if i < 6 { 64 } else { 32 }, border(i % 4), i, i + 1)).collect();
        let [least, spared] = [0, usize::MAX / 2].map(|spare| plan_storages(&values, spare));
        let more = spared.arena_len - least.arena_len;
        assert!(more > 0);
        assert_eq!(plan_storages(&values, more).arena_len, spared.arena_len);
        assert_eq!(plan_storages(&values, more - 1).arena_len, least.arena_len);
        for (i, a) in values.iter().enumerate() {
            let x = &spared.slots[i];
            assert!(!x.clears_border, "nothing writes to the border of {x:?}");
            for (b, y) in values.iter().zip(&spared.slots).skip(i + 1) {
                let is_apart = x.end() <= y.offset || y.end() <= x.offset;
                let is_shared = x.offset == y.offset && a.is_alike(b) && !a.lives_with(b);
                assert!(is_apart || is_shared, "{x:?} and {y:?}");
            }
        }
        let meets_in_border = |plan: &Plan| plan.slots.iter().any(|slot| slot.clears_border);
        assert!(meets_in_border(&least));
    }

    #[test]
    fn bytes_with_different_zeros_do_not_share_a_place() {
        let bytes = |zero_point: u8, first: usize| Storage {
            grid: Some(Quantizer { scale: 1.0, zero_point }),
            ..value(64, 1, first, first)
        };
        let plan = plan_storages(&[bytes(0, 0), bytes(0, 1), bytes(3, 2)], usize::MAX / 2);
        let [first, second, third] = [0, 1, 2].map(|index| plan.slots[index]);
        assert_eq!((first.offset, first.clears_border), (second.offset, false));
        assert!(third.offset >= first.end() && third.clears_border);
    }

    #[test]
    fn a_chain_needs_two_places() {
        let values: Vec<Storage> = (0..10).map(|i| value(64, 0, i, i + 1)).collect();
        assert_eq!(plan_storages(&values, 0).arena_len, 128);
    }
}
