//! Where every value lives: one arena, shared by values whose lifetimes do not meet.

use std::ops::Range;

use residuum_kernels::conv::SLACK;
use residuum_tensor::{MapLayout, Quantizer};

use crate::step::ValueId;

/// Values start at multiples of this many floats, a cache line.
const ALIGNMENT: usize = 16;

/// Floats that a plan may take beyond the least, so that fewer values share their places.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spare {
    /// So many.
    Floats(usize),
    /// A part of the least, one of so many.
    Part(usize),
}

impl Spare {
    /// For forward passes: little beside what training takes.
    pub(crate) const INFERENCE: Self = Self::Floats(64 << 20);
    /// For training, where memory bounds the batch.
    pub(crate) const TRAINING: Self = Self::Part(8);

    fn floats(self, least: usize) -> usize {
        match self {
            Self::Floats(floats) => floats,
            Self::Part(parts) => least / parts,
        }
    }
}

/// Which values may share a place if their lifetimes do not meet.
#[derive(Clone, Copy, Debug)]
enum Sharing {
    /// Those of one layout. A thread has the same part of each; where threads have caches of their own, a line costs several times
    /// as much that another thread has written last.
    Alike,
    /// Those of one layout, and those without a border: zeros around a map stay zero.
    Borderless,
    /// All.
    Any,
}

impl Sharing {
    /// From the fastest to the smallest.
    const ALL: [Self; 3] = [Self::Alike, Self::Borderless, Self::Any];

    /// Whether no byte may belong to both values.
    fn separates(self, a: &Storage, b: &Storage) -> bool {
        let is_shared = match self {
            Self::Alike => a.is_alike(b),
            Self::Borderless => a.is_alike(b) || a.layout.border + b.layout.border == 0,
            Self::Any => true,
        };
        !is_shared || a.lives_with(b)
    }
}

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

/// Places the storages where they meet none that lives at the same time, and the views in them: each place shared by as few kinds of
/// values as what is to spare allows.
pub(crate) fn plan(storages: &[Storage], views: &[View], spare: Spare) -> Plan {
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

fn plan_storages(values: &[Storage], spare: Spare) -> Plan {
    let plans = Sharing::ALL.map(|sharing| place(values, sharing));
    let arena_len = |offsets: &[usize]| {
        values.iter().zip(offsets).map(|(value, offset)| offset + value.floats()).max().unwrap_or(0)
    };
    let lens = plans.each_ref().map(|offsets| arena_len(offsets));
    let [.., least] = lens;
    let most = least.saturating_add(spare.floats(least));
    let chosen = lens.iter().position(|&len| len <= most).expect("the least is affordable");
    let (offsets, arena_len) = (&plans[chosen], lens[chosen]);
    let placed = || values.iter().zip(offsets);
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
    Plan { slots, arena_len }
}

/// The indices of the values, the largest first.
fn by_size(values: &[Storage]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(values[index].floats()), index));
    order
}

/// Offsets of the values: each that of one of its layout where it can be, or else the lowest.
fn place(values: &[Storage], sharing: Sharing) -> Vec<usize> {
    let mut offsets = vec![0; values.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(values.len());
    for index in by_size(values) {
        let value = &values[index];
        let taken: Vec<Range<usize>> = placed
            .iter()
            .filter(|&&other| sharing.separates(value, &values[other]))
            .map(|&other| offsets[other]..offsets[other] + values[other].floats())
            .collect();
        let alike =
            placed.iter().filter(|&&other| values[other].is_alike(value)).map(|&other| offsets[other]);
        let offset =
            first_free(value.floats(), &taken, alike).unwrap_or_else(|| lowest_gap(value.floats(), &taken));
        offsets[index] = offset;
        let at = placed.partition_point(|&other| offsets[other] < offset);
        placed.insert(at, index);
    }
    offsets
}

/// The first of the offsets at which so many floats meet none of the ranges; both are in their order.
fn first_free(
    floats: usize,
    taken: &[Range<usize>],
    mut offsets: impl Iterator<Item = usize>,
) -> Option<usize> {
    let mut ranges = taken.iter().peekable();
    let mut end = 0;
    offsets.find(|&offset| {
        while let Some(range) = ranges.next_if(|range| range.start < offset + floats) {
            end = end.max(range.end);
        }
        end <= offset
    })
}

/// The lowest offset of so many floats outside of the ranges, which are in the order of their starts.
fn lowest_gap(floats: usize, taken: &[Range<usize>]) -> usize {
    let mut offset = 0;
    for range in taken {
        if offset + floats <= range.start {
            break;
        }
        offset = offset.max(range.end.next_multiple_of(ALIGNMENT));
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: Spare = Spare::Floats(usize::MAX / 2);

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
        let plan = plan_storages(&values, Spare::Floats(0));
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

    /// Six values of either length, every second pair of them with a border; each lives together with the one before it.
    fn mixed() -> Vec<Storage> {
        let border = |index: usize| usize::from(index % 4 < 2);
        (0..12).map(|i| value(if i < 6 { 64 } else { 32 }, border(i), i, i + 1)).collect()
    }

    /// Whether two values overlap anywhere but in a place of their layout.
    fn overlap(values: &[Storage], plan: &Plan, i: usize, j: usize) -> bool {
        let (x, y) = (&plan.slots[i], &plan.slots[j]);
        let is_apart = x.end() <= y.offset || y.end() <= x.offset;
        let is_shared =
            x.offset == y.offset && values[i].is_alike(&values[j]) && !values[i].lives_with(&values[j]);
        !is_apart && !is_shared
    }

    #[test]
    fn with_floats_to_spare_only_values_of_one_layout_share_a_place() {
        let values = mixed();
        let plan = plan_storages(&values, PLENTY);
        for i in 0..values.len() {
            assert!(!plan.slots[i].clears_border, "nothing writes to the border of {:?}", plan.slots[i]);
            for j in i + 1..values.len() {
                assert!(!overlap(&values, &plan, i, j), "{:?} and {:?}", plan.slots[i], plan.slots[j]);
            }
        }
    }

    #[test]
    fn with_few_floats_to_spare_borders_stay_apart() {
        let values = mixed();
        let lens = Sharing::ALL.map(|sharing| {
            let offsets = place(&values, sharing);
            values.iter().zip(offsets).map(|(value, offset)| offset + value.floats()).max().unwrap()
        });
        let [most, fewer, least] = lens;
        assert!(most > fewer && fewer > least, "{lens:?}");
        let arena_len = |spare| plan_storages(&values, Spare::Floats(spare)).arena_len;
        assert_eq!(arena_len(most - least), most);
        assert_eq!(arena_len(most - least - 1), fewer);
        assert_eq!(arena_len(fewer - least), fewer);
        assert_eq!(arena_len(fewer - least - 1), least);
        assert_eq!(plan_storages(&values, Spare::Part(least)).arena_len, least, "one float");
        assert!(fewer < 2 * least && 2 * least < most);
        assert_eq!(plan_storages(&values, Spare::Part(1)).arena_len, fewer, "as many again");

        let plan = plan_storages(&values, Spare::Floats(fewer - least));
        let mut shares = false;
        for i in 0..values.len() {
            assert!(!plan.slots[i].clears_border, "nothing writes to the border of {:?}", plan.slots[i]);
            for j in i + 1..values.len() {
                let is_mixed = overlap(&values, &plan, i, j);
                shares |= is_mixed;
                let has_border = values[i].layout.border + values[j].layout.border > 0;
                assert!(!(is_mixed && has_border), "{:?} and {:?}", plan.slots[i], plan.slots[j]);
            }
        }
        assert!(shares, "values without a border share places");
        let meets_in_border = |plan: &Plan| plan.slots.iter().any(|slot| slot.clears_border);
        assert!(meets_in_border(&plan_storages(&values, Spare::Floats(0))));
    }

    #[test]
    fn bytes_with_different_zeros_do_not_share_a_place() {
        let bytes = |zero_point: u8, first: usize| Storage {
            grid: Some(Quantizer { scale: 1.0, zero_point }),
            ..value(64, 1, first, first)
        };
        let plan = plan_storages(&[bytes(0, 0), bytes(0, 1), bytes(3, 2)], PLENTY);
        let [first, second, third] = [0, 1, 2].map(|index| plan.slots[index]);
        assert_eq!((first.offset, first.clears_border), (second.offset, false));
        assert!(third.offset >= first.end() && third.clears_border);
    }

    #[test]
    fn a_chain_needs_two_places() {
        let values: Vec<Storage> = (0..10).map(|i| value(64, 0, i, i + 1)).collect();
        assert_eq!(plan_storages(&values, Spare::Floats(0)).arena_len, 128);
    }
}
