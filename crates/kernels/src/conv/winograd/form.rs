//! The kinds of windows that the algorithm can do, and how their sums are laid out.
//!
//! A window of stride 2 is one of stride 1 over *cells* of 2 x 2 pixels: 3 x 3 becomes 2 x 2, 7 x 7 becomes 4 x 4. The four
//! pixels of a cell, its *phases*, are channels of the sum. Rows 0, 2, 4 … of a window are the odd phase of cells 0, 1,
//! 2 …, rows 1, 3, 5 … the even phase of cells 1, 2, 3 …: the even phase has no tap in the first cell, so its filters are
//! zero at the point 0, and the products there are left out. Of the 5 x 5 x 4 products of 3 x 3 windows 81 remain, for
//! 4 x 4 outputs that take 144 by definition.

use super::axis::OUTPUTS;
use crate::conv_shape::ConvShape;
use crate::isa::MOST_LANES;
use std::ops::Range;

/// Most input channels for which the phases of a cell share a vector.
const FEW_CHANNELS: usize = 4;
/// Floats of such a cell.
pub(super) const CELL: usize = 4 * FEW_CHANNELS;

/// A phase: whether it is the odd one, vertically and horizontally.
pub(super) type Phase = [bool; 2];

/// A kind of window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conv) enum Form {
    /// 3 x 3, stride 1, in tiles of so many outputs along each axis: 4 or 3.
    Pixels { outputs: usize },
    /// Stride 2, by so many points, and channels that fill vectors.
    Cells { points: usize },
    /// The same with few channels: those of all phases of a cell in one vector.
    SmallCells { points: usize },
}

impl Form {
    /// 3 x 3, stride 1, in tiles of the size that takes the fewest products.
    pub(in crate::conv) const PIXELS: Self = Self::Pixels { outputs: OUTPUTS };
    /// The same in smaller tiles, whose filters take less memory.
    pub(in crate::conv) const SMALL_PIXELS: Self = Self::Pixels { outputs: OUTPUTS - 1 };

    /// The form of a convolution, if there is one.
    pub(in crate::conv) fn new(shape: &ConvShape) -> Option<Self> {
        let ConvShape { kernel, stride, dilation, groups, c_in, .. } = *shape;
        if (dilation, groups) != ([1; 2], 1) {
            return None;
        }
        let points = match (kernel, stride) {
            ([3, 3], [1, 1]) => return Some(Self::PIXELS),
            ([3, 3], [2, 2]) => 5,
            ([7, 7], [2, 2]) => 7,
            _ => return None,
        };
        if c_in <= FEW_CHANNELS {
            return Some(Self::SmallCells { points });
        }
        // On every instruction set, so that it makes no difference to the form.
        c_in.is_multiple_of(MOST_LANES).then_some(Self::Cells { points })
    }

    /// Points along one axis.
    pub(super) const fn points(self) -> usize {
        match self {
            Self::Pixels { outputs } => outputs + 2,
            Self::Cells { points } | Self::SmallCells { points } => points,
        }
    }

    /// Taps along one axis, of pixels or of cells.
    pub(super) const fn taps(self) -> usize {
        self.points() + 1 - self.outputs()
    }

    /// Outputs of a tile along one axis.
    pub(in crate::conv) const fn outputs(self) -> usize {
        match self {
            Self::Pixels { outputs } => outputs,
            Self::Cells { .. } | Self::SmallCells { .. } => OUTPUTS,
        }
    }

    pub(in crate::conv) const fn frequencies(self) -> usize {
        self.points() * self.points()
    }

    /// The phases in the order of the sum, in which those that a frequency wants are neighbours, or nearly.
    pub(super) fn phases(self) -> &'static [Phase] {
        match self {
            Self::Pixels { .. } => &[[true, true]],
            Self::Cells { .. } => &[[true, false], [true, true], [false, true], [false, false]],
            // As they lie in memory.
            Self::SmallCells { .. } => &[[true, false], [true, true], [false, false], [false, true]],
        }
    }

    /// How many phases have channels of their own; the others share a vector, and count as one.
    pub(in crate::conv) const fn separate_phases(self) -> usize {
        if let Self::Cells { .. } = self { 4 } else { 1 }
    }

    /// Whether a phase has products at a frequency. Where phases share a vector, all are taken to have.
    pub(super) fn has_products(self, phase: usize, frequency: usize) -> bool {
        self.separate_phases() == 1 || self.sum(frequency, 1).contains(&phase)
    }

    /// How a profile calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pixels { outputs: OUTPUTS } => "winograd 4x4",
            Self::Pixels { .. } => "winograd 3x3",
            Self::Cells { .. } | Self::SmallCells { .. } => "winograd 4x4 of phases",
        }
    }

    /// The part of the sum over phases and channels in which a frequency has products.
    pub(super) fn sum(self, frequency: usize, channels: usize) -> Range<usize> {
        let phases = self.phases();
        let zero = [frequency / self.points() == 0, frequency.is_multiple_of(self.points())];
        let wanted = |phase: &Phase| (0..2).all(|axis| phase[axis] || !zero[axis]);
        let first = phases.iter().position(wanted).unwrap_or(0);
        let last = phases.iter().rposition(wanted).unwrap_or(0);
        first * channels..(last + 1) * channels
    }

    /// The tap of a window of `kernel` x `kernel` pixels that a phase has in a cell.
    pub(super) fn tap(self, phase: Phase, cell: [usize; 2], kernel: usize) -> Option<usize> {
        if let Self::Pixels { .. } = self {
            return Some(cell[0] * kernel + cell[1]);
        }
        let along = |axis: usize| (2 * cell[axis] + usize::from(phase[axis])).checked_sub(1);
        let (y, x) = (along(0)?, along(1)?);
        (y < kernel && x < kernel).then_some(y * kernel + x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [(Form, usize); 6] = [
        (Form::PIXELS, 3),
        (Form::SMALL_PIXELS, 3),
        (Form::Cells { points: 5 }, 3),
        (Form::SmallCells { points: 5 }, 3),
        (Form::Cells { points: 7 }, 7),
        (Form::SmallCells { points: 7 }, 7),
    ];

    #[test]
    fn every_tap_has_one_place() {
        for (form, kernel) in FORMS {
            let mut seen = vec![0; kernel * kernel];
            for &phase in form.phases() {
                for cell in 0..form.taps() * form.taps() {
                    let cell = [cell / form.taps(), cell % form.taps()];
                    if let Some(tap) = form.tap(phase, cell, kernel) {
                        seen[tap] += 1;
                        assert!(phase[0] || cell[0] > 0, "{form:?}");
                    }
                }
            }
            assert!(seen.iter().all(|&seen| seen == 1), "{form:?}");
        }
    }

    #[test]
    fn three_by_three_takes_81_products_and_seven_by_seven_169() {
        let products = |form: Form| -> usize {
            (0..form.frequencies()).map(|frequency| form.sum(frequency, 1).len()).sum()
        };
        let found = FORMS.map(|(form, _)| products(form));
        assert_eq!(found, [36, 25, 81, 85, 169, 175]);
    }
}
