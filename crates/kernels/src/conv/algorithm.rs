//! Which algorithms a convolution may be computed by.

use super::choose::{self, Choice, Pass};
use super::winograd::Form;
use crate::conv_shape::ConvShape;
use crate::isa::Isa;

/// Name of the environment variable that forces an algorithm.
pub const CONV_VARIABLE: &str = "RESIDUUM_CONV";

/// What the choice of an algorithm is left to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConvAlgorithm {
    /// The one expected to be the fastest for the shape.
    #[default]
    Auto,
    /// Sums as they are defined: the least rounding, and filters that take no more memory than they hold.
    Direct,
    /// Winograd's minimal filtering wherever it is possible: windows of 3 x 3 with stride 1, whose transformed filters
    /// take four times the memory; forward also windows of 3 x 3 and 7 x 7 with stride 2, nine and four times.
    Winograd,
    /// The same for windows of 3 x 3 with stride 1, but the filters take no more memory than they hold: every run
    /// transforms them anew, on the way to the products. For few tiles, which otherwise wait for memory.
    WinogradOnTheFly,
    /// Winograd's for windows of 3 x 3 with stride 1 in tiles of 3 x 3 outputs instead of 4 x 4: transformed filters take 2.8
    /// times the memory. For about a dozen tiles, which wait for memory too.
    WinogradSmall,
    /// Forward, sums as they are defined but for the products of zeros in the input, of which a ReLU leaves many; with AVX-512 in
    /// pairs of pixels, which changes the order of the sums. With weights that are not finite, a product of zero is not a number;
    /// here it is left out.
    Sparse,
    /// The same pixel by pixel: the bits of [`ConvAlgorithm::Direct`].
    SparseInOrder,
    /// Strassen's algorithm wherever it is possible, forward and for the gradient of the input: windows of one pixel in maps
    /// of two pixels or more, with multiples of 32 channels. Filters take 1.75 times the memory.
    Strassen,
}

/// The zeros that the input of a convolution is expected to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Zeros {
    /// Hardly any.
    Few,
    /// What a ReLU leaves of a sum with a shortcut that went through one itself: from half down to a fifth, fewer from block to block.
    Several,
    /// What a ReLU leaves of values around zero: those of a norm, or a sum of such.
    Half,
}

/// Why an algorithm that was asked for by name is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "RESIDUUM_CONV: expected auto, direct, sparse, strassen or winograd, found {found:?}; correct it or unset it"
)]
pub struct UnknownAlgorithm {
    /// The name as given.
    pub found: String,
}

impl ConvAlgorithm {
    /// Those that leave no choice.
    pub const FORCED: [Self; 7] = [
        Self::Direct,
        Self::Sparse,
        Self::SparseInOrder,
        Self::Strassen,
        Self::Winograd,
        Self::WinogradOnTheFly,
        Self::WinogradSmall,
    ];

    /// What it comes to for a pass of a convolution: one of [`ConvAlgorithm::FORCED`].
    #[must_use]
    pub fn chosen(self, isa: Isa, pass: Pass, shape: &ConvShape) -> Self {
        match choose::choice(isa, self, pass, shape) {
            Choice::Direct => Self::Direct,
            Choice::Sparse { in_pairs: true } => Self::Sparse,
            Choice::Sparse { in_pairs: false } => Self::SparseInOrder,
            Choice::Strassen => Self::Strassen,
            Choice::Winograd(Form::SMALL_PIXELS) => Self::WinogradSmall,
            Choice::Winograd(_) => Self::Winograd,
            Choice::OnTheFly => Self::WinogradOnTheFly,
        }
    }

    /// The same for a forward pass whose input holds zeros: `sparse`, which leaves them out, where that is expected to be faster
    /// than what would be chosen otherwise.
    #[must_use]
    pub fn of_input(self, sparse: Self, isa: Isa, shape: &ConvShape, zeros: Zeros) -> Self {
        let [instead, sparse_choice] = [self, sparse].map(|it| choose::choice(isa, it, Pass::Forward, shape));
        if choose::is_sparse_faster(isa, sparse_choice, instead, shape, zeros) { sparse } else { self }
    }

    /// Whether a pass of a convolution can normalise its input on the way, as [`Normalization`](super::Normalization) says:
    /// where windows are single pixels, and in Winograd's transform of the inputs at a stride of 1.
    #[must_use]
    pub fn normalizes(self, isa: Isa, pass: Pass, shape: &ConvShape) -> bool {
        pass != Pass::BackwardData
            && match choose::choice(isa, self, pass, shape) {
                Choice::Direct | Choice::Sparse { .. } | Choice::Strassen => shape.is_of_pixels(),
                Choice::Winograd(form) => form == Form::PIXELS,
                Choice::OnTheFly => false,
            }
    }

    /// The one that the environment variable `RESIDUUM_CONV` names, or else [`ConvAlgorithm::Auto`].
    ///
    /// # Errors
    /// When the variable holds an unknown name.
    pub fn from_env() -> Result<Self, UnknownAlgorithm> {
        match std::env::var_os(CONV_VARIABLE) {
            None => Ok(Self::Auto),
            Some(value) if value.is_empty() => Ok(Self::Auto),
            Some(value) => Self::from_name(&value.to_string_lossy()),
        }
    }

    /// The algorithm called `auto`, `direct`, `sparse`, `strassen` or `winograd`.
    ///
    /// # Errors
    /// When the name is unknown.
    pub fn from_name(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            "auto" => Ok(Self::Auto),
            "direct" => Ok(Self::Direct),
            "sparse" => Ok(Self::Sparse),
            "strassen" => Ok(Self::Strassen),
            "winograd" => Ok(Self::Winograd),
            _ => Err(UnknownAlgorithm { found: name.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_left_out_where_there_are_enough_of_them() {
        let pixels = |c_in, c_out, size| ConvShape::of_squares(8, size, [c_in, c_out], 1);
        let windows = ConvShape::of_squares(8, 14, [256; 2], 3);
        let strided = |c, size| ConvShape { stride: [2; 2], ..ConvShape::of_squares(8, size, [c; 2], 3) };
        for isa in Isa::available() {
            let found = |sparse: ConvAlgorithm, shape: ConvShape| {
                [Zeros::Few, Zeros::Several, Zeros::Half].map(|zeros| {
                    let algorithm = ConvAlgorithm::Auto.of_input(sparse, isa, &shape, zeros);
                    algorithm.chosen(isa, Pass::Forward, &shape)
                })
            };
            let [direct, any, in_order, strassen, winograd] = [
                ConvAlgorithm::Direct,
                ConvAlgorithm::Sparse,
                ConvAlgorithm::SparseInOrder,
                ConvAlgorithm::Strassen,
                ConvAlgorithm::Winograd,
            ];
            // In pairs of pixels where vectors are wide.
            let [sparse, several, cells] =
                if isa.lanes() == 16 { [any; 3] } else { [in_order, strassen, winograd] };
            assert_eq!(found(any, pixels(256, 1024, 14)), [strassen, several, sparse], "{isa}");
            assert_eq!(found(any, pixels(64, 256, 14)), [direct, sparse, sparse], "{isa}");
            assert_eq!(found(any, pixels(64, 64, 14)), [direct, sparse, sparse], "{isa}");
            assert_eq!(found(any, pixels(64, 48, 14)), [direct; 3], "{isa}");
            assert_eq!(found(any, strided(256, 28)), [winograd, winograd, cells], "{isa}");
            assert_eq!(found(any, strided(256, 16)), [winograd; 3], "{isa}");
            assert_eq!(found(any, windows), [winograd; 3], "{isa}");
            assert_eq!(found(in_order, pixels(256, 1024, 14)), [strassen, strassen, in_order], "{isa}");
            assert_eq!(found(in_order, pixels(64, 256, 14)), [direct, in_order, in_order], "{isa}");
            assert_eq!(found(in_order, strided(256, 28)), [winograd; 3], "{isa}");
        }
    }

    #[test]
    fn tiles_are_small_where_few_of_them_wait_for_many_filters() {
        let windows = |n, size, channels| ConvShape::of_squares(n, size, [channels; 2], 3);
        for isa in Isa::available() {
            let chosen = |pass, shape: ConvShape| ConvAlgorithm::Auto.chosen(isa, pass, &shape);
            let forward = |shape| chosen(Pass::Forward, shape);
            for shape in [windows(1, 14, 256), windows(1, 15, 256), windows(1, 14, 512)] {
                assert_eq!(forward(shape), ConvAlgorithm::WinogradSmall, "{isa}, {shape:?}");
                assert_eq!(
                    chosen(Pass::BackwardData, shape),
                    ConvAlgorithm::WinogradSmall,
                    "{isa}, {shape:?}"
                );
                assert_eq!(chosen(Pass::BackwardWeights, shape), ConvAlgorithm::Winograd, "{isa}, {shape:?}");
            }
            // Many tiles, few filters, maps that small tiles do not suit.
            for shape in [windows(2, 14, 256), windows(1, 14, 128), windows(1, 16, 256), windows(4, 7, 256)] {
                assert_eq!(forward(shape), ConvAlgorithm::Winograd, "{isa}, {shape:?}");
            }
        }
    }

    #[test]
    fn filters_of_few_tiles_are_transformed_on_the_fly() {
        for isa in Isa::available() {
            let found = |n, size, channels| {
                let shape = ConvShape::of_squares(n, size, [channels; 2], 3);
                ConvAlgorithm::Auto.chosen(isa, Pass::Forward, &shape)
            };
            let on_the_fly = ConvAlgorithm::WinogradOnTheFly;
            // Where there are registers for the sums of four tiles.
            let wide = if isa.lanes() == 16 { on_the_fly } else { ConvAlgorithm::Winograd };
            assert_eq!([found(1, 7, 512), found(1, 8, 64)], [on_the_fly; 2], "{isa}");
            assert_eq!([found(2, 7, 256), found(4, 7, 512), found(1, 16, 512)], [wide; 3], "{isa}");
            assert_eq!([found(4, 7, 256), found(5, 7, 512)], [ConvAlgorithm::Winograd; 2], "{isa}");
        }
    }

    #[test]
    fn algorithms_are_found_by_name_and_others_refused() {
        let named = [
            ("auto", ConvAlgorithm::Auto),
            ("direct", ConvAlgorithm::Direct),
            ("sparse", ConvAlgorithm::Sparse),
            ("strassen", ConvAlgorithm::Strassen),
            ("winograd", ConvAlgorithm::Winograd),
        ];
        for (name, algorithm) in named {
            assert_eq!(ConvAlgorithm::from_name(name), Ok(algorithm));
        }
        let error = ConvAlgorithm::from_name("fft").unwrap_err().to_string();
        assert!(
            error.contains(
                "RESIDUUM_CONV: expected auto, direct, sparse, strassen or winograd, found \"fft\""
            )
        );
    }
}
